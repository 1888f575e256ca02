"""What a detector makes of generated W and Z: a smeared muon, a recoil, the selection; and the relative weights.

The measured curvature is k (1 + sigma z); the recoil has a response of 0.97 and a resolution of 11 GeV in each
component, or those of a calibration; it enters by the transverse mass, and by u_T where an efficiency depends on it.
Selections are those of arXiv:2412.13872.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtri

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.numerics import keyed
from mucal.scale.table import ResolutionTable
from mucal.templates.recoil import Place, RecoilCalibration
from mucal.templates.recoil_effects import draw_recoil
from mucal.templates.recoil_vectors import transverse_mass, transverse_mass_slopes
from mucal.templates.response import relative_resolution
from mucal.theory.generator import ETA, FIRST, PHI, PT, SECOND, BosonEvents
from mucal.track import invariant_mass
from mucal.units import MUON_MASS

RECOIL_RESPONSE: Final = 0.97
RECOIL_SIGMA: Final = 11.0
"""GeV."""
MT_MIN: Final = {"w": 40.0, "wlike": 45.0}
"""GeV."""
VETO_PT: Final = 15.0
"""GeV; a second muon above it, within |eta| < 2.4, rejects a W candidate."""
ETA_MAX: Final = 2.4
MASS_WINDOW: Final = (60.0, 120.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Muons of N events as measured; two columns (mu+ and mu-) for pairs, one for a W.

    pt, eta, charge : (N, 1 or 2)
    pt_true, pull   : (N, 1 or 2)  before measurement, and z
    sigma           : (N, 1 or 2)  relative resolution
    d               : (N, 1 or 2)  GeV^2, parameter of the resolution
    """

    pt: FloatArray
    eta: FloatArray
    charge: FloatArray
    pt_true: FloatArray
    pull: FloatArray
    sigma: FloatArray
    d: FloatArray


def measure(events: BosonEvents, table: ResolutionTable) -> Measured:
    """The muons of W or Z events with the resolution of a table."""
    pair = events.sample == "z"
    muons = events.leptons[:, :2] if pair else events.leptons[:, :1]
    charge = np.array([[1.0, -1.0]]) if pair else np.array([[1.0 if events.sample == "w_plus" else -1.0]])
    pt_true, eta = muons[:, :, PT], muons[:, :, ETA]
    pull = ndtri(events.spare[:, : muons.shape[1]])
    sigma = relative_resolution(table, pt_true, eta)
    at = np.clip(np.searchsorted(table.eta_edges, eta, side="right") - 1, 0, table.n_bins - 1)
    factor = np.maximum(1.0 + sigma * pull, 1e-3)
    return Measured(
        pt=pt_true / factor, eta=eta, charge=np.broadcast_to(charge, eta.shape), pt_true=pt_true, pull=pull,
        sigma=sigma, d=table.d[at],
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRecoil:
    """The recoil of N events against the boson, whose direction is the x axis.

    u_par, u_perp : (N,) GeV
    places        : of both among the quantiles of a calibration; empty without one
    """

    u_par: FloatArray
    u_perp: FloatArray
    places: tuple[Place, ...] = ()

    def transverse_mass(self, events: BosonEvents, measured: Measured, muon: int) -> FloatArray:
        """(N,) GeV of one muon and what is missing: all but this muon and the recoil, a pair's other muon, too."""
        return transverse_mass(measured.pt[:, muon], events.leptons[:, muon, PHI], -self.u_par, self.u_perp)

    def mt_slopes(self, events: BosonEvents, measured: Measured, muon: int) -> tuple[FloatArray, FloatArray]:
        """(N,) derivatives of the transverse mass by u_par and u_perp."""
        phi = events.leptons[:, muon, PHI]
        by_x, by_y = transverse_mass_slopes(measured.pt[:, muon], phi, -self.u_par, self.u_perp)
        return -by_x, by_y

    def along(self, events: BosonEvents, muon: int) -> FloatArray:
        """(N,) GeV: u_T, the recoil on the direction of a muon."""
        phi = events.leptons[:, muon, PHI]
        result: FloatArray = self.u_perp * np.sin(phi) - self.u_par * np.cos(phi)
        return result


def measure_recoil(events: BosonEvents, calibration: RecoilCalibration | None = None) -> MeasuredRecoil:
    """The recoil of the built-in detector, or that of a calibration's simulation carried to data."""
    score = ndtri(events.spare[:, 2:4])
    if calibration is None:
        return MeasuredRecoil(
            u_par=RECOIL_RESPONSE * events.pt - RECOIL_SIGMA * score[:, 0], u_perp=RECOIL_SIGMA * score[:, 1]
        )
    u_par, u_perp, places = draw_recoil(calibration, events.pt, score)
    return MeasuredRecoil(u_par=u_par, u_perp=u_perp, places=places)


def unvetoed(events: BosonEvents, measured: Measured, muon: int) -> BoolArray:
    """Whether there is exactly one muon: for a Z the other one is too soft or too far forward."""
    if events.sample != "z":
        return np.ones(len(events), dtype=bool)
    other = 1 - muon
    result: BoolArray = (measured.pt[:, other] < VETO_PT) | (np.abs(measured.eta[:, other]) > ETA_MAX)
    return result


def selected_pair(events: BosonEvents, measured: Measured) -> tuple[BoolArray, FloatArray]:
    """Both muons of 26 to 60 GeV and |eta| < 2.4, 60 < m < 120 GeV; and the mass (N,) GeV."""
    mass = invariant_mass(measured.pt, measured.eta, events.leptons[:, :, PHI])
    inside = (measured.pt > 26.0) & (measured.pt < 60.0) & (np.abs(measured.eta) < ETA_MAX)
    keep: BoolArray = inside.all(axis=1) & (mass > MASS_WINDOW[0]) & (mass < MASS_WINDOW[1])
    return keep, mass


def pair_momentum(events: BosonEvents, measured: Measured) -> tuple[FloatArray, FloatArray]:
    """(N,) GeV, (N,) transverse momentum and rapidity of pairs."""
    phi, pt = events.leptons[:, :, PHI], measured.pt
    x, y, z = ((pt * f).sum(axis=1) for f in (np.cos(phi), np.sin(phi), np.sinh(measured.eta)))
    energy = np.sqrt((pt * np.cosh(measured.eta)) ** 2 + MUON_MASS**2).sum(axis=1)
    return np.hypot(x, y), np.arctanh(z / energy)


def chosen_muon(events: BosonEvents, seed: int, flipped: bool) -> IntArray:
    """(N,) the muon that plays the W's: mu- of even events, mu+ of odd ones, or the other way round.

    The numbers of real events are unrelated to their kinematics; those of a low-discrepancy sequence are not, so that
    a keyed bit stands for the parity.
    """
    even = keyed.uniform(seed, "templates.parity", events.event) < 0.5
    return np.where(even ^ flipped, SECOND, FIRST).astype(np.int64)
