"""The compiled fit of one pair: two legs, reduced to their triangles, tied by a common vertex and their mass."""

from math import sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.detector.field.kernels import DEGREE
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.layout import LANES, workspace
from mucal.refit.kernels.fit import (
    HALVINGS,
    ITERATION_CAP,
    LARGE_STEP,
    LARGEST_TURN,
    NO_DESCENT,
    NOT_POSITIVE,
    OK,
    PROPAGATION,
    TOO_FEW_HITS,
    UNCONSTRAINED,
    own_corrections,
    rises,
    scratch,
)
from mucal.refit.kernels.legs import FEW_ROWS, NOT_PROPAGATED, REDUCED, SINGULAR, reduce_leg
from mucal.refit.kernels.marginal import back_substitute, covariance_of, triangularise
from mucal.refit.kernels.mass import pair_mass
from mucal.refit.kernels.mass_row import constrain_covariance, constrain_mass
from mucal.refit.kernels.pair_profile import profile_pair, write_profile
from mucal.refit.kernels.tie import SIZE, keep, move_pair, shortened, tie

CHI2, EDM, ITERATIONS, NDOF, PROPAGATED, MASS, SIGMA_MASS, SUMMARY = range(8)


@njit(cache=True)
def pair_scratch(n_labels: int) -> tuple[FloatArray, ...]:
    """Room for one pair of a thread beside that of its legs."""
    return (
        np.empty((14, SIZE)), np.empty(14), np.empty((15, max(1, n_labels))), np.empty((SIZE, SIZE)),
        np.empty((SIZE, SIZE)), np.empty(SIZE), np.empty(SIZE), np.empty(6), np.empty((6, 6)), np.empty((2, 24)),
        np.empty((3, 7)), np.empty(12), np.empty(SIZE), np.empty((2, 7)), np.empty(5),
    )  # fmt: skip


@borrowing
def solve_pair(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, routes: IntArray, hit_of: IntArray,
    hits: FloatArray, ys: FloatArray, settings: FloatArray, constraints: FloatArray, use_mass: bool,
    rooms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], work: tuple[FloatArray, ...],
    forms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], integers: IntArray, room: tuple[FloatArray, ...],
    cov: FloatArray, report: FloatArray, counts: IntArray,
) -> tuple[int, float, float, float, float, float]:  # fmt: skip
    """The linear problem about ys (2, 7): the step in the room, cov, counts and the degrees of freedom of the report.

    Arguments as in `fit_pair`.  Returns status, chi2 here, its predicted drop on the way to the surface of the mass,
    and of the mass row the residual, its variance s, and t (see `mass_row`).
    """
    a, r, columns, inverse, dx, gain = room[0], room[1], room[2], room[3], room[5], room[6]
    slope, curvature, numbers, moving = room[7], room[8], room[9], room[10]
    chi2, drop, left, s, t = 0.0, 0.0, 0.0, 1.0, 1.0
    for k in range(2):
        state, propagated, reached, n, part = reduce_leg(
            field, surfaces, media, modules, routes[k], hit_of[k], hits, ys[k], settings, rooms[k], work, forms[k],
            integers[k], moving[k],
        )  # fmt: skip
        if state == NOT_PROPAGATED:
            report[PROPAGATED] = propagated
            return PROPAGATION, 0.0, 0.0, 0.0, 1.0, 1.0
        if state == FEW_ROWS:
            return TOO_FEW_HITS, 0.0, 0.0, 0.0, 1.0, 1.0
        if state == SINGULAR:
            return NOT_POSITIVE, 0.0, 0.0, 0.0, 1.0, 1.0
        if state != REDUCED:
            return UNCONSTRAINED, 0.0, 0.0, 0.0, 1.0, 1.0
        counts[k], counts[2 + k] = n, reached
        chi2 += part
    n_rows, part = tie(field, ys, rooms, (forms[0][7], forms[1][7]), constraints, room, work[3])
    chi2 += part
    if not triangularise(a, n_rows, SIZE, r, columns, 0):
        return UNCONSTRAINED, 0.0, 0.0, 0.0, 1.0, 1.0
    for i in range(SIZE):
        drop += r[i] * r[i]
        dx[i] = r[i]
    back_substitute(a, SIZE, dx)
    covariance_of(a, SIZE, inverse, cov)
    mass = pair_mass(ys[0], ys[1], slope, curvature, numbers)
    report[MASS] = mass
    if use_mass:
        here, left, s, t = constrain_mass(constraints, mass, slope, curvature, cov, dx, gain)
        constrain_covariance(cov, gain, s)
        drop += here - left * left / t
        chi2 += here
    report[NDOF] = counts[0] + counts[1] + n_rows - 10 - SIZE + (1 if use_mass else 0)
    return OK, chi2, drop, left, s, t


