"""A propagated track as linear equations: residuals, their covariance, and their derivatives.

All walks go from the last surface to the first.  A row a (5,) that starts as d measurement / d local state is carried
inwards by a <- a F; at each surface it meets the covariance of the state there, and at each leg the leg's parameters.
"""

from mucal.arrays import FloatArray, IntArray
from mucal.detector.kernels import alignment_row, measured
from mucal.numerics.borrowing import borrowing
from mucal.propagation.kernels.tracks import DB, K_THIN, MODES

U_SLOPE, V_SLOPE, U_LOCAL, V_LOCAL = 1, 2, 3, 4

# columns of the table of modules that the refit reads
STRIP_ANGLE, FOCUS, N_MEAS = 0, 1, 2


@borrowing
def measurement_rows(
    modules: FloatArray, route: IntArray, hit_of: IntArray, hits: FloatArray, local: FloatArray, reached: int,
    surface_of: IntArray, row_h: FloatArray, residual: FloatArray, sigma: FloatArray,
) -> int:  # fmt: skip
    """Rows of a track in the order of its surfaces; returns their number n.

    modules    : (M, 3)  strip angle, focus, measured coordinates
    hit_of     : (L,)    row of hits measured on each surface of the route, or -1
    hits       : (K, 4)  u, v, sigma_u, sigma_v
    local      : (L, 5)  predicted states
    surface_of : (n,)    place in the route, filled
    row_h      : (n, 2)  derivatives by u and v, filled
    residual   : (n,)    measured minus predicted, cm, filled
    sigma      : (n,)    cm, filled
    """
    n = 0
    for leg in range(reached):
        k = hit_of[leg]
        if k < 0:
            continue
        m = route[leg]
        u, v = local[leg, U_LOCAL], local[leg, V_LOCAL]
        value, du, dv = measured(u, v, modules[m, STRIP_ANGLE], modules[m, FOCUS])
        surface_of[n], row_h[n, 0], row_h[n, 1] = leg, du, dv
        residual[n], sigma[n] = hits[k, 0] - value, hits[k, 2]
        n += 1
        if modules[m, N_MEAS] == 2.0:
            surface_of[n], row_h[n, 0], row_h[n, 1] = leg, 0.0, 1.0
            residual[n], sigma[n] = hits[k, 1] - v, hits[k, 3]
            n += 1
    return n


@borrowing
def accumulate_noise(
    transport: FloatArray, noise: FloatArray, reached: int, total: FloatArray, work: FloatArray
) -> None:
    """total (L, 5, 5): covariance of each local state from the noise of all legs up to it, F C F^T + Q."""
    for leg in range(reached):
        for r in range(5):
            for c in range(5):
                total[leg, r, c] = noise[leg, r, c]
        if leg == 0:
            continue
        for r in range(5):
            for c in range(5):
                value = 0.0
                for k in range(5):
                    value += transport[leg, r, k] * total[leg - 1, k, c]
                work[r, c] = value
        for r in range(5):
            for c in range(5):
                value = 0.0
                for k in range(5):
                    value += work[r, k] * transport[leg, c, k]
                total[leg, r, c] += value


@borrowing
def linearise(
    transport: FloatArray, total: FloatArray, reached: int, n: int, surface_of: IntArray, row_h: FloatArray,
    sigma: FloatArray, carried: FloatArray, covariance: FloatArray, by_start: FloatArray,
) -> None:  # fmt: skip
    """Covariance of the residuals (n, n; lower triangle) and derivatives of the predictions by the start (n, 5).

    carried : (n, 5)  scratch
    """
    first = n
    for leg in range(reached - 1, -1, -1):
        while first > 0 and surface_of[first - 1] == leg:
            first -= 1
            for j in range(5):
                carried[first, j] = 0.0
            carried[first, U_LOCAL], carried[first, V_LOCAL] = row_h[first, 0], row_h[first, 1]
        for row in range(first, n):
            if surface_of[row] != leg:
                break
            h_u, h_v = row_h[row, 0], row_h[row, 1]
            c0 = total[leg, 0, 3] * h_u + total[leg, 0, 4] * h_v
            c1 = total[leg, 1, 3] * h_u + total[leg, 1, 4] * h_v
            c2 = total[leg, 2, 3] * h_u + total[leg, 2, 4] * h_v
            c3 = total[leg, 3, 3] * h_u + total[leg, 3, 4] * h_v
            c4 = total[leg, 4, 3] * h_u + total[leg, 4, 4] * h_v
            for k in range(row, n):
                covariance[k, row] = (
                    carried[k, 0] * c0 + carried[k, 1] * c1 + carried[k, 2] * c2 + carried[k, 3] * c3
                    + carried[k, 4] * c4
                )  # fmt: skip
            covariance[row, row] += sigma[row] * sigma[row]
        for k in range(first, n):
            carry(carried, k, transport, leg)
    for k in range(n):
        for j in range(5):
            by_start[k, j] = carried[k, j]


