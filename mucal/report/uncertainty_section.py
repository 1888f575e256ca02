"""The named uncertainties of a calibration: how many, from what, and what they do to a W mass."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.report.page import Section, Table
from mucal.scale.inflation import SIGNIFICANT, Inflation
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
    inflation : what the closures ask of the errors of the scale; None without closures
    """

    groups: tuple[str, ...]
    counts: IntArray
    factors: FloatArray
    w_impact: FloatArray
    sources: tuple[str, ...]
    inflation: Inflation | None = None

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

    @property
    def uncovered(self) -> str:
        """What is wrong with the factor on the errors of the scale, in a sentence; empty where nothing is."""
        applied = self.factor(self.groups[0])
        if self.inflation is None or applied >= self.inflation.largest:
            return ""
        return (
            f"the errors of the scale are multiplied by {applied:.3g}; what "
            f"{' and '.join(self.inflation.resonances)} find asks for up to {self.inflation.largest:.3g}"
        )


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
            *inflation_items(model),
            Table(head=["Group", "What"], rows=sources, words=(0, 1), caption="What each group stands for", fold=True),
        ),
    )


def inflation_items(model: UncertaintyModel) -> tuple[Table, ...]:
    """The factors on the errors of the scale that the closures ask for, beside the one that was applied."""
    asked = model.inflation
    if asked is None:
        return ()
    applied = model.factor(model.groups[0])  # the statistics of the scale come first
    named = {"all": asked.together, "A (charge even)": asked.even, "M (charge odd)": asked.odd}
    named |= dict(zip(asked.resonances, asked.each, strict=True))
    rows = [
        [name, f"{one.chi2:.1f} / {one.ndf}", f"{one.p_value:.2g}", _factor(one.factor)]
        for name, one in named.items()
        if one.ndf
    ]
    rows += [
        ["one direction of A", "", "", _factor(asked.direction_even)],
        ["one direction of M", "", "", _factor(asked.direction_odd)],
        ["applied", "", "", f"{applied:.2f}"],
    ]
    return (
        Table(
            head=["Residuals", "χ² / ndf", "p", "Factor"], rows=rows, words=(0,),
            caption="Residuals of the closures with the errors of the scale as they are, and the factor on these "
            "errors that makes χ² the number of residuals. It counts where p is below "
            f"{SIGNIFICANT:g}: other residuals are explained by the errors, and their factor by a fluctuation.",
        ),
    )  # fmt: skip


def _factor(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "none is enough"


def _mev(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "–"
