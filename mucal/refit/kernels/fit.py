"""The compiled fit of one track and the loop over many.

Gauss-Newton with step control: the reference track is propagated from the current start, with mean energy loss and no
kinks; the linear problem gives the step, and a step that raises chi2 by more than `rises` allows for the weights, which
move with the track, is halved.
"""

from math import cos, sin, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.detector.field.kernels import DEGREE
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.layout import LANES, workspace
from mucal.refit.kernels.legs import FEW_ROWS, NOT_PROPAGATED, REDUCED, SINGULAR, profile_leg, reduce_leg
from mucal.refit.kernels.marginal import back_substitute, covariance_of

(OK, PROPAGATION, TOO_FEW_HITS, NOT_POSITIVE, UNCONSTRAINED, ITERATION_CAP, NO_DESCENT, LARGE_STEP, BAD_HIT, BAD_SEED,
 DOUBLE_HIT) = range(11)  # fmt: skip

SLACK = 0.01
"""Relative rise of chi2 that is no failure of a step, beside what `rises` allows for the weights."""

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


@borrowing
def rises(chi2: float, before: float, stretch: float) -> bool:
    """Whether chi2 rose along a step by more than the weights explain.

    Scattering shrinks with q/p, so that chi2 of the same residuals may grow like the square of the momentum: it does
    where hits lie far off, all the way to the momentum at which the gradient vanishes.

    stretch : momentum after the step over that before it
    """
    return not chi2 <= before * (max(1.0, stretch * stretch) + SLACK) + SLACK


@njit(cache=True)
def scratch(n_legs: int, n_rows: int, n_labels: int, n_modes: int, degree: int) -> tuple[FloatArray, ...]:
    """Room for one track of a thread, named in `fit_track`; then the scratch of the propagation."""
    return (
        np.empty((n_legs, 7)), np.empty((n_legs, 5)), np.empty((n_legs, 5, 5)), np.empty((n_legs, 5, 5 + n_modes)),
        np.empty((n_legs, 5, 5)), np.empty(n_legs), np.empty((n_legs, 5, 5)), np.empty((5, 5)),
        np.empty((n_rows, 2)), np.empty(n_rows), np.empty(n_rows), np.empty((n_rows, 5)),
        np.empty((n_rows, n_rows)), np.empty((n_rows + 1, 5)), np.empty((n_rows + 1, max(1, n_labels))), np.empty(6),
    )  # fmt: skip


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
    surface_of, label = integers[0], integers[1]
    by_start = room[13]
    status, reached, n = _descend(
        field, surfaces, media, modules, route, hit_of, hits, y, settings, room, work, form, surface_of, ends, report,
        trace,
    )  # fmt: skip
    if status != OK:
        return status, 0, 0
    covariance_of(by_start, 5, room[7], cov)
    n_labels = 0
    if want:
        n_labels = profile_leg(
            modules, route, hit_of, hits, reached, n, settings[5] == 1.0, room, surface_of, label, maps
        )
        if n_labels < 0:
            return UNCONSTRAINED, 0, 0
        _shifts(by_start, room[14], n_labels, j_ref)
    move_start(y, form[6], 1.0)
    return OK, n, n_labels


@borrowing
def _descend(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, route: IntArray, hit_of: IntArray,
    hits: FloatArray, y: FloatArray, settings: FloatArray, room: tuple[FloatArray, ...], work: tuple[FloatArray, ...],
    form: tuple[FloatArray, ...], surface_of: IntArray, ends: FloatArray, report: FloatArray, trace: FloatArray,
) -> tuple[int, int, int]:  # fmt: skip
    """Steps until the predicted drop of chi2 is below the tolerance.  Returns status, surfaces reached, rows.

    The last step is left in form[6], to be made by the caller; the triangle R of the last linear problem in room[13].
    """
    residual, by_start, dx = room[9], room[13], form[6]
    before, last = ends[1], ends[2]
    iteration, halvings, scale, chi2_before = 0, 0, 1.0, 1e300
    for j in range(7):
        before[j] = y[j]
    while True:
        found, propagated, reached, n, chi2 = reduce_leg(
            field, surfaces, media, modules, route, hit_of, hits, y, settings, room, work, form, surface_of, ends[0]
        )
        if found != REDUCED and found != NOT_PROPAGATED:
            return _status_of(found), reached, n
        if found == NOT_PROPAGATED or rises(chi2, chi2_before, before[6] / y[6]):
            report[PROPAGATED] = propagated
            if iteration == 0:
                return PROPAGATION, reached, n
            if halvings == HALVINGS:
                return NO_DESCENT, reached, n
            halvings += 1
            scale *= 0.5
            for j in range(7):
                y[j] = before[j]
            move_start(y, last, scale)
            continue
        drop = 0.0
        for i in range(5):
            drop += residual[i] * residual[i]
            dx[i] = residual[i]
        back_substitute(by_start, 5, dx)
        if iteration < trace.shape[0]:
            trace[iteration, 0], trace[iteration, 1], trace[iteration, 2] = chi2, drop, y[6]
        iteration += 1
        chi2_before = chi2
        report[CHI2], report[EDM], report[ITERATIONS], report[NDOF] = chi2 - drop, 0.5 * drop, iteration, n - 5
        if drop < settings[4]:
            return OK, reached, n
        if iteration >= settings[3]:
            return ITERATION_CAP, reached, n
        if abs(dx[1]) > LARGEST_TURN:
            return LARGE_STEP, reached, n
        halvings, scale = 0, 1.0
        if abs(dx[0]) > 0.5 * abs(y[6]):
            scale = 0.5 * abs(y[6]) / abs(dx[0])
        for j in range(7):
            before[j] = y[j]
        for j in range(5):
            last[j] = dx[j]
        move_start(y, dx, scale)


@borrowing
def _status_of(found: int) -> int:
    """Status of a track whose linear problem could not be made."""
    if found == FEW_ROWS:
        return TOO_FEW_HITS
    return NOT_POSITIVE if found == SINGULAR else UNCONSTRAINED


@borrowing
def _shifts(by_start: FloatArray, columns: FloatArray, n_labels: int, j_ref: FloatArray) -> None:
    """j_ref (n_labels, 5) = -R^-1 J1: how the start follows each parameter."""
    for k in range(n_labels):
        for i in range(4, -1, -1):
            value = -columns[i, k]
            for j in range(i + 1, 5):
                value -= by_start[i, j] * j_ref[k, j]
            j_ref[k, i] = value / by_start[i, i]


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
    status: IntArray, reports: FloatArray, cov: FloatArray, traces: FloatArray, want: bool, n_rows: IntArray,
    n_labels: IntArray, labels: IntArray, gradients: FloatArray, j_refs: FloatArray, factors: FloatArray,
) -> None:  # fmt: skip
    """`fit_track` for N tracks whose status is OK before; starts (N, 7) become the fitted ones.

    offsets         : (E, 3) T  added to the field on the leg that ends on each element; (0, 3) for none
    ln_loss         : (E,)      ln of the scale of the mean loss in each element; (0,) for none
    labels, factors :           of one track after the other, with room for all that they may write
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
    first, place = 0, 0
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
        first += k
