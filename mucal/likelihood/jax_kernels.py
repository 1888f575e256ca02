"""The passes of `kernels` and `simulation_kernels` for JAX: whole arrays in place of loops, in float64.

Bins and processes stand on a grid, on which a process that is absent counts nothing.  Rows of effects that act on the
same parameters are one matrix, whatever their blocks; small ones lie number by number, so that a model of a thousand
blocks is not a thousand matrices to be compiled.
"""

from typing import Any, Final, NamedTuple

import jax
import jax.numpy as jnp

from mucal.likelihood.simulation_kernels import STEPS

GOAL: Final = 1e-10
"""Newton's steps for the pull end below this, as those of `simulation_kernels.pull_gamma`."""

Array = Any
"""Of numpy until it is sent to the device, of JAX there."""


class Rows(NamedTuple):
    """R rows of effects on the same C parameters.

    start         : ()      their first place in packed arrays
    columns       : (C,)    parameters
    kappa         : (R, C)
    eta           : (R, C)  or None if all are symmetric
    additive      : (R,)    1 for rows that add events, 0 for log-ratios
    bins, process : (R,)    whose they are
    """

    start: Array
    columns: Array
    kappa: Array
    eta: Array
    additive: Array
    bins: Array
    process: Array


class Loose(NamedTuple):
    """E numbers of R rows of effects, on any parameters.

    row, place    : (E,)  the row of a number; its place in packed arrays
    columns       : (E,)  its parameter
    kappa         : (E,)
    eta           : (E,)  or None if all are symmetric
    additive, bins, process : (R,)  as in `Rows`
    """

    row: Array
    place: Array
    columns: Array
    kappa: Array
    eta: Array
    additive: Array
    bins: Array
    process: Array


class Grid(NamedTuple):
    """The model: its effects, and nominal (B, P) with `there` (B, P), where a process is."""

    rows: tuple[Rows, ...]
    loose: tuple[Loose, ...]
    nominal: Array
    there: Array


class Factors(NamedTuple):
    """What was observed, and the finite simulation.

    n     : (B,)    counts
    has   : (B, P)  a beta multiplies the process
    k, b0 : (B, G)  effective events and centre, 1 where there is no beta; G is 1 for one beta a bin, or P
    """

    n: Array
    has: Array
    k: Array
    b0: Array


class Profiled(NamedTuple):
    """What `simulation_kernels.Profile` says, with betas on the grid: (B,), and (B, G) for beta, give and nu."""

    value: jax.Array
    pull: jax.Array
    stiffness: jax.Array
    events: jax.Array
    beta: jax.Array
    give: jax.Array
    nu: jax.Array


def sums(grid: Grid, x: jax.Array, bent: jax.Array) -> jax.Array:
    """(2, B, P) sum over parameters of kappa x + eta bent: of log-ratios, and of events added.

    x, bent : (packed,)  a point and x alpha(x) for exponents; a direction and slope x direction for their derivatives
    """
    out = jnp.zeros((2, *grid.nominal.shape))
    for rows in grid.rows:
        here = rows.kappa @ _cut(x, rows)
        if rows.eta is not None:
            here += rows.eta @ _cut(bent, rows)
        out = out.at[rows.additive, rows.bins, rows.process].add(here)
    for loose in grid.loose:
        term = loose.kappa * x[loose.place]
        if loose.eta is not None:
            term += loose.eta * bent[loose.place]
        here = jnp.zeros(loose.bins.size).at[loose.row].add(term)
        out = out.at[loose.additive, loose.bins, loose.process].add(here)
    return out


