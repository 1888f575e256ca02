"""One leg of a pair, or a track: its measurements reduced to a triangle of five rows and what the start cannot reach.

Whitened and reflected, the n rows r - A dx - J dtheta of a track become R dx = r1 - J1 dtheta, five rows, and
r2 - J2 dtheta, n - 5 rows without the start.  A pair ties the triangles of its two legs to one vertex.
"""

from mucal.arrays import FloatArray, IntArray
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.tracks import propagate_track
from mucal.refit.kernels.marginal import factorise, reflect, triangularise, whiten_columns, whiten_vector
from mucal.refit.kernels.rows import (
    accumulate_noise,
    collect_labels,
    global_columns,
    linearise,
    measurement_rows,
    sorted_unique,
)
from mucal.refit.kernels.states import eliminate

REDUCED, NOT_PROPAGATED, FEW_ROWS, SINGULAR, UNDETERMINED = range(5)


@borrowing
def reduce_leg(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, modules: FloatArray, route: IntArray, hit_of: IntArray,
    hits: FloatArray, y: FloatArray, settings: FloatArray, room: tuple[FloatArray, ...], work: tuple[FloatArray, ...],
    form: tuple[FloatArray, ...], surface_of: IntArray, moving: FloatArray,
) -> tuple[int, int, int, int, float]:  # fmt: skip
    """The linear problem about the start y (7,): the triangle R in `by_start` and r1 in `residual` of the room.

    Arguments as in `fit.fit_track`.  Returns what happened, status of the propagation, surfaces reached, rows n and
    chi2 = r^T Sigma^-1 r.
    """
    free, local, transport, theta, noise = room[0], room[1], room[2], room[3], room[4]
    row_h, residual, sigma, covariance, by_start = room[8], room[9], room[10], room[12], room[13]
    for j in range(7):
        moving[j] = y[j]
    status, reached, _ = propagate_track(
        field, surfaces, media, settings[0], moving, route, form[7], form[8], settings[1], 1.0, int(settings[2]),
        False, free, local, transport, theta, noise, room[5], work,
    )  # fmt: skip
    if status != 0:
        return NOT_PROPAGATED, status, reached, 0, 0.0
    n = measurement_rows(modules, route, hit_of, hits, local, reached, surface_of, row_h, residual, sigma)
    if n < settings[6]:
        return FEW_ROWS, 0, reached, n, 0.0
    if settings[5] == 1.0:
        good, chi2 = _triangle_of_states(
            transport, noise, form, reached, n, surface_of, row_h, sigma, residual, covariance, by_start
        )
        return (REDUCED if good else UNDETERMINED), 0, reached, n, chi2
    found, chi2 = _triangle_of_marginal(room, reached, n, surface_of)
    return found, 0, reached, n, chi2


@borrowing
def _triangle_of_marginal(
    room: tuple[FloatArray, ...], reached: int, n: int, surface_of: IntArray
) -> tuple[int, float]:  # fmt: skip
    """Residuals and derivatives of a propagated leg, whitened and reflected in the room.  Returns what happened, chi2.

    The factor of the covariance and the reflections stay in the room: `profile_leg` takes its columns through them.
    """
    transport, noise, total, small = room[2], room[4], room[6], room[7]
    row_h, residual, sigma, carried, covariance, by_start = room[8], room[9], room[10], room[11], room[12], room[13]
    accumulate_noise(transport, noise, reached, total, small)
    linearise(transport, total, reached, n, surface_of, row_h, sigma, carried, covariance, by_start)
    if not factorise(covariance, n):
        return SINGULAR, 0.0
    whiten_vector(covariance, n, residual)
    whiten_columns(covariance, n, by_start, 5)
    chi2 = 0.0
    for i in range(n):
        chi2 += residual[i] * residual[i]
    good = triangularise(by_start, n, 5, residual, covariance, 0)
    return (REDUCED if good else UNDETERMINED), chi2


@borrowing
def _triangle_of_states(
    transport: FloatArray, noise: FloatArray, form: tuple[FloatArray, ...], reached: int, n: int, surface_of: IntArray,
    row_h: FloatArray, sigma: FloatArray, residual: FloatArray, scratch: FloatArray, by_start: FloatArray,
) -> tuple[bool, float]:  # fmt: skip
    """The same triangle by the state form: Lambda = R^T R, R^T r1 = E."""
    zero, information, e, c, passes, rows_z = form[0], form[1], form[2], form[3], form[4], form[5]
    for i in range(n):
        rows_z[i, 0] = residual[i]
    if not eliminate(
        transport, noise, zero, reached, n, surface_of, row_h, sigma, rows_z, 1, information, e, c, passes
    ):
        return False, 0.0
    for i in range(5):
        residual[i] = e[i, 0]
        for j in range(5):
            scratch[i, j] = information[i, j]
    if not factorise(scratch, 5):
        return False, 0.0
    whiten_vector(scratch, 5, residual)
    for i in range(5):
        for j in range(5):
            by_start[i, j] = scratch[j, i] if j > i else 0.0
        by_start[i, i] = 1.0 / scratch[i, i]
    return True, c[0, 0]


@borrowing
def profile_leg(
    modules: FloatArray, route: IntArray, hit_of: IntArray, hits: FloatArray, reached: int, n: int, states: bool,
    room: tuple[FloatArray, ...], surface_of: IntArray, label: IntArray, maps: tuple[IntArray, ...],
) -> int:  # fmt: skip
    """Global columns, whitened and reflected, of a leg of n rows that was just reduced; in the marginal form.

    Rows 0 .. 4 of `residual` and `columns` of the room are r1 and J1, rows 5 .. n-1 are r2 and J2.  Returns the number
    of labels, -1 if the start is not determined.

    states : whether the leg was reduced by the state form, which leaves nothing of the marginal form behind
    """
    local, transport, theta, row_h, residual, sigma = room[1], room[2], room[3], room[8], room[9], room[10]
    carried, covariance, by_start, columns, aligned = room[11], room[12], room[13], room[14], room[15]
    alignment, bfield, eloss, modes = maps[0], maps[1], maps[2], maps[3]
    if states:
        measurement_rows(modules, route, hit_of, hits, local, reached, surface_of, row_h, residual, sigma)
        if _triangle_of_marginal(room, reached, n, surface_of)[0] != REDUCED:
            return -1
    found = collect_labels(route, hit_of, reached, alignment, bfield, eloss, modes, label)
    n_labels = sorted_unique(label, found)
    for i in range(n):
        for j in range(n_labels):
            columns[i, j] = 0.0
    global_columns(
        route, local, transport, theta, reached, n, surface_of, row_h, alignment, bfield, eloss, modes, label, n_labels,
        carried, aligned, columns,
    )  # fmt: skip
    whiten_columns(covariance, n, columns, n_labels)
    reflect(by_start, n, 5, columns, n_labels)
    return n_labels
