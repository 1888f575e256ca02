"""The uncertainty of the scale in two models: the statistics of A, e, M, and the modes of the detector."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.report.closure_section import plain_table
from mucal.report.page import Section, Table
from mucal.report.scale_models import MASSES, ScaleModels
from mucal.scale.detector_modes import DetectorModes

CAPTION: Final = (
    "Root mean squares over η, and masses whose muons are moved by all nuisances, in squares, before any profiling. "
    "jpsi_stat and its like: mass-fit statistics of A, e and M. detector: the covariance of the global corrections, "
    "each nuisance a mode of field, material and alignment. "
)
NAMED: Final = 10
"""Modes whose parameters are listed."""


def model_rows(found: ScaleModels) -> tuple[list[str], list[list[str]]]:
    """Head and rows: one column a model, that of the release with a star."""
    head = ["uncertainty of the scale"]
    head += [f"{name}{' *' if name == found.released else ''}" for name in found.models]
    rows = [["nuisances", *(str(n) for n in found.counts.tolist())]]
    for i, pt in enumerate(found.momenta.tolist()):
        for what, errors in (("A − e/pT", found.even), ("M pT", found.odd)):
            rows.append([f"{what} at {pt:g} GeV [10⁻⁵]", *(f"{1e5 * _rms(row):.1f}" for row in errors[:, i])])
    for name, column in zip(MASSES, found.masses.T, strict=True):
        if np.any(np.isfinite(column)):
            rows.append([f"{name} [MeV]", *(f"{value:.1f}" for value in column)])
    return head, rows


def model_lines(found: ScaleModels | None) -> list[str]:
    """The same for a terminal; nothing where there is none."""
    return [] if found is None else ["", *plain_table(*model_rows(found))]


def model_numbers(found: ScaleModels | None) -> dict[str, float]:
    """Errors of the masses in each model, for scripts: "w_mev_jpsi_stat", "z_mev_detector"."""
    if found is None:
        return {}
    shown = (("w_mev", "m_W"), ("w_split_mev", "m_W⁺ − m_W⁻"), ("z_mev", "m_Z"))
    return {f"{key}_{model.split()[0]}": found.mass(model, name) for model in _plain(found) for key, name in shown}


def detector_section(modes: DetectorModes | None, found: ScaleModels | None) -> Section:
    """The models side by side, and which parameters of the detector the largest modes move; empty without them."""
    title = "Uncertainty of the scale in two models"
    if modes is None or found is None:
        return Section(title=title)
    head, rows = model_rows(found)
    low, middle, high = (f"{1e5 * part:.1f}" for part in modes.residual)
    named = [[str(i), *_sizes(modes, i), name] for i, name in enumerate(modes.leading[:NAMED])]
    return Section(
        title=title,
        items=(
            Table(
                head=head,
                rows=rows,
                caption=CAPTION
                + f"What A, e and M in bins of η leave of it is {low}, {middle} and {high}·10⁻⁵ (rms, in thirds of the "
                "momenta). *: in the release. Which one to take: docs/physics/calibration.md.",
            ),
            Table(
                head=["Mode", "A [10⁻⁵]", "e [MeV]", "M [10⁻⁵/GeV]", "Moves most, with shares"],
                rows=named,
                words=(4,),
                fold=True,
                caption=f"The {len(named)} largest of {len(modes.leading)} modes of the detector; rms over η",
            ),
        ),
    )


def _plain(found: ScaleModels) -> Sequence[str]:
    """Models without a factor."""
    return [name for name in found.models if " " not in name]


def _sizes(modes: DetectorModes, i: int) -> list[str]:
    units = (1e5, 1e3, 1e5)
    return [f"{unit * _rms(row):.2f}" for unit, row in zip(units, modes.variations[i], strict=True)]


def _rms(values: FloatArray) -> float:
    return float(np.sqrt(np.mean(values**2)))
