"""Final-state radiation of a muon pair: the pair mass m that is left of a resonance mass M, bare muons.

Two forms of one physics.  `radiator` is the fixed-order density of m (one photon); it diverges at m = M.  The
soft-exponentiated form, in x = m^2/M^2,

    p(x) = beta (1 - x)^(beta - 1) (1 + x^2)/2 / C,     4 m_mu^2 / M^2 <= x <= 1,

sums the soft photons; its singularity is integrable and its distribution function is elementary: with t = 1 - x,

    P(1 - x < t) = t^beta [1 - beta t/(beta + 1) + beta t^2/(2 (beta + 2))] / C.

Everything below is that function or its inverse: no histogram, no cut-off on the photon energy.  Derived, with the
numbers it must give, in docs/physics/fsr.md.  Source: A. Spiridonov, hep-ex/0510076.
"""

from itertools import pairwise
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, check_edges
from mucal.theory.lineshape import DrellYan, Line, drell_yan
from mucal.theory.pdg import resonance
from mucal.units import MUON_MASS

ALPHA: Final = 1.0 / 137.035999
"""Fine-structure constant at zero momentum transfer (CODATA 2018)."""


def beta(mass: float, lepton_mass: float = MUON_MASS) -> float:
    """Strength of the soft radiation, (2 alpha/pi) [ln((1+r)/(1-r)) - r] with r = sqrt(1 - 4 m_l^2/M^2).

    mass        : GeV, of the pair before radiation
    lepton_mass : GeV
    """
    return float(2.0 * ALPHA / np.pi * _collinear_log(np.float64(mass), lepton_mass))


def radiator(mass: FloatArray, peak: float, lepton_mass: float = MUON_MASS) -> FloatArray:
    """Fixed-order density of the post-radiation mass,
    (alpha/pi) [2m / (M^2 - m^2)] (1 + m^4/M^4) [ln((1+r)/(1-r)) - r] with r = sqrt(1 - 4 m_l^2/m^2).

    mass        : any shape, GeV, 2 m_l <= m < M; m = M is a pole
    peak        : GeV, M
    lepton_mass : GeV

    Returns an array like `mass`, 1/GeV.  Source: A. Spiridonov, hep-ex/0510076, eq. 1.
    """
    m = np.asarray(mass, dtype=float)
    soft = ALPHA / np.pi * 2.0 * m / (peak**2 - m**2)
    result: FloatArray = soft * (1.0 + (m / peak) ** 4) * _collinear_log(m, lepton_mass)
    return result


def cumulative(mass: FloatArray, peak: float | FloatArray) -> FloatArray:
    """Probability that the mass after radiation lies below `mass`, exactly.

    mass : GeV; below threshold the result is 0, from `peak` on it is 1
    peak : GeV, the mass before radiation; broadcast against `mass`
    """
    strength, t_max = _strength(peak)
    t = np.clip(1.0 - np.square(np.asarray(mass, dtype=float) / peak), 0.0, t_max)
    t = np.where(np.asarray(mass) <= 0, t_max, t)
    result: FloatArray = 1.0 - _loss_distribution(t, strength) / _loss_distribution(t_max, strength)
    return result


def quantile(probability: FloatArray, peak: float | FloatArray) -> FloatArray:
    """Mass ratio m/M below which the pair stays with `probability`: the inverse of `cumulative`, to rounding.

    probability : any shape, in [0, 1]; a uniform random number gives a random mass ratio
    peak        : GeV, the mass before radiation; broadcast

    Returns m/M.  Newton steps on ln t of ln P(1 - x < t), a nearly straight line, so that a fixed number suffices for
    every event: the count of operations, and of random numbers, does not depend on the outcome.
    """
    strength, t_max = _strength(peak)
    with np.errstate(divide="ignore"):
        target = np.log1p(-np.asarray(probability, dtype=float)) + np.log(_loss_distribution(t_max, strength))
    ln_t = np.minimum(target / strength, np.log(t_max))
    for _ in range(NEWTON_STEPS):
        t = np.exp(ln_t)
        bracket = 1.0 - strength * t / (strength + 1.0) + strength * t**2 / (2.0 * (strength + 2.0))
        slope = strength * (1.0 - t + 0.5 * t**2) / bracket
        with np.errstate(invalid="ignore"):
            step = (strength * ln_t + np.log(bracket) - target) / slope
        ln_t = np.where(np.isfinite(step), np.minimum(ln_t - step, np.log(t_max)), ln_t)
    result: FloatArray = np.sqrt(1.0 - np.exp(ln_t))
    return result


