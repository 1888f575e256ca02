"""Simulated muons held at their generated state: the detector without a mass."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import barrel
from mucal.detector.field import harmonic_modes
from mucal.errors import InputError
from mucal.globalcor import Chunk, Family, Refit, accumulate, build_registry, solve, truth_blocks
from mucal.globalcor.corrections import corrected, values_at
from mucal.refit.fitted import legs_from
from mucal.simulation import HitSimulation, MuonGun, fire, simulate_hits
from mucal.track import QOP

N = 1500
FAMILIES = (
    Family(kind="alignment", by="layer", components=("u",), prior=(1e-3,), min_entries=1),
    Family(kind="modes", by="mode", min_entries=1),
    Family(kind="eloss", by="layer", prior=(0.05,), min_entries=1, passive=False),
)


@pytest.fixture(scope="module")
def made():
    """The assumed barrel's refit, the truth, and hits of a barrel with known corrections."""
    detector = barrel()
    registry = build_registry(detector, FAMILIES, harmonic_modes(2, 1))
    theta = np.random.default_rng(4).normal(size=len(registry)) * registry.prior
    theta[registry.index("bfield/l1m0c")] = 3.8e-3
    moved, scale = corrected(registry, theta, detector), np.exp(values_at(registry.map.eloss, theta))
    m = moved.modules
    size = scale[: detector.n_modules]
    true = replace(moved, modules=replace(m, x_over_x0=m.x_over_x0 * size, xi_mev=m.xi_mev * size))
    hits = simulate_hits(fire(MuonGun(seed=5, pt=(3.0, 8.0), eta=(-0.7, 0.7)), N), true,
                         HitSimulation(seed=2, straggling="gaussian")).hits  # fmt: skip
    return Refit(detector=detector, registry=registry), theta, hits


@pytest.mark.parametrize("positions", ["recorded", "simulated"])
def test_the_common_scale_and_all_else_come_back_without_a_mass(made, positions):
    refit, theta, hits = made
    registry = refit.registry
    found, applied = None, None
    for _ in range(3):  # simulated positions are so precise that the guard of chi2 holds most tracks back at first
        blocks, _ = truth_blocks(refit if applied is None else replace(refit, theta=applied), hits, positions)
        sums = accumulate(lambda chunk, made=blocks: made, (Chunk(number=0, start=0, stop=1),), registry)
        found = solve(sums, registry, applied=applied)
        applied = found.theta
    away = (found.theta - theta)[found.free]
    distance = away @ np.linalg.solve(found.covariance, away) / away.size
    assert abs(distance - 1.0) < 3.0 * np.sqrt(2.0 / away.size)
    # the scattering of ten layers leaves 2 % of a momentum a track
    field = registry.index("bfield/l1m0c")
    assert found.error[field] < 0.5 * theta[field]
    assert found.outer_converged()


def test_blocks_are_those_of_dense_matrices(made):
    # Sigma from its definition, by composing transports; the columns by moving the parameters
    refit, _, hits = made
    few = hits.select(slice(0, 6))
    blocks, ledger = truth_blocks(refit, few)
    assert ledger.used == len(blocks) == 6
    step = 1e-3 * refit.registry.prior
    for i in range(2):
        rows = slice(blocks.label_offsets[i], blocks.label_offsets[i + 1])
        label, h = blocks.label[rows], blocks.dense_factor(i)
        sigma, residual = _equations(refit, few, i)
        columns = []
        for p in label:
            up, down = np.zeros(len(refit.registry)), np.zeros(len(refit.registry))
            up[p], down[p] = step[p], -step[p]
            plus, minus = (_equations(replace(refit, theta=at), few, i)[1] for at in (up, down))
            columns.append(-(plus - minus) / (2 * step[p]))
        j = np.array(columns).T
        weight = np.linalg.inv(sigma)
        size = np.sqrt(np.diag(2 * j.T @ weight @ j))
        assert_allclose(h.T @ h / np.outer(size, size), 2 * j.T @ weight @ j / np.outer(size, size), atol=2e-5)
        # a gradient of noise is of the order of its column's size
        assert_allclose(blocks.gradient[rows] / size, -2 * j.T @ weight @ residual / size, atol=1e-4)
        assert blocks.chi2[i] == pytest.approx(residual @ weight @ residual, rel=1e-9)
        assert blocks.ndof[i] == residual.size


