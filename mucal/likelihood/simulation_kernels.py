"""-ln L of one bin, minimal over the factors of the finite simulation."""

from typing import Final, NamedTuple

import numpy as np

from mucal.arrays import FloatArray, IntArray

GAMMA: Final = 1
NORMAL: Final = 2
STEPS: Final = 100
"""Newton steps for the pull of a bin with several betas; about five are taken."""


class Profile(NamedTuple):
    """What `profiled` finds in every bin: value, pull, stiffness, events (B,); beta, give, nu (betas,)."""

    value: FloatArray
    pull: FloatArray
    stiffness: FloatArray
    events: FloatArray
    beta: FloatArray
    give: FloatArray
    nu: FloatArray


def excess(ratio: float) -> float:
    """t - 1 - ln t, without cancellation near 1."""
    d = ratio - 1.0
    if abs(d) < 1e-2:
        return d * d * (0.5 + d * (-1.0 / 3 + d * (0.25 + d * (-0.2 + d * (1.0 / 6 - d / 7 + d * d / 8)))))
    far: float = d - np.log(ratio)
    return far


def profiled(
    nu: FloatArray,
    rest: float,
    n: float,
    k: FloatArray,
    b0: FloatArray,
    kind: int,
    beta: FloatArray,
    give: FloatArray,
) -> tuple[float, float, float, float]:
    """-ln L of a bin, its pull t = 1 - n / events, the stiffness dt = stiffness x (sum u dnu + drest), and its events.

    nu         : (G,)  expected events that each beta multiplies
    rest       :       those without one
    k, b0      : (G,)  effective events and centre of each beta
    beta, give : (G,)  filled: beta at the minimum and -(dbeta/dt) / nu; u = beta - nu t give

    The value is infinite outside the domain.  Derived in docs/physics/likelihood.md.
    """
    total, wide = rest, 0.0
    for g in range(nu.size):
        total += nu[g]
        wide += nu[g] * nu[g] / k[g]
        if nu[g] < 0 and kind == GAMMA:
            return np.inf, 0.0, 0.0, 0.0
    if not (total > 0 and total < np.inf):
        return np.inf, 0.0, 0.0, 0.0
    if kind == NORMAL:
        pull = pull_normal(nu, rest, n, wide, b0)
    elif nu.size == 1 and rest == 0:
        pull = k[0] * (nu[0] * b0[0] - n) / (nu[0] * (n + k[0] * b0[0]))
    else:
        pull = pull_gamma(nu, rest, n, wide, k, b0)
    events, soft, penalty = rest, 0.0, 0.0
    for g in range(nu.size):
        if kind == NORMAL:
            beta[g] = b0[g] - nu[g] * pull / k[g]
            give[g] = 1.0 / k[g]
            penalty += 0.5 * k[g] * (beta[g] - b0[g]) ** 2
        else:
            beta[g] = k[g] * b0[g] / (k[g] + nu[g] * pull)
            give[g] = beta[g] * beta[g] / (k[g] * b0[g])
            penalty += k[g] * b0[g] * excess(beta[g] / b0[g])
        events += beta[g] * nu[g]
        soft += nu[g] * nu[g] * give[g]
    events = max(events, 0.0)
    value = penalty + (events if n == 0 else n * excess(events / n))
    return value, pull, (1 - pull) / (events + (1 - pull) * soft), events


def pull_normal(nu: FloatArray, rest: float, n: float, wide: float, b0: FloatArray) -> float:
    """The smaller root of (a - t wide)(1 - t) = n, a being the events at t = 0."""
    a = rest
    for g in range(nu.size):
        a += nu[g] * b0[g]
    pull: float = 2 * (a - n) / (a + wide + np.sqrt((a - wide) ** 2 + 4 * n * wide))
    return pull


def pull_gamma(nu: FloatArray, rest: float, n: float, wide: float, k: FloatArray, b0: FloatArray) -> float:
    """The root of (1 - t)(rest + sum nu k b0 / (k + nu t)) = n, a falling convex function of t, by Newton's method."""
    if n == 0:
        return 1.0
    low, total = -np.inf, rest
    for g in range(nu.size):
        total += nu[g]
        if nu[g] > 0:
            low = max(low, -k[g] / nu[g])
    big = total * total / wide if wide > 0 else np.inf
    t = (total - n) / (total * (n / big + 1.0))
    if t <= low:
        t = 0.5 * low
    for _ in range(STEPS):
        events, fall = rest, 0.0
        for g in range(nu.size):
            beta = k[g] * b0[g] / (k[g] + nu[g] * t)
            events += nu[g] * beta
            fall += nu[g] * nu[g] * beta / (k[g] + nu[g] * t)
        new = t + ((1 - t) * events - n) / (events + (1 - t) * fall)
        if new <= low:
            new = 0.5 * (t + low)
        if new > 1.0:
            new = 0.5 * (t + 1.0)
        moved = abs(new - t)
        t = new
        if moved <= 1e-10 * min(1.0, -low):
            break
    return t


def profile_all(
    events: FloatArray,
    cell_offsets: IntArray,
    process: IntArray,
    n: FloatArray,
    beta_offsets: IntArray,
    beta_of: IntArray,
    k: FloatArray,
    b0: FloatArray,
    kind: int,
) -> Profile:
    """`profiled` for every bin, given the expected events of every process (B, P)."""
    value, pull, stiffness, total = np.empty(n.size), np.empty(n.size), np.empty(n.size), np.empty(n.size)
    beta, give, nu = np.ones(k.size), np.zeros(k.size), np.zeros(k.size)
    for b in range(n.size):
        rest = 0.0
        for cell in range(cell_offsets[b], cell_offsets[b + 1]):
            if beta_of[cell] >= 0:
                nu[beta_of[cell]] += events[b, process[cell]]
            else:
                rest += events[b, process[cell]]
        g, h = beta_offsets[b], beta_offsets[b + 1]
        value[b], pull[b], stiffness[b], total[b] = profiled(
            nu[g:h], rest, n[b], k[g:h], b0[g:h], kind, beta[g:h], give[g:h]
        )
    return Profile(value, pull, stiffness, total, beta, give, nu)
