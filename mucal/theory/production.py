"""pp -> W+, W-, Z at 13 TeV: what the generator draws from, and the exact weight of another mass, width or mixing.

    dN/ds dy ~ sum_t even_t(s) [F_t(y) + F_t(-y)] / s^2,      A_4 = 2 sum_t odd_t(s) [F_t(y) - F_t(-y)] / even part,

with F_t the parton luminosities of `theory.partons` for up- and down-type quarks (a W has one type), and even, odd the
squared amplitude: s^2 / [(s - M^2)^2 + s^2 G^2 / M^2] for a W, photon, Z and their interference for a Z.  Luminosities
are read from a table in ln m and |y|, bilinearly: the table is the truth of every sample made from it.
Documented in docs/physics/theory.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import ConfigError, nearest
from mucal.theory import boson_pt, kernels, partons
from mucal.theory.lineshape import SIN2_THETA

SAMPLES: Final = ("w_plus", "w_minus", "z")

POLES: Final[Mapping[str, tuple[float, float]]] = {
    "w_plus": (80.379, 2.09114), "w_minus": (80.379, 2.09114), "z": (91.1876, 2.49413),
}  # fmt: skip
"""GeV, mass and width of the running-width shape: the simulation's values in arXiv:2412.13872."""

CROSS_SECTIONS: Final[Mapping[str, float]] = {"w_plus": 11765.9, "w_minus": 8703.87, "z": 2001.9}
"""pb, one lepton flavour, the Z above 50 GeV: those that normalise the simulation of arXiv:2412.13872."""

LUMINOSITY: Final = 16810.0
"""1/pb."""

WINDOWS: Final[Mapping[str, tuple[float, float]]] = {
    "w_plus": (20.0, 400.0), "w_minus": (20.0, 400.0), "z": (50.0, 200.0),
}  # fmt: skip
"""GeV; masses outside are left out."""

MAX_RAPIDITY: Final = 5.0
MASS_STEPS, RAPIDITY_STEPS, QUANTILES = 81, 251, 4097
UNIFORM_SHARE: Final = 0.05
"""Of the rapidities drawn: so that no weight grows where the luminosity of the pole vanishes."""

