"""Candidates that weigh too much, and sums with a known correction put in."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mucal.arrays import FloatArray
from mucal.globalcor.normal_equations import NormalEquations
from mucal.globalcor.registry import Registry
from mucal.numerics.blocks import BLOCK, symmetric_blocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence:
    """One candidate's share of a diagonal element of the summed Hessian."""

    share: float
    parameter: str
    chunk: int
    candidate: int


def influences(equations: NormalEquations, registry: Registry, top: int = 10) -> list[Influence]:
    """The candidates with the largest shares, each once, largest first; of parameters that are not frozen."""
    total = equations.total()
    diagonal = equations.diagonal()
    enough = (total.entries >= registry.min_entries) & (diagonal > 0)
    share = np.where(enough, total.largest / np.where(diagonal > 0, diagonal, 1.0), 0.0)
    found: dict[tuple[int, int], Influence] = {}
    for i in np.argsort(-share, kind="stable"):
        if len(found) == top or share[i] == 0:
            break
        whose = (int(total.largest_chunk[i]), int(total.largest_candidate[i]))
        if whose not in found:
            found[whose] = Influence(
                share=float(share[i]), parameter=registry.names[i], chunk=whose[0], candidate=whose[1]
            )
    return list(found.values())


def to_exclude(equations: NormalEquations, registry: Registry, share: float) -> Mapping[int, tuple[int, ...]]:
    """Candidates that hold more than this share of a diagonal element, as `AccumulateConfig.exclude` takes them.

    The shares are known only when all is summed: accumulate again without these.
    """
    wanted: dict[int, list[int]] = {}
    for one in influences(equations, registry, top=len(registry)):
        if one.share > share:
            wanted.setdefault(one.chunk, []).append(one.candidate)
    return {chunk: tuple(sorted(candidates)) for chunk, candidates in sorted(wanted.items())}


def injected(equations: NormalEquations, registry: Registry, d: FloatArray) -> NormalEquations:
    """The sums as if the truth stood at +d more: g -> g - H d, exact for a quadratic chi2.  d (P,)."""
    whole = np.zeros(equations.n_groups * BLOCK)
    whole[registry.slot] = d
    partials = []
    for part in equations.partials:
        h = symmetric_blocks(equations.n_groups, part.keys, part.values)
        moved = h.product(whole) + part.kept.product(whole[:, None])[:, 0]
        partials.append(replace(part, gradient=part.gradient - moved[registry.slot]))
    return replace(equations, partials=tuple(partials))
