import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.numerics.conjugate_gradients import conjugate_gradients


def matrix(n: int, seed: int, condition: float) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))
    return (q * np.geomspace(1.0, condition, n)) @ q.T


def same(r: np.ndarray) -> np.ndarray:
    return r


@pytest.mark.parametrize("condition", [1.0, 1e2, 1e4])
def test_solutions_of_several_right_hand_sides(condition):
    a = matrix(60, 1, condition)
    b = np.random.default_rng(2).normal(size=(60, 4))
    b[:, 2] = 0.0
    found = conjugate_gradients(lambda x: a @ x, b, same, tolerance=1e-12)
    assert_allclose(found.x, np.linalg.solve(a, b), rtol=1e-7, atol=1e-9)
    assert found.positive
    assert found.residual.max() < 1e-8


def test_columns_are_solved_as_if_alone():
    a = matrix(40, 3, 1e3)
    b = np.random.default_rng(4).normal(size=(40, 3)) * [1.0, 1e-6, 1e6]
    together = conjugate_gradients(lambda x: a @ x, b, same, tolerance=1e-10).x
    for i in range(3):
        alone = conjugate_gradients(lambda x: a @ x, b[:, i : i + 1], same, tolerance=1e-10).x[:, 0]
        assert_allclose(together[:, i], alone, rtol=1e-12)


def test_the_tolerance_bounds_the_error_in_the_norm_of_a():
    a = matrix(300, 5, 1e5)
    b = np.random.default_rng(6).normal(size=(300, 1))
    exact = np.linalg.solve(a, b)
    for tolerance in (1e-2, 1e-5):
        found = conjugate_gradients(lambda x: a @ x, b, same, tolerance=tolerance)
        away = found.x - exact
        assert np.sqrt((away * (a @ away)).sum() / (exact * (a @ exact)).sum()) < tolerance


def test_a_preconditioner_near_the_inverse_needs_few_iterations():
    a = matrix(200, 7, 1e6)
    inverse = np.linalg.inv(a + 1e-3 * np.diag(np.diag(a)))
    b = np.random.default_rng(8).normal(size=(200, 1))
    plain = conjugate_gradients(lambda x: a @ x, b, same, tolerance=1e-6)
    helped = conjugate_gradients(lambda x: a @ x, b, lambda r: inverse @ r, tolerance=1e-6)
    assert helped.iterations < 0.5 * plain.iterations


def test_a_direction_of_negative_curvature_is_told():
    a = np.diag([1.0, 2.0, -1.0])
    assert not conjugate_gradients(lambda x: a @ x, np.ones((3, 1)), same).positive


def test_the_iterations_are_capped():
    a = matrix(100, 9, 1e8)
    assert conjugate_gradients(lambda x: a @ x, np.ones((100, 1)), same, most=7).iterations == 7
