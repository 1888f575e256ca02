"""One pass per event: state, polarised decay, radiation, place of birth; every number is keyed by event and purpose."""

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from mucal.arrays import BoolArray, FloatArray
from mucal.numerics.keyed_kernels import absorb, mix, to_uniform
from mucal.simulation.kernels import interpolate, radiated

WordArray = npt.NDArray[np.uint64]

# The words of `start`, in this order.
PURPOSES = (
    "mass", "pt", "rapidity", "azimuth", "cosine", "angle", "angle accepted", "radiation", "radiation shape",
    "radiating muon", "beam x and y", "beam z", "displaced", "flight",
)  # fmt: skip
(
    MASS, PT, RAPIDITY, AZIMUTH, COSINE, ANGLE, ANGLE_ACCEPTED, RADIATION, RADIATION_SHAPE,
    RADIATING_MUON, BEAM_XY, BEAM_Z, DISPLACED, FLIGHT,
) = range(14)  # fmt: skip

MAX_TRIALS = 200
NEXT = np.uint64(0x9E3779B97F4A7C15)

# What happens where: centre and widths of the beam spot (cm), share of displaced states, their c tau (cm).
(CENTRE_X, CENTRE_Y, CENTRE_Z, WIDTH_X, WIDTH_Y, WIDTH_Z, DISPLACED_SHARE, C_TAU) = range(8)

# A state in flight: mass, pT, cos and sin of the azimuth, cosh and sinh of the rapidity.
State = tuple[float, float, float, float, float, float]
FloatTuple = tuple[float, float, float]


@njit(cache=True)
def _number(start: WordArray, purpose: int, event: int) -> float:
    return to_uniform(absorb(start[purpose], event))


@njit(cache=True)
def _two_normals(word: np.uint64) -> tuple[float, float]:
    """Two independent standard normal numbers (Box and Muller)."""
    radius = math.sqrt(-2.0 * math.log(to_uniform(word)))
    angle = 2.0 * math.pi * to_uniform(mix(word + NEXT))
    return radius * math.cos(angle), radius * math.sin(angle)


@njit(cache=True)
def decay_angles(event: int, start: WordArray, a0: float, a2: float, a4: float) -> tuple[float, float, float]:
    """cos(theta), cos(phi), sin(phi) from 1 + c^2 + a0 (1 - 3 c^2)/2 + a2 s^2 cos(2 phi)/2 + a4 c, by rejection."""
    highest = 2.0 + max(0.5 * a0 - 1.0, -a0) + 0.5 * abs(a2) + abs(a4)
    c, cos_phi, sin_phi = 0.0, 1.0, 0.0
    cosine, angle, accepted = (
        absorb(start[COSINE], event), absorb(start[ANGLE], event), absorb(start[ANGLE_ACCEPTED], event),
    )  # fmt: skip
    for trial in range(MAX_TRIALS):
        c = 2.0 * to_uniform(absorb(cosine, trial)) - 1.0
        phi = 2.0 * math.pi * to_uniform(absorb(angle, trial))
        cos_phi, sin_phi = math.cos(phi), math.sin(phi)
        s2 = 1.0 - c * c
        value = 1.0 + c * c + 0.5 * a0 * (1.0 - 3.0 * c * c) + 0.5 * a2 * s2 * (2.0 * cos_phi**2 - 1.0) + a4 * c
        if highest * to_uniform(absorb(accepted, trial)) < value:
            break
    return c, cos_phi, sin_phi


@njit(cache=True)
def polarisation(
    pt: float, mass: float, rapidity: float, forward: FloatArray, y_max: float, longitudinal: float
) -> tuple[float, float, float]:
    """A_0, A_2 and A_4 of a state."""
    a4 = interpolate(min(abs(rapidity) / y_max, 1.0), forward)
    if not math.isnan(longitudinal):
        return longitudinal, 0.0, a4
    r2 = (pt / mass) ** 2
    a0 = r2 / (1.0 + r2)
    return a0, a0, a4 * (1.0 - a0)


@njit(cache=True)
def parent_state(
    event: int, start: WordArray, masses: FloatArray, pts: FloatArray, rapidities: FloatArray
) -> tuple[float, State]:
    """Rapidity of the state that decays, and the state."""
    phi = 2.0 * math.pi * _number(start, AZIMUTH, event)
    rapidity = interpolate(_number(start, RAPIDITY, event), rapidities)
    grown = math.exp(rapidity)
    return rapidity, (
        interpolate(_number(start, MASS, event), masses),
        interpolate(_number(start, PT, event), pts),
        math.cos(phi), math.sin(phi), 0.5 * (grown + 1.0 / grown), 0.5 * (grown - 1.0 / grown),
    )  # fmt: skip


