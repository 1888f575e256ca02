"""One muon after another through the detector: scattered, slowed, measured; every number is keyed by muon and element.

The thickness that Highland's logarithm takes is that of the helix which finds the candidates.
"""

from math import cos, exp, log, pi, sin, sqrt

import numpy as np
import numpy.typing as npt
from numba import njit

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector.field.kernels import DEGREE
from mucal.detector.kernels import LOSS_CONSTANT, RADIATIVE, Z_OVER_A, max_transfer, measured
from mucal.detector.navigation.kernels.helix import helix_at
from mucal.numerics.borrowing import borrowing
from mucal.numerics.keyed_kernels import absorb, mix, to_normal, to_uniform
from mucal.propagation.kernels.crossings import CYLINDER, MEDIUM, SHAPE, X_OVER_X0, XI, against_axis
from mucal.propagation.kernels.layout import Y, workspace
from mucal.propagation.kernels.legs import LOOPER, OK, RANGED_OUT
from mucal.propagation.kernels.losses import restricted_loss, scattering, thin_loss
from mucal.propagation.kernels.tracks import bad_start
from mucal.propagation.kernels.walk import begin, enter, go_to, half_width, inside
from mucal.units import MUON_MASS

WordArray = npt.NDArray[np.uint64]

# The words of a muon, in this order.
PURPOSES = (
    "scattering", "scattering width", "straggling", "collisions", "transfer", "transfer kept",
    "measured u", "measured v", "efficiency", "outlier", "outlier u", "outlier v",
)  # fmt: skip
(
    KICK, WIDTH, STRAGGLING, COLLISIONS, TRANSFER, TRANSFER_KEPT,
    MEASURED_U, MEASURED_V, EFFICIENCY, OUTLIER, OUTLIER_U, OUTLIER_V,
) = range(12)  # fmt: skip

# What may happen: straggling (0 none, 1 Gaussian, 2 Landau), fraction of collisions in mean and variance, whether
# larger transfers are left out of Landau's, scattering on or off, share and width of its tails, scale of the
# resolution, efficiency, share and half width (cm) of outliers, sign of all Gaussian numbers.
(STRAGGLES, ALPHA, TRUNCATED, SCATTERS, TAIL_SHARE, TAIL_WIDTH, RESOLUTION, EFFICIENT, OUTLIER_SHARE,
 OUTLIER_RANGE, SIGN, SETTINGS) = range(12)  # fmt: skip
NONE, GAUSSIAN, LANDAU = 0.0, 1.0, 2.0

# Columns of what modules measure: resolution in u and v (cm, v NaN on strips), strip angle, focus.
SIGMA_U, SIGMA_V, ANGLE, FOCUS = range(4)
# Columns of a hit: u, v measured (cm); u, v of the muon (cm), NaN for an outlier.
U_MEAS, V_MEAS, U_GEN, V_GEN = range(4)

NEXT = np.uint64(0x9E3779B97F4A7C15)
SPARE, SPARE_UNIT = np.uint64(0x7FF), 2.0**-11
"""The bits of a word that `to_uniform` does not read, and what one of them is worth."""

LEAST_TRANSFER = 1e-6
"""GeV; collisions with smaller transfers are never drawn one by one."""


