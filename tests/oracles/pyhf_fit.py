"""Run by the interpreter that has pyhf: fits each workspace of a JSON file, and profiles it at given points.

stdin: {name: {"workspace": ..., "points": [{parameter: value}, ...]}}; stdout: {name: {"values", "errors", "rise"}}
"""

import json
import sys

import numpy as np
import pyhf
from scipy.optimize import minimize

pyhf.set_backend("numpy", precision="64b")


def hessian(function, x, steps):
    n = x.size
    out, rows = np.zeros((n, n)), np.diag(steps)
    for i in range(n):
        for j in range(i + 1):
            signs = ((1, 1), (1, -1), (-1, 1), (-1, -1))
            terms = [a * b * function(x + a * rows[i] + b * rows[j]) for a, b in signs]
            out[i, j] = out[j, i] = sum(terms) / (4 * steps[i] * steps[j])
    return out


def gradient(function, x, steps):
    rows = np.diag(steps)
    return np.array([(function(x + row) - function(x - row)) / (2 * row.sum()) for row in rows])


def newton(function, x):
    """A minimum, polished by Newton steps with difference quotients."""
    x = minimize(function, x, method="BFGS").x
    steps = np.full(x.size, 1e-3)
    for _ in range(6):
        h = hessian(function, x, steps)
        x = x - np.linalg.solve(h, gradient(function, x, steps / 10))
    return x, np.linalg.inv(hessian(function, x, steps))


def study(task):
    workspace = pyhf.Workspace(task["workspace"])
    model = workspace.model()
    data = np.array(workspace.data(model))
    start = np.array(model.config.suggested_init())
    names = model.config.par_names
    fixed = np.array(model.config.suggested_fixed())

    def minimum(held):
        free = ~fixed & np.array([name not in held for name in names])
        whole = np.array([held.get(name, value) for name, value in zip(names, start, strict=True)])

        def nll(x):
            at = whole.copy()
            at[free] = x
            value = -float(np.asarray(model.logpdf(at, data)).ravel()[0])
            return value if np.isfinite(value) else 1e9

        if not free.any():
            return nll(np.zeros(0)), whole, np.zeros(0), free
        x, cov = newton(nll, whole[free])
        whole[free] = x
        return nll(x), whole, np.sqrt(np.diag(cov)), free

    best, values, errors, free = minimum({})
    shown = [name for name, is_free in zip(names, free, strict=True) if is_free]
    return {
        "values": dict(zip(names, values.tolist(), strict=True)),
        "errors": dict(zip(shown, errors.tolist(), strict=True)),
        "rise": [2 * (minimum(point)[0] - best) for point in task["points"]],
    }


json.dump({name: study(task) for name, task in json.load(sys.stdin).items()}, sys.stdout)
