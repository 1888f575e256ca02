from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import displaced
from mucal.detector.field import harmonic_field, with_modes
from mucal.errors import InputError
from mucal.propagation import find_routes, free_states, surfaces_of, terrain
from mucal.refit import FitStatus, ParameterMap, RefitConfig, fit_tracks
from mucal.refit.kernels import fit as kernels

TIGHT = RefitConfig(tolerance=1e-13, most_iterations=20)


def errors(fits):
    return np.sqrt(np.einsum("nii->ni", fits.cov))


def everything(detector, magnet):
    """Every mean parameter floats, each with a label of its own."""
    m, e, f = detector.n_modules, detector.n_elements, magnet.modes.index.shape[0]
    none = np.full(e, -1)
    return ParameterMap(
        n_parameters=6 * m + 4 * e + f, digest="all", alignment=np.arange(6 * m).reshape(m, 6),
        bfield=6 * m + np.arange(3 * e).reshape(e, 3), eloss=6 * m + 3 * e + np.arange(e),
        modes=6 * m + 4 * e + np.arange(f), hit_variance=np.full((m, 2), -1), scattering=none, straggling=none,
    )  # fmt: skip


@pytest.fixture(scope="module")
def fitted(tracker, magnet, sample):
    return fit_tracks(tracker, magnet, sample.hits, sample.routes)[0]


def test_pulls_of_all_five_parameters_are_standard_normal(sample, fitted):
    ok = fitted.ok
    pull = ((fitted.state - sample.hits.truth.state) / errors(fitted))[ok]
    n = int(ok.sum())
    assert n > 0.995 * len(fitted)
    assert np.all(np.abs(pull.mean(axis=0)) < 4 / np.sqrt(n))
    assert np.all(np.abs(pull.std(axis=0) - 1) < 4 / np.sqrt(2 * n))


def test_chi2_is_that_of_its_degrees_of_freedom(fitted):
    chi2, ndof = fitted.chi2[fitted.ok].sum(), fitted.ndof[fitted.ok].sum()
    assert abs(chi2 - ndof) < 4 * np.sqrt(2 * ndof)


def test_both_solvers_agree(tracker, magnet, sample, fitted):
    other = fit_tracks(tracker, magnet, sample.hits, sample.routes, RefitConfig(solver="states"))[0]
    assert_array_equal(other.status, fitted.status)
    ok, sigma = fitted.ok, errors(fitted)
    assert np.abs((other.state - fitted.state) / sigma)[ok].max() < 1e-10
    assert_allclose(other.chi2[ok], fitted.chi2[ok], rtol=1e-10)
    assert_allclose(
        (other.cov / sigma[:, :, None] / sigma[:, None])[ok], (fitted.cov / sigma[:, :, None] / sigma[:, None])[ok],
        atol=1e-10,
    )  # fmt: skip


def test_generalised_least_squares_by_brute_force(tracker, magnet, sample, brute_force):
    # dense numpy: numerical derivatives of the predictions, covariance over pairs of surfaces, normal equations
    hits, routes = sample.hits.select(slice(0, 5)), sample.routes[:5]
    fits, _ = fit_tracks(tracker, magnet, hits, routes, TIGHT)
    for i in range(5):
        x, cov, chi2 = brute_force(sample, i, fits.state[i])
        sigma = np.sqrt(np.diag(cov))
        assert np.abs((fits.state[i] - x) / sigma).max() < 1e-5
        assert_allclose(fits.cov[i] / np.outer(sigma, sigma), cov / np.outer(sigma, sigma), atol=1e-5)
        assert_allclose(fits.chi2[i], chi2, rtol=1e-6)


def test_seeds_do_not_matter(tracker, magnet, sample):
    hits = sample.hits.select(slice(0, 200))
    one = fit_tracks(tracker, magnet, hits, sample.routes[:200], TIGHT)[0]
    other = fit_tracks(tracker, magnet, replace(hits, seed=hits.truth.state), sample.routes[:200], TIGHT)[0]
    both = one.ok & other.ok
    assert both.sum() > 195
    assert np.abs((one.state - other.state) / errors(one))[both].max() < 1e-5


def test_threads_do_not_matter(tracker, magnet, sample, fitted):
    other = fit_tracks(tracker, magnet, sample.hits, sample.routes, RefitConfig(n_threads=2))[0]
    assert_array_equal(other.state, fitted.state)
    assert_array_equal(other.cov, fitted.cov)


def test_the_step_that_converges_is_small(fitted):
    assert np.all(fitted.edm[fitted.ok] < 0.5e-5)
    assert fitted.n_iterations[fitted.ok].mean() < 4


