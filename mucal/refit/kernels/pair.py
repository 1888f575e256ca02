"""The compiled fit of one pair: two legs, reduced to their triangles, tied by a common vertex and their mass.

Nine unknowns: q/p, lambda and phi of both muons at the vertex, then the vertex.  Each leg gives five rows, a beam line
three; reflected, nine of them fix the unknowns and the rest (one, or four) says how well the legs meet.  The mass is a
row of its own, added to the solution without it: with C the covariance and a = dm/dx,

    s = a^T C a + Gamma^2,   dx <- dx + C a (m_ref + b - m - a.dx) / s,   C <- C - C a a^T C / s

so that the vertex fit and the constrained fit come of one decomposition.  b = 1/2 Tr(d2m C) with the constrained C.
"""

from math import sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.detector.field.kernels import DEGREE, evaluate
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
    SLACK,
    TOO_FEW_HITS,
    UNCONSTRAINED,
    move_start,
    own_corrections,
    scratch,
)
from mucal.refit.kernels.legs import FEW_ROWS, NOT_PROPAGATED, REDUCED, SINGULAR, profile_leg, reduce_leg
from mucal.refit.kernels.marginal import back_substitute, covariance_of, triangularise
from mucal.refit.kernels.mass import pair_mass
from mucal.units import CURVATURE

SIZE = 9
"""Unknowns of a pair: (q/p, lambda, phi) twice, vertex."""

CHI2, EDM, ITERATIONS, NDOF, PROPAGATED, MASS, SIGMA_MASS, SUMMARY = range(8)

# what `fit_pair` reads of the pair itself: m_ref, Gamma, whether there is a beam line; its centre; its whitening matrix
M_REF, GAMMA, HAS_BEAM, BEAM, WHITEN, CONSTRAINTS = 0, 1, 2, 3, 6, 15


@njit(cache=True)
def pair_scratch(n_labels: int) -> tuple[FloatArray, ...]:
    """Room for one pair of a thread beside that of its legs."""
    return (
        np.empty((14, SIZE)), np.empty(14), np.empty((15, max(1, n_labels))), np.empty((SIZE, SIZE)),
        np.empty((SIZE, SIZE)), np.empty(SIZE), np.empty(SIZE), np.empty(6), np.empty((6, 6)), np.empty((2, 24)),
        np.empty((3, 7)), np.empty(12), np.empty(SIZE), np.empty((2, 7)), np.empty(5),
    )  # fmt: skip


@borrowing
def leg_rows(y: FloatArray, bfield: FloatArray, triangle: FloatArray, k: int, a: FloatArray) -> None:
    """Rows 5k .. 5k+4 of a (., 9): the triangle (5, 5) of leg k times d start / d (unknowns of the pair).

    The start lies in the plane through the vertex, normal to the track: of dv it takes U.dv and V.dv, and what the
    track turns along T.dv comes off its direction.
    """
    tx, ty, tz, q = y[3], y[4], y[5], y[6]
    across = sqrt(tx * tx + ty * ty)
    ux, uy = -ty / across, tx / across
    vx, vy, vz = -tz * uy, tz * ux, across
    turn = CURVATURE * q
    bend_x = turn * (ty * bfield[2] - tz * bfield[1])
    bend_y = turn * (tz * bfield[0] - tx * bfield[2])
    bend_z = turn * (tx * bfield[1] - ty * bfield[0])
    by_lam = -(vx * bend_x + vy * bend_y + vz * bend_z)
    by_phi = -(ux * bend_x + uy * bend_y) / across
    for i in range(5):
        row = 5 * k + i
        r0, r1, r2, r3, r4 = triangle[i, 0], triangle[i, 1], triangle[i, 2], triangle[i, 3], triangle[i, 4]
        if i > 0:
            r0 = 0.0
        if i > 1:
            r1 = 0.0
        if i > 2:
            r2 = 0.0
        if i > 3:
            r3 = 0.0
        for j in range(6):
            a[row, j] = 0.0
        a[row, 3 * k], a[row, 3 * k + 1], a[row, 3 * k + 2] = r0, r1, r2
        along = r1 * by_lam + r2 * by_phi
        a[row, 6] = along * tx + r3 * ux + r4 * vx
        a[row, 7] = along * ty + r3 * uy + r4 * vy
        a[row, 8] = along * tz + r4 * vz


