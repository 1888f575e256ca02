"""The minimum of one spectrum's likelihood by zfit: the same model written again in TensorFlow, exact derivatives.

Nothing of the numpy model is used but its quadrature nodes and starting values, so that the two engines check each
other.  zfit and TensorFlow are imported when the engine is called: they take half a minute.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.polynomial import chebyshev as polynomial

from mucal.arrays import FloatArray
from mucal.massfit.minuit_engine import EDM_ACCEPTED, EDM_GOAL, Minimum, at_edge
from mucal.massfit.spectrum_model import Model
from mucal.massfit.status import Status

Tensor = Any

STEPS: Final = 3
"""Newton steps with the exact Hessian after the minimiser stops: it stops at a tolerance, they at rounding."""


def minimise(model: Model, counts: FloatArray) -> Minimum:
    """zfit's Minuit with the model's exact gradient, then Newton steps with its exact Hessian.

    model  : from `spectrum_model.build`
    counts : (J,) events

    Raises ImportError that says what to install.
    """
    try:
        import tensorflow as tf
        import zfit
    except ImportError as error:
        raise ImportError('the engine "zfit" is not installed; run  pip install "mucal[zfit]"') from error
    objective = _objective(tf, model, counts)
    free = [p for p in model.parameters if p.name not in model.config.fixed]
    parameters = [
        zfit.Parameter(
            p.name,
            model.config.start.get(p.name, p.start),
            lower=p.low if np.isfinite(p.low) else None,
            upper=p.high if np.isfinite(p.high) else None,
            step_size=p.step,
        )
        for p in free
    ]
    names = [p.name for p in free]

    def loss_function(values: Any) -> Tensor:
        return objective(dict(zip(names, values, strict=True)))

    loss = zfit.loss.SimpleLoss(loss_function, parameters, errordef=1.0)
    found = zfit.minimize.Minuit(tol=EDM_GOAL, mode=1).minimize(loss)
    start = np.array([float(found.params[p]["value"]) for p in parameters])
    values, cov, edm = _polish(tf, lambda x: loss_function(tf.unstack(x)), start)
    return _minimum(model, names, values, cov, edm, int(found.info.get("n_eval", 0)))


def _polish(tf: Any, function: Callable[[Tensor], Tensor], start: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Newton steps; parameters, covariance 2 H^-1 and distance to the minimum g H^-1 g / 2 after the last."""
    values = start
    for step in range(STEPS + 1):
        point = tf.constant(values, dtype=tf.float64)
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(point)
            with tf.GradientTape() as inner:
                inner.watch(point)
                value = function(point)
            gradient = inner.gradient(value, point)
        hessian = outer.jacobian(gradient, point, experimental_use_pfor=False).numpy()
        move = np.linalg.solve(hessian, gradient.numpy())
        if step < STEPS:
            values = values - move
    return values, 2.0 * np.linalg.inv(hessian), float(0.5 * gradient.numpy() @ move)


def _minimum(model: Model, names: list[str], values: FloatArray, cov: FloatArray, edm: float, n_calls: int) -> Minimum:
    full, full_cov = np.empty(len(model.parameters)), np.zeros((len(model.parameters),) * 2)
    index = [model.names.index(name) for name in names]
    full[index] = values
    for name, value in model.config.fixed.items():
        full[model.names.index(name)] = value
    full_cov[np.ix_(index, index)] = cov
    unknown = np.full(full.size, np.nan)
    return Minimum(
        values=full,
        cov=full_cov,
        lower=unknown,
        upper=unknown,
        edm=edm,
        n_calls=n_calls,
        status=_status(model, names, values, cov, edm),
    )


def _status(model: Model, names: list[str], values: FloatArray, cov: FloatArray, edm: float) -> Status:
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(cov))):
        return Status.NON_FINITE
    for name, value in zip(names, values, strict=True):
        p = model.parameters[model.names.index(name)]
        if at_edge(p.low, p.high, float(value)):
            return Status.AT_BOUNDARY
    if not abs(edm) < EDM_ACCEPTED:
        return Status.NOT_CONVERGED
    if not np.all(np.linalg.eigvalsh(cov) > 0):
        return Status.HESSIAN_NOT_PD
    return Status.OK


# ------------------------------------------------------------------------------------------- the model in TensorFlow


