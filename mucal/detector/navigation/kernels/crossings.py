"""Which modules and passive surfaces a helix crosses, in order.

Layers are boxes in (r, z) with bins in azimuth and z (barrel) or r (discs); the bins give candidates, never too few,
and each candidate plane is then intersected exactly.
"""

from math import asin, atan2, floor, pi, sqrt

import numpy as np
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.detector.navigation.kernels.helix import (
    FAR,
    STRAIGHT,
    box_intervals,
    helix_at,
    path_of_q,
    plane_root,
    plane_root_near,
    radius_quadratic,
    roots,
    turning_points,
)
from mucal.numerics.borrowing import borrowing

MARGIN = 1e-7  # cm, added to boxes and bins so that rounding loses nothing
LOOPS, NOT_FINITE = 1, 2  # of `NavigationStatus`
SLANTED = 0.15  # least cosine of a slant that a displacement across the track is divided by


@borrowing
def _size(x: float, y: float) -> float:
    """Of a vector; centimetres and directions need no guard against overflow."""
    return sqrt(x * x + y * y)


@borrowing
def _add(
    found: IntArray, numbers: FloatArray, n: int, element: int, s: float, u: float, v: float, cosine: float
) -> None:
    """Insert a crossing at its place along the path."""
    j = n
    while j > 0 and numbers[j - 1, 0] > s:
        found[j] = found[j - 1]
        for c in range(4):
            numbers[j, c] = numbers[j - 1, c]
        j -= 1
    found[j] = element
    numbers[j, 0], numbers[j, 1], numbers[j, 2], numbers[j, 3] = s, u, v, cosine


@borrowing
def _cross_module(
    start: FloatArray, k: float, i: int, module: FloatArray, low: float, high: float, slack: float,
    middle: FloatArray, cuts: FloatArray, found: IntArray, numbers: FloatArray, n: int,
) -> int:  # fmt: skip
    """Test one module between two paths; middle (5,) is the helix half-way.  Returns the new number of crossings.

    module (17,): rotation rows u, v, w; plane distance w . centre; centre; half_u at both ends, half_v, spare.
    """
    plane = module[6:10]
    half = 0.5 * (high - low)
    s_mid = 0.5 * (high + low)
    bend = abs(k) * _size(start[3], start[4])
    distance = plane[0] * middle[0] + plane[1] * middle[1] + plane[2] * middle[2] - plane[3]
    slope = plane[0] * middle[3] + plane[1] * middle[4] + plane[2] * start[5]
    if abs(distance) > (abs(slope) + bend * half) * half + MARGIN:
        return n
    guess, pieces, steady = s_mid, 1, abs(slope) > 2.0 * bend * half
    cuts[0], cuts[1] = low, high
    if abs(slope) > bend * half:
        step = -distance / slope
        guess = s_mid + step
        # the arc leaves its tangent by at most bend half^2 / 2, and the root moves by that over the slope
        error = 0.5 * bend * half * half * (1.0 + 1.0 / abs(slope)) + slack + MARGIN
        x = middle[0] + step * middle[3] - module[10]
        y = middle[1] + step * middle[4] - module[11]
        z = middle[2] + step * start[5] - module[12]
        if abs(module[0] * x + module[1] * y + module[2] * z) > max(module[13], module[14]) + error:
            return n
        if abs(module[3] * x + module[4] * y + module[5] * z) > module[15] + error:
            return n
    else:
        pieces = turning_points(start, k, plane, low, high, cuts)
    for piece in range(pieces):
        if steady:
            s = plane_root_near(start, k, plane, low, high, guess)
        else:
            s = plane_root(start, k, plane, cuts[piece], cuts[piece + 1], guess)
        if s == FAR:
            continue
        x, y, z, tx, ty = helix_at(start, k, s)
        x, y, z = x - module[10], y - module[11], z - module[12]
        u = module[0] * x + module[1] * y + module[2] * z
        v = module[3] * x + module[4] * y + module[5] * z
        if abs(v) > module[15] + slack:
            continue
        inside = min(max(v, -module[15]), module[15]) / module[15]
        if abs(u) > 0.5 * (module[13] * (1.0 - inside) + module[14] * (1.0 + inside)) + slack:
            continue
        cosine = abs(module[6] * tx + module[7] * ty + module[8] * start[5])
        _add(found, numbers, n, i, s, u, v, cosine)
        n += 1
    return n