@borrowing
def beam_rows(y: FloatArray, constraints: FloatArray, a: FloatArray, r: FloatArray) -> float:
    """Rows 10 .. 12: the vertex against the luminous region, whitened.  Returns their share of chi2."""
    total = 0.0
    for i in range(3):
        residual = 0.0
        for j in range(6):
            a[10 + i, j] = 0.0
        for j in range(3):
            w = constraints[WHITEN + 3 * i + j]
            a[10 + i, 6 + j] = w
            residual += w * (constraints[BEAM + j] - y[j])
        r[10 + i] = residual
        total += residual * residual
    return total


@borrowing
def tie(
    field: FloatArray, ys: FloatArray, rooms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]],
    offsets: tuple[FloatArray, FloatArray], constraints: FloatArray, room: tuple[FloatArray, ...], table: FloatArray,
) -> tuple[int, float]:  # fmt: skip
    """Rows of the pair in its room, from the triangles of its legs; returns their number and the beam line's chi2."""
    a, r, bfield = room[0], room[1], room[11]
    for k in range(2):
        y = ys[k]
        evaluate(field, y[0], y[1], y[2], bfield, table)
        if offsets[k].shape[0] > 0:
            for j in range(3):
                bfield[j] += offsets[k][0, j]
        leg = rooms[k]
        leg_rows(y, bfield, leg[13], k, a)
        for i in range(5):
            r[5 * k + i] = leg[9][i]
    if constraints[HAS_BEAM] == 0.0:
        return 10, 0.0
    return 13, beam_rows(ys[0], constraints, a, r)


@borrowing
def constrain_mass(
    constraints: FloatArray, mass: float, slope: FloatArray, curvature: FloatArray, cov: FloatArray, dx: FloatArray,
    gain: FloatArray,
) -> tuple[float, float, float]:  # fmt: skip
    """The mass row: cov (9, 9) and dx (9,) become the constrained ones.  Returns chi2 of the row here, left, and s."""
    s = constraints[GAMMA] * constraints[GAMMA]
    predicted = 0.0
    for i in range(SIZE):
        gain[i] = 0.0
        for j in range(6):
            gain[i] += cov[i, j] * slope[j]
    for i in range(6):
        s += slope[i] * gain[i]
        predicted += slope[i] * dx[i]
    for i in range(SIZE):
        for j in range(SIZE):
            cov[i, j] -= gain[i] * gain[j] / s
    bias = 0.0
    for i in range(6):
        for j in range(6):
            bias += 0.5 * curvature[i, j] * cov[i, j]
    here = constraints[M_REF] + bias - mass
    left = here - predicted
    for i in range(SIZE):
        dx[i] += gain[i] * left / s
    return (here / constraints[GAMMA]) ** 2, left, s


@borrowing
def move_pair(ys: FloatArray, dx: FloatArray, scale: float, step: FloatArray) -> None:
    """Both muons ys (2, 7) moved by scale times dx (9,)."""
    for k in range(2):
        for j in range(3):
            step[j] = dx[3 * k + j]
        step[3], step[4] = 0.0, 0.0
        move_start(ys[k], step, scale)
        for j in range(3):
            ys[k, j] += scale * dx[6 + j]


@borrowing
def shortened(ys: FloatArray, dx: FloatArray) -> float:
    """The fraction of a step that changes neither q/p by more than half of it."""
    scale = 1.0
    for k in range(2):
        largest = 0.5 * abs(ys[k, 6])
        if abs(dx[3 * k]) > largest:
            scale = min(scale, largest / abs(dx[3 * k]))
    return scale


