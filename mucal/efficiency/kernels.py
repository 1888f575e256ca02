"""Simultaneous fit of a passing and a failing spectrum, compiled; derived in docs/physics/efficiency.md.

Parameters stand in the order EFF, LN_N and then, for passing and for failing probes, SHIFT, LN_WIDTH, N_B, ALPHA,
LN_BETA, GAMMA, LN_TAU, LOGIT_TAIL (offsets within a category).  Inside a fit the function is -ln L.
"""

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.numerics.kernels import cholesky, cholesky_inverse, cholesky_solve

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

CONVERGED: Final = 0  # values of Status
NOT_CONVERGED: Final = 3
HESSIAN_NOT_PD: Final = 4
AT_BOUNDARY: Final = 5

RANGE: Final = 7.0
"""Standard deviations beyond which the smearing Gaussian is taken as 0."""
TAIL_RANGE: Final = 25.0
LARGEST_DAMPING: Final = 1e10
PATIENCE: Final = 10
NEAR: Final = 1.0
SMALLEST_PIVOT: Final = 1e-12
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


@njit(cache=True, nogil=True, error_model="numpy")
def change_of_likelihood(counts: FloatArray, before: FloatArray, after: FloatArray) -> float:
    """Change of -ln L, bin by bin so that nothing large cancels."""
    total = 0.0
    for j in range(counts.size):
        total += after[j] - before[j]
        if counts[j] > 0.0:
            total -= counts[j] * math.log(after[j] / before[j])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def gradient_of(
    counts: FloatArray, mu: FloatArray, dmu: FloatArray, theta: FloatArray, mean: FloatArray, precision: FloatArray,
    gradient: FloatArray,
) -> None:  # fmt: skip
    """Fill the gradient (P,) of -ln L with the constraints."""
    for a in range(theta.size):
        total = precision[a] * (theta[a] - mean[a])
        for j in range(counts.size):
            total += dmu[a, j] * (1.0 - counts[j] / mu[j])
        gradient[a] = total


@njit(cache=True, nogil=True, error_model="numpy")
def information_of(
    mu: FloatArray, dmu: FloatArray, precision: FloatArray, free: IntArray, information: FloatArray
) -> None:
    """Fill the lower triangle of the expected information with the constraints; rows of fixed parameters are 0."""
    weight = 1.0 / mu
    row = np.empty(mu.size)
    for a in range(free.size):
        information[a, : a + 1] = 0.0
        if not free[a]:
            continue
        row[:] = dmu[a] * weight
        for b in range(a + 1):
            if free[b]:
                total = 0.0
                for j in range(mu.size):
                    total += row[j] * dmu[b, j]
                information[a, b] = total
        information[a, a] += precision[a]


@njit(cache=True, nogil=True, error_model="numpy")
def step_to_minimum(
    information: FloatArray, gradient: FloatArray, active: IntArray, damping: float, factor: FloatArray,
    delta: FloatArray,
) -> float:  # fmt: skip
    """Fill delta with the damped scoring step; return the distance to the minimum in -2 ln L, -1 if not definite."""
    p = active.size
    for a in range(p):
        for b in range(a):
            factor[a, b] = information[a, b] if active[a] and active[b] else 0.0
        factor[a, a] = information[a, a] * (1.0 + damping) if active[a] else 1.0
        delta[a] = -gradient[a] if active[a] else 0.0
    if not cholesky(factor, SMALLEST_PIVOT):
        return -1.0
    cholesky_solve(factor, delta)
    edm = 0.0
    for a in range(p):
        edm -= delta[a] * gradient[a] if active[a] else 0.0
    return edm


