"""Pairs from one vertex: against dense algebra, truth and bad input."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector.field import evaluate
from mucal.propagation import free_states, surfaces_of
from mucal.refit import (
    BeamLine,
    MassReference,
    PairSelection,
    PairStatus,
    RefitConfig,
    derive_mass_reference,
    fit_pairs,
    fit_tracks,
)
from mucal.refit.pairs import pairs_of, vertex_seeds
from mucal.refit.tracks import routes_of_hits
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits
from mucal.track import Hits
from mucal.units import CURVATURE
from mucal.workflow.hit_sums import pair_masses

TIGHT = RefitConfig(tolerance=1e-12, most_iterations=20)
REFERENCE = MassReference.constant(3.0924, 0.0203)


@pytest.fixture(scope="module")
def simulated(tracker):
    """Pairs only, with their routes."""
    muons = generate_muons(MuonGeneration(process="jpsi", seed=5), 18_000)
    hits = simulate_hits(muons, tracker, HitSimulation(seed=2, straggling="gaussian")).hits
    _, tracks, status = pairs_of(hits)
    hits = hits.select(tracks[status == PairStatus.OK].ravel())
    return hits, routes_of_hits(tracker, tracker.field, hits)


@pytest.fixture(scope="module")
def fitted(tracker, simulated):
    hits, routes = simulated
    return fit_pairs(tracker, tracker.field, hits, routes, mass=REFERENCE)[0]


def true_states(hits, fits):
    truth, legs = hits.truth, fits.tracks
    return np.column_stack([truth.state[legs[:, 0], :3], truth.state[legs[:, 1], :3], truth.vertex[legs[:, 0]]])


def errors(result):
    return np.sqrt(np.einsum("nii->ni", result.cov))


def first_pairs(simulated, n):
    hits, routes = simulated
    return hits.select(slice(0, 2 * n)), routes[: 2 * n]


def test_every_pair_converges(fitted):
    assert fitted.vertex.ok.mean() > 0.999
    assert fitted.ledger().read == len(fitted)
    assert fitted.vertex.n_iterations[fitted.vertex.ok].mean() < 4


def test_pulls_of_all_nine_parameters_are_standard_normal(simulated, fitted):
    hits, _ = simulated
    ok = fitted.vertex.ok
    shift = fitted.vertex.state - true_states(hits, fitted)
    shift[:, [2, 5]] = np.angle(np.exp(1j * shift[:, [2, 5]]))
    pull = (shift / errors(fitted.vertex))[ok]
    n = int(ok.sum())
    assert n > 2000
    assert np.all(np.abs(pull.std(axis=0) - 1) < 4 / np.sqrt(2 * n))
    # the error of q/p grows with q/p: see test_simulated
    assert np.all(np.abs(pull[:, [1, 2, 4, 5, 6, 7, 8]].mean(axis=0)) < 4 / np.sqrt(n))


def test_chi2_is_that_of_its_degrees_of_freedom(fitted):
    ok = fitted.vertex.ok
    assert abs(fitted.vertex.chi2[ok].sum() - fitted.vertex.ndof[ok].sum()) < 4 * np.sqrt(
        2 * fitted.vertex.ndof[ok].sum()
    )


def test_degrees_of_freedom_are_rows_minus_unknowns(tracker, simulated, fitted):
    hits, _ = simulated
    rows = np.bincount(hits.track, tracker.modules.n_meas[hits.module_id], len(hits))
    ok = fitted.constrained.ok
    expected = rows[fitted.tracks].sum(axis=1) - 9
    assert_array_equal(fitted.vertex.ndof[fitted.vertex.ok], expected[fitted.vertex.ok])
    assert_array_equal(fitted.constrained.ndof[ok], expected[ok] + 1)


def test_mass_and_its_error(simulated, fitted):
    hits, _ = simulated
    pull = (fitted.vertex.mass - generated_mass(hits, fitted)) / fitted.vertex.sigma_mass
    pull = pull[fitted.vertex.ok]
    assert abs(pull.std() - 1) < 4 / np.sqrt(2 * pull.size)


def test_trace_holds_every_iteration_of_both_passes(tracker, simulated):
    hits, routes = first_pairs(simulated, 50)
    fits, _ = fit_pairs(tracker, tracker.field, hits, routes, RefitConfig(trace=True), mass=REFERENCE)
    assert fits.constrained.ok.any()
    for result in (fits.vertex, fits.constrained):
        ok = result.ok
        kept = np.isfinite(result.trace[:, :, 0]).sum(axis=1)
        assert_array_equal(kept[ok], result.n_iterations[ok])
        last = result.trace[np.arange(len(fits)), kept - 1][ok]
        assert_allclose(last[:, 0] - last[:, 1], result.chi2[ok], rtol=1e-12)
        # the step that ends a fit is far below an error, and so is what it does to the mass
        if result is fits.vertex:
            assert np.abs((last[:, 2] - result.mass[ok]) / result.sigma_mass[ok]).max() < 1e-2
        # with the mass the end is its surface, but for a tenth of the width and the bend of the mass
        else:
            off = np.abs(fits.vertex.mass - fits.m_ref)[ok]
            assert np.all(np.abs(last[:, 2] - fits.m_ref[ok]) < 0.02 * off + 3e-4 * fits.m_ref[ok])


def test_both_solvers_agree(tracker, simulated):
    hits, routes = first_pairs(simulated, 300)
    one, _ = fit_pairs(tracker, tracker.field, hits, routes, TIGHT, mass=REFERENCE)
    other, _ = fit_pairs(tracker, tracker.field, hits, routes, replace(TIGHT, solver="states"), mass=REFERENCE)
    for name in ("vertex", "constrained"):
        a, b = getattr(one, name), getattr(other, name)
        assert_array_equal(a.status, b.status)
        assert np.nanmax(np.abs((a.state - b.state) / errors(a))) < 1e-9
        assert_allclose(a.chi2[a.ok], b.chi2[a.ok], rtol=1e-9)


@pytest.fixture(scope="module")
def brute_force(tracker, dense_pair):
    """Least squares of the pair of two tracks with dense weights at `start`: unknowns, covariance, chi2."""

    def fit(hits, routes, start, n_steps=4):
        pair = dense_pair(
            detector=tracker, surfaces=surfaces_of(tracker), magnet=tracker.field, hits=hits, routes=routes,
            m_ref=np.nan, gamma=np.nan,
        )  # fmt: skip
        weight, x = pair.weight(start), start.copy()
        for _ in range(n_steps):
            a = pair.derivatives(x)
            cov = np.linalg.inv(a.T @ weight @ a)
            x = x + cov @ a.T @ weight @ pair.residuals(x, {})
        r = pair.residuals(x, {})
        return x, cov, float(r @ weight @ r)

    return fit


def mass_at(x):
    pt = np.cos(x[[1, 4]]) / np.abs(x[[0, 3]])
    p, lam, phi = 1 / np.abs(x[[0, 3]]), x[[1, 4]], x[[2, 5]]
    energy = np.sqrt(p**2 + 0.1056583755**2)
    dot = pt.prod() * np.cos(phi[0] - phi[1]) + (p * np.sin(lam)).prod()
    return np.sqrt(2 * 0.1056583755**2 + 2 * (energy.prod() - dot))


def test_vertex_fit_by_brute_force(tracker, simulated, brute_force):
    hits, routes = first_pairs(simulated, 4)
    fits, _ = fit_pairs(tracker, tracker.field, hits, routes, TIGHT)
    for i in range(4):
        rows = fits.tracks[i]
        x, cov, chi2 = brute_force(hits.select(rows), routes[rows], fits.vertex.state[i])
        sigma = np.sqrt(np.diag(cov))
        assert np.abs((fits.vertex.state[i] - x) / sigma).max() < 2e-5
        assert_allclose(fits.vertex.cov[i] / np.outer(sigma, sigma), cov / np.outer(sigma, sigma), atol=2e-5)
        assert_allclose(fits.vertex.chi2[i], chi2, rtol=1e-6)


def start_by_pair(direction, qop, bfield):
    """(2, 5, 9) d(q/p, lambda, phi, x_perp, y_perp) / d(unknowns), equation (1) of docs/physics/pairs.md."""
    by = np.zeros((2, 5, 9))
    for k, (t, q) in enumerate(zip(direction, qop, strict=True)):
        across = np.hypot(t[0], t[1])
        u = np.array([-t[1], t[0], 0.0]) / across
        v, bend = np.cross(t, u), CURVATURE * q * np.cross(t, bfield)
        by[k, :3, 3 * k : 3 * k + 3] = np.eye(3)
        by[k, :, 6:] = [0 * t, -(v @ bend) * t, -(u @ bend) / across * t, u, v]
    return by


def test_a_pair_is_the_vertex_fit_of_its_two_tracks(tracker, simulated):
    # single tracks about the pair's vertex are measurements of it: five numbers each with their covariance
    hits, routes = first_pairs(simulated, 12)
    fits, _ = fit_pairs(tracker, tracker.field, hits, routes, TIGHT)
    for i in range(len(fits)):
        legs, state = fits.tracks[i], fits.vertex.state[i]
        own = hits.select(legs)
        seed = np.column_stack([state[:6].reshape(2, 3), np.zeros((2, 2))])
        about = replace(own, seed=seed, seed_ref=np.tile(state[6:], (2, 1)))
        single, _ = fit_tracks(tracker, tracker.field, about, routes[legs], TIGHT)
        free = free_states(seed, np.tile(state[6:], (2, 1)))
        b = evaluate(tracker.field, state[None, 6:]).bfield[0]
        by = start_by_pair(free[:, 3:6], free[:, 6], b)
        whiten = [np.linalg.inv(np.linalg.cholesky(single.cov[k])) for k in range(2)]
        a = np.concatenate([whiten[k] @ by[k] for k in range(2)])
        r = np.concatenate([whiten[k] @ (single.state[k] - seed[k]) for k in range(2)])
        step, left, _, _ = np.linalg.lstsq(a, r, rcond=None)
        cov = np.linalg.inv(a.T @ a)
        # the tracks' weights are taken at their own ends, about an error away: they differ by twice sigma(p)/p = 1 %
        assert np.all(np.abs(step) < 0.03 * np.sqrt(np.diag(cov)))
        assert_allclose(np.diag(cov), np.diag(fits.vertex.cov[i]), rtol=0.05)
        assert abs(fits.vertex.chi2[i] - single.chi2.sum() - left[0]) < 0.05 * (1 + left[0])
        assert fits.vertex.ndof[i] == single.ndof.sum() + 1


def test_constrained_fit_by_brute_force(tracker, simulated, brute_force):
    # the surface of the mass, to a tenth of its width, where weights and derivatives are taken; from there a step back
    hits, routes = first_pairs(simulated, 4)
    fits, _ = fit_pairs(tracker, tracker.field, hits, routes, TIGHT, mass=REFERENCE)
    m_ref, gamma = 3.0924, 0.0203
    for i in np.flatnonzero(fits.constrained.ok):
        rows = fits.tracks[i]
        own, own_routes = hits.select(rows), routes[rows]
        x = fits.constrained.state[i]
        for _ in range(4):
            free, cov, chi2 = brute_force(own, own_routes, x, n_steps=1)
            slope, second = mass_derivatives(x)
            gain = cov @ slope
            s, t = slope @ gain + gamma**2, slope @ gain + (0.1 * gamma) ** 2
            bias = 0.5 * np.trace(second @ (cov - s / t**2 * np.outer(gain, gain)))
            left = m_ref + bias - mass_at(x) - slope @ (free - x)
            x = free + gain * left / t
        x, cov = free + gain * left / s, cov - np.outer(gain, gain) / s
        sigma = np.sqrt(np.diag(cov))
        assert np.abs((fits.constrained.state[i] - x) / sigma).max() < 1e-4
        fitted = fits.constrained.cov[i]
        assert_allclose(fitted / np.outer(sigma, sigma), cov / np.outer(sigma, sigma), atol=1e-4)
        assert_allclose(fits.constrained.chi2[i], chi2 + left**2 / s, rtol=1e-3)


def mass_derivatives(x):
    """d m / d x (9,) and d2 m / dx2 (9, 9), by differences."""
    steps = np.array([1e-5, 1e-4, 1e-4, 1e-5, 1e-4, 1e-4, 1.0, 1.0, 1.0])
    slope, second = np.zeros(9), np.zeros((9, 9))
    for a in range(6):
        da = steps[a] * np.eye(9)[a]
        slope[a] = (mass_at(x + da) - mass_at(x - da)) / (2 * steps[a])
        for b in range(6):
            db = steps[b] * np.eye(9)[b]
            four = mass_at(x + da + db) - mass_at(x + da - db) - mass_at(x - da + db) + mass_at(x - da - db)
            second[a, b] = four / (4 * steps[a] * steps[b])
    return slope, second


def test_a_wide_beam_line_is_none_and_a_narrow_one_three_rows(tracker, simulated):
    hits, routes = first_pairs(simulated, 50)
    cov = np.diag([1e-3, 1e-3, 3.6]) ** 2
    centre = np.array([0.092, 0.170, 0.9])
    off = fit_pairs(tracker, tracker.field, hits, routes, TIGHT)[0].vertex
    wide = fit_pairs(tracker, tracker.field, hits, routes, TIGHT, beam=BeamLine(centre=centre, cov=cov * 1e12))[
        0
    ].vertex
    narrow = fit_pairs(tracker, tracker.field, hits, routes, beam=BeamLine(centre=centre, cov=cov))[0].vertex
    assert np.nanmax(np.abs((wide.state - off.state) / errors(off))) < 1e-5
    assert_allclose(wide.chi2, off.chi2, rtol=1e-7)
    assert_array_equal(narrow.ndof[narrow.ok], off.ndof[narrow.ok] + 3)
    assert np.all(errors(narrow)[narrow.ok, 6] < 1e-3)


def test_threads_and_batches_do_not_matter(tracker, simulated, fitted):
    hits, routes = simulated
    threads, _ = fit_pairs(tracker, tracker.field, hits, routes, RefitConfig(n_threads=2), mass=REFERENCE)
    assert_array_equal(threads.constrained.state, fitted.constrained.state)
    few, _ = fit_pairs(tracker, tracker.field, hits.select(slice(40, 60)), routes[40:60], mass=REFERENCE)
    assert_array_equal(few.constrained.state, fitted.constrained.state[20:30])


def test_vertex_seeds_meet(simulated, fitted, tracker):
    hits, _ = simulated
    free, status = vertex_seeds(hits, fitted.tracks, np.zeros(len(fitted), dtype=np.int64), tracker.field)
    assert np.all(status == PairStatus.OK)
    shift = np.linalg.norm(free[:, 0, :3] - hits.truth.vertex[fitted.tracks[:, 0]], axis=1)
    # seeds are off by 100 um, over opening angles down to 0.1
    assert np.median(shift) < 0.2


def generated_mass(hits, fits):
    return np.array([mass_at(x) for x in true_states(hits, fits)])


def test_reference_mass_of_the_selected_pairs(simulated, fitted):
    hits, _ = simulated
    gen, soft = generated_mass(hits, fitted), fitted.vertex.pt.min(axis=1)
    ok = fitted.constrained.ok
    window, sigma = PairSelection().window, fitted.vertex.sigma_mass / fitted.vertex.mass
    reference = derive_mass_reference(gen, soft, sigma, ok, window=window)
    assert_allclose(reference.m_ref[0], gen[ok].mean(), rtol=1e-12)
    assert_allclose(reference.gamma[0], gen[ok].std(ddof=1), rtol=1e-12)
    assert reference.n_pairs[0] == ok.sum()
    assert_allclose(reference.common_error, gen[ok].std(ddof=1) / np.sqrt(ok.sum()), rtol=1e-12)
    more = generate_muons(MuonGeneration(process="jpsi", seed=6), 1_000_000).state
    expected = pair_masses(more.reshape(-1, 2, 5))
    expected = expected[(expected > window[0]) & (expected < window[1])]
    assert abs(reference.m_ref[0] - expected.mean()) < 4.0 * expected.std() / np.sqrt(ok.sum())
    assert abs(reference.gamma[0] - expected.std()) < 0.002
    with pytest.raises(ValueError, match=r"bin 1 .* holds 0 selected pairs"):
        derive_mass_reference(gen, soft, sigma, ok, window=window, pt_edges=np.array([0.0, 500.0, 1000.0]))


def test_pairs_outside_the_reference_table_are_named(tracker, simulated):
    hits, routes = first_pairs(simulated, 30)
    table = MassReference.table(np.array([3.0, 6.0]), np.array([3.0924]), np.array([0.02]), np.zeros(1))
    fits, _ = fit_pairs(tracker, tracker.field, hits, routes, mass=table)
    outside = fits.vertex.pt.min(axis=1) > 6.0
    assert 0 < outside.sum() < 30
    assert np.all(fits.constrained.status[outside] == PairStatus.OUTSIDE_TABLE)
    assert not np.any(fits.constrained.status[~outside] == PairStatus.OUTSIDE_TABLE)


def on_the_surface(fits):
    """(n, 9) states where the constrained fits are linearised: back along C a by what e (1/s - 1/t) moved them."""
    ok = fits.constrained.ok
    x, cov, gamma = fits.constrained.state[ok], fits.constrained.cov[ok], fits.gamma[ok]
    slope = np.zeros_like(x)
    for i, row in enumerate(x):
        for j in range(6):
            shift = np.eye(9)[j] * 1e-6
            slope[i, j] = (mass_at(row + shift) - mass_at(row - shift)) / 2e-6
    gain = np.einsum("nij,nj->ni", cov, slope)  # C a Gamma^2 / s
    share = np.einsum("ni,ni->n", gain, slope) / gamma**2  # a C a / s
    t = share + 0.01 * (1.0 - share)  # / s
    return (
        x + gain * ((fits.constrained.mass[ok] - fits.m_ref[ok]) / gamma**2 * (1.0 - 1.0 / t) / (1.0 - share))[:, None]
    )


def test_cuts_act_on_the_surface_of_the_mass(tracker, simulated):
    hits, routes = first_pairs(simulated, 400)
    everything, _ = fit_pairs(tracker, tracker.field, hits, routes, mass=REFERENCE)
    state = on_the_surface(everything)
    pt = np.cos(state[:, [1, 4]]) / np.abs(state[:, [0, 3]])
    eta = np.abs(np.arcsinh(np.tan(state[:, [1, 4]])))
    cut = PairSelection(pt_min=4.0, eta_max=1.5)
    fits, _ = fit_pairs(tracker, tracker.field, hits, routes, mass=REFERENCE, selection=cut)
    ok = everything.constrained.ok
    status = fits.constrained.status[ok]
    soft, forward = pt.min(axis=1) < 4.0, eta.max(axis=1) > 1.5
    # the surface was found again from the other side, and m is bent on the way
    clear = (np.abs(pt.min(axis=1) / 4.0 - 1.0) > 1e-3) & (np.abs(eta.max(axis=1) - 1.5) > 1e-3)
    assert clear.mean() > 0.98
    assert_array_equal((status == PairStatus.SOFT)[clear], soft[clear])
    assert_array_equal((status == PairStatus.FORWARD)[clear], (forward & ~soft)[clear])
    kept = status == PairStatus.OK
    assert_array_equal(fits.constrained.state[ok][kept], everything.constrained.state[ok][kept])
    # measured momenta would choose others: they follow the noise of the mass
    measured = everything.vertex.pt[ok].min(axis=1) < 4.0
    assert np.sum(measured != soft) > 2
    assert np.all(fits.constrained.status[~ok] == everything.constrained.status[~ok])


@pytest.mark.parametrize(("mass", "lowest"), [(3.0969, 3.0691), (2.5, 3.5)])
def test_muons_are_wanted_from_below_the_cut(mass, lowest):
    assert PairSelection(pt_min=3.5).lowest_pt(mass) == pytest.approx(lowest, abs=1e-4)


def test_a_reference_mass_of_another_window_is_refused(tracker, simulated, fitted):
    hits, routes = simulated
    mass = derive_mass_reference(
        generated_mass(hits, fitted), fitted.vertex.pt.min(axis=1), fitted.vertex.sigma_mass / fitted.vertex.mass,
        fitted.constrained.ok, window=PairSelection().window,
    )  # fmt: skip
    hits, routes = first_pairs(simulated, 10)
    with pytest.raises(ValueError, match=r"pairs of 2\.9 to 3\.3 GeV, the selection takes 2\.8 to 3\.4 GeV"):
        fit_pairs(
            tracker, tracker.field, hits, routes, mass=mass, selection=PairSelection(window=(2.8, 3.4)),
        )  # fmt: skip
    fits, _ = fit_pairs(tracker, tracker.field, hits, routes, mass=mass)
    assert_allclose(
        fits.m_ref, mass.m_ref[0] + np.interp(fits.vertex.sigma_mass / fits.vertex.mass, mass.sigma, mass.shift[0])
    )


# --------------------------------------------------------------------------------------------------- bad input


def test_pairs_that_are_none_are_named_and_the_rest_is_untouched(tracker, simulated, fitted):
    hits, routes = first_pairs(simulated, 8)
    pair = hits.pair.copy()
    pair[1] = -1
    pair[5] = pair[2]
    charge = hits.charge.copy()
    charge[6] = -charge[6]
    module = hits.module_id.copy()
    module[hits.offsets[8]] = tracker.n_modules + 7
    wrong = replace(hits, pair=pair, charge=charge, module_id=module)
    fits, _ = fit_pairs(tracker, tracker.field, wrong, routes)
    at = {int(number): int(status) for number, status in zip(fits.pair, fits.vertex.status, strict=True)}
    assert at[int(hits.pair[0])] == PairStatus.LONE
    assert at[int(hits.pair[2])] == PairStatus.CROWDED
    assert at[int(hits.pair[4])] == PairStatus.LONE
    assert at[int(hits.pair[6])] == PairStatus.BAD_SEED
    assert at[int(hits.pair[8])] == PairStatus.BAD_HIT
    assert fits.ledger().line() == "read 8 pairs = used 3 + bad_hit 1 + bad_seed 1 + lone 2 + crowded 1"
    same = np.isin(fitted.pair, hits.pair[10:])
    assert_array_equal(fits.vertex.state[fits.vertex.ok], fitted.vertex.state[same])


def test_a_hit_of_both_tracks_is_named(tracker, simulated):
    hits, routes = first_pairs(simulated, 2)
    twin = Hits.concatenate([hits.select([0]), hits.select([0]), hits.select([2, 3])])
    twin = replace(twin, event=hits.event, pair=hits.pair)
    fits, _ = fit_pairs(tracker, tracker.field, twin, routes[[0, 0, 2, 3]])
    assert fits.vertex.status[0] == PairStatus.SHARED_HIT
    assert fits.vertex.ok[1]


def test_parallel_tracks_have_no_vertex(tracker, simulated):
    hits, routes = first_pairs(simulated, 2)
    seed = hits.seed.copy()
    seed[1] = seed[0]
    seed[1, 1] += 4e-4
    fits, _ = fit_pairs(
        tracker, tracker.field, replace(hits, seed=seed, charge=np.sign(seed[:, 0]).astype(np.int64)), routes
    )
    assert fits.vertex.status[0] == PairStatus.PARALLEL
    with pytest.raises(Exception, match="open by less than 1 mrad"):
        fits.require_converged()


def test_no_pairs_at_all(tracker, simulated):
    hits, routes = first_pairs(simulated, 2)
    fits, _ = fit_pairs(tracker, tracker.field, replace(hits, pair=np.full(4, -1)), routes, mass=REFERENCE)
    assert len(fits) == 0
    assert fits.ledger().read == 0


def test_a_saved_result_comes_back_bit_for_bit(tmp_path, fitted):
    fitted.save(tmp_path / "pairs.h5")
    back = type(fitted).load(tmp_path / "pairs.h5")
    assert_array_equal(back.constrained.cov, fitted.constrained.cov)
    assert_array_equal(back.tracks, fitted.tracks)