def _objective(tf: Any, model: Model, counts: FloatArray) -> Callable[[Mapping[str, Tensor]], Tensor]:
    """-2 ln L against the saturated model as a function of named tensors."""
    n = tf.constant(counts)
    saturated = float(2.0 * np.sum(counts[counts > 0] * np.log(counts[counts > 0]) - counts[counts > 0]))
    fixed = {name: tf.constant(value, dtype=tf.float64) for name, value in model.config.fixed.items()}

    def objective(free: Mapping[str, Tensor]) -> Tensor:
        """At the free parameters, the fixed ones as they are."""
        at = {**fixed, **free}
        mu = sum(
            at[f"n_{state}"] * _smeared(tf, model, line.mass, line.weight, at)
            for state, line in zip(model.config.family.states, model.lines, strict=True)
        )
        if model.config.background != "none":
            mu = mu + at["n_background"] * _background(tf, model, at)
        total = 2.0 * tf.reduce_sum(mu - n * tf.math.log(mu)) + saturated
        for name, (mean, sigma) in model.config.constraints.items():
            total = total + ((at[name] - mean) / sigma) ** 2
        return total

    return objective


def _smeared(tf: Any, model: Model, mass: FloatArray, weight: FloatArray, at: Mapping[str, Tensor]) -> Tensor:
    centre = at["scale"] * tf.constant(mass)[:, None]
    below = _kernel(tf, model.config.signal, (tf.constant(model.edges)[None, :] - centre) / (at["sigma"] * centre), at)
    return _normalised_steps(tf, tf.linalg.matvec(below, tf.constant(weight), transpose_a=True))


def _kernel(tf: Any, signal: str, u: Tensor, at: Mapping[str, Tensor]) -> Tensor:
    if signal == "gaussian":
        return _normal(tf, u)
    if signal == "double_gaussian":
        return (1.0 - at["fraction"]) * _normal(tf, u) + at["fraction"] * _normal(tf, u / at["ratio"])
    a_l, n_l, a_r, n_r = at["alpha_l"], at["n_l"], at["alpha_r"], at["n_r"]
    left_all, right_all = _tail(tf, -a_l, a_l, n_l), _tail(tf, -a_r, a_r, n_r)
    root = np.sqrt(2.0 * np.pi)
    core_all = root * (_normal(tf, a_r) - _normal(tf, -a_l))
    core = root * (_normal(tf, tf.clip_by_value(u, -a_l, a_r)) - _normal(tf, -a_l))
    left = _tail(tf, tf.minimum(u, -a_l), a_l, n_l)
    right = right_all - _tail(tf, tf.minimum(-u, -a_r), a_r, n_r)
    return (left + core + right) / (left_all + core_all + right_all)


def _normal(tf: Any, u: Tensor) -> Tensor:
    return 0.5 * tf.math.erfc(-u / np.sqrt(2.0))


def _tail(tf: Any, u: Tensor, alpha: Tensor, n: Tensor) -> Tensor:
    bracket = 1.0 - alpha / n * (alpha + u)
    return n / (alpha * (n - 1.0)) * tf.exp(-0.5 * alpha**2 + (1.0 - n) * tf.math.log(bracket))


def _background(tf: Any, model: Model, at: Mapping[str, Tensor]) -> Tensor:
    config, edges = model.config, model.edges
    if config.background == "exponential":
        return _exponential(tf, edges, at["slope"])
    if config.background == "chebyshev":
        unit = -1.0 + 2.0 * (edges - edges[0]) / (edges[-1] - edges[0])
        basis = [polynomial.chebval(unit, polynomial.chebint(row)) for row in np.eye(config.degree + 1)]
        return _normalised_steps(tf, basis[0] + sum(at[f"c{k}"] * basis[k] for k in range(1, config.degree + 1)))
    points, weights = np.polynomial.legendre.leggauss(8)
    half = 0.5 * np.diff(edges)[:, None]
    mass = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * points
    if config.background == "bernstein":
        unit = (mass - edges[0]) / (edges[-1] - edges[0])
        density = _bernstein(config.degree, unit, at)
    else:
        density = tf.math.erfc((at["alpha"] - mass) * at["beta"]) * tf.exp(-at["gamma"] * (mass - edges[0]))
    integrals = tf.reduce_sum(density * (half * weights), axis=1)
    return integrals / tf.reduce_sum(integrals)


def _bernstein(degree: int, unit: FloatArray, at: Mapping[str, Tensor]) -> Tensor:
    density, binomial = (1.0 - unit) ** degree, 1.0
    for k in range(1, degree + 1):
        binomial *= (degree - k + 1) / k
        density = density + at[f"b{k}"] * (binomial * unit**k * (1.0 - unit) ** (degree - k))
    return density


def _exponential(tf: Any, edges: FloatArray, slope: Tensor) -> Tensor:
    """Each bin by an eight-point Gauss rule, which needs no limit at slope zero."""
    points, weights = np.polynomial.legendre.leggauss(8)
    half = 0.5 * np.diff(edges)[:, None]
    distance = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * points - 0.5 * (edges[0] + edges[-1])
    integrals = tf.reduce_sum(tf.exp(-slope * distance) * (half * weights), axis=1)
    return integrals / tf.reduce_sum(integrals)


def _normalised_steps(tf: Any, running: Tensor) -> Tensor:
    steps = running[1:] - running[:-1]
    return steps / tf.reduce_sum(steps)