@borrowing
def start_at_mass(ys: FloatArray, constraints: FloatArray, room: tuple[FloatArray, ...], cov: FloatArray) -> None:
    """Both muons moved from the fit without the mass to where its covariance says that the mass puts them."""
    dx, gain, slope, curvature, numbers, step = room[5], room[6], room[7], room[8], room[9], room[14]
    for i in range(SIZE):
        dx[i] = 0.0
    mass = pair_mass(ys[0], ys[1], slope, curvature, numbers)
    constrain_mass(constraints, mass, slope, curvature, cov, dx, gain)
    move_pair(ys, dx, shortened(ys, dx), step)


@borrowing
def solve_pair(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, routes: IntArray, hit_of: IntArray,
    hits: FloatArray, ys: FloatArray, settings: FloatArray, constraints: FloatArray, use_mass: bool,
    rooms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], work: tuple[FloatArray, ...],
    forms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], integers: IntArray, room: tuple[FloatArray, ...],
    cov: FloatArray, report: FloatArray, counts: IntArray,
) -> tuple[int, float, float, float, float]:  # fmt: skip
    """The linear problem about ys (2, 7): the step in the room, cov, counts and the degrees of freedom of the report.

    Arguments as in `fit_pair`.  Returns status, chi2 here, its predicted drop, residual of the mass row, its variance.
    """
    a, r, columns, inverse, dx, gain = room[0], room[1], room[2], room[3], room[5], room[6]
    slope, curvature, numbers, moving = room[7], room[8], room[9], room[10]
    chi2, drop, left, s = 0.0, 0.0, 0.0, 1.0
    for k in range(2):
        state, propagated, reached, n, part = reduce_leg(
            field, surfaces, media, modules, routes[k], hit_of[k], hits, ys[k], settings, rooms[k], work, forms[k],
            integers[k], moving[k],
        )  # fmt: skip
        if state == NOT_PROPAGATED:
            report[PROPAGATED] = propagated
            return PROPAGATION, 0.0, 0.0, 0.0, 1.0
        if state == FEW_ROWS:
            return TOO_FEW_HITS, 0.0, 0.0, 0.0, 1.0
        if state == SINGULAR:
            return NOT_POSITIVE, 0.0, 0.0, 0.0, 1.0
        if state != REDUCED:
            return UNCONSTRAINED, 0.0, 0.0, 0.0, 1.0
        counts[k], counts[2 + k] = n, reached
        chi2 += part
    n_rows, part = tie(field, ys, rooms, (forms[0][7], forms[1][7]), constraints, room, work[3])
    chi2 += part
    if not triangularise(a, n_rows, SIZE, r, columns, 0):
        return UNCONSTRAINED, 0.0, 0.0, 0.0, 1.0
    for i in range(SIZE):
        drop += r[i] * r[i]
        dx[i] = r[i]
    back_substitute(a, SIZE, dx)
    covariance_of(a, SIZE, inverse, cov)
    mass = pair_mass(ys[0], ys[1], slope, curvature, numbers)
    if use_mass:
        here, left, s = constrain_mass(constraints, mass, slope, curvature, cov, dx, gain)
        drop += here - left * left / s
        chi2 += here
    report[NDOF] = counts[0] + counts[1] + n_rows - 10 - SIZE + (1 if use_mass else 0)
    return OK, chi2, drop, left, s


