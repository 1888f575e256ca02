"""What correctionlib computes alone, from the file alone, is what the calibration computes."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import correctionlib
import correctionlib.schemav2
import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration
from mucal.errors import InputError
from mucal.io import CorrectionFile, read_corrections_json, write_bundle
from mucal.io.correctionlib import corrections_document
from mucal.io.muonscare import muonscare_document, reference_pt

N = 1_000_000
EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "apply_with_correctionlib.py"


@pytest.fixture(scope="session")
def bundle(calibration: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(calibration, tmp_path_factory.mktemp("bundle") / "release")


@pytest.fixture(scope="session")
def corrections(bundle: Path) -> Any:
    """Opened by correctionlib itself, not through our reader."""
    return correctionlib.CorrectionSet.from_file(str(bundle / "corrections.json.gz"))


@pytest.fixture(scope="session")
def muons(calibration: Calibration) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """10^6 muons over the validity range, every eta edge and both ends of pt among them."""
    rng = np.random.default_rng(11)
    pt, eta = rng.uniform(4.0, 70.0, N), rng.uniform(-2.4, 2.4, N)
    edges = np.concatenate([calibration.scale.eta_edges, calibration.resolution_data.eta_edges])[:-1]
    around = np.concatenate([edges, np.nextafter(edges, 3.0), np.nextafter(edges, -3.0)])
    around = around[(around >= -2.4) & (around < 2.4)]
    eta[: around.size] = around
    eta[around.size] = np.nextafter(2.4, 0.0)
    pt[:3] = 4.0, np.nextafter(70.0, 0.0), np.nextafter(4.0, 5.0)
    return pt, eta, rng.choice([-1, 1], N)


@pytest.mark.filterwarnings("ignore:'stdnormal' distribution is deprecated:DeprecationWarning")
def test_the_file_follows_the_schema(calibration: Calibration):
    for document in (corrections_document(calibration), muonscare_document(calibration)):
        correctionlib.schemav2.CorrectionSet.model_validate(document)


@pytest.mark.parametrize(("sample", "name"), [("data", "pt_scale"), ("mc", "pt_scale_mc")])
def test_nominal_momenta_of_a_million_muons(calibration, corrections, muons, sample: str, name: str):
    pt, eta, charge = muons
    found = pt * corrections[name].evaluate(pt, eta, charge, "nom")
    assert_allclose(found, calibration.correct(pt, eta, 0 * pt, charge, sample), rtol=1e-12)


@pytest.mark.parametrize(("sample", "name"), [("data", "pt_scale"), ("mc", "pt_scale_mc")])
@pytest.mark.parametrize("nuisance", ["jpsi_stat_000", "jpsi_stat_017", "reference_mass_jpsi"])
def test_varied_momenta_of_a_million_muons(calibration, corrections, muons, sample: str, name: str, nuisance: str):
    pt, eta, charge = muons
    expected = calibration.vary(pt, eta, 0 * pt, charge, nuisance, sample)
    for direction, momenta in zip(("up", "down"), expected, strict=True):
        found = pt * corrections[name].evaluate(pt, eta, charge, f"{nuisance}_{direction}")
        assert_allclose(found, momenta, rtol=1e-12)


def test_every_nuisance_acts_as_in_the_calibration(calibration, corrections):
    pt, eta, charge = np.array([5.0, 40.0, 60.0]), np.array([-2.0, 0.3, 1.7]), np.array([1, -1, 1])
    for nuisance in calibration.nuisances("scale"):
        for direction, momenta in zip(("up", "down"), calibration.vary(pt, eta, 0 * pt, charge, nuisance), strict=True):
            found = pt * corrections["pt_scale"].evaluate(pt, eta, charge, f"{nuisance}_{direction}")
            assert_allclose(found, momenta, rtol=1e-13)


@pytest.mark.parametrize(("sample", "name"), [("data", "pt_scale"), ("mc", "pt_scale_mc")])
def test_the_envelope_is_all_scale_nuisances_in_quadrature(calibration, corrections, muons, sample: str, name: str):
    pt, eta, charge = (column[:2000] for column in muons)
    curvature = 1.0 / calibration.correct(pt, eta, 0 * pt, charge, sample)
    up = [1.0 / calibration.vary(pt, eta, 0 * pt, charge, n, sample)[0] for n in calibration.nuisances("scale")]
    shift = np.sqrt(np.sum(np.square(np.array(up) - curvature), axis=0))
    for key, sign in (("scale_total_up", -1.0), ("scale_total_down", 1.0)):
        found = pt * corrections[name].evaluate(pt, eta, charge, key)
        assert_allclose(1.0 / found, curvature + sign * shift, rtol=1e-11)


def test_the_raw_file_has_the_errors_as_fitted(calibration, bundle):
    raw = correctionlib.CorrectionSet.from_file(str(bundle / "corrections_raw.json.gz"))
    factored = correctionlib.CorrectionSet.from_file(str(bundle / "corrections.json.gz"))
    for parameter in "AeM":
        nominal, up = (raw["scale_params"].evaluate(0.3, parameter, key) for key in ("nom", "jpsi_stat_004_up"))
        assert nominal == factored["scale_params"].evaluate(0.3, parameter, "nom")
        assert 2.1 * (up - nominal) == pytest.approx(
            factored["scale_params"].evaluate(0.3, parameter, "jpsi_stat_004_up") - nominal, rel=1e-9
        )
    widths = [file["sigma_rel"].evaluate(40.0, 0.3, "data", "resolution_stat_001_up") for file in (raw, factored)]
    nominal = raw["sigma_rel"].evaluate(40.0, 0.3, "data", "nom")
    assert 10.0 * (widths[0] - nominal) == pytest.approx(widths[1] - nominal, rel=1e-9)


def test_parameters_are_those_applied(calibration, corrections, muons):
    eta = muons[1]
    index = calibration.scale.bin_index(eta)
    for i, name in enumerate("AeM"):
        nominal = getattr(calibration.scale, name)[index]
        # correctionlib reads decimal numbers to a few units in the last place
        assert_allclose(corrections["scale_params"].evaluate(eta, name, "nom"), nominal, rtol=1e-15)
        up = nominal + calibration.variation("jpsi_stat_002")[i][index]
        assert_allclose(corrections["scale_params"].evaluate(eta, name, "jpsi_stat_002_up"), up, rtol=1e-15)


def relative_variance(table, index, pt, shift=(0.0, 0.0, 0.0)):
    a, b, c = (getattr(table, name)[index] + s for name, s in zip("abc", shift, strict=True))
    return a + c * pt**2 + b / (1 + table.d[index] / pt**2)


def test_resolution_of_a_million_muons(calibration, corrections, muons):
    pt, eta, _ = muons
    data, mc = calibration.resolution_data, calibration.resolution_mc
    index = np.searchsorted(data.eta_edges, eta, side="right") - 1
    shift = calibration.variation("resolution_stat_003")[:, index]
    in_mc = relative_variance(mc, index, pt)
    assert_allclose(corrections["sigma_rel"].evaluate(pt, eta, "mc", "nom"), in_mc, rtol=1e-12)
    for syst, moved in (("nom", 0 * shift), ("resolution_stat_003_up", shift), ("resolution_stat_003_down", -shift)):
        in_data = relative_variance(data, index, pt, moved)
        assert_allclose(corrections["sigma_rel"].evaluate(pt, eta, "data", syst), in_data, rtol=1e-12)
        found = corrections["sigma_extra"].evaluate(pt, eta, syst) ** 2
        # a difference of two variances: relative to them, not to itself
        assert_allclose(found, np.maximum(0, in_data - in_mc), rtol=1e-12, atol=1e-12 * in_mc.max())


@pytest.fixture(scope="module")
def whole_model(cms_like: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The file of all 314 nuisances, opened by correctionlib itself."""
    bundle = write_bundle(cms_like, tmp_path_factory.mktemp("whole") / "release")
    return correctionlib.CorrectionSet.from_file(str(bundle / "corrections.json.gz"))


