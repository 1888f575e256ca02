"""What applying a calibration costs.  pytest -m benchmark -s tests/benchmarks/test_correct.py"""

import gzip
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import correctionlib
import numpy as np
import pytest

from mucal.calibration import Calibration, load, response_weights, vary_all
from mucal.io import write_bundle
from mucal.store import write_bytes

pytestmark = pytest.mark.benchmark
N = 1_000_000


def seconds(action: Callable[[], object], times: int = 5) -> float:
    """Median wall time."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def processor_seconds(action: Callable[[], object], times: int = 5) -> float:
    """Median processor time, after one call that compiles."""
    action()
    found = []
    for _ in range(times):
        start = time.process_time()
        action()
        found.append(time.process_time() - start)
    return statistics.median(found)


@pytest.fixture(scope="module")
def bundle(cms_like: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(cms_like, tmp_path_factory.mktemp("bundle") / "release")


def test_correct_against_correctionlib_and_a_division(cms_like: Calibration, bundle: Path):
    rng = np.random.default_rng(2)
    pt, eta, charge = rng.uniform(4, 70, N), rng.uniform(-2.4, 2.4, N), rng.choice([-1, 1], N)
    phi, event = np.zeros(N), np.arange(N)
    corrections = correctionlib.CorrectionSet.from_file(str(bundle / "corrections.json.gz"))
    found = pt * corrections["pt_scale"].evaluate(pt, eta, charge, "nom")
    np.testing.assert_allclose(cms_like.correct(pt, eta, phi, charge), found, rtol=1e-12)
    print("\n10^6 muons, processor time of one thread")
    for name, action in {
        "numpy division and sum": lambda: pt / (1.0 + eta),
        "correct": lambda: cms_like.correct(pt, eta, phi, charge),
        "vary, up and down": lambda: cms_like.vary(pt, eta, phi, charge, "jpsi_stat_000"),
        "smear": lambda: cms_like.smear(pt, eta, phi, 1, 1, event, muon=0),
        "correctionlib nominal": lambda: corrections["pt_scale"].evaluate(pt, eta, charge, "nom"),
        "correctionlib varied": lambda: corrections["pt_scale"].evaluate(pt, eta, charge, "jpsi_stat_000_up"),
    }.items():
        spent = processor_seconds(action)
        print(f"  {name:<24} {1e3 * spent:8.1f} ms   {N / spent:8.3g} muons/s")


def test_all_nuisances_as_a_tensor(cms_like: Calibration, bundle: Path):
    n = 20_000
    rng = np.random.default_rng(3)
    pt, eta, charge = rng.uniform(4, 90, n), rng.uniform(-2.4, 2.4, n), rng.choice([-1, 1], n)
    gen, fired, hits = pt * rng.normal(1.0, 0.012, n), rng.integers(0, 2, n), rng.integers(0, 4, n)
    corrections = correctionlib.CorrectionSet.from_file(str(bundle / "corrections.json.gz"))

    def by_correctionlib() -> None:
        for name in cms_like.nuisances("scale"):
            for side in ("up", "down"):
                corrections["pt_scale_mc"].evaluate(pt, eta, charge, f"{name}_{side}")

    actions = {
        "314 as weights": lambda: response_weights(cms_like, pt, eta, charge, gen, triggered=fired, n_pixel=hits),
        "193 of the scale as momenta": lambda: vary_all(cms_like, pt, eta, charge),
        "the 193 by correctionlib": by_correctionlib,
    }
    spent = {name: processor_seconds(action, 3) for name, action in actions.items()}
    print(f"\n{n} muons, up and down, processor time of one thread")
    for name, value in spent.items():
        print(f"  {name:<28} {1e3 * value:8.1f} ms   {n / value:8.3g} muons/s")
    # 4.3e5 muons/s on a quiet machine (goal 1e5); correctionlib gives 1.1e4 there
    assert spent["314 as weights"] < spent["the 193 by correctionlib"] / 10


def test_loading_costs_little_beside_the_import_of_numpy_and_h5py(bundle: Path):
    # 0.38 s on a quiet machine (goal 0.5 s), of which these two take 0.2 s; the ratio holds under any load
    def cpu(statement: str) -> float:
        code = f"import time; start = time.process_time()\n{statement}\nprint(time.process_time() - start)"
        return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)

    pairs = [(cpu(f"import mucal; mucal.load({str(bundle)!r})"), cpu("import numpy, h5py")) for _ in range(5)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    warm = seconds(lambda: load(bundle))
    print(f"\nimport and load {pairs[0][0]:.3f} s cpu, {ratio:.2f} times numpy and h5py; load alone {warm:.4f} s")
    assert ratio < 2.5


def test_correctionlib_opens_the_file_as_fast_as_python_reads_its_text(bundle: Path):
    # 0.04 s on a quiet machine (goal 0.2 s); the ratio holds under any load
    path = bundle / "corrections.json.gz"

    def opened() -> None:
        corrections = correctionlib.CorrectionSet.from_file(str(path))
        for name in corrections:
            corrections[name].version  # noqa: B018  builds the correction
        corrections["pt_scale"].evaluate(40.0, 0.1, 1, "nom")

    def parsed() -> None:
        json.loads(gzip.decompress(path.read_bytes()))

    pairs = [(processor_seconds(opened, 1), processor_seconds(parsed, 1)) for _ in range(5)]
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    print(f"\n{path.stat().st_size / 1e6:.2f} MB opened in {pairs[0][0]:.3f} s cpu, {ratio:.2f} times gunzip and json")
    assert ratio < 1.0


def test_a_release_is_written(cms_like: Calibration, tmp_path: Path):
    folder = write_bundle(cms_like, tmp_path / "release")
    content = {path.name: path.read_bytes() for path in folder.iterdir()}

    def plainly() -> None:
        for name, data in content.items():
            write_bytes(tmp_path / "plain" / name, data, overwrite=True)

    (tmp_path / "plain").mkdir()
    ours, limit = seconds(lambda: write_bundle(cms_like, folder, overwrite=True), 3), seconds(plainly, 3)
    size = sum(map(len, content.values())) / 1e6
    print(f"\nwrite_bundle with its checks {ours:.2f} s, {ours / limit:.0f} times its {size:.1f} MB synced to disk")
    np.testing.assert_array_equal(load(folder).scale_variations, cms_like.scale_variations)
