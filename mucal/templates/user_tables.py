"""Templates from a user's own events: one row an event, weights of theory as columns.

The rows are those of the selected events of one process; any number of chunks of them add up.  Weights that
`theory.weight_columns` describes become nuisances as they are, without cells of helicities.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError, nearest
from mucal.templates.binning import Binning
from mucal.templates.filling import Chunk, Sums
from mucal.templates.variations import Effects, total
from mucal.theory.variation import log_ratio, symmetrised
from mucal.theory.weight_columns import SYMMETRISE, WeightFamily, weights


def user_chunk(
    binning: Binning, columns: Mapping[str, Any], families: Sequence[WeightFamily], *,
    axes: Mapping[str, str] | None = None, weight: str = "weight",
) -> tuple[Chunk, int]:  # fmt: skip
    """Events of a table, for `accumulate`, and how many weights were clipped.

    columns  : name -> (N,) or, for weights, (N, K)
    families : which of them are variations
    axes     : axis of the histogram -> column; None: of the same name
    weight   : column of the nominal weight

    Raises InputError for a missing column, and for weights that cannot be used.
    """
    names = dict(axes or {a: a for a in binning.axes})
    for name in (*names.values(), weight):
        if name not in columns:
            raise InputError(
                f"there is no column '{name}'", kind="input.missing_branch",
                where={"near": ", ".join(nearest(name, columns))},
            )  # fmt: skip
    values = [np.asarray(columns[names[a]], dtype=float) for a in binning.axes]
    nominal = np.asarray(columns[weight], dtype=float)
    bad = np.flatnonzero(~np.isfinite(nominal))
    if bad.size:
        raise InputError(
            f"{bad.size} of {nominal.size} nominal weights are not finite, the first in row {int(bad[0])}",
            kind="input.weight", where={"column": weight}, do="mend the weights, or leave these events out",
        )  # fmt: skip
    found, clipped = weights(families, columns)
    n = values[0].size
    chunk = Chunk(
        n_read=n,
        bins=binning.index(values),
        weight=nominal,
        cell=np.full(n, -1, dtype=np.int64),
        shares=np.zeros((n, 9)),
        names=_names(families),
        extra=found if families else np.zeros((n, 0)),
    )
    return chunk, clipped


def user_effects(sums: Sums, families: Sequence[WeightFamily]) -> Effects:
    """The nuisances that a user's weights become: names, groups and log-ratios.

    sums : of chunks of `user_chunk` with the same families
    """
    names: list[str] = []
    groups: list[str] = []
    rows: list[FloatArray] = []
    nominal = total([sums.nominal])
    at = 0
    for family in families:
        sides = 2 if family.two_sided else 1
        for name in family.names:
            up = log_ratio(sums.columns[:, at], nominal)
            down = log_ratio(sums.columns[:, at + sides - 1], nominal)
            at += sides
            kappas = symmetrised(up, down, SYMMETRISE[family.kind], family.scale)
            rows += kappas
            names += [name] if len(kappas) == 1 else [f"{name}_avg", f"{name}_diff"]
            groups += [family.group or family.name] * len(kappas)
    return Effects(names=tuple(names), groups=tuple(groups), kappa=np.array(rows).reshape(len(names), nominal.size))


def _names(families: Sequence[WeightFamily]) -> tuple[str, ...]:
    """Of the weights, side by side as `weights` returns them."""
    return tuple(f"{family.name}:{i}" for family in families for i in range(family.count))
