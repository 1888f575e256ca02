"""The commands of the global corrections, on made-up candidates of a small barrel."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector import Detector, barrel
from mucal.globalcor import BiasMap, GlobalCorrections, Linearity, NormalEquations, Registry, WeakModes
from mucal.io.mille_text import read_labels
from mucal.refit import ProfiledBlocks

SPEC = importlib.util.spec_from_file_location("made_up", Path(__file__).parents[1] / "globalcor" / "conftest.py")
made_up = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(made_up)

CONFIG = """[globalcor]
detector = "barrel"
[[globalcor.families]]
kind = "alignment"
by = "layer"
components = ["u", "w"]
min_entries = 5
[[globalcor.families]]
kind = "bfield"
by = "layer"
components = ["z"]
passive = false
min_entries = 5
[globalcor.accumulate.guards]
chi2_per_ndof = 1e9
"""


@pytest.fixture
def work(mucal, tmp_path):
    """A folder with a configuration, a registry and two files of blocks with a known truth."""
    (tmp_path / "g.toml").write_text(CONFIG)
    ended = mucal("globalcor", "registry", "--config", tmp_path / "g.toml", "-o", tmp_path / "registry.h5")
    assert ended.code == 0, ended.err
    assert "18 alignment, 9 bfield" in ended.out
    registry = Registry.load(tmp_path / "registry.h5")
    truth = np.random.default_rng(1).normal(size=len(registry)) * registry.prior
    for i in range(2):
        made_up.blocks_of(registry, np.arange(200 * i, 200 * (i + 1)), truth=truth).save(tmp_path / f"blocks{i}.h5")
    return tmp_path, registry, truth


def common(folder: Path) -> list[object]:
    return ["--registry", folder / "registry.h5", "--config", folder / "g.toml"]


def test_accumulate_solve_apply_and_modes(mucal, work):
    folder, registry, truth = work
    files = [folder / "blocks0.h5", folder / "blocks1.h5"]
    ended = mucal(
        "globalcor", "accumulate", *files, *common(folder), "-o", folder / "sums.h5", "--resume", folder / "kept"
    )
    assert ended.code == 0, ended.err
    assert "read 400 candidates = used 400" in ended.out
    assert NormalEquations.load(folder / "sums.h5").provenance.inputs.keys() == {str(f) for f in files}

    ended = mucal("globalcor", "solve", folder / "sums.h5", *common(folder), "-o", folder / "corrections.h5", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["free"] == len(registry)
    found = GlobalCorrections.load(folder / "corrections.h5")
    assert np.abs((found.theta - truth) / found.error).max() < 4.5

    ended = mucal("globalcor", "apply", folder / "corrections.h5", "--config", folder / "g.toml", "-o", folder / "d.h5")
    assert ended.code == 0, ended.err
    moved = Detector.load(folder / "d.h5").modules.centre - barrel().modules.centre
    assert np.linalg.norm(moved, axis=1).max() > 1e-3

    ended = mucal("globalcor", "modes", folder / "sums.h5", *common(folder), "-n", 5, "-o", folder / "modes.h5",
                  "--figures", folder / "figures")  # fmt: skip
    assert ended.code == 0, ended.err
    assert "curl" in ended.out
    assert WeakModes.load(folder / "modes.h5").eigenvalues.size == 5
    assert {p.name for p in (folder / "figures").iterdir()} == {"modes_spectrum.svg", "modes_overlaps.svg"}


def test_records_written_and_summed_give_the_same_corrections(mucal, work):
    folder, registry, _ = work
    ended = mucal("globalcor", "mille", folder / "blocks0.h5", "--registry", folder / "registry.h5", "--double", "-o",
                  folder / "records.bin.gz")  # fmt: skip
    assert ended.code == 0, ended.err
    assert read_labels(folder / "records.bin.gz.labels.csv")[0] == registry.names[0]
    for name, source in (("a", "blocks0.h5"), ("b", "records.bin.gz")):
        mucal("globalcor", "accumulate", folder / source, *common(folder), "-o", folder / f"{name}.h5")
        mucal("globalcor", "solve", folder / f"{name}.h5", *common(folder), "-o", folder / f"c{name}.h5")
    a, b = (GlobalCorrections.load(folder / f"c{name}.h5") for name in "ab")
    np.testing.assert_allclose(b.theta / a.error, a.theta / a.error, atol=1e-8)


def test_more_processes_give_the_same_bytes(mucal, work):
    folder, _, _ = work
    files = [folder / "blocks0.h5", folder / "blocks1.h5"]
    for name, more in (("one", []), ("two", ["--jobs", 2])):
        ended = mucal("globalcor", "accumulate", *files, *common(folder), *more, "-o", folder / f"{name}.h5")
        assert ended.code == 0, ended.err
    assert (folder / "one.h5").read_bytes() == (folder / "two.h5").read_bytes()


def test_constraints_of_a_text_file_hold(mucal, work):
    folder, _, _ = work
    (folder / "c.txt").write_text("Constraint 0.001 ! two layers\n1 1.0\n3 1.0\n")
    mucal("globalcor", "accumulate", folder / "blocks0.h5", *common(folder), "-o", folder / "sums.h5")
    ended = mucal(
        "globalcor", "solve", folder / "sums.h5", *common(folder), "--text", folder / "c.txt", "-o", folder / "c.h5"
    )
    assert ended.code == 0, ended.err
    theta = GlobalCorrections.load(folder / "c.h5").theta
    assert theta[0] + theta[2] == pytest.approx(0.001, abs=1e-12)


def test_sums_of_another_registry_are_refused(mucal, work):
    folder, _, _ = work
    (folder / "other.toml").write_text(CONFIG.replace('"u", "w"', '"u"'))
    mucal("globalcor", "registry", "--config", folder / "other.toml", "-o", folder / "other.h5")
    mucal("globalcor", "accumulate", folder / "blocks0.h5", *common(folder), "-o", folder / "sums.h5")
    ended = mucal("globalcor", "solve", folder / "sums.h5", "--registry", folder / "other.h5", "-o", folder / "c.h5")
    assert ended.code == 3
    assert "registry" in ended.err


def test_a_file_that_cannot_be_summed_stops_the_sum_unless_a_share_may_fail(mucal, work):
    folder, _, _ = work
    bad = folder / "records.bin"
    bad.write_bytes(b"\x09\x00\x00\x00 no record")
    files = [folder / "blocks0.h5", folder / "blocks1.h5", bad]
    ended = mucal("globalcor", "accumulate", *files, *common(folder), "-o", folder / "sums.h5")
    assert ended.code == 3
    assert "1 of 3 chunks or files could not be summed" in ended.err
    assert "records.bin" in ended.err
    some = ["--set", "globalcor.accumulate.most_failed=0.4"]
    ended = mucal("globalcor", "accumulate", *files, *common(folder), *some, "-o", folder / "sums.h5")
    assert ended.code == 0, ended.err
    assert "left out, could not be summed" in ended.out + ended.err
    sums = NormalEquations.load(folder / "sums.h5")
    assert sums.failed == ("chunk/2",)
    assert sums.ledger.used == 400


def test_a_candidate_that_dominates_is_named_with_what_leaves_it_out(mucal, work):
    folder, _, _ = work
    blocks = ProfiledBlocks.load(folder / "blocks0.h5")
    weight = np.where(blocks.candidate == 37, 1000.0, blocks.weight)
    replace(blocks, weight=weight).save(folder / "heavy.h5")
    files = [folder / "heavy.h5", folder / "blocks1.h5"]
    ended = mucal("globalcor", "accumulate", *files, *common(folder), "-o", folder / "heavy_sums.h5")
    assert ended.code == 0, ended.err
    said = ended.out + ended.err
    assert "candidate 37 of chunk 0" in said
    assert "heavy.h5" in said
    asked = re.search(r"(globalcor.accumulate.exclude) = (\{ 0 = .*37.* \})", said)
    leave = ["--set", f"{asked[1]}={asked[2]}"]
    ended = mucal("globalcor", "accumulate", *files, *common(folder), *leave, "-o", folder / "light_sums.h5")
    assert ended.code == 0, ended.err
    assert NormalEquations.load(folder / "light_sums.h5").ledger.rejected["excluded"] >= 1
    assert "candidate 37 of chunk 0" not in ended.out + ended.err


def test_the_same_file_twice_is_refused(mucal, work):
    folder, _, _ = work
    ended = mucal(
        "globalcor", "accumulate", folder / "blocks0.h5", folder / "blocks0.h5", *common(folder), "-o", folder / "s.h5"
    )
    assert ended.code == 3
    assert "same bytes" in ended.err


def test_an_unknown_key_names_the_nearest_and_its_line(mucal, tmp_path):
    (tmp_path / "g.toml").write_text('[globalcor]\ndetecter = "barrel"\n')
    ended = mucal("globalcor", "registry", "--config", tmp_path / "g.toml", "-o", tmp_path / "r.h5")
    assert ended.code == 2
    assert "g.toml:2" in ended.err
    assert "did you mean 'detector'" in ended.err


def modes_are_shown(mucal, folder, common):
    ended = mucal("globalcor", "modes", folder / "sums.h5", "--registry", folder / "registry.h5", *common, "-n", 3,
                  "--bias", "5,40", "--figures", folder / "figures", "-o", folder / "modes.h5")  # fmt: skip
    assert ended.code == 0, ended.err
    found = BiasMap.load(folder / "modes_bias.h5")
    assert found.bias.shape == (len(found.names), 12, 8, 2, 2)
    assert {"bias_mode_0.svg", "bias_curl.svg"} <= {p.name for p in (folder / "figures").iterdir()}
    curl = found.names.index("curl")
    barrel = np.abs(found.eta_edges[:-1] + found.eta_edges[1:]) < 1.4
    mean = np.nanmean(found.bias[curl][barrel], axis=(0, 1))
    # a curl is odd in the charge, and proportional to pT
    assert_allclose(mean[0], -mean[1], rtol=0.1)
    assert_allclose(mean[1, 1] / mean[1, 0], 8.0, rtol=0.1)
    ended = mucal("globalcor", "modes", folder / "sums.h5", "--registry", folder / "registry.h5", *common, "--bias",
                  "40,5", "-o", folder / "no.h5")  # fmt: skip
    assert ended.code == 2
    assert "rising" in ended.err


def test_hits_to_corrections(mucal, tmp_path):
    config = tmp_path / "c.toml"
    config.write_text("""[muons]
