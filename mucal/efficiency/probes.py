"""Tags and probes from muon pairs: both muons are tried as the tag."""

from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.efficiency.steps import Step
from mucal.errors import InputError
from mucal.units import MUON_MASS

TAG_PT: Final = 26.0
SEPARATION: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Probes:
    """N probes of one step, each with its tag.

    mass    : (N,) GeV   of the pair, by the momentum that the step prescribes
    pt, eta : (N,) GeV, -  of the probe, by the same
    charge  : (N,)       -1 or +1
    ut      : (N,) GeV   recoil along the probe's direction; NaN where it is not known
    passing : (N,)
    weight  : (N,)
    """

    mass: FloatArray
    pt: FloatArray
    eta: FloatArray
    charge: IntArray
    ut: FloatArray
    passing: BoolArray
    weight: FloatArray

    def __post_init__(self) -> None:
        for f in fields(self):
            if getattr(self, f.name).shape != self.mass.shape:
                raise ValueError(f"Probes.{f.name} has shape {getattr(self, f.name).shape}, mass {self.mass.shape}")

    def __len__(self) -> int:
        return self.mass.size


@dataclass(frozen=True, slots=True, kw_only=True)
class MuonFlags:
    """N pairs of muon candidates; every array but those of the event is (N, 2).

    pt, eta, phi, charge : of the muon (inner or combined track); NaN where there is only a standalone muon
    pt_standalone, eta_standalone, phi_standalone : of the standalone muon; NaN where there is none
    tag                  : fit to be a tag: identified, isolated, matched to the trigger
    flags                : name -> (N, 2): "track", "standalone", "global_muon", "idip", "trigger", "iso"
    recoil_x, recoil_y   : (N,) GeV, transverse recoil of the event; None if not known
    weight               : (N,)
    """

    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    charge: IntArray
    tag: BoolArray
    flags: dict[str, BoolArray]
    pt_standalone: FloatArray | None = None
    eta_standalone: FloatArray | None = None
    phi_standalone: FloatArray | None = None
    recoil_x: FloatArray | None = None
    recoil_y: FloatArray | None = None
    weight: FloatArray | None = None


def probes_of(muons: MuonFlags, step: Step, *, tag_pt: float = TAG_PT) -> Probes:
    """Opposite-sign pairs of a tag and a probe of that step; either muon of a pair may be the tag.

    muons  : candidates
    step   : says which flag makes a probe, which a passing one, and which momentum counts
    tag_pt : GeV, least pT of the tag

    Pairs are at least 0.3 apart in (eta, phi).  Raises InputError if a flag or momentum that the step needs is missing.
    """
    for name in (step.probe, step.passing):
        if name not in muons.flags:
            raise InputError(
                f"the step '{step.name}' needs the flag '{name}'",
                kind="efficiency.missing_flag",
                where={"known": ", ".join(muons.flags)},
                do="map a column to it",
            )
    momenta = _momenta(muons, step)
    parts = [_one_order(muons, momenta, step, tag, tag_pt) for tag in (0, 1)]
    return Probes(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Probes)})


def _momenta(muons: MuonFlags, step: Step) -> tuple[FloatArray, FloatArray, FloatArray]:
    if step.momentum == "muon":
        return muons.pt, muons.eta, muons.phi
    if muons.pt_standalone is None or muons.eta_standalone is None or muons.phi_standalone is None:
        raise InputError(
            f"the step '{step.name}' needs the momenta of standalone muons",
            kind="efficiency.missing_momentum",
            do="map columns to pt_standalone, eta_standalone, phi_standalone",
        )
    return muons.pt_standalone, muons.eta_standalone, muons.phi_standalone


def _one_order(
    muons: MuonFlags, momenta: tuple[FloatArray, FloatArray, FloatArray], step: Step, tag: int, tag_pt: float
) -> Probes:
    probe = 1 - tag
    pt, eta, phi = (array[:, probe] for array in momenta)
    with np.errstate(invalid="ignore"):
        keep = muons.tag[:, tag] & (muons.pt[:, tag] > tag_pt) & muons.flags[step.probe][:, probe]
        keep &= muons.charge[:, 0] * muons.charge[:, 1] < 0
        apart = np.hypot(muons.eta[:, tag] - eta, np.remainder(muons.phi[:, tag] - phi + np.pi, 2 * np.pi) - np.pi)
        keep &= apart > SEPARATION
    rows = np.flatnonzero(keep)
    pt, eta, phi = pt[rows], eta[rows], phi[rows]
    mass = _mass(muons.pt[rows, tag], muons.eta[rows, tag], muons.phi[rows, tag], pt, eta, phi)
    if muons.recoil_x is None or muons.recoil_y is None:
        ut = np.full(rows.size, np.nan)
    else:
        ut = muons.recoil_x[rows] * np.cos(phi) + muons.recoil_y[rows] * np.sin(phi)
    return Probes(
        mass=mass, pt=pt, eta=eta, charge=muons.charge[rows, probe], ut=ut,
        passing=muons.flags[step.passing][rows, probe],
        weight=np.ones(rows.size) if muons.weight is None else muons.weight[rows],
    )  # fmt: skip


def _mass(
    pt1: FloatArray, eta1: FloatArray, phi1: FloatArray, pt2: FloatArray, eta2: FloatArray, phi2: FloatArray
) -> FloatArray:
    """Invariant mass of two muons, GeV."""
    e1, e2 = np.hypot(pt1 * np.cosh(eta1), MUON_MASS), np.hypot(pt2 * np.cosh(eta2), MUON_MASS)
    dot = pt1 * pt2 * (np.cos(phi1 - phi2) + np.sinh(eta1) * np.sinh(eta2))
    result: FloatArray = np.sqrt(np.maximum(2 * MUON_MASS**2 + 2 * (e1 * e2 - dot), 0.0))
    return result
