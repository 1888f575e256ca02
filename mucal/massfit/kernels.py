"""The batch of mass fits: models, likelihood and damped Fisher scoring; derivation in docs/physics/massfit.md.

Parameters stand in the order LN_N, LN_S, LN_SIGMA, LOGIT_F, SLOPE and, for the Crystal Ball, LN_ALPHA_L, LN_ALPHA_R.
Inside a fit the function is -ln L, half of what is reported.  Row `now` or `1 - now` of the two-row work arrays
holds the present and the tried point.
"""

import math
from typing import Final

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.numerics.kernels import (
    NORMAL_RANGE,
    cholesky,
    cholesky_inverse,
    cholesky_solve,
    exponential,
    gauss_rule,
    normal_terms,
)

LN_N: Final = 0
LN_S: Final = 1
LN_SIGMA: Final = 2
LOGIT_F: Final = 3
SLOPE: Final = 4
LN_ALPHA_L: Final = 5
LN_ALPHA_R: Final = 6

TEMPLATE: Final = 0
DSCB: Final = 1

CONVERGED: Final = 0  # values of Status
NOT_CONVERGED: Final = 3
HESSIAN_NOT_PD: Final = 4
AT_BOUNDARY: Final = 5

SQRT_2PI: Final = math.sqrt(2 * math.pi)
FLOOR_EVENTS: Final = 0.01  # background never falls below this many events: f = 0 lies at logit f = -infinity
NARROWEST: Final = 0.25  # smallest Gaussian width in units of the mass bin: a narrower one cannot be told apart
CEILING_LOGIT: Final = 7.0  # f = 0.9991: no signal is left to measure
NEAR: Final = 1.0  # from farther away, in units of -2 ln L, a step says nothing about the curvature at the minimum
SMALLEST_PIVOT: Final = 1e-11
LARGEST_DAMPING: Final = 1e8
MIN_PREDICTED: Final = 5.0  # neighbouring mass bins are merged to this content before the deviance is taken


# ------------------------------------------------------------------------------------------------ models


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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
    core_l = math.exp(-0.5 * alpha_l * alpha_l)
    core_r = math.exp(-0.5 * alpha_r * alpha_r)
    to_join_l = SQRT_2PI * 0.5 * math.erf(alpha_l / math.sqrt(2.0))
    to_join_r = SQRT_2PI * 0.5 * math.erf(alpha_r / math.sqrt(2.0))
    n_edges = edges.size
    first = 0
    while first < n_edges and edges[first] <= (1.0 - min(alpha_l, NORMAL_RANGE) * sigma) * centre:
        first += 1
    last = first
    while last < n_edges and edges[last] < (1.0 + min(alpha_r, NORMAL_RANGE) * sigma) * centre:
        last += 1
    integral[3:] = 0.0
    for j in range(first):
        t = (1.0 - edges[j] / centre) / sigma
        inside, integral[1, j], slope = dscb_tail(t, alpha_l, n_l, core_l, to_join_l)
        integral[0, j] = -inside
        integral[3, j] = -slope
    for j in range(first, last):
        cdf, pdf = normal_terms((edges[j] / centre - 1.0) / sigma)
        integral[0, j] = SQRT_2PI * (cdf - 0.5)
        integral[1, j] = SQRT_2PI * pdf
    for j in range(last, n_edges):
        t = (edges[j] / centre - 1.0) / sigma
        integral[0, j], integral[1, j], integral[4, j] = dscb_tail(t, alpha_r, n_r, core_r, to_join_r)
    for j in range(n_edges):
        integral[2, j] = -integral[1, j] * (edges[j] / centre - 1.0) / sigma
        integral[1, j] = integral[2, j] - integral[1, j] / sigma


@njit(cache=True, nogil=True)
def dscb_tail(t: float, alpha: float, n: float, core: float, to_join: float) -> tuple[float, float, float]:
    """Integral from the peak to t > alpha on one side, the density at t, and d integral / d ln alpha."""
    if t <= alpha:  # alpha beyond NORMAL_RANGE
        return to_join, 0.0, 0.0
    u = 1.0 + (t - alpha) * alpha / n
    power = 1.0 / (u * u * u) if n == 3.0 else math.exp(-n * math.log(u))  # the default is worth its short cut
    scale = core * n / (alpha * (n - 1.0))
    missing = 1.0 - u * power
    slope = core * alpha - scale * (alpha * alpha + 1.0) * missing + core * (t - 2.0 * alpha) * power
    return to_join + scale * missing, core * power, slope