def shapes(grid: Grid, x: jax.Array, bent: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, P) exponentials and expected events without the factors of rates; 0 where a process is absent."""
    log, added = sums(grid, x, bent)
    scale = jnp.where(grid.there, jnp.exp(log), 0.0)
    return scale, scale * (grid.nominal + added)


def value_and_gradient(
    grid: Grid, x: jax.Array, bent: jax.Array, slope: jax.Array, factor: jax.Array, factors: Factors, gamma: bool
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """-ln L, its derivatives by packed parameters and by the factors of the processes (P,); 0 where it is infinite."""
    scale, shape = shapes(grid, x, bent)
    found = profile(factor * shape, factors, gamma)
    inside = jnp.all(found.value < jnp.inf)
    steep = found.pull[:, None] * jnp.where(factors.has, found.beta, 1.0)
    by_factor = (steep * shape).sum(axis=0)
    by_packed = _gather(grid, slope, jnp.stack([steep * factor * shape, steep * factor * scale]))
    value = jnp.where(inside, found.value.sum(), jnp.inf)
    return value, jnp.where(inside, by_packed, 0.0), jnp.where(inside, by_factor, 0.0)


def _gather(grid: Grid, slope: jax.Array, weights: jax.Array) -> jax.Array:
    """(packed,) derivatives of the exponents and of the events added, times weights (2, B, P), over all bins."""
    out = jnp.zeros(slope.size)
    for rows in grid.rows:
        weight = weights[rows.additive, rows.bins, rows.process]
        here = weight @ rows.kappa
        if rows.eta is not None:
            here += (weight @ rows.eta) * _cut(slope, rows)
        out = out.at[rows.start + jnp.arange(here.size)].add(here)
    for loose in grid.loose:
        out = out.at[loose.place].add(_weighted(loose, slope, weights))
    return out


def jacobian(grid: Grid, slope: jax.Array, by_log: jax.Array, by_event: jax.Array, n_parameters: int) -> jax.Array:
    """(B, S) derivatives of the exponents times by_log (B, P) and of events added times by_event."""
    weights, n_bins = jnp.stack([by_log, by_event]), grid.nominal.shape[0]
    out = jnp.zeros((n_bins, n_parameters))
    for rows in grid.rows:
        row = rows.kappa if rows.eta is None else rows.kappa + rows.eta * _cut(slope, rows)
        row = weights[rows.additive, rows.bins, rows.process][:, None] * row
        of_bins = jnp.zeros((n_bins, rows.columns.size)).at[rows.bins].add(row)
        out = out.at[:, rows.columns].add(of_bins)
    for loose in grid.loose:
        out = out.at[loose.bins[loose.row], loose.columns].add(_weighted(loose, slope, weights))
    return out


def profile(events: jax.Array, factors: Factors, gamma: bool) -> Profiled:
    """`simulation_kernels.profiled` for every bin, given the expected events of every process (B, P)."""
    n, has, k, b0 = factors
    of_betas = jnp.where(has, events, 0.0)
    nu = of_betas.sum(axis=1, keepdims=True) if k.shape[1] == 1 else of_betas
    rest = jnp.where(has, 0.0, events).sum(axis=1)
    total = rest + nu.sum(axis=1)
    good = (total > 0) & (total < jnp.inf)
    if gamma:
        good &= jnp.all(nu >= 0, axis=1)
    mean, rest = jnp.where(good[:, None], nu, 0.0), jnp.where(good, rest, 1.0)
    pull = (pull_gamma if gamma else pull_normal)(mean, rest, factors)
    if gamma:
        beta = k * b0 / (k + mean * pull[:, None])
        give, penalty = beta**2 / (k * b0), k * b0 * excess(beta / b0)
    else:
        beta = b0 - mean * pull[:, None] / k
        give, penalty = 1.0 / k, 0.5 * k * (beta - b0) ** 2
    found = jnp.maximum(rest + (beta * mean).sum(axis=1), 0.0)
    soft = (mean**2 * give).sum(axis=1)
    value = penalty.sum(axis=1) + jnp.where(n == 0, found, n * excess(found / jnp.where(n == 0, 1.0, n)))
    return Profiled(
        value=jnp.where(good & ~jnp.isnan(value), value, jnp.inf),
        pull=jnp.where(good, pull, 0.0),
        stiffness=jnp.where(good, (1 - pull) / (found + (1 - pull) * soft), 0.0),
        events=jnp.where(good, found, 0.0),
        beta=jnp.where(good[:, None], beta, 1.0),
        give=jnp.where(good[:, None], give, 0.0),
        nu=nu,
    )


def excess(ratio: jax.Array) -> jax.Array:
    """t - 1 - ln t, without cancellation near 1."""
    d = ratio - 1.0
    near = d * d * (0.5 + d * (-1.0 / 3 + d * (0.25 + d * (-0.2 + d * (1.0 / 6 - d / 7 + d * d / 8)))))
    return jnp.where(jnp.abs(d) < 1e-2, near, d - jnp.log(ratio))


def pull_normal(nu: jax.Array, rest: jax.Array, factors: Factors) -> jax.Array:
    """(B,) the smaller root of (a - t wide)(1 - t) = n, a being the events at t = 0."""
    n, wide = factors.n, (nu**2 / factors.k).sum(axis=1)
    a = rest + (nu * factors.b0).sum(axis=1)
    pull: jax.Array = 2 * (a - n) / (a + wide + jnp.sqrt((a - wide) ** 2 + 4 * n * wide))
    return pull


def pull_gamma(nu: jax.Array, rest: jax.Array, factors: Factors) -> jax.Array:
    """(B,) the root of (1 - t)(rest + sum nu k b0 / (k + nu t)) = n by Newton's method, until the last bin ends."""
    n, _, k, b0 = factors
    total = rest + nu.sum(axis=1)
    low = jnp.where(nu > 0, -k / jnp.where(nu > 0, nu, 1.0), -jnp.inf).max(axis=1)
    goal = GOAL * jnp.minimum(1.0, -low)

    def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        t, moving, i = state
        beta = k * b0 / (k + nu * t[:, None])
        events = rest + (nu * beta).sum(axis=1)
        fall = (nu**2 * beta / (k + nu * t[:, None])).sum(axis=1)
        new = t + ((1 - t) * events - n) / (events + (1 - t) * fall)
        new = jnp.where(new <= low, 0.5 * (t + low), new)
        new = jnp.where(new > 1.0, 0.5 * (t + 1.0), new)
        return jnp.where(moving, new, t), moving & ~(jnp.abs(new - t) <= goal), i + 1

    t = (total - n) / (total * (n * (nu**2 / k).sum(axis=1) / total**2 + 1.0))
    t = jnp.where(n == 0, 1.0, jnp.where(t <= low, 0.5 * low, t))
    found: jax.Array = jax.lax.while_loop(
        lambda state: jnp.any(state[1]) & (state[2] < STEPS), step, (t, n > 0, jnp.asarray(0))
    )[0]
    return found


def _cut(packed: jax.Array, rows: Rows) -> jax.Array:
    """(C,) the places of the rows' parameters."""
    return jax.lax.dynamic_slice(packed, (rows.start,), (rows.columns.size,))


def _weighted(loose: Loose, slope: jax.Array, weights: jax.Array) -> jax.Array:
    """(E,) every number's derivative times its row's weight."""
    number = loose.kappa if loose.eta is None else loose.kappa + loose.eta * slope[loose.place]
    weighted: jax.Array = weights[loose.additive, loose.bins, loose.process][loose.row] * number
    return weighted
