"""Simulated hits: they lie on the propagated track, and scatter about it as the model's noise says."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chi2 as chi2_distribution
from scipy.stats import kstest, landau, norm

from mucal.detector import SILICON, Detector, cms_like, predict
from mucal.detector.field import harmonic_field
from mucal.detector.kernels import max_transfer, truncated_moments
from mucal.numerics import start_word
from mucal.propagation import U_LOCAL, Terrain, compose, find_routes, free_states, propagate, terrain
from mucal.propagation.kernels.layout import SCRATCH, Y
from mucal.simulation import GeneratedMuons, HitSimulation, MuonGun, fire, scaled_material, simulate_hits
from mucal.simulation import hit_kernels as kernels
from mucal.track.hits import Hits
from mucal.units import MUON_MASS

N = 2000
CLOSURE = HitSimulation(seed=3, straggling="gaussian")


@pytest.fixture(scope="module")
def detector() -> Detector:
    return cms_like()


@pytest.fixture(scope="module")
def ground(detector: Detector) -> Terrain:
    return terrain(detector)


def some_muons(n: int, seed: int = 1) -> GeneratedMuons:
    rng = np.random.default_rng(seed)
    pt, eta, phi = rng.uniform(4, 60, n), rng.uniform(-2.4, 2.4, n), rng.uniform(-np.pi, np.pi, n)
    lam, charge, event = np.arctan(np.sinh(eta)), np.tile([1, -1], n)[:n], np.arange(n) // 2
    return GeneratedMuons(
        run=np.ones(n, dtype=np.int64), lumi=np.ones(n, dtype=np.int64), event=event, pair=event, charge=charge,
        state=np.column_stack([charge * np.cos(lam) / pt, lam, phi, 0 * phi, 0 * phi]),
        vertex=np.repeat(rng.normal([0.09, 0.17, 0.9], [1e-3, 1e-3, 3.6], ((n + 1) // 2, 3)), 2, axis=0)[:n],
        parent=np.full(n, 443), mass=np.full(n, 3.0969),
    )  # fmt: skip


@pytest.fixture(scope="module")
def muons() -> GeneratedMuons:
    return some_muons(N)


@pytest.fixture(scope="module")
def closure(muons: GeneratedMuons, detector: Detector, ground: Terrain) -> Hits:
    return simulate_hits(muons, detector, CLOSURE, ground=ground).hits


def same_hits(a: Hits, b: Hits) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True)
        for name in ("event", "charge", "seed", "offsets", "module_id", "u", "v", "sigma_u")
    ) and np.array_equal(a.truth.hit_u, b.truth.hit_u, equal_nan=True)


def residuals_of(detector: Detector, ground: Terrain, hits: Hits):
    """Per track: residuals of all measurements about the true start, and their covariance V + H N H^T."""
    required = np.full((len(hits), hits.n_hits.max()), -1)
    required[np.arange(required.shape[1]) < hits.n_hits[:, None]] = hits.module_id
    start = free_states(hits.truth.state, hits.truth.vertex)
    route = find_routes(detector.field, ground, start, required=required, slack=3.0).element
    for row, wanted in zip(route, required, strict=True):
        row[np.max(np.flatnonzero(np.isin(row, wanted[wanted >= 0]))) + 1 :] = -1
    legs = propagate(detector.field, ground.surfaces, start, route)
    composed = compose(legs)
    for t in range(len(hits)):
        own = slice(hits.offsets[t], hits.offsets[t + 1])
        module = hits.module_id[own]
        place = np.array([int(np.flatnonzero(route[t] == m)[0]) for m in module])
        value, slope = predict(detector.modules, module, *legs.local[t, place, U_LOCAL : U_LOCAL + 2].T)
        h = np.zeros((2 * module.size, 5 * route.shape[1]))
        for k, leg in enumerate(place):
            h[2 * k : 2 * k + 2, 5 * leg + 3 : 5 * leg + 5] = slope[k]
        noise = joint_noise(legs.transport[t], composed.noise[t], int(place.max()) + 1, route.shape[1])
        residual = (np.stack([hits.u[own], hits.v[own]], axis=1) - value).ravel()
        sigma = np.stack([hits.sigma_u[own], hits.sigma_v[own]], axis=1).ravel()
        seen = np.isfinite(residual)
        yield residual[seen], (np.diag(sigma**2) + h @ noise @ h.T)[np.ix_(seen, seen)]


def joint_noise(transport: np.ndarray, noise: np.ndarray, n: int, n_legs: int) -> np.ndarray:
    """Covariance of all local states of a track: block (i, j >= i) is N_i (F_j ... F_{i+1})^T."""
    joint = np.zeros((5 * n_legs, 5 * n_legs))
    for i in range(n):
        block = noise[i]
        for j in range(i, n):
            if j > i:
                block = block @ transport[j].T
            joint[5 * i : 5 * i + 5, 5 * j : 5 * j + 5] = block
            joint[5 * j : 5 * j + 5, 5 * i : 5 * i + 5] = block.T
    return joint


def test_without_chance_hits_lie_on_the_propagated_track(detector, ground, muons):
    config = HitSimulation(straggling="none", scattering=False, resolution_scale=0.0)
    hits = simulate_hits(muons.select(slice(200)), detector, config, ground=ground).hits
    for residual, _ in residuals_of(detector, ground, hits):
        assert np.abs(residual).max() < 1e-6


def test_hits_scatter_about_the_true_track_as_the_model_says(detector, ground, closure):
    pairs = [(r @ np.linalg.solve(v, r), r.size) for r, v in residuals_of(detector, ground, closure)]
    chi2, ndof = np.array(pairs).T
    assert ndof.sum() > 20000
    assert abs(chi2.sum() / ndof.sum() - 1.0) < 4.0 * np.sqrt(2.0 / ndof.sum())
    assert kstest(chi2_distribution.sf(chi2, ndof), "uniform").pvalue > 1e-3


def test_pieces_and_threads_give_the_same_bytes(detector, ground, muons, closure):
    threads = simulate_hits(muons, detector, CLOSURE, ground=ground, n_threads=3).hits
    pieces = [simulate_hits(muons.select(s), detector, CLOSURE, ground=ground).hits for s in (slice(7), slice(7, None))]
    assert same_hits(threads, closure)
    assert same_hits(Hits.concatenate(pieces), closure)


def test_another_seed_gives_other_hits(detector, ground, muons, closure):
    other = simulate_hits(muons.select(slice(50)), detector, replace(CLOSURE, seed=4), ground=ground).hits
    assert not np.intersect1d(other.u, closure.u[: closure.offsets[50]]).size


def test_the_ledger_adds_up_and_names_what_was_lost(detector, ground, muons):
    state = muons.state[:8].copy()
    state[0, 0], state[2, 1], state[4, 0] = 4.0, 1.55, np.nan
    bad = replace(muons.select(slice(8)), state=state)
    ledger = simulate_hits(bad, detector, CLOSURE, ground=ground).ledger
    assert ledger.read == 8
    assert ledger.used == 5
    assert ledger.rejected["too_forward"] == 1
    assert ledger.rejected["bad_start"] == 1
    assert ledger.examples["too_forward"] == ("event 1, charge +1",)


def test_inefficiency_and_outliers_have_their_shares(detector, ground, muons, closure):
    config = replace(CLOSURE, efficiency=0.9, outlier_share=0.05)
    hits = simulate_hits(muons, detector, config, ground=ground).hits
    n = closure.module_id.size
    assert abs(hits.module_id.size - 0.9 * n) < 4 * np.sqrt(0.09 * n)
    outliers = np.isnan(hits.truth.hit_u).sum()
    assert abs(outliers - 0.05 * hits.module_id.size) < 4 * np.sqrt(0.05 * 0.95 * hits.module_id.size)


def test_residuals_have_the_scaled_resolution(detector, ground, muons):
    config = replace(CLOSURE, resolution_scale=1.2)
    hits = simulate_hits(muons, detector, config, ground=ground).hits
    expected, _ = predict(detector.modules, hits.module_id, hits.truth.hit_u, hits.truth.hit_v)
    pull = (hits.u - expected[:, 0]) / hits.sigma_u
    assert abs(pull.std() / 1.2 - 1.0) < 4 / np.sqrt(2 * pull.size)
    assert abs(pull.mean()) < 4 * 1.2 / np.sqrt(pull.size)


def test_seeds_have_their_errors(closure):
    pull = (closure.seed - closure.truth.state)[:, 1:] / [1e-3, 1e-3, 0.01, 0.01]
    assert np.all(np.abs(pull.std(axis=0) - 1) < 4 / np.sqrt(2 * len(closure)))
    relative = closure.seed[:, 0] / closure.truth.state[:, 0] - 1
    assert abs(relative.std() / 0.01 - 1) < 4 / np.sqrt(2 * len(closure))


def test_truncated_landau_losses_have_the_moments_of_the_restricted_loss():
    p, xi, alpha, n = 5.0, 0.1e-3, 0.99, 100_000
    medium = SILICON.constants
    rng = np.random.default_rng(5)
    words = rng.integers(0, 2**63, (n, 2)).astype(np.uint64)
    cut = xi * (1 + (0.1056584 / p) ** 2) / (1 - alpha)
    loss = np.array([
        kernels.landau_loss(p, xi, cut, medium, g, r, a, b)
        for g, r, (a, b) in zip(rng.normal(size=n), rng.uniform(size=n), words, strict=True)
    ])  # fmt: skip
    mean, variance = truncated_moments(p, xi, medium, alpha)
    assert abs(loss.mean() - mean) < 4 * np.sqrt(variance / n)
    fourth = np.mean((loss - mean) ** 4)
    assert abs(loss.var() - variance) < 4 * np.sqrt((fourth - variance**2) / n)


@pytest.fixture(scope="module")
def landau_losses() -> tuple[np.ndarray, float, float]:
    """100 000 untruncated losses (GeV) of muons of 5 GeV in 0.1 MeV of silicon's xi, and these two numbers."""
    p, xi, n = 5.0, 0.1e-3, 100_000
    rng = np.random.default_rng(6)
    words = rng.integers(0, 2**63, (n, 2)).astype(np.uint64)
    loss = np.array([
        kernels.landau_loss(p, xi, 1e30, SILICON.constants, g, r, a, b)
        for g, r, (a, b) in zip(rng.normal(size=n), rng.uniform(size=n), words, strict=True)
    ])  # fmt: skip
    return loss, p, xi