@borrowing
def fit_pair(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, routes: IntArray, hit_of: IntArray,
    hits: FloatArray, ys: FloatArray, settings: FloatArray, constraints: FloatArray, use_mass: bool,
    rooms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], work: tuple[FloatArray, ...],
    forms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], integers: IntArray, room: tuple[FloatArray, ...],
    cov: FloatArray, report: FloatArray, counts: IntArray, trace: FloatArray,
) -> tuple[int, float, float]:  # fmt: skip
    """Both muons ys (2, 7) from their common start to the fit, with or without the mass.

    Returns status, residual of the mass row and its variance s.  The legs' rooms are left as at the last iteration.

    constraints : (CONSTRAINTS,)
    integers    : (4, I)          places of the rows of both legs, then their labels
    cov         : (9, 9)          filled
    report      : (SUMMARY,)      filled
    counts      : (4,)            rows of both legs, surfaces reached by both; filled
    trace       : (T, 3)          chi2, predicted drop, mass of each iteration, as many as it holds
    """
    dx, gain, step, before, taken = room[5], room[6], room[14], room[13], room[12]
    iteration, halvings, scale, chi2_before = 0, 0, 1.0, 1e300
    keep(ys, before)
    while True:
        status, chi2, drop, left, s, t = solve_pair(
            field, surfaces, media, modules, routes, hit_of, hits, ys, settings, constraints, use_mass, rooms, work,
            forms, integers, room, cov, report, counts,
        )  # fmt: skip
        if status != OK and status != PROPAGATION:
            return status, 0.0, 1.0
        stretch = max(before[0, 6] / ys[0, 6], before[1, 6] / ys[1, 6])
        if status == PROPAGATION or rises(chi2, chi2_before, stretch):
            if iteration == 0:
                return PROPAGATION, 0.0, 1.0
            if halvings == HALVINGS:
                return NO_DESCENT, 0.0, 1.0
            halvings += 1
            scale *= 0.5
            keep(before, ys)
            move_pair(ys, taken, scale, step)
            continue
        back = left * left * (1.0 / s - 1.0 / t)
        if iteration < trace.shape[0]:
            trace[iteration, 0], trace[iteration, 1], trace[iteration, 2] = chi2 + back, drop, report[MASS]
        iteration += 1
        chi2_before = chi2
        report[CHI2], report[EDM], report[ITERATIONS] = chi2 + back - drop, 0.5 * drop, iteration
        if drop < settings[4]:
            if use_mass:  # from the surface of the mass to the fit
                for j in range(SIZE):
                    dx[j] += gain[j] * left * (1.0 / s - 1.0 / t)
            return OK, left, s
        if iteration >= settings[3]:
            return ITERATION_CAP, 0.0, 1.0
        if max(abs(dx[1]), abs(dx[4])) > LARGEST_TURN:
            return LARGE_STEP, 0.0, 1.0
        halvings, scale = 0, shortened(ys, dx)
        keep(ys, before)
        for j in range(SIZE):
            taken[j] = dx[j]
        move_pair(ys, dx, scale, step)


@borrowing
def finish_pair(ys: FloatArray, room: tuple[FloatArray, ...], cov: FloatArray, report: FloatArray) -> None:
    """The last step, and the mass with its error after it."""
    dx, slope, curvature, numbers, step = room[5], room[7], room[8], room[9], room[14]
    move_pair(ys, dx, 1.0, step)
    report[MASS] = pair_mass(ys[0], ys[1], slope, curvature, numbers)
    variance = 0.0
    for i in range(6):
        for j in range(6):
            variance += slope[i] * cov[i, j] * slope[j]
    report[SIGMA_MASS] = sqrt(max(variance, 0.0))


