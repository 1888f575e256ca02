"""Where a helix about z meets cylinders, boxes in (r, z) and planes.

The helix turns with k = kappa (q/p) B_z radian per cm of path, up to half a turn.  In q = 2 tan(k s / 2) / k its
distance from the beam is the root of a quadratic over a quadratic, so cylinders are met in closed form, without
cancellation for straight tracks.
"""

from math import atan, atan2, cos, floor, pi, sin, sqrt, tan

from mucal.arrays import FloatArray
from mucal.numerics.borrowing import borrowing

STRAIGHT = 1e-15  # 1/cm, below this a track is a line: the sagitta of 10 m is 1e-10 cm
FAR = 1e9  # cm, stands for "never" in s and q
CONVERGED = 1e-7  # cm, last Newton step: the next would be its square over the radius of the helix
SMALL = 0.3  # rad, below this sine and cosine are series whose next terms are below 1e-16

S_3, S_5, S_7, S_9, S_11 = -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800
C_2, C_4, C_6, C_8, C_10, C_12 = -1 / 2, 1 / 24, -1 / 720, 1 / 40320, -1 / 3628800, 1 / 479001600


@borrowing
def sine_cosine(angle: float) -> tuple[float, float]:
    """Both at once: muons turn little inside a tracker, and a series takes a third of the library's time."""
    if abs(angle) > SMALL:
        return sin(angle), cos(angle)
    a = angle * angle
    sine = a * (S_3 + a * (S_5 + a * (S_7 + a * (S_9 + a * S_11))))
    cosine = a * (C_2 + a * (C_4 + a * (C_6 + a * (C_8 + a * (C_10 + a * C_12)))))
    return angle + angle * sine, 1.0 + cosine


@borrowing
def helix_at(start: FloatArray, k: float, s: float) -> tuple[float, float, float, float, float]:
    """Position and transverse direction after a path s; start (6,): position, unit direction.

    Returns x, y, z in cm, then t_x, t_y; t_z does not change.
    """
    if abs(k) < STRAIGHT:
        along, across, c, d = s, 0.0, 1.0, 0.0
    else:
        sh, ch = sine_cosine(0.5 * k * s)
        along, across = 2.0 * sh * ch / k, 2.0 * sh * sh / k
        c, d = 1.0 - 2.0 * sh * sh, 2.0 * sh * ch
    tx, ty = start[3], start[4]
    return (
        start[0] + along * tx + across * ty,
        start[1] + along * ty - across * tx,
        start[2] + start[5] * s,
        tx * c + ty * d,
        ty * c - tx * d,
    )


@borrowing
def path_of_q(k: float, q: float) -> float:
    """The path along a helix of turn k (radian per cm) at the parameter q = tan(k s / 2) 2 / k."""
    half = 0.5 * k * q
    if abs(half) < 1e-4:
        return q * (1.0 - half * half / 3.0 * (1.0 - 0.6 * half * half))
    return 2.0 * atan(half) / k


@borrowing
def q_of_path(k: float, s: float) -> float:
    """The parameter q of a path s along a helix of turn k, the inverse of `path_of_q`; FAR beyond half a turn."""
    half = 0.5 * k * s
    if abs(half) >= 0.5 * pi - 1e-9:
        return FAR
    if abs(half) < 1e-4:
        return s * (1.0 + half * half / 3.0 * (1.0 + 0.4 * half * half))
    return min(FAR, 2.0 * tan(half) / k)


@borrowing
def radius_quadratic(start: FloatArray, k: float, radius: float) -> tuple[float, float, float]:
    """a, b, c of a q^2 + 2 b q + c, which has the sign of r^2 - radius^2."""
    x, y, tx, ty = start[0], start[1], start[3], start[4]
    c = x * x + y * y - radius * radius
    return tx * tx + ty * ty + k * (x * ty - y * tx) + 0.25 * c * k * k, x * tx + y * ty, c


@borrowing
def roots(a: float, b: float, c: float) -> tuple[float, float]:
    """Both q where the radius is reached; FAR if there is none."""
    under = b * b - a * c
    if under < 0.0:
        return FAR, FAR
    t = -(b + sqrt(under)) if b > 0 else -(b - sqrt(under))
    return (t / a if a != 0.0 else FAR), (c / t if t != 0.0 else FAR)