def test_untruncated_losses_are_landau_distributed(landau_losses):
    # of a thin layer, xi' << T_max: lambda = (loss - mean)/xi' - (1 - gamma_E) - beta^2 - ln(xi'/T_max)
    loss, p, xi = landau_losses
    beta2 = p**2 / (p**2 + MUON_MASS**2)
    t_max = max_transfer(p)
    mean, _ = truncated_moments(p, xi, SILICON.constants, 1.0)
    lam = (loss - mean) / (xi / beta2) - (1 - np.euler_gamma) - beta2 - np.log(xi / beta2 / t_max)
    # scipy's variable x is that of a stable law: lambda = pi/2 x + ln(pi/2); both have their median at lambda = 1.3558
    assert kstest((lam[:20_000] - np.log(np.pi / 2)) * 2 / np.pi, landau.cdf).pvalue > 1e-3


@pytest.mark.parametrize("above", [0.03, 0.1])
def test_large_losses_are_single_collisions_of_the_whole_spectrum(landau_losses, above):
    # xi' [1/T - 1/T_max - beta^2/T_max ln(T_max/T)] a layer; what else is lost, 1 MeV or so, lowers T by that
    loss, p, xi = landau_losses
    beta2, t_max = p**2 / (p**2 + MUON_MASS**2), max_transfer(p)
    cut = above - np.median(loss)
    share = xi / beta2 * (1 / cut - 1 / t_max - beta2 / t_max * np.log(t_max / cut))
    assert share * loss.size > 50
    assert abs((loss > above).sum() - share * loss.size) < 4 * np.sqrt(share * loss.size)


