"""How muons come about: mass, momentum and polarisation of each state that decays, as tables that the kernel reads."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError, nearest
from mucal.simulation.resonance import QUANTILES, ParentSpectrum, mass_quantiles
from mucal.theory import lineshape, partons, resonance

W_WINDOW: Final = (20.0, 400.0)
"""GeV; masses of a W outside it are left out."""

MAX_RAPIDITY: Final = 5.0
Z_RAPIDITY: Final = 2.5
"""The rapidity of a pair lies between those of its muons: beyond this none of ours would be accepted."""

RAPIDITY_STEPS: Final = 501

PARENT_IDS: Final = {"w_plus": 24, "w_minus": -24}
QUARKONIA: Final = ("jpsi", "psi2s", "upsilon1s", "upsilon2s", "upsilon3s")
PROCESSES: Final = (*QUARKONIA, "z", *PARENT_IDS)
"""What can be generated: pairs of one resonance, or the muon of W -> mu nu."""

# dN/dpT ~ pT / (1 + (pT/p0)^2)^4 with p0 = 4.5 GeV for charmonium, and twice that for bottomonium.
_CHARMONIUM: Final = ParentSpectrum(p0=4.5, n=4.0, pt_high=150.0)
_BOTTOMONIUM: Final = ParentSpectrum(p0=9.0, n=4.0, pt_high=150.0)
SPECTRA: Final = {name: _CHARMONIUM if name in ("jpsi", "psi2s") else _BOTTOMONIUM for name in QUARKONIA}

# Burr distributions 1 - (1 + (pT/a)^c)^-k that follow the published near-equal-population binnings of pT to 2 %.
BURR: Final = {"z": (29.9, 1.400, 3.283), "w_plus": (18.28, 1.415, 1.607), "w_minus": (18.28, 1.415, 1.607)}
BOSON_PT_MAX: Final = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """One state's production and decay, as the kernel wants it: quantiles are values in equal steps of probability.

    mass         : (Q,) GeV  before radiation
    pt           : (Q,) GeV
    rapidity     : (Q,)
    forward      : (K,)      A_4 in equal steps of |y| from 0 to MAX_RAPIDITY: how the particle prefers the quark's side
    longitudinal :           A_0 at any pT, with A_2 = 0; NaN for a boson's A_0 = A_2 = (pT/m)^2 / (1 + (pT/m)^2)
    """

    mass: FloatArray
    pt: FloatArray
    rapidity: FloatArray
    forward: FloatArray
    longitudinal: float


def check_process(name: str) -> None:
    """Raises ConfigError that names the nearest known processes."""
    if name not in PROCESSES:
        raise ConfigError(
            f"no generator for '{name}'; the nearest are {', '.join(nearest(name, PROCESSES) or PROCESSES)}",
            kind="config.unknown_process",
            where={"known": ", ".join(PROCESSES)},
        )


def quarkonium(name: str, spectrum: ParentSpectrum, polarisation: float) -> Production:
    """A narrow state of 1 + lambda cos^2(theta), theta to the Collins-Soper axis; flat in rapidity.

    polarisation : lambda, -1 to 1; 0 is isotropic
    """
    u = np.linspace(0.0, 1.0, QUANTILES)
    p0, n, low, high = spectrum.kernel
    pt = p0 * np.sqrt((low + u * (high - low)) ** (1.0 / (1.0 - n)) - 1.0)
    return Production(
        mass=mass_quantiles(name), pt=pt, rapidity=spectrum.rapidity_max * np.array([-1.0, 1.0]),
        forward=np.zeros(2), longitudinal=2.0 * (1.0 - polarisation) / (3.0 + polarisation),
    )  # fmt: skip


def boson(name: str) -> Production:
    """A Z, a W+ or a W-, of the toy partons of `theory.partons`, with the transverse momenta of `BURR`."""
    a, c, k = BURR[name]
    last = 1.0 - (1.0 + (BOSON_PT_MAX / a) ** c) ** -k
    u = np.linspace(0.0, last, QUANTILES)
    y_max = Z_RAPIDITY if name == "z" else MAX_RAPIDITY
    y = np.linspace(-y_max, y_max, RAPIDITY_STEPS)
    pole = resonance("z" if name == "z" else "w").mass
    ahead = _luminosity(name, pole, y)[0]
    grid = np.linspace(0.0, MAX_RAPIDITY, RAPIDITY_STEPS)
    (front, preference), (back, opposed) = _luminosity(name, pole, grid), _luminosity(name, pole, -grid)
    total = np.where(front + back > 0.0, front + back, np.inf)  # beyond the kinematic limit there are none
    return Production(
        mass=mass_quantiles("z") if name == "z" else _w_masses(name),
        pt=a * ((1.0 - u) ** (-1.0 / k) - 1.0) ** (1.0 / c),
        rapidity=_quantiles(y, ahead + ahead[::-1]),
        forward=2.0 * (preference - opposed) / total,
        longitudinal=np.nan,
    )


def _luminosity(name: str, mass: FloatArray | float, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """F(y) and the same weighted with the handedness of both couplings."""
    if name == "z":
        return partons.z_luminosity(mass, y)
    value = partons.w_luminosity(+1 if name == "w_plus" else -1, mass, y)
    return value, value


def _w_masses(name: str) -> FloatArray:
    """dN/dm ~ 2 m L(m) / [(s - M^2)^2 + s^2 Gamma^2 / M^2], with L(m) the luminosity of all rapidities."""
    state = resonance("w")
    m = np.geomspace(*W_WINDOW, 100_001)
    coarse = np.geomspace(*W_WINDOW, 61)
    y = np.linspace(-8.0, 8.0, 801)
    luminosity = _luminosity(name, coarse[:, None], y[None, :])[0].sum(axis=1)
    shape = lineshape.breit_wigner_running(m, state.mass, state.width) / m**2  # over s: dx1 dx2 = ds dy / S
    return _quantiles(m, shape * m * np.exp(np.interp(np.log(m), np.log(coarse), np.log(luminosity))))


def _quantiles(x: FloatArray, density: FloatArray) -> FloatArray:
    """Values of x in equal steps of probability of a density on it."""
    below = np.concatenate([[0.0], np.cumsum(0.5 * (density[1:] + density[:-1]) * np.diff(x))])
    return np.interp(np.linspace(0.0, 1.0, QUANTILES), below / below[-1], x)
