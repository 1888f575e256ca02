"""The state form: block-tridiagonal elimination of the states, from the last surface to the first.

What lies beyond a surface is a quadratic form in its state x and in z = (1, theta):

    x^T Lambda x - 2 x^T E z + z^T C z

A hit adds to it; a leg x' = F x + T z + w with w ~ N(0, Q) takes it one surface inwards.  With M = (1 + Lambda Q)^-1,
Q never inverted, so that it may be singular:

    Lambda <- F^T M Lambda F,   E <- F^T (M E - M Lambda T),   C <- C - E^T Q M E  and the terms of T.

At the start dx = Lambda^-1 E z and the profiled form is C - E^T Lambda^-1 E: its corner is chi2, its first row half the
gradient, the rest half the Hessian.  Independent of the marginal form but for the rows it starts from.
"""

from mucal.arrays import FloatArray, IntArray
from mucal.numerics.borrowing import borrowing


@borrowing
def solve_in_place(a: FloatArray, b: FloatArray, width: int) -> bool:
    """b (5, width) <- a^-1 b by elimination with row pivoting; a (5, 5) is destroyed.  False if singular."""
    for j in range(5):
        best = j
        for i in range(j + 1, 5):
            if abs(a[i, j]) > abs(a[best, j]):
                best = i
        if a[best, j] == 0.0:
            return False
        if best != j:
            for c in range(5):
                a[j, c], a[best, c] = a[best, c], a[j, c]
            for c in range(width):
                b[j, c], b[best, c] = b[best, c], b[j, c]
        inverse = 1.0 / a[j, j]
        for i in range(j + 1, 5):
            f = a[i, j] * inverse
            for c in range(j, 5):
                a[i, c] -= f * a[j, c]
            for c in range(width):
                b[i, c] -= f * b[j, c]
    for j in range(4, -1, -1):
        inverse = 1.0 / a[j, j]
        for c in range(width):
            total = b[j, c]
            for k in range(j + 1, 5):
                total -= a[j, k] * b[k, c]
            b[j, c] = total * inverse
    return True


@borrowing
def _product(a: FloatArray, b: FloatArray, width: int, out: FloatArray) -> None:
    """out (5, width) = a b."""
    for r in range(5):
        for c in range(width):
            total = 0.0
            for k in range(5):
                total += a[r, k] * b[k, c]
            out[r, c] = total


@borrowing
def eliminate(
    transport: FloatArray, noise: FloatArray, legs_z: FloatArray, reached: int, n: int, surface_of: IntArray,
    row_h: FloatArray, sigma: FloatArray, rows_z: FloatArray, width: int, information: FloatArray, e: FloatArray,
    c: FloatArray, work: FloatArray,
) -> bool:  # fmt: skip
    """Fills information (5, 5), e (5, width) and c (width, width) of the start; False if a matrix is singular.

    legs_z : (L, 5, width)   T of each leg; column 0, that of the 1, is 0
    rows_z : (n, width)      residual of each row as a form in z: r, then minus its direct derivatives by theta
    work   : (4, 5, 5 + width)
    """
    for i in range(5):
        for j in range(5):
            information[i, j] = 0.0
        for j in range(width):
            e[i, j] = 0.0
    for i in range(width):
        for j in range(width):
            c[i, j] = 0.0
    row = n
    matrix, joined, turned, moved = work[0], work[1], work[2], work[3]
    for leg in range(reached - 1, -1, -1):
        while row > 0 and surface_of[row - 1] == leg:
            row -= 1
            _add_row(row_h[row, 0], row_h[row, 1], 1.0 / (sigma[row] * sigma[row]), rows_z[row], width,
                     information, e, c)  # fmt: skip
        if not _loosen(noise[leg], width, information, e, c, matrix, joined, turned):
            return False
        _shift_by_z(legs_z[leg], width, joined, moved, c)
        _carry_inwards(transport[leg], width, joined, matrix, information, e)
    return True


@borrowing
def _loosen(
    noise: FloatArray, width: int, information: FloatArray, e: FloatArray, c: FloatArray, matrix: FloatArray,
    joined: FloatArray, turned: FloatArray,
) -> bool:  # fmt: skip
    """Noise Q before the state: joined (5, 5 + width) = M (Lambda, E) with M = (1 + Lambda Q)^-1, c -= E^T Q M E."""
    for i in range(5):
        for j in range(5):
            total = 1.0 if i == j else 0.0
            for k in range(5):
                total += information[i, k] * noise[k, j]
            matrix[i, j] = total
            joined[i, j] = information[i, j]
        for j in range(width):
            joined[i, 5 + j] = e[i, j]
    if not solve_in_place(matrix, joined, 5 + width):
        return False
    _product(noise, joined, 5 + width, turned)
    for i in range(width):
        for j in range(width):
            total = 0.0
            for k in range(5):
                total += e[k, i] * turned[k, 5 + j]
            c[i, j] -= total
    return True


@borrowing
def _shift_by_z(t: FloatArray, width: int, joined: FloatArray, moved: FloatArray, c: FloatArray) -> None:
    """z moves the state, x' = F x + T z: its terms of c, and joined's E <- M E - M Lambda T."""
    for i in range(5):
        for j in range(width):
            total = 0.0
            for k in range(5):
                total += joined[i, k] * t[k, j]
            moved[i, j] = total
    for i in range(width):
        for j in range(width):
            total = 0.0
            for k in range(5):
                total += t[k, i] * (moved[k, j] - joined[k, 5 + j]) - joined[k, 5 + i] * t[k, j]
            c[i, j] += total
    for i in range(5):
        for j in range(width):
            joined[i, 5 + j] -= moved[i, j]


@borrowing
def _carry_inwards(
    f: FloatArray, width: int, joined: FloatArray, matrix: FloatArray, information: FloatArray, e: FloatArray
) -> None:
    """information, e <- F^T (joined Lambda) F, F^T (joined E)."""
    for i in range(5):
        for j in range(5):
            total = 0.0
            for k in range(5):
                total += joined[i, k] * f[k, j]
            matrix[i, j] = total
    for i in range(5):
        for j in range(5):
            total = 0.0
            for k in range(5):
                total += f[k, i] * matrix[k, j]
            information[i, j] = total
        for j in range(width):
            total = 0.0
            for k in range(5):
                total += f[k, i] * joined[k, 5 + j]
            e[i, j] = total


@borrowing
def _add_row(
    h_u: float, h_v: float, weight: float, z: FloatArray, width: int, information: FloatArray, e: FloatArray,
    c: FloatArray,
) -> None:  # fmt: skip
    """(z row - h x)^2 weight added to the form; h acts on the local u and v, places 3 and 4 of the state."""
    information[3, 3] += weight * h_u * h_u
    information[3, 4] += weight * h_u * h_v
    information[4, 3] += weight * h_u * h_v
    information[4, 4] += weight * h_v * h_v
    for i in range(width):
        e[3, i] += weight * h_u * z[i]
        e[4, i] += weight * h_v * z[i]
        for j in range(width):
            c[i, j] += weight * z[i] * z[j]