@borrowing
def box_intervals(
    start: FloatArray, k: float, box: FloatArray, slack: float, breaks: FloatArray, found: FloatArray
) -> int:
    """Path intervals inside a box (r low, r high, z low, z high), written to found (4, 2); returns how many."""
    s_low, s_high = 0.0, pi / abs(k) if abs(k) >= STRAIGHT else FAR
    z_low, z_high = box[2] - slack - start[2], box[3] + slack - start[2]
    tz = start[5]
    if abs(tz) < 1e-12:
        if z_low > 0.0 or z_high < 0.0:
            return 0
    elif tz > 0.0:
        s_low, s_high = max(s_low, z_low / tz), min(s_high, z_high / tz)
    else:
        s_low, s_high = max(s_low, z_high / tz), min(s_high, z_low / tz)
    if s_low >= s_high:
        return 0
    a_in, b_in, c_in = 0.0, 0.0, 1.0  # nothing is nearer to the beam than a box that holds it
    if box[0] > slack:
        a_in, b_in, c_in = radius_quadratic(start, k, box[0] - slack)
    a_out, b_out, c_out = radius_quadratic(start, k, box[1] + slack)
    q_low, q_high = q_of_path(k, s_low), q_of_path(k, s_high)
    breaks[0] = q_low
    n = 1
    for a, b, c in ((a_in, b_in, c_in), (a_out, b_out, c_out)):
        for root in roots(a, b, c):
            if q_low < root < q_high:
                j = n
                while breaks[j - 1] > root:
                    breaks[j] = breaks[j - 1]
                    j -= 1
                breaks[j] = root
                n += 1
    breaks[n] = q_high
    count = 0
    open_before = False
    for i in range(n):
        low, high = breaks[i], breaks[i + 1]
        q = 0.5 * (low + high)
        inside = (a_in * q + 2.0 * b_in) * q + c_in >= 0.0 and (a_out * q + 2.0 * b_out) * q + c_out <= 0.0
        if inside and open_before:
            found[count - 1, 1] = min(path_of_q(k, high), s_high)
        elif inside:
            found[count, 0], found[count, 1] = max(path_of_q(k, low), s_low), min(path_of_q(k, high), s_high)
            count += 1
        open_before = inside
    return count


@borrowing
def plane_root(start: FloatArray, k: float, plane: FloatArray, low: float, high: float, guess: float) -> float:
    """The path at which the helix meets a plane (normal, distance) between low and high, or FAR.

    There is at most one: the distance is monotonic there.  Newton's steps, halving where they leave the bracket.
    """
    x, y, z, _, _ = helix_at(start, k, low)
    at_low = plane[0] * x + plane[1] * y + plane[2] * z - plane[3]
    x, y, z, _, _ = helix_at(start, k, high)
    at_high = plane[0] * x + plane[1] * y + plane[2] * z - plane[3]
    if at_low * at_high > 0.0:
        return FAR
    rising = at_high > at_low
    s = min(max(guess, low), high)
    for _ in range(80):
        x, y, z, tx, ty = helix_at(start, k, s)
        distance = plane[0] * x + plane[1] * y + plane[2] * z - plane[3]
        slope = plane[0] * tx + plane[1] * ty + plane[2] * start[5]
        if (distance > 0.0) == rising:
            high = s
        else:
            low = s
        step = -distance / slope if slope != 0.0 else FAR
        if not low <= s + step <= high:
            step = 0.5 * (low + high) - s
        s += step
        if abs(step) < CONVERGED:
            break
    return s


@borrowing
def plane_root_near(start: FloatArray, k: float, plane: FloatArray, low: float, high: float, guess: float) -> float:
    """As `plane_root` where the slope of the distance changes little between low and high: Newton's steps alone."""
    s = min(max(guess, low), high)
    for _ in range(20):
        x, y, z, tx, ty = helix_at(start, k, s)
        distance = plane[0] * x + plane[1] * y + plane[2] * z - plane[3]
        step = -distance / (plane[0] * tx + plane[1] * ty + plane[2] * start[5])
        s += step
        if abs(step) < CONVERGED:
            return s if low <= s <= high else FAR
        if s < low - (high - low) or s > high + (high - low):
            break
    return plane_root(start, k, plane, low, high, guess)


@borrowing
def turning_points(start: FloatArray, k: float, plane: FloatArray, low: float, high: float, cuts: FloatArray) -> int:
    """Splits [low, high] where the distance to the plane turns; cuts (8,) gets the edges, returns the pieces."""
    cuts[0] = low
    n = 1
    size = sqrt((plane[0] * plane[0] + plane[1] * plane[1]) * (start[3] * start[3] + start[4] * start[4]))
    level = -plane[2] * start[5]
    if abs(k) >= STRAIGHT and size > abs(level):
        # slope = size cos(psi - psi_w) - level with psi = psi_0 - k s
        opening = atan2(sqrt(size * size - level * level), level)
        ahead = atan2(start[4], start[3]) - atan2(plane[1], plane[0])
        for sign in (-1.0, 1.0):
            s = (ahead - sign * opening) / k
            period = 2.0 * pi / abs(k)
            s += period * floor((low - s) / period + 1.0)
            if low < s < high:
                cuts[n] = s
                n += 1
        if n == 3 and cuts[2] < cuts[1]:
            cuts[1], cuts[2] = cuts[2], cuts[1]
    cuts[n] = high
    return n