@borrowing
def _cross_layer(
    start: FloatArray, k: float, low: float, high: float, slack: float, grid: IntArray, span: FloatArray,
    bins: IntArray, entries: IntArray, modules: FloatArray, stamp: IntArray, mark: int,
    middle: FloatArray, cuts: FloatArray, found: IntArray, numbers: FloatArray, n: int,
) -> int:  # fmt: skip
    """Test the candidates of one layer between two paths.  Returns the new number of crossings.

    grid (4,): 1 for a disc, bins in azimuth, bins in z or r, first bin; span (2,): first edge and inverse width of
    the bins in z or r.
    """
    middle[0], middle[1], middle[2], middle[3], middle[4] = helix_at(start, k, 0.5 * (low + high))
    x_a, y_a, z_a, _, _ = helix_at(start, k, low)
    x_b, y_b, z_b, _, _ = helix_at(start, k, high)
    bend = abs(k) * _size(start[3], start[4])
    sagitta = 0.125 * bend * (high - low) ** 2 + MARGIN
    chord2 = (x_b - x_a) ** 2 + (y_b - y_a) ** 2
    along = -(x_a * (x_b - x_a) + y_a * (y_b - y_a)) / chord2 if chord2 > 0.0 else 0.0
    along = min(max(along, 0.0), 1.0)
    nearest = _size(x_a + along * (x_b - x_a), y_a + along * (y_b - y_a))
    reach = sagitta + 1.5 * slack  # a corner moves by up to sqrt(2) slack
    if grid[0]:
        first, last = nearest - reach, max(_size(x_a, y_a), _size(x_b, y_b)) + reach
    else:
        first, last = min(z_a, z_b) - MARGIN - 1.5 * slack, max(z_a, z_b) + MARGIN + 1.5 * slack
    n_phi, n_other = grid[1], grid[2]
    j_low = max(0, floor((first - span[0]) * span[1]))
    j_high = min(n_other - 1, floor((last - span[0]) * span[1]))
    i_low, i_count = 0, n_phi
    if reach < nearest:
        pad = asin(reach / nearest) + 1e-9
        phi = atan2(y_a, x_a)
        turn = atan2(x_a * y_b - y_a * x_b, x_a * x_b + y_a * y_b)
        to_bin = n_phi / (2.0 * pi)
        i_low = floor((min(phi, phi + turn) - pad + pi) * to_bin)
        i_high = floor((max(phi, phi + turn) + pad + pi) * to_bin)
        i_count = min(n_phi, i_high - i_low + 1)
    for i in range(i_low, i_low + i_count):
        row = grid[3] + (i % n_phi) * n_other
        for j in range(j_low, j_high + 1):
            for e in range(bins[row + j], bins[row + j + 1]):
                module = entries[e]
                if stamp[module] != mark:
                    stamp[module] = mark
                    n = _cross_module(
                        start, k, module, modules[module], low, high, slack, middle, cuts, found, numbers, n
                    )
    return n


@borrowing
def _cross_passive(
    start: FloatArray, k: float, slack: float, spread: float, way_out: float, sheets: FloatArray, ranges: IntArray,
    rows: FloatArray, first: int, path: FloatArray, found: IntArray, numbers: FloatArray, n: int,
) -> int:  # fmt: skip
    """Cross cylinders and discs, widened as modules are.  Returns the new number of crossings.

    sheets (S, 2): 1 for a disc, radius or z; rows ranges[i] .. ranges[i+1] of rows (P, 3) are its pieces: low, high,
    number in the table.
    """
    end = pi / abs(k) if abs(k) >= STRAIGHT else FAR
    for i in range(sheets.shape[0]):
        n_paths = 0
        if sheets[i, 0] == 1.0:
            if start[5] != 0.0:
                path[0] = (sheets[i, 1] - start[2]) / start[5]
                n_paths = 1
        else:
            a, b, c = radius_quadratic(start, k, sheets[i, 1])
            for root in roots(a, b, c):
                if 0.0 <= root < FAR:
                    path[n_paths] = path_of_q(k, root)
                    n_paths += 1
        for j in range(n_paths):
            s = path[j]
            if not 0.0 <= s <= end:
                continue
            x, y, z, tx, ty = helix_at(start, k, s)
            r = _size(x, y)
            where = r if sheets[i, 0] == 1.0 else z
            cosine = abs(start[5]) if sheets[i, 0] == 1.0 else abs(x * tx + y * ty) / r
            wider = slack + _spread_at(s, spread, way_out) / max(cosine, SLANTED)
            for row in range(ranges[i], ranges[i + 1]):
                if rows[row, 0] - wider <= where < rows[row, 1] + wider:
                    _add(found, numbers, n, first + int(rows[row, 2]), s, np.nan, np.nan, cosine)
                    n += 1
    return n