def test_trace_holds_every_iteration(tracker, magnet, sample):
    fits, _ = fit_tracks(tracker, magnet, sample.hits.select(slice(0, 20)), sample.routes[:20], RefitConfig(trace=True))
    kept = np.isfinite(fits.trace[:, :, 0]).sum(axis=1)
    assert_array_equal(kept, fits.n_iterations)
    last = fits.trace[np.arange(20), kept - 1]
    assert_allclose(last[:, 0] - last[:, 1], fits.chi2, rtol=1e-12)


def test_routes_walked_from_the_seeds_give_the_same_fits(tracker, magnet, sample, fitted):
    n = 300
    hits = sample.hits.select(slice(0, n))
    width = int(hits.n_hits.max())
    required = np.full((n, width), -1)
    required[np.arange(width) < hits.n_hits[:, None]] = hits.module_id
    routes = find_routes(magnet, terrain(tracker), free_states(hits.seed, hits.seed_ref), required=required)
    fits, _ = fit_tracks(tracker, magnet, hits, routes.element)
    both = fits.ok & fitted.ok[:n]
    assert both.sum() > 0.98 * n
    # the material at the edges of passive surfaces differs for a few
    moved = np.abs((fits.state - fitted.state[:n]) / errors(fits))[both].max(axis=1)
    assert np.mean(moved < 0.05) > 0.9


# ------------------------------------------------------------------------------------------------ derivatives


FEW = 1e-6
"""Fraction of collisions kept: next to no straggling."""

NO_STRAGGLING = replace(TIGHT, alpha=FEW)


def bare(detector, *, loss=False):
    """The surfaces without scattering, and without loss unless wanted: weights that do not depend on the track."""
    surfaces = surfaces_of(detector)
    xi = surfaces.xi if loss else np.zeros_like(surfaces.xi)
    return replace(surfaces, x_over_x0=np.zeros_like(surfaces.x_over_x0), xi=xi)


@pytest.mark.parametrize("kind", ["alignment", "bfield", "eloss", "modes"])
@pytest.mark.parametrize("name", ["random", "exact"])
def test_derivatives_of_chi2_and_state_against_refits(tracker, magnet, make_sample, kind, name):
    # The gradient at random hits, where it is not 0; the Hessian and J_ref at hits without residuals, since elsewhere
    # refits also hold residuals times second derivatives of the predictions, which Gauss and Newton leave out.
    # Without material, but for the loss: it would move with its module, and the weights would change with the momentum.
    loss = kind == "eloss"
    thin = make_sample(
        tracker, magnet, 12, eta=2.0, noise=False, surfaces=bare(tracker, loss=loss), alpha=FEW,
        smear=1.0 if name == "random" else 0.0,
    )  # fmt: skip
    parameters = everything(tracker, magnet)
    m, e = tracker.n_modules, tracker.n_elements
    fits, blocks = fit_tracks(
        tracker, magnet, thin.hits, thin.routes, NO_STRAGGLING, parameters=parameters, surfaces=thin.surfaces
    )
    low, high, step = {
        "alignment": (0, 6 * m, 1e-4), "bfield": (6 * m, 6 * m + 3 * e, 1e-2),
        "eloss": (6 * m + 3 * e, 6 * m + 4 * e, 0.01), "modes": (6 * m + 4 * e, parameters.n_parameters, 1e-4),
    }[kind]  # fmt: skip

    if name == "exact" and kind in ("bfield", "modes"):
        step *= 10  # chi2 is quadratic in the step here, and must rise above rounding

    def refit(label, size):
        detector, field, corrections, surfaces = tracker, magnet, {}, thin.surfaces
        if kind == "alignment":
            moved = np.zeros((m, 6))
            moved.flat[label] = size
            detector = replace(tracker, modules=displaced(tracker.modules, moved))
            surfaces = bare(detector)
        elif kind == "modes":
            amplitudes = np.zeros(parameters.n_parameters - low)
            amplitudes[label - low] = size
            field = with_modes(harmonic_field(), magnet.modes, amplitudes)
        else:
            values = np.zeros((e, 3) if kind == "bfield" else e)
            values.flat[label - low] = size
            corrections = {"offsets" if kind == "bfield" else "ln_loss": values}
        return fit_tracks(
            detector, field, thin.hits, thin.routes, NO_STRAGGLING, surfaces=surfaces, **corrections
        )[0]  # fmt: skip

    rng = np.random.default_rng(5)
    places = np.flatnonzero((blocks.label >= low) & (blocks.label < high))
    for place in rng.choice(places, 8, replace=False):
        i = int(np.searchsorted(blocks.label_offsets, place, side="right")) - 1
        c, label = int(blocks.candidate[i]), int(blocks.label[place])
        up, down = refit(label, step), refit(label, -step)
        column = blocks.dense_factor(i)[:, place - blocks.label_offsets[i]]
        # |g| is at most sqrt(2 chi2) |B|: the size that errors are compared with
        size = np.sqrt(2 * fits.chi2[c]) * np.linalg.norm(column)
        if name == "random":
            slope = (up.chi2[c] - down.chi2[c]) / (2 * step)
            assert abs(slope - blocks.gradient[place]) <= 1e-5 * size + 1e-9 / step
            continue
        curved = (up.chi2[c] + down.chi2[c] - 2 * fits.chi2[c]) / step**2
        assert abs(curved - column @ column) <= 1e-3 * (column @ column) + 1e-8 / step**2
        moved = (up.state - down.state)[c] / (2 * step)
        scale = errors(fits)[c]
        assert np.abs((moved - fits.j_ref[place]) / scale).max() <= 1e-5 * np.abs(moved / scale).max() + 1e-7 / step


