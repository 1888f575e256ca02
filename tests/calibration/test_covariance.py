import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mucal.calibration.covariance import block_units, check_covariance, check_names, modes, parameter_names
from mucal.errors import InputError


def full_rank(seed: int, bins: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(3 * bins, 3 * bins)) * np.repeat([1e-4, 6e-4, 5e-6], bins)[:, None]
    cov = mix @ mix.T
    return 0.5 * (cov + cov.T)


def summed(variations: np.ndarray) -> np.ndarray:
    flat = variations.reshape(len(variations), -1)
    return flat.T @ flat


@given(seed=st.integers(0, 1000), scaled=st.booleans())
def test_the_modes_add_up_to_the_covariance(seed: int, scaled: bool):
    cov = full_rank(seed)
    error = np.sqrt(np.diag(cov))
    found = summed(modes(cov, dataset="cov", scaled=scaled))
    # the plain basis drops eigenvalues below 1e-12 of the largest, whose unit is that of e: M, 100 times smaller
    assert_allclose(found / np.outer(error, error), cov / np.outer(error, error), atol=1e-10 if scaled else 1e-7)


def test_modes_come_in_falling_order_with_their_largest_component_positive():
    cov = full_rank(1)
    units = block_units(cov)
    found = modes(cov, dataset="cov").reshape(12, 12) / units
    norms = np.linalg.norm(found, axis=1)
    assert np.all(np.diff(norms) <= 0)
    assert np.all(found[np.arange(12), np.argmax(np.abs(found), axis=1)] > 0)


def test_units_do_not_choose_the_basis():
    cov = full_rank(2)
    in_mev = np.repeat([1.0, 1e3, 1e-3], 4)
    assert_allclose(
        modes(cov * np.outer(in_mev, in_mev), dataset="cov").reshape(12, 12) / in_mev,
        modes(cov, dataset="cov").reshape(12, 12),
        rtol=1e-8,
        atol=1e-14,
    )


def test_mirrored_bins_have_half_the_modes():
    # a table in |eta|, unfolded: bins 0, 3 and 1, 2 are the same parameter
    half = full_rank(3, bins=2)
    unfold = np.kron(np.eye(3), np.array([[0, 1], [1, 0], [1, 0], [0, 1]]))
    cov = unfold @ half @ unfold.T
    found = modes(cov, dataset="cov")
    assert found.shape == (6, 3, 4)
    assert_allclose(found, found[:, :, ::-1], rtol=1e-9, atol=1e-18)
    error = np.sqrt(np.diag(cov))
    assert_allclose(summed(found) / np.outer(error, error), cov / np.outer(error, error), atol=1e-10)


def test_a_fixed_parameter_has_no_variation():
    cov = full_rank(4)
    cov[4:8], cov[:, 4:8] = 0.0, 0.0  # e is fixed
    found = modes(cov, dataset="cov")
    assert found.shape == (8, 3, 4)
    assert np.all(found[:, 1] == 0.0)


def test_a_table_without_errors_has_no_modes():
    assert modes(np.zeros((6, 6)), dataset="cov").shape == (0, 3, 2)


def test_a_negative_eigenvalue_is_refused_with_its_value():
    cov = full_rank(5)
    cov[0, 1] = cov[1, 0] = 2.0 * np.sqrt(cov[0, 0] * cov[1, 1])
    with pytest.raises(InputError, match="not positive semidefinite: its smallest eigenvalue is -") as caught:
        modes(cov, dataset="ScaleTable.cov", file="scale.h5")
    assert caught.value.exit_code == 3
    assert caught.value.where == {"file": "scale.h5", "dataset": "ScaleTable.cov"}


def test_an_asymmetric_covariance_is_refused_with_the_elements():
    cov = full_rank(6)
    cov[2, 7] *= 1.001
    with pytest.raises(InputError, match=r"not symmetric: \[2, 7\].*\[7, 2\].*smallest eigenvalue"):
        modes(cov, dataset="cov")


def test_a_covariance_with_nan_is_refused():
    cov = full_rank(7)
    cov[3, 3] = np.nan
    with pytest.raises(InputError, match=r"not finite: element \[3, 3\] is nan"):
        check_covariance(cov, dataset="cov")


def test_rounding_is_not_a_negative_eigenvalue():
    vector = np.repeat([1e-4, 6e-4, 5e-6], 4)
    assert len(modes(np.outer(vector, vector), dataset="cov")) == 1


def test_parameter_names_run_over_bins_first():
    assert parameter_names(2) == ("A_00", "A_01", "e_00", "e_01", "M_00", "M_01")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (("A_00", "e_00", "A_01", "e_01", "M_00", "M_01"), "row 1 is 'e_00', expected 'A_01'"),
        (("A_00", "A_01", "e_00", "e_01", "M_00"), r"row 5 is '\(nothing\)', expected 'M_01'"),
        ((*parameter_names(2), "d_00"), r"row 6 is 'd_00', expected '\(nothing\)'"),
    ],
)
def test_the_first_row_out_of_order_is_named(found: tuple[str, ...], message: str):
    with pytest.raises(InputError, match=message):
        check_names(found, parameter_names(2), dataset="cov", file="table.root")