@njit(cache=True, nogil=True, error_model="numpy")
def observed_information(
    counts: FloatArray,
    theta: FloatArray,
    templates: FloatArray,
    cumulative: FloatArray,
    model: Model,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    active: IntArray,
    expected: FloatArray,
    mu_moved: FloatArray,
    dmu_moved: FloatArray,
    result: FloatArray,
) -> None:
    """Fill the second derivatives (P, P) of -ln L from differences of gradients, a tenth of a standard error apart.

    mu_moved, dmu_moved : scratch
    """
    p, m = theta.size, model.edges.size - 1
    table, below, shape = np.empty((5, 2 * templates.shape[1] + 2)), np.empty((5, m + 1)), np.empty((9, m))
    up, down, moved = np.empty(p), np.empty(p), np.empty(p)
    result[:] = 0.0
    for a in range(p):
        if not active[a]:
            result[a, a] = 1.0
            continue
        h = 0.1 / math.sqrt(max(expected[a, a], 1e-12))
        moved[:] = theta
        moved[a] = min(theta[a] + h, high[a])
        top = moved[a]
        up[:] = np.nan
        if predict(moved, templates, cumulative, model, table, below, shape, mu_moved, dmu_moved):
            gradient_of(counts, mu_moved, dmu_moved, moved, mean, precision, up)
        moved[a] = max(theta[a] - h, low[a])
        down[:] = np.nan
        if predict(moved, templates, cumulative, model, table, below, shape, mu_moved, dmu_moved):
            gradient_of(counts, mu_moved, dmu_moved, moved, mean, precision, down)
        for b in range(p):
            if active[b]:
                result[a, b] = (up[b] - down[b]) / (top - moved[a])
    for a in range(p):
        for b in range(a):
            half = 0.5 * (result[a, b] + result[b, a])
            result[a, b] = half
            result[b, a] = half


@njit(cache=True, nogil=True, error_model="numpy")
def minimise(
    counts: FloatArray,
    theta: FloatArray,
    templates: FloatArray,
    cumulative: FloatArray,
    model: Model,
    free: IntArray,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    largest: FloatArray,
    tolerance: float,
    max_steps: int,
    mu: FloatArray,
    dmu: FloatArray,
    active: IntArray,
    information: FloatArray,
) -> tuple[int, int, float]:
    """Minimum in the box by damped Fisher scoring from theta (overwritten): status, steps, estimated distance to it.

    Where few events make the observed information twice the expected, scoring steps overshoot for ever; after PATIENCE
    steps, and near the minimum, they are taken by the second derivatives themselves.

    mu, dmu, active, information : filled with their values at the end
    """
    p, m = theta.size, model.edges.size - 1
    n_template = templates.shape[1]
    table, below, shape = np.empty((5, 2 * n_template + 2)), np.empty((5, m + 1)), np.empty((9, m))
    mu_tried, dmu_tried = np.empty_like(mu), np.empty_like(dmu)
    gradient, delta, tried = np.empty(p), np.empty(p), np.empty(p)
    factor, observed = np.zeros((p, p)), np.zeros((p, p))
    edm, damping, step = np.inf, 0.0, 0
    if not predict(theta, templates, cumulative, model, table, below, shape, mu, dmu):
        return NOT_CONVERGED, step, edm
    while True:
        gradient_of(counts, mu, dmu, theta, mean, precision, gradient)
        information_of(mu, dmu, precision, free, information)
        for a in range(p):
            pressed = (theta[a] <= low[a] and gradient[a] >= 0.0) or (theta[a] >= high[a] and gradient[a] <= 0.0)
            active[a] = 1 if free[a] and not pressed else 0
        edm = step_to_minimum(information, gradient, active, 0.0, factor, delta)
        if step >= PATIENCE and tolerance <= edm < NEAR:
            observed_information(
                counts, theta, templates, cumulative, model, mean, precision, low, high, active, information,
                mu_tried, dmu_tried, observed,
            )  # fmt: skip
            exact = step_to_minimum(observed, gradient, active, 0.0, factor, delta)
            if exact >= 0.0:
                edm = exact
                information[:] = observed
            else:
                step_to_minimum(information, gradient, active, 0.0, factor, delta)
        if 0.0 <= edm < tolerance:
            return CONVERGED, step, edm
        if step == max_steps:
            return HESSIAN_NOT_PD if edm < 0.0 else NOT_CONVERGED, step, edm
        damping = max(damping, 1e-3) if edm < 0.0 else damping
        while True:
            change = np.inf
            if damping == 0.0 or step_to_minimum(information, gradient, active, damping, factor, delta) >= 0.0:
                change = 0.0
                for a in range(p):
                    wish = theta[a] + min(max(delta[a], -largest[a]), largest[a])
                    tried[a] = min(max(wish, low[a]), high[a]) if active[a] else theta[a]
                    change += 0.5 * precision[a] * (tried[a] - theta[a]) * (tried[a] + theta[a] - 2.0 * mean[a])
                if predict(tried, templates, cumulative, model, table, below, shape, mu_tried, dmu_tried):
                    change += change_of_likelihood(counts, mu, mu_tried)
                else:
                    change = np.inf
            if change <= 0.0:
                break
            damping = max(8.0 * damping, 1e-2)
            if damping > LARGEST_DAMPING:
                return NOT_CONVERGED, step, edm
        step += 1
        theta[:] = tried
        mu[:] = mu_tried
        dmu[:] = dmu_tried
        damping = 0.1 * damping if damping > 1e-4 else 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def merged_deviance(counts: FloatArray, mu: FloatArray, spread: FloatArray, least: float) -> tuple[float, int]:
    """Poisson deviance of one spectrum, bins merged from the left until `least` are expected; how many bins are left.

    What remains at the right end joins the last bin.  A bin's part counts as mu / (mu + spread), spread (M,) being the
    variance of the expectation by the template's own statistics.
    """
    m = mu.size
    merged_n, merged_mu, merged_spread = np.zeros(m), np.zeros(m), np.zeros(m)
    at = 0
    for j in range(m):
        merged_n[at] += counts[j]
        merged_mu[at] += mu[j]
        merged_spread[at] += spread[j]
        if merged_mu[at] >= least and j < m - 1:
            at += 1
    if merged_mu[at] < least and at > 0:
        merged_n[at - 1] += merged_n[at]
        merged_mu[at - 1] += merged_mu[at]
        merged_spread[at - 1] += merged_spread[at]
        at -= 1
    total = 0.0
    for j in range(at + 1):
        part = merged_mu[j] - merged_n[j]
        if merged_n[j] > 0.0:
            part += merged_n[j] * math.log(merged_n[j] / merged_mu[j])
        total += part * merged_mu[j] / (merged_mu[j] + merged_spread[j])
    return 2.0 * total, at + 1


