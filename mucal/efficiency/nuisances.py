"""Nuisances of the efficiencies, in the published grouping: 2784 statistical, 343 systematic, 531 of the veto.

    effStat_{step}_eta{i}_pt{k}_q{0|1|all}     the k-th eigenvariation of the scale factor in one (eta, charge)
    effSyst_{step}, effSyst_{step}_eta{i}      an alternative signal, everywhere at once and in one eta bin
    effSystAltBkg_{step}[_eta{i}]              an alternative background, for reco and tracking

A nuisance at +1 multiplies the expectation of what passes the step by (SF + d SF) / SF.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.efficiency.scale_factors import ScaleFactors
from mucal.efficiency.steps import STEPS
from mucal.store import Result

N_ETA: Final = 48
VETO_PARAMETERS: Final = 4
VETO_SYSTEMATICS: Final = ("reco", "tracking", "idip")


@dataclass(frozen=True, slots=True, kw_only=True)
class Nuisance:
    """One independent direction of an efficiency's uncertainty.

    name      : unique
    group     : "muon_eff_stat", "muon_eff_syst", and for the second muon the same with "_veto"
    step      : whose scale factor moves
    eta       : the bin of eta in which it moves; -1 for all
    charge    : the charge bin; -1 for both
    shift     : (E, Q, P) or (P,) change of the coefficients at +1
    """

    name: str
    group: str
    step: str
    eta: int
    charge: int
    shift: FloatArray

    def change(
        self, factors: ScaleFactors, eta: FloatArray, pt: FloatArray, charge: IntArray, ut: FloatArray | None = None
    ) -> FloatArray:
        """(N,) relative change of the scale factor of each muon at +1; 0 where it does not act."""
        surface = factors.nominal
        i, q = surface.slices(eta, charge)
        acts = ((i == self.eta) | (self.eta < 0)) & ((q == self.charge) | (self.charge < 0))
        result = np.zeros(i.size)
        if not acts.any():
            return result
        rows = surface.basis(np.asarray(pt)[acts], None if ut is None else np.asarray(ut)[acts])
        shift = self.shift if self.shift.ndim == 1 else self.shift[i[acts], q[acts]]
        nominal = np.einsum("np,np->n", rows, surface.coefficients[i[acts], q[acts]])
        result[acts] = (rows * shift).sum(axis=1) / nominal
        return result


def nuisances(factors: ScaleFactors, *, veto: bool = False, name: str = "") -> tuple[Nuisance, ...]:
    """All nuisances of one step.

    factors : with its alternatives, "signal" (effSyst) and "background" (effSystAltBkg); others under their own name
    veto    : of the veto on a second muon, whose nuisances are those of another step
    name    : in the place of the step's
    """
    step = name or factors.step
    suffix = "_veto" if veto else ""
    return (*_statistical(factors, step, suffix), *_systematic(factors, step, suffix))


def _statistical(factors: ScaleFactors, step: str, suffix: str) -> Iterator[Nuisance]:
    shifts = factors.nominal.eigenvariations()
    n_eta, n_charge, p, _ = shifts.shape
    for i in range(n_eta):
        for q in range(n_charge):
            for k in range(p):
                yield Nuisance(
                    name=f"effStat{suffix}_{step}_eta{i}_pt{k}_q{q if n_charge == 2 else 'all'}",
                    group=f"muon_eff_stat{suffix}", step=factors.step, eta=i, charge=q if n_charge == 2 else -1,
                    shift=shifts[i, q, k],
                )  # fmt: skip


def _systematic(factors: ScaleFactors, step: str, suffix: str) -> Iterator[Nuisance]:
    kinds = {"signal": "effSyst", "background": "effSystAltBkg"}
    for alternative in factors.alternatives:
        shift = factors.ratio(alternative)
        base = f"{kinds.get(alternative, f'effSyst_{alternative}')}{suffix}_{step}"
        for i in range(-1, shift.shape[0]):
            yield Nuisance(
                name=base if i < 0 else f"{base}_eta{i}", group=f"muon_eff_syst{suffix}", step=factors.step, eta=i,
                charge=-1, shift=shift,
            )  # fmt: skip


def published_counts() -> Mapping[str, int]:
    """The published grouping from the steps themselves: 2784 + 343 + 531 = 3658.  Source: arXiv:2412.13872."""
    stat = N_ETA * sum(step.n_variations * (1 + step.by_charge) for step in STEPS)
    syst = (N_ETA + 1) * (len(STEPS) + sum(step.alt_background for step in STEPS))
    veto = N_ETA * 2 * VETO_PARAMETERS + (N_ETA + 1) * len(VETO_SYSTEMATICS)
    return {"muon_eff_stat": stat, "muon_eff_syst": syst, "muon_eff_veto": veto, "muon_eff_all": stat + syst + veto}


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficiencyModel(Result):
    """Scale factors of all steps, and of the veto on a second muon; the weights and nuisances that follow.

    steps : in the order of the chain
    veto  : of the veto; None if the selection has none
    """

    steps: tuple[ScaleFactors, ...]
    veto: ScaleFactors | None = None
    notes: dict[str, str] = field(default_factory=dict)

    def step(self, name: str) -> ScaleFactors:
        """The scale factors of one step.  Raises ValueError that names those there are."""
        one: ScaleFactors
        for one in (*self.steps, *(() if self.veto is None else (self.veto,))):
            if one.step == name:
                return one
        raise ValueError(f"no scale factors of '{name}'; there are {', '.join(one.step for one in self.steps)}")

    def weight(
        self, eta: FloatArray, pt: FloatArray, charge: IntArray, ut: FloatArray | None = None,
        names: Sequence[str] | None = None,
    ) -> FloatArray:  # fmt: skip
        """(N,) product of the scale factors of all steps, or of those named, for muons that pass."""
        result = np.ones(np.asarray(eta).size)
        for one in self.steps:
            if names is None or one.step in names:
                result = result * one(eta, pt, charge, ut)
        return result

    def nuisances(self) -> tuple[Nuisance, ...]:
        """All of them: statistical and systematic of each step, then those of the veto."""
        found = [one for step in self.steps for one in nuisances(step)]
        if self.veto is not None:
            found += nuisances(self.veto, veto=True)
        return tuple(found)

    def only_veto(self) -> "EfficiencyModel":
        """The veto alone, without the steps."""
        return replace(self, steps=())

    def counts(self) -> Mapping[str, int]:
        """Group -> number of nuisances; the veto's together, as published."""
        found = [one.group for one in self.nuisances()]
        veto = sum(group.endswith("_veto") for group in found)
        counts = {group: found.count(group) for group in ("muon_eff_stat", "muon_eff_syst")}
        return counts | {"muon_eff_veto": veto, "muon_eff_all": len(found)}
