"""The example that applies all variations to a NanoAOD file, against the calibration itself."""

import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from mucal.calibration import Calibration, vary_all
from mucal.io import write_json
from mucal.io.correctionlib import corrections_document

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "apply_to_nanoaod.py"
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


def run_example(files: tuple[Path, Path], sample: str, out: Path) -> dict[str, np.ndarray]:
    subprocess.run([sys.executable, EXAMPLE, files[0], files[1], sample, out], check=True, capture_output=True)
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
