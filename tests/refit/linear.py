"""One track about a reference as matrices, with numpy and the propagated legs alone."""

import numpy as np

from mucal.detector import predict
from mucal.propagation import propagate


def by_legs(sample, start, i, **options):
    """Linear problem of track i about `start` (7,): legs, surface of each row, rows, residual, sigma, (hit, part).

    options : of `propagate`
    """
    hits, modules, route = sample.hits, sample.detector.modules, sample.routes[i]
    legs = propagate(sample.magnet, sample.surfaces, start, route, **options)
    place = np.flatnonzero((route >= 0) & (route < sample.detector.n_modules))
    value, slope = predict(modules, route[place], *legs.local[0, place, 3:].T)
    own = np.arange(hits.offsets[i], hits.offsets[i + 1])
    residual = np.column_stack([hits.u[own], hits.v[own]]) - value
    which, part = np.nonzero(np.isfinite(residual))
    rows = np.zeros((which.size, 5))
    rows[:, 3:] = slope[which, part]
    sigma = np.column_stack([hits.sigma_u[own], hits.sigma_v[own]])[which, part]
    return legs, place[which], rows, residual[which, part], sigma, (own[which], part)


def carried(transport, surface_of, rows):
    """(L, n, 5): d measurement / d local state at the end of each leg."""
    result = np.zeros((int(surface_of.max()) + 1, surface_of.size, 5))
    for k, leg in enumerate(surface_of):
        row = rows[k]
        for back in range(leg, -1, -1):
            result[back, k] = row
            row = row @ transport[back]
    return result


def dense(sample, start, i):
    """Residuals (n,), their derivatives by the start (n, 5), covariance of the noise (n, n), errors of hits (n,)."""
    legs, surface_of, rows, residual, sigma, _ = by_legs(sample, start, i)
    ends = carried(legs.transport[0], surface_of, rows)
    noise = sum(end @ legs.noise[0, leg] @ end.T for leg, end in enumerate(ends))
    return residual, ends[0] @ legs.transport[0, 0], noise, sigma