@borrowing
def _way_out(start: FloatArray, envelope: FloatArray) -> float:
    """cm to the outside of the detector, along z or, a little curved, away from the beam, whichever is shorter."""
    sine, cosine = _size(start[3], start[4]), abs(start[5])
    along = max(abs(envelope[1] - start[2]), abs(envelope[2] - start[2]))
    return float(min(along / max(cosine, 1e-9), 1.2 * envelope[0] / max(sine, 1e-9)))


@borrowing
def _widened(start: FloatArray, box: FloatArray, disc: bool, slack: float, spread: float, way_out: float) -> float:
    """cm by which the modules of a layer are widened: slack, and what `_spread_at` says for its far side.

    A track that meets a layer at less than SLANTED, or only after its way out, hardly meets it.
    """
    if spread == 0.0:
        return slack
    sine, cosine = _size(start[3], start[4]), abs(start[5])
    path = max(abs(box[2] - start[2]), abs(box[3] - start[2])) / max(cosine, 1e-9)
    if not disc:
        path = min(path, 1.2 * box[1] / max(sine, 1e-9))
    return float(slack + _spread_at(path, spread, way_out) / max(cosine if disc else sine, SLANTED))


@borrowing
def _spread_at(path: float, spread: float, way_out: float) -> float:
    """Displacement across the track after a path, by scattering that is spread evenly over the way out: as path^1.5."""
    path = min(path, way_out)
    return float(spread * path * sqrt(path / way_out))


@njit(cache=True, nogil=True)
def cross(
    starts: FloatArray, ks: FloatArray, slack: float, spreads: FloatArray, envelope: FloatArray, boxes: FloatArray,
    grids: IntArray, spans: FloatArray, bins: IntArray, entries: IntArray, modules: FloatArray,
    sheets: FloatArray, ranges: IntArray, rows: FloatArray,
) -> tuple[IntArray, IntArray, FloatArray, IntArray]:  # fmt: skip
    """All crossings of all tracks: offsets (N+1,), elements (K,), path/u/v/cosine (K, 4), status (N,)."""
    n_tracks = starts.shape[0]
    offsets = np.zeros(n_tracks + 1, dtype=np.int64)
    status = np.zeros(n_tracks, dtype=np.int64)
    elements = np.empty(max(64, 24 * n_tracks), dtype=np.int64)
    values = np.empty((elements.size, 4))
    capacity = 4 * modules.shape[0] + 2 * rows.shape[0]
    found, numbers = np.empty(capacity, dtype=np.int64), np.empty((capacity, 4))
    stamp = np.zeros(modules.shape[0], dtype=np.int64)
    intervals, cuts, middle, path, breaks = np.empty((4, 2)), np.empty(8), np.empty(5), np.empty(2), np.empty(6)
    mark, total = 0, 0
    for t in range(n_tracks):
        start, k = starts[t], ks[t]
        n = 0
        if not np.isfinite(k + start.sum()):
            status[t] = NOT_FINITE
        else:
            way_out = _way_out(start, envelope)
            for i in range(boxes.shape[0]):
                wider = _widened(start, boxes[i], grids[i, 0] == 1, slack, spreads[t], way_out)
                for j in range(box_intervals(start, k, boxes[i], MARGIN + 1.5 * wider, breaks, intervals)):
                    mark += 1
                    n = _cross_layer(
                        start, k, intervals[j, 0], intervals[j, 1], wider, grids[i], spans[i], bins, entries, modules,
                        stamp, mark, middle, cuts, found, numbers, n,
                    )  # fmt: skip
            n = _cross_passive(
                start, k, slack, spreads[t], way_out, sheets, ranges, rows, modules.shape[0], path, found, numbers, n
            )
            if abs(k) >= STRAIGHT:
                x, y, z, _, _ = helix_at(start, k, pi / abs(k))
                if _size(x, y) < envelope[0] and envelope[1] < z < envelope[2]:
                    status[t] = LOOPS
        if total + n > elements.size:
            size = 2 * elements.size + n
            more, more_values = np.empty(size, dtype=np.int64), np.empty((size, 4))
            more[:total], more_values[:total] = elements[:total], values[:total]
            elements, values = more, more_values
        elements[total : total + n] = found[:n]
        values[total : total + n] = numbers[:n]
        total += n
        offsets[t + 1] = total
    return offsets, elements[:total].copy(), values[:total].copy(), status
