"""Signal, background and expected events of a passing and a failing spectrum; derived in docs/physics/efficiency.md.

Parameters stand in the order EFF, LN_N and then, for passing and for failing probes, SHIFT, LN_WIDTH, N_B, ALPHA,
LN_BETA, GAMMA, LN_TAU, LOGIT_TAIL (offsets within a category).
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray

EFF: Final = 0
LN_N: Final = 1
FIRST: Final = 2
PER_CATEGORY: Final = 8
SHIFT: Final = 0
LN_WIDTH: Final = 1
N_B: Final = 2
ALPHA: Final = 3
LN_BETA: Final = 4
GAMMA: Final = 5
LN_TAU: Final = 6
LOGIT_TAIL: Final = 7
N_PARAMETERS: Final = FIRST + 2 * PER_CATEGORY

RANGE: Final = 7.0
"""Standard deviations beyond which the smearing Gaussian is taken as 0."""
TAIL_RANGE: Final = 25.0
ROOT_2: Final = math.sqrt(2.0)
ROOT_2PI: Final = math.sqrt(2.0 * math.pi)
GAUSS_2: Final = 1.0 / math.sqrt(3.0)


class Model(NamedTuple):
    """What the expectation needs besides the parameters.

    edges            : (M+1,) GeV   uniform
    per_bin          : template bins in one mass bin
    pad              : template bins below the window
    has_tail         : 1 if the smearing has an exponential tail to low masses
    turn_on          : (2,) 1 where the background of passing, failing probes has a turn-on
    """

    edges: FloatArray
    per_bin: int
    pad: int
    has_tail: int
    turn_on: IntArray


@njit(cache=True, nogil=True, error_model="numpy")
def smearing(x: float, width: float, tau: float, tail: float, out: FloatArray) -> None:
    """Fill out (5,): G, F = dG/dx, dG/dwidth, dG/dtau, dG/dtail at x; F is the integral of the smearing below x.

    A Gaussian, a fraction `tail` of it convolved with exp(u / tau) / tau, u < 0.  With F = (1 - tau d/dx)^-1 of the
    normal integral in the tail, and dG/dwidth = width d^2 G/dx^2 (equation of heat), all are closed.
    """
    z = x / width
    if z < -RANGE - TAIL_RANGE * tau / width:
        out[:] = 0.0
        return
    below = 0.5 * math.erfc(-z / ROOT_2)
    density = math.exp(-0.5 * z * z) / ROOT_2PI
    gauss = x * below + width * density
    out[0], out[1], out[2], out[3], out[4] = gauss, below, density, 0.0, 0.0
    if tail <= 0.0:
        return
    u = z + width / tau
    if u < 25.0:
        beyond = math.exp(0.5 * (u * u - z * z)) * 0.5 * math.erfc(u / ROOT_2)
    else:
        beyond = density / u * (1.0 - 1.0 / (u * u))
    by_tau = (density * width - beyond * (x + width * width / tau)) / (tau * tau)
    out[0] += tail * tau * (beyond + below)
    out[1] += tail * beyond
    out[2] += tail * (width * beyond / tau - density)
    out[3] = tail * (beyond + tau * by_tau + below)
    out[4] = tau * (beyond + below)


@njit(cache=True, nogil=True, error_model="numpy")
def signal_shape(
    template: FloatArray,
    cumulative: FloatArray,
    model: Model,
    shift: float,
    width: float,
    tau: float,
    tail: float,
    table: FloatArray,
    below: FloatArray,
    shape: FloatArray,
) -> bool:
    """Template, each bin flat, smeared; normalised over the window.

    template   : (G,) in bins of step h = bin width / per_bin
    cumulative : (G+1,) sums of it
    table      : (5, 2 G) scratch; below : (5, M+1) scratch
    shape      : (5, M) filled with S, dS/dshift, dS/dln width, dS/dln tau, dS/dlogit tail
    """
    m = shape.shape[1]
    n = template.size
    h = (model.edges[1] - model.edges[0]) / model.per_bin
    reach = RANGE * width + (TAIL_RANGE * tau if tail > 0.0 else 0.0)
    low = max(math.floor((shift - reach) / h), -n)
    high = min(math.ceil((shift + RANGE * width) / h) + 1, n)
    if high - low + 1 > table.shape[1] or high <= low:
        return False
    before = np.empty(5)
    after = np.empty(5)
    smearing((low - 1) * h - shift, width, tau, tail, before)
    for i in range(low, high + 1):
        smearing(i * h - shift, width, tau, tail, after)
        table[0, i - low] = (after[0] - before[0]) / h
        table[1, i - low] = -(after[1] - before[1]) / h
        for a in range(2, 5):
            table[a, i - low] = (after[a] - before[a]) / h
        before[:] = after
    n_shapes = 5 if tail > 0.0 else 3
    shape[n_shapes:] = 0.0
    for j in range(m + 1):
        at = model.pad + j * model.per_bin  # template bins g < at lie below the edge; offset at - g
        first, last = max(at - high, 0), min(at - low, n - 1)
        for a in range(n_shapes):
            total = 0.0
            for g in range(first, last + 1):
                total += template[g] * table[a, at - g - low]
            below[a, j] = total
        below[0, j] += cumulative[max(first, 0)] if first <= n else cumulative[n]
    norm = below[0, m] - below[0, 0]
    if not norm > 1e-9 * cumulative[n]:
        return False
    scale = np.array([1.0, 1.0, width, tau, tail * (1.0 - tail)])
    for a in range(n_shapes):
        drift = (below[a, m] - below[a, 0]) / norm
        for j in range(m):
            value = below[a, j + 1] - below[a, j]
            if a > 0:
                value -= drift * (below[0, j + 1] - below[0, j])
            shape[a, j] = scale[a] * value / norm
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def background_shape(
    edges: FloatArray, turn_on: int, alpha: float, beta: float, gamma: float, shape: FloatArray
) -> bool:
    """exp(-gamma m), with a turn-on erfc((alpha - m) beta) if asked: bin integrals, normalised over the window.

    shape : (4, M) filled with B, dB/dalpha, dB/dln beta, dB/dgamma; two Gauss points a bin
    """
    m = shape.shape[1]
    centre = 0.5 * (edges[0] + edges[m])
    shape[:] = 0.0
    for j in range(m):
        middle, half = 0.5 * (edges[j] + edges[j + 1]), 0.5 * (edges[j + 1] - edges[j])
        for q in range(2):
            x = middle + (2 * q - 1) * GAUSS_2 * half
            fall = half * math.exp(-gamma * (x - centre))
            if turn_on:
                t = (alpha - x) * beta
                slope = -2.0 / math.sqrt(math.pi) * math.exp(-t * t) * fall
                fall *= math.erfc(t)
                shape[1, j] += slope * beta
                shape[2, j] += slope * t
            shape[0, j] += fall
            shape[3, j] -= (x - centre) * fall
    norm = shape[0].sum()
    if not (norm > 1e-200 and norm < 1e200):
        return False
    for a in range(3, -1, -1):
        drift = shape[a].sum() / norm if a > 0 else 0.0
        for j in range(m):
            shape[a, j] = (shape[a, j] - drift * shape[0, j]) / norm
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def predict(
    theta: FloatArray,
    templates: FloatArray,
    cumulative: FloatArray,
    model: Model,
    table: FloatArray,
    below: FloatArray,
    shape: FloatArray,
    mu: FloatArray,
    dmu: FloatArray,
) -> bool:
    """Fill mu (2 M,) and dmu (P, 2 M): expected events, passing then failing; False if they are not usable."""
    m = model.edges.size - 1
    for a in range(theta.size):
        if not math.isfinite(theta[a]):
            return False
    n = math.exp(theta[LN_N])
    eff = theta[EFF]
    dmu[:] = 0.0
    for c in range(2):
        own = FIRST + c * PER_CATEGORY
        tail = 1.0 / (1.0 + math.exp(-theta[own + LOGIT_TAIL])) if model.has_tail else 0.0
        width, tau = math.exp(theta[own + LN_WIDTH]), math.exp(theta[own + LN_TAU])
        if not signal_shape(
            templates[c], cumulative[c], model, theta[own + SHIFT], width, tau, tail, table, below, shape[:5]
        ):
            return False
        beta = math.exp(theta[own + LN_BETA])
        if not background_shape(model.edges, model.turn_on[c], theta[own + ALPHA], beta, theta[own + GAMMA], shape[5:]):
            return False
        share = n * (eff if c == 0 else 1.0 - eff)
        sign = n if c == 0 else -n
        n_b = theta[own + N_B]
        at = c * m
        for j in range(m):
            mu[at + j] = max(share * shape[0, j] + n_b * shape[5, j], 1e-12)
            dmu[EFF, at + j] = sign * shape[0, j]
            dmu[LN_N, at + j] = share * shape[0, j]
            dmu[own + SHIFT, at + j] = share * shape[1, j]
            dmu[own + LN_WIDTH, at + j] = share * shape[2, j]
            dmu[own + LN_TAU, at + j] = share * shape[3, j]
            dmu[own + LOGIT_TAIL, at + j] = share * shape[4, j]
            dmu[own + N_B, at + j] = shape[5, j]
            dmu[own + ALPHA, at + j] = n_b * shape[6, j]
            dmu[own + LN_BETA, at + j] = n_b * shape[7, j]
            dmu[own + GAMMA, at + j] = n_b * shape[8, j]
    return math.isfinite(mu.sum())