@borrowing
def fit_pair(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, routes: IntArray, hit_of: IntArray,
    hits: FloatArray, ys: FloatArray, settings: FloatArray, constraints: FloatArray, use_mass: bool,
    rooms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], work: tuple[FloatArray, ...],
    forms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], integers: IntArray, room: tuple[FloatArray, ...],
    cov: FloatArray, report: FloatArray, counts: IntArray,
) -> tuple[int, float, float]:  # fmt: skip
    """Both muons ys (2, 7) from their common start to the fit, with or without the mass.

    Returns status, residual of the mass row and its variance s.  The legs' rooms are left as at the last iteration.

    constraints : (CONSTRAINTS,)
    integers    : (4, I)          places of the rows of both legs, then their labels
    cov         : (9, 9)          filled
    report      : (SUMMARY,)      filled
    counts      : (4,)            rows of both legs, surfaces reached by both; filled
    """
    dx, step, before, taken = room[5], room[14], room[13], room[12]
    iteration, halvings, scale, chi2_before = 0, 0, 1.0, 1e300
    keep(ys, before)
    while True:
        status, chi2, drop, left, s = solve_pair(
            field, surfaces, media, modules, routes, hit_of, hits, ys, settings, constraints, use_mass, rooms, work,
            forms, integers, room, cov, report, counts,
        )  # fmt: skip
        if status != OK and status != PROPAGATION:
            return status, 0.0, 1.0
        if status == PROPAGATION or not chi2 <= chi2_before + SLACK * (1.0 + chi2_before):
            if iteration == 0:
                return PROPAGATION, 0.0, 1.0
            if halvings == HALVINGS:
                return NO_DESCENT, 0.0, 1.0
            halvings += 1
            scale *= 0.5
            keep(before, ys)
            move_pair(ys, taken, scale, step)
            continue
        iteration += 1
        chi2_before = chi2
        report[CHI2], report[EDM], report[ITERATIONS] = chi2 - drop, 0.5 * drop, iteration
        if drop < settings[4]:
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
def keep(ys: FloatArray, copy: FloatArray) -> None:
    """copy (2, 7) <- ys."""
    for k in range(2):
        for j in range(7):
            copy[k, j] = ys[k, j]


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


@borrowing
def merge_labels(one: IntArray, n_one: int, two: IntArray, n_two: int, out: IntArray) -> int:
    """Sorted union of two sorted lists of labels; returns how many."""
    i, j, n = 0, 0, 0
    while i < n_one or j < n_two:
        if j == n_two or (i < n_one and one[i] <= two[j]):
            out[n] = one[i]
            if j < n_two and two[j] == one[i]:
                j += 1
            i += 1
        else:
            out[n] = two[j]
            j += 1
        n += 1
    return n


@borrowing
def places_of(own: IntArray, n_own: int, joint: IntArray, places: IntArray) -> None:
    """Place of every label of a leg among those of the pair, both sorted."""
    j = 0
    for i in range(n_own):
        while joint[j] != own[i]:
            j += 1
        places[i] = j


@borrowing
def profile_pair(
    field: FloatArray, modules: FloatArray, routes: IntArray, hit_of: IntArray, hits: FloatArray, ys: FloatArray,
    constraints: FloatArray, rooms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], work: tuple[FloatArray, ...],
    forms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], integers: IntArray, room: tuple[FloatArray, ...],
    counts: IntArray, maps: tuple[IntArray, ...], mass_label: int, own: IntArray, j_ref: FloatArray,
) -> tuple[int, int]:  # fmt: skip
    """The global columns of a pair at its linearisation.  Returns rows of the tie and labels, -1 if undetermined.

    integers   : (6, I)     labels of the legs are rows 2 and 3, their places among those of the pair rows 4 and 5
    mass_label :            parameter of the mean mass, larger than all others, or -1; the fit without it is deaf to it
    own        : (I,)       labels of the pair, filled
    j_ref      : (., 10)    d(unknowns)/d(parameter) and dm/d(parameter) of the vertex fit, without the mass; filled
    """
    a, r, columns, slope, curvature, numbers = room[0], room[1], room[2], room[7], room[8], room[9]
    n_own = integers[6]
    for k in range(2):
        n, found = profile_leg(
            modules, routes[k], hit_of[k], hits, counts[2 + k], rooms[k], integers[k],
            integers[2 + k], maps,
        )  # fmt: skip
        if found < 0:
            return 0, -1
        counts[k], n_own[k] = n, found
    n_labels = merge_labels(integers[2], n_own[0], integers[3], n_own[1], own)
    if mass_label >= 0:
        own[n_labels] = mass_label
        n_labels += 1
    n_rows, _ = tie(field, ys, rooms, (forms[0][7], forms[1][7]), constraints, room, work[3])
    for i in range(n_rows + 1):
        for j in range(n_labels):
            columns[i, j] = 0.0
    for k in range(2):
        places_of(integers[2 + k], n_own[k], own, integers[4 + k])
        leg_columns = rooms[k][14]
        for i in range(5):
            for j in range(n_own[k]):
                columns[5 * k + i, integers[4 + k, j]] = leg_columns[i, j]
    if not triangularise(a, n_rows, SIZE, r, columns, n_labels):
        return 0, -1
    pair_mass(ys[0], ys[1], slope, curvature, numbers)
    for j in range(n_labels):
        for i in range(SIZE - 1, -1, -1):
            value = -columns[i, j]
            for k in range(i + 1, SIZE):
                value -= a[i, k] * j_ref[j, k]
            j_ref[j, i] = value / a[i, i]
        change = 0.0
        for i in range(6):
            change += slope[i] * j_ref[j, i]
        j_ref[j, SIZE] = change
    return n_rows, n_labels