Density = Callable[[str, FloatArray], FloatArray]
"""Momentum density x f(x) of a flavour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Production:
    """One boson's production, as the generator wants it.

    sample       :            name, of `SAMPLES`
    coupling     : (2, 7)     see `kernels.matrix_element`
    masses       : (Q,) GeV   in equal steps of probability, the proposal
    grid         : (3,)       lowest ln m, its step, highest |y|
    luminosities : (K, Y, 4)  F(y) + F(-y), up and down type; F(y) - F(-y), up and down type
    rapidities   : (Q,)       |y| in equal steps of probability, the proposal
    pts          : (Q,) GeV   in equal steps of probability
    norm         :            mean weight before normalisation
    """

    sample: str
    coupling: FloatArray
    masses: FloatArray
    grid: FloatArray
    luminosities: FloatArray
    rapidities: FloatArray
    pts: FloatArray
    norm: float

    def __post_init__(self) -> None:
        check_shapes(self, coupling=(2, 7), grid=(3,))

    @property
    def charge(self) -> int:
        """+1, -1, or 0 for a Z."""
        return {"w_plus": 1, "w_minus": -1}.get(self.sample, 0)

    @property
    def events(self) -> float:
        """Produced in `LUMINOSITY`."""
        return CROSS_SECTIONS[self.sample] * LUMINOSITY


def check_sample(sample: str) -> None:
    """Raises ConfigError that names the nearest known samples."""
    if sample not in SAMPLES:
        near = nearest(sample, SAMPLES) or SAMPLES
        raise ConfigError(f"no sample '{sample}'; the nearest are {', '.join(near)}", kind="config.unknown_sample")


@lru_cache(maxsize=8)
def production(
    sample: str, mass: float | None = None, width: float | None = None, sin2_theta: float = SIN2_THETA,
    density: Density = partons.momentum_density,
) -> Production:  # fmt: skip
    """The tables of one boson.

    sample      : of `SAMPLES`
    mass, width : GeV; None: those of `POLES`
    sin2_theta  : effective leptonic mixing, for the Z
    density     : of the partons

    Raises ConfigError for an unknown sample.
    """
    check_sample(sample)
    coupling = couplings(sample, mass, width, sin2_theta)
    low, high = WINDOWS[sample]
    pole = float(coupling[0, 0])
    log_mass = np.linspace(np.log(low), np.log(high), MASS_STEPS)
    y = np.linspace(0.0, MAX_RAPIDITY, RAPIDITY_STEPS)
    table = luminosities(sample, np.exp(log_mass)[:, None], y[None, :], density)
    grid = np.array([log_mass[0], log_mass[1] - log_mass[0], MAX_RAPIDITY])
    steps = boson_pt.Z_STEPS if sample == "z" else boson_pt.W_STEPS
    made = Production(
        sample=sample, coupling=coupling, masses=_masses((low, high), coupling, grid, table), grid=grid,
        luminosities=table,
        rapidities=_rapidities(pole, coupling, grid, table), pts=boson_pt.quantiles(steps, QUANTILES), norm=1.0,
    )  # fmt: skip
    return Production(**{name: getattr(made, name) for name in made.__slots__} | {"norm": _integral(made)})


def couplings(
    sample: str, mass: float | None = None, width: float | None = None, sin2_theta: float = SIN2_THETA
) -> FloatArray:
    """(2, 7) squared amplitude of up- and down-type quarks; see `kernels.matrix_element`.  Arguments as `production`.

    Source: Review of Particle Physics, cross-section formulae, e+e- -> gamma*/Z, crossed; v = T3 - 2 Q sin^2, a = T3.
    """
    pole = POLES[sample][0] if mass is None else mass
    gamma = POLES[sample][1] if width is None else width
    result = np.zeros((2, 7))
    result[:, 0], result[:, 1] = pole, gamma
    if sample != "z":
        result[0, 2:4] = 1.0
        return result
    chi = 1.0 / (4.0 * sin2_theta * (1.0 - sin2_theta))
    v_l, a_l = -0.5 + 2.0 * sin2_theta, -0.5
    for row, (charge, isospin) in enumerate(((2 / 3, 0.5), (-1 / 3, -0.5))):
        v_q, a_q = isospin - 2.0 * charge * sin2_theta, isospin
        result[row, 2] = (v_q**2 + a_q**2) * (v_l**2 + a_l**2) * chi**2
        result[row, 3] = 4.0 * v_q * a_q * v_l * a_l * chi**2
        result[row, 4] = charge**2
        result[row, 5] = -2.0 * charge * v_q * v_l * chi
        result[row, 6] = -2.0 * charge * a_q * a_l * chi
    return result


def luminosities(
    sample: str, mass: FloatArray | float, y: FloatArray, density: Density = partons.momentum_density
) -> FloatArray:
    """F(y) + F(-y) of up- and down-type quarks, then F(y) - F(-y); a W has its one type in the first place.

    mass    : GeV, broadcast against the rapidity
    density : of the partons

    Returns (..., 4).
    """
    x = np.asarray(mass, dtype=float) / partons.COLLISION_ENERGY
    x1, x2 = x * np.exp(y), x * np.exp(-np.asarray(y))
    if sample == "z":
        pairs = [[(f, f"{f}bar", 1.0) for f in flavours] for flavours in (("u", "c"), ("d", "s"))]
    else:
        plus = sample == "w_plus"
        pairs = [
            [(u if plus else d, f"{d if plus else u}bar", v * v) for (u, d), v in partons.V_CKM.items()],
            [],
        ]
    flavours = {name for kind in pairs for quark, anti, _ in kind for name in (quark, anti)}
    one, two = ({f: density(f, x) for f in flavours} for x in (x1, x2))
    nothing = np.zeros(np.broadcast_shapes(np.shape(mass), np.shape(y)))
    ahead = [sum((w * one[q] * two[a] for q, a, w in kind), nothing) for kind in pairs]
    behind = [sum((w * two[q] * one[a] for q, a, w in kind), nothing) for kind in pairs]
    return np.stack([*(f + b for f, b in zip(ahead, behind, strict=True)),
                     *(f - b for f, b in zip(ahead, behind, strict=True))], axis=-1)  # fmt: skip


def _rapidities(pole: float, coupling: FloatArray, grid: FloatArray, table: FloatArray) -> FloatArray:
    """|y| of the proposal: the rate on the pole, and a share that is uniform."""
    y = np.linspace(0.0, MAX_RAPIDITY, 4 * RAPIDITY_STEPS)
    rate = _rate(np.full(y.size, pole), y, coupling, grid, table)
    below = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]))])
    below = (1.0 - UNIFORM_SHARE) * below / below[-1] + UNIFORM_SHARE * y / MAX_RAPIDITY
    result: FloatArray = np.interp(np.linspace(0.0, 1.0, QUANTILES), below, y)
    return result


def _masses(window: tuple[float, float], coupling: FloatArray, grid: FloatArray, table: FloatArray) -> FloatArray:
    """Masses of the proposal: the rate of all rapidities; steps are fine on the peak, where arctan makes them even."""
    pole, gamma = coupling[0, :2]
    low, high = np.arctan((np.square(window) - pole**2) / (pole * gamma))
    m = np.sqrt(pole**2 + pole * gamma * np.tan(np.linspace(low, high, 2**15)))
    y = np.linspace(0.0, MAX_RAPIDITY, 101)
    rate = _rate(np.repeat(m, y.size), np.tile(y, m.size), coupling, grid, table).reshape(m.size, y.size)
    dn_dm = rate.sum(axis=1) * 2.0 * m
    below = np.concatenate([[0.0], np.cumsum(0.5 * (dn_dm[1:] + dn_dm[:-1]) * np.diff(m))])
    result: FloatArray = np.interp(np.linspace(0.0, 1.0, QUANTILES), below / below[-1], m)
    return result


def _rate(mass: FloatArray, y: FloatArray, coupling: FloatArray, grid: FloatArray, table: FloatArray) -> FloatArray:
    rate: FloatArray = kernels.rates(mass, coupling, kernels.look_up_all(mass, y, grid, table))[0]
    return rate


def _integral(made: Production) -> float:
    """Mean weight: the rate over all masses and rapidities, by Gauss points in each cell of the proposal's masses."""
    nodes, weights = np.polynomial.legendre.leggauss(2)
    half = 0.5 * np.diff(made.masses)[:, None]
    m = (0.5 * (made.masses[1:] + made.masses[:-1])[:, None] + half * nodes).ravel()
    y = (np.arange(RAPIDITY_STEPS - 1) + 0.5) * MAX_RAPIDITY / (RAPIDITY_STEPS - 1)
    rate = _rate(np.repeat(m, y.size), np.tile(y, m.size), made.coupling, made.grid, made.luminosities)
    dn_dm = rate.reshape(m.size, y.size).sum(axis=1) * 2.0 * m * 2.0 * MAX_RAPIDITY / y.size
    return float((dn_dm * (half * weights).ravel()).sum())