@njit(cache=True, nogil=True)
def background(slope: float, middle: FloatArray, half: FloatArray, shape: FloatArray) -> None:
    """Exponential exp(-slope x) integrated over each bin and normalised over the window, x from -1/2 to 1/2.

    middle, half : (M,) middle and half width of the bins in x
    shape        : (2, M) filled with B and dB/dslope
    """
    content, fall = shape[0], shape[1]
    if abs(slope) * np.max(half) < 0.1:
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


@njit(cache=True, nogil=True)
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
    """Expected events mu (M,) in every mass bin and their derivatives dmu (P, M); False if they are not usable.

    mu_j = N ((1 - f) S_j + f B_j), S and B each normalised over the window.  tails : (2,) n_l, n_r.
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
    m = middle.size
    norm = integral[0, m] - integral[0, 0]
    n = math.exp(theta[LN_N])
    f = 1.0 / (1.0 + math.exp(-theta[LOGIT_F]))
    if not (norm > 1e-9 and math.isfinite(n)):
        return False
    signal = n / (1.0 + math.exp(theta[LOGIT_F])) / norm
    smallest = 1e-15 * n
    for j in range(m):
        part = signal * (integral[0, j + 1] - integral[0, j])
        rest = n * f * shape[0, j]
        mu[j] = max(part + rest, smallest)
        dmu[LN_N, j] = mu[j]
        dmu[LOGIT_F, j] = (1.0 - f) * rest - f * part
        dmu[SLOPE, j] = n * f * shape[1, j]
    for a in range(1, n_shapes):
        row = a if a < 3 else a + 2
        drift = (integral[a, m] - integral[a, 0]) / norm
        for j in range(m):
            step = integral[a, j + 1] - integral[a, j]
            dmu[row, j] = signal * (step - drift * (integral[0, j + 1] - integral[0, j]))
    return math.isfinite(mu.sum())


# ------------------------------------------------------------------------------------------------ one fit


@njit(cache=True, nogil=True)
def likelihood_change(counts: FloatArray, before: FloatArray, after: FloatArray) -> float:
    """Change of -ln L, bin by bin so that nothing large cancels."""
    total = 0.0
    for j in range(counts.size):
        total += after[j] - before[j]
        if counts[j] > 0.0:
            total -= counts[j] * math.log(after[j] / before[j])
    return total


@njit(cache=True, nogil=True)
def gradient_and_information(
    counts: FloatArray,
    mu: FloatArray,
    dmu: FloatArray,
    work: FloatArray,
    gradient: FloatArray,
    information: FloatArray,
) -> None:
    """Gradient of -ln L and the lower triangle of the Fisher information J^T diag(1/mu) J.

    Shapes are normalised over the window, so that the derivatives by every other parameter add up to 0 over it: the
    row of ln N is diagonal.

    work : (3, M) scratch
    """
    p = gradient.size
    inverse, missing, weighted = work[0], work[1], work[2]
    for j in range(counts.size):
        inverse[j] = 1.0 / mu[j]
        missing[j] = 1.0 - counts[j] * inverse[j]
    gradient[LN_N] = mu.sum() - counts.sum()
    information[LN_N, LN_N] = mu.sum()
    for a in range(1, p):
        total = 0.0
        for j in range(counts.size):
            weighted[j] = dmu[a, j] * inverse[j]
            total += dmu[a, j] * missing[j]
        gradient[a] = total
        information[a, LN_N] = 0.0
        for b in range(1, a + 1):
            total = 0.0
            for j in range(counts.size):
                total += weighted[j] * dmu[b, j]
            information[a, b] = total


@njit(cache=True, nogil=True)
def update_excess(
    excess: FloatArray, information: FloatArray, delta: FloatArray, turned: FloatArray, work: FloatArray
) -> None:
    """Estimate of observed minus expected information, after a step delta changed the gradient by `turned`.

    The symmetric update of least change for which (information + excess) delta = turned, as J. Dennis, D. Gay and
    R. Welsch use for the part of a Hessian that least squares leave out (ACM Trans. Math. Softw. 7 (1981) 348), with
    their sizing.  Without it the scoring step overshoots where the observed information is twice the expected.
    """
    p = delta.size
    along = 0.0
    for a in range(p):
        along += turned[a] * delta[a]
    if not along > 0.0:
        excess[:] = 0.0
        return
    wanted, held = work[0], work[1]
    wanted_along = 0.0
    held_along = 0.0
    for a in range(p):
        expected = 0.0
        held[a] = 0.0
        for b in range(p):
            expected += (information[a, b] if b <= a else information[b, a]) * delta[b]
            held[a] += (excess[a, b] if b <= a else excess[b, a]) * delta[b]
        wanted[a] = turned[a] - expected
        wanted_along += wanted[a] * delta[a]
        held_along += held[a] * delta[a]
    size = min(1.0, abs(wanted_along) / abs(held_along)) if held_along != 0.0 else 0.0
    rest = (wanted_along - size * held_along) / (along * along)
    for a in range(p):
        for b in range(a + 1):
            cross = (wanted[a] - size * held[a]) * turned[b] + (wanted[b] - size * held[b]) * turned[a]
            excess[a, b] = size * excess[a, b] + cross / along - rest * turned[a] * turned[b]


@njit(cache=True, nogil=True)
def restrict(information: FloatArray, excess: FloatArray, active: IntArray, damping: float, factor: FloatArray) -> None:
    """Copy information + excess to `factor`, diagonal raised by the damping, rows of inactive parameters those of 1."""
    p = active.size
    for a in range(p):
        for b in range(a):
            factor[a, b] = information[a, b] + excess[a, b] if active[a] and active[b] else 0.0
        factor[a, a] = information[a, a] * (1.0 + damping) + excess[a, a] if active[a] else 1.0


@njit(cache=True, nogil=True)
def newton_step(factor: FloatArray, gradient: FloatArray, active: IntArray, delta: FloatArray) -> float:
    """Fill delta with the step to the minimum of the quadratic form; return the distance to it in units of -2 ln L."""
    for a in range(delta.size):
        delta[a] = -gradient[a] if active[a] else 0.0
    cholesky_solve(factor, delta)
    edm = 0.0
    for a in range(delta.size):
        edm -= delta[a] * gradient[a] if active[a] else 0.0
    return edm


@njit(cache=True, nogil=True)
def minimise(
    counts: FloatArray,
    edges: FloatArray,
    middle: FloatArray,
    half: FloatArray,
    reference: float,
    nodes: FloatArray,
    weights: FloatArray,
    tails: FloatArray,
    free: IntArray,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    tolerance: float,
    max_steps: int,
    theta: FloatArray,
    integral: FloatArray,
    shape: FloatArray,
    mu: FloatArray,
    dmu: FloatArray,
    information: FloatArray,
    active: IntArray,
) -> tuple[int, int, float, int]:
    """Damped Fisher scoring from theta, which is overwritten: (status, steps, edm, row of mu at the end).

    The minimum is sought in the box [low, high].  A parameter on a wall that the gradient presses against the wall
    is held there (`active` 0), as the conditions of Karush, Kuhn and Tucker ask.
    """
    p = theta.size
    gradient = np.empty(p)
    delta = np.empty(p)
    tried = np.empty(p)
    moved = np.empty(p)
    turned = np.empty(p)
    factor = np.zeros((p, p))
    excess = np.zeros((p, p))
    nothing = np.zeros((p, p))
    work = np.empty((3, max(counts.size, p)))
    largest = np.full(p, 0.5)
    largest[LN_N] = 1.0
    largest[LOGIT_F] = 2.0
    largest[SLOPE] = 5.0
    now = 0
    edm = np.inf
    damping = 0.0
    near = False
    if not predict(theta, edges, middle, half, reference, nodes, weights, tails, integral, shape, mu[0], dmu[0]):
        return NOT_CONVERGED, 0, edm, now
    for step in range(max_steps + 1):
        gradient_and_information(counts, mu[now], dmu[now], work, gradient, information)
        for a in range(p):
            gradient[a] += precision[a] * (theta[a] - mean[a])
            information[a, a] += precision[a]
            pressed = (theta[a] <= low[a] and gradient[a] >= 0.0) or (theta[a] >= high[a] and gradient[a] <= 0.0)
            active[a] = 1 if free[a] and not pressed else 0
        if step > 0:
            for a in range(p):
                moved[a] = theta[a] - moved[a]
                turned[a] = gradient[a] - turned[a]
            near = near or edm < NEAR
            if near:
                update_excess(excess, information, moved, turned, work)
        restrict(information, nothing, active, 0.0, factor)
        definite = cholesky(factor, SMALLEST_PIVOT)
        if definite:
            edm = newton_step(factor, gradient, active, delta)
        else:
            damping = max(damping, 1e-3)
        if near:
            restrict(information, excess, active, 0.0, factor)
            if cholesky(factor, SMALLEST_PIVOT):
                edm = max(edm, newton_step(factor, gradient, active, delta))
            else:
                excess[:] = 0.0
        if definite and edm < tolerance:
            return CONVERGED, step, edm, now
        if step == max_steps:
            break
        for a in range(p):
            moved[a] = theta[a]
            turned[a] = gradient[a]
        while True:
            if damping > 0.0:
                restrict(information, excess, active, damping, factor)
                if not cholesky(factor, 1e-15):
                    damping *= 10.0
                    if damping > LARGEST_DAMPING:
                        return HESSIAN_NOT_PD, step, edm, now
                    continue
                newton_step(factor, gradient, active, delta)
            largest[LN_S] = math.exp(theta[LN_SIGMA])
            change = 0.0
            for a in range(p):
                wish = theta[a] + min(max(delta[a], -largest[a]), largest[a])
                tried[a] = min(max(wish, low[a]), high[a]) if active[a] else theta[a]
                change += 0.5 * precision[a] * (tried[a] - theta[a]) * (tried[a] + theta[a] - 2.0 * mean[a])
            other = 1 - now
            if predict(
                tried, edges, middle, half, reference, nodes, weights, tails, integral, shape, mu[other], dmu[other]
            ):
                change += likelihood_change(counts, mu[now], mu[other])
                if change <= 0.0:
                    break
            damping = max(8.0 * damping, 1e-2)
            if damping > LARGEST_DAMPING:
                return NOT_CONVERGED if definite else HESSIAN_NOT_PD, step, edm, now
        theta[:] = tried
        now = other
        damping = 0.1 * damping if damping > 1e-4 else 0.0
    return NOT_CONVERGED if definite else HESSIAN_NOT_PD, max_steps, edm, now


@njit(cache=True, nogil=True)
def starting_point(counts: FloatArray, edges: FloatArray, reference: float, attempt: int, theta: FloatArray) -> None:
    """Start values from the spectrum alone: background from its ends, peak from truncated moments.

    attempt : 0 for the first start; 1 to 3 vary width and background, 3 starts at the highest mass bin
    """
    m = counts.size
    n_side = max(m // 10, 1)
    total = counts.sum()
    window = edges[m] - edges[0]
    upper = counts[m - n_side :].sum() / (edges[m] - edges[m - n_side])
    lower = counts[:n_side].sum() / (edges[n_side] - edges[0])
    flat = min(upper, lower)
    event = total / window / (total + 1.0)
    slope = 0.5 * math.log((lower + event) / (upper + event))  # half: signal tails weigh in the lower end
    slope = min(max(slope, -2.0), 2.0)
    rise = math.expm1(abs(slope)) / abs(slope) if slope != 0.0 else 1.0
    f = min(max(flat * rise * window / total, 1.0 / (1.0 + total)), 0.7)
    centre = 0.5 * (edges[0] + edges[m])
    width = window
    for _ in range(10):
        sum0 = 0.0
        sum1 = 0.0
        sum2 = 0.0
        for j in range(m):
            x = 0.5 * (edges[j] + edges[j + 1]) - centre
            if abs(x) < 2.0 * width:
                y = counts[j] - flat * (edges[j + 1] - edges[j])
                sum0 += y
                sum1 += y * x
                sum2 += y * x * x
        if sum0 <= 0.0 or sum2 <= 0.0:
            break
        shift = sum1 / sum0
        variance = sum2 / sum0 - shift * shift
        if variance <= 0.0:
            break
        centre += shift
        before = width
        width = math.sqrt(variance / 0.7737)  # variance of a normal distribution cut at two standard deviations
        if abs(shift) < 0.02 * width and abs(width - before) < 0.02 * width:
            break
    theta[LN_N] = math.log(total)
    if attempt == 3:
        peak = int(np.argmax(counts))
        centre = 0.5 * (edges[peak] + edges[peak + 1])
    centre = min(max(centre, edges[0] + 0.02 * window), edges[m] - 0.02 * window)
    width = min(max(width, (edges[1] - edges[0]) / 3.0), window / 4.0)
    if attempt == 1:
        width *= 1.6
        f = 0.1
    elif attempt == 2:
        width *= 0.6
        f = 0.02
    elif attempt == 3:
        width = window / 12.0
        f = 0.5
    theta[LN_S] = math.log(centre / reference)
    theta[LN_SIGMA] = math.log(width / centre)
    theta[LOGIT_F] = math.log(f / (1.0 - f))
    theta[SLOPE] = slope
    for a in range(LN_ALPHA_L, theta.size):
        theta[a] = math.log(1.5) if attempt < 2 else math.log(2.5)


@njit(cache=True, nogil=True)
def merged_deviance(counts: FloatArray, mu: FloatArray) -> tuple[float, float, int]:
    """Poisson deviance after neighbours are merged to MIN_PREDICTED expected events.

    Returns it, its expectation, and the number of merged bins.  The expectation of one bin is 1 + 1/(6 mu) + 1/(6 mu^2)
    to 0.7 % from mu = 5 on, not 1: without it p-values of thin spectra pile up at 0.
    """
    deviance = 0.0
    expectation = 0.0
    n_merged = 0
    tail = mu.sum()
    seen = 0.0
    expected = 0.0
    for j in range(counts.size):
        seen += counts[j]
        expected += mu[j]
        tail -= mu[j]
        if (expected >= MIN_PREDICTED and tail >= MIN_PREDICTED) or j == counts.size - 1:
            deviance += 2.0 * (expected - seen)
            if seen > 0.0:
                deviance += 2.0 * seen * math.log(seen / expected)
            expectation += 1.0 + (1.0 + 1.0 / expected) / (6.0 * expected)
            n_merged += 1
            seen = 0.0
            expected = 0.0
    return deviance, expectation, n_merged


# ------------------------------------------------------------------------------------------------ the batch


@njit(cache=True, nogil=True)
def fit_rows(
    counts: FloatArray,
    edges: FloatArray,
    reference: float,
    level_sigma: FloatArray,
    offsets: IntArray,
    nodes: FloatArray,
    weights: FloatArray,
    n_nodes: IntArray,
    tails: FloatArray,
    start: FloatArray,
    free: IntArray,
    mean: FloatArray,
    precision: FloatArray,
    tolerance: float,
    max_steps: int,
    max_attempts: int,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, IntArray, FloatArray, IntArray, IntArray]:
    """Fit every row of counts (R, M).

    level_sigma : (L,)       smallest relative width for which a level of template nodes is accurate, falling
    offsets     : (L,)       where the nodes of a level begin; L = 0 for the Crystal Ball
    nodes       : (R or 1, K) GeV, increasing within a level; weights likewise
    n_nodes     : (R or 1, L) how many nodes a level has
    tails       : (2,)       n_l, n_r
    start       : (P,)       value at which a parameter starts (fixed ones stay there); NaN: from the spectrum
    free        : (P,)       1 if fitted
    mean, precision : (P,)   Gaussian constraints, precision 0 for none

    Returns values (R, P), cov (R, P, P), deviance, its expectation per merged bin, ndf, edm, steps, status (R,).
    """
    n_rows, m = counts.shape
    p = start.size
    n_levels = level_sigma.size
    values = np.full((n_rows, p), np.nan)
    cov = np.full((n_rows, p, p), np.nan)
    deviance = np.full(n_rows, np.nan)
    per_bin = np.full(n_rows, np.nan)
    ndf = np.zeros(n_rows, np.int64)
    edms = np.full(n_rows, np.nan)
    n_steps = np.zeros(n_rows, np.int64)
    status = np.full(n_rows, NOT_CONVERGED)

    window = edges[m] - edges[0]
    middle = (0.5 * (edges[:-1] + edges[1:]) - edges[0]) / window - 0.5
    half = 0.5 * (edges[1:] - edges[:-1]) / window
    integral = np.empty((p - 2, m + 1))
    shape = np.empty((2, m))
    mu = np.empty((2, m))
    dmu = np.empty((2, p, m))
    information = np.zeros((p, p))
    factor = np.zeros((p, p))
    nothing = np.zeros((p, p))
    active = np.zeros(p, np.int64)
    theta = np.empty(p)
    low = np.full(p, math.log(0.1))
    high = np.full(p, math.log(20.0))
    low[SLOPE], high[SLOPE] = -100.0, 100.0
    low[LN_S], high[LN_S] = math.log(edges[0] / reference), math.log(edges[m] / reference)
    low[LN_SIGMA] = math.log(NARROWEST * np.min(edges[1:] - edges[:-1]) / edges[m])
    high[LN_SIGMA] = math.log(window / edges[0])
    high[LOGIT_F] = CEILING_LOGIT

    for row in range(n_rows):
        total = counts[row].sum()
        low[LN_N], high[LN_N] = math.log(total) - 5.0, math.log(total) + 5.0
        low[LOGIT_F] = math.log(FLOOR_EVENTS / total)
        source = min(row, nodes.shape[0] - 1)
        attempt = 0
        finer = False
        level = 0
        now = 0
        while attempt < max_attempts:
            if not finer:
                starting_point(counts[row], edges, reference, attempt, theta)
                for a in range(p):
                    if not math.isnan(start[a]):
                        theta[a] = start[a]
                    if free[a]:
                        theta[a] = min(max(theta[a], low[a]), high[a])
                level = 0
                while level < n_levels - 1 and level_sigma[level] > 0.7 * math.exp(theta[LN_SIGMA]):
                    level += 1
            begin = offsets[level] if n_levels > 0 else 0
            end = begin + n_nodes[source, level] if n_levels > 0 else 0
            status[row], steps, edms[row], now = minimise(
                counts[row],
                edges,
                middle,
                half,
                reference,
                nodes[source, begin:end],
                weights[source, begin:end],
                tails,
                free,
                mean,
                precision,
                low,
                high,
                tolerance,
                max_steps,
                theta,
                integral,
                shape,
                mu,
                dmu,
                information,
                active,
            )
            n_steps[row] += steps
            finer = False
            if n_levels > 0 and level < n_levels - 1 and math.exp(theta[LN_SIGMA]) < level_sigma[level]:
                finer = True  # too narrow for these nodes: go on from here with the next level
                level += 1
                continue
            if status[row] == CONVERGED:
                for a in range(p):
                    if free[a] and not active[a] and not (a == LOGIT_F and theta[a] <= low[a]):
                        status[row] = AT_BOUNDARY
            if status[row] == CONVERGED:
                break
            attempt += 1
        if status[row] != CONVERGED:
            continue
        restrict(information, nothing, active, 0.0, factor)
        if not cholesky(factor, SMALLEST_PIVOT):
            status[row] = HESSIAN_NOT_PD
            continue
        inverse = cholesky_inverse(factor)
        n_active = 0
        for a in range(p):
            n_active += active[a]
            if not active[a]:
                inverse[a, a] = 1.0 / information[a, a] if free[a] else 0.0
        deviance[row], expectation, n_merged = merged_deviance(counts[row], mu[now])
        per_bin[row] = expectation / n_merged
        ndf[row] = n_merged - n_active
        values[row] = theta
        cov[row] = inverse
    return values, cov, deviance, per_bin, ndf, edms, n_steps, status