NEWTON_STEPS: Final = 8
"""Quadratic convergence from a start that is exact for soft photons; 8 steps reach rounding everywhere (tested)."""


def sample(name: str, uniform: FloatArray) -> FloatArray:
    """Post-radiation mass over resonance mass, one per uniform random number in (0, 1).

    name    : a narrow resonance of `theory.pdg`
    uniform : (N,), for instance keyed by event

    Returns (N,) in [2 m_mu/M, 1].
    """
    return quantile(1.0 - np.asarray(uniform, dtype=float), resonance(name).mass)


def spectrum(name: str, edges: FloatArray, model: DrellYan | None = None) -> FloatArray:
    """Probabilities of the post-radiation mass in bins, integrated exactly over each, the peak included.

    A narrow resonance is a line at its mass (its own width, below 0.3 MeV, is left out); the Z is the `drell_yan`
    shape of `model`, each mass of it radiating (`radiated_density`).

    name  : a resonance of `theory.pdg`
    edges : (G+1,) GeV
    model : shape of the Z before radiation, defaults to `DrellYan()`; not for narrow resonances

    Returns (G,).  For a narrow resonance they add to 1 if the edges enclose 2 m_mu and the peak; for the Z they are
    normalised to the edges.
    """
    check_edges("edges", edges)
    state = resonance(name)
    if state.width < NARROW:
        return np.diff(cumulative(edges, state.mass))
    if name != "z":
        raise ValueError(f"'{name}' has no dimuon line with radiation; expected a narrow resonance or 'z'")
    nodes, weights = _panels(edges, Z_PANEL)
    density = weights * radiated_density(nodes, model or DrellYan())
    result: FloatArray = np.add.reduceat(density, np.searchsorted(nodes, edges[:-1]))
    return result / float(result.sum())


def line(name: str, low: float, high: float, step: float, model: DrellYan | None = None) -> Line:
    """The post-radiation spectrum of `spectrum` as quadrature nodes, for smearing.

    name      : a narrow resonance of `theory.pdg`, or "z"
    low, high : GeV, range of masses covered; for a narrow resonance the peak is always in
    step      : GeV, length of a four-point Gauss panel; at most the resolution
    model     : shape of the Z before radiation

    Returns nodes whose weights add to the probability of the range (narrow resonance) or to 1 (Z).
    """
    state = resonance(name)
    if name == "z":
        nodes, weights = _panels(np.array([low, high]), min(step, 2.0 * Z_PANEL))
        density = weights * radiated_density(nodes, model or DrellYan())
        return Line(mass=nodes, weight=density / density.sum())
    strength, t_max = _strength(state.mass)
    t_low = min(float(t_max), 1.0 - (low / state.mass) ** 2)
    if t_low <= T_SOFT:
        raise ValueError(f"the line of {name} at {state.mass} GeV lies below {low} GeV; start the range lower")
    # from here on panels of equal ln t would be longer than `step` in mass
    t_even = min(t_low, 4.0 * step / state.mass)
    soft, soft_weights = _gauss(np.linspace(np.log(T_SOFT), np.log(t_even), 1 + int(np.log(t_even / T_SOFT) / 0.7)), 4)
    even = np.linspace(t_even, t_low, 1 + int(np.ceil((t_low - t_even) * state.mass / (2.0 * step))))
    hard, hard_weights = _gauss(even, 4) if even.size > 1 else (np.zeros(0), np.zeros(0))
    t = np.concatenate([np.exp(soft), hard])
    weights = np.concatenate([soft_weights * np.exp(soft), hard_weights])
    norm = _loss_distribution(t_max, strength)
    density = weights * strength * np.power(t, strength - 1.0) * (1.0 - t + 0.5 * t**2) / norm
    none = _loss_distribution(np.asarray(T_SOFT), strength) / norm
    return Line(mass=np.append(state.mass, state.mass * np.sqrt(1.0 - t)), weight=np.append(none, density))


