"""Without loss and straggling, the fit is that of general broken lines."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.propagation import free_states
from mucal.refit import RefitConfig
from mucal.refit.batches import Batch, fit_batch
from mucal.refit.placed import hit_places


@pytest.mark.parametrize("solver", ["marginal", "states"])
def test_fit_without_straggling_is_that_of_broken_lines(sample, linear, broken_lines, solver):
    # every surface scatters, none slows: q/p is frozen, as broken lines have it
    surfaces = replace(sample.surfaces, xi=np.zeros_like(sample.surfaces.xi))
    lossless = replace(sample, surfaces=surfaces)
    n = 12
    hits, routes, truth = sample.hits.select(slice(0, n)), sample.routes[:n], sample.hits.truth.state[:n]
    batch = Batch.of(sample.detector, sample.magnet, surfaces, hits, None, None, None)
    start = free_states(truth, hits.seed_ref)
    config = RefitConfig(tolerance=1e12, solver=solver)
    found = fit_batch(
        batch,
        routes,
        hit_places(routes, hits, np.arange(n)),
        start,
        np.zeros(n, dtype=np.int64),
        config.settings,
        False,
    )
    compared = 0
    for i in range(n):
        legs, surface_of, rows, residual, sigma, _ = linear.by_legs(lossless, start[i], i)
        last = int(surface_of.max()) + 1
        transport, noise = legs.transport[0, :last], legs.noise[0, :last]
        if np.any(surfaces.x_over_x0[routes[i, : last - 1]] == 0.0):
            continue  # a surface that does not scatter is no broken line's
        step, cov, chi2 = broken_lines(transport, noise, surface_of, rows, residual, sigma)
        errors = np.sqrt(np.diag(cov))
        assert_allclose(found.report[i, 0], chi2, rtol=1e-8)
        assert_allclose(found.cov[i] / np.outer(errors, errors), cov / np.outer(errors, errors), atol=1e-8)
        assert abs(found.free[i, 6] - start[i, 6] - step[0]) < 1e-8 * errors[0]
        compared += 1
    assert compared >= 6