@borrowing
def landau_loss(
    p: float, xi: float, cut: float, medium: FloatArray, normal: float, number: float, transfer: np.uint64,
    kept: np.uint64,
) -> float:  # fmt: skip
    """Ionisation loss (GeV) of a muon of momentum p with transfers below `cut`: small ones together, large ones singly.

    Below T_1 = xi / (10 beta^2) a Gaussian; above it collisions of density xi/beta^2 (1 - beta^2 T/T_max) / T^2: a
    Poisson number of density 1/T^2, each kept with probability 1 - beta^2 T/T_max.

    xi     : GeV  of the slanted path at beta = 1
    normal : standard normal; number : uniform, for how many; transfer, kept : words for each collision
    """
    beta2 = p * p / (p * p + MUON_MASS * MUON_MASS)
    thickness, t_max = xi / beta2, max_transfer(p)
    lowest, highest = max(0.1 * thickness, LEAST_TRANSFER), min(cut, t_max)
    if highest <= lowest:
        mean, _, _, variance = restricted_loss(p, xi, highest, medium)
        return mean + sqrt(variance) * normal
    mean, _, _, variance = restricted_loss(p, xi, lowest, medium)
    loss = mean + sqrt(variance) * normal
    span = 1.0 / lowest - 1.0 / highest
    term = exp(-thickness * span)
    total, n = term, 0
    while number > total and n < 200:
        n += 1
        term *= thickness * span / n
        total += term
    for j in range(n):
        word = absorb(transfer, j)
        energy = 1.0 / (1.0 / lowest - span * to_uniform(word))
        share, dropped = np.float64(word & SPARE) * SPARE_UNIT, beta2 * energy / t_max
        # the bits of the word that are left are the first of a number for this; the others are seldom needed
        if share > dropped or share + SPARE_UNIT * to_uniform(absorb(kept, j)) > dropped:
            loss += energy
    return loss


@borrowing
def after_loss(q: float, xi: float, medium: FloatArray, settings: FloatArray, words: WordArray, element: int) -> float:
    """q/p behind a thin layer, 0 for a muon that stops in it."""
    if settings[STRAGGLES] != LANDAU:
        q_out, _, _, _, variance = thin_loss(q, xi, 1.0, settings[ALPHA], medium)
        if settings[STRAGGLES] == GAUSSIAN and q_out != 0.0:
            q_out += settings[SIGN] * sqrt(variance) * to_normal(absorb(words[STRAGGLING], element))
        return q_out if q_out * q > 0.0 else 0.0
    p = 1.0 / abs(q)
    energy = sqrt(p * p + MUON_MASS * MUON_MASS)
    cut = 1e30
    if settings[TRUNCATED] != 0.0 and settings[ALPHA] < 1.0:
        cut = xi * (energy / p) ** 2 / (1.0 - settings[ALPHA])
    loss = landau_loss(
        p, xi, cut, medium, to_normal(absorb(words[STRAGGLING], element)),
        to_uniform(absorb(words[COLLISIONS], element)), absorb(words[TRANSFER], element),
        absorb(words[TRANSFER_KEPT], element),
    )  # fmt: skip
    energy -= loss + xi * medium[RADIATIVE] / (0.5 * LOSS_CONSTANT * medium[Z_OVER_A]) * energy
    if energy <= 1.05 * MUON_MASS:
        return 0.0
    return float(np.sign(q) / sqrt(energy * energy - MUON_MASS * MUON_MASS))


@borrowing
def scatter(w: FloatArray, width: float, settings: FloatArray, words: WordArray, element: int) -> None:
    """The muon's direction turned by two independent projected angles of r.m.s. `width` (rad)."""
    if settings[TAIL_SHARE] > 0.0 and to_uniform(absorb(words[WIDTH], element)) < settings[TAIL_SHARE]:
        width *= settings[TAIL_WIDTH]
    a, b = two_normals(absorb(words[KICK], element))
    width *= settings[SIGN]
    a, b = width * a, width * b
    x, y, z = w[Y + 3], w[Y + 4], w[Y + 5]
    cl = sqrt(x * x + y * y)
    c, s = x / cl, y / cl
    x, y, z = x - a * s - b * z * c, y + a * c - b * z * s, z + b * cl
    norm = 1.0 / sqrt(x * x + y * y + z * z)
    w[Y + 3], w[Y + 4], w[Y + 5] = x * norm, y * norm, z * norm


@borrowing
def two_normals(word: np.uint64) -> tuple[float, float]:
    """Two independent standard normal numbers (Box and Muller)."""
    radius = sqrt(-2.0 * log(to_uniform(word)))
    angle = 2.0 * pi * to_uniform(mix(word + NEXT))
    return radius * cos(angle), radius * sin(angle)