def test_every_group_of_the_whole_model_on_a_million_muons(cms_like: Calibration, whole_model: Any):
    """The first and last nuisance of each group, up and down, with every edge of 48 bins among the muons."""
    rng = np.random.default_rng(12)
    pt, eta, charge = rng.uniform(4.0, 100.0, N), rng.uniform(-2.4, 2.4, N), rng.choice([-1, 1], N)
    edges = cms_like.scale.eta_edges
    around = np.concatenate([edges[:-1], np.nextafter(edges[:-1], 3.0), np.nextafter(edges[1:], -3.0)])
    eta[: around.size] = around
    pt[:2] = 4.0, np.nextafter(100.0, 0.0)
    triggered, hits = rng.integers(0, 2, N), rng.integers(0, 4, N)
    last = {group: name for name, group in zip(cms_like.names, cms_like.groups, strict=True)}
    first = {group: name for name, group in zip(cms_like.names[::-1], cms_like.groups[::-1], strict=True)}
    kinds = dict(zip(cms_like.names, cms_like.kinds, strict=True))
    assert len(cms_like.names) == 314
    index = np.searchsorted(cms_like.resolution_data.eta_edges, eta, side="right") - 1
    checked = set()
    for name in {*first.values(), *last.values()}:
        if kinds[name] == "scale":
            both = [m / pt for m in cms_like.vary(pt, eta, 0 * pt, charge, name)]
            found = [whole_model["pt_scale"].evaluate(pt, eta, charge, f"{name}_{way}") for way in ("up", "down")]
        elif kinds[name] == "pixel":
            muons = (eta, charge, triggered, hits)
            both = list(cms_like.vary_pixel_weight(*muons, name))
            found = [
                whole_model["pixel_weight"].evaluate(hits, eta, charge, triggered, f"{name}_{way}")
                for way in ("up", "down")
            ]
        else:
            shift = cms_like.variation(name)[:, index]
            both = [relative_variance(cms_like.resolution_data, index, pt, sign * shift) for sign in (1, -1)]
            found = [whole_model["sigma_rel"].evaluate(pt, eta, "data", f"{name}_{way}") for way in ("up", "down")]
        for one, other in zip(found, both, strict=True):
            assert_allclose(one, other, rtol=1e-12)
        checked.add(cms_like.groups[cms_like.names.index(name)])
    assert checked == {"jpsi_stat", "zclosure_stat", "zclosure_lep", "resolution_stat", "pixel_mult"}


