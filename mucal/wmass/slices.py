"""The mass measured in parts of the sample by one fit, and whether the parts agree."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy.special import chdtrc

from mucal.arrays import BoolArray, FloatArray, check_shapes
from mucal.errors import ConfigError, nearest
from mucal.likelihood import FitResult, Model, Part, decorrelate
from mucal.store import Result
from mucal.templates.binning import Binning
from mucal.wmass.tensor import MASS, UNIT

Split = Literal["charge", "eta_sign", "central", "eta", "slices", "max_eta"]
CENTRAL: Final = 0.9
"""|eta| that parts the central region from the rest."""
SLICE_BINS: Final = 2
"""Bins of eta in a slice: 24 slices of 0.2."""
AXES: Final[Mapping[Split, tuple[str, ...]]] = {
    "charge": ("charge",), "eta_sign": ("eta",), "central": ("eta",), "eta": ("eta",), "slices": ("charge", "eta"),
    "max_eta": ("max_eta",),
}  # fmt: skip
"""Split -> axes of the channel that it needs."""
SPLITS: Final[tuple[Split, ...]] = ("charge", "eta_sign", "central", "eta", "slices")
"""Of single muons."""
DIFFERENCES: Final[Mapping[str, tuple[str, str]]] = {
    "charge": ("plus", "minus"), "eta_sign": ("forward", "backward"), "central": ("central", "outer"),
}  # fmt: skip
"""Split into two -> first part, second part of the difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compatibility(Result):
    """Masses of K parts from one fit, their weighted mean, and the test that they are one.

    names     : (K,)
    values    : (K,) GeV    from the simulation's mass
    cov       : (K, K) GeV^2
    mean      : GeV         weighted with the inverse covariance
    error     : GeV         of the mean
    chi2      :             of the parts around their mean, K - 1 degrees of freedom
    p_value   :
    """

    names: tuple[str, ...]
    values: FloatArray
    cov: FloatArray
    mean: float
    error: float
    chi2: float
    p_value: float

    def __post_init__(self) -> None:
        k = len(self.names)
        check_shapes(self, values=(k,), cov=(k, k))

    def difference(self, first: str, second: str) -> tuple[float, float]:
        """First less second, and its error (GeV)."""
        i, j = self.names.index(first), self.names.index(second)
        variance = self.cov[i, i] + self.cov[j, j] - 2.0 * self.cov[i, j]
        return float(self.values[i] - self.values[j]), float(np.sqrt(variance))


def possible_splits(model: Model) -> tuple[Split, ...]:
    """Those whose axes the model has.  Raises ConfigError if there is none, or for more than one channel."""
    axes = _axes(model)
    found = tuple(by for by in AXES if set(AXES[by]) <= set(axes))
    if not found:
        raise ConfigError(f"no split of the mass for the axes {', '.join(axes)}", kind="config.mode")
    return found


def split_mass(model: Model, by: Split, parameter: str = MASS) -> Model:
    """The model with one mass for each part, all free.

    by        : "charge", "eta_sign", "central" (|eta| below and above 0.9), "eta" (24 slices), "slices" (24 x 2
                charges); of pairs "max_eta" (each bin of the eta of the muon with the larger |eta|: 14)
    parameter : the mass, unit 100 MeV; its parts are named after it

    Raises ConfigError for another split, or axes that the channel does not have.
    """
    axes = _axes(model)
    if by not in AXES:
        raise ConfigError(
            f"no split by '{by}'; the nearest are {', '.join(nearest(by, AXES) or AXES)}",
            kind="config.unknown_choice",
        )
    if not set(AXES[by]) <= set(axes):
        raise ConfigError(
            f"a split by '{by}' needs axes {', '.join(AXES[by])}; the channel has {', '.join(axes)}",
            kind="config.mode",
            do=f"choose among {', '.join(possible_splits(model))}",
        )
    binning = Binning(axes=axes, edges=tuple(tuple(e) for e in model.channels[0].edges))
    parts = [Part(name=f"{parameter}_{name}", bins=bins) for name, bins in _parts(binning, by).items()]
    return decorrelate(model, parameter, parts)


def compare(result: FitResult, parameter: str = MASS) -> Compatibility:
    """The parts of a fit of `split_mass`.

    parameter : that was split

    Raises NotCertified if the fit did not converge.
    """
    result.require_converged()
    names = tuple(name for name in result.parameters if name.startswith(f"{parameter}_") and name in result.pois)
    index = [result.parameters.index(name) for name in names]
    values, cov = UNIT * result.values[index], UNIT**2 * result.cov[np.ix_(index, index)]
    weights = np.linalg.solve(cov, np.ones(len(index)))
    mean = float(weights @ values / weights.sum())
    chi2 = float((values - mean) @ np.linalg.solve(cov, values - mean))
    return Compatibility(
        names=tuple(name.removeprefix(f"{parameter}_") for name in names), values=values, cov=cov, mean=mean,
        error=float(1.0 / np.sqrt(weights.sum())), chi2=chi2, p_value=float(chdtrc(len(index) - 1, chi2)),
    )  # fmt: skip


def _axes(model: Model) -> tuple[str, ...]:
    """Of the one channel."""
    if len(model.channels) > 1:
        raise ConfigError(
            f"the mass can be split in one channel, the model has {len(model.channels)}", kind="config.mode"
        )
    return tuple(model.channels[0].axes)


def _parts(binning: Binning, by: Split) -> dict[str, BoolArray]:
    if by == "max_eta":
        return _ranges(binning, "max_eta", 1)
    plus = binning.centres("charge") > 0 if "charge" in binning.axes else np.zeros(binning.n_bins, dtype=bool)
    if by == "charge":
        return {"plus": plus, "minus": ~plus}
    eta = binning.centres("eta")
    if by == "eta_sign":
        return {"forward": eta > 0, "backward": eta < 0}
    if by == "central":
        return {"central": np.abs(eta) < CENTRAL, "outer": np.abs(eta) >= CENTRAL}
    each = _ranges(binning, "eta", SLICE_BINS)
    if by == "eta":
        return each
    return {
        f"{sign}_{name}": bins & of for sign, of in (("plus", plus), ("minus", ~plus)) for name, bins in each.items()
    }


def _ranges(binning: Binning, axis: str, width: int) -> dict[str, BoolArray]:
    """The bins along an axis, `width` of them together, named after their limits."""
    edges = binning.edges[binning.axes.index(axis)]
    first = range(0, len(edges) - 1, width)
    last = [min(i + width, len(edges) - 1) for i in first]
    at = binning.along(axis) // width
    return {
        f"{axis}_{edges[a]:+.3g}_to_{edges[b]:+.3g}": at == i for i, (a, b) in enumerate(zip(first, last, strict=True))
    }
