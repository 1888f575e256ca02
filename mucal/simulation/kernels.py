"""One pass per event: parent, decay, radiation, resolution, distortion; nothing is kept between events."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from mucal.arrays import BoolArray, FloatArray
from mucal.numerics.keyed_kernels import absorb, to_normal, to_uniform

WordArray = npt.NDArray[np.uint64]

# The words of `start`, in this order.
PURPOSES = (
    "parent pt", "parent rapidity", "parent azimuth", "decay cosine", "decay azimuth",
    "background", "mass", "radiation", "radiation shape", "radiating muon", "smearing",
)  # fmt: skip
(
    PARENT_PT, PARENT_RAPIDITY, PARENT_AZIMUTH, DECAY_COSINE, DECAY_AZIMUTH,
    BACKGROUND, MASS, RADIATION, RADIATION_SHAPE, RADIATING_MUON, SMEARING,
) = range(11)  # fmt: skip

MAX_TRIALS = 200


@njit(cache=True)
def interpolate(x: float, table: FloatArray) -> float:
    """A table of equal steps over [0, 1], read linearly at x."""
    position = x * (table.size - 1)
    i = min(int(position), table.size - 2)
    return float(table[i] + (position - i) * (table[i + 1] - table[i]))


@njit(cache=True)
def radiated(mass: float, alpha: float, muon_mass: float, shape_word: np.uint64, word: np.uint64) -> float:
    """Mass of the bare pair: x = m^2 / M^2 from beta (1-x)^(beta-1) (1+x^2)/2, by rejection; M itself if alpha is 0.

    alpha is the fine-structure constant; beta and the distribution are those of `theory.fsr`.
    """
    if alpha <= 0.0:
        return mass
    threshold = 4.0 * muon_mass**2
    r = math.sqrt(1.0 - threshold / mass**2)
    beta = 2.0 * alpha / math.pi * (2.0 * math.log((1.0 + r) * mass / (2.0 * muon_mass)) - r)
    for trial in range(MAX_TRIALS):
        x = 1.0 - to_uniform(absorb(word, trial)) ** (1.0 / beta)
        if x * mass * mass > threshold and to_uniform(absorb(shape_word, trial)) < 0.5 * (1.0 + x * x):
            return mass * math.sqrt(x)
    return mass


@njit(cache=True)
def find_bin(edges: FloatArray, x: float) -> int:
    """Bin [low, high) of x, -1 outside (and for NaN)."""
    if not (edges[0] <= x < edges[-1]):
        return -1
    low, high = 0, edges.size - 1
    while high - low > 1:
        middle = (low + high) // 2
        if x >= edges[middle]:
            low = middle
        else:
            high = middle
    return low


@njit(cache=True)
def uncorrect(k: float, charge: float, A: float, e: float, M: float) -> float:
    """The curvature that the correction turns into k: the smaller root of e x^2 - (1 + A) x + k - q M = 0.

    NaN where there is none.
    """
    target = k - charge * M
    discriminant = (1.0 + A) ** 2 - 4.0 * e * target
    if discriminant < 0.0:
        return np.nan
    return 2.0 * target / (1.0 + A + math.sqrt(discriminant))


@njit(cache=True)
def measured_pt(
    pt: float, eta: float, charge: float, gauss: float,
    resolution_edges: FloatArray, resolution: FloatArray, scale_edges: FloatArray, scale: FloatArray,
) -> float:  # fmt: skip
    """Transverse momentum after resolution and distortion (GeV); NaN where the detector gives none."""
    i = find_bin(resolution_edges, eta)
    j = find_bin(scale_edges, eta)
    if i < 0 or j < 0:
        return np.nan
    a, b, c, d = resolution[0, i], resolution[1, i], resolution[2, i], resolution[3, i]
    variance = a + c * pt * pt + b / (1.0 + d / (pt * pt))
    k = (1.0 + math.sqrt(variance) * gauss) / pt
    k = uncorrect(k, charge, scale[0, j], scale[1, j], scale[2, j])
    if not k > 0.0:
        return np.nan
    return 1.0 / k


@njit(cache=True)
def exponential(u: float, slope: float, low: float, high: float) -> float:
    """Quantile u of exp(-slope m) on [low, high]; uniform for slope 0."""
    if abs(slope) * (high - low) < 1e-9:
        return low + u * (high - low)
    return low - math.log1p(u * math.expm1(-slope * (high - low))) / slope


@njit(cache=True)
def masses(
    event: int, start: WordArray, mass_quantiles: FloatArray, background: FloatArray, alpha: float, muon_mass: float
) -> tuple[float, float, bool]:
    """Mass before and after radiation (GeV), and whether the pair is signal."""
    u = to_uniform(absorb(start[MASS], event))
    if to_uniform(absorb(start[BACKGROUND], event)) < background[0]:
        mass = exponential(u, background[1], background[2], background[3])
        return mass, mass, False
    mass = interpolate(u, mass_quantiles)
    bare = radiated(mass, alpha, muon_mass, absorb(start[RADIATION_SHAPE], event), absorb(start[RADIATION], event))
    return mass, bare, True


@njit(cache=True)
def parent_momentum(
    event: int, start: WordArray, spectrum: FloatArray, rapidity_max: float, mass: float
) -> tuple[float, float, float, float]:
    """px, py, pz and energy (GeV): dN/dpT ~ pT / (1 + (pT/p0)^2)^n between its limits, flat in rapidity."""
    u = to_uniform(absorb(start[PARENT_PT], event))
    above = spectrum[2] + u * (spectrum[3] - spectrum[2])
    pt = spectrum[0] * math.sqrt(above ** (1.0 / (1.0 - spectrum[1])) - 1.0)
    rapidity = rapidity_max * (2.0 * to_uniform(absorb(start[PARENT_RAPIDITY], event)) - 1.0)
    azimuth = 2.0 * math.pi * to_uniform(absorb(start[PARENT_AZIMUTH], event))
    transverse_mass = math.sqrt(mass * mass + pt * pt)
    return (
        pt * math.cos(azimuth), pt * math.sin(azimuth),
        transverse_mass * math.sinh(rapidity), transverse_mass * math.cosh(rapidity),
    )  # fmt: skip


@njit(cache=True)
def decay(
    event: int, start: WordArray, parent: tuple[float, float, float, float], mass: float, bare: float, muon_mass: float,
    pt: FloatArray, eta: FloatArray, phi: FloatArray,
) -> None:  # fmt: skip
    """Fill pt, eta, phi (2,) of the muons of an isotropic decay.

    In the rest frame they are back to back with E = M/2; one of them then loses momentum along its own direction,
    until the pair has the bare mass: with p = m_mu sinh(chi), m^2 = 2 m_mu^2 (1 + cosh(chi_1 + chi_2)).
    """
    cosine = 2.0 * to_uniform(absorb(start[DECAY_COSINE], event)) - 1.0
    sine = math.sqrt(1.0 - cosine * cosine)
    angle = 2.0 * math.pi * to_uniform(absorb(start[DECAY_AZIMUTH], event))
    ux, uy, uz = sine * math.cos(angle), sine * math.sin(angle), cosine
    full = math.acosh(0.5 * mass / muon_mass)
    reduced = math.acosh(0.5 * (bare / muon_mass) ** 2 - 1.0) - full if bare < mass else full
    radiating = 0 if to_uniform(absorb(start[RADIATING_MUON], event)) < 0.5 else 1
    px, py, pz, energy = parent
    for muon in range(2):
        chi = reduced if muon == radiating else full
        p = muon_mass * math.sinh(chi) * (1.0 if muon == 0 else -1.0)
        along = (p * (px * ux + py * uy + pz * uz) / (energy + mass) + muon_mass * math.cosh(chi)) / mass
        x, y, z = p * ux + px * along, p * uy + py * along, p * uz + pz * along
        pt[muon] = math.sqrt(x * x + y * y)
        eta[muon] = math.asinh(z / pt[muon])
        phi[muon] = math.atan2(y, x)


@njit(cache=True, nogil=True)
def generate(
    first_event: int, n: int, start: WordArray,
    spectrum: FloatArray, rapidity_max: float, mass_quantiles: FloatArray, background: FloatArray,
    alpha: float, muon_mass: float, pt_min: float, eta_max: float,
    resolution_edges: FloatArray, resolution: FloatArray, scale_edges: FloatArray, scale: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, BoolArray, BoolArray]:  # fmt: skip
    """Events first_event ... first_event + n - 1: pt, eta, phi, pt_gen (n, 2), mass_gen, signal, accepted (n,).

    start          : one word for each of `PURPOSES`
    spectrum       : p0 (GeV), n, and (1 + (pT/p0)^2)^(1-n) at the lowest and the highest parent pT
    mass_quantiles : resonance mass in equal steps of probability, GeV
    background     : fraction, slope (1/GeV), window low and high (GeV)
    alpha          : fine-structure constant, 0 for no radiation
    resolution     : (4, bins) a, b, c, d
    scale          : (3, bins) A, e, M
    """
    pt, eta, phi, pt_gen = np.empty((n, 2)), np.empty((n, 2)), np.empty((n, 2)), np.empty((n, 2))
    mass_gen, signal, accepted = np.empty(n), np.empty(n, dtype=np.bool_), np.empty(n, dtype=np.bool_)
    for row in range(n):
        event = first_event + row
        mass, bare, is_signal = masses(event, start, mass_quantiles, background, alpha, muon_mass)
        mass_gen[row] = bare
        signal[row] = is_signal
        parent = parent_momentum(event, start, spectrum, rapidity_max, mass)
        decay(event, start, parent, mass, bare, muon_mass, pt_gen[row], eta[row], phi[row])
        accepted[row] = abs(eta[row, 0]) < eta_max and abs(eta[row, 1]) < eta_max
        for muon in range(2):
            if accepted[row]:
                gauss = to_normal(absorb(absorb(start[SMEARING], event), muon))
                pt[row, muon] = measured_pt(
                    pt_gen[row, muon], eta[row, muon], 1.0 - 2.0 * muon, gauss,
                    resolution_edges, resolution, scale_edges, scale,
                )  # fmt: skip
                accepted[row] = pt[row, muon] >= pt_min
    return pt, eta, phi, pt_gen, mass_gen, signal, accepted
