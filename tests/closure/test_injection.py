"""Known A, e, M put into generated J/psi come back: mass histograms, fits and scale table in one chain."""

from dataclasses import dataclass, replace
from functools import cache, lru_cache

import numpy as np
import pytest

from mucal.massfit import BatchConfig, Binning, MassHistograms, fill, fit_bins
from mucal.scale import ScaleConfig, ScaleTable, add_fitted_background, coherent_shift, correct_pt, derive
from mucal.scale.recovery import compare
from mucal.simulation import DimuonSimulation, injected_table, stream_dimuons

ETA = np.linspace(-2.4, 2.4, 13)
PT = np.array([4.0, 4.8, 5.8, 7.5, 25.0])
PATTERNS = ("uniform", "sine", "odd", "random")
FITS = BatchConfig(min_events=250)


@dataclass(frozen=True)
class Closure:
    injected: ScaleTable
    found: ScaleTable

    @property
    def difference(self) -> ScaleTable:
        """Found minus injected, with the errors of what was found."""
        one, other = self.found, self.injected
        return replace(one, A=one.A - other.A, e=one.e - other.e, M=one.M - other.M)

    @property
    def pulls(self) -> np.ndarray:
        return self.difference.parameters / np.sqrt(np.diag(self.found.cov))

    @property
    def whitened(self) -> np.ndarray:
        """Independent N(0, 1) if the covariance is right."""
        return np.linalg.solve(np.linalg.cholesky(self.found.cov), self.difference.parameters)


def histograms(config: DimuonSimulation, n: int, eta: np.ndarray = ETA, correction: ScaleTable | None = None):
    binning = Binning(eta_edges=eta, pt_edges=PT, mass_edges=np.linspace(2.9, 3.3, 81))
    total: MassHistograms | None = None
    for part in stream_dimuons(config, n):
        pairs = part.dimuons
        if correction is not None:
            pairs = pairs.with_pt(correct_pt(correction, pairs.pt, pairs.eta, pairs.charge))
        filled = fill(pairs, binning)
        total = filled if total is None else total + filled
    assert total is not None
    return total


@lru_cache(maxsize=8)
def simulated(seed: int, n: int, n_eta: int) -> MassHistograms:
    return histograms(DimuonSimulation(seed=seed), n, np.linspace(-2.4, 2.4, n_eta + 1))


def closure(
    table: ScaleTable, seed: int, n: int, config: ScaleConfig | None = None, simulation_size: int = 1
) -> Closure:
    """Data with the distortion and a background, undistorted simulation without one, `simulation_size` times larger."""
    data = fit_bins(
        histograms(DimuonSimulation(seed=2 * seed, scale=table, background_fraction=0.1), n, table.eta_edges), FITS
    )
    simulation = fit_bins(add_fitted_background(simulated(2 * seed + 1, simulation_size * n, table.n_bins), data), FITS)
    return Closure(injected=table, found=derive(data, simulation, config))


# ------------------------------------------------------------------------------------------------ quick, every run

SMALL_ETA = np.linspace(-2.4, 2.4, 7)
SMALL = 200_000


@pytest.fixture(scope="module")
def small() -> list[Closure]:
    """Each pattern once: 4 x 200 000 pairs in 6 eta and 4 pT bins."""
    return [closure(injected_table(p, SMALL_ETA, seed=3), seed, SMALL) for seed, p in enumerate(PATTERNS, 11)]


def test_injected_parameters_come_back_within_their_errors(small):
    # 4 x 18 independent N(0,1): the width of n of them has a standard error 1/sqrt(2n), the mean 1/sqrt(n)
    z = np.concatenate([c.whitened for c in small])
    assert abs(z.mean()) < 4.0 / np.sqrt(z.size)
    assert abs(z.std() - 1.0) < 4.0 / np.sqrt(2.0 * z.size)


def test_the_equations_are_fulfilled_to_their_errors(small):
    chi2, ndf = sum(c.found.chi2 for c in small), sum(c.found.ndf for c in small)
    assert abs(chi2 - ndf) < 4.0 * np.sqrt(2.0 * ndf)