@borrowing
def carry(rows: FloatArray, k: int, transport: FloatArray, leg: int) -> None:
    """Row k of rows (n, 5) times F of the leg, in place."""
    a0, a1, a2, a3, a4 = rows[k, 0], rows[k, 1], rows[k, 2], rows[k, 3], rows[k, 4]
    for j in range(5):
        rows[k, j] = (
            a0 * transport[leg, 0, j] + a1 * transport[leg, 1, j] + a2 * transport[leg, 2, j]
            + a3 * transport[leg, 3, j] + a4 * transport[leg, 4, j]
        )  # fmt: skip


@borrowing
def find(label: IntArray, n: int, value: int) -> int:
    """Place of a value in label[:n], which is sorted and holds it."""
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        if label[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@borrowing
def collect_labels(
    route: IntArray, hit_of: IntArray, reached: int, alignment: IntArray, bfield: IntArray, eloss: IntArray,
    modes: IntArray, label: IntArray,
) -> int:  # fmt: skip
    """The parameters that a track depends on into label; returns how many, repetitions included.

    Family by family, each in the order of the route: nearly sorted, as `sorted_unique` likes it.
    """
    n = 0
    for leg in range(reached):
        if hit_of[leg] >= 0:
            for c in range(6):
                if alignment[route[leg], c] >= 0:
                    label[n] = alignment[route[leg], c]
                    n += 1
    for leg in range(reached):
        for c in range(3):
            if bfield[route[leg], c] >= 0:
                label[n] = bfield[route[leg], c]
                n += 1
    for leg in range(1, reached):
        if eloss[route[leg - 1]] >= 0:
            label[n] = eloss[route[leg - 1]]
            n += 1
    for m in range(modes.size):
        if modes[m] >= 0:
            label[n] = modes[m]
            n += 1
    return n


@borrowing
def sorted_unique(label: IntArray, n: int) -> int:
    """Sorts label[:n] (insertion: runs are sorted already) and drops repetitions; returns how many are left."""
    for i in range(1, n):
        value, j = label[i], i
        while j > 0 and label[j - 1] > value:
            label[j] = label[j - 1]
            j -= 1
        label[j] = value
    kept = 0
    for i in range(n):
        if kept == 0 or label[kept - 1] != label[i]:
            label[kept] = label[i]
            kept += 1
    return kept


@borrowing
def global_columns(
    route: IntArray, local: FloatArray, transport: FloatArray, theta: FloatArray, reached: int, n: int,
    surface_of: IntArray, row_h: FloatArray, alignment: IntArray, bfield: IntArray, eloss: IntArray, modes: IntArray,
    label: IntArray, n_labels: int, carried: FloatArray, aligned: FloatArray, columns: FloatArray,
) -> None:  # fmt: skip
    """Derivatives of the predictions by the global parameters, added to columns (n, n_labels).

    label   : (n_labels,)  sorted and unique
    aligned : (6,)         scratch
    """
    first = n
    for leg in range(reached - 1, -1, -1):
        i = route[leg]
        while first > 0 and surface_of[first - 1] == leg:
            first -= 1
            for j in range(5):
                carried[first, j] = 0.0
            carried[first, U_LOCAL], carried[first, V_LOCAL] = row_h[first, 0], row_h[first, 1]
            alignment_row(
                local[leg, U_LOCAL], local[leg, V_LOCAL], local[leg, U_SLOPE], local[leg, V_SLOPE], row_h[first, 0],
                row_h[first, 1], aligned,
            )  # fmt: skip
            for c in range(6):
                if alignment[i, c] >= 0:
                    columns[first, find(label, n_labels, alignment[i, c])] += aligned[c]
        for c in range(3):
            if bfield[i, c] >= 0:
                _add_column(carried, first, n, theta, leg, DB + c, columns, find(label, n_labels, bfield[i, c]))
        if leg > 0 and eloss[route[leg - 1]] >= 0:
            place = find(label, n_labels, eloss[route[leg - 1]])
            _add_column(carried, first, n, theta, leg, K_THIN, columns, place)
        for m in range(modes.size):
            if modes[m] >= 0:
                _add_column(carried, first, n, theta, leg, MODES + m, columns, find(label, n_labels, modes[m]))
        for k in range(first, n):
            carry(carried, k, transport, leg)


@borrowing
def _add_column(
    carried: FloatArray, first: int, n: int, theta: FloatArray, leg: int, column: int, columns: FloatArray,
    place: int,
) -> None:  # fmt: skip
    t0, t1, t2 = theta[leg, 0, column], theta[leg, 1, column], theta[leg, 2, column]
    t3, t4 = theta[leg, 3, column], theta[leg, 4, column]
    for k in range(first, n):
        columns[k, place] += (
            carried[k, 0] * t0 + carried[k, 1] * t1 + carried[k, 2] * t2 + carried[k, 3] * t3 + carried[k, 4] * t4
        )
