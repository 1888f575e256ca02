"""One pass per event of W and Z production: from points of the unit cube to the bosons and their leptons."""

import math

import numpy as np
from numba import njit

from mucal.arrays import FloatArray

# Coordinates of a point.
(MASS, RAPIDITY, PT) = range(3)
(COSINE, ANGLE, RADIATION, RADIATING) = range(4)
BOSON_DIMENSIONS, DECAY_DIMENSIONS = 3, 4

# Columns of `lookup`: sums and differences of F(y) and F(-y) for up-type (or all) and down-type quarks.
(UP_SUM, DOWN_SUM, UP_DIFFERENCE, DOWN_DIFFERENCE) = range(4)

STEPS = 60


@njit(cache=True)
def interpolate(x: float, table: FloatArray) -> float:
    """A table of equal steps over [0, 1], read linearly at x."""
    position = x * (table.size - 1)
    i = min(int(position), table.size - 2)
    return float(table[i] + (position - i) * (table[i + 1] - table[i]))


@njit(cache=True)
def lookup(log_mass: float, y: float, grid: FloatArray, table: FloatArray, out: FloatArray) -> None:
    """Bilinear interpolation of table (K, Y, 4) into out (4,).

    grid : lowest ln m, its step, highest |y|; both axes have equal steps, |y| from 0
    """
    a = min(max((log_mass - grid[0]) / grid[1], 0.0), table.shape[0] - 1.000001)
    b = min(abs(y) / grid[2] * (table.shape[1] - 1), table.shape[1] - 1.000001)
    i, j = int(a), int(b)
    a -= i
    b -= j
    for k in range(4):
        low = table[i, j, k] + b * (table[i, j + 1, k] - table[i, j, k])
        high = table[i + 1, j, k] + b * (table[i + 1, j + 1, k] - table[i + 1, j, k])
        out[k] = low + a * (high - low)


@njit(cache=True)
def matrix_element(s: float, coupling: FloatArray) -> tuple[float, float, float, float]:
    """s^2 times the squared amplitude, even for up- and down-type quarks, then odd in cos(theta).

    coupling : (2, 7), a row a type of quark: M, Gamma, factors of s^2 |D|^2 (even, odd), the photon's (even), factors
    of s Re D (even, odd), with D = 1 / (s - M^2 + i s Gamma / M)
    """
    m2 = coupling[0, 0] * coupling[0, 0]
    width = s * coupling[0, 1] / coupling[0, 0]
    square = s * s / ((s - m2) ** 2 + width * width)
    real = square * (s - m2) / s
    return (
        coupling[0, 2] * square + coupling[0, 4] + coupling[0, 5] * real,
        coupling[1, 2] * square + coupling[1, 4] + coupling[1, 5] * real,
        coupling[0, 3] * square + coupling[0, 6] * real,
        coupling[1, 3] * square + coupling[1, 6] * real,
    )


@njit(cache=True)
def rate_and_forward(s: float, coupling: FloatArray, luminosity: FloatArray) -> tuple[float, float]:
    """dN/ds dy up to a constant, and A_4 at pT = 0."""
    even_up, even_down, odd_up, odd_down = matrix_element(s, coupling)
    even = even_up * luminosity[UP_SUM] + even_down * luminosity[DOWN_SUM]
    odd = odd_up * luminosity[UP_DIFFERENCE] + odd_down * luminosity[DOWN_DIFFERENCE]
    return even / (s * s), 2.0 * odd / even if even > 0.0 else 0.0


@njit(cache=True)
def rates(mass: FloatArray, coupling: FloatArray, luminosity: FloatArray) -> tuple[FloatArray, FloatArray]:
    """`rate_and_forward` of every event: mass (N,), luminosity (N, 4) -> (N,), (N,)."""
    rate, forward = np.empty(mass.size), np.empty(mass.size)
    for i in range(mass.size):
        rate[i], forward[i] = rate_and_forward(mass[i] * mass[i], coupling, luminosity[i])
    return rate, forward


@njit(cache=True)
def look_up_all(mass: FloatArray, y: FloatArray, grid: FloatArray, table: FloatArray) -> FloatArray:
    """`lookup` of every event: (N,), (N,) -> (N, 4)."""
    out = np.empty((mass.size, 4))
    for i in range(mass.size):
        lookup(math.log(mass[i]), y[i], grid, table, out[i])
    return out