def _equations(refit, hits, i):
    """Sigma and residuals of track i from its generated state, by plain matrix products."""
    from mucal.detector import predict

    one = hits.select(slice(i, i + 1))
    routes = Refit(detector=refit.detector, registry=refit.registry).routes(
        replace(one, seed=one.truth.state, seed_ref=one.truth.vertex)
    )
    _, own, places, legs = next(
        legs_from(refit.magnet, refit.surfaces, one, np.ones(1, dtype=bool), one.truth.state, one.truth.vertex, routes,
                  refit.config, refit.offsets, refit.ln_loss)
    )  # fmt: skip
    on = np.flatnonzero(places[0] >= 0)
    total = np.zeros((own.shape[1], own.shape[1], 5, 5))  # covariance of local states a and b
    for leg in range(own.shape[1]):
        f, before = legs.transport[0, leg], leg - 1
        if leg:
            for b in range(leg):
                total[leg, b] = f @ total[before, b]
                total[b, leg] = total[leg, b].T
            total[leg, leg] = f @ total[before, before] @ f.T
        total[leg, leg] += legs.noise[0, leg]
    rows, residual, errors = [], [], []
    module = own[0, on]
    value, slope = predict(refit.model.modules, module, legs.local[0, on, 3], legs.local[0, on, 4])
    k = places[0, on]
    for a, leg in enumerate(on):
        for c, (measured, sigma) in enumerate(((one.u[k[a]], one.sigma_u[k[a]]), (one.v[k[a]], one.sigma_v[k[a]]))):
            if np.isfinite(measured):
                h = np.zeros(5)
                h[3:] = slope[a, c]
                rows.append((leg, h))
                residual.append(measured - value[a, c])
                errors.append(sigma)
    sigma = np.array([[h @ total[a, b] @ g for b, g in rows] for a, h in rows]) + np.diag(np.array(errors) ** 2)
    return sigma, np.array(residual)


def test_hits_without_truth_are_refused(made):
    refit, _, hits = made
    with pytest.raises(InputError, match="do not say what was generated"):
        truth_blocks(refit, replace(hits, truth=None))


def test_a_track_that_cannot_be_used_is_counted(made):
    refit, _, hits = made
    few = hits.select(slice(0, 4))
    u = few.u.copy()
    u[few.offsets[1]] = np.nan
    blocks, ledger = truth_blocks(refit, replace(few, u=u))
    assert blocks.candidate.tolist() == [0, 2, 3]
    assert ledger.rejected == {"bad_hit": 1}
    none, ledger = truth_blocks(refit, hits.select(slice(0, 0)))
    assert (len(none), ledger.read) == (0, 0)


def test_a_coherent_field_needs_a_parameter_of_its_own():
    """Offsets on 1300 legs are a prior of 1 %/sqrt(1300) = 3e-4 on their mean: a field off by 2e-3 is pulled."""
    detector = barrel()
    legs = Family(kind="bfield", by="module", components=("z",), passive=False, min_entries=1)
    modes = harmonic_modes(1, 0)
    size = 2e-3 * 3.8
    only = build_registry(detector, [legs])
    both = build_registry(detector, [legs, Family(kind="modes", by="mode", min_entries=1, prior=(0.02,))], modes)
    true = np.zeros(len(both))
    true[both.index("bfield/l1m0c")] = size
    stronger = corrected(both, true, detector)
    gun = MuonGun(seed=6, pt=(3.0, 8.0), eta=(-0.7, 0.7))
    hits = simulate_hits(fire(gun, 200), stronger, HitSimulation(seed=3, straggling="gaussian")).hits
    quiet = HitSimulation(straggling="none", scattering=False, resolution_scale=0.0, seed_errors=(0.0, 0.0, 0.0))
    probes = simulate_hits(fire(MuonGun(seed=7, pt=(10.0, 10.0), eta=(-0.7, 0.7)), 100), stronger, quiet).hits
    left = {}
    for name, registry in (("legs", only), ("legs and mode", both)):
        refit = Refit(detector=detector, registry=registry)
        blocks, _ = truth_blocks(refit, hits)
        sums = accumulate(lambda chunk, made=blocks: made, (Chunk(number=0, start=0, stop=1),), registry)
        fits, _ = refit.tracks(probes)
        rows = refit.derivatives(fits).matrix(QOP, len(registry)).toarray() / fits.state[:, [QOP]]
        found = solve(sums, registry, probes=rows.mean(axis=0)[None])
        fits, _ = replace(refit, theta=found.theta).tracks(probes, profile=False)
        bias = float(np.mean(fits.state[:, QOP] / probes.truth.state[:, QOP] - 1.0))
        left[name] = bias, float(np.sqrt(found.probes[0, 0]))
    # 200 tracks know the field to 5e-4: two thirds of the distortion stay, where the error allows for 3e-4
    assert left["legs"][0] > 3.0 * left["legs"][1]
    assert abs(left["legs and mode"][0]) < 3.0 * left["legs and mode"][1]
    assert left["legs and mode"][1] > left["legs"][1]  # a mode that is free is honest of what the tracks do not know
