"""The models of the batch: expected events in every mass bin and their derivatives; derived in docs/physics/massfit.md.

Parameters stand in the order LN_N, LN_S, LN_SIGMA, LOGIT_F, SLOPE and, for the Crystal Ball, LN_ALPHA_L, LN_ALPHA_R.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.numerics.kernels import NORMAL_RANGE, exponential, gauss_rule, normal_terms

LN_N: Final = 0
LN_S: Final = 1
LN_SIGMA: Final = 2
LOGIT_F: Final = 3
SLOPE: Final = 4
LN_ALPHA_L: Final = 5
LN_ALPHA_R: Final = 6

SQRT_2PI: Final = math.sqrt(2 * math.pi)


class Model(NamedTuple):
    """What the expectation needs besides the parameters.

    edges          : (M+1,) GeV
    middle, half   : (M,)       middle and half width of the mass bins in x, -1/2 to 1/2 over the window
    reference      : GeV
    nodes, weights : (K,) GeV   of the template, increasing; empty for the Crystal Ball
    tails          : (2,)       n_l, n_r of the Crystal Ball
    """

    edges: FloatArray
    middle: FloatArray
    half: FloatArray
    reference: float
    nodes: FloatArray
    weights: FloatArray
    tails: FloatArray


class Point(NamedTuple):
    """Work arrays of one point: integral (P - 2, M+1) and shape (2, M) as filled below, mu (M,), dmu (P, M)."""

    integral: FloatArray
    shape: FloatArray
    mu: FloatArray
    dmu: FloatArray


@njit(cache=True, nogil=True, error_model="numpy")
def new_point(p: int, m: int) -> Point:
    """Work arrays for P parameters and M mass bins."""
    return Point(np.empty((p - 2, m + 1)), np.empty((2, m)), np.empty(m), np.empty((p, m)))


@njit(cache=True, nogil=True, error_model="numpy")
def compress(
    mass: FloatArray, weights: FloatArray, starts: IntArray, stops: IntArray, n_cells: IntArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Three Gauss nodes in the place of the points starts[c]:stops[c] of every cell c, for every row of weights (R, K).

    n_cells : (L,) cells of each level, which follow one another

    Returns nodes (R, 3 C) and their weights, used places first within a level, and (R, L) how many those are.
    """
    n_rows = weights.shape[0]
    n_nodes = np.zeros((n_rows, n_cells.size), np.int64)
    nodes = np.zeros((n_rows, 3 * starts.size))
    node_weights = np.zeros((n_rows, 3 * starts.size))
    three = np.empty(3)
    three_weights = np.empty(3)
    for row in range(n_rows):
        cell = 0
        for level in range(n_cells.size):
            place = 3 * cell
            for _ in range(n_cells[level]):
                part = slice(starts[cell], stops[cell])
                found = gauss_rule(mass[part], weights[row, part], three, three_weights)
                for k in range(found):
                    nodes[row, place + n_nodes[row, level]] = three[k]
                    node_weights[row, place + n_nodes[row, level]] = three_weights[k]
                    n_nodes[row, level] += 1
                cell += 1
    return nodes, node_weights, n_nodes


@njit(cache=True, nogil=True, error_model="numpy")
def add_node(
    edges: FloatArray,
    per_gev: float,
    inverse: float,
    weight: float,
    below: FloatArray,
    moment0: FloatArray,
    moment1: FloatArray,
) -> None:
    """Add one smeared node: its normal integral, density, and density times z, at z = edge * per_gev - inverse."""
    for j in range(edges.size):
        z = edges[j] * per_gev - inverse
        cdf, pdf = normal_terms(z)
        below[j] += weight * cdf
        moment0[j] += weight * pdf
        moment1[j] += weight * pdf * z


