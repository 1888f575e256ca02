"""From the sums of samples to the log-ratios of processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.templates.binning import CELLS
from mucal.templates.filling import Sums
from mucal.templates.response import MOMENTS
from mucal.templates.smoothing import smooth_rows
from mucal.theory.production import production
from mucal.theory.variation import DOWN, UP, Variation, log_ratio, symmetrised

POINTS = 4
"""Points of pT and of |y| that a cell's factor is averaged over, equally probable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Names (S,), groups (S,) and log-ratios (S, B) of the nuisances of one process."""

    names: tuple[str, ...]
    groups: tuple[str, ...]
    kappa: FloatArray


def column_name(variation: Variation, side: int) -> str:
    """Of the relative weight of one side of a variation of whole events."""
    return f"{variation.name}:{'up' if side == UP else 'down'}"


def theory_effects(sums: Mapping[str, Sums], variations: Sequence[Variation]) -> Effects:
    """The theory nuisances of a process that is the sum of samples.

    sums : sample -> its sums, normalised to events
    """
    nominal = total([s.nominal for s in sums.values()])
    sides = {side: _varied(sums, variations, side) for side in (UP, DOWN)}
    names: list[str] = []
    groups: list[str] = []
    rows: list[FloatArray] = []
    for j, v in enumerate(variations):
        up, down = (log_ratio(sides[side][j], nominal) for side in (UP, DOWN))
        rows += symmetrised(up, down, v.symmetrise, v.scale)
        names += v.nuisances
        groups += [v.group] * len(v.nuisances)
    return Effects(names=tuple(names), groups=tuple(groups), kappa=np.array(rows).reshape(len(names), nominal.size))


def _varied(sums: Mapping[str, Sums], variations: Sequence[Variation], side: int) -> FloatArray:
    """(V, B) varied events, all samples together; nominal where a side does not exist."""
    result = np.zeros((len(variations), next(iter(sums.values())).nominal.size))
    for sample, s in sums.items():
        result += s.nominal
        by_terms = [j for j, v in enumerate(variations) if v.terms and sample in v.samples and side in v.sides]
        factors = np.array([cell_factors(sample, variations[j], side).ravel() for j in by_terms])
        if by_terms:
            result[by_terms] += (factors - 1.0) @ s.cells.reshape(s.nominal.size, -1).T
        for j, v in enumerate(variations):
            if v.events and sample in v.samples and side in v.sides:
                result[j] += s.columns[:, s.names.index(column_name(v, side))] - s.nominal
    return result


def cell_factors(sample: str, variation: Variation, side: int) -> FloatArray:
    """(G, 9) a variation's factors on the helicity terms, averaged over the production in each cell."""
    pt, y = _cell_points(sample)
    assert variation.terms is not None
    factors = variation.terms(sample, pt.ravel(), y.ravel(), side)
    result: FloatArray = factors.reshape(CELLS.n_bins, -1, 9).mean(axis=1)
    return result


@lru_cache(maxsize=8)
def _cell_points(sample: str) -> tuple[FloatArray, FloatArray]:
    """(G, POINTS^2) pT and |y| that stand for each cell: middles of equally probable pieces."""
    made = production(sample)
    pt, y = (_middles(table, np.array(e)) for table, e in zip((made.pts, made.rapidities), CELLS.edges, strict=True))
    shape = (*CELLS.shape, POINTS, POINTS)
    return (
        np.broadcast_to(pt[:, None, :, None], shape).reshape(CELLS.n_bins, -1),
        np.broadcast_to(y[None, :, None, :], shape).reshape(CELLS.n_bins, -1),
    )


def _middles(quantiles: FloatArray, edges: FloatArray) -> FloatArray:
    """(bins, POINTS) middles of equally probable pieces of each bin."""
    steps = np.linspace(0.0, 1.0, quantiles.size)
    at = np.interp(edges, quantiles, steps)
    pieces = at[:-1, None] + np.diff(at)[:, None] * (np.arange(POINTS) + 0.5) / POINTS
    return np.interp(pieces, steps, quantiles)


def total(parts: Sequence[FloatArray]) -> FloatArray:
    """The sum of at least one array of equal shapes."""
    result: FloatArray = np.sum(parts, axis=0)
    return result


def response_effects(sums: Sequence[Sums], shifts: FloatArray, basis: FloatArray | None = None) -> FloatArray:
    """(S, B) log-ratios of calibration nuisances, half the difference of +1 and -1.

    shifts : (S, 6, B) of the parameters, from `response.bin_shifts`
    basis  : (E T, C) polynomials by which the six moments over the nominal are made smooth; None: as they are
    """
    nominal = total([s.nominal for s in sums])
    moment = total([s.columns[:, [s.names.index(m) for m in MOMENTS]] for s in sums]).T
    if basis is not None:
        ratio = np.divide(moment, nominal, out=np.zeros_like(moment), where=nominal > 0)
        moment = smooth_rows(ratio, nominal, basis) * nominal
    return _odd_part(np.einsum("spb,pb->sb", shifts, moment), nominal)


def column_effects(sums: Sequence[Sums], names: Sequence[str]) -> FloatArray:
    """(S, B) the same for nuisances whose relative change of weight was summed itself, under `names`."""
    nominal = total([s.nominal for s in sums])
    change = total([s.columns[:, [s.names.index(n) for n in names]] for s in sums]).T
    return _odd_part(change, nominal)


def _odd_part(change: FloatArray, nominal: FloatArray) -> FloatArray:
    same = np.broadcast_to(nominal, change.shape)
    result: FloatArray = 0.5 * (log_ratio(nominal + change, same) - log_ratio(nominal - change, same))
    return result


def by_pt_and_y(sums: Sums, pt_edges: Sequence[float], y_edges: Sequence[float]) -> FloatArray:
    """(H, 9, B) sums of helicity shares in coarser bins of pT and |y|; the last bins are open.

    Raises ValueError if an edge is not among those of the cells.
    """
    to = [
        _coarse(np.array(fine), np.array(coarse)) for fine, coarse in zip(CELLS.edges, (pt_edges, y_edges), strict=True)
    ]
    n = (len(pt_edges), len(y_edges))
    where = (to[0][:, None] * n[1] + to[1][None, :]).ravel()
    result = np.zeros((n[0] * n[1], 9, sums.nominal.size))
    np.add.at(result, where, np.moveaxis(sums.cells, 0, 2))
    return result


def _coarse(fine: FloatArray, coarse: FloatArray) -> IntArray:
    if not np.all(np.isin(coarse, fine)):
        raise ValueError(f"edges {coarse.tolist()} are not all among those of the cells {fine.tolist()}")
    return (np.searchsorted(coarse, fine[:-1], side="right") - 1).astype(np.int64)