def test_smearing_widths_are_those_of_smear(calibration, corrections):
    n = 200
    pt, event = np.full(n, 40.0), np.arange(n)
    widths = {eta: corrections["sigma_extra"].evaluate(40.0, eta, "nom") for eta in (-1.5, -0.5, 0.5, 1.5)}
    # the same events have the same random numbers in every eta bin; they are what is left after dividing by the width
    numbers = [
        (pt / calibration.smear(pt, np.full(n, eta), 0 * pt, 1, 1, event, muon=0) - 1) / width
        for eta, width in widths.items()
        if width > 0
    ]
    assert len(numbers) > 1
    for other in numbers[1:]:
        assert_allclose(other, numbers[0], rtol=1e-9)


def test_its_own_random_numbers_are_normal_and_independent_between_muons(corrections):
    n = 100_000
    event = np.arange(n)
    one, two = (corrections["rng"].evaluate(1, 1, event, np.full(n, phi)) for phi in (0.25, 1.75))
    for numbers in (one, two):
        assert abs(numbers.mean()) < 4 / np.sqrt(n)
        assert abs(numbers.std() - 1) < 4 / np.sqrt(2 * n)
    assert abs(np.corrcoef(one, two)[0, 1]) < 4 / np.sqrt(n)


OUTSIDE = [
    (3.9999, 0.0, 1),
    (70.0, 0.0, 1),
    (1e6, 0.0, 1),
    (-30.0, 0.0, 1),
    (0.0, 0.0, 1),
    (np.inf, 0.0, 1),
    (np.nan, 0.0, 1),
    (30.0, 2.4, 1),
    (30.0, -2.5, 1),
    (30.0, np.nan, 1),
    (30.0, 0.0, 0),
    (30.0, 0.0, 2),
]


@pytest.mark.parametrize(("pt", "eta", "charge"), OUTSIDE)
def test_outside_its_range_correctionlib_raises(corrections, pt: float, eta: float, charge: int):
    for name in ("pt_scale", "pt_scale_mc"):
        with pytest.raises((RuntimeError, IndexError)):
            corrections[name].evaluate(np.array([30.0, pt]), np.array([0.0, eta]), np.array([1, charge]), "nom")


