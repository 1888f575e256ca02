"""Quantile functions of the response: Gaussian ones give the Gaussian weights, others better than Gaussian weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration, response_weights
from mucal.calibration.response_map import ResponseMap, count_response, response_map, response_slopes
from mucal.errors import InputError
from mucal.io.response_npz import ARRAYS, read_response, response_bytes, write_response

EDGES = {"pt_edges": np.array([20.0, 40.0, 60.0]), "eta_edges": np.array([-2.4, 0.0, 2.4])}
N = 400_000
SIGMA = 0.012


def muons(seed: int, tail: float = 0.0) -> tuple[np.ndarray, ...]:
    """pt, pt_gen, eta, charge; a part of the muons has twice the width."""
    rng = np.random.default_rng(seed)
    gen, eta, charge = rng.uniform(20, 60, N), rng.uniform(-2.4, 2.4, N), rng.choice([-1, 1], N)
    sigma = np.where(rng.uniform(size=N) < tail, 2.0, 1.0) * SIGMA
    return gen / (1.0 + sigma * rng.standard_normal(N)), gen, eta, charge


def filled(seed: int, tail: float = 0.0) -> ResponseMap:
    return response_map(count_response(*muons(seed, tail), **EDGES))


def test_parts_of_a_sample_add_up_to_the_whole():
    columns = muons(1)
    whole = count_response(*columns, **EDGES)
    first, second = (count_response(*(c[part] for c in columns), **EDGES) for part in (slice(1000), slice(1000, N)))
    assert np.array_equal((first + second).counts, whole.counts)
    assert whole.counts.sum() == N


def test_a_gaussian_response_has_the_slopes_of_a_gaussian():
    pt, gen, eta, charge = muons(2)
    first, second = response_slopes(filled(3), pt, gen, eta, charge)
    z = (gen / pt - 1.0) / SIGMA
    core = np.abs(z) < 2.5
    # 5e4 muons a cell: the density is known to about a per cent, its slope to some
    assert np.sqrt(np.mean((first - z / SIGMA)[core] ** 2)) < 0.05 / SIGMA
    assert np.sqrt(np.mean((second - (z**2 - 1) / (2 * SIGMA**2))[core] ** 2)) < 0.2 / SIGMA**2


def test_slopes_are_differences_of_the_density():
    # the density phi(z) / r'(z) itself, by small steps in r
    table = filled(4, tail=0.3)
    c = table.coefficients[1, 0, 0]
    z = np.linspace(-2.5, 2.5, 11)
    h = 1e-4

    def log_density(at: np.ndarray) -> np.ndarray:
        return -0.5 * at**2 - np.log(np.polynomial.polynomial.polyval(at, np.polynomial.polynomial.polyder(c)))

    slope = np.polynomial.polynomial.polyval(z, np.polynomial.polynomial.polyder(c))
    by_r = (log_density(z + h) - log_density(z - h)) / (2 * h) / slope
    r = np.polynomial.polynomial.polyval(z, c)
    gen = np.full(z.size, 30.0)  # the centre of the cell
    eta = np.full(z.size, -1.2)
    first, second = response_slopes(table, gen / r, gen, eta, np.ones(z.size))
    assert_allclose(-first, by_r, rtol=1e-5, atol=1e-3)
    density = np.exp(log_density(z))
    curve = np.exp(log_density(z + h)) / density, np.exp(log_density(z - h)) / density
    by_z = (curve[0] - curve[1]) / (2 * h)
    second_z = (curve[0] + curve[1] - 2.0) / h**2
    bend = np.polynomial.polynomial.polyval(z, np.polynomial.polynomial.polyder(c, 2))
    assert_allclose(2.0 * second, second_z / slope**2 - by_z * bend / slope**3, rtol=1e-3, atol=1.0)


@pytest.mark.parametrize("tail", [0.0, 0.3])
def test_weights_move_the_response_as_a_shift_does(tail: float):
    pt, gen, eta, charge = muons(5, tail)
    first, _ = response_slopes(filled(6, tail), pt, gen, eta, charge)
    r, d = gen / pt, 5e-4
    edges = 1.0 + SIGMA * np.linspace(-2.5, 2.5, 26)
    shifted = np.histogram(r + d, edges)[0] - np.histogram(r, edges)[0]
    weighted = np.histogram(r, edges, weights=d * first)[0]
    # the same muons: what differs crosses an edge; about 2 N p(edge) d of them
    noise = np.sqrt(2.0 * N * d * np.exp(-0.5 * ((edges[1:] - 1) / SIGMA) ** 2) / (SIGMA * np.sqrt(2 * np.pi)) + 1)
    assert np.mean(((shifted - weighted) / noise) ** 2) < 1.0 + 4 * np.sqrt(2 / 25)
    if tail:  # a Gaussian of the same variance is wrong
        width = SIGMA * np.sqrt(1 + 3 * tail)
        gaussian = np.histogram(r, edges, weights=d * (r - 1) / width**2)[0]
        assert np.mean(((shifted - gaussian) / noise) ** 2) > 2.0


def test_outside_the_map_the_weight_is_one():
    pt, gen, eta = np.array([10.0, 30.0, 30.0]), np.array([10.0, 30.0, 30.0]), np.array([0.1, 3.0, 0.1])
    first, second = response_slopes(filled(7), pt, gen, eta, np.ones(3))
    assert first[:2].tolist() == [0.0, 0.0]
    assert second[:2].tolist() == [0.0, 0.0]
    assert second[2] != 0.0
    thin = response_map(count_response(*(c[:1000] for c in muons(7)), **EDGES))
    assert np.all(np.isnan(thin.coefficients))
    assert np.all(response_slopes(thin, pt, gen, eta, np.ones(3))[0] == 0.0)


def test_all_nuisances_are_weighed_by_the_map(calibration: Calibration):
    same = {name: np.full(4, value) for name, value in (("a", SIGMA**2), ("b", 0.0), ("c", 0.0))}
    flat = replace(calibration, resolution_mc=replace(calibration.resolution_mc, **same))
    pt, gen, eta, charge = (column[:20_000] for column in muons(8))
    inside = (np.abs(gen / pt - 1.0) < 2 * SIGMA) & (gen > 25) & (gen < 55)
    mapped, gaussian = (
        response_weights(flat, pt, eta, charge, gen, response=response)[inside] - 1.0 for response in (filled(9), None)
    )
    for s in (0, 7, 18, 20):  # scale, reference mass, resolution
        size = np.sqrt(np.mean(gaussian[:, s, 0] ** 2))
        assert np.sqrt(np.mean((mapped - gaussian)[:, s, 0] ** 2)) < 0.2 * size


def test_a_map_survives_its_file(tmp_path: Path):
    table = filled(10)
    path = write_response(table, tmp_path / "response_map.npz")
    assert path.read_bytes() == response_bytes(table)
    back = read_response(path)
    assert np.array_equal(back.coefficients, table.coefficients, equal_nan=True)
    assert np.array_equal(back.pt_edges, table.pt_edges)


def test_what_is_no_map_is_refused(tmp_path: Path):
    path = tmp_path / "response_map.npz"
    path.write_bytes(b"not a zip file")
    with pytest.raises(InputError, match="is not a response map"):
        read_response(path)
    np.savez(path, pt_edges=np.zeros(3))
    with pytest.raises(InputError, match="'eta_edges' is missing"):
        read_response(path)


def test_damage_to_a_map_is_found(tmp_path: Path):
    table = ResponseMap(
        **EDGES, coefficients=np.random.default_rng(1).normal(size=(2, 2, 2, 6)), n_muons=np.ones((2, 2, 2))
    )
    raw, path = response_bytes(table), tmp_path / "response_map.npz"
    for at in range(len(raw)):  # two bits, which turn the number of one compression into that of another
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x06]) + raw[at + 1 :])
        try:
            back = read_response(path)
        except InputError:
            continue
        assert all(np.array_equal(getattr(back, name), getattr(table, name)) for name in ARRAYS), at


def test_a_file_that_unpacks_without_end_is_refused(tmp_path: Path):
    path = tmp_path / "response_map.npz"
    np.savez_compressed(path, **{name: np.zeros(3 * 2**20) for name in ARRAYS})
    with pytest.raises(InputError, match="more than 67108864 bytes"):
        read_response(path)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ({"pt_edges": np.array([60.0, 40.0, 20.0])}, "pt_edges must increase strictly"),
        ({"eta_edges": np.array([-2.4, np.nan, 2.4])}, r"eta_edges\[1\] is not finite"),
    ],
)
def test_edges_that_are_none_are_refused(tmp_path: Path, edges: dict[str, np.ndarray], message: str):
    arrays = {**EDGES, **edges, "coefficients": np.zeros((2, 2, 2, 6)), "n_muons": np.ones((2, 2, 2))}
    with pytest.raises(ValueError, match=message):
        ResponseMap(**arrays)
    np.savez(tmp_path / "response_map.npz", **arrays)
    with pytest.raises(InputError, match=message):
        read_response(tmp_path / "response_map.npz")
