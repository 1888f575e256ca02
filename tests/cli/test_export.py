"""`mucal export` of releases with attachments, evidence and efficiencies."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import uproot

from mucal.calibration import Calibration
from mucal.calibration.manifest import read_manifest
from mucal.calibration.response_map import ResponseMap
from mucal.efficiency import EfficiencyModel, ScaleFactors, Surface
from mucal.io import read_corrections_json, write_bundle
from mucal.io.bundle import read_attachments, read_evidence
from mucal.io.response_npz import response_bytes
from mucal.io.response_onnx import response_onnx_bytes

ATTACHED = {"report.html": b"<html>", "fits.parquet": b"PAR1", "response_map.npz": bytes(range(256))}
FITS = {"used": 3, "data": {"OK": 3, "EMPTY": 1}, "dropped": {"EMPTY": [[0, 1, 2, 1]]}}
CLOSURE = {"equations": {"chi2": 1.0, "ndf": 2, "p_value": 0.6},
           "residual": {"chi2": 4.0, "ndf": 2, "p_value": 0.135}, "factor": 1.4}  # fmt: skip
EFFICIENCIES = {"efficiencies.h5", "efficiencies.json.gz", "efficiencies.root"}


@pytest.fixture
def release(calibration: Calibration, tmp_path: Path) -> Path:
    evidence = {"closures": {"z": CLOSURE}, "mass_fits": FITS}
    return write_bundle(calibration, tmp_path / "release", attachments=ATTACHED, evidence=evidence)


@pytest.fixture
def factors(tmp_path: Path) -> Path:
    """Scale factors of one step, in two bins of eta, as `mucal efficiency smooth` leaves them."""

    def surface(value: float) -> Surface:
        coefficients = np.zeros((2, 2, 2))
        coefficients[..., 0] = value
        return Surface(
            eta_edges=np.array([-2.4, 0.0, 2.4]), by_charge=True, pt_range=(26.0, 60.0), ut_range=(-np.inf, np.inf),
            degree_pt=1, degree_ut=0, coefficients=coefficients, cov=np.tile(1e-6 * np.eye(2), (2, 2, 1, 1)),
            chi2=np.zeros((2, 2)), ndf=np.zeros((2, 2)),
        )  # fmt: skip

    nominal, data, mc = (surface(value) for value in (0.98, 0.931, 0.95))
    return ScaleFactors(step="idip", nominal=nominal, eff_data=data, eff_mc=mc).save(tmp_path / "idip_sf.h5")


def test_an_export_is_the_release_again_with_all_that_stands_beside_it(mucal, release: Path, tmp_path: Path):
    assert mucal("export", release, "-o", tmp_path / "again").code == 0
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == {
        p.name: p.read_bytes() for p in release.iterdir()
    }
    ended = mucal("verify", release, "--against", tmp_path / "again")
    assert ended.code == 0
    assert "the same bytes in all" in ended.out


def test_an_export_of_a_run_is_that_of_its_release(mucal, calibration: Calibration, tmp_path: Path):
    write_bundle(calibration, tmp_path / "run" / "calibration", attachments=ATTACHED)
    assert mucal("export", tmp_path / "run", "-o", tmp_path / "again").code == 0
    assert read_attachments(tmp_path / "again") == ATTACHED


def test_a_calibration_alone_is_exported_without_attachments(mucal, release: Path, tmp_path: Path):
    assert mucal("export", release / "calibration.h5", "-o", tmp_path / "alone").code == 0
    assert read_attachments(tmp_path / "alone") == {}
    assert read_evidence(tmp_path / "alone") == {}


def test_a_release_exported_onto_itself_stays_what_it_is(mucal, release: Path):
    before = {p.name: p.read_bytes() for p in release.iterdir()}
    assert mucal("export", release, "-o", release).code == 2
    assert mucal("export", release, "-o", release, "--overwrite").code == 0
    assert {p.name: p.read_bytes() for p in release.iterdir()} == before


def test_attachments_are_left_out_by_name(mucal, release: Path, tmp_path: Path):
    ended = mucal("export", release, "-o", tmp_path / "small", "--without", "report.html", "--without", "fits.parquet")
    assert ended.code == 0
    assert set(read_attachments(tmp_path / "small")) == {"response_map.npz"}
    assert read_evidence(tmp_path / "small") == read_evidence(release)
    ended = mucal("verify", release, "--against", tmp_path / "small")
    assert ended.code == 0
    assert "only one has fits.parquet, report.html" in ended.out


@pytest.mark.parametrize("name", ["report.htm", "calibration.h5", "../report.html"])
def test_what_is_no_attachment_cannot_be_left_out(mucal, release: Path, tmp_path: Path, name: str):
    ended = mucal("export", release, "-o", tmp_path / "small", "--without", name)
    assert ended.code == 2
    assert f"--without '{name}'" in ended.err
    assert "report.html" in ended.err
    assert not (tmp_path / "small").exists()


def damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", [*ATTACHED, "corrections.root"])
@pytest.mark.parametrize("harm", [damaged, Path.unlink])
def test_a_release_with_a_damaged_or_missing_file_is_not_exported(
    mucal, release: Path, tmp_path: Path, name: str, harm: Callable[[Path], None]
):
    harm(release / name)
    ended = mucal("export", release, "-o", tmp_path / "again", "--without", "report.html")
    assert ended.code == 7
    assert name in ended.err
    assert not (tmp_path / "again").exists()


def test_efficiencies_belong_to_the_release(mucal, release: Path, factors: Path, tmp_path: Path):
    out = tmp_path / "with"
    assert mucal("export", release, "-o", out, "--efficiencies", factors).code == 0
    assert set(read_attachments(out)) == {*ATTACHED, *EFFICIENCIES}
    assert set(read_manifest(out)["files"]) >= EFFICIENCIES
    muon = (1.0, 40.0, 1)
    one = ScaleFactors.load(factors)
    expected = one(np.array([1.0]), np.array([40.0]), np.array([1]))[0]
    written = read_corrections_json(out / "efficiencies.json.gz")
    assert written.evaluate("NUM_idip_DEN_global_muon", *muon, "nominal") == pytest.approx(expected, rel=1e-12)
    with uproot.open(out / "efficiencies.root") as file:
        assert file["SF_idip_plus"].values()[1, 70, 0] == pytest.approx(expected, rel=1e-12)
    model = EfficiencyModel.load(out / "efficiencies.h5")
    np.testing.assert_array_equal(model.step("idip").nominal.coefficients, one.nominal.coefficients)
    assert str(factors) in model.provenance.inputs


def test_efficiencies_stay_in_an_export_and_are_replaced_by_others(mucal, release: Path, factors: Path, tmp_path: Path):
    assert mucal("export", release, "-o", tmp_path / "one", "--efficiencies", factors).code == 0
    assert mucal("export", tmp_path / "one", "-o", tmp_path / "two").code == 0
    assert read_attachments(tmp_path / "two") == read_attachments(tmp_path / "one")
    model = EfficiencyModel(steps=(), veto=ScaleFactors.load(factors))
    model.save(tmp_path / "veto.h5")
    assert mucal("export", tmp_path / "one", "-o", tmp_path / "three", "--efficiencies", tmp_path / "veto.h5").code == 0
    found = EfficiencyModel.load(tmp_path / "three" / "efficiencies.h5")
    assert (len(found.steps), found.veto is None) == (0, False)


@pytest.mark.parametrize("name", sorted(EFFICIENCIES))
def test_damaged_efficiencies_are_found(mucal, release: Path, factors: Path, tmp_path: Path, name: str):
    assert mucal("export", release, "-o", tmp_path / "one", "--efficiencies", factors).code == 0
    damaged(tmp_path / "one" / name)
    ended = mucal("verify", tmp_path / "one")
    assert ended.code == 7
    assert name in ended.err


def test_a_file_that_holds_no_scale_factors_is_refused(mucal, release: Path, tmp_path: Path):
    out = ("-o", tmp_path / "out")
    ended = mucal("export", release, *out, "--efficiencies", release / "calibration.h5")
    assert ended.code == 3
    assert "holds Calibration, expected the scale factors" in ended.err
    (tmp_path / "text.h5").write_text("efficiencies")
    assert mucal("export", release, *out, "--efficiencies", tmp_path / "text.h5").code == 3
    assert mucal("export", release, *out, "--efficiencies", tmp_path / "nothing.h5").code == 3
    assert not (tmp_path / "out").exists()


def test_efficiencies_that_are_not_certified_are_not_released(mucal, release: Path, factors: Path, tmp_path: Path):
    found = ScaleFactors.load(factors)
    found.nominal.coefficients[0, 0, 0] = np.nan
    found.save(tmp_path / "nan.h5")
    ended = mucal("export", release, "-o", tmp_path / "out", "--efficiencies", tmp_path / "nan.h5")
    assert ended.code == 4
    assert "step 'idip'" in ended.err
    assert not (tmp_path / "out").exists()


def test_nuisances_that_the_layout_of_w_mass_programs_lacks_are_named(mucal, release: Path, tmp_path: Path):
    ended = mucal("export", release, "-o", tmp_path / "again", "--wremnants", tmp_path / "root")
    assert ended.code == 0
    assert f"1 nuisances have no name in {tmp_path / 'root'}: reference_mass_jpsi" in ended.out
    assert "have no name" not in mucal("export", release, "-o", tmp_path / "plain").out


def test_show_tells_the_evidence(mucal, release: Path):
    ended = mucal("show", release)
    assert "closure with z: chi2/ndf 4.0/2" in ended.out
    assert "it asks for a factor 1.40 on them" in ended.out
    assert "mass fits: 3 bins used, dropped by status: 1 EMPTY" in ended.out
    assert json.loads(mucal("show", release, "--json").out)["evidence"] == read_evidence(release)


def test_the_response_map_is_attached_as_a_graph_too(mucal, calibration: Calibration, tmp_path: Path):
    pytest.importorskip("onnx", reason="onnx writes the graphs: mucal[onnx]")
    cells = (2, 2, 1)
    coefficients = np.zeros((*cells, 6))
    coefficients[..., :2] = 1.0, 0.015
    response = ResponseMap(
        pt_edges=np.array([9.0, 30.0, 80.0]), eta_edges=np.array([-2.4, 2.4]), coefficients=coefficients,
        n_muons=np.ones(cells),
    )  # fmt: skip
    write_bundle(calibration, tmp_path / "release", attachments={"response_map.npz": response_bytes(response)})
    assert mucal("export", tmp_path / "release", "--onnx", "-o", tmp_path / "again").code == 0
    attached = read_attachments(tmp_path / "again")
    assert attached["response_map.onnx"] == response_onnx_bytes(response)
    assert mucal("verify", tmp_path / "again").code == 0


def test_a_graph_needs_a_response_map(mucal, calibration: Calibration, tmp_path: Path):
    write_bundle(calibration, tmp_path / "release")
    ended = mucal("export", tmp_path / "release", "--onnx", "-o", tmp_path / "again")
    assert ended.code == 3
    assert "the release has no response_map.npz" in ended.err
    assert not (tmp_path / "again").exists()
