"""Recoil of Z and W with a known response and resolution, for closure of the recoil's calibration."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.numerics import normal, uniform
from mucal.templates.recoil import RecoilSample
from mucal.templates.recoil_vectors import unproject
from mucal.templates.reconstruction import RECOIL_RESPONSE, RECOIL_SIGMA

W_MASS: Final = 80.4
W_WIDTH: Final = 2.1


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoilTruth:
    """u_par = response (1 - exp(-(pT + 4) / rise)) pT + sigma z, u_perp = sigma z; z of two Gaussians.

    response    : at high pT
    rise        : GeV
    sigma       : GeV at pT = 0; sigma^2 grows by growth pT
    growth      : GeV
    tail        : fraction with twice the width
    """

    response: float = 0.85
    rise: float = 12.0
    sigma: float = 9.0
    growth: float = 1.5
    tail: float = 0.1

    def draw(self, pt: FloatArray, seed: int, purpose: str) -> tuple[FloatArray, FloatArray]:
        """(N,) u_par, u_perp in GeV for bosons of pT; numbers keyed by (seed, purpose, event)."""
        event = np.arange(pt.size)
        width = np.sqrt(self.sigma**2 + self.growth * pt)
        wide = np.where(uniform(seed, f"{purpose}/tail", event) < self.tail, 2.0, 1.0)
        along = self.response * (1.0 - np.exp(-(pt + 4.0) / self.rise)) * pt
        par = along + width * wide * normal(seed, f"{purpose}/par", event)
        return par, width * wide * normal(seed, f"{purpose}/perp", event)


BUILT_IN: Final = RecoilTruth(response=RECOIL_RESPONSE, rise=0.1, sigma=RECOIL_SIGMA, growth=0.0, tail=0.0)
"""The recoil of the detector with which templates are filled."""


def boson_pt(n: int, seed: int, purpose: str, p0: float = 8.0, power: float = 1.9) -> FloatArray:
    """(N,) GeV, dN/dpT ~ pT / (1 + (pT / p0)^2)^power below 115 GeV."""
    above = (1.0 + (115.0 / p0) ** 2) ** (1.0 - power)
    u = above + (1.0 - above) * uniform(seed, f"{purpose}/pt", np.arange(n))
    result: FloatArray = p0 * np.sqrt(u ** (1.0 / (1.0 - power)) - 1.0)
    return result


def generate_z_recoil(truth: RecoilTruth, n: int, seed: int) -> RecoilSample:
    """Recoil against the pair in Z -> mu mu, whose pT is measured well enough to be taken as true."""
    pt = boson_pt(n, seed, "recoil/z")
    par, perp = truth.draw(pt, seed, "recoil/z")
    return RecoilSample(pt=pt, u_par=par, u_perp=perp, weight=np.ones(n))


@dataclass(frozen=True, slots=True, kw_only=True)
class WRecoil:
    """N decays W -> mu nu, isotropic in the boson's frame, at rapidity 0: what mT needs.

    qx, qy        : (N,) GeV, of the boson
    muon_pt, muon_phi : (N,) GeV, rad
    u_par, u_perp : (N,) GeV
    """

    qx: FloatArray
    qy: FloatArray
    muon_pt: FloatArray
    muon_phi: FloatArray
    u_par: FloatArray
    u_perp: FloatArray

    @property
    def recoil(self) -> tuple[FloatArray, FloatArray]:
        """Its components along x and y, GeV."""
        return unproject(self.u_par, self.u_perp, self.qx, self.qy)


def generate_w_recoil(truth: RecoilTruth, n: int, seed: int) -> WRecoil:
    """W with the recoil of `truth`; equal seeds give the same bosons and decays."""
    event = np.arange(n)
    pt, phi = boson_pt(n, seed, "recoil/w"), 2 * np.pi * uniform(seed, "recoil/w/phi", event)
    line = np.tan(np.pi * (uniform(seed, "recoil/w/mass", event) - 0.5))
    mass = np.clip(W_MASS + 0.5 * W_WIDTH * line, 50.0, 120.0)
    cos = 2 * uniform(seed, "recoil/w/cos", event) - 1
    decay = 2 * np.pi * uniform(seed, "recoil/w/decay", event)
    # momentum of the muon in the boson's frame, x along the boson's pT; then a boost along x
    sin = np.sqrt(1 - cos**2)
    px, py, energy = 0.5 * mass * sin * np.cos(decay), 0.5 * mass * sin * np.sin(decay), 0.5 * mass
    gamma = np.sqrt(1 + (pt / mass) ** 2)
    along = gamma * px + pt / mass * energy
    x, y = along * np.cos(phi) - py * np.sin(phi), along * np.sin(phi) + py * np.cos(phi)
    par, perp = truth.draw(pt, seed, "recoil/w")
    return WRecoil(
        qx=pt * np.cos(phi), qy=pt * np.sin(phi), muon_pt=np.hypot(x, y), muon_phi=np.arctan2(y, x), u_par=par,
        u_perp=perp,
    )  # fmt: skip
