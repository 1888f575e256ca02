"""What applying a calibration costs.  pytest -m benchmark -s tests/benchmarks/test_correct.py"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import correctionlib
import numpy as np
import pytest

from mucal.calibration import Calibration, CalibrationConfig, assemble, load
from mucal.io import write_bundle
from mucal.scale import ResolutionTable, ScaleTable

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


@pytest.fixture(scope="module")
def large() -> Calibration:
    """The size of the CMS model: 48 and 24 eta bins, 144 + 1 + 72 nuisances."""
    rng = np.random.default_rng(1)

    def covariance(errors: np.ndarray) -> np.ndarray:
        mix = (np.eye(errors.size) + rng.normal(0, 0.03, (errors.size, errors.size))) * errors[:, None]
        cov = mix @ mix.T
        return 0.5 * (cov + cov.T)

    scale = ScaleTable(
        eta_edges=np.linspace(-2.4, 2.4, 49),
        A=rng.normal(0, 4e-4, 48),
        e=rng.normal(1e-3, 1e-3, 48),
        M=rng.normal(0, 1.5e-5, 48),
        cov=covariance(np.repeat([1e-4, 6e-4, 5e-6], 48)),
        pt_range=(4.0, 70.0),
        resonance="jpsi",
    )
    data, mc = (
        ResolutionTable(
            eta_edges=np.linspace(-2.4, 2.4, 25),
            a=worse * np.full(24, 1e-4),
            b=worse * np.full(24, 1e-5),
            c=worse * np.full(24, 2e-8),
            d=np.full(24, 370.0),
            cov=covariance(np.repeat([1e-6, 1e-6, 1e-9], 24)),
        )
        for worse in (1.2, 1.0)
    )
    return assemble(scale, data, mc, CalibrationConfig(pt_definition="refit", scale_factor=2.1))


@pytest.fixture(scope="module")
def bundle(large: Calibration, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(large, tmp_path_factory.mktemp("bundle") / "release")


def test_correct_against_correctionlib_and_a_division(large: Calibration, bundle: Path):
    rng = np.random.default_rng(2)
    pt, eta, charge = rng.uniform(4, 70, N), rng.uniform(-2.4, 2.4, N), rng.choice([-1, 1], N)
    phi, event = np.zeros(N), np.arange(N)
    corrections = correctionlib.CorrectionSet.from_file(str(bundle / "corrections.json.gz"))
    found = pt * corrections["pt_scale"].evaluate(pt, eta, charge, "nom")
    np.testing.assert_allclose(large.correct(pt, eta, phi, charge), found, rtol=1e-12)
    unit = seconds(lambda: pt / (1.0 + eta))
    print(f"\n10^6 muons; in units of one numpy division with its sum, {1e3 * unit:.2f} ms")
    for name, action in {
        "correct": lambda: large.correct(pt, eta, phi, charge),
        "vary, up and down": lambda: large.vary(pt, eta, phi, charge, "jpsi_stat_000"),
        "smear": lambda: large.smear(pt, eta, phi, 1, 1, event, muon=0),
        "correctionlib nominal": lambda: corrections["pt_scale"].evaluate(pt, eta, charge, "nom"),
        "correctionlib varied": lambda: corrections["pt_scale"].evaluate(pt, eta, charge, "jpsi_stat_000_up"),
    }.items():
        spent = seconds(action)
        print(f"  {name:<24} {1e3 * spent:8.1f} ms   {spent / unit:6.1f}")


def test_a_calibration_loads_in_half_a_second(bundle: Path):
    # processor seconds: single-thread work, whatever else the machine does
    code = (
        "import time; start = time.process_time()\n"
        f"import mucal; mucal.load({str(bundle)!r})\n"
        "print(time.process_time() - start)"
    )
    found = statistics.median(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    )
    warm = seconds(lambda: load(bundle))
    print(f"\nimport and load {found:.3f} s cpu (limit 0.5 s), load alone {warm:.4f} s")
    assert found < 0.5


def test_correctionlib_opens_the_file_in_a_fifth_of_a_second(bundle: Path):
    path = bundle / "corrections.json.gz"

    def opened() -> None:
        corrections = correctionlib.CorrectionSet.from_file(str(path))
        for name in corrections:
            corrections[name].version  # noqa: B018  builds the correction
        corrections["pt_scale"].evaluate(40.0, 0.1, 1, "nom")

    found = seconds(opened)
    print(f"\ncorrections.json.gz, {path.stat().st_size / 1e6:.2f} MB: opened in {found:.3f} s (limit 0.2 s)")
    assert found < 0.2


def test_a_release_is_written(large: Calibration, tmp_path: Path):
    print(f"\nwrite_bundle with its checks {seconds(lambda: write_bundle(large, tmp_path, overwrite=True), 3):.2f} s")