@pytest.mark.parametrize(("pt", "eta"), [(pt, eta) for pt, eta, charge in OUTSIDE if charge == 1])
def test_outside_its_range_no_resolution_is_given(corrections, pt: float, eta: float):
    with pytest.raises(RuntimeError):
        corrections["sigma_extra"].evaluate(pt, eta, "nom")
    with pytest.raises(RuntimeError):
        corrections["sigma_rel"].evaluate(pt, eta, "data", "nom")


def test_an_unknown_systematic_is_an_error(corrections):
    with pytest.raises(IndexError):
        corrections["pt_scale"].evaluate(30.0, 0.0, 1, "jpsi_stat_00_up")


# ------------------------------------------------------------------------------------------------ our reader


def test_our_reader_evaluates_through_correctionlib(bundle: Path, calibration: Calibration):
    found = read_corrections_json(bundle / "corrections.json.gz")
    assert isinstance(found, CorrectionFile)
    assert found.evaluate("pt_scale", 40.0, 0.1, 1, "nom") == pytest.approx(
        calibration.correct(40.0, 0.1, 0.0, 1) / 40.0, rel=1e-15
    )
    with pytest.raises(ValueError, match="no correction 'pt'"):
        found.evaluate("pt", 40.0)
    with pytest.raises(ValueError, match="pt_scale: Index above bounds"):
        found.evaluate("pt_scale", 400.0, 0.1, 1, "nom")


def truncated(text: bytes) -> bytes:
    return text[: len(text) // 2]


def nested(_: bytes) -> bytes:
    return b"[" * 100_000 + b"]" * 100_000


def foreign(_: bytes) -> bytes:
    return b'{"schema_version": 2}'


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncated, "ends too early|is not JSON"),
        (nested, "nests 100000 deep"),
        (foreign, "is not a correctionlib file"),
    ],
)
def test_what_is_no_correction_file_is_refused(
    bundle: Path, tmp_path: Path, damage: Callable[[bytes], bytes], message: str
):
    text = gzip.decompress((bundle / "corrections.json.gz").read_bytes())
    path = tmp_path / "other.json"
    path.write_bytes(damage(text))
    with pytest.raises(InputError, match=message):
        read_corrections_json(path)


# ------------------------------------------------------------------------------------------------ partial validity


def test_a_narrower_range_is_cut_out_of_the_tables(calibration: Calibration):
    narrow = replace(calibration, eta_range=(-1.0, 1.9), pt_range=(10.0, 20.0))
    corrections = correctionlib.CorrectionSet.from_string(json.dumps(corrections_document(narrow)))
    eta = np.linspace(-1.0, np.nextafter(1.9, 0), 1001)
    pt = np.linspace(10.0, np.nextafter(20.0, 0), 1001)
    charge = np.where(np.arange(1001) % 2, 1, -1)
    found = pt * corrections["pt_scale"].evaluate(pt, eta, charge, "nom")
    assert_allclose(found, calibration.correct(pt, eta, eta, charge), rtol=1e-13)
    for h in (-1.001, 1.9):
        with pytest.raises(RuntimeError):
            corrections["pt_scale"].evaluate(15.0, h, 1, "nom")
        with pytest.raises(RuntimeError):
            corrections["scale_params"].evaluate(h, "A", "nom")


def test_without_resolution_there_are_no_resolution_corrections(calibration: Calibration):
    alone = replace(
        calibration,
        resolution_data=None,
        resolution_mc=None,
        resolution_variations=np.zeros((0, 3, 0)),
        **{name: getattr(calibration, name)[:19] for name in ("names", "groups", "kinds", "sources")},
    )
    names = [node["name"] for node in corrections_document(alone)["corrections"]]
    assert names == ["pt_scale", "pt_scale_mc", "scale_params", "rng"]
    assert [node["name"] for node in muonscare_document(alone)["corrections"]] == ["a_data", "m_data", "a_mc", "m_mc"]


# ------------------------------------------------------------------------------------------------ the CMS shape


@pytest.fixture(scope="session")
def muonscare(bundle: Path) -> Any:
    return correctionlib.CorrectionSet.from_file(str(bundle / "muonscare.json.gz"))


