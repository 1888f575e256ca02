"""A, e, M from mass shifts: linear toys with an exact answer, the traps of signs and factors, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import NotCertified
from mucal.massfit.bins import Binning, fill
from mucal.massfit.status import Status
from mucal.scale import ScaleConfig, ScaleTable, correct_pt, derive, residuals
from mucal.scale.least_squares import normal_equations
from mucal.scale.system import build_system
from mucal.simulation import DimuonSimulation, generate_dimuons, injected_table

EDGES = np.linspace(-2.4, 2.4, 13)
TABLE = injected_table("random", EDGES, seed=4)


def errors(histograms):
    return 1.23 * 0.012 / np.sqrt(histograms.n_events)


def exact_shift(histograms, table: ScaleTable, make_fits) -> np.ndarray:
    """ln s of every bin if the table were the truth."""
    fits = make_fits(histograms, np.zeros(histograms.n_bins), errors(histograms))
    system, _, _ = build_system(fits, None, min_events=0, smoothed=False)
    return 0.5 * system.predict(table.parameters)[0]


@pytest.fixture(scope="module")
def shift(jpsi_histograms, make_fits) -> np.ndarray:
    return exact_shift(jpsi_histograms, TABLE, make_fits)


@pytest.fixture(scope="module")
def exact(jpsi_histograms, shift, make_fits):
    return make_fits(jpsi_histograms, shift, errors(jpsi_histograms))


# ------------------------------------------------------------------------------------------------ the answer


def test_exact_shifts_give_back_the_table(exact):
    found = derive(exact)
    assert_allclose(found.parameters, TABLE.parameters, atol=1e-9)
    assert found.chi2 < 1e-6
    assert found.ndf == exact.histograms.n_bins - 36
    assert found.pt_range == (4.0, 25.0)
    assert found.resonance == "jpsi"


def test_the_linear_equations_agree_with_a_dense_solution(jpsi_histograms, make_fits):
    # shifts so small that ln(1 + x) = x: an explicit design matrix, filled event average by event average
    rng = np.random.default_rng(3)
    sigma = errors(jpsi_histograms)
    y = 2e-5 * rng.normal(size=sigma.size) * sigma / sigma.mean()
    found = derive(make_fits(jpsi_histograms, y / 2, sigma), config=ScaleConfig(smooth_errors=False))
    design = np.zeros((y.size, 36))
    for b, (i_plus, _, i_minus, _) in enumerate(jpsi_histograms.index):
        n = jpsi_histograms.counts[b].sum()
        for muon, (i, q) in enumerate(((i_plus, 1), (i_minus, -1))):
            w, wk, wpt = jpsi_histograms.sums[b, muon, :3] / n
            design[b, i] += 2 * w
            design[b, 12 + i] -= 2 * wk
            design[b, 24 + i] += q * 2 * wpt
    whitened = design / (2 * sigma)[:, None]
    expected, *_ = np.linalg.lstsq(whitened, y / (2 * sigma), rcond=None)
    cov = np.linalg.inv(whitened.T @ whitened)
    unit = np.sqrt(np.diag(cov))
    assert_allclose(found.parameters / unit, expected / unit, atol=1e-3)
    assert_allclose(found.cov / np.outer(unit, unit), cov / np.outer(unit, unit), atol=1e-4)


def test_normal_equations_accumulate_terms_of_one_column():
    x, columns = np.array([[2.0, 3.0], [1.0, -1.0]]), np.array([[0, 0], [0, 1]])
    matrix, moment = normal_equations(x, columns, np.array([1.0, 4.0]), np.array([1.0, 0.5]), 2)
    design = np.array([[5.0, 0.0], [1.0, -1.0]])
    assert_allclose(matrix, design.T @ np.diag([1.0, 4.0]) @ design)
    assert_allclose(moment, design.T @ (np.array([1.0, 4.0]) * [1.0, 0.5]))


def test_equations_follow_events_moved_by_the_table(make_fits):
    """The truth behind the equations: shift every pair with the exact kinematics and average ln m."""
    table = injected_table("random", EDGES, A=1e-3, e=4e-3, M=5e-5, seed=8)
    sample = generate_dimuons(DimuonSimulation(scale=table, seed=6, radiation=False), 300_000)
    undone = sample.dimuons
    fixed = undone.with_pt(correct_pt(table, undone.pt, undone.eta, undone.charge))
    ratio = np.log(undone.mass / fixed.mass)
    binning = Binning(eta_edges=EDGES, pt_edges=np.array([4.0, 5.2, 6.3, 8.7, 25.0]), mass_edges=np.array([2.5, 3.7]))
    histograms = fill(undone, binning)
    where = np.stack(
        [np.searchsorted(e, v, side="right") - 1 for m in (0, 1) for e, v in (
            (binning.eta_edges, undone.eta[:, m]), (binning.pt_edges, undone.pt[:, m]))], axis=1
    )  # fmt: skip
    keys = np.ravel_multi_index(tuple(np.clip(where, 0, [11, 3, 11, 3]).T), (12, 4, 12, 4))
    inside = np.all((undone.pt < 25.0), axis=1) & (undone.mass > 2.5) & (undone.mass < 3.7)
    rows = np.searchsorted(np.ravel_multi_index(tuple(histograms.index.T), (12, 4, 12, 4)), keys[inside])
    mean = np.bincount(rows, weights=ratio[inside]) / np.bincount(rows)
    # within a bin shifts vary by 1e-3, so second order is 1e-6
    assert_allclose(mean, exact_shift(histograms, table, make_fits), atol=2e-6)


def test_pulls_of_toys_are_standard_normal(jpsi_histograms, shift, make_fits):
    rng = np.random.default_rng(7)
    sigma = errors(jpsi_histograms)
    z, chi2 = [], []
    for _ in range(60):
        table = derive(make_fits(jpsi_histograms, shift + sigma * rng.normal(size=sigma.size), sigma))
        z.append(np.linalg.solve(np.linalg.cholesky(table.cov), table.parameters - TABLE.parameters))
        chi2.append(table.chi2)
    z = np.array(z)
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs(z.std() - 1) < 4 / np.sqrt(2 * z.size)
    assert abs(np.mean(chi2) - table.ndf) < 4 * np.sqrt(2 * table.ndf / 60)


@pytest.mark.parametrize("factor", [-5.0, -1.0, 1.0, 5.0])
def test_recovered_over_injected_is_one_over_the_whole_range(jpsi_histograms, factor, make_fits):
    # A up to 5e-3, e up to 1e-2 GeV, M up to 1e-4 /GeV: the product form leaves nothing of second order
    table = injected_table("sine", EDGES, A=1e-3 * factor, e=2e-3 * factor, M=2e-5 * factor)
    found = derive(make_fits(jpsi_histograms, exact_shift(jpsi_histograms, table, make_fits), errors(jpsi_histograms)))
    for name in ("A", "e", "M"):
        true = getattr(table, name)
        assert abs(np.sum(getattr(found, name) * true) / np.sum(true**2) - 1) < 1e-5


# ------------------------------------------------------------------------------------------------ simulation, |eta|


def test_a_shift_common_to_data_and_simulation_drops_out(jpsi_histograms, shift, exact, make_fits):
    # the binning trap (3e-4) and radiation do this
    rng = np.random.default_rng(5)
    common = 3e-4 * rng.normal(size=shift.size)
    data = make_fits(jpsi_histograms, shift + common, errors(jpsi_histograms))
    simulation = make_fits(jpsi_histograms, common, errors(jpsi_histograms))
    found = derive(data, simulation)
    assert_allclose(found.parameters, TABLE.parameters, atol=1e-9)
    assert_allclose(found.cov, 2.0 * derive(exact).cov, rtol=1e-3, atol=1e-20)


def test_abs_eta_bins_unfold_to_equal_and_fully_correlated_sides(jpsi_histograms_abs_eta, make_fits):
    histograms = jpsi_histograms_abs_eta
    folded = injected_table("random", histograms.eta_edges, seed=2)
    fits = make_fits(histograms, exact_shift(histograms, folded, make_fits), errors(histograms))
    found = derive(fits)
    assert_allclose(found.eta_edges, EDGES, atol=1e-15)
    for name in ("A", "e", "M"):
        assert_allclose(getattr(found, name)[6:], getattr(folded, name), atol=1e-9)
        assert np.array_equal(getattr(found, name), getattr(found, name)[::-1])
    assert_allclose(found.cov[0, 11], found.cov[0, 0])
    assert np.all(np.abs(residuals(found, fits).pull) < 1e-3)


def test_abs_eta_bins_that_do_not_start_at_zero_are_refused(jpsi_histograms_abs_eta, make_fits):
    inner = jpsi_histograms_abs_eta.index[:, [0, 2]].min(axis=1) >= 1
    h = jpsi_histograms_abs_eta
    outer = replace(
        h, eta_edges=h.eta_edges[1:], index=h.index[inner] - [1, 0, 1, 0], counts=h.counts[inner], sums=h.sums[inner]
    )
    with pytest.raises(ValueError, match=r"\|eta\| bins start at 0.4"):
        derive(make_fits(outer, np.zeros(outer.n_bins), errors(outer)))


# ------------------------------------------------------------------------------------------------ what is free


def test_parameters_that_are_not_free_stay_zero(exact):
    found = derive(exact, config=ScaleConfig(free=("A",)))
    assert not np.any(found.e)
    assert not np.any(found.M)
    assert not np.any(found.cov[12:, :])
    assert found.ndf == exact.histograms.n_bins - 12


def test_a_tight_prior_holds_and_a_wide_one_does_nothing(exact):
    free, wide, tight = (derive(exact, config=ScaleConfig(prior=prior)) for prior in ({}, {"M": 1.0}, {"M": 1e-12}))
    assert_allclose(wide.parameters, free.parameters, atol=1e-9)
    assert np.all(np.abs(tight.M) < 1e-10)
    assert tight.ndf == free.ndf + 12
    assert_allclose(np.sqrt(np.diag(tight.cov)[24:]), 1e-12, rtol=1e-6)


def test_one_bin_of_momentum_leaves_A_and_e_undetermined(jpsi_histograms, make_fits):
    h = jpsi_histograms
    one = (h.index[:, 1] == 1) & (h.index[:, 3] == 1)
    same = replace(h, index=h.index[one], counts=h.counts[one], sums=h.sums[one].copy())
    same.sums[:, :, 1] = same.sums[:, :, 0] / 5.75  # every muon at 5.75 GeV
    same.sums[:, :, 2] = same.sums[:, :, 0] * 5.75
    fits = make_fits(same, np.zeros(same.n_bins), errors(same))
    with pytest.raises(ValueError, match="a combination of parameters has no information"):
        derive(fits)
    assert derive(fits, config=ScaleConfig(prior={"e": 1e-2, "M": 1e-4})).n_bins == 12


def test_parameters_without_events_are_named(jpsi_histograms, make_fits):
    h = jpsi_histograms
    inner = np.all(h.index[:, [0, 2]] != 0, axis=1)
    part = replace(h, index=h.index[inner], counts=h.counts[inner], sums=h.sums[inner])
    fits = make_fits(part, np.zeros(part.n_bins), errors(part))
    with pytest.raises(ValueError, match=r"3 parameters have no information: A\[-2.4, -2\), e\[-2.4, -2\), M\[-2.4"):
        derive(fits)


# ------------------------------------------------------------------------------------------------ bookkeeping


def test_every_bin_is_used_or_rejected_for_a_reason(exact, jpsi_histograms):
    status = exact.status.copy()
    # three of the emptiest bins with enough events
    order = np.argsort(jpsi_histograms.n_events)
    enough = order[jpsi_histograms.n_events[order] >= 20]
    status[enough[:2]], status[enough[2]] = Status.NOT_CONVERGED, Status.BAD_GOF
    data = replace(exact, status=status)
    simulation = replace(exact, values=0.0 * exact.values)
    ledger = derive(data, simulation, ScaleConfig(min_events=20)).provenance.ledgers["scale"]
    assert ledger.unit == "bins"
    assert ledger.read == jpsi_histograms.n_bins
    assert ledger.rejected["not_converged in data"] == 2
    assert ledger.rejected["bad_gof in data"] == 1
    assert ledger.rejected["too few events"] == np.sum(jpsi_histograms.n_events < 20)


def test_bins_that_simulation_does_not_fill_are_counted(exact, jpsi_histograms, make_fits):
    kept = np.arange(jpsi_histograms.n_bins) % 50 != 0
    h = replace(
        jpsi_histograms, index=jpsi_histograms.index[kept], counts=jpsi_histograms.counts[kept],
        sums=jpsi_histograms.sums[kept],
    )  # fmt: skip
    simulation = make_fits(h, np.zeros(h.n_bins), errors(h))
    ledger = derive(exact, simulation).provenance.ledgers["scale"]
    assert ledger.rejected["no simulated events"] == np.sum(~kept)


@pytest.mark.parametrize("smooth", [True, False])
def test_bins_whose_scale_was_fixed_give_no_equation(exact, jpsi_histograms, smooth: bool):
    order = np.argsort(jpsi_histograms.n_events)
    fixed = replace(exact, cov=exact.cov.copy())
    fixed.cov[order[:3], 0] = fixed.cov[order[:3], :, 0] = 0.0
    config = ScaleConfig(smooth_errors=smooth)
    found = derive(fixed, config=config)
    assert found.provenance.ledgers["scale"].rejected == {"scale fixed": 3}
    of_simulation = derive(exact, fixed, config)
    assert of_simulation.provenance.ledgers["scale"].rejected == {"scale fixed in simulation": 3}
    assert_allclose(found.parameters, TABLE.parameters, atol=1e-9)
    assert_allclose(of_simulation.parameters, 0.0, atol=1e-9)
    everywhere = replace(exact, cov=0.0 * exact.cov)
    for pair in ((everywhere, None), (exact, everywhere)):
        with pytest.raises(NotCertified, match="of the events sit in mass fits that failed"):
            derive(*pair, config)


def test_too_many_events_in_failed_fits_are_refused(exact, jpsi_histograms):
    status = exact.status.copy()
    status[np.argmax(jpsi_histograms.n_events)] = Status.NOT_CONVERGED
    broken = replace(exact, status=status)
    share = jpsi_histograms.n_events.max() / jpsi_histograms.n_events.sum()
    with pytest.raises(NotCertified, match="of the events sit in mass fits that failed"):
        derive(broken, config=ScaleConfig(max_lost=0.9 * share))
    assert derive(broken, config=ScaleConfig(max_lost=1.1 * share)).n_bins == 12


@pytest.mark.parametrize("side", [0, 2])
def test_a_row_of_one_charge_without_a_good_fit_is_refused(exact, jpsi_histograms, side: int):
    status = np.where(jpsi_histograms.index[:, side] == 3, Status.NOT_CONVERGED, exact.status)
    broken, loose = replace(exact, status=status), ScaleConfig(max_lost=0.5)
    with pytest.raises(NotCertified, match=r"1 rows of \(eta, charge\) have events but no good") as error:
        derive(broken, config=loose)
    assert error.value.kind == "scale.lost_row"
    assert error.value.where["rows"].startswith(f"{'mu+' if side == 0 else 'mu-'} in eta [-1.2, -0.8) of ")
    # the other charge knows the same A, e and M: who says so has them
    assert_allclose(derive(broken, config=replace(loose, lost_rows=True)).parameters, TABLE.parameters, atol=1e-9)


def test_a_prior_does_not_hide_a_lost_row(exact, jpsi_histograms):
    lost = np.any(jpsi_histograms.index[:, [0, 2]] == 3, axis=1)
    broken = replace(exact, status=np.where(lost, Status.NOT_CONVERGED, exact.status))
    config = ScaleConfig(max_lost=0.5, prior={"A": 1e-2, "e": 1e-2, "M": 1e-4})
    with pytest.raises(NotCertified, match="2 rows of"):
        derive(broken, config=config)
    allowed = derive(broken, config=replace(config, lost_rows=True))
    assert abs(allowed.A[3]) < 1e-9  # the prior's


def test_one_good_fit_keeps_a_row(exact, jpsi_histograms):
    row = np.flatnonzero(jpsi_histograms.index[:, 0] == 3)
    status = exact.status.copy()
    status[row[:-1]] = Status.NOT_CONVERGED
    assert derive(replace(exact, status=status), config=ScaleConfig(max_lost=0.5)).n_bins == 12


def test_the_share_of_simulation_in_the_variance(jpsi_histograms, exact, make_fits):
    # a simulation with twice the errors of data makes 4 / 5 of the variance of the difference
    simulation = make_fits(jpsi_histograms, np.zeros(jpsi_histograms.n_bins), 2.0 * errors(jpsi_histograms))
    table = derive(exact, simulation)
    assert residuals(table, exact, simulation).simulated_share == pytest.approx(0.8, rel=1e-6)
    alone = residuals(derive(exact), exact)
    assert alone.simulated_share == 0.0
    assert np.isnan(replace(alone, simulated=None).simulated_share)


def test_shifts_that_are_no_calibration_are_refused(jpsi_histograms, make_fits):
    rng = np.random.default_rng(1)
    wild = make_fits(jpsi_histograms, 3.0 * rng.normal(size=jpsi_histograms.n_bins), errors(jpsi_histograms))
    with pytest.raises(NotCertified, match="the shifts are too large"):
        derive(wild)


def test_residuals_belong_to_the_equations_that_were_solved(jpsi_histograms, shift, make_fits):
    rng = np.random.default_rng(9)
    sigma = errors(jpsi_histograms)
    fits = make_fits(jpsi_histograms, shift + sigma * rng.normal(size=sigma.size), sigma)
    table = derive(fits)
    found = residuals(table, fits)
    assert_allclose(np.sum(found.pull**2), table.chi2, rtol=1e-12)
    assert np.array_equal(found.index, jpsi_histograms.index)


@pytest.mark.parametrize("moved", [1e-9, 0.1])
def test_residuals_against_a_table_in_other_bins_are_refused(exact, moved: float):
    table = derive(exact)
    edges = table.eta_edges.copy()
    edges[5] += moved
    with pytest.raises(ValueError, match="the table has the eta edges"):
        residuals(replace(table, eta_edges=edges), exact)
    nearly = replace(table, eta_edges=np.nextafter(table.eta_edges, 9.0))
    assert np.array_equal(residuals(nearly, exact).pull, residuals(table, exact).pull)


def test_a_derived_table_is_saved_bit_for_bit(exact, tmp_path):
    table = derive(exact)
    again = ScaleTable.load(table.save(tmp_path / "scale.h5"))
    assert again.parameters.tobytes() == table.parameters.tobytes()
    assert again.cov.tobytes() == table.cov.tobytes()
    assert list(again.provenance.configuration["free"]) == ["A", "e", "M"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"free": ()}, "expected one or more of A, e, M"),
        ({"free": ("A", "A")}, "each once"),
        ({"free": ("B",)}, "no scale parameter 'B'"),
        ({"prior": {"q": 1.0}}, "no scale parameter 'q'"),
        ({"prior": {"A": 0.0}}, "the prior of A has width 0.0"),
        ({"max_lost": np.nan}, "max_lost = nan, expected a fraction"),
        ({"max_lost": 5.0}, "max_lost = 5.0, expected a fraction"),
        ({"max_lost": -0.1}, "max_lost = -0.1, expected a fraction"),
        ({"min_events": np.nan}, "min_events = nan"),
        ({"tolerance": np.inf}, "tolerance = inf"),
        ({"max_steps": 0}, "max_steps = 0"),
    ],
)
def test_wrong_configurations_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScaleConfig(**arguments)


def test_samples_that_do_not_belong_together_are_refused(exact, jpsi_histograms_abs_eta, make_fits):
    with pytest.raises(ValueError, match="data are fits of 'jpsi', simulation of 'z'"):
        derive(exact, replace(exact, resonance="z"))
    h = jpsi_histograms_abs_eta
    with pytest.raises(ValueError, match="different eta_edges"):
        derive(exact, make_fits(h, np.zeros(h.n_bins), errors(h)))


# ------------------------------------------------------------------------------------------------ traps


@pytest.mark.parametrize("trap", ["factor two", "eta flipped", "charges swapped", "GeV and MeV", "sign"])
def test_a_wrong_convention_does_not_close(jpsi_histograms, shift, trap, make_fits):
    """Each mistake, made on purpose, moves the answer by many standard errors of 8 10^6 pairs."""
    h = jpsi_histograms
    index, sums, y = h.index.copy(), h.sums.copy(), shift.copy()
    if trap == "factor two":
        y *= 2.0
    elif trap == "eta flipped":
        index[:, [0, 2]] = 11 - index[:, [0, 2]]
    elif trap == "charges swapped":
        index, sums = index[:, [2, 3, 0, 1]], sums[:, ::-1]
    elif trap == "GeV and MeV":
        sums[:, :, 1] /= 1e3
        sums[:, :, 2] *= 1e3
    else:
        y *= -1.0
    wrong = replace(h, index=index, sums=np.ascontiguousarray(sums))
    found = derive(make_fits(wrong, y, errors(h) / 10.0))
    pulls = (found.parameters - TABLE.parameters) / np.sqrt(np.diag(found.cov))
    assert np.max(np.abs(pulls)) > 5.0