def test_residual_scale_averaged_over_eta_vanishes(small):
    for c in small:
        shift = coherent_shift(c.difference, [8.0])
        assert abs(shift.even[0]) < 4.0 * shift.even_error[0]


def test_nothing_in_nothing_out():
    z = closure(injected_table("none", SMALL_ETA), 21, SMALL).whitened
    assert np.sum(z**2) < 18 + 4.0 * np.sqrt(2.0 * 18)


def test_a_double_sided_crystal_ball_derives_the_same_table():
    table = injected_table("sine", SMALL_ETA, seed=3)
    data = histograms(DimuonSimulation(seed=24, scale=table, background_fraction=0.1), SMALL, SMALL_ETA)
    found = []
    for model in ("template", "dscb"):
        config = BatchConfig(model=model, min_events=250)
        fits = fit_bins(data, config)
        assert fits.good.all()
        found.append(derive(fits, fit_bins(add_fitted_background(simulated(25, SMALL, 6), fits), config)))
    template, crystal_ball = found
    z = Closure(injected=table, found=crystal_ball).whitened
    assert np.sum(z**2) < 18 + 4.0 * np.sqrt(2.0 * 18)
    # the same events, whose tails the two describe differently: a fraction of an error (0.27, rms of 18)
    moved = (crystal_ball.parameters - template.parameters) / np.sqrt(np.diag(template.cov))
    assert np.sqrt(np.mean(moved**2)) < 0.5


def test_without_simulation_bins_of_reconstructed_momentum_bias_the_scale():
    # 2.4e-4 in 5e6 pairs; here known to 0.012 * 0.6 * 1.2 / sqrt(2e5) = 2e-5.  A guard: if this vanishes, the
    # simulation no longer has the effect that the ratio is there to remove.
    fits = fit_bins(simulated(32, SMALL, 6), FITS)
    n = fits.histograms.n_events[fits.good]
    assert abs(np.average(fits.value("ln_s")[fits.good], weights=n) - 2.4e-4) < 1e-4


def test_shuffled_charges_leave_no_sagitta_bias():
    table = injected_table("uniform", SMALL_ETA, A=0.0, e=0.0, M=1e-4)
    pairs = next(stream_dimuons(DimuonSimulation(seed=31, scale=table), SMALL, chunk=2**21)).dimuons
    swap = pairs.event % 2 == 1
    shuffled = replace(
        pairs,
        **{
            name: np.where(swap[:, None], getattr(pairs, name)[:, ::-1], getattr(pairs, name)) for name in ("pt", "eta")
        },
        phi=np.where(swap[:, None], pairs.phi[:, ::-1], pairs.phi),
    )
    binning = Binning(eta_edges=SMALL_ETA, pt_edges=PT, mass_edges=np.linspace(2.9, 3.3, 81))
    simulation = fit_bins(simulated(32, SMALL, 6), FITS)
    honest = derive(fit_bins(fill(pairs, binning), FITS), simulation)
    found = derive(fit_bins(fill(shuffled, binning), FITS), simulation)
    error = np.sqrt(np.diag(found.cov)[-6:])
    assert np.all(np.abs(found.M) < 4.0 * error)
    assert np.mean(honest.M) > 5.0 * np.sqrt(honest.cov[-6:, -6:].sum()) / 6


# ------------------------------------------------------------------------------------------------ the study, by hand


SEEDS = 96
"""Of 10^6 pairs each; 24 do not tell whether a mean pull of M is below 0.1."""