def test_the_cms_shape_is_exact_at_its_reference_momentum(calibration, muonscare):
    eta = np.linspace(-2.4, 2.39, 100)
    pt, phi, charge = np.full(100, 40.0), np.linspace(-3.14, 3.14, 100), np.where(np.arange(100) % 2, 1, -1)
    assert reference_pt(calibration) == 40.0
    m, a = (muonscare[name].evaluate(eta, phi, "nom") for name in ("m_data", "a_data"))
    assert_allclose(1 / (m / pt + charge * a), calibration.correct(pt, eta, phi, charge), rtol=1e-14)


def test_the_cms_shape_says_that_it_has_no_energy_loss_term(calibration):
    text = muonscare_document(calibration)["description"]
    assert "no energy-loss term (e)" in text
    assert "unfit for precision fits" in text


def test_the_cms_shape_leaves_the_scale_of_simulation_alone(muonscare):
    assert muonscare["m_mc"].evaluate(0.1, 0.0, "nom") == 1.0
    assert muonscare["a_mc"].evaluate(0.1, 0.0, "nom") == 0.0


def test_the_error_of_the_cms_shape_is_that_of_all_scale_nuisances(calibration, muonscare):
    eta, pt = 0.1, 40.0
    for charge in (1, -1):
        stat_m, stat_a = (muonscare[name].evaluate(eta, 0.0, "stat") for name in ("m_data", "a_data"))
        rho = muonscare["m_data"].evaluate(eta, 0.0, "rho_stat")
        envelope = pt**2 * np.sqrt(stat_m**2 / pt**2 + stat_a**2 + 2 * charge * rho * stat_m * stat_a / pt)
        nominal = calibration.correct(pt, eta, 0.0, charge)
        moved = [calibration.vary(pt, eta, 0.0, charge, n)[0] - nominal for n in calibration.nuisances("scale")]
        # first order in the shift, and pT of data rather than corrected pT in their formula
        assert envelope == pytest.approx(np.sqrt(np.sum(np.square(moved))), rel=5e-3)


def test_the_smearing_of_the_cms_shape_is_ours_at_its_reference_momentum(calibration, corrections, muonscare):
    for eta in (0.3, 1.5):
        k = [muonscare[name].evaluate(eta, "nom") for name in ("k_data", "k_mc")]
        sigma = sum(muonscare["poly_params"].evaluate(eta, 9.0, i) * 40.0**i for i in range(3))
        in_data, in_mc = (
            np.mean([corrections["sigma_rel"].evaluate(40.0, side, sample, "nom") for side in (eta, -eta)])
            for sample in ("data", "mc")
        )
        # the parabola follows our formula to a few per cent
        assert np.sqrt(k[0] ** 2 - k[1] ** 2) * sigma == pytest.approx(np.sqrt(in_data - in_mc), rel=0.05)
    assert [muonscare["cb_params"].evaluate(0.3, 9.0, i) for i in range(4)] == [0.0, 1.0, 10.0, 10.0]


# ------------------------------------------------------------------------------------------------ the example


def test_the_documented_example_runs_without_mucal(bundle: Path, calibration: Calibration, tmp_path: Path):
    table = tmp_path / "muons.csv"
    table.write_text("pt,eta,charge\n40.0,0.1,1\n12.5,-1.4,-1\n")
    run = subprocess.run(
        [sys.executable, str(EXAMPLE), str(bundle / "corrections.json.gz"), str(table)],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [line.split(",") for line in run.stdout.splitlines()[1:]]
    expected = calibration.correct([40.0, 12.5], [0.1, -1.4], [0.0, 0.0], [1, -1])
    assert_allclose([float(row[3]) for row in rows], expected, rtol=1e-12)
    muons = ([40.0, 12.5], [0.1, -1.4], [0.0, 0.0], [1, -1])
    shifts = [calibration.vary(*muons, nuisance)[0] - expected for nuisance in calibration.nuisances("scale")]
    # the sum is one of curvatures: momenta differ to second order
    size = np.sqrt(np.sum(np.square(shifts), axis=0))
    assert_allclose([float(row[4]) for row in rows], size, rtol=2 * float(np.max(size / expected)))
    assert "mucal" not in [line.split()[1] for line in EXAMPLE.read_text().splitlines() if line.startswith("import")]
