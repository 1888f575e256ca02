"""How well partons describe what does not depend on the mass: 116 bins of the muon's eta and of the pair's rapidity.

A joint fit of the W channel and of the pairs' kinematics is tested in its projections, 48 bins of eta for each charge
and 20 of y; once with all uncertainties, once without those of the partons and alpha_s, once without any of theory.
Source: arXiv:2412.13872.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError
from mucal.likelihood import (
    Channel,
    FitConfig,
    Goodness,
    Model,
    Observation,
    Projection,
    fit,
    freeze,
    projected_goodness,
)
from mucal.templates.binning import Binning

WITHOUT: Final[Mapping[str, tuple[str, ...]]] = {
    "nominal": (),
    "without partons": ("pdf", "alpha_s"),
    "without theory": ("pdf", "alpha_s", "angular_coefficients", "pt_model", "electroweak", "constants"),
}
"""Fit -> groups whose nuisances are held at 0."""

AXES: Final[Mapping[str, tuple[str, ...]]] = {"w": ("charge", "eta"), "kinematics": ("pair_y",)}
"""Channel -> the axes that remain."""


def parton_projection(model: Model) -> Projection:
    """The channels "w" and "kinematics" of a joint model, projected side by side.

    Raises ConfigError if one of them is missing.
    """
    rows, first = [], 0
    for channel in model.channels:
        if channel.name not in AXES:
            rows.append(np.full(channel.n_bins, -1))
            continue
        binning = Binning(axes=tuple(channel.axes), edges=tuple(tuple(e) for e in channel.edges))
        row, count = np.zeros(channel.n_bins, dtype=np.int64), 1
        for axis in AXES[channel.name]:
            n = binning.shape[binning.axes.index(axis)]
            row, count = row * n + binning.along(axis), count * n
        rows.append(first + row)
        first += count
    missing = set(AXES) - {channel.name for channel in model.channels}
    if missing:
        raise ConfigError(
            f"the model has no channel {', '.join(sorted(missing))}, which the test of partons needs",
            kind="config.measurement",
        )
    edges = (tuple(float(i) for i in range(first + 1)),)
    return Projection(
        row=np.concatenate(rows).astype(np.int64), channel=Channel(name="partons", axes=("bin",), edges=edges)
    )


def parton_goodness(
    model: Model, data: Observation | FloatArray, config: FitConfig | None = None
) -> dict[str, Goodness]:
    """The test with the uncertainties of each line of `WITHOUT`.

    Raises NotCertified for a fit that did not converge.
    """
    projection = parton_projection(model)
    found = {}
    for name, groups in WITHOUT.items():
        held = {n: 0.0 for g in groups for n in model.groups.get(g, ())}
        one = freeze(model, held) if held else model
        found[name] = projected_goodness(one, data, fit(one, data, config), projection, config)
    return found