process = "jpsi"
events = 150
eta_max = 0.75
[hits]
detector = "barrel"
straggling = "gaussian"
[globalcor]
detector = "barrel"
[globalcor.selection]
min_hits = 8
[[globalcor.families]]
kind = "alignment"
by = "layer"
components = ["u"]
min_entries = 1
""")
    common = ["--config", config]
    steps = [
        ("simulate", *common, "-o", tmp_path / "hits.parquet"),
        ("globalcor", "registry", *common, "-o", tmp_path / "registry.h5"),
        ("globalcor", "reference", tmp_path / "hits.parquet", *common, "-o", tmp_path / "reference.h5"),
        ("globalcor", "accumulate", tmp_path / "hits.parquet", *common, "--registry", tmp_path / "registry.h5",
         "--reference", tmp_path / "reference.h5", "-o", tmp_path / "sums.h5"),
        ("globalcor", "solve", tmp_path / "sums.h5", "--registry", tmp_path / "registry.h5", "-o", tmp_path / "g.h5"),
    ]  # fmt: skip
    for step in steps:
        ended = mucal(*step)
        assert ended.code == 0, ended.err
    found = GlobalCorrections.load(tmp_path / "g.h5")
    assert found.n_candidates > 100
    modes_are_shown(mucal, tmp_path, common)
    assert np.abs(found.theta / found.error).max() < 4.5
    # corrections added to first order, beside a refit
    ended = mucal("globalcor", "linear", tmp_path / "g.h5", tmp_path / "hits.parquet", *common, "--most", "40", "-o",
                  tmp_path / "linear.h5")  # fmt: skip
    assert ended.code == 0, ended.err
    assert "first order less refit" in ended.out
    assert 30 < Linearity.load(tmp_path / "linear.h5").difference.size <= 40  # pairs stay together
    # every track at its generated state instead of pairs with a mass
    ended = mucal("globalcor", "accumulate", tmp_path / "hits.parquet", *common, "--registry",
                  tmp_path / "registry.h5", "--truth", "recorded", "-o", tmp_path / "truth.h5")  # fmt: skip
    assert ended.code == 0, ended.err
    held = NormalEquations.load(tmp_path / "truth.h5").ledger
    assert held.read > 2 * found.n_candidates
    assert "tracks = used" in ended.out + ended.err
    ended = mucal(
        "globalcor", "accumulate", tmp_path / "hits.parquet", *common, "--registry", tmp_path / "registry.h5",
        "--truth", "recorded", "--reference", tmp_path / "reference.h5", "-o", tmp_path / "no.h5",
    )  # fmt: skip
    assert ended.code == 2
    assert "--truth fits none" in ended.err
    # both kinds of files in one command
    ended = mucal(
        "globalcor", "accumulate", tmp_path / "hits.parquet", tmp_path / "g.h5", *common, "--registry",
        tmp_path / "registry.h5", "-o", tmp_path / "no.h5",
    )  # fmt: skip
    assert ended.code == 2
    assert "holds hits" in ended.err