@njit(cache=True)
def coefficients(pt: float, mass: float, y: float, forward: float, a: FloatArray) -> None:
    """Fill a (8,) with A_0 ... A_7; interference is reduced where the spin density matrix would not be positive."""
    r2 = (pt / mass) ** 2
    a[0] = 0.6 * r2 / (1.0 + r2) + 0.4 * 5.0 * r2 / (1.0 + 5.0 * r2)
    a[1] = 0.14 * math.sqrt(a[0] * (1.0 - a[0])) * abs(y) / 2.5
    a[2] = a[0] * (1.0 - 0.15 * r2 / (0.3 + r2))
    a[3] = 0.10 * r2 / (r2 + 0.3)
    a[4] = forward * (1.0 - 0.6 * a[0])
    odd = min(r2, 1.0)
    a[5], a[6], a[7] = 0.005 * odd, 0.004 * odd, 0.003 * odd
    damp_interference(a)


@njit(cache=True)
def all_coefficients(pt: FloatArray, mass: FloatArray, y: FloatArray, forward: FloatArray) -> FloatArray:
    """`coefficients` of every event: four arrays (N,) -> (N, 8)."""
    out = np.empty((pt.size, 8))
    for i in range(pt.size):
        coefficients(pt[i], mass[i], y[i], forward[i], out[i])
    return out


@njit(cache=True)
def damp_interference(a: FloatArray) -> None:
    """Scale A_1, A_2, A_3, A_5, A_6, A_7 by one factor <= 1 until the density matrix is positive for any phases.

    Diagonal: (1 - A0/2 +- A4/2)/2 and A0/2; off it |2 A1 +- A3 + i (2 A6 +- A7)| / (4 sqrt 2) and |A2 + 2i A5| / 4.
    """
    plus, minus, zero = 0.5 * (1.0 - 0.5 * a[0] + 0.5 * a[4]), 0.5 * (1.0 - 0.5 * a[0] - 0.5 * a[4]), 0.5 * a[0]
    p2 = ((2.0 * a[1] + a[3]) ** 2 + (2.0 * a[6] + a[7]) ** 2) / 32.0
    m2 = ((2.0 * a[1] - a[3]) ** 2 + (2.0 * a[6] - a[7]) ** 2) / 32.0
    t2 = (a[2] ** 2 + 4.0 * a[5] ** 2) / 16.0
    cubic = 2.0 * math.sqrt(p2 * m2 * t2)
    quadratic = plus * m2 + minus * p2 + zero * t2
    factor = 1.0
    for _ in range(STEPS):
        f2 = factor * factor
        bound = f2 * p2 <= plus * zero and f2 * m2 <= minus * zero and f2 * t2 <= plus * minus
        if bound and plus * minus * zero - f2 * quadratic - f2 * factor * cubic >= 0.0:
            break
        factor *= 0.9
    for i in (1, 2, 3, 5, 6, 7):
        a[i] *= factor


@njit(cache=True)
def polar(u: float, a: FloatArray) -> float:
    """cos(theta) below which a decay lies with probability u: root of a cubic, by Newton steps kept in a bracket."""
    a0, a4 = 0.5 * a[0], 0.5 * a[4]
    low, high = -1.0, 1.0
    c = 2.0 * u - 1.0
    for _ in range(STEPS):
        x, cube = c + 1.0, c * c * c + 1.0
        excess = 0.375 * (x + cube / 3.0 + a0 * (x - cube) + a4 * (c * c - 1.0)) - u
        if excess > 0.0:
            high = c
        else:
            low = c
        slope = 0.375 * (1.0 + c * c + a0 * (1.0 - 3.0 * c * c) + 2.0 * a4 * c)
        step = excess / slope if slope > 1e-12 else 2.0
        after = c - step
        if not low < after < high:
            after = 0.5 * (low + high)
        done = abs(after - c) < 1e-8  # quadratic: what is left is rounding
        c = after
        if done:
            break
    return c