def test_scattering_has_its_width_and_its_tails():
    n, width, share, wider = 40_000, 1e-3, 0.1, 4.0
    settings = HitSimulation(tail_share=share, tail_width=wider).settings
    words = np.array([start_word(1, purpose) for purpose in kernels.PURPOSES])
    lam, phi = 0.7, 0.4
    straight = [np.cos(lam) * np.cos(phi), np.cos(lam) * np.sin(phi), np.sin(lam)]
    kicks = np.empty((n, 2))
    for i in range(n):
        w = np.zeros(SCRATCH)
        w[Y + 3 : Y + 6] = straight
        kernels.scatter(w, width, settings, words, i)
        t = w[Y + 3 : Y + 6]
        assert abs(t @ t - 1) < 1e-12
        kicks[i] = (np.arctan2(t[1], t[0]) - phi) * np.cos(lam), np.arcsin(t[2]) - lam
    pull = kicks / width
    variance = 1 + share * (wider**2 - 1)
    fourth = 3 * (1 + share * (wider**4 - 1))
    assert np.all(np.abs(pull.var(axis=0) - variance) < 4 * np.sqrt((fourth - variance**2) / n))
    beyond = 2 * ((1 - share) * norm.sf(4) + share * norm.sf(1))
    assert np.all(np.abs((np.abs(pull) > 4).mean(axis=0) - beyond) < 4 * np.sqrt(beyond / n))
    # both angles are wide together, so their product varies by more than the product of the variances
    together = (1 + share * (wider**4 - 1)) / variance**2
    assert abs(np.corrcoef(pull.T)[0, 1]) < 4 * np.sqrt(together / n)


