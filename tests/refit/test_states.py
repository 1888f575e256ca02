"""The state form with global parameters, against the profiled derivatives of the marginal form."""

from dataclasses import replace

import numpy as np
from numpy.testing import assert_allclose

from mucal.detector import alignment_derivatives, predict
from mucal.propagation import StepConfig, free_states, propagate
from mucal.refit import ParameterMap, RefitConfig, fit_tracks
from mucal.refit.kernels.states import eliminate


def test_gradient_hessian_and_shifts_are_those_of_the_marginal_form(tracker, magnet, sample):
    # alignment u of every module, B_z on the leg to every element, the field modes: all at the start of a fit that is
    # not iterated (its tolerance is met at once), so that both forms stand at one reference
    m, e, f = tracker.n_modules, tracker.n_elements, magnet.modes.index.shape[0]
    alignment, bfield, none = np.full((m, 6), -1), np.full((e, 3), -1), np.full(e, -1)
    alignment[:, 0], bfield[:, 2] = np.arange(m), m + np.arange(e)
    parameters = ParameterMap(
        n_parameters=m + e + f, digest="some", alignment=alignment, bfield=bfield, eloss=none,
        modes=m + e + np.arange(f), hit_variance=np.full((m, 2), -1), scattering=none, straggling=none,
    )  # fmt: skip
    rows = slice(0, 6)
    hits, routes = sample.hits.select(rows), sample.routes[rows]
    hits = replace(hits, seed=hits.truth.state)
    fits, blocks = fit_tracks(tracker, magnet, hits, routes, RefitConfig(tolerance=1e9), parameters=parameters)
    assert np.all(fits.n_iterations == 1)
    legs = propagate(magnet, sample.surfaces, free_states(hits.seed, hits.seed_ref), routes, config=StepConfig())
    for i in range(6):
        label = blocks.label[blocks.label_offsets[i] : blocks.label_offsets[i + 1]]
        route = routes[i][routes[i] >= 0]
        width, reached = 1 + label.size, route.size
        legs_z = np.zeros((reached, 5, width))
        for leg, element in enumerate(route):
            legs_z[leg][:, 1 + np.searchsorted(label, m + element)] += legs.by_parameters[i, leg, :, 2]
            legs_z[leg][:, 1 + np.searchsorted(label, m + e + np.arange(f))] += legs.by_parameters[i, leg, :, 5:]
        place = np.flatnonzero(route < m)
        module, local = route[place], legs.local[i, place]
        value, slope = predict(tracker.modules, module, local[:, 3], local[:, 4])
        direct = alignment_derivatives(tracker.modules, module, local[:, 3], local[:, 4], local[:, 1], local[:, 2])
        own = slice(hits.offsets[i], hits.offsets[i + 1])
        residual = np.column_stack([hits.u[own], hits.v[own]]) - value
        use = np.isfinite(residual)
        which, part = np.nonzero(use)
        rows_z = np.zeros((which.size, width))
        rows_z[:, 0] = residual[use]
        rows_z[np.arange(which.size), 1 + np.searchsorted(label, module[which])] = -direct[which, part, 0]
        sigma = np.column_stack([hits.sigma_u[own], hits.sigma_v[own]])[use]
        information, cross, constant = np.empty((5, 5)), np.empty((5, width)), np.empty((width, width))
        assert eliminate(
            legs.transport[i], legs.noise[i], legs_z, reached, which.size, place[which], slope[which, part], sigma,
            rows_z, width, information, cross, constant, np.empty((4, 5, 5 + width)),
        )  # fmt: skip
        shifts = np.linalg.solve(information, cross)
        profiled = constant - cross.T @ shifts
        factor = blocks.dense_factor(i)
        size = np.linalg.norm(factor, axis=0)
        gradient = blocks.gradient[blocks.label_offsets[i] : blocks.label_offsets[i + 1]]
        assert_allclose(profiled[0, 0], fits.chi2[i], rtol=1e-9)
        assert np.all(np.abs(2 * profiled[0, 1:] - gradient) <= 1e-8 * np.sqrt(2 * fits.chi2[i]) * size + 1e-12)
        # the factor is kept in single precision; a parameter that says nothing is the rounding of what is taken away
        taken = np.sqrt(np.diag(constant)[1:])
        assert np.all(
            np.abs(2 * profiled[1:, 1:] - factor.T @ factor)
            <= 1e-5 * np.outer(size, size) + 1e-13 * np.outer(taken, taken)
        )
        error = np.sqrt(np.diag(fits.cov[i]))
        kept = fits.j_ref[fits.j_offsets[i] : fits.j_offsets[i + 1]]
        assert np.abs((shifts[:, 1:].T - kept) / error).max() <= 1e-3 * np.abs(kept / error).max()