@njit(cache=True)
def azimuth(u: float, c: float, a: FloatArray) -> float:
    """phi in [0, 2 pi) below which a decay of this cos(theta) lies with probability u."""
    s2 = max(0.0, 1.0 - c * c)
    s = math.sqrt(s2)
    flat = 1.0 + c * c + 0.5 * a[0] * (1.0 - 3.0 * c * c) + a[4] * c
    cos_1, sin_1 = s * (2.0 * c * a[1] + a[3]), s * (2.0 * c * a[6] + a[7])
    cos_2, sin_2 = 0.5 * s2 * a[2], s2 * a[5]
    total = 2.0 * math.pi * flat
    if total < 1e-12:
        return 2.0 * math.pi * u
    low, high = 0.0, 2.0 * math.pi
    phi = 2.0 * math.pi * u
    for _ in range(STEPS):
        s1, c1 = math.sin(phi), math.cos(phi)
        s_2, c_2 = 2.0 * s1 * c1, 1.0 - 2.0 * s1 * s1
        excess = (
            flat * phi + cos_1 * s1 + 0.5 * cos_2 * s_2 + sin_1 * (1.0 - c1) + 0.5 * sin_2 * (1.0 - c_2) - u * total
        )
        if excess > 0.0:
            high = phi
        else:
            low = phi
        slope = flat + cos_1 * c1 + cos_2 * c_2 + sin_1 * s1 + sin_2 * s_2
        after = phi - excess / slope if slope > 1e-9 * flat else 7.0
        if not low < after < high:
            after = 0.5 * (low + high)
        done = abs(after - phi) < 1e-8
        phi = after
        if done:
            break
    return phi


@njit(cache=True)
def lost(u: float, strength: float) -> float:
    """t with probability u below, for the density b t^(b-1) [1 + (1-t)^2]/2 on (0, 1), b the strength."""
    b = strength
    end = 1.0 - b / (b + 1.0) + b / (2.0 * (b + 2.0))
    target = math.log(u) + math.log(end)
    log_t = min(target / b, 0.0)
    for _ in range(20):
        t = math.exp(log_t)
        bracket = 1.0 - b * t / (b + 1.0) + b * t * t / (2.0 * (b + 2.0))
        step = (b * log_t + math.log(bracket) - target) / (b * (1.0 - t + 0.5 * t * t) / bracket)
        log_t = min(log_t - step, 0.0)
        if abs(step) < 1e-8:
            break
    return math.exp(log_t)


@njit(cache=True)
def shares(c: float, phi: float, a: FloatArray, out: FloatArray) -> float:
    """Fill out (9,) with the terms of the angular density over their sum, which is returned."""
    s2 = max(0.0, 1.0 - c * c)
    s = math.sqrt(s2)
    cosine, sine = math.cos(phi), math.sin(phi)
    out[0] = 1.0 + c * c
    out[1] = 0.5 * a[0] * (1.0 - 3.0 * c * c)
    out[2] = 2.0 * a[1] * s * c * cosine
    out[3] = 0.5 * a[2] * s2 * (1.0 - 2.0 * sine * sine)
    out[4] = a[3] * s * cosine
    out[5] = a[4] * c
    out[6] = 2.0 * a[5] * s2 * sine * cosine
    out[7] = 2.0 * a[6] * s * c * sine
    out[8] = a[7] * s * sine
    total = 0.0
    for i in range(9):
        total += out[i]
    for i in range(9):
        out[i] /= total
    return total


@njit(cache=True)
def to_laboratory(
    p: float, energy: float, c: float, phi: float, mass: float, pt: float, y: float, out: FloatArray
) -> None:
    """Fill out (3,) with pT, eta, and azimuth from the boson's pT, of a momentum p along (c, phi) in its frame."""
    s = math.sqrt(max(0.0, 1.0 - c * c))
    side = 1.0 if y >= 0.0 else -1.0
    px, py, pz = p * s * math.cos(phi), side * p * s * math.sin(phi), side * p * c
    stretch = pt / mass
    gamma = math.sqrt(1.0 + stretch * stretch)
    along, carried = gamma * px + stretch * energy, gamma * energy + stretch * px
    pz = math.cosh(y) * pz + math.sinh(y) * carried
    out[0] = math.sqrt(along * along + py * py)
    out[1] = math.asinh(pz / out[0])
    out[2] = math.atan2(py, along)


