"""The compiled fit of one track and the loop over many.

Gauss-Newton with step control: the reference track is propagated from the current start, with mean energy loss and no
kinks; the linear problem gives the step, and a step that raises chi2 by more than SLACK is halved.
"""

from math import cos, sin, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.detector.field.kernels import DEGREE
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.layout import LANES, workspace
from mucal.propagation.kernels.tracks import propagate_track
from mucal.refit.kernels.marginal import (
    back_substitute,
    covariance_of,
    factorise,
    triangularise,
    whiten_columns,
    whiten_vector,
)
from mucal.refit.kernels.rows import (
    accumulate_noise,
    collect_labels,
    global_columns,
    linearise,
    measurement_rows,
    sorted_unique,
)
from mucal.refit.kernels.states import eliminate, solve_in_place

(OK, PROPAGATION, TOO_FEW_HITS, NOT_POSITIVE, UNCONSTRAINED, ITERATION_CAP, NO_DESCENT, LARGE_STEP, BAD_HIT, BAD_SEED,
 DOUBLE_HIT) = range(11)  # fmt: skip

SLACK = 0.01
"""Relative rise of chi2 that is no failure of a step: the weights move with the track."""

HALVINGS = 5
LARGEST_TURN = 0.2
"""rad, of the dip angle in one step."""

MARGINAL, STATES = 0, 1

# what `fit_track` reports of a track
CHI2, EDM, ITERATIONS, NDOF, PROPAGATED, SUMMARY = 0, 1, 2, 3, 4, 5


@borrowing
def move_start(y: FloatArray, dx: FloatArray, scale: float) -> None:
    """y (7,) moved by scale times a curvilinear step dx (5,) in its own frame."""
    cl = sqrt(y[3] * y[3] + y[4] * y[4])
    c, s, sl = y[3] / cl, y[4] / cl, y[5]
    x, z = scale * dx[3], scale * dx[4]
    y[0] += -s * x - sl * c * z
    y[1] += c * x - sl * s * z
    y[2] += cl * z
    turn, lift = scale * dx[2], scale * dx[1]
    cl_new, sl_new = cl * cos(lift) - sl * sin(lift), sl * cos(lift) + cl * sin(lift)
    y[3] = cl_new * (c * cos(turn) - s * sin(turn))
    y[4] = cl_new * (s * cos(turn) + c * sin(turn))
    y[5] = sl_new
    y[6] += scale * dx[0]


@njit(cache=True)
def scratch(n_legs: int, n_rows: int, n_labels: int, n_modes: int, degree: int) -> tuple[FloatArray, ...]:
    """Room for one track of a thread, named in `fit_track`; then the scratch of the propagation."""
    return (
        np.empty((n_legs, 7)), np.empty((n_legs, 5)), np.empty((n_legs, 5, 5)), np.empty((n_legs, 5, 5 + n_modes)),
        np.empty((n_legs, 5, 5)), np.empty(n_legs), np.empty((n_legs, 5, 5)), np.empty((5, 5)),
        np.empty((n_rows, 2)), np.empty(n_rows), np.empty(n_rows), np.empty((n_rows, 5)),
        np.empty((n_rows, n_rows)), np.empty((n_rows, 5)), np.empty((n_rows + 1, max(1, n_labels))), np.empty(6),
    )  # fmt: skip


