"""The factor on the errors of a scale table that closures ask for."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.scale import Closure, ScaleTable, inflation_of
from mucal.scale.inflation import pattern_factor
from mucal.scale.recovery import whiten

EDGES = np.linspace(-2.4, 2.4, 49)
A_ERROR, E_ERROR, M_ERROR = 1.1e-4, 6e-4, 5e-6
Z_MASS, Z_ERROR, UPSILON_MASS, UPSILON_ERROR = 91.188, 0.002, 9.4604, 1e-4


def jpsi_table(A=0.0, e=0.0, M=0.0) -> ScaleTable:
    """48 bins with the correlations of J/psi fits: A and e of a bin at 0.96, neighbours of M at 0.29."""
    within = np.array([[1.0, 0.96], [0.96, 1.0]])
    ae = np.kron(within, np.eye(48)) * np.outer(np.repeat([A_ERROR, E_ERROR], 48), np.repeat([A_ERROR, E_ERROR], 48))
    m = M_ERROR**2 * (np.eye(48) + 0.29 * (np.eye(48, k=1) + np.eye(48, k=-1)))
    cov = np.zeros((144, 144))
    cov[:96, :96], cov[96:, 96:] = ae, m
    full = np.zeros(48)
    return ScaleTable(eta_edges=EDGES, A=full + A, e=full + e, M=full + M, cov=cov, resonance="jpsi")


def closure(A: np.ndarray, M: np.ndarray, resonance: str = "z") -> Closure:
    """24 bins; errors of a closure with some 10^7 Z: variances of the table there are 0.4 (A) and 2.8 (M) of these."""
    b = A.size
    mass, error = (Z_MASS, Z_ERROR) if resonance == "z" else (UPSILON_MASS, UPSILON_ERROR)
    cov = np.diag(np.concatenate([np.full(b, 1.1e-4**2), np.full(b, 2.4e-6**2)]))
    return Closure(
        eta_edges=EDGES[::2], A=A, M=M, cov=cov, mean_k=np.full(b, 1 / 42 if resonance == "z" else 1 / 8),
        resonance=resonance, reference_mass=mass, reference_mass_error=error,
    )  # fmt: skip


def toy(rng: np.random.Generator, factor: float, resonances: tuple[str, ...] = ("z",)) -> list[Closure]:
    """Closures of a table whose true errors are `factor` times those it states."""
    table = jpsi_table()
    wrong = factor * np.linalg.cholesky(table.cov + 1e-30 * np.eye(144)) @ rng.normal(size=144)
    found = []
    for resonance in resonances:
        blank = closure(np.zeros(24), np.zeros(24), resonance)
        noise = np.sqrt(np.diag(blank.cov)) * rng.normal(size=48) + blank.mass_shift * rng.normal()
        d = blank.projection(EDGES) @ wrong + noise
        found.append(closure(d[:24], d[24:], resonance))
    return found


@pytest.mark.parametrize("resonances", [("z",), ("z", "upsilon1s")])
def test_a_known_inflation_of_2_1_is_recovered(resonances: tuple[str, ...]):
    rng = np.random.default_rng(21)
    table = jpsi_table()
    factors = np.array([inflation_of(table, toy(rng, 2.1, resonances)).together.factor for _ in range(100)])
    print(f"\n{', '.join(resonances)}: true 2.1 -> {np.mean(factors):.2f} +- {np.std(factors):.2f}")
    assert np.std(factors) < 0.45  # one experiment tells it to about 0.3
    assert abs(np.mean(factors) - 2.1) < 3 * np.std(factors) / np.sqrt(factors.size) + 0.05
    assert np.mean(np.abs(factors - 2.1) < 0.3) > 0.5


def even_alone(found: Closure) -> Closure:
    """The closure as of a resonance that was not asked for M."""
    b = found.n_bins
    cov = np.zeros((2 * b, 2 * b))
    cov[:b, :b] = found.cov[:b, :b]
    return replace(found, M=np.zeros(b), cov=cov)


def test_a_resonance_that_knows_a_alone_counts_in_the_same_equation():
    table = jpsi_table()
    z, upsilon = toy(np.random.default_rng(8), 2.1, ("z", "upsilon1s"))
    both, alone = inflation_of(table, [z, even_alone(upsilon)]), inflation_of(table, [z])
    assert both.resonances == ("z", "upsilon1s")
    assert (both.together.ndf, alone.together.ndf) == (72, 48)
    assert both.odd == alone.odd
    assert both.even.factor == pytest.approx(inflation_of(table, [z, upsilon]).even.factor, rel=1e-9)
    assert both.even.factor != alone.even.factor
    of_nothing = inflation_of(table, [even_alone(upsilon)]).odd
    assert (of_nothing.ndf, of_nothing.p_value, of_nothing.factor) == (0, 1.0, 0.0)


def drawn_to_zero(found: Closure, width: float) -> Closure:
    """The closure as it comes out with a prior of this width on M."""
    prior = np.repeat([0.0, width**-2.0], found.n_bins)
    information = np.linalg.inv(found.cov)
    cov = np.linalg.inv(information + np.diag(prior))
    residual = cov @ information @ found.residual
    b = found.n_bins
    return replace(found, A=residual[:b], M=residual[b:], cov=cov, prior=prior)


@pytest.mark.parametrize("width", [5e-6, 1e-6, 2e-8])
def test_a_prior_on_a_closure_changes_no_factor(width: float):
    # errors of M are 2.4e-6 without it: the last one leaves 1e-4 of the information to the masses
    table, found = jpsi_table(), toy(np.random.default_rng(14), 2.1, ("z", "upsilon1s"))
    correlated = 0.3 * 1.1e-4 * 2.4e-6 * np.eye(24)
    cov = found[0].cov + np.block([[0.0 * correlated, correlated], [correlated, 0.0 * correlated]])
    found[0] = replace(found[0], cov=cov)
    asked, held = inflation_of(table, found), inflation_of(table, [drawn_to_zero(found[0], width), found[1]])
    for one, other in zip(
        (held.together, held.even, held.odd, *held.each),
        (asked.together, asked.even, asked.odd, *asked.each),
        strict=True,
    ):
        assert one.ndf == other.ndf
        assert_allclose([one.chi2, one.factor], [other.chi2, other.factor], rtol=1e-6)
    assert held.direction == pytest.approx(asked.direction, rel=1e-6)
    # the residuals that it leaves, taken as they are, ask for something else, or cannot be explained
    unaware = inflation_of(table, [replace(drawn_to_zero(found[0], width), prior=None), found[1]])
    assert abs(unaware.odd.factor - asked.odd.factor) > 0.05


def test_a_combination_that_only_a_prior_knows_does_not_count():
    table, (found,) = jpsi_table(), toy(np.random.default_rng(15), 2.1)
    same = np.concatenate([np.zeros(24), np.full(24, 1 / np.sqrt(24))])  # a uniform M
    without = np.linalg.inv(found.cov)
    without -= np.outer(without @ same, same @ without) / (same @ without @ same)
    prior = np.repeat([0.0, 5e-6**-2.0], 24)
    cov = np.linalg.inv(without + np.diag(prior))
    residual = cov @ without @ found.residual
    held = inflation_of(table, [replace(found, A=residual[:24], M=residual[24:], cov=cov, prior=prior)])
    assert held.together.ndf == 47
    assert held.even.factor == pytest.approx(inflation_of(table, [found]).even.factor, rel=1e-6)


def test_a_closure_that_knows_less_than_the_table_inflates_nothing():
    # thirty times the errors: the factor that makes chi2 the number of residuals says nothing, and is large at times
    table, rng = jpsi_table(), np.random.default_rng(17)
    found = []
    for _ in range(200):
        blank = closure(np.zeros(24), np.zeros(24))
        wide = replace(blank, cov=900.0 * blank.cov)
        d = np.sqrt(np.diag(wide.cov)) * rng.normal(size=48)
        found.append(inflation_of(table, [replace(wide, A=d[:24], M=d[24:])]))
    assert np.quantile([one.together.factor for one in found], 0.9) > 5.0
    inflated = np.mean([one.factor > 1.0 for one in found])
    assert abs(inflated - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 200)


def test_each_resonance_is_asked_alone():
    table, found = jpsi_table(), toy(np.random.default_rng(16), 2.1, ("z", "upsilon1s"))
    alone = [inflation_of(table, [one]).together.factor for one in found]
    assert_allclose([one.factor for one in inflation_of(table, found).each], alone, rtol=1e-12)


def test_closures_without_errors_are_refused():
    blank = closure(np.zeros(24), np.zeros(24))
    with pytest.raises(ValueError, match="have no errors"):
        inflation_of(jpsi_table(), [replace(blank, cov=np.zeros((48, 48)), reference_mass_error=0.0)])


def test_errors_that_are_right_need_no_factor():
    rng = np.random.default_rng(3)
    table = jpsi_table()
    found = [inflation_of(table, toy(rng, 1.0)) for _ in range(100)]
    p_values = np.array([one.together.p_value for one in found])
    significant = np.mean([one.direction > 0 for one in found])  # 5 % of them by chance
    assert abs(significant - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 100)
    assert abs(np.mean(p_values) - 0.5) < 4 / np.sqrt(12 * 100)
    assert 0.8 < np.mean([one.together.factor for one in found]) < 1.2
    contradicted = np.mean([one.factor > 1.0 for one in found])  # 5 % as well
    assert abs(contradicted - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 100)


def test_the_equation_holds_at_the_factor():
    found = toy(np.random.default_rng(5), 3.0)
    table = jpsi_table()
    one = found[0]
    jacobian = one.projection(EDGES)
    s = inflation_of(table, found).together.factor
    total = one.cov + np.outer(one.mass_shift, one.mass_shift) + s**2 * jacobian @ table.cov @ jacobian.T
    assert one.residual @ np.linalg.solve(total, one.residual) == pytest.approx(48, rel=1e-8)


def test_no_residual_asks_for_no_factor():
    found = inflation_of(jpsi_table(), [closure(np.zeros(24), np.zeros(24))])
    assert [one.factor for one in (found.together, found.even, found.odd, *found.each)] == [0.0] * 4
    assert (found.direction, found.largest, found.factor) == (0.0, 0.0, 1.0)
    assert found.line(1.0).endswith("the applied 1 is not contradicted")


def test_a_sagitta_pattern_shows_in_the_odd_part_alone():
    M = 2e-5 * np.cos(np.linspace(0, np.pi, 24))
    found = inflation_of(jpsi_table(), [closure(np.zeros(24), M)])
    assert found.even.factor == 0.0
    assert found.odd.factor > 2.0
    assert found.direction_odd > 1.0
    assert found.direction_even == 0.0
    assert "does not cover" in found.line(2.1)


def test_a_pattern_of_one_error_everywhere_doubles_the_variance():
    shift = np.linalg.cholesky(jpsi_table().cov) @ np.ones(144)
    moved = jpsi_table(A=shift[:48], e=shift[48:96], M=shift[96:])
    assert_allclose(pattern_factor(jpsi_table(), moved), np.sqrt(2.0), rtol=1e-6)
    assert pattern_factor(jpsi_table(), jpsi_table()) == 1.0


def test_a_pattern_in_what_the_table_holds_fixed_is_covered_by_no_factor():
    cov = jpsi_table().cov.copy()
    cov[48:96], cov[:, 48:96] = 0.0, 0.0
    held = replace(jpsi_table(), cov=cov)
    assert pattern_factor(held, jpsi_table(e=1e-3)) == np.inf
    assert pattern_factor(held, jpsi_table(A=A_ERROR)) < np.inf


def test_a_pattern_over_copied_parameters_counts_each_once():
    # both sides of a table that was unfolded from |eta| hold the same number
    edges, sigma = np.array([-2.4, 0.0, 2.4]), np.repeat([A_ERROR, E_ERROR, M_ERROR], 2)
    cov = np.kron(np.eye(3), np.ones((2, 2))) * np.outer(sigma, sigma)
    zero = np.zeros(2)
    table = ScaleTable(eta_edges=edges, A=zero, e=zero, M=zero, cov=cov, resonance="jpsi")
    moved = replace(table, A=zero + 2.0 * A_ERROR, M=zero - M_ERROR)
    assert_allclose(pattern_factor(table, moved), np.sqrt(1.0 + (4.0 + 0.0 + 1.0) / 3.0), rtol=1e-9)
    assert_allclose(
        pattern_factor(table, moved), np.sqrt(1.0 + np.mean(whiten(moved.parameters - table.parameters, cov) ** 2))
    )