@njit(cache=True, nogil=True)
def generate(
    boson_points: FloatArray, decay_points: FloatArray, reuse: int, is_pair: bool, charge: float,
    coupling: FloatArray, masses: FloatArray, grid: FloatArray, luminosities: FloatArray,
    rapidities: FloatArray, pts: FloatArray, norm: float, alpha: float, muon_mass: float,
) -> tuple[FloatArray, FloatArray, FloatArray]:  # fmt: skip
    """Boson and decay of every row of `decay_points` (N, 4); row i uses point i // reuse of `boson_points`.

    masses     : GeV, in equal steps of probability
    rapidities : |y| in equal steps of probability
    pts        : GeV, in equal steps of probability, for a boson on its pole at y^2 = 1.5
    norm       : mean weight before normalisation

    Returns columns (N, 11) mass, y, pt, cos(theta), phi, weight, kept, luminosities; shares (N, 9); leptons (N, 2, 3),
    each pT, eta, azimuth from the boson's: mu and nu of a W, mu+ and mu- of a Z.
    """
    n = decay_points.shape[0]
    columns, terms, leptons = np.empty((n, 11)), np.empty((n, 9)), np.empty((n, 2, 3))
    a = np.empty(8)
    pole = coupling[0, 0]
    step = 1.0 / (rapidities.size - 1)
    for i in range(n):
        point, decay = boson_points[i // reuse], decay_points[i]
        mass = interpolate(point[MASS], masses)
        cell = min(int(point[MASS] * (masses.size - 1)), masses.size - 2)
        proposed = 1.0 / ((masses.size - 1) * (masses[cell + 1] - masses[cell]))
        s = mass * mass
        signed = 2.0 * point[RAPIDITY] - 1.0
        cell = min(int(abs(signed) / step), rapidities.size - 2)
        y = math.copysign(interpolate(abs(signed), rapidities), signed)
        proposed *= 0.5 * step / (rapidities[cell + 1] - rapidities[cell])
        luminosity = columns[i, 7:11]
        lookup(math.log(mass), y, grid, luminosities, luminosity)
        rate, forward = rate_and_forward(s, coupling, luminosity)
        pt = interpolate(point[PT], pts) * math.sqrt(mass / pole) * (1.0 - 0.02 * (y * y - 1.5))
        coefficients(pt, mass, y, forward, a)
        c = polar(decay[COSINE], a)
        phi = azimuth(decay[ANGLE], c, a)
        shares(c, phi, a, terms[i])
        kept = decay_leptons(
            is_pair, charge, mass, pt, y, c, phi, alpha, muon_mass, decay[RADIATION], decay[RADIATING], leptons[i]
        )
        rate *= 2.0 * mass
        columns[i, 0], columns[i, 1], columns[i, 2], columns[i, 3], columns[i, 4] = mass, y, pt, c, phi
        columns[i, 5], columns[i, 6] = rate / proposed / norm, kept
    return columns, terms, leptons


@njit(cache=True)
def decay_leptons(
    is_pair: bool, charge: float, mass: float, pt: float, y: float, c: float, phi: float, alpha: float,
    muon_mass: float, u: float, which: float, leptons: FloatArray,
) -> float:  # fmt: skip
    """Fill leptons (2, 3); returns the share that radiation leaves: of the muon's momentum (W), of the mass^2 (Z)."""
    if not is_pair:
        p = 0.5 * (mass * mass - muon_mass * muon_mass) / mass
        kept = 1.0
        if alpha > 0.0:
            kept = 1.0 - lost(u, alpha / math.pi * (2.0 * math.log(mass / muon_mass) - 1.0))
        loss_p = p * kept
        sign = -charge  # the particle is the neutrino of a W+, the muon of a W-
        to_laboratory(
            sign * loss_p, math.sqrt(loss_p * loss_p + muon_mass * muon_mass), c, phi, mass, pt, y, leptons[0]
        )
        to_laboratory(-sign * p, p, c, phi, mass, pt, y, leptons[1])
        return kept
    energy = 0.5 * mass
    p = math.sqrt(energy * energy - muon_mass * muon_mass)
    kept = 1.0
    reduced = p
    if alpha > 0.0:
        kept = 1.0 - lost(u, 2.0 * alpha / math.pi * (2.0 * math.log(mass / muon_mass) - 1.0))
        kept = max(kept, (2.0 * muon_mass / mass) ** 2 * 1.000001)
        # p = m sinh(chi); the bare mass^2 is 2 m^2 (1 + cosh(chi_1 + chi_2))
        cosh_sum = 0.5 * kept * (mass / muon_mass) ** 2 - 1.0
        ratio = (cosh_sum + math.sqrt(max(0.0, cosh_sum * cosh_sum - 1.0))) * muon_mass / (energy + p)
        reduced = 0.5 * muon_mass * (ratio - 1.0 / ratio)
    p_plus, p_minus = (reduced, p) if which < 0.5 else (p, reduced)
    to_laboratory(-p_plus, math.sqrt(p_plus**2 + muon_mass**2), c, phi, mass, pt, y, leptons[0])
    to_laboratory(p_minus, math.sqrt(p_minus**2 + muon_mass**2), c, phi, mass, pt, y, leptons[1])
    return kept