@borrowing
def _by_states(
    transport: FloatArray, noise: FloatArray, zero: FloatArray, reached: int, n: int, surface_of: IntArray,
    row_h: FloatArray, sigma: FloatArray, residual: FloatArray, information: FloatArray, e: FloatArray, c: FloatArray,
    work: FloatArray, rows_z: FloatArray, dx: FloatArray, cov: FloatArray,
) -> tuple[bool, float, float]:  # fmt: skip
    """Step, covariance, chi2 here and its predicted drop, in the state form."""
    for i in range(n):
        rows_z[i, 0] = residual[i]
    if not eliminate(transport, noise, zero, reached, n, surface_of, row_h, sigma, rows_z, 1, information, e, c, work):
        return False, 0.0, 0.0
    matrix, joined = work[0], work[1]
    for i in range(5):
        for j in range(5):
            matrix[i, j] = information[i, j]
            joined[i, 1 + j] = 1.0 if i == j else 0.0
        joined[i, 0] = e[i, 0]
    if not solve_in_place(matrix, joined, 6):
        return False, 0.0, 0.0
    drop = 0.0
    for i in range(5):
        dx[i] = joined[i, 0]
        drop += dx[i] * e[i, 0]
        for j in range(5):
            cov[i, j] = joined[i, 1 + j]
    return True, c[0, 0], drop


@borrowing
def fit_track(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, route: IntArray, hit_of: IntArray,
    hits: FloatArray, y: FloatArray, settings: FloatArray, room: tuple[FloatArray, ...], work: tuple[FloatArray, ...],
    form: tuple[FloatArray, ...], integers: IntArray, maps: tuple[IntArray, ...], ends: FloatArray, cov: FloatArray,
    report: FloatArray, j_ref: FloatArray, want: bool, trace: FloatArray,
) -> tuple[int, int, int]:  # fmt: skip
    """One track from its start y (7,), which becomes the fitted one.  Returns status, rows n, labels.

    settings : (7,)        alpha, longest step (cm), most steps, most iterations, tolerance of chi2, solver, fewest rows
    room     :             see `scratch`; residuals, their derivatives and the columns stay in it
    integers : (2, I)      scratch: places of the rows, and labels
    maps     :             alignment, bfield, eloss, modes of the `ParameterMap`
    ends     : (2, 7)      scratch
    cov      : (5, 5)      filled
    report   : (SUMMARY,)  filled
    j_ref    : (., 5)      d start / d parameter, filled if `want`
    trace    : (T, 3)      chi2, predicted drop, q/p of each iteration, as many as it holds
    """
    free, local, transport, theta, noise = room[0], room[1], room[2], room[3], room[4]
    path, total, small = room[5], room[6], room[7]
    row_h, residual, sigma, carried = room[8], room[9], room[10], room[11]
    covariance, by_start, columns, aligned = room[12], room[13], room[14], room[15]
    surface_of, label = integers[0], integers[1]
    zero, information, e, c, passes, rows_z, dx, offsets, ln_loss = form
    moving, before = ends[0], ends[1]
    use_states = settings[5] == 1.0
    iteration, halvings, scale = 0, 0, 1.0
    chi2_before = 1e300
    edm, n = 0.0, 0
    for j in range(7):
        before[j] = y[j]
    while True:
        for j in range(7):
            moving[j] = y[j]
        status, reached, _ = propagate_track(
            field, surfaces, media, settings[0], moving, route, offsets, ln_loss, settings[1], 1.0, int(settings[2]),
            False, free, local, transport, theta, noise, path, work,
        )  # fmt: skip
        chi2_here, drop = 1e300, 0.0
        if status == 0:
            n = measurement_rows(
                modules, route, hit_of, hits, local, reached, surface_of, row_h, residual, sigma
            )  # fmt: skip
            if n < settings[6]:
                return TOO_FEW_HITS, 0, 0
            if use_states:
                good, chi2_here, drop = _by_states(
                    transport, noise, zero, reached, n, surface_of, row_h, sigma, residual, information, e, c, passes,
                    rows_z, dx, cov,
                )  # fmt: skip
                if not good:
                    return UNCONSTRAINED, 0, 0
            else:
                accumulate_noise(transport, noise, reached, total, small)
                linearise(transport, total, reached, n, surface_of, row_h, sigma, carried, covariance, by_start)
                if not factorise(covariance, n):
                    return NOT_POSITIVE, 0, 0
                whiten_vector(covariance, n, residual)
                whiten_columns(covariance, n, by_start, 5)
                chi2_here = 0.0
                for i in range(n):
                    chi2_here += residual[i] * residual[i]
                if not triangularise(by_start, n, 5, residual, columns, 0):
                    return UNCONSTRAINED, 0, 0
                for i in range(5):
                    drop += residual[i] * residual[i]
                    dx[i] = residual[i]
                back_substitute(by_start, 5, dx)
        if status != 0 or not chi2_here <= chi2_before + SLACK * (1.0 + chi2_before):
            report[PROPAGATED] = status
            if iteration == 0:
                return PROPAGATION, 0, 0
            if halvings == HALVINGS:
                return NO_DESCENT, 0, 0
            halvings += 1
            scale *= 0.5
            for j in range(7):
                y[j] = before[j]
            move_start(y, ends[2], scale)
            continue
        if iteration < trace.shape[0]:
            trace[iteration, 0], trace[iteration, 1], trace[iteration, 2] = chi2_here, drop, y[6]
        iteration += 1
        edm = 0.5 * drop
        chi2_before = chi2_here
        report[CHI2], report[EDM], report[ITERATIONS], report[NDOF] = chi2_here - drop, edm, iteration, n - 5
        if drop < settings[4]:
            break
        if iteration >= settings[3]:
            return ITERATION_CAP, 0, 0
        if abs(dx[1]) > LARGEST_TURN:
            return LARGE_STEP, 0, 0
        halvings, scale = 0, 1.0
        if abs(dx[0]) > 0.5 * abs(y[6]):
            scale = 0.5 * abs(y[6]) / abs(dx[0])
        for j in range(7):
            before[j] = y[j]
        for j in range(5):
            ends[2, j] = dx[j]
        move_start(y, dx, scale)
    n_labels = 0
    if want:
        n_labels = _profile(
            route, hit_of, local, transport, theta, noise, reached, n, surface_of, row_h, sigma, residual, total, small,
            carried, covariance, by_start, columns, aligned, maps, label, j_ref, modules, hits,
        )  # fmt: skip
        if n_labels < 0:
            return UNCONSTRAINED, 0, 0
    if not use_states:
        covariance_of(by_start, 5, small, cov)
    move_start(y, dx, 1.0)
    return OK, n, n_labels


