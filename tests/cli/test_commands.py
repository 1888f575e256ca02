"""Each command does its stage and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numba
import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot

from mucal import load, workflow
from mucal.errors import NotCertified
from mucal.io import read_roccor
from mucal.massfit import MassFits
from mucal.scale import Closure, ScaleTable


def test_run_without_a_configuration_recovers_what_it_injected(closure: Path):
    ended = json.loads((closure / "result.json").read_text())
    assert ended["status"] == "ok"
    # 18 parameters: chi2 has a mean of 18 and a width of 6
    assert abs(ended["headline"]["recovery_chi2"] - ended["headline"]["recovery_ndf"]) < 5 * 6
    assert abs(ended["headline"]["recovery_even_8gev"]) < 4 * ended["headline"]["recovery_even_8gev_error"]


def test_run_shows_the_correction_flat_on_other_events(closure: Path):
    headline = json.loads((closure / "result.json").read_text())["headline"]
    for name in ("eta_plus", "eta_minus"):
        assert headline[f"shift_{name}_p_before"] < 1e-10
        assert headline[f"shift_{name}_p_after"] > 1e-3


def test_run_leaves_a_calibration_that_loads_and_a_page_without_network(closure: Path):
    calibration = load(closure / "calibration")
    assert calibration.nuisances("scale")
    page = (closure / "report.html").read_text()
    assert "Injected against recovered" in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert (closure / "calibration" / "report.html").read_text() == page


def test_run_refuses_a_folder_that_holds_something(mucal, closure: Path):
    ended = mucal("run", "-o", closure)
    assert ended.code == 2
    assert "--overwrite" in ended.err


def test_massfit_then_scale(mucal, events, config, tmp_path: Path):
    fits, table = tmp_path / "massfit.h5", tmp_path / "scale.h5"
    ended = mucal("massfit", events, "--config", config, "-o", fits)
    assert ended.code == 0
    assert "read 40 000 pairs = used" in ended.out
    found = MassFits.load(fits)
    assert found.provenance.inputs
    at = found.parameters.index("ln_s")
    weights = 1 / found.cov[found.good, at, at]
    mean, error = np.average(found.values[found.good, at], weights=weights), weights.sum() ** -0.5
    assert f"{found.good.sum()} of " in ended.out
    assert f"mean shift of the mass {1e3 * mean:+.3f} +- {1e3 * error:.3f} (1e-3)" in ended.out
    assert "f8" not in ended.out
    assert mucal("scale", fits, "--config", config, "-o", table).code == 0
    assert ScaleTable.load(table).provenance.inputs == MassFits.load(fits).provenance.inputs
    assert mucal("scale", fits, "--config", config, "-o", table).code == 2
    assert mucal("scale", fits, "--config", config, "-o", table, "--overwrite").code == 0


def test_a_closure_and_a_table_of_the_fits(mucal, events, config, tmp_path: Path):
    fits, found, table = tmp_path / "massfit.h5", tmp_path / "closure.h5", tmp_path / "fits.parquet"
    assert mucal("massfit", events, "--config", config, "-o", fits, "--table", table).code == 0
    assert pq.read_table(table).num_rows == MassFits.load(fits).histograms.n_bins
    ended = mucal("scale", fits, "--closure", "--config", config, "-o", found)
    assert ended.code == 0
    assert "rms of the pulls" in ended.out
    closure = Closure.load(found)
    assert closure.resonance == "jpsi"
    assert closure.provenance.inputs == MassFits.load(fits).provenance.inputs
    known = np.diag(closure.cov).reshape(2, -1) > 0
    assert (known.all(axis=1) == [True, False]).all()  # scale.free = ["A"]


def with_simulation(tmp_path: Path, config: Path, events: Path, *settings: str) -> Path:
    """A configuration whose data and simulation are the same pairs."""
    text = config.read_text()
    columns = text[text.index("[input.columns]") : text.index("[bins]")]
    simulation = columns.replace("[input.columns]", "[simulation.columns]")
    path = tmp_path / "both.toml"
    path.write_text("\n".join((f'[simulation]\nfiles = ["{events}"]', *settings, simulation, text)))
    return path


def test_data_are_relative_to_the_reference_and_simulation_to_its_generated_mass(mucal, events, config, tmp_path: Path):
    # the same pairs, once as data at 3.0969 GeV and once as simulation generated 1e-4 higher, which reads too low
    mass = float(3.0969 * np.exp(1e-4))
    both = with_simulation(tmp_path, config, events, f"mass = {mass!r}")
    data, simulation, table = (tmp_path / f"{name}.h5" for name in ("data", "simulation", "table"))
    assert mucal("massfit", events, "--config", both, "-o", data).code == 0
    assert mucal("massfit", events, "--config", both, "--sample", "simulation", "-o", simulation).code == 0
    assert MassFits.load(simulation).reference_mass == mass
    assert mucal("scale", data, "--simulation", simulation, "--config", both, "-o", table).code == 0
    np.testing.assert_allclose(ScaleTable.load(table).A, 1e-4 / 0.995, atol=1e-6)
    settings = ("analysis.passes=1", "analysis.derive_fraction=1.0", "analysis.add_background=false", "bins.min_data=1",
                "bins.min_simulation=1")  # fmt: skip
    run = workflow.load_analysis(both, settings=settings, files=(events,))
    workflow.run(run, tmp_path / "run")
    np.testing.assert_array_equal(ScaleTable.load(tmp_path / "run/scale.h5").A, ScaleTable.load(table).A)


@pytest.mark.parametrize("closure", [(), ("--closure",)])
def test_a_scale_without_information_is_an_error_of_the_user(mucal, events, config, closure, tmp_path: Path):
    fits = tmp_path / "massfit.h5"
    assert mucal("massfit", events, "--config", config, "-o", fits).code == 0
    none = ("--set", "scale.min_events=1e9")
    ended = mucal("scale", fits, *closure, "--config", config, *none, "-o", tmp_path / "scale.h5")
    assert ended.code == 4
    assert "scale.not_solved" in ended.err
    assert "bug" not in ended.err


@pytest.mark.parametrize("closure", [(), ("--closure",)])
def test_simulation_in_other_bins_is_refused_with_both(mucal, events, config, closure, tmp_path: Path):
    data, simulation = tmp_path / "data.h5", tmp_path / "simulation.h5"
    assert mucal("massfit", events, "--config", config, "-o", data).code == 0
    other = ("--set", "bins.eta_edges=[-2.4, 0.0, 2.4]")
    assert mucal("massfit", events, "--config", config, *other, "-o", simulation).code == 0
    ended = mucal("scale", data, "--simulation", simulation, *closure, "--config", config, "-o", tmp_path / "scale.h5")
    assert ended.code == 3
    assert "input.not_comparable" in ended.err
    assert "[-2.4, -0.8, 0.8, 2.4] and [-2.4, 0.0, 2.4]" in ended.err


def test_json_is_one_object_on_standard_output(mucal, events, config, tmp_path: Path):
    ended = mucal("massfit", events, "--config", config, "-o", tmp_path / "massfit.h5", "--json")
    assert json.loads(ended.out)["type"] == "MassFits"
    assert "40 000" in ended.err


def test_apply_adds_corrected_momenta_and_variations(mucal, closure: Path, events, config, tmp_path: Path):
    out = tmp_path / "corrected.parquet"
    ended = mucal("apply", closure, events, "--config", config, "--vary", "reference_mass", "-o", out)
    assert ended.code == 0
    table = pq.read_table(out)
    assert table.num_rows == 40_000
    calibration = load(closure / "calibration")
    columns = [np.asarray(table[name]) for name in ("pt1", "eta1", "phi1", "charge1")]
    expected = calibration.correct(*columns, outside="nan")
    np.testing.assert_array_equal(np.asarray(table["ptcorr1"]), expected)
    name = calibration.nuisances("reference_mass")[0]
    up, down = calibration.vary(*columns, name, outside="nan")
    np.testing.assert_array_equal(np.asarray(table[f"ptcorr1_{name}_up"]), up)
    np.testing.assert_array_equal(np.asarray(table[f"ptcorr1_{name}_down"]), down)


def test_apply_counts_what_it_cannot_correct(mucal, closure: Path, events, config, tmp_path: Path):
    ended = mucal("apply", closure, events, "--config", config, "-o", tmp_path / "c.parquet", "--json")
    ledger = json.loads(ended.out)["ledger"]
    table = pq.read_table(tmp_path / "c.parquet")
    missing = sum(int(np.isnan(np.asarray(table[f"ptcorr{i}"])).sum()) for i in (1, 2))
    assert ledger["rejected"].get("range:pt", 0) == missing > 0


def test_apply_names_the_nearest_nuisance(mucal, closure: Path, events, config, tmp_path: Path):
    ended = mucal("apply", closure, events, "--config", config, "--vary", "jpsi_sta", "-o", tmp_path / "c.parquet")
    assert ended.code == 2
    assert "jpsi_stat" in ended.err


def test_simulate_gives_the_same_bytes_for_the_same_seed(mucal, tmp_path: Path):
    one, two, other = (tmp_path / f"{name}.parquet" for name in ("one", "two", "other"))
    for path, seed in ((one, 3), (two, 3), (other, 4)):
        assert mucal("simulate", "-n", 5000, "--seed", seed, "-o", path).code == 0
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()


def test_export_writes_the_release_again(mucal, closure: Path, tmp_path: Path):
    assert mucal("export", closure, "-o", tmp_path / "release", "--roccor", tmp_path / "roccor.txt").code == 0
    assert mucal("verify", tmp_path / "release").code == 0
    assert read_roccor(tmp_path / "roccor.txt").M_R.shape[1:3] == (2, load(closure / "calibration").scale.n_bins)


@pytest.mark.parametrize("name", ["", "scale.h5", "massfit.h5", "recovery.h5", "resolution.h5", "calibration",
                                  "spectra/0_after.h5", "shifts.h5", "result.json", "calibration/calibration.h5",
                                  "calibration/corrections.json.gz", "calibration/corrections.root", "report.html",
                                  "calibration/manifest.json"])  # fmt: skip
def test_show_describes_whatever_a_run_leaves(mucal, closure: Path, name: str):
    ended = mucal("show", closure / name)
    assert ended.code == 0
    assert len(ended.out) > 40
    assert json.loads(mucal("show", closure / name, "--json").out)


def test_numbers_at_momenta_beyond_the_table_are_marked(mucal, closure: Path):
    table = ScaleTable.load(closure / "scale.h5")
    assert table.pt_range == (4.0, 25.0)
    shown = [line for line in mucal("show", closure / "scale.h5").out.splitlines() if "eta average" in line]
    for line in shown:
        pt = float(line.partition(" at ")[2].partition(" GeV")[0])
        assert ("extrapolated" in line) == (not 4.0 <= pt <= 25.0)
    assert any("extrapolated" in line for line in shown)
    assert not all("extrapolated" in line for line in shown)


def test_show_recognises_our_page_manifest_and_histograms(mucal, closure: Path):
    assert "page made by mucal" in mucal("show", closure / "report.html").out
    assert "manifest of a calibration" in mucal("show", closure / "calibration/manifest.json").out
    lines = mucal("show", closure / "calibration/corrections.root").out.splitlines()
    assert any(line.split() == ["A", "TH1D", "6", "bins", "in", "-2.4", "to", "2.4"] for line in lines)


def test_show_refuses_a_page_that_is_not_ours(mucal, tmp_path: Path):
    (tmp_path / "a.html").write_text("<!DOCTYPE html><title>not found</title>")
    assert mucal("show", tmp_path / "a.html").code == 3


def test_show_lists_the_groups_of_an_hdf5_file_with_the_name_for_tree(mucal, tmp_path: Path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["deep/muons/pt"] = np.ones(4)
        file["deep/itself"] = file["deep"]
        file["out"] = h5py.ExternalLink("/etc/hostname", "/x")
    ended = mucal("show", tmp_path / "a.h5")
    assert ended.code == 0
    assert 'tree = "deep/muons"' in ended.out
    assert ended.out.count("pt ") == 1
    assert json.loads(mucal("show", tmp_path / "a.h5", "--json").out)["groups"] == {"/deep/muons": {"pt": "float64 4"}}


def test_show_lists_the_trees_of_a_root_file_with_several(mucal, tmp_path: Path):
    with uproot.recreate(tmp_path / "a.root") as file:
        for name in ("Events", "Runs"):
            file.mktree(name, {"x": "f8"})
            file[name].extend({"x": np.ones(3)})
    ended = mucal("show", tmp_path / "a.root")
    assert ended.code == 0
    assert all(any(line.split() == [name, "TTree", "3", "rows"] for line in ended.out.splitlines())
               for name in ("Events", "Runs"))  # fmt: skip


def test_show_describes_a_file_of_events(mucal, events):
    ended = mucal("show", events)
    assert ended.code == 0
    assert "40000 rows" in ended.out


def test_verify_finds_a_changed_bit(mucal, closure: Path, tmp_path: Path):
    assert mucal("verify", closure).code == 0
    damaged = tmp_path / "scale.h5"
    content = bytearray((closure / "scale.h5").read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    ended = mucal("verify", closure / "scale.h5", damaged)
    assert ended.code == 7
    assert "scale.h5" in ended.err


def test_verify_against_a_release_says_whether_bytes_agree(mucal, closure: Path, tmp_path: Path):
    assert mucal("export", closure, "-o", tmp_path / "release", "--without", "report.html").code == 0
    ended = mucal("verify", closure, "--against", tmp_path / "release")
    assert ended.code == 0
    assert "the same bytes in all" in ended.out
    assert "files of both; only one has report.html" in ended.out
    assert mucal("verify", closure, closure, "--against", tmp_path / "release").code == 2


def test_report_writes_the_same_page_again(mucal, closure: Path):
    before = (closure / "report.html").read_bytes()
    assert mucal("report", closure).code == 0
    assert (closure / "report.html").read_bytes() == before


def test_report_refuses_what_is_not_a_run(mucal, tmp_path: Path):
    assert mucal("report", tmp_path).code == 3


def test_check_describes_the_inputs(mucal, events, config):
    ended = mucal("check", events, "--config", config)
    assert ended.code == 0
    assert "1 of 1 files can be read" in ended.out


def test_output_in_a_closed_pipe_is_no_traceback(closure: Path):
    command = f"{sys.executable} -c 'import sys; from mucal.cli import main; sys.exit(main())' show {closure}/scale.h5"
    ended = subprocess.run(["bash", "-c", f"{command} | head -c 1"], capture_output=True, text=True, check=False)
    assert "Traceback" not in ended.stderr


def test_massfit_of_generated_pairs_depends_on_the_seed_and_not_on_the_threads(mucal, tmp_path: Path):
    small = ["--set", "generate.data=30_000", "--set", "bins.eta_edges=[-2.4, 2.4]", "--set", "massfit.min_events=200"]
    for name, more in (("one", ("--seed", 3, "--jobs", 1)), ("two", ("--seed", 3)), ("other", ("--seed", 4))):
        assert mucal("massfit", *small, *more, "-o", tmp_path / name).code == 0
    one, two, other = (MassFits.load(tmp_path / name).values for name in ("one", "two", "other"))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other, equal_nan=True)


def test_run_takes_a_seed_and_a_number_of_threads(mucal, monkeypatch, tmp_path: Path):
    seen = []

    def stop(analysis, out, **_):
        seen.append((analysis.general.seed, analysis.tracks.seed, numba.get_num_threads()))
        raise NotCertified("enough")

    monkeypatch.setattr(workflow, "run", stop)
    assert mucal("run", "--seed", 9, "--jobs", 1, "-o", tmp_path / "out").code == 4
    assert seen == [(9, 9, 1)]