@njit(cache=True, nogil=True, error_model="numpy")
def template_integral(
    edges: FloatArray, s: float, sigma: float, nodes: FloatArray, weights: FloatArray, integral: FloatArray
) -> None:
    """Template nodes, each smeared by a Gaussian of relative width sigma: integral below every edge, and derivatives.

    nodes    : GeV, increasing
    integral : (3, M+1) filled with C, dC/dln s, dC/dln sigma: C(e) = sum_g T_g Phi(z), z = (e / (s m_g) - 1) / sigma
    """
    n_edges = edges.size
    integral[:] = 0.0
    below, moment0, moment1 = integral[0], integral[1], integral[2]
    inverse = 1.0 / sigma
    first = 0
    last = 0
    for g in range(nodes.size):
        weight = weights[g]
        per_gev = 1.0 / (s * nodes[g] * sigma)
        low = (1.0 - NORMAL_RANGE * sigma) * s * nodes[g]
        high = (1.0 + NORMAL_RANGE * sigma) * s * nodes[g]
        while first < n_edges and edges[first] <= low:
            first += 1
        while last < n_edges and edges[last] < high:
            last += 1
        if first == n_edges:
            break
        if last == 0:
            continue  # the same below every edge: no part of any bin
        part = slice(first, last)  # loops from 0 over views are vectorised
        add_node(edges[part], per_gev, inverse, weight, below[part], moment0[part], moment1[part])
        for j in range(last, n_edges):
            below[j] += weight
    for j in range(n_edges):
        moment1[j] = -moment1[j]
        moment0[j] = moment1[j] - moment0[j] * inverse


@njit(cache=True, nogil=True, error_model="numpy")
def dscb_integral(
    edges: FloatArray,
    centre: float,
    sigma: float,
    alpha_l: float,
    alpha_r: float,
    n_l: float,
    n_r: float,
    integral: FloatArray,
) -> None:
    """Double-sided Crystal Ball: integral from the peak to every edge in t = (e / centre - 1) / sigma, and derivatives.

    integral : (5, M+1) filled with C, dC/dln s, dC/dln sigma, dC/dln alpha_l, dC/dln alpha_r
    """
    below, density, t = integral[0], integral[1], integral[2]
    per_gev = 1.0 / (centre * sigma)
    inverse = 1.0 / sigma
    for j in range(edges.size):
        t[j] = edges[j] * per_gev - inverse
    n_edges = edges.size
    join_l, join_r = -min(alpha_l, NORMAL_RANGE), min(alpha_r, NORMAL_RANGE)
    first = 0
    while first < n_edges and t[first] <= join_l:
        first += 1
    last = first
    while last < n_edges and t[last] < join_r:
        last += 1
    integral[3, first:] = 0.0
    integral[4, :last] = 0.0
    dscb_tail(t[:first], -1.0, alpha_l, n_l, below[:first], density[:first], integral[3, :first])
    dscb_core(t[first:last], below[first:last], density[first:last])
    dscb_tail(t[last:], 1.0, alpha_r, n_r, below[last:], density[last:], integral[4, last:])
    for j in range(n_edges):
        turned = -density[j] * t[j]
        t[j] = turned
        density[j] = turned - density[j] * inverse


@njit(cache=True, nogil=True, error_model="numpy")
def dscb_core(t: FloatArray, below: FloatArray, density: FloatArray) -> None:
    """Integral of exp(-t^2 / 2) from the peak to every t within NORMAL_RANGE, and the density there."""
    for j in range(t.size):
        cdf, pdf = normal_terms(t[j])
        below[j] = SQRT_2PI * (cdf - 0.5)
        density[j] = SQRT_2PI * pdf


@njit(cache=True, nogil=True, error_model="numpy")
def dscb_tail(
    t: FloatArray, side: float, alpha: float, n: float, below: FloatArray, density: FloatArray, slope: FloatArray
) -> None:
    """Integral from the peak to every t beyond the join on one side, the density there, and d integral / d ln alpha.

    side : -1.0 or 1.0, the sign of t
    """
    to_join = SQRT_2PI * 0.5 * math.erf(alpha / math.sqrt(2.0))
    core = math.exp(-0.5 * alpha * alpha) if alpha <= NORMAL_RANGE else 0.0
    scale = core * n / (alpha * (n - 1.0))
    per_t = alpha / n
    if n == 3.0:  # the default is worth its short cut
        for j in range(t.size):
            u = 1.0 + max(side * t[j] - alpha, 0.0) * per_t
            density[j] = 1.0 / (u * u * u)
    else:
        for j in range(t.size):
            density[j] = math.exp(-n * math.log(1.0 + max(side * t[j] - alpha, 0.0) * per_t))
    at_join = core * alpha
    fall = scale * (alpha * alpha + 1.0)
    for j in range(t.size):
        beyond = side * t[j] - alpha
        power = density[j]
        missing = 1.0 - (1.0 + max(beyond, 0.0) * per_t) * power
        below[j] = side * (to_join + scale * missing)
        slope[j] = side * (at_join - fall * missing + core * (beyond - alpha) * power)
        density[j] = core * power