@borrowing
def _profile(
    route: IntArray, hit_of: IntArray, local: FloatArray, transport: FloatArray, theta: FloatArray, noise: FloatArray,
    reached: int, n: int, surface_of: IntArray, row_h: FloatArray, sigma: FloatArray, residual: FloatArray,
    total: FloatArray, small: FloatArray, carried: FloatArray, covariance: FloatArray, by_start: FloatArray,
    columns: FloatArray, aligned: FloatArray, maps: tuple[IntArray, ...], label: IntArray, j_ref: FloatArray,
    modules: FloatArray, hits: FloatArray,
) -> int:  # fmt: skip
    """The global columns, whitened and reflected; rows 5 .. n-1 of residual and columns are what the fit leaves.

    Always in the marginal form.  Returns the number of labels, -1 if the start is not determined.
    """
    alignment, bfield, eloss, modes = maps
    found = collect_labels(route, hit_of, reached, alignment, bfield, eloss, modes, label)
    n_labels = sorted_unique(label, found)
    for i in range(n + 1):
        for j in range(n_labels):
            columns[i, j] = 0.0
    measurement_rows(modules, route, hit_of, hits, local, reached, surface_of, row_h, residual, sigma)
    accumulate_noise(transport, noise, reached, total, small)
    linearise(transport, total, reached, n, surface_of, row_h, sigma, carried, covariance, by_start)
    global_columns(
        route, local, transport, theta, reached, n, surface_of, row_h, alignment, bfield, eloss, modes, label, n_labels,
        carried, aligned, columns,
    )  # fmt: skip
    if not factorise(covariance, n):
        return -1
    whiten_vector(covariance, n, residual)
    whiten_columns(covariance, n, by_start, 5)
    whiten_columns(covariance, n, columns, n_labels)
    if not triangularise(by_start, n, 5, residual, columns, n_labels):
        return -1
    for k in range(n_labels):
        for i in range(4, -1, -1):
            value = -columns[i, k]
            for j in range(i + 1, 5):
                value -= by_start[i, j] * j_ref[k, j]
            j_ref[k, i] = value / by_start[i, i]
    return n_labels


