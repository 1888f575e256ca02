"""What the generator knows of a resonance: its mass spectrum and the spectrum of its momenta."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError, nearest
from mucal.theory import DrellYan, lineshape, resonance

QUANTILES: Final = 2**14
Z_WINDOW: Final = (50.0, 150.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentSpectrum:
    """Momenta of the decaying state: dN/dpT ~ pT / (1 + (pT/p0)^2)^n, flat in rapidity.

    p0, n           : GeV and power
    pt_low, pt_high : GeV, limits of the parent's transverse momentum
    rapidity_max    : limit of |rapidity|
    """

    p0: float
    n: float
    pt_low: float = 0.0
    pt_high: float = 200.0
    rapidity_max: float = 2.4

    def __post_init__(self) -> None:
        if not (self.p0 > 0 and self.n > 1 and 0 <= self.pt_low < self.pt_high and self.rapidity_max > 0):
            raise ValueError(f"{self}: expected p0 > 0, n > 1, 0 <= pt_low < pt_high, rapidity_max > 0")

    @property
    def kernel(self) -> FloatArray:
        """p0, n, and the fraction above each limit, as the kernel wants them."""
        above = [(1.0 + (pt / self.p0) ** 2) ** (1.0 - self.n) for pt in (self.pt_low, self.pt_high)]
        return np.array([self.p0, self.n, *above])


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Defaults for one resonance: momenta, lowest muon pT (GeV), window of the background (GeV)."""

    parent: ParentSpectrum
    pt_min: float
    window: tuple[float, float]


# Chosen so that the muons have the kinematics of recorded samples (tests/simulation/test_dimuons.py).  Below
# 7.4 GeV a J/psi, below 7.1 GeV a psi(2S), gives no two muons above 4 GeV; the limits leave room for the resolution.
# The radially excited states are given the spectra of the lowest one.
KINDS: Final = {
    "jpsi": Kind(parent=ParentSpectrum(p0=11.0, n=3.9, pt_low=6.8), pt_min=4.0, window=(2.6, 3.6)),
    "psi2s": Kind(parent=ParentSpectrum(p0=11.0, n=3.9, pt_low=6.5), pt_min=4.0, window=(3.3, 4.1)),
    "upsilon1s": Kind(parent=ParentSpectrum(p0=6.0, n=3.0), pt_min=4.0, window=(8.0, 12.0)),
    "upsilon2s": Kind(parent=ParentSpectrum(p0=6.0, n=3.0), pt_min=4.0, window=(8.0, 12.0)),
    "upsilon3s": Kind(parent=ParentSpectrum(p0=6.0, n=3.0), pt_min=4.0, window=(8.0, 12.0)),
    "z": Kind(parent=ParentSpectrum(p0=8.0, n=1.9), pt_min=26.0, window=Z_WINDOW),
}


def kind(name: str) -> Kind:
    """The defaults of one resonance.  Raises ConfigError that names the nearest known ones."""
    if name not in KINDS:
        raise ConfigError(
            f"no generator for the resonance '{name}'; the nearest are {', '.join(nearest(name, KINDS) or KINDS)}",
            kind="config.unknown_resonance",
            where={"known": ", ".join(KINDS)},
        )
    return KINDS[name]


def mass_quantiles(name: str) -> FloatArray:
    """Mass of the state before radiation in equal steps of probability, (Q,) GeV.

    The Z is Drell-Yan at leading order (`theory.lineshape.drell_yan`) in its window; the narrow states have no width.
    """
    if name != "z":
        return np.full(2, resonance(name).mass)
    m = np.linspace(*Z_WINDOW, 200_001)
    density = lineshape.drell_yan(m, DrellYan())
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]))])
    return np.interp(np.linspace(0.0, 1.0, QUANTILES), below / below[-1], m)