def test_scale_of_the_whole_field_is_the_momentum(tracker, magnet, make_sample):
    # (q/p) d/d(q/p) = B d/dB without loss: the uniform mode moves ln q/p and, by Maxwell's equations, nothing else
    surfaces = bare(tracker)
    thin = make_sample(tracker, magnet, 12, eta=2.0, noise=False, surfaces=surfaces)
    none = everything(tracker, magnet)
    only = replace(
        none, alignment=np.full_like(none.alignment, -1), bfield=np.full_like(none.bfield, -1),
        eloss=np.full_like(none.eloss, -1), modes=np.arange(none.modes.size), n_parameters=none.modes.size,
    )  # fmt: skip
    fits, blocks = fit_tracks(tracker, magnet, thin.hits, thin.routes, TIGHT, parameters=only, surfaces=surfaces)
    assert fits.ok.all()
    assert len(blocks) == len(fits)
    uniform = np.flatnonzero((magnet.modes.index == [1, 0, 0]).all(axis=1))[0]
    ratio = fits.j_ref.reshape(len(fits), -1, 5)[:, uniform, 0] / fits.state[:, 0]
    # d ln q/p = -dB/B with B from 3.6 to 3.81 T along the tracks
    assert np.all((-ratio > 1 / 3.85) & (-ratio < 1 / 3.6))


# ------------------------------------------------------------------------------------------------ bad input


def spoiled(sample, **columns):
    return replace(sample.hits.select(slice(0, 4)), **columns)


@pytest.mark.parametrize(
    ("column", "value", "status"),
    [
        ("u", np.nan, FitStatus.BAD_HIT),
        ("sigma_u", 0.0, FitStatus.BAD_HIT),
        ("sigma_u", np.inf, FitStatus.BAD_HIT),
        ("module_id", 10**6, FitStatus.BAD_HIT),
        ("module_id", -1, FitStatus.BAD_HIT),
    ],
)
def test_a_bad_hit_rejects_its_track_alone(tracker, magnet, sample, fitted, column, value, status):
    values = getattr(sample.hits.select(slice(0, 4)), column).copy()
    values[sample.hits.offsets[1] + 2] = value
    fits, _ = fit_tracks(tracker, magnet, spoiled(sample, **{column: values}), sample.routes[:4])
    assert fits.status[1] == status
    assert np.isnan(fits.state[1]).all()
    keep = [0, 2, 3]
    assert_array_equal(fits.state[keep], fitted.state[:4][keep])


def test_a_module_hit_twice_is_refused(tracker, magnet, sample):
    module_id = sample.hits.select(slice(0, 4)).module_id.copy()
    first = sample.hits.offsets[2]
    module_id[first + 1] = module_id[first]
    fits, _ = fit_tracks(tracker, magnet, spoiled(sample, module_id=module_id), sample.routes[:4])
    assert fits.status[2] == FitStatus.DOUBLE_HIT


def test_the_order_of_the_hits_does_not_matter(tracker, magnet, sample, fitted):
    hits, rng = sample.hits.select(slice(0, 50)), np.random.default_rng(1)
    order = np.concatenate([first + rng.permutation(n) for first, n in zip(hits.offsets, hits.n_hits, strict=False)])
    assert not np.array_equal(order, np.arange(order.size))
    shuffled = {name: getattr(hits, name)[order] for name in ("module_id", "u", "v", "sigma_u", "sigma_v")}
    fits, _ = fit_tracks(tracker, magnet, replace(hits, truth=None, **shuffled), sample.routes[:50])
    assert_array_equal(fits.state, fitted.state[:50])
    assert_array_equal(fits.chi2, fitted.chi2[:50])