@njit(cache=True, nogil=True, error_model="numpy")
def background(slope: float, middle: FloatArray, half: FloatArray, shape: FloatArray) -> None:
    """Exponential exp(-slope x) integrated over each bin and normalised over the window, x from -1/2 to 1/2.

    middle, half : (M,) middle and half width of the bins in x
    shape        : (2, M) filled with B and dB/dslope
    """
    content, fall = shape[0], shape[1]
    n_wide = 0
    for j in range(half.size):
        n_wide += abs(slope) * half[j] > 0.1
    if n_wide == 0:
        for j in range(middle.size):
            h = slope * half[j]
            h2 = h * h
            ratio = 1.0 + h2 * (1.0 / 6.0 + h2 * (1.0 / 120.0 + h2 * (1.0 / 5040.0)))  # sinh(h) / h
            pull = h * (1.0 / 3.0 - h2 * (1.0 / 45.0 - h2 * (2.0 / 945.0 - h2 * (1.0 / 4725.0))))  # coth(h) - 1 / h
            content[j] = 2.0 * half[j] * exponential(-slope * middle[j]) * ratio
            fall[j] = half[j] * pull - middle[j]
    else:
        for j in range(middle.size):
            h = slope * half[j]
            content[j] = 2.0 * half[j] * exponential(-slope * middle[j])
            fall[j] = -middle[j]
            if abs(h) > 1e-4:
                content[j] *= math.sinh(h) / h
                fall[j] += half[j] * (1.0 / math.tanh(h) - 1.0 / h)
    total = 0.0
    first = 0.0
    for j in range(middle.size):
        total += content[j]
        first += content[j] * fall[j]
    mean = first / total
    scale = 1.0 / total
    for j in range(middle.size):
        content[j] *= scale
        fall[j] = content[j] * (fall[j] - mean)


@njit(cache=True, nogil=True, error_model="numpy")
def predict(
    theta: FloatArray,
    edges: FloatArray,
    middle: FloatArray,
    half: FloatArray,
    reference: float,
    nodes: FloatArray,
    weights: FloatArray,
    tails: FloatArray,
    integral: FloatArray,
    shape: FloatArray,
    mu: FloatArray,
    dmu: FloatArray,
) -> bool:
    """Fill mu and dmu: expected events in every mass bin and their derivatives; False if they are not usable.

    mu_j = N ((1 - f) S_j + f B_j), S and B each normalised over the window.  After theta come the fields of Model
    and of Point, one by one: every array taken out of a tuple costs two atomic operations.
    """
    for a in range(theta.size):
        if not math.isfinite(theta[a]):
            return False
    n_shapes = integral.shape[0]
    s = math.exp(theta[LN_S])
    sigma = math.exp(theta[LN_SIGMA])
    if n_shapes == 3:
        template_integral(edges, s, sigma, nodes, weights, integral)
    else:
        alpha_l = math.exp(theta[LN_ALPHA_L])
        alpha_r = math.exp(theta[LN_ALPHA_R])
        dscb_integral(edges, s * reference, sigma, alpha_l, alpha_r, tails[0], tails[1], integral)
    background(theta[SLOPE], middle, half, shape)
    m = mu.size
    below, above = integral[0, :m], integral[0, 1:]
    norm = integral[0, m] - integral[0, 0]
    n = math.exp(theta[LN_N])
    f = 1.0 / (1.0 + math.exp(-theta[LOGIT_F]))
    if not (norm > 1e-9 and math.isfinite(n)):
        return False
    signal = n / (1.0 + math.exp(theta[LOGIT_F])) / norm
    smallest = 1e-15 * n
    content, fall = shape[0], shape[1]
    by_f, by_slope = dmu[LOGIT_F], dmu[SLOPE]
    n_finite = 0
    for j in range(m):
        part = signal * (above[j] - below[j])
        rest = n * f * content[j]
        mu[j] = max(part + rest, smallest)
        by_f[j] = (1.0 - f) * rest - f * part
        by_slope[j] = n * f * fall[j]
        n_finite += part + rest < np.inf
    dmu[LN_N] = mu
    for a in range(1, n_shapes):
        by_shape = dmu[a if a < 3 else a + 2]
        lower, upper = integral[a, :m], integral[a, 1:]
        drift = (integral[a, m] - integral[a, 0]) / norm
        for j in range(m):
            by_shape[j] = signal * (upper[j] - lower[j] - drift * (above[j] - below[j]))
    return n_finite == m
