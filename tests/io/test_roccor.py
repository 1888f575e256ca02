"""Rochester tables: official values, what is written comes back, damaged text.

`golden/roccor2018_nominal.txt` holds the nominal set of the public RoccoR2018 table (arXiv:1208.3710);
`golden/roccor2018_official.json` muons and what the official program returns for them.  With the whole table, too large
to stand here, the errors of the 84 data and 16 simulated muons agree as well (one-off, to 4e-16).
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration
from mucal.errors import InputError, NotCertified
from mucal.io import read_roccor, write_roccor
from mucal.io.roccor import RoccorTable, crystal_ball_quantile
from mucal.scale import conventions, correct_pt
from mucal.theory.lineshape import crystal_ball_kernel

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def table() -> RoccorTable:
    return read_roccor(GOLDEN / "roccor2018_nominal.txt")


@pytest.fixture(scope="module")
def official() -> dict[str, dict[str, np.ndarray]]:
    found = json.loads((GOLDEN / "roccor2018_official.json").read_text())
    return {
        sample: {name: np.array(v) for name, v in found[sample].items()} for sample in ("data", "mc", "mc_without_gen")
    }


def test_the_official_scales_of_84_data_muons(table: RoccorTable, official: dict[str, dict[str, np.ndarray]]):
    muons = official["data"]
    found = table.scale(muons["pt"], muons["eta"], muons["phi"], muons["charge"])
    assert found.size == 84
    assert found.mean() == pytest.approx(1.0022664, abs=5e-8)
    assert_allclose(found, muons["scale"], rtol=1e-15)


def test_the_official_spread_of_16_simulated_muons(table: RoccorTable, official: dict[str, dict[str, np.ndarray]]):
    muons = official["mc"]
    found = table.spread_scale(muons["pt"], muons["eta"], muons["phi"], muons["charge"], muons["pt_gen"])
    assert_allclose(found, muons["spread"], rtol=1e-15)


def test_the_official_smearing_of_muons_without_a_generated_one(
    table: RoccorTable, official: dict[str, dict[str, np.ndarray]]
):
    muons = official["mc_without_gen"]
    names = ("pt", "eta", "phi", "charge", "layers", "uniform")
    # the official quantile is good to some 1e-10; with the whole table the errors agree to 4e-8 of them (one-off)
    assert_allclose(table.smear_scale(*(muons[name] for name in names)), muons["smear"], rtol=1e-9)


def test_the_quantile_of_the_crystal_ball_undoes_its_integral():
    alpha, n = np.full(9, 1.3), np.full(9, 3.0)
    u = np.array([1e-6, 1e-3, 0.05, 0.3, 0.5, 0.7, 0.95, 0.999, 1 - 1e-6])
    x = crystal_ball_quantile(u, alpha, n)
    kernel = crystal_ball_kernel(x, alpha_l=1.3, n_l=3.0, alpha_r=1.3, n_r=3.0)
    assert_allclose(kernel, u, rtol=1e-9)
    assert_allclose(x, -x[::-1], atol=1e-9 * np.abs(x).max())


def test_a_random_number_of_a_half_leaves_the_scale(table: RoccorTable):
    columns = np.array([40.0, 40.0]), np.array([0.3, -1.9]), np.zeros(2), np.array([1, -1])
    found = table.smear_scale(*columns, np.array([3, 40]), np.full(2, 0.5))
    assert_allclose(found, table.scale(*columns, "mc"), rtol=1e-12)


def test_shares_of_layers_rise_to_one(table: RoccorTable):
    assert np.all(np.diff(table.shares, axis=-1) >= 0)
    assert_allclose(table.shares[..., -1], 1.0)


def test_a_table_without_smearing_says_so(cms_like: Calibration, tmp_path: Path):
    ours = read_roccor(write_roccor(cms_like, tmp_path / "roccor.txt"))
    with pytest.raises(ValueError, match="holds no smearing"):
        ours.smear_scale(*np.ones((4, 1)), np.ones(1, dtype=np.int64), np.full(1, 0.5))


def test_a_single_member_has_no_error(table: RoccorTable):
    assert table.scale_error(np.array([40.0]), np.zeros(1), np.zeros(1), np.ones(1)).tolist() == [0.0]


def test_ours_and_theirs_agree_at_the_pt_of_the_translation(table: RoccorTable):
    ours = table.to_ours(45.0)
    eta = 0.5 * (table.eta_edges[1:] + table.eta_edges[:-1])
    pt, charge = np.full(eta.size, 45.0), np.ones(eta.size)
    found = correct_pt(ours, pt, eta, charge) / 45.0
    expected = 1.0 / (table.M_R[0, 1].mean(axis=1) + 45.0 * table.A_R[0, 1].mean(axis=1))
    assert_allclose(found, expected, rtol=1e-15)


def test_what_is_written_corrects_like_the_calibration(tmp_path: Path, cms_like: Calibration):
    back = read_roccor(write_roccor(cms_like, tmp_path / "roccor.txt", pt=40.0))
    rng = np.random.default_rng(1)
    n = 500
    eta, phi, charge = rng.uniform(-2.4, 2.4, n), rng.uniform(-np.pi, np.pi, n), rng.choice([-1, 1], n)
    pt = np.full(n, 40.0)
    found = back.scale(pt, eta, phi, charge)
    assert_allclose(found, cms_like.correct(pt, eta, phi, charge) / pt, rtol=1e-11)  # twelve digits of the percentages
    assert_allclose(back.scale(pt, eta, phi, charge, "mc"), 1.0, rtol=0)
    # away from 40 GeV e/pT is frozen
    far = np.full(n, 26.0)
    frozen = back.scale(far, eta, phi, charge) - cms_like.correct(far, eta, phi, charge) / far
    assert 1e-6 < np.abs(frozen).max() < np.max(np.abs(cms_like.scale.e)) * (1 / 26 - 1 / 40) * 1.01


def test_its_error_is_that_of_all_scale_nuisances(tmp_path: Path, cms_like: Calibration):
    back = read_roccor(write_roccor(cms_like, tmp_path / "roccor.txt"))
    eta, charge, pt = np.array([-2.0, 0.3]), np.array([1, -1]), np.full(2, 40.0)
    nominal = cms_like.correct(pt, eta, 0 * pt, charge) / pt
    shifts = [cms_like.vary(pt, eta, 0 * pt, charge, n)[0] / pt - nominal for n in cms_like.nuisances("scale")]
    # the members are moved by sqrt(193) deviations, where 1/(1 + x) is not quite linear
    assert_allclose(back.scale_error(pt, eta, 0 * pt, charge), np.sqrt(np.sum(np.square(shifts), axis=0)), rtol=1e-2)


def test_the_covariance_of_the_members_comes_back(tmp_path: Path, cms_like: Calibration):
    ours = read_roccor(write_roccor(cms_like, tmp_path / "roccor.txt", pt=40.0)).to_ours(40.0)
    A, e, M = np.moveaxis(cms_like.scale_variations, 1, 0)
    rows = np.concatenate([A - e / 40.0, 0 * A, M], axis=1)
    error = np.sqrt(np.diag(rows.T @ rows))
    kept = error > 0
    assert_allclose(np.sqrt(np.diag(ours.cov))[kept], error[kept], rtol=1e-6)
    assert_allclose(ours.M, cms_like.scale.M, atol=1e-16)


def test_letters_are_swapped():
    ours = conventions.Ours(np.array([1e-4]), np.array([1e-3]), np.array([1e-5]))
    theirs = conventions.to_roccor(ours, np.array([40.0]))
    assert theirs.A_R[0] == 1e-5
    assert theirs.M_R[0] == pytest.approx(1 + 1e-4 - 2.5e-5, rel=1e-15)


def test_a_compressed_table_is_the_same(tmp_path: Path, table: RoccorTable):
    path = tmp_path / "table.txt.gz"
    path.write_bytes(gzip.compress((GOLDEN / "roccor2018_nominal.txt").read_bytes()))
    assert np.array_equal(read_roccor(path).M_R, table.M_R)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NSET 1", "", "the line NSET is missing"),
        ("NSET 1", "NSET 2", "NSET states 2 sets, NMEM 1"),
        ("CPHI 16", "CPHI 15", "a line has 16 values"),
        ("0 0 C 0 0 3 ", "0 0 C 0 0 33 ", "a line has 16 values"),
        ("0 0 C 0 0 3 ", "0 4 C 0 0 3 ", "set 0, member 4 is not among those"),
        ("0 0 C 0 0 3 ", "0 0 X 0 0 3 ", "not of a Rochester table"),
        ("0 0 C 0 0 3 -0.0751494", "0 0 C 0 0 3 abc", "line 69 is not of a Rochester table"),
        ("0 0 C 0 0 3 -0.0751494", "0 0 C 0 0 3 inf", "line 69 is not of .* finite numbers"),
        ("NSET 1", "NSET", "line 1 is not of .* whole numbers from 1"),
        ("NMEM 1", "NMEM -1", "line 2 is not of .* whole numbers from 1"),
        ("NMEM 1", "NMEM 1000000000000", "line 2 is not of .* whole numbers from 1"),
        ("NMEM 1", "NMEM 10000000", "the headers state 8960000000 values"),
        ("CPHI 16", "CPHI nan", "line 3 is not of a Rochester table"),
        ("CETA 14 -2.40 -2.10", "CETA 14 -2.10 -2.40", "line 4 is not of .* must increase strictly"),
        ("CETA 14", "CETA 13", "line 4 is not of .*13 bins are stated, 15 edges follow"),
        ("RETA 7 0.00", "RETA 7 nan", "line 7 is not of .* finite numbers"),
    ],
)
def test_damaged_text_is_refused(tmp_path: Path, old: str, new: str, message: str):
    text = (GOLDEN / "roccor2018_nominal.txt").read_text()
    assert old in text
    path = tmp_path / "table.txt"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        read_roccor(path)


def test_missing_values_are_named(tmp_path: Path):
    lines = (GOLDEN / "roccor2018_nominal.txt").read_text().splitlines()
    path = tmp_path / "table.txt"
    path.write_text("\n".join(line for line in lines if not line.startswith("0 0 C 1 1 13 ")))
    with pytest.raises(InputError, match="first of member 0, eta bin 13"):
        read_roccor(path)


def test_nothing_is_overwritten_unasked(tmp_path: Path, cms_like: Calibration):
    path = write_roccor(cms_like, tmp_path / "roccor.txt")
    with pytest.raises(FileExistsError):
        write_roccor(cms_like, path)
    before = path.read_bytes()
    assert write_roccor(cms_like, path, overwrite=True).read_bytes() == before


def test_damage_to_a_compressed_table_is_found(tmp_path: Path):
    rows = [f"0 0 C {of} {var} {i} 0.0{of}{var}{i}" for of in (0, 1) for var in (0, 1) for i in (0, 1)]
    raw = gzip.compress("\n".join(["NSET 1", "NMEM 1", "CPHI 1", "CETA 2 -2.4 0 2.4", *rows]).encode())
    path = tmp_path / "table.txt.gz"
    path.write_bytes(raw)
    whole = read_roccor(path)
    for at in range(len(raw)):
        for flip in (0x01, 0x10, 0xFF):
            path.write_bytes(raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :])
            try:
                found = read_roccor(path)
            except InputError:
                continue
            assert np.array_equal(found.M_R, whole.M_R), at
            assert np.array_equal(found.A_R, whole.A_R), at


def test_damage_to_a_plain_table_ends_in_an_input_error_or_a_table(tmp_path: Path):
    raw = (GOLDEN / "roccor2018_nominal.txt").read_bytes()
    path = tmp_path / "table.txt"
    whole = read_roccor(GOLDEN / "roccor2018_nominal.txt")
    rng = np.random.default_rng(1)
    for at in [*range(200), *rng.integers(200, len(raw), 100)]:
        path.write_bytes(raw[:at] + bytes([raw[at] ^ int(rng.integers(1, 256))]) + raw[at + 1 :])
        try:
            found = read_roccor(path)
        except InputError:
            continue
        changed = np.sum(found.M_R != whole.M_R) + np.sum(found.A_R != whole.A_R)
        assert changed <= 1, at


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pt": np.array([40.0, np.nan])}, r"1 of 2 muons: pt\[1\] = nan"),
        ({"pt": np.array([40.0, 0.0])}, r"pt\[1\] = 0, expected a positive, finite momentum"),
        ({"eta": np.array([np.nan, 0.0])}, r"eta\[0\] = nan"),
        ({"phi": np.array([0.0, np.inf])}, r"phi\[1\] = inf"),
        ({"charge": np.array([1.0, 0.5])}, r"charge\[1\] = 0.5, expected \+1 or -1"),
        ({"sample": "Data"}, "sample = 'Data', expected one of 'data', 'mc'"),
    ],
)
@pytest.mark.parametrize("corrected", [RoccorTable.scale, RoccorTable.scale_error])
def test_what_is_no_muon_gets_no_correction(
    table: RoccorTable, corrected: Callable[..., Any], change: dict[str, Any], message: str
):
    muons: dict[str, Any] = {"pt": np.full(2, 40.0), "eta": np.zeros(2), "phi": np.zeros(2), "charge": np.ones(2)}
    with pytest.raises(ValueError, match=message):
        corrected(table, **(muons | change))


def test_momenta_and_random_numbers_of_simulation_are_checked(table: RoccorTable):
    muon = (np.full(1, 40.0), np.zeros(1), np.zeros(1), np.ones(1))
    with pytest.raises(ValueError, match=r"pt_gen\[0\] = nan"):
        table.spread_scale(*muon, np.full(1, np.nan))
    with pytest.raises(ValueError, match=r"uniform\[0\] = 1.5, expected a number between 0 and 1"):
        table.smear_scale(*muon, np.ones(1, dtype=np.int64), np.full(1, 1.5))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"eta_edges": np.linspace(2.4, -2.4, 15)}, "eta_edges must increase"), ({"A_R": np.inf}, "A_R holds numbers")],
)
def test_a_table_that_is_none_cannot_be_made(table: RoccorTable, change: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(table, **change)


@pytest.mark.parametrize("A", [np.nan, 0.9])
def test_what_is_not_certified_is_not_written(tmp_path: Path, cms_like: Calibration, A: float):
    broken = replace(cms_like, scale=replace(cms_like.scale, A=np.full(cms_like.scale.n_bins, A)))
    with pytest.raises(NotCertified):
        write_roccor(broken, tmp_path / "roccor.txt")
    assert not (tmp_path / "roccor.txt").exists()


def test_the_energy_loss_is_frozen_inside_the_range_of_the_calibration(tmp_path: Path, cms_like: Calibration):
    low = replace(cms_like, pt_range=(4.0, 25.0))
    back = read_roccor(write_roccor(low, tmp_path / "roccor.txt"))
    assert_allclose(back.M_R[0, 1, :, 0], 1.0 + low.scale.A - low.scale.e / 10.0, rtol=1e-13)  # sqrt(4 x 25) = 10


def test_edges_come_back_to_the_last_bit(tmp_path: Path, cms_like: Calibration):
    third = np.linspace(-2.4, 2.4, cms_like.scale.n_bins + 1) / 3.0 * 2.9999999
    moved = replace(cms_like, scale=replace(cms_like.scale, eta_edges=third), eta_range=(third[0], third[-1]))
    back = read_roccor(write_roccor(moved, tmp_path / "roccor.txt"))
    assert np.array_equal(back.eta_edges, third)