@njit(cache=True, nogil=True, error_model="numpy")
def crossing(
    counts: FloatArray,
    best: FloatArray,
    error: float,
    side: float,
    templates: FloatArray,
    cumulative: FloatArray,
    model: Model,
    free: IntArray,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    largest: FloatArray,
    tolerance: float,
    max_steps: int,
    mu_best: FloatArray,
    dmu: FloatArray,
    active: IntArray,
    information: FloatArray,
) -> float:
    """The efficiency above (side = 1) or below (-1) the best one where the profiled -2 ln L has risen by 1.

    0 or 1 if it rises by less up to there; NaN if a fit on the way fails.
    """
    wall = high[EFF] if side > 0 else low[EFF]
    held = free.copy()
    held[EFF] = 0
    mu = mu_best.copy()
    distance = error
    for _ in range(12):
        theta = best.copy()
        theta[EFF] = best[EFF] + side * distance
        at_wall = (theta[EFF] - wall) * side >= 0.0
        if at_wall:
            theta[EFF] = wall
            distance = abs(wall - best[EFF])
        if distance <= 0.0:
            return float(wall)
        status, _, _ = minimise(
            counts, theta, templates, cumulative, model, held, mean, precision, low, high, largest, tolerance,
            max_steps, mu, dmu, active, information,
        )  # fmt: skip
        if status != CONVERGED:
            return np.nan
        rise = change_of_likelihood(counts, mu_best, mu)
        for a in range(theta.size):
            rise += 0.5 * precision[a] * (theta[a] - best[a]) * (theta[a] + best[a] - 2.0 * mean[a])
        z = math.sqrt(max(2.0 * rise, 0.0))
        if abs(z - 1.0) < 0.003 or (at_wall and z < 1.0):
            return float(theta[EFF])
        distance *= min(max(1.0 / max(z, 1e-6), 0.3), 3.0)
    return np.nan


