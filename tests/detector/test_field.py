"""The magnetic field: values, Maxwell's equations, gradients, domains, maps and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import field as fields
from mucal.detector.field import (
    MagneticField,
    evaluate,
    field_from_rows,
    harmonic_field,
    harmonic_modes,
    map_field_rz,
    map_field_xyz,
    solenoid_field,
    uniform_field,
    with_modes,
    with_regions,
)
from mucal.errors import InputError

RNG = np.random.default_rng(20)
POINTS = np.column_stack([RNG.uniform(-75, 75, 300), RNG.uniform(-75, 75, 300), RNG.uniform(-250, 250, 300)])


def grid_rz(nr: int = 23, nz: int = 47) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r, z = np.linspace(0, 110, nr), np.linspace(-276, 276, nz)
    points = np.stack(np.meshgrid(r, [0.0], z, indexing="ij"), axis=-1).reshape(-1, 3)
    b = evaluate(harmonic_field(), points).bfield
    return r, z, b[:, 0].reshape(nr, nz), b[:, 2].reshape(nr, nz)


def grid_xyz(n: int = 17, nz: int = 35) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, z = np.linspace(-80, 80, n), np.linspace(-260, 260, nz)
    points = np.stack(np.meshgrid(x, x, z, indexing="ij"), axis=-1).reshape(-1, 3)
    return x, z, evaluate(distorted(), points).bfield.reshape(n, n, nz, 3)


def distorted() -> MagneticField:
    modes = harmonic_modes(4)
    return with_modes(harmonic_field(), modes, np.random.default_rng(3).normal(size=len(modes.names)) * 1e-2)


FIELDS = {
    "uniform": uniform_field(np.array([0.3, -0.2, 3.8])),
    "harmonic": harmonic_field(),
    "solenoid": solenoid_field(),
    "map_rz": map_field_rz(*grid_rz()),
    "map_xyz": map_field_xyz(grid_xyz()[0], grid_xyz()[0], grid_xyz()[1], grid_xyz()[2]),
    "modes": distorted(),
}


def differences(field: MagneticField, points: np.ndarray, step: float = 0.02) -> np.ndarray:
    """dB_i/dx_j by differences of fourth order."""
    result = np.empty((len(points), 3, 3))
    for j in range(3):
        e = step * np.eye(3)[j]
        b = [evaluate(field, points + k * e).bfield for k in (-2, -1, 1, 2)]
        result[:, :, j] = (8 * (b[2] - b[1]) - (b[3] - b[0])) / (12 * step)
    return result


# ------------------------------------------------------------------------------------------------ values


def test_values_of_the_harmonic_cms_field():
    b = evaluate(harmonic_field(), np.array([[20.0, 0, 50], [100, 0, 200]])).bfield
    assert_allclose(b, [[0.0020, 0, 3.8068], [0.0404, 0, 3.7411]], atol=5e-5)


def test_profile_of_the_harmonic_field_on_the_axis():
    z = np.array([0.0, 100, 200, 280])
    b = evaluate(harmonic_field(), np.column_stack([0 * z, 0 * z, z])).bfield
    assert_allclose(b[:, 2], [3.811, 3.791, 3.730, 3.649], atol=5e-4)


def test_harmonic_field_is_the_sum_of_legendre_polynomials():
    r = np.linalg.norm(POINTS, axis=1)
    cos = POINTS[:, 2] / r
    a = fields.CMS_PROFILE
    along_axis = sum(
        a[k] * (r / 300) ** k * np.polynomial.legendre.legval(cos, np.eye(k + 1)[k]) for k in range(len(a))
    )
    # dPhi/dz of r^{k+1} P_{k+1} is (k+1) r^k P_k
    assert_allclose(evaluate(harmonic_field(), POINTS).bfield[:, 2], along_axis, rtol=1e-14)


def test_a_profile_of_any_length_is_evaluated_alike():
    # up to nine coefficients as a polynomial in z and r^2, beyond by recurrence: a tenth one of 0 changes the way only
    for n in range(1, 10):
        short = evaluate(harmonic_field(fields.CMS_PROFILE[:n]), POINTS)
        long = evaluate(harmonic_field((*fields.CMS_PROFILE[:n], *[0.0] * (10 - n))), POINTS)
        assert_allclose(short.bfield, long.bfield, rtol=0, atol=1e-14)
        assert_allclose(short.gradient, long.gradient, rtol=0, atol=1e-16)


def test_solenoid_on_its_axis_by_hand():
    # at the centre u = v = L/2a: B_z = 2 h f(L/2a) = B0 sqrt(1 + 4a^2/L^2) (L/2a)/sqrt(1 + (L/2a)^2) = B0
    assert_allclose(evaluate(solenoid_field(), np.array([[0, 0, 1.79]])).bfield[0], [0, 0, 3.81492], atol=1e-12)


def test_solenoid_and_harmonic_field_differ_by_millitesla_beyond_one_metre():
    b = [evaluate(f, np.array([[105.0, 0, 200]])).bfield[0] for f in (solenoid_field(), harmonic_field())]
    assert 1e-3 < np.linalg.norm(b[0] - b[1]) < 2e-2


def test_a_mode_of_degree_one_is_uniform_with_unit_field():
    modes = harmonic_modes(1)
    for k, axis in enumerate((2, 0, 1)):
        b = evaluate(with_modes(uniform_field(0.0), modes, np.eye(3)[k]), POINTS).bfield
        assert_allclose(np.abs(b), np.tile(np.eye(3)[axis], (len(POINTS), 1)), atol=1e-13)


def test_a_unit_of_every_mode_has_one_tesla_rms_in_the_tracker():
    rng = np.random.default_rng(5)
    n = 40_000
    r, phi = 110 * np.sqrt(rng.uniform(size=n)), rng.uniform(0, 2 * np.pi, n)
    points = np.column_stack([r * np.cos(phi), r * np.sin(phi), rng.uniform(-280, 280, n)])
    modes = harmonic_modes(3)
    for k in range(len(modes.names)):
        b2 = (evaluate(with_modes(uniform_field(0.0), modes, np.eye(len(modes.names))[k]), points).bfield ** 2).sum(1)
        assert abs(b2.mean() - 1) < 5 * b2.std() / np.sqrt(n) + 1e-12


def test_axisymmetric_modes_reproduce_the_harmonic_field():
    a = np.array(fields.CMS_PROFILE)
    modes = harmonic_modes(9, 0)
    # on the axis R_l0 = z^l / l!, so that B_z of one unit is scale z^{l-1} / (l-1)!
    factorial = np.cumprod(np.concatenate([[1.0], np.arange(1, 9)]))
    amplitudes = a / 300.0 ** np.arange(9) * factorial / modes.scale
    ours = evaluate(with_modes(uniform_field(0.0), modes, amplitudes), POINTS)
    assert_allclose(ours.bfield, evaluate(harmonic_field(), POINTS).bfield, atol=2e-13)
    assert_allclose(ours.gradient, evaluate(harmonic_field(), POINTS).gradient, atol=1e-15)


# ------------------------------------------------------------------------------------------------ Maxwell, gradient


@pytest.mark.parametrize("name", FIELDS)
def test_gradient_agrees_with_differences(name: str):
    # fourth order with a step of 0.02 cm: rounding of B / step = 3.8 * 2e-16 / 0.02 = 4e-14 T/cm, times a few
    assert_allclose(evaluate(FIELDS[name], POINTS).gradient, differences(FIELDS[name], POINTS), atol=4e-13)


@pytest.mark.parametrize("name", ["uniform", "harmonic", "modes"])
def test_divergence_and_curl_vanish(name: str):
    g = evaluate(FIELDS[name], POINTS).gradient
    size = max(np.abs(g).max(), 1e-30)
    assert np.abs(np.trace(g, axis1=1, axis2=2)).max() <= 1e-12 * size
    assert np.abs(g - np.swapaxes(g, 1, 2)).max() <= 1e-12 * size


def test_every_mode_up_to_degree_twelve_obeys_maxwell():
    modes = harmonic_modes(12)
    for k in range(0, len(modes.names), 7):
        g = evaluate(with_modes(uniform_field(0.0), modes, np.eye(len(modes.names))[k]), POINTS).gradient
        size = np.abs(g).max() + 1e-30
        assert np.abs(np.trace(g, axis1=1, axis2=2)).max() <= 1e-12 * size
        assert np.abs(g - np.swapaxes(g, 1, 2)).max() <= 1e-12 * size


def test_solenoid_is_free_of_divergence_and_its_curl_is_of_third_order():
    for r, curl in ((50.0, 2e-6), (100.0, 2e-5)):
        g = evaluate(solenoid_field(), np.array([[r, 0, z] for z in np.linspace(-250, 250, 21)])).gradient
        assert np.abs(np.trace(g, axis1=1, axis2=2)).max() < 1e-18
        assert np.abs(g[:, 0, 2] - g[:, 2, 0]).max() < curl


@pytest.mark.parametrize("name", ["map_rz", "map_xyz"])
def test_maps_converge_with_the_fourth_power_of_the_step(name: str):
    if name == "map_rz":
        pairs = [(map_field_rz(*grid_rz(*n)), harmonic_field()) for n in ((12, 24), (23, 47))]
    else:
        pairs = []
        for n, nz in ((9, 18), (17, 35)):
            x, z, b = grid_xyz(n, nz)
            pairs.append((map_field_xyz(x, x, z, b), distorted()))
    inner = POINTS * 0.7
    errors = [np.abs(evaluate(f, inner).bfield - evaluate(truth, inner).bfield).max() for f, truth in pairs]
    assert errors[1] < errors[0] / 8


def test_map_is_smooth_across_the_grid_lines():
    field, line = FIELDS["map_rz"], grid_rz()[1][20]
    below, above = (evaluate(field, np.array([[40.0, 10, line + e]])) for e in (-1e-9, 1e-9))
    assert_allclose(below.bfield, above.bfield, atol=1e-11)
    assert_allclose(below.gradient, above.gradient, atol=1e-11)


def test_map_is_smooth_on_the_beam_line():
    near = evaluate(FIELDS["map_rz"], np.array([[0.0, 0, 33], [1e-8, 0, 33], [1e-4, 1e-4, 33]]))
    truth = evaluate(harmonic_field(), np.array([[0.0, 0, 33]]))
    assert_allclose(near.bfield, np.tile(truth.bfield, (3, 1)), atol=1e-6)
    assert_allclose(near.gradient, np.tile(truth.gradient, (3, 1, 1)), atol=1e-6)


# ------------------------------------------------------------------------------------------------ domain, corrections


@pytest.mark.parametrize("name", ["harmonic", "solenoid", "map_rz", "map_xyz"])
def test_outside_its_domain_a_field_is_nan_and_says_so(name: str):
    values = evaluate(FIELDS[name], np.array([[0.0, 0, 0], [0, 0, 301.0], [200, 0, 0]]))
    assert values.inside.tolist() == [True, False, False]
    assert np.isnan(values.bfield[1:]).all()
    assert np.isnan(values.gradient[1:]).all()


def test_a_region_adds_its_offset_only_inside():
    offsets = np.zeros((1, 2, 4, 3))
    offsets[0, 1, 2] = [1e-3, 2e-3, 3e-3]  # third quarter of -pi..pi: 0 < phi < pi/2
    field = with_regions(uniform_field(3.8), np.array([10.0, 50]), np.array([-100.0, 0, 100]), offsets)
    points = np.array([[20.0, 20, 50], [20, -20, 50], [20, 20, -50], [2, 2, 50], [60, 60, 50]])
    added = evaluate(field, points).bfield - [0, 0, 3.8]
    assert_allclose(added, [[1e-3, 2e-3, 3e-3], [0] * 3, [0] * 3, [0] * 3, [0] * 3], atol=1e-15)


def test_modes_with_zero_amplitude_change_nothing():
    field = with_modes(harmonic_field(), harmonic_modes(4))
    assert (evaluate(field, POINTS).bfield == evaluate(harmonic_field(), POINTS).bfield).all()


@pytest.mark.parametrize("name", FIELDS)
def test_a_saved_field_comes_back_bit_for_bit(name: str, tmp_path: Path):
    path = FIELDS[name].save(tmp_path / "field.h5")
    assert (evaluate(MagneticField.load(path), POINTS).bfield == evaluate(FIELDS[name], POINTS).bfield).all()


# ------------------------------------------------------------------------------------------------ bad input


def test_a_map_in_kilogauss_is_refused_with_its_median():
    r, z, br, bz = grid_rz()
    with pytest.raises(InputError, match=r"median \|B\| of the map is 37\.\d+, expected tesla"):
        map_field_rz(r, z, 10 * br, 10 * bz)


def test_a_map_in_millimetres_is_refused():
    r, z, br, bz = grid_rz()
    with pytest.raises(InputError, match="reaches to 2760"):
        map_field_rz(10 * r, 10 * z, br, bz)


def test_a_map_in_metres_is_refused():
    r, z, br, bz = grid_rz()
    with pytest.raises(InputError, match="metres"):
        map_field_rz(r / 100, z / 100, br, bz)


def test_a_map_with_nan_names_the_first():
    r, z, br, bz = grid_rz()
    bz[3, 5] = np.nan
    with pytest.raises(InputError, match=r"1 of 1081 values of bz are not finite(.|\n)*r = 15, z = -216"):
        map_field_rz(r, z, br, bz)


def test_a_map_with_a_missing_row_is_refused():
    r, z, br, bz = grid_rz()
    rows = dict(zip("rz", (a.ravel() for a in np.meshgrid(r, z, indexing="ij")), strict=True))
    columns = {**rows, "br": br.ravel(), "bz": bz.ravel()}
    with pytest.raises(InputError, match="1 of 1081 grid points"):
        field_from_rows({name: np.delete(values, 100) for name, values in columns.items()})


def test_rows_in_any_order_make_the_same_map():
    r, z, br, bz = grid_rz()
    rows = dict(zip("rz", (a.ravel() for a in np.meshgrid(r, z, indexing="ij")), strict=True))
    order = RNG.permutation(br.size)
    columns = {**rows, "br": br.ravel(), "bz": bz.ravel()}
    field = field_from_rows({name: values[order] for name, values in columns.items()})
    assert (evaluate(field, POINTS).bfield == evaluate(FIELDS["map_rz"], POINTS).bfield).all()


def test_a_component_of_the_wrong_sign_is_refused():
    r, z, br, bz = grid_rz()
    with pytest.raises(InputError, match="divergence"):
        map_field_rz(r, z, -br, bz)


def test_unequal_steps_are_refused():
    r, z, br, bz = grid_rz()
    z[4] += 0.1
    with pytest.raises(InputError, match="not equally spaced"):
        map_field_rz(r, z, br, bz)


def test_a_mode_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"\(1, 2, 0\) is no mode"):
        fields.whitened_modes(np.array([[1, 2, 0]]))
