"""Gradient and information on variances, against the likelihood itself, and recovered scales."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector.field import harmonic_field
from mucal.errors import InputError
from mucal.globalcor import AccumulateConfig, Chunk, Family, GuardConfig, accumulate, build_registry, solve
from mucal.propagation import free_states, propagate
from mucal.refit import ParameterMap, RefitConfig, fit_tracks
from mucal.refit.variances import scaled_hits, scaled_scattering, variance_blocks

UNCUT = AccumulateConfig(guards=GuardConfig(chi2_per_ndof=100.0))
"""A cut on chi2 would keep the tracks that agree with the wrong errors."""


def floating(detector, magnet, *, whole=False):
    """All variances: seven of each kind, shared out among the elements, or one of each kind for the whole."""
    m, e, f = detector.n_modules, detector.n_elements, magnet.modes.index.shape[0]
    group = np.zeros(e, dtype=np.int64) if whole else np.arange(e) % 7
    n = int(group.max()) + 1
    none = np.full(e, -1)
    return ParameterMap(
        n_parameters=4 * n, digest="variances", alignment=np.full((m, 6), -1), bfield=np.full((e, 3), -1), eloss=none,
        modes=np.full(f, -1), hit_variance=np.column_stack([group[:m], n + group[:m]]), scattering=2 * n + group,
        straggling=3 * n + group,
    )  # fmt: skip


def summed(blocks, n):
    """g and H of all candidates."""
    g, h = np.zeros(n), np.zeros((n, n))
    for i in range(len(blocks)):
        at = slice(blocks.label_offsets[i], blocks.label_offsets[i + 1])
        label, factor = blocks.label[at], blocks.dense_factor(i)
        g[label] += blocks.gradient[at]
        h[np.ix_(label, label)] += factor.T @ factor
    return g, h


def likelihood(sample, fits, i, linear):
    """-2 ln L of track i as a function of (hits u, hits v, scattering, straggling) scales, by dense matrices.

    Scattering and straggling are told apart by propagating without each of them.
    """
    start, route = free_states(fits.state[i], fits.reference[i]), sample.routes[i]
    legs, surface_of, rows, r, sigma, (_, part) = linear.by_legs(sample, start, i)
    smooth = replace(sample.surfaces, x_over_x0=np.zeros_like(sample.surfaces.x_over_x0))
    straggling = propagate(sample.magnet, smooth, start, route).noise[0]
    scattering = legs.noise[0] - straggling
    by_leg = linear.carried(legs.transport[0], surface_of, rows)
    a, last = by_leg[0] @ legs.transport[0, 0], by_leg.shape[0]
    parts = [
        np.diag(sigma**2 * (part == 0)), np.diag(sigma**2 * (part == 1)),
        sum(by_leg[x] @ scattering[x] @ by_leg[x].T for x in range(last)),
        sum(by_leg[x] @ straggling[x] @ by_leg[x].T for x in range(last)),
    ]  # fmt: skip

    def value_at(v):
        total = sum(np.exp(x) * p for x, p in zip(v, parts, strict=True))
        weight = np.linalg.inv(total)
        normal = a.T @ weight @ a
        p = weight - weight @ a @ np.linalg.solve(normal, a.T @ weight)
        return r @ p @ r + np.linalg.slogdet(total)[1] + np.linalg.slogdet(normal)[1], p, parts

    return value_at


def slope_of(f, step=3e-3):
    """Derivative at 0, of fourth order."""
    return (8 * (f(step) - f(-step)) - f(2 * step) + f(-2 * step)) / (12 * step)


@pytest.fixture(scope="module")
def fitted(tracker, magnet, sample):
    return fit_tracks(tracker, magnet, sample.hits, sample.routes)[0]


def test_gradient_and_information_are_those_of_the_likelihood(tracker, magnet, sample, linear):
    hits, few = sample.hits.select(slice(0, 6)), 6
    fits = fit_tracks(tracker, magnet, hits, sample.routes[:few])[0]
    blocks = variance_blocks(tracker, magnet, hits, fits, floating(tracker, magnet, whole=True), sample.routes[:few])
    for i in range(few):
        value = likelihood(sample, fits, i, linear)
        at = slice(blocks.label_offsets[i], blocks.label_offsets[i + 1])
        label = blocks.label[at]
        slopes = [slope_of(lambda x, value=value, e=e: value(x * e)[0]) for e in np.eye(4)[label]]
        size = np.linalg.norm(blocks.dense_factor(i), axis=0)
        assert np.all(np.abs(blocks.gradient[at] - slopes) <= 1e-6 * size + 1e-9)
        _, p, parts = value(np.zeros(4))
        information = [[np.trace(p @ parts[a] @ p @ parts[b]) for b in label] for a in label]
        factor = blocks.dense_factor(i)
        # B is kept in single precision
        assert_allclose(factor.T @ factor, information, rtol=1e-5, atol=1e-6 * size.max() ** 2)


def test_groups_add_up_to_the_whole(tracker, magnet, sample, fitted):
    hits, n = sample.hits.select(slice(0, 100)), 100
    fits = fit_tracks(tracker, magnet, hits, sample.routes[:n])[0]
    g, h = summed(variance_blocks(tracker, magnet, hits, fits, floating(tracker, magnet), sample.routes[:n]), 28)
    g1, h1 = summed(
        variance_blocks(tracker, magnet, hits, fits, floating(tracker, magnet, whole=True), sample.routes[:n]), 4
    )
    assert_allclose(g.reshape(4, 7).sum(axis=1), g1, rtol=1e-9)
    assert_allclose(h.reshape(4, 7, 4, 7).sum(axis=(1, 3)), h1, rtol=1e-5, atol=1e-6 * h1.max())


def test_expected_gradient_is_zero_and_its_scatter_the_information(tracker, magnet, sample, fitted):
    # hits were drawn from the model: E g = 0, and var g = 2 Tr(P S P S') = 2 H
    parameters = floating(tracker, magnet, whole=True)
    g, h = summed(variance_blocks(tracker, magnet, sample.hits, fitted, parameters, sample.routes), 4)
    assert np.all(np.abs(g) < 4 * np.sqrt(2 * np.diag(h)))


def test_scales_of_hits_and_scattering_are_recovered(tracker, sample):
    # the errors assumed are wrong by known factors; hits are those of the true model; through registry, sums and solve
    wanted = {"hit_variance": (0.5, -0.4), "scattering": (0.3,)}
    field = harmonic_field()
    registry = build_registry(tracker, [Family(kind=kind, by="whole") for kind in wanted], None)
    kinds = [name.split("/")[0] for name in registry.names]
    values = np.array([wanted[kind][c] for kind, c in zip(kinds, registry.component, strict=True)])
    wrong_hits = scaled_hits(sample.hits, registry.map, -values)
    wrong = scaled_scattering(sample.surfaces, registry.map, -values)
    theta = np.zeros(len(registry))
    for _ in range(4):
        hits, surfaces = scaled_hits(wrong_hits, registry.map, theta), scaled_scattering(wrong, registry.map, theta)
        fits = fit_tracks(tracker, field, hits, sample.routes, RefitConfig(tolerance=1e-3), surfaces=surfaces)[0]
        blocks = variance_blocks(tracker, field, hits, fits, registry.map, sample.routes, surfaces=surfaces)
        sums = accumulate(lambda _, b=blocks: b, (Chunk(number=0, start=0, stop=len(hits)),), registry, UNCUT)
        before, corrections = theta, solve(sums, registry, applied=theta)
        theta, error = corrections.theta, corrections.error
    assert np.abs((theta - before) / error).max() < 0.05
    assert np.all(error < 0.05)
    assert np.all(np.abs(theta - values) < 4 * error)


def test_a_map_without_variances_is_refused(tracker, magnet, sample, fitted):
    parameters = floating(tracker, magnet)
    none = replace(
        parameters, hit_variance=np.full_like(parameters.hit_variance, -1),
        scattering=np.full_like(parameters.scattering, -1), straggling=np.full_like(parameters.straggling, -1),
    )  # fmt: skip
    with pytest.raises(InputError, match="floats no variance"):
        variance_blocks(tracker, magnet, sample.hits, fitted, none, sample.routes)
    mixed = replace(parameters, eloss=np.zeros_like(parameters.eloss))
    with pytest.raises(InputError, match="means as well"):
        variance_blocks(tracker, magnet, sample.hits, fitted, mixed, sample.routes)