def test_residuals_without_a_covariance_end_with_a_status(tracker, magnet, sample, fitted):
    # without scattering, errors whose squares underflow leave nothing on the diagonal
    sigma = sample.hits.select(slice(0, 4)).sigma_u.copy()
    own = slice(sample.hits.offsets[1], sample.hits.offsets[2])
    sigma[own] = 1e-200
    bare = replace(surfaces_of(tracker), x_over_x0=np.zeros(tracker.n_elements), xi=np.zeros(tracker.n_elements))
    plain, _ = fit_tracks(tracker, magnet, sample.hits.select(slice(0, 4)), sample.routes[:4], surfaces=bare)
    fits, _ = fit_tracks(tracker, magnet, spoiled(sample, sigma_u=sigma), sample.routes[:4], surfaces=bare)
    assert fits.status[1] == FitStatus.NOT_POSITIVE
    assert_array_equal(fits.state[[0, 2, 3]], plain.state[[0, 2, 3]])


def test_a_seed_of_the_other_charge_is_refused(tracker, magnet, sample):
    charge = sample.hits.charge[:4].copy()
    charge[0] *= -1
    fits, _ = fit_tracks(tracker, magnet, spoiled(sample, charge=charge), sample.routes[:4])
    assert fits.status[0] == FitStatus.BAD_SEED


def test_too_few_hits(tracker, magnet, sample):
    hits = sample.hits.select(slice(0, 1))
    short = replace(
        hits, offsets=np.array([0, 2]), truth=None,
        **{name: getattr(hits, name)[:2] for name in ("module_id", "u", "v", "sigma_u", "sigma_v")},
    )  # fmt: skip
    fits, _ = fit_tracks(tracker, magnet, short, sample.routes[:1])
    assert fits.status[0] == FitStatus.TOO_FEW_HITS


def test_a_hopeless_seed_ends_with_a_status(tracker, magnet, sample):
    seed = sample.hits.seed[:4].copy()
    seed[3, 1] += 0.5
    fits, _ = fit_tracks(tracker, magnet, spoiled(sample, seed=seed), sample.routes[:4])
    assert fits.status[3] != FitStatus.OK
    assert np.isnan(fits.state[3]).all()


def test_iteration_cap(tracker, magnet, sample):
    config = RefitConfig(most_iterations=1)
    fits, _ = fit_tracks(tracker, magnet, sample.hits.select(slice(0, 4)), sample.routes[:4], config)
    assert_array_equal(fits.status, FitStatus.ITERATION_CAP)


def test_ledger_adds_up_and_names_tracks(tracker, magnet, sample):
    u = sample.hits.select(slice(0, 4)).u.copy()
    u[0] = np.nan
    fits, _ = fit_tracks(tracker, magnet, spoiled(sample, u=u), sample.routes[:4])
    ledger = fits.ledger()
    assert (ledger.read, ledger.used, ledger.rejected["bad_hit"]) == (4, 3, 1)
    assert ledger.examples["bad_hit"] == ("1:1:0",)
    with pytest.raises(InputError, match=r"1 of 4 tracks were not fitted, first track 0 \(1:1:0\)"):
        fits.require_converged()


def test_a_map_of_another_detector_is_refused(tracker, magnet, sample):
    parameters = everything(tracker, magnet)
    wrong = replace(parameters, modes=parameters.modes[:-1])
    with pytest.raises(InputError, match="this detector and field have"):
        fit_tracks(tracker, magnet, sample.hits, sample.routes, parameters=wrong)


def test_variances_are_not_floated_by_a_fit_of_means(tracker, magnet, sample):
    parameters = everything(tracker, magnet)
    wrong = replace(parameters, scattering=np.zeros(tracker.n_elements, dtype=np.int64))
    with pytest.raises(InputError, match="derivatives of means only"):
        fit_tracks(tracker, magnet, sample.hits, sample.routes, parameters=wrong)


def test_every_status_has_a_sentence_and_a_number_of_the_kernels():
    assert [int(s) for s in FitStatus] == list(range(kernels.DOUBLE_HIT + 1))
    assert all(s.sentence for s in FitStatus)


def test_configuration_is_checked():
    with pytest.raises(ValueError, match="solver = 'kalman'"):
        RefitConfig(solver="kalman")
    with pytest.raises(ValueError, match="tolerance = 0"):
        RefitConfig(tolerance=0.0)
    with pytest.raises(ValueError, match="most_iterations = 0"):
        RefitConfig(most_iterations=0)


def test_fits_come_back_from_disk(tmp_path, tracker, magnet, sample):
    fits, blocks = fit_tracks(
        tracker, magnet, sample.hits.select(slice(0, 4)), sample.routes[:4], parameters=everything(tracker, magnet)
    )
    path = fits.save(tmp_path / "fits.h5")
    assert_array_equal(type(fits).load(path).j_ref, fits.j_ref)
    path = blocks.save(tmp_path / "blocks.h5")
    assert_array_equal(type(blocks).load(path).factor, blocks.factor)