@njit(cache=True, nogil=True)
def fit_pairs(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, offsets: FloatArray,
    ln_loss: FloatArray, routes: IntArray, hit_of: IntArray, hits: FloatArray, free: FloatArray, settings: FloatArray,
    constraints: FloatArray, use_mass: bool, maps: tuple[IntArray, ...], mass_label: int, most_rows: int,
    most_labels: int, n_modes: int, status: IntArray, covs: FloatArray, reports: FloatArray, traces: FloatArray,
    want: bool, n_rows: IntArray, n_labels: IntArray, labels: IntArray, gradients: FloatArray, j_refs: FloatArray,
    factors: FloatArray,
) -> None:  # fmt: skip
    """`fit_pair` for C pairs whose status is OK before; both muons free (C, 2, 7) become the fitted ones.

    routes, hit_of : (C, 2, L)
    constraints    : (C, CONSTRAINTS)
    mass_label     :                    see `profile_pair`
    covs           : (C, 9, 9)          filled
    reports        : (C, SUMMARY)
    traces         : (C, T, 3)
    labels, factors :                   of one pair after the other, with room for all that they may write
    """
    n_pairs, n_legs = routes.shape[0], routes.shape[2]
    degree = int(field[DEGREE])
    rooms = (
        scratch(n_legs, most_rows, most_labels, n_modes, degree),
        scratch(n_legs, most_rows, most_labels, n_modes, degree),
    )
    room, work = pair_scratch(2 * most_labels + 1), workspace(LANES + n_modes, n_modes, n_legs, degree)
    forms = (_form(n_legs, most_rows, offsets, ln_loss), _form(n_legs, most_rows, offsets, ln_loss))
    integers = np.empty((7, max(most_rows, most_labels, 2)), dtype=np.int64)
    own, j_ref = np.empty(2 * most_labels + 1, dtype=np.int64), np.empty((2 * most_labels + 1, SIZE + 1))
    counts = np.empty(4, dtype=np.int64)
    first, place = 0, 0
    for i in range(n_pairs):
        n_rows[i], n_labels[i] = 0, 0
        if status[i] != OK:
            continue
        own_corrections(routes[i, 0], offsets, ln_loss, forms[0][7], forms[0][8])
        own_corrections(routes[i, 1], offsets, ln_loss, forms[1][7], forms[1][8])
        status[i], left, s = fit_pair(
            field, surfaces, media, modules, routes[i], hit_of[i], hits, free[i], settings, constraints[i], use_mass,
            rooms, work, forms, integers, room, covs[i], reports[i], counts, traces[i],
        )  # fmt: skip
        if status[i] == OK and want:
            rows, k = profile_pair(
                field, modules, routes[i], hit_of[i], hits, free[i], constraints[i], rooms, work, forms, integers,
                room, counts, maps, settings[5] == 1.0, mass_label, own, j_ref,
            )  # fmt: skip
            if k < 0:
                status[i] = UNCONSTRAINED
                continue
            n_labels[i] = k
            n_rows[i] = write_profile(
                rooms, room, integers, counts, rows, k, use_mass, mass_label >= 0, left, s, j_ref,
                gradients[first : first + k], factors[place:],
            )  # fmt: skip
            for j in range(k):
                labels[first + j] = own[j]
                for c in range(SIZE + 1):
                    j_refs[first + j, c] = j_ref[j, c]
            first += k
            place += n_rows[i] * k
        if status[i] == OK:
            finish_pair(free[i], room, covs[i], reports[i])


@njit(cache=True)
def _form(n_legs: int, most_rows: int, offsets: FloatArray, ln_loss: FloatArray) -> tuple[FloatArray, ...]:
    """Scratch of the state form of one leg, and its corrections; see `fit.fit_all`."""
    return (
        np.zeros((n_legs, 5, 1)), np.empty((5, 5)), np.empty((5, 1)), np.empty((1, 1)), np.empty((4, 5, 6)),
        np.empty((most_rows, 1)), np.empty(5), np.zeros((n_legs if offsets.size else 0, 3)),
        np.zeros((n_legs if ln_loss.size else 0, 2)),
    )  # fmt: skip