@borrowing
def measure(
    u: float, v: float, sensors: FloatArray, settings: FloatArray, words: WordArray, element: int, hits: FloatArray,
    row: int,
) -> bool:  # fmt: skip
    """The hit of a muon that crosses a module at (u, v), into a row of hits; False where the module is inefficient."""
    if settings[EFFICIENT] < 1.0 and to_uniform(absorb(words[EFFICIENCY], element)) >= settings[EFFICIENT]:
        return False
    hits[row, U_MEAS] = measured(u, v, sensors[element, ANGLE], sensors[element, FOCUS])[0]
    hits[row, V_MEAS] = v if sensors[element, SIGMA_V] > 0.0 else np.nan
    hits[row, U_GEN], hits[row, V_GEN] = u, v
    scale = settings[SIGN] * settings[RESOLUTION]
    hits[row, U_MEAS] += scale * sensors[element, SIGMA_U] * to_normal(absorb(words[MEASURED_U], element))
    if sensors[element, SIGMA_V] > 0.0:
        hits[row, V_MEAS] += scale * sensors[element, SIGMA_V] * to_normal(absorb(words[MEASURED_V], element))
    if settings[OUTLIER_SHARE] > 0.0 and to_uniform(absorb(words[OUTLIER], element)) < settings[OUTLIER_SHARE]:
        reach = settings[OUTLIER_RANGE]
        hits[row, U_MEAS] += reach * (2.0 * to_uniform(absorb(words[OUTLIER_U], element)) - 1.0)
        hits[row, V_MEAS] += reach * (2.0 * to_uniform(absorb(words[OUTLIER_V], element)) - 1.0)
        hits[row, U_GEN], hits[row, V_GEN] = np.nan, np.nan
    return True


@borrowing
def helix_thickness(
    surfaces: FloatArray, outlines: FloatArray, n_modules: int, start: FloatArray, k: float, candidates: IntArray,
    paths: FloatArray, u: FloatArray, v: FloatArray, cosines: FloatArray,
) -> float:  # fmt: skip
    """Radiation lengths that a helix crosses before the last module that it meets within its outline.

    start : (7,)  of the helix; k: its turn, radian per cm
    """
    total, before = 0.0, 0.0
    for c in range(candidates.size):
        i = candidates[c]
        if i < n_modules:
            if abs(v[c]) > outlines[i, 3] or abs(u[c]) > half_width(outlines, i, v[c]):
                continue
            before = total
        else:
            x, y, where, _, _ = helix_at(start, k, paths[c])
            if surfaces[i, SHAPE] != CYLINDER:
                where = sqrt(x * x + y * y)
            if not outlines[i, 1] <= where < outlines[i, 2]:
                continue
        total += surfaces[i, X_OVER_X0] / max(cosines[c], 1e-3)
    return before


@borrowing
def act_on(
    surfaces: FloatArray, media: FloatArray, i: int, w: FloatArray, slant: float, highland: float,
    settings: FloatArray, words: WordArray,
) -> bool:  # fmt: skip
    """The muon in w slowed and scattered by element i; False if it stops there."""
    q = w[Y + 6]
    if surfaces[i, XI] > 0.0:
        medium = media[int(surfaces[i, MEDIUM])]
        w[Y + 6] = after_loss(q, surfaces[i, XI] / slant, medium, settings, words, i)
        if w[Y + 6] == 0.0:
            return False
    if settings[SCATTERS] != 0.0 and surfaces[i, X_OVER_X0] > 0.0:
        width = highland * sqrt(scattering(q, surfaces[i, X_OVER_X0] / slant))
        scatter(w, width, settings, words, i)
    return True