@njit(cache=True)
def to_laboratory(p: float, energy: float, angles: tuple[float, float, float], parent: State) -> FloatTuple:
    """Momentum in the laboratory of a particle that has momentum p along `angles` in the Collins-Soper frame.

    That frame is reached from the laboratory by a boost along z, then one along pT: its x is along pT, its z along the
    beam, on the side of the boson.
    """
    cosine, cos_phi, sin_phi = angles
    mass, pt, c, s, ch, sh = parent
    sine = math.sqrt(max(0.0, 1.0 - cosine * cosine))
    side = 1.0 if sh >= 0.0 else -1.0
    x, y, z = p * sine * cos_phi, side * p * sine * sin_phi, side * p * cosine
    stretch = pt / mass
    gamma = math.sqrt(1.0 + stretch * stretch)
    along, carried = gamma * x + stretch * energy, gamma * energy + stretch * x
    return c * along - s * y, s * along + c * y, ch * z + sh * carried


@njit(cache=True)
def selected(momentum: FloatTuple, pt_min: float, pt_max: float, steepest: float) -> bool:
    """Whether pt_min <= pT < pt_max and |sinh(eta)| < steepest."""
    px, py, pz = momentum
    pt2 = px * px + py * py
    return pt_min * pt_min <= pt2 < pt_max * pt_max and pz * pz < steepest * steepest * pt2


@njit(cache=True)
def write_state(charge: float, momentum: FloatTuple, state: FloatArray) -> None:
    """q/p, lambda, phi, 0, 0 into state (5,)."""
    px, py, pz = momentum
    pt2 = px * px + py * py
    state[0] = charge / math.sqrt(pt2 + pz * pz)
    state[1] = math.atan2(pz, math.sqrt(pt2))
    state[2] = math.atan2(py, px)
    state[3] = 0.0
    state[4] = 0.0


@njit(cache=True)
def birth_place(event: int, start: WordArray, place: FloatArray, parent: State, vertex: FloatArray) -> None:
    """vertex (3,): the beam spot, and for displaced states a flight of c tau p/m along their direction.

    The hadron that they come from has their velocity: what is left of it is small.
    """
    gx, gy = _two_normals(absorb(start[BEAM_XY], event))
    gz, _ = _two_normals(absorb(start[BEAM_Z], event))
    vertex[0] = place[CENTRE_X] + place[WIDTH_X] * gx
    vertex[1] = place[CENTRE_Y] + place[WIDTH_Y] * gy
    vertex[2] = place[CENTRE_Z] + place[WIDTH_Z] * gz
    if place[DISPLACED_SHARE] > 0.0 and _number(start, DISPLACED, event) < place[DISPLACED_SHARE]:
        mass, pt, c, s, _, sh = parent
        proper = -place[C_TAU] * math.log(_number(start, FLIGHT, event)) / mass
        vertex[0] += proper * pt * c
        vertex[1] += proper * pt * s
        vertex[2] += proper * math.sqrt(mass * mass + pt * pt) * sh


@njit(cache=True)
def pair_momenta(mass: float, bare: float, muon_mass: float) -> tuple[float, float]:
    """Momenta (GeV) in the rest frame of the muon that does not radiate and of the other, for a bare pair mass.

    With p = m sinh(chi), E = M/2 = m cosh(chi_1), and the pair's bare mass^2 = 2 m^2 (1 + cosh(chi_1 + chi_2)).
    """
    energy = 0.5 * mass
    p = math.sqrt(energy * energy - muon_mass * muon_mass)
    if bare >= mass:
        return p, p
    cosh_sum = 0.5 * (bare / muon_mass) ** 2 - 1.0
    ratio = (cosh_sum + math.sqrt(cosh_sum * cosh_sum - 1.0)) * muon_mass / (energy + p)  # e^chi_2
    return p, 0.5 * muon_mass * (ratio - 1.0 / ratio)


