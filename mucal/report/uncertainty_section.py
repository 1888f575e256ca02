"""The named uncertainties of a calibration: how many, from what, and what they do to a W mass."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.report.page import Section, Table
from mucal.store import Result
from mucal.wmass.published import CALIBRATION

PUBLISHED: Final = {
    "jpsi_stat": "J/psi stat", "zclosure_stat": "Z closure stat", "zclosure_lep": "Z closure LEP",
    "resolution_stat": "resolution", "pixel_mult": "pixel multiplicity",
}  # fmt: skip
"""Group -> its row in `wmass.published.CALIBRATION`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UncertaintyModel(Result):
    """The G groups of nuisances of a calibration.

    groups   : G names
    counts   : (G,)      nuisances
    factors  : (G,)      by which their standard deviations were multiplied
    w_impact : (G,) MeV  nominal impact on a W mass from muon momenta; NaN where it is not known
    sources  : G         what the first of each stands for
    """

    groups: tuple[str, ...]
    counts: IntArray
    factors: FloatArray
    w_impact: FloatArray
    sources: tuple[str, ...]

    def __post_init__(self) -> None:
        g = len(self.groups)
        check_shapes(self, counts=(g,), factors=(g,), w_impact=(g,))

    @property
    def line(self) -> str:
        """ "34 nuisances: jpsi_stat 12, zclosure_stat 8 …" """
        parts = ", ".join(f"{name} {n}" for name, n in zip(self.groups, self.counts.tolist(), strict=True))
        return f"{int(self.counts.sum())} nuisances: {parts}"

    def factor(self, group: str) -> float:
        """By which the standard deviations of a group were multiplied; 1 for a group that the release has not."""
        return float(self.factors[self.groups.index(group)]) if group in self.groups else 1.0


def uncertainty_section(model: UncertaintyModel | None) -> Section:
    """One row a group, beside the published numbers."""
    if model is None:
        return Section(title="Uncertainties")
    rows = []
    for i, group in enumerate(model.groups):
        impact, n = CALIBRATION.get(PUBLISHED.get(group, ""), (np.nan, 0))
        rows.append([
            group, str(int(model.counts[i])), f"{model.factors[i]:.3g}", _mev(float(model.w_impact[i])),
            str(n) if n else "–", _mev(impact),
        ])  # fmt: skip
    known = model.w_impact[np.isfinite(model.w_impact)]
    total, n_total = CALIBRATION["total"]
    rows.append([
        "total", str(int(model.counts.sum())), "", _mev(float(np.linalg.norm(known))) if known.size else "–",
        str(n_total), _mev(total),
    ])  # fmt: skip
    sources = [[group, source] for group, source in zip(model.groups, model.sources, strict=True)]
    return Section(
        title="Uncertainties",
        items=(
            Table(
                head=["Group", "Nuisances", "Factor", "m_W [MeV]", "CMS", "CMS m_W [MeV]"],
                rows=rows,
                caption="Named uncertainties of the release. m_W: nominal impact on a W mass from the spectrum of muon "
                "pT, momenta moved by each nuisance, added in squares; the total is of the groups with a number. CMS: "
                "arXiv:2412.13872.",
            ),
            Table(head=["Group", "What"], rows=sources, words=(0, 1), caption="What each group stands for", fold=True),
        ),
    )


def _mev(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "–"
