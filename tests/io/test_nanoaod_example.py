"""The example that applies all variations to a NanoAOD file, against the calibration; where both examples stop."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from mucal.calibration import Calibration, vary_all
from mucal.io import write_json
from mucal.io.correctionlib import corrections_document

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "apply_to_nanoaod.py"
OF_A_TABLE = ROOT / "docs" / "examples" / "apply_with_correctionlib.py"
EDGES = np.linspace(25.0, 60.0, 36)


@pytest.fixture(scope="module")
def files(cms_like: Calibration, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The correction file, and 4000 events with 0 to 4 muons, some outside the validity range."""
    folder = tmp_path_factory.mktemp("nano")
    write_json(folder / "corrections.json.gz", corrections_document(cms_like), indent=None)
    rng = np.random.default_rng(8)
    counts = rng.integers(0, 5, 4000)
    n = int(counts.sum())
    columns = {
        "pt": rng.uniform(2.0, 90.0, n).astype(np.float32), "eta": rng.uniform(-2.6, 2.6, n).astype(np.float32),
        "phi": rng.uniform(-3, 3, n).astype(np.float32), "charge": rng.choice([-1, 1], n).astype(np.int32),
    }  # fmt: skip
    events = np.arange(4000)
    with uproot.recreate(folder / "nano.root") as file:
        content = {
            "run": np.ones(4000, dtype=np.uint32), "luminosityBlock": (events // 100).astype(np.uint32),
            "event": events.astype(np.uint64), "Muon": ak.zip({k: ak.unflatten(v, counts) for k, v in columns.items()}),
        }  # fmt: skip
        tree = file.mktree("Events", {k: v.type if isinstance(v, ak.Array) else v.dtype for k, v in content.items()})
        tree.extend(content)
    return folder / "corrections.json.gz", folder / "nano.root"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)


def run_example(files: tuple[Path, Path], sample: str, out: Path) -> dict[str, np.ndarray]:
    done = run(EXAMPLE, *files, sample, out)
    assert done.returncode == 0, done.stderr
    with np.load(out) as found:
        return dict(found)


def inside(files: tuple[Path, Path]) -> tuple[np.ndarray, ...]:
    muons = uproot.open(files[1])["Events"].arrays(["Muon_pt", "Muon_eta", "Muon_phi", "Muon_charge"])
    pt, eta, phi, charge = (ak.to_numpy(ak.flatten(muons[f"Muon_{n}"])) for n in ("pt", "eta", "phi", "charge"))
    keep = (pt >= 4) & (pt < 100) & (np.abs(eta) < 2.4)
    return tuple(column[keep].astype(np.float64) for column in (pt, eta, phi, charge))


def filled(pt: np.ndarray) -> np.ndarray:
    return np.histogram(pt[(pt >= 26) & (pt < 60)], EDGES)[0]


def test_data_are_corrected_and_varied(cms_like: Calibration, files: tuple[Path, Path], tmp_path: Path):
    found = run_example(files, "data", tmp_path / "data.npz")
    pt, eta, phi, charge = inside(files)
    assert len(found) == 2 + 2 * 193
    np.testing.assert_array_equal(found["nominal"], filled(cms_like.correct(pt, eta, phi, charge)))
    every = vary_all(cms_like, pt, eta, charge, sample="data")
    for i in (0, 150, 192):
        for side, name in enumerate(("up", "down")):
            np.testing.assert_array_equal(found[f"{cms_like.names[i]}_{name}"], filled(every[:, i, side]))


def test_simulation_is_smeared_and_carries_all_variations(files: tuple[Path, Path], tmp_path: Path):
    found = run_example(files, "mc", tmp_path / "mc.npz")
    assert len(found) == 2 + 2 * (193 + 72)
    before = filled(inside(files)[0])
    n = before.sum()
    # smearing moves few muons over the ends of the range
    assert abs(found["nominal"].sum() - n) < 5 * np.sqrt(0.02 * n)
    assert np.any(found["nominal"] != before)
    assert np.any(found["resolution_stat_000_up"] != found["nominal"])


def held_for(calibration: Calibration, pt_range: tuple[float, float], folder: Path) -> Path:
    document = corrections_document(replace(calibration, pt_range=pt_range))
    write_json(folder / "corrections.json.gz", document, indent=None)
    return folder / "corrections.json.gz"


@pytest.mark.parametrize("sample", ["data", "mc"])
def test_no_muon_in_both_ranges_is_an_error_and_no_empty_histogram(calibration, files, tmp_path, sample):
    done = run(EXAMPLE, held_for(calibration, (3.5, 25.0), tmp_path), files[1], sample, tmp_path / "out.npz")
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert "holds for muons of 3.5 to 25 GeV, and the histogram takes those of 26 to 60 GeV" in said
    assert not (tmp_path / "out.npz").exists()


def test_muons_that_the_corrections_do_not_reach_are_counted(calibration, files, tmp_path):
    done = run(EXAMPLE, held_for(calibration, (3.5, 40.0), tmp_path), files[1], "data", tmp_path / "out.npz")
    pt = inside(files)[0]
    outside = np.count_nonzero((pt >= 40.0) & (pt < 60.0))
    assert outside > 0
    assert f"{outside} muons of 26 to 60 GeV are outside the corrections' 3.5 to 40 GeV" in done.stdout


def test_the_kept_calibration_fills_the_histogram(files, tmp_path):
    kept = ROOT / "calib_outputs" / "closure" / "corrections.json.gz"
    for sample in ("data", "mc"):
        found = run_example((kept, files[1]), sample, tmp_path / f"{sample}.npz")
        assert all(counts.sum() > 0 for counts in found.values())


def test_a_table_with_muons_outside_the_range_is_refused_in_a_sentence(calibration, tmp_path):
    table = tmp_path / "muons.csv"
    table.write_text("pt,eta,charge\n40,0.1,1\n12.5,-1.4,-1\n25,1,1\n")
    done = run(OF_A_TABLE, held_for(calibration, (3.5, 25.0), tmp_path), table)
    assert (done.returncode, done.stdout) == (1, "")
    (said,) = done.stderr.splitlines()
    assert said.startswith("2 of 3 muons are outside 3.5 to 25 GeV")
