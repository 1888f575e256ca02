"""The error of a mass by source, in MeV, nominal and global, beside the published one.

The groups of a model are joined as the publication joins them, and the impact of each union is worked out anew:
nominal impacts of parts do not add.  A group without a published row keeps its own.  Source: arXiv:2412.13872.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.likelihood import FitResult, Model, Observation, global_impacts, nominal_impacts
from mucal.store import Result
from mucal.units import MeV
from mucal.wmass import published
from mucal.wmass.tensor import MASS, UNIT

Column = Literal["m_W", "m_Z W-like", "m_Z+ - m_Z-", "m_W+ - m_W-", ""]
"""Of `published.BREAKDOWN`; "" for a quantity that is not there."""

PATTERNS: Final = (
    (r"muon_eff.*", "muon reco efficiency"),
    (r"angular_coefficients", "angular coefficients"),
    (r"electroweak", "higher-order EW"),
    (r"pt_model", "pT model"),
    (r"pdf|alpha_s", "PDF"),
    (r"nonprompt.*", "nonprompt"),
    (r"luminosity", "luminosity"),
    (r".*_stat|.*closure.*|reference_mass.*|pixel.*|detector|alternative", "muon momentum scale"),
)
"""The first pattern that matches the whole name of a group says its source; those of a calibration come last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown(Result):
    """K sources, then the finite simulation and the data.

    quantity  :      what is uncertain
    sources   : (K,)
    numbers   : (K,)  nuisances of each; 0 for simulation and data
    nominal   : (K,) MeV
    response  : (K,) MeV  global impacts
    total     :      MeV
    published_nominal, published_response : (K,) MeV  NaN where there is none
    published_total : MeV
    """

    quantity: str
    sources: tuple[str, ...]
    numbers: tuple[int, ...]
    nominal: FloatArray
    response: FloatArray
    total: float
    published_nominal: FloatArray
    published_response: FloatArray
    published_total: float

    def __post_init__(self) -> None:
        k = (len(self.sources),)
        check_shapes(self, nominal=k, response=k, published_nominal=k, published_response=k, numbers=k)

    @property
    def quadrature(self) -> float:
        """MeV, root of the sum of squares of the global impacts: the total, if nothing is missing."""
        return float(np.linalg.norm(self.response))


def source_of(group: str) -> str:
    """The published source that a group of nuisances belongs to, or its own name."""
    return next((source for pattern, source in PATTERNS if re.fullmatch(pattern, group)), group)


def by_source(groups: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Groups joined by source, in the published order; then those without one."""
    found: dict[str, tuple[str, ...]] = {}
    for group, members in groups.items():
        found[source_of(group)] = (*found.get(source_of(group), ()), *members)
    order = [name for name in published.SOURCES if name in found]
    return {name: tuple(dict.fromkeys(found[name])) for name in (*order, *(n for n in found if n not in order))}


def breakdown(
    model: Model, data: Observation | FloatArray, result: FitResult, *, column: Column = "",
    poi: str | Mapping[str, float] = MASS,
) -> Breakdown:  # fmt: skip
    """The error of a mass, or of a sum of masses, by source.

    data   : what `result` was fitted to
    column : of the published table to set beside it
    poi    : parameter, or weights of a sum as {"mass_plus": 1, "mass_minus": -1}; unit 100 MeV

    Raises NotCertified for a fit that did not converge.
    """
    joined = replace(model, groups=by_source(model.groups))
    nominal = nominal_impacts(joined, data, result, poi)
    response = global_impacts(joined, data, result, poi)
    sources = (*nominal.groups, "MC size", "data size")
    to_mev = UNIT / MeV
    return Breakdown(
        quantity=column or nominal.poi,
        sources=sources,
        numbers=(*(len(joined.groups.get(name, ())) for name in nominal.groups), 0, 0),
        nominal=to_mev * np.array([*nominal.groups.values(), nominal.mc_stat, nominal.data_stat]),
        response=to_mev * np.array([*response.groups.values(), response.mc_stat, response.data_stat]),
        total=to_mev * nominal.total,
        published_nominal=_published(f"{column} nominal", sources),
        published_response=_published(f"{column} global", sources),
        published_total=published.TOTALS.get(f"{column} global", float("nan")),
    )


def _published(column: str, sources: tuple[str, ...]) -> FloatArray:
    rows = dict(zip(published.SOURCES, published.BREAKDOWN.get(column, ()), strict=False))
    return np.array([rows.get(name, np.nan) for name in sources])