def test_muons_of_low_momentum_lose_no_hit_to_the_search_for_candidates(detector, ground):
    slow = fire(MuonGun(seed=5, pt=(1.0, 4.0)), 1500)
    config = HitSimulation(seed=5)
    found = simulate_hits(slow, detector, config, ground=ground)
    wide = simulate_hits(slow, detector, replace(config, slack=12.0, reach=0.0), ground=ground)
    assert found.hits.module_id.size == wide.hits.module_id.size
    assert found.ledger.used == wide.ledger.used
    assert found.passed == wide.passed == 0


def test_every_way_to_be_lost_has_its_name_in_the_ledger(detector, ground):
    few = {"seed": 1, "charge": 1, "eta": (0.1, 0.2)}
    curling = simulate_hits(fire(MuonGun(pt=(0.3, 0.31), **few), 20), detector, ground=ground)
    assert dict(curling.ledger.rejected) == {"looper": 20}
    thick = scaled_material(detector, dict.fromkeys(detector.subdet_names, 1000.0))
    mean = HitSimulation(straggling="none", scattering=False)
    stopped = simulate_hits(fire(MuonGun(pt=(0.8, 0.81), **few), 20), thick, mean)
    assert dict(stopped.ledger.rejected) == {"ranged_out": 20}
    short = harmonic_field(r_max=60.0)
    outside = simulate_hits(fire(MuonGun(pt=(10.0, 11.0), **few), 20), detector, magnet=short, ground=ground)
    assert dict(outside.ledger.rejected) == {"outside_field": 20}
    forward = simulate_hits(fire(MuonGun(pt=(10.0, 11.0), eta=(4.1, 5.0)), 20), detector, ground=ground)
    assert dict(forward.ledger.rejected) == {"too_forward": 20}
    between = simulate_hits(fire(MuonGun(pt=(10.0, 11.0), eta=(3.5, 3.9)), 20), detector, ground=ground)
    assert dict(between.ledger.rejected) == {"few_hits": 20}


def test_no_muon_that_leaves_through_the_corner_of_the_field_is_lost(detector, ground):
    corner = fire(MuonGun(seed=3, pt=(3.5, 10.0), eta=(1.6, 1.7)), 4000)
    assert simulate_hits(corner, detector, ground=ground).ledger.used == 4000


def test_mirrored_noise_is_the_opposite(detector, ground, muons, closure):
    image = simulate_hits(muons, detector, replace(CLOSURE, mirrored=True), ground=ground).hits
    quiet = replace(CLOSURE, straggling="none", scattering=False, resolution_scale=0.0, seed_errors=(0.0, 0.0, 0.0))
    mean = simulate_hits(muons, detector, quiet, ground=ground).hits
    assert np.allclose(closure.seed - closure.truth.state, image.truth.state - image.seed, rtol=1e-9, atol=1e-12)
    # of the first hit of each muon, where all three have one on the same module
    rows = [{(e, q): i for i, (e, q) in enumerate(zip(h.event, h.charge, strict=True))} for h in (closure, image, mean)]
    first = np.array([[r[key] for r in rows] for key in rows[0] if all(key in r for r in rows)])
    at = np.stack([h.offsets[i] for h, i in zip((closure, image, mean), first.T, strict=True)])
    module = np.stack([h.module_id[a] for h, a in zip((closure, image, mean), at, strict=True)])
    same = (module == module[0]).all(axis=0)
    assert same.sum() > 0.95 * len(mean)
    u, v, true = (closure.u[at[0, same]], image.u[at[1, same]], mean.u[at[2, same]])
    noise = u - true
    assert np.std(noise) > 5e-4
    assert np.std(u + v - 2 * true) < 0.02 * np.std(noise)


def test_landau_straggling_has_no_mirror_image():
    with pytest.raises(ValueError, match="mirrored with straggling"):
        HitSimulation(mirrored=True)


def test_an_unknown_straggling_is_named():
    with pytest.raises(ValueError, match=r"'vavilov'.*gaussian.*landau"):
        HitSimulation(straggling="vavilov")


def test_a_detector_without_field_is_refused(detector, muons):
    with pytest.raises(Exception, match="stands in no field"):
        simulate_hits(muons, replace(detector, field=None))