@njit(cache=True)
def kept_share(mass: float, alpha: float, muon_mass: float, shape_word: np.uint64, word: np.uint64) -> float:
    """Share z of its momentum that the one charged decay product keeps: b (1-z)^(b-1) (1+z^2)/2, by rejection.

    b = (alpha/pi) [ln(M^2/m^2) - 1]: half of the strength of a pair.
    """
    if alpha <= 0.0:
        return 1.0
    b = alpha / math.pi * (2.0 * math.log(mass / muon_mass) - 1.0)
    for trial in range(MAX_TRIALS):
        z = 1.0 - to_uniform(absorb(word, trial)) ** (1.0 / b)
        if to_uniform(absorb(shape_word, trial)) < 0.5 * (1.0 + z * z):
            return float(z)
    return 1.0


@njit(cache=True, nogil=True)
def generate_pairs(
    first_event: int, n: int, start: WordArray,
    masses: FloatArray, pts: FloatArray, rapidities: FloatArray, forward: FloatArray, y_max: float,
    longitudinal: float, place: FloatArray, alpha: float, muon_mass: float, pt_min: float, pt_max: float,
    eta_max: float,
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:  # fmt: skip
    """Pairs of events first_event ... + n - 1: state (n, 2, 5) in the order +, -; vertex (n, 3); mass, accepted (n,).

    In the rest frame the muons are back to back with E = M/2; one of them then loses momentum along its own direction,
    until the pair has the bare mass.  The angles are those of the mu-.
    """
    state, vertex, mass = np.empty((n, 2, 5)), np.empty((n, 3)), np.empty(n)
    accepted = np.empty(n, dtype=np.bool_)
    steepest = math.sinh(eta_max)
    for row in range(n):
        event = first_event + row
        rapidity, parent = parent_state(event, start, masses, pts, rapidities)
        a0, a2, a4 = polarisation(parent[1], parent[0], rapidity, forward, y_max, longitudinal)
        angles = decay_angles(event, start, a0, a2, a4)
        bare = radiated(
            parent[0], alpha, muon_mass, absorb(start[RADIATION_SHAPE], event), absorb(start[RADIATION], event)
        )
        p_plus, p_minus = pair_momenta(parent[0], bare, muon_mass)
        if _number(start, RADIATING_MUON, event) < 0.5:
            p_plus, p_minus = p_minus, p_plus
        plus = to_laboratory(-p_plus, math.sqrt(p_plus * p_plus + muon_mass * muon_mass), angles, parent)
        minus = to_laboratory(p_minus, math.sqrt(p_minus * p_minus + muon_mass * muon_mass), angles, parent)
        mass[row] = parent[0]
        accepted[row] = selected(plus, pt_min, pt_max, steepest) and selected(minus, pt_min, pt_max, steepest)
        if accepted[row]:
            write_state(1.0, plus, state[row, 0])
            write_state(-1.0, minus, state[row, 1])
            birth_place(event, start, place, parent, vertex[row])
    return state, vertex, mass, accepted


@njit(cache=True, nogil=True)
def generate_w_muons(
    first_event: int, n: int, start: WordArray, charge: float,
    masses: FloatArray, pts: FloatArray, rapidities: FloatArray, forward: FloatArray, y_max: float,
    longitudinal: float, place: FloatArray, alpha: float, muon_mass: float, pt_min: float, pt_max: float,
    eta_max: float,
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:  # fmt: skip
    """The muon of W -> mu nu of events first_event ... + n - 1: state (n, 5), vertex (n, 3), mass, accepted (n,).

    The angles are those of the particle, the mu- of a W- and the neutrino of a W+.
    """
    state, vertex, mass = np.empty((n, 5)), np.empty((n, 3)), np.empty(n)
    accepted = np.empty(n, dtype=np.bool_)
    steepest = math.sinh(eta_max)
    for row in range(n):
        event = first_event + row
        rapidity, parent = parent_state(event, start, masses, pts, rapidities)
        a0, a2, a4 = polarisation(parent[1], parent[0], rapidity, forward, y_max, longitudinal)
        angles = decay_angles(event, start, a0, a2, a4)
        p = 0.5 * (parent[0] * parent[0] - muon_mass * muon_mass) / parent[0]
        p *= kept_share(
            parent[0], alpha, muon_mass, absorb(start[RADIATION_SHAPE], event), absorb(start[RADIATION], event)
        )
        muon = to_laboratory(-charge * p, math.sqrt(p * p + muon_mass * muon_mass), angles, parent)
        mass[row] = parent[0]
        accepted[row] = selected(muon, pt_min, pt_max, steepest)
        if accepted[row]:
            write_state(charge, muon, state[row])
            birth_place(event, start, place, parent, vertex[row])
    return state, vertex, mass, accepted
