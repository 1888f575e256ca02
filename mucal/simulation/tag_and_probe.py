"""Z -> mu mu pairs whose muons pass or fail each selection step with a known efficiency."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.special import ndtr

from mucal.arrays import BoolArray, FloatArray
from mucal.efficiency.probes import MuonFlags
from mucal.numerics import normal, uniform
from mucal.simulation.dimuons import DimuonSimulation, SimulatedDimuons, generate_dimuons


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTruth:
    """True efficiency of one step.

    plateau Phi((pT - turn_on) / rise) (1 - fall (eta / 2.4)^2) + q skew + ut_slope u_T / 100, within [0, 1].

    plateau       : at high pT in the centre
    turn_on, rise : GeV
    fall          : relative loss at |eta| = 2.4
    skew          : half the difference between the charges
    ut_slope      : for 100 GeV of u_T
    background    : factor for muons that are no signal
    """

    plateau: float
    turn_on: float = 0.0
    rise: float = 8.0
    fall: float = 0.0
    skew: float = 0.0
    ut_slope: float = 0.0
    background: float = 1.0

    def __call__(self, eta: FloatArray, pt: FloatArray, charge: FloatArray, ut: FloatArray) -> FloatArray:
        """Efficiency in [0, 1]; shapes as of the broadcast arguments."""
        rising = ndtr((pt - self.turn_on) / self.rise) * (1.0 - self.fall * (eta / 2.4) ** 2)
        result: FloatArray = np.clip(self.plateau * rising + charge * self.skew + self.ut_slope * ut / 100.0, 0.0, 1.0)
        return result


TRUTH: Final[Mapping[str, StepTruth]] = {
    "reco": StepTruth(plateau=0.985, turn_on=10.0, fall=0.02, background=0.7),
    "tracking": StepTruth(plateau=0.995, fall=0.005, skew=0.001),
    "idip": StepTruth(plateau=0.98, turn_on=5.0, fall=0.03, skew=0.002, background=0.6),
    "trigger": StepTruth(plateau=0.93, turn_on=18.0, rise=6.0, fall=0.10, skew=0.003, ut_slope=-0.01),
    "iso": StepTruth(plateau=0.96, turn_on=8.0, rise=14.0, ut_slope=-0.06, background=0.3),
}
"""Of the sizes that the CMS steps have; not those of any detector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagAndProbeSimulation:
    """What is generated besides the pairs.

    dimuons               : the pairs; the resonance is the Z
    truth                 : step -> its true efficiency
    recoil_response       : recoil over pT of the Z
    recoil_sigma          : GeV, in x and in y
    standalone_resolution : relative, of the standalone muon's pT
    """

    dimuons: DimuonSimulation = field(
        default_factory=lambda: DimuonSimulation(resonance="z", pt_min=15.0, background_slope=0.03)
    )
    truth: Mapping[str, StepTruth] = field(default_factory=lambda: dict(TRUTH))
    recoil_response: float = 0.8
    recoil_sigma: float = 10.0
    standalone_resolution: float = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class TagAndProbePairs:
    """Pairs with their flags and their truth.

    muons  : as `efficiency.probes_of` takes them
    pairs  : the generated pairs
    ut     : (N, 2) GeV    recoil along each muon
    """

    muons: MuonFlags
    pairs: SimulatedDimuons
    ut: FloatArray


def generate_tag_and_probe(config: TagAndProbeSimulation, n: int, *, first_event: int = 0) -> TagAndProbePairs:
    """The accepted pairs among n generated events, each muon passing or failing by its true efficiency.

    A track and a standalone muon are found independently, with the efficiencies "tracking" and "reco"; a global muon
    has both.  Every random number is a function of (seed, purpose, event, muon).
    """
    pairs = generate_dimuons(config.dimuons, n, first_event=first_event)
    d, seed = pairs.dimuons, config.dimuons.seed
    event, muon = d.event, np.arange(2)[None, :]
    px, py = (d.pt * np.cos(d.phi)).sum(axis=1), (d.pt * np.sin(d.phi)).sum(axis=1)
    ux, uy = (
        -config.recoil_response * p + config.recoil_sigma * normal(seed, f"tag_and_probe/recoil_{axis}", event)
        for axis, p in (("x", px), ("y", py))
    )
    ut = ux[:, None] * np.cos(d.phi) + uy[:, None] * np.sin(d.phi)
    passed = {name: _passes(config.truth[name], name, pairs, ut, seed) for name in config.truth}
    flags = {"track": passed["tracking"], "standalone": passed["reco"]}
    flags["global_muon"] = flags["track"] & flags["standalone"]
    for name, before in (("idip", "global_muon"), ("trigger", "idip"), ("iso", "trigger")):
        flags[name] = flags[before] & passed[name]
    lost = ~flags["track"]
    smear = normal(seed, "tag_and_probe/standalone", event[:, None], muon)
    pt_standalone = d.pt * np.exp(config.standalone_resolution * smear)
    muons = MuonFlags(
        pt=np.where(lost, np.nan, d.pt), eta=np.where(lost, np.nan, d.eta), phi=np.where(lost, np.nan, d.phi),
        charge=d.charge, tag=flags["iso"], flags=flags,
        pt_standalone=np.where(flags["standalone"], pt_standalone, np.nan), eta_standalone=d.eta, phi_standalone=d.phi,
        recoil_x=ux, recoil_y=uy,
    )  # fmt: skip
    return TagAndProbePairs(muons=muons, pairs=pairs, ut=ut)


def _passes(truth: StepTruth, name: str, pairs: SimulatedDimuons, ut: FloatArray, seed: int) -> BoolArray:
    d = pairs.dimuons
    eff = truth(d.eta, d.pt, d.charge.astype(float), ut)
    eff = eff * np.where(pairs.signal, 1.0, truth.background)[:, None]
    drawn = uniform(seed, f"tag_and_probe/{name}", d.event[:, None], np.arange(2)[None, :])
    result: BoolArray = drawn < eff
    return result