@borrowing
def own_corrections(
    route: IntArray, offsets: FloatArray, ln_loss: FloatArray, own_offsets: FloatArray, own_loss: FloatArray
) -> None:
    """Corrections of the elements of a route, leg by leg: own_offsets (L, 3) and own_loss (L, 2), or without rows."""
    for leg in range(own_offsets.shape[0]):
        for j in range(3):
            own_offsets[leg, j] = offsets[route[leg], j] if route[leg] >= 0 else 0.0
    for leg in range(1, own_loss.shape[0]):
        own_loss[leg, 0] = ln_loss[route[leg - 1]] if route[leg - 1] >= 0 else 0.0


@njit(cache=True, nogil=True)
def fit_all(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, offsets: FloatArray,
    ln_loss: FloatArray, routes: IntArray, hit_of: IntArray, hits: FloatArray, starts: FloatArray,
    settings: FloatArray, maps: tuple[IntArray, ...], most_rows: int, most_labels: int, n_modes: int,
    status: IntArray, reports: FloatArray, cov: FloatArray, traces: FloatArray, want: bool, capacity: IntArray,
    n_rows: IntArray, n_labels: IntArray, labels: IntArray, gradients: FloatArray, j_refs: FloatArray,
    factors: FloatArray, factor_capacity: IntArray,
) -> None:  # fmt: skip
    """`fit_track` for N tracks whose status is OK before; starts (N, 7) become the fitted ones.

    offsets                   : (E, 3) T  added to the field on the leg that ends on each element; (0, 3) for none
    ln_loss                   : (E,)      ln of the scale of the mean loss in each element; (0,) for none
    capacity, factor_capacity : (N+1,)    where each track may write its labels and its factor B
    """
    n_tracks, n_legs = routes.shape
    room = scratch(n_legs, most_rows, most_labels, n_modes, int(field[DEGREE]))
    work = workspace(LANES + n_modes, n_modes, n_legs, int(field[DEGREE]))
    form = (
        np.zeros((n_legs, 5, 1)), np.empty((5, 5)), np.empty((5, 1)), np.empty((1, 1)), np.empty((4, 5, 6)),
        np.empty((most_rows, 1)), np.empty(5), np.zeros((n_legs if offsets.size else 0, 3)),
        np.zeros((n_legs if ln_loss.size else 0, 2)),
    )  # fmt: skip
    integers = np.empty((2, max(most_rows, most_labels)), dtype=np.int64)
    ends, j_ref = np.zeros((3, 7)), np.empty((most_labels, 5))
    residual, columns = room[9], room[14]
    for i in range(n_tracks):
        n_rows[i], n_labels[i] = 0, 0
        if status[i] != OK:
            continue
        own_corrections(routes[i], offsets, ln_loss, form[7], form[8])
        status[i], n, k = fit_track(
            field, surfaces, media, modules, routes[i], hit_of[i], hits, starts[i], settings, room, work, form,
            integers, maps, ends, cov[i], reports[i], j_ref, want, traces[i],
        )  # fmt: skip
        if status[i] != OK or not want:
            continue
        n_rows[i], n_labels[i] = n - 5, k
        first, place = capacity[i], factor_capacity[i]
        for j in range(k):
            labels[first + j] = integers[1, j]
            slope = 0.0
            for r in range(5, n):
                slope -= 2.0 * columns[r, j] * residual[r]
            gradients[first + j] = slope
            for r in range(5):
                j_refs[first + j, r] = j_ref[j, r]
        for r in range(5, n):
            for j in range(k):
                factors[place] = sqrt(2.0) * columns[r, j]
                place += 1
