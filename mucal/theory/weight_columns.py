"""A user's weights as uncertainties: which slice of which column is what, written down as data.

    WeightFamily(name="pdf", column="LHEPdfWeight", first=1, count=58, kind="asym_hessian", scale=1/1.645, group="pdf")

Kinds: "asym_hessian", weights in the order up, down, up, down …, each pair becoming a symmetric and an antisymmetric
nuisance; "sym_hessian" and "mirror", one weight a nuisance; "up_down", one pair, averaged.  Weights are relative to the
column's entry `central` (1 where that is -1) and clipped, since a template is a sum that one outlier can spoil.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError, InputError, nearest
from mucal.theory.variation import Symmetrise

Kind = Literal["sym_hessian", "asym_hessian", "mirror", "up_down"]
SYMMETRISE: Final[Mapping[str, Symmetrise]] = {
    "sym_hessian": "mirror", "asym_hessian": "pair", "mirror": "mirror", "up_down": "average",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFamily:
    """A slice of one column of weights.

    name       : stem of the nuisances' names; "{name}_{i}" unless it is a single one
    column     : where the weights are: (N,) or (N, K)
    first      : position of the first weight of the slice
    count      : weights in the slice
    kind       : see above
    central    : position of the nominal weight, or -1 if the column is relative already
    scale      : factor on the log-ratios
    group      : in which impacts are counted; the name if empty
    processes  : those it acts on; all if empty
    clip       : weights are held within [1/clip, clip]
    """

    name: str
    column: str
    first: int = 0
    count: int = 1
    kind: Kind = "mirror"
    central: int = -1
    scale: float = 1.0
    group: str = ""
    processes: tuple[str, ...] = ()
    clip: float = 10.0

    def __post_init__(self) -> None:
        if self.kind not in SYMMETRISE:
            near = ", ".join(nearest(self.kind, SYMMETRISE) or SYMMETRISE)
            raise ConfigError(
                f"weights '{self.name}' are of kind '{self.kind}'; expected one of {near}", kind="config.weights"
            )
        if self.two_sided and self.count % 2:
            raise ConfigError(
                f"weights '{self.name}' are pairs, but {self.count} of them were named", kind="config.weights"
            )

    @property
    def two_sided(self) -> bool:
        """Whether weights come in pairs, up and down."""
        return self.kind in ("asym_hessian", "up_down")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the variations, before symmetrisation."""
        n = self.count // 2 if self.two_sided else self.count
        return (self.name,) if n == 1 else tuple(f"{self.name}_{i:0{len(str(n - 1))}d}" for i in range(n))


def weights(families: Iterable[WeightFamily], columns: Mapping[str, Any]) -> tuple[FloatArray, int]:
    """Relative weights of all families, side by side, and how many were clipped.

    columns : name -> array of shape (N,) or (N, K)

    Returns (N, D), in the order of the families and of their slices.
    Raises InputError for a missing or short column and for weights that are not finite.
    """
    parts, clipped = [], 0
    for family in families:
        values = _slice(family, columns)
        inside = np.clip(values, 1.0 / family.clip, family.clip)
        clipped += int(np.sum(inside != values))
        parts.append(inside)
    return (np.concatenate(parts, axis=1) if parts else np.zeros((0, 0))), clipped


def _slice(family: WeightFamily, columns: Mapping[str, Any]) -> FloatArray:
    if family.column not in columns:
        raise InputError(
            f"there is no column '{family.column}' for the weights '{family.name}'",
            kind="input.missing_branch",
            where={"near": ", ".join(nearest(family.column, columns))},
        )
    values = np.asarray(columns[family.column], dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    last = max(family.first + family.count, family.central + 1)
    if last > values.shape[1]:
        raise InputError(
            f"column '{family.column}' holds {values.shape[1]} weights, but '{family.name}' needs {last}",
            kind="input.short_column",
        )
    chosen: FloatArray = values[:, family.first : family.first + family.count]
    if family.central >= 0:
        chosen = chosen / values[:, family.central : family.central + 1]
    bad = np.argwhere(~np.isfinite(chosen))
    if bad.size:
        raise InputError(
            f"{len(bad)} weights of '{family.name}' are not finite, the first in row {int(bad[0][0])}",
            kind="input.weight",
            where={"column": family.column},
        )
    return chosen