@njit(cache=True, nogil=True, error_model="numpy")
def fit_rows(
    counts: FloatArray,
    templates: FloatArray,
    spread: FloatArray,
    model: Model,
    starts: FloatArray,
    free: IntArray,
    mean: FloatArray,
    precision: FloatArray,
    low: FloatArray,
    high: FloatArray,
    largest: FloatArray,
    tolerance: float,
    max_steps: int,
    intervals: bool,
    values: FloatArray,
    cov: FloatArray,
    bounds: FloatArray,
    fitted: FloatArray,
    deviance: FloatArray,
    ndf: FloatArray,
    edm: FloatArray,
    n_steps: IntArray,
    status: IntArray,
) -> None:
    """Fits of R pairs of spectra, written to the last nine arrays.

    counts    : (R, 2, M)      passing, failing
    templates : (R or 1, 2, G) signal before smearing
    spread    : (R or 1, 2, M) variance of each mass bin's share of the signal, for the goodness of fit alone
    starts    : (R, T, P)      T starts, tried until one converges
    low, high : (R, P)
    """
    n_rows, n_starts, p = starts.shape
    m = counts.shape[2]
    mu, dmu, information = np.empty(2 * m), np.empty((p, 2 * m)), np.zeros((p, p))
    spare_mu, spare_dmu = np.empty(2 * m), np.empty((p, 2 * m))
    spare_information, spare_active = np.zeros((p, p)), np.zeros(p, np.int64)
    active = np.zeros(p, np.int64)
    observed = np.zeros((p, p))
    for row in range(n_rows):
        both = counts[row].copy().reshape(-1)
        own = np.ascontiguousarray(templates[min(row, templates.shape[0] - 1)])
        cumulative = np.zeros((2, own.shape[1] + 1))
        for c in range(2):
            cumulative[c, 1:] = np.cumsum(own[c])
        theta = starts[row, 0].copy()
        n_steps[row] = 0
        for t in range(n_starts):
            theta[:] = starts[row, t]
            status[row], steps, edm[row] = minimise(
                both, theta, own, cumulative, model, free, mean, precision, low[row], high[row], largest, tolerance,
                max_steps, mu, dmu, active, information,
            )  # fmt: skip
            n_steps[row] += steps
            if status[row] == CONVERGED:
                break
        if status[row] != CONVERGED:
            continue
        observed_information(
            both, theta, own, cumulative, model, mean, precision, low[row], high[row], active, information, spare_mu,
            spare_dmu, observed,
        )  # fmt: skip
        if not cholesky(observed, SMALLEST_PIVOT):
            status[row] = HESSIAN_NOT_PD
            continue
        values[row] = theta
        fitted[row] = mu.reshape(2, m)
        inverse = cholesky_inverse(observed)
        n_used = 0.0
        for a in range(p):
            n_used += 1.0 - precision[a] * inverse[a, a] if active[a] else 0.0
            for b in range(p):
                cov[row, a, b] = inverse[a, b] if active[a] and active[b] else 0.0
        error = math.sqrt(inverse[EFF, EFF])
        if not active[EFF]:
            status[row] = AT_BOUNDARY
            cov[row, EFF, EFF] = np.nan
            error = 1.0 / math.exp(theta[LN_N])
        if intervals:
            for s in range(2):
                bounds[row, s] = crossing(
                    both, theta, error, 2.0 * s - 1.0, own, cumulative, model, free, mean, precision, low[row],
                    high[row], largest, tolerance, max_steps, mu, spare_dmu, spare_active, spare_information,
                )  # fmt: skip
        n, eff = math.exp(theta[LN_N]), theta[EFF]
        varied = spread[min(row, spread.shape[0] - 1)]
        first, n_first = merged_deviance(both[:m], mu[:m], (n * eff) ** 2 * varied[0], 5.0)
        second, n_second = merged_deviance(both[m:], mu[m:], (n * (1.0 - eff)) ** 2 * varied[1], 5.0)
        deviance[row] = first + second
        ndf[row] = n_first + n_second - n_used