@cache
def of_seed(seed: int, simulation_size: int) -> Closure:
    """10^6 pairs, `simulation_size` times as many simulated; the patterns in turn."""
    return closure(injected_table(PATTERNS[seed % 4], ETA, seed=seed), 100 + seed, 1_000_000, None, simulation_size)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "n_seeds", "simulation_size"),
    [(0, 24, 4), (24, 24, 4), (48, 48, 4), (0, 40, 1)],
    ids=["four times the simulation", "and fresh seeds", "and 48 more", "simulation as large as data"],
)
def test_pulls_over_seeds_are_standard_normal(first: int, n_seeds: int, simulation_size: int):
    """Seeds of 10^6 pairs, the four patterns in turn; recorded in docs/studies/injection.md."""
    runs = [of_seed(s, simulation_size) for s in range(first, first + n_seeds)]
    pulls = np.array([c.pulls for c in runs])
    z = np.array([c.whitened for c in runs])
    shifts = [coherent_shift(c.difference, [8.0, 40.0]) for c in runs]
    even = np.array([s.even for s in shifts])
    error = np.array([s.even_error for s in shifts])
    print(f"\n{len(runs)} seeds of 1e6: pulls mean {pulls.mean():+.3f} width {pulls.std():.3f}")
    for name, part in zip("AeM", np.split(pulls, 3, axis=1), strict=True):
        of_mean = part.mean(axis=1).std(ddof=1) / np.sqrt(len(runs))  # pulls of one table are correlated, seeds are not
        print(f"  {name}: mean {part.mean():+.3f} +- {of_mean:.3f} width {part.std():.3f}")
    print(f"  whitened: mean {z.mean():+.3f} width {z.std():.3f}")
    chi2, ndf = sum(c.found.chi2 for c in runs), sum(c.found.ndf for c in runs)
    print(f"  chi2/ndf {chi2:.0f}/{ndf}")
    print(f"  even shift at 8 GeV: mean {even[:, 0].mean():+.2e} rms {even[:, 0].std():.2e} error {error[0, 0]:.2e}")
    print(f"  even shift at 40 GeV: mean {even[:, 1].mean():+.2e} rms {even[:, 1].std():.2e} error {error[0, 1]:.2e}")
    largest, in_errors = np.max(np.abs(even[:, 0])), np.max(np.abs(even / error)[:, 0])
    print(f"  largest even shift at 8 GeV: {largest:.2e}, {in_errors:.2f} errors")
    assert abs(pulls.mean()) < 0.1
    assert abs(pulls.std() - 1.0) < 0.1
    assert abs(z.mean()) < 4.0 / np.sqrt(z.size)
    assert np.all(np.abs(even[:, 0]) < 3.0 * error[:, 0])
    if simulation_size > 1:  # otherwise the predicted error alone is 1.9e-5: one seed in 40 came out above
        assert np.all(np.abs(even[:, 0]) < 5e-5)
    assert abs(even[:, 0].mean()) < 3.0 * error[0, 0] / np.sqrt(len(runs))
    assert 0.95 < chi2 / ndf < 1.05  # with 15 000 equations a standard error is 0.012


@pytest.mark.slow
@pytest.mark.parametrize("parameter", ["A", "e", "M"])
def test_pulls_of_each_parameter_are_standard_normal_over_all_seeds(parameter: str):
    """The 96 seeds of the first three sets, generated once; recorded in docs/studies/injection.md."""
    part = np.array([np.split(of_seed(s, 4).pulls, 3)["AeM".index(parameter)] for s in range(SEEDS)])
    # pulls of one table are correlated, those of M most: the mean of 24 seeds is known to 0.07 for A and e, 0.11 for M,
    # of 96 to half of that
    of_mean = part.mean(axis=1).std(ddof=1) / np.sqrt(SEEDS)
    print(f"\n{parameter}, {SEEDS} seeds: mean {part.mean():+.3f} +- {of_mean:.3f} width {part.std():.3f}")
    assert abs(part.mean()) < 0.1
    assert abs(part.std() - 1.0) < 0.1


