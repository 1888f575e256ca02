"""What a fitted pair says of the global parameters: the rest of both legs, of their tie, and of the mass."""

from math import sqrt

from mucal.arrays import FloatArray, IntArray
from mucal.numerics.borrowing import borrowing
from mucal.refit.kernels.legs import profile_leg
from mucal.refit.kernels.marginal import triangularise
from mucal.refit.kernels.mass import pair_mass
from mucal.refit.kernels.tie import SIZE, tie


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
    counts: IntArray, maps: tuple[IntArray, ...], states: bool, mass_label: int, own: IntArray, j_ref: FloatArray,
) -> tuple[int, int]:  # fmt: skip
    """The global columns of a pair at its linearisation.  Returns rows of the tie and labels, -1 if undetermined.

    integers   : (6, I)     labels of the legs are rows 2 and 3, their places among those of the pair rows 4 and 5
    states     :            whether the legs were reduced by the state form
    mass_label :            parameter of the mean mass, larger than all others, or -1; the fit without it is deaf to it
    own        : (I,)       labels of the pair, filled
    j_ref      : (., 10)    d(unknowns)/d(parameter) and dm/d(parameter) of the vertex fit, without the mass; filled
    """
    a, r, columns, slope, curvature, numbers = room[0], room[1], room[2], room[7], room[8], room[9]
    n_own = integers[6]
    for k in range(2):
        n_own[k] = profile_leg(
            modules, routes[k], hit_of[k], hits, counts[2 + k], counts[k], states, rooms[k], integers[k],
            integers[2 + k], maps,
        )  # fmt: skip
        if n_own[k] < 0:
            return 0, -1
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