def radiated_density(mass: FloatArray, model: DrellYan) -> FloatArray:
    """`drell_yan` after radiation, dN/dm at `mass` of the remaining pair, not normalised.

    The integral over t = 1 - m^2/M^2, M being the mass before, runs in ln t, where the soft singularity is flat;
    photons with t < 1e-12 count as none.

    mass : (N,) GeV

    Returns (N,).
    """
    t, weights = _LOSS_NODES
    before = np.asarray(mass)[:, None] / np.sqrt(1.0 - t)
    strength, t_max = _strength(before)
    norm = _loss_distribution(t_max, strength)
    density = strength * np.power(t, strength - 1.0) * (1.0 - t + 0.5 * t**2) / norm
    result: FloatArray = (weights * density * drell_yan(before, model) / np.sqrt(1.0 - t)).sum(axis=1)
    strength, t_max = _strength(mass)
    soft = _loss_distribution(np.full_like(strength, T_SOFT), strength) / _loss_distribution(t_max, strength)
    return result + soft * drell_yan(mass, model)


NARROW: Final = 1e-3
"""GeV; states of smaller width are lines."""

Z_PANEL: Final = 0.25
"""GeV; a tenth of the width of the Z: four Gauss points on it integrate its shape to 1e-9 (tested)."""

T_SOFT: Final = 1e-12


def _panels(edges: FloatArray, width: float) -> tuple[FloatArray, FloatArray]:
    """Nodes and weights of the four-point Gauss-Legendre rule on panels of at most `width` that end at every edge."""
    parts = [np.linspace(low, high, int(np.ceil((high - low) / width)) + 1)[:-1] for low, high in pairwise(edges)]
    return _gauss(np.append(np.concatenate(parts), edges[-1]), 4)


def _gauss(edges: FloatArray, order: int) -> tuple[FloatArray, FloatArray]:
    points, weights = np.polynomial.legendre.leggauss(order)
    half = 0.5 * np.diff(edges)[:, None]
    centre = 0.5 * (edges[1:] + edges[:-1])[:, None]
    return (centre + half * points).ravel(), (half * weights).ravel()


def _loss_nodes() -> tuple[FloatArray, FloatArray]:
    """Nodes and weights in t: logarithmic panels where the integrand is a power, even ones where the Z may return."""
    soft, soft_weights = _gauss(np.linspace(np.log(T_SOFT), np.log(0.05), 51), 8)
    hard, hard_weights = _gauss(np.linspace(0.05, 0.99, 48), 8)
    return np.append(np.exp(soft), hard), np.append(soft_weights * np.exp(soft), hard_weights)


_LOSS_NODES: Final = _loss_nodes()


def _collinear_log(mass: FloatArray | np.float64, lepton_mass: float) -> FloatArray:
    r = np.sqrt(1.0 - (2.0 * lepton_mass / mass) ** 2)
    # (1 + r)/(1 - r) = (1 + r)^2 / (1 - r^2): no difference of nearly equal numbers
    result: FloatArray = 2.0 * np.log((1.0 + r) * mass / (2.0 * lepton_mass)) - r
    return result


def _strength(peak: float | FloatArray) -> tuple[FloatArray, FloatArray]:
    """beta and the largest possible t = 1 - m^2/M^2, for every mass before radiation."""
    mass = np.asarray(peak, dtype=float)
    return 2.0 * ALPHA / np.pi * _collinear_log(mass, MUON_MASS), 1.0 - (2.0 * MUON_MASS / mass) ** 2


def _loss_distribution(t: FloatArray, strength: FloatArray) -> FloatArray:
    """t^beta [1 - beta t/(beta + 1) + beta t^2/(2 (beta + 2))]: the unnormalised probability of 1 - x < t."""
    bracket = 1.0 - strength * t / (strength + 1.0) + strength * t**2 / (2.0 * (strength + 2.0))
    result: FloatArray = np.power(t, strength) * bracket
    return result