@pytest.mark.slow
def test_a_million_pairs_leave_no_scale_in_any_bin_of_eta():
    """10^6 pairs, 4 times as many simulated; recorded in docs/studies/injection.md."""
    c = closure(injected_table("sine", ETA, seed=1), 901, 1_000_000, simulation_size=4)
    r = compare(c.found, c.injected)
    assert r.momenta[0] == 8.0
    print(
        f"\nresidual scale at 8 GeV: chi2 {r.bins_chi2[0]:.1f} of {r.bins_ndf} bins, p = {r.bins_p_value[0]:.3f}; "
        f"average over eta {r.even[0]:+.2e} +- {r.even_error[0]:.1e}, best-known mean "
        f"{r.best[0]:+.2e} +- {r.best_error[0]:.1e}"
    )
    assert r.bins_ndf == c.found.n_bins
    assert r.bins_p_value[0] > 0.01
    assert abs(r.even[0]) < 3e-5


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_ten_million_pairs_leave_less_than_1e_5(pattern):
    """10^7 pairs, 4 times as many simulated; recorded in docs/studies/injection.md."""
    number = PATTERNS.index(pattern)
    c = closure(injected_table(pattern, ETA, seed=1), 500 + number, 10_000_000, simulation_size=4)
    shift = coherent_shift(c.difference, [8.0, 40.0])
    print(
        f"\n1e7 {pattern}: even shift {shift.even[0]:+.2e} +- {shift.even_error[0]:.1e} at 8 GeV, {shift.even[1]:+.2e} "
        f"+- {shift.even_error[1]:.1e} at 40 GeV; pulls mean {c.pulls.mean():+.2f} width {c.pulls.std():.2f}; "
        f"chi2/ndf {c.found.chi2:.0f}/{c.found.ndf}"
    )
    assert abs(shift.even[0]) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("seed", [520, 521, 522])
def test_ten_million_pairs_with_nothing_injected(seed):
    """10^7 pairs without a distortion; recorded in docs/studies/injection.md."""
    shift = coherent_shift(closure(injected_table("none", ETA), seed, 10_000_000).found, [8.0])
    print(
        f"\n1e7 seed {seed}: even shift {shift.even[0]:+.2e} +- {shift.even_error[0]:.1e}, odd {shift.odd[0]:+.2e} "
        f"+- {shift.odd_error[0]:.1e} at 8 GeV"
    )
    assert abs(shift.even[0]) < min(2e-5, 3.0 * shift.even_error[0])


@pytest.mark.slow
@pytest.mark.parametrize("pattern", PATTERNS)
def test_injection_itself_adds_no_bias(pattern):
    """The same 2 10^6 events with and without distortion: statistics cancel, what is left is bias."""
    n, seed = 2_000_000, 700
    table = injected_table(pattern, ETA, seed=1)
    with_it, without = closure(table, seed, n), closure(injected_table("none", ETA), seed, n)
    bias = replace(
        with_it.difference,
        A=with_it.difference.A - without.found.A,
        e=with_it.difference.e - without.found.e,
        M=with_it.difference.M - without.found.M,
    )
    shift = coherent_shift(bias, [8.0])
    in_errors = bias.parameters / np.sqrt(np.diag(bias.cov))
    slopes = [
        np.sum(getattr(table, name) * (getattr(bias, name) + getattr(table, name))) / np.sum(getattr(table, name) ** 2)
        for name in "AeM"
    ]
    print(
        f"\n{pattern}: even {shift.even[0]:+.1e}, odd {shift.odd[0]:+.1e} at 8 GeV; slopes A, e, M "
        f"{', '.join(f'{s:.4f}' for s in slopes)}; largest bias {np.max(np.abs(in_errors)):.2f} errors"
    )
    assert abs(shift.even[0]) < 5e-6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), [("A", 5e-3), ("e", 1e-2), ("M", 1e-4)])
def test_recovered_over_injected_is_one(name, size):
    """Uniform distortions of both signs, 4 10^6 pairs each with the same seed: half their difference over the size."""
    seed, n, none = 800, 4_000_000, {"A": 0.0, "e": 0.0, "M": 0.0}
    up, down = (closure(injected_table("uniform", ETA, **(none | {name: s * size})), seed, n) for s in (1.0, -1.0))
    slope = np.mean(getattr(up.found, name) - getattr(down.found, name)) / (2.0 * size)
    others = {o: np.mean(getattr(up.found, o) - getattr(down.found, o)) / 2.0 for o in none if o != name}
    print(f"\n{name} = +-{size:g}: slope {slope:.4f}; leaks {', '.join(f'{o} {v:+.1e}' for o, v in others.items())}")
    assert abs(slope - 1.0) < 0.002