@borrowing
def follow(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, outlines: FloatArray, envelope: FloatArray,
    sensors: FloatArray, start: FloatArray, candidates: IntArray, paths: FloatArray, due: FloatArray,
    looked: IntArray, done: BoolArray, needed: BoolArray, settings: FloatArray, highland: float, words: WordArray,
    h_max: float, max_steps: int, modules: IntArray, hits: FloatArray, table: FloatArray, w: FloatArray,
) -> tuple[int, int, int]:  # fmt: skip
    """One muon through its candidates.  Returns a status, the number of hits, and of elements found passed.

    highland : Highland's logarithm, (1 + 0.038 ln X)
    modules, hits : (C,), (C, 4)  filled from the front
    """
    n_hits, first, steps, now, passed, turned, path = 0, 0, 0, 0, 0, 0.0, 0.0
    begin(paths, due, looked, done)
    for j in range(7):
        w[Y + j] = start[j]
    status = bad_start(start)
    if status == OK:
        status = enter(field, w, table)
    while status == OK:
        while first < candidates.size and done[first]:
            first += 1
        status, c, moved, taken, angle, behind = go_to(
            field, surfaces, media, outlines, envelope, w, candidates, paths, due, looked, done, needed, first, path,
            now, h_max, max_steps - steps, table,
        )  # fmt: skip
        now, steps, path = now + taken + 1, steps + taken, path + moved
        turned, passed = turned + angle, passed + behind
        if status != OK or c < 0:
            break
        if turned > pi:
            return LOOPER, n_hits, passed
        done[c], i = True, candidates[c]
        within, u, v = inside(surfaces, outlines, i, w)
        slant = abs(against_axis(w, 2))
        if not within or slant < 1e-3:
            continue
        if i < sensors.shape[0] and measure(u, v, sensors, settings, words, i, hits, n_hits):
            modules[n_hits] = i
            n_hits += 1
        if not act_on(surfaces, media, i, w, slant, highland, settings, words):
            return RANGED_OUT, n_hits, passed
    return status, n_hits, passed


@njit(cache=True, nogil=True)
def normals(words: WordArray, keys: IntArray) -> FloatArray:
    """(N, P) standard normal numbers of P purposes, whose words (P,) absorb the keys (N, J)."""
    found = np.empty((keys.shape[0], words.size))
    for i in range(keys.shape[0]):
        for j in range(words.size):
            word = words[j]
            for key in keys[i]:
                word = absorb(word, key)
            found[i, j] = to_normal(word)
    return found


@njit(cache=True, nogil=True)
def simulate_all(
    field: FloatArray, surfaces: FloatArray, media: FloatArray, outlines: FloatArray, envelope: FloatArray,
    sensors: FloatArray, starts: FloatArray, keys: IntArray, offsets: IntArray, candidates: IntArray,
    paths: FloatArray, us: FloatArray, vs: FloatArray, cosines: FloatArray, settings: FloatArray,
    words: WordArray, turn: float, h_max: float, max_steps: int,
    modules: IntArray, hits: FloatArray, n_hits: IntArray, status: IntArray, passed: IntArray,
) -> None:  # fmt: skip
    """`follow` for N muons.  Candidates offsets[i] .. offsets[i+1] belong to muon i, and so do its hits.

    keys           : (N, J)  numbers that name a muon
    paths, us, vs, cosines : (C,)  of the helix at every candidate
    words          : (P,)    of the seed and each purpose
    turn           :         rad GeV/cm  of the helix, over q/p
    modules, hits  : (C,), (C, 4)  filled from offsets[i] on
    n_hits, status, passed : (N,)
    """
    _, _, _, table, w = workspace(8, 0, 1, int(field[DEGREE]))
    own = np.empty_like(words)
    most = candidates.size if starts.shape[0] == 0 else np.max(offsets[1:] - offsets[:-1])
    due, looked = np.empty(most), np.empty(most, dtype=np.int64)
    done, needed = np.empty(most, dtype=np.bool_), np.zeros(most, dtype=np.bool_)
    for t in range(starts.shape[0]):
        a, b = offsets[t], offsets[t + 1]
        n, highland = b - a, 1.0
        for j in range(words.size):
            own[j] = words[j]
            for key in keys[t]:
                own[j] = absorb(own[j], key)
        if settings[SCATTERS] != 0.0:
            thickness = helix_thickness(
                surfaces, outlines, sensors.shape[0], starts[t], turn * starts[t, 6], candidates[a:b], paths[a:b],
                us[a:b], vs[a:b], cosines[a:b],
            )  # fmt: skip
            if thickness > 0.0:
                highland = 1.0 + 0.038 * log(thickness)
        status[t], n_hits[t], passed[t] = follow(
            field, surfaces, media, outlines, envelope, sensors, starts[t], candidates[a:b], paths[a:b],
            due[:n], looked[:n], done[:n], needed[:n], settings, highland, own, h_max, max_steps, modules[a:b],
            hits[a:b], table, w,
        )  # fmt: skip