@borrowing
def write_profile(
    rooms: tuple[tuple[FloatArray, ...], tuple[FloatArray, ...]], room: tuple[FloatArray, ...], integers: IntArray,
    counts: IntArray, n_rows: int, n_labels: int, use_mass: bool, with_reference: bool, left: float, s: float,
    j_ref: FloatArray, gradient: FloatArray, factor: FloatArray,
) -> int:  # fmt: skip
    """g and B of a pair: the rest of both legs, the rest of the tie, the mass.  Returns the number of rows of B.

    with_reference : the last label is the mean mass that the row compares with, true less assumed
    """
    r, columns, n_own = room[1], room[2], integers[6]
    for j in range(n_labels):
        gradient[j] = 0.0
    row = 0
    for k in range(2):
        leg = rooms[k]
        residual, own_columns = leg[9], leg[14]
        for i in range(5, counts[k]):
            at = row * n_labels
            for j in range(n_labels):
                factor[at + j] = 0.0
            for j in range(n_own[k]):
                place, value = integers[4 + k, j], own_columns[i, j]
                gradient[place] -= 2.0 * value * residual[i]
                factor[at + place] = sqrt(2.0) * value
            row += 1
    for i in range(SIZE, n_rows):
        for j in range(n_labels):
            gradient[j] -= 2.0 * columns[i, j] * r[i]
            factor[row * n_labels + j] = sqrt(2.0) * columns[i, j]
        row += 1
    if use_mass:
        scale = 1.0 / sqrt(s)
        for j in range(n_labels):
            value = scale * j_ref[j, SIZE]
            if with_reference and j == n_labels - 1:
                value = -scale
            gradient[j] -= 2.0 * value * scale * left
            factor[row * n_labels + j] = sqrt(2.0) * value
        row += 1
    return row


@njit(cache=True, nogil=True)
def fit_pairs(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, offsets: FloatArray,
    ln_loss: FloatArray, routes: IntArray, hit_of: IntArray, hits: FloatArray, free: FloatArray, settings: FloatArray,
    constraints: FloatArray, use_mass: bool, maps: tuple[IntArray, ...], mass_label: int, most_rows: int,
    most_labels: int, n_modes: int, status: IntArray, covs: FloatArray, reports: FloatArray, want: bool,
    n_rows: IntArray, n_labels: IntArray, labels: IntArray, gradients: FloatArray, j_refs: FloatArray,
    factors: FloatArray,
) -> None:  # fmt: skip
    """`fit_pair` for C pairs whose status is OK before; both muons free (C, 2, 7) become the fitted ones.

    routes, hit_of : (C, 2, L)
    constraints    : (C, CONSTRAINTS)
    mass_label     :                    see `profile_pair`
    covs           : (C, 9, 9)          those of the fit without the mass if `use_mass`; filled
    reports        : (C, SUMMARY)
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
        if use_mass:
            start_at_mass(free[i], constraints[i], room, covs[i])
        status[i], left, s = fit_pair(
            field, surfaces, media, modules, routes[i], hit_of[i], hits, free[i], settings, constraints[i], use_mass,
            rooms, work, forms, integers, room, covs[i], reports[i], counts,
        )  # fmt: skip
        if status[i] == OK and want:
            rows, k = profile_pair(
                field, modules, routes[i], hit_of[i], hits, free[i], constraints[i], rooms, work, forms, integers,
                room, counts, maps, mass_label, own, j_ref,
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
