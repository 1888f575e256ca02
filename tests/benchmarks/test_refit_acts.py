"""Speed of the refit beside ACTS' Kalman filter and global chi2 fit: the same muons in the same telescope, one thread.

Theirs is what a sequence of simulation and fit takes more than one without the fit, in processor seconds; it holds what
their framework does for an event of one track.
"""

import importlib.util
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest

from mucal.refit import fit_tracks

pytestmark = [pytest.mark.benchmark, pytest.mark.oracle]
pytest.importorskip("acts")
ORACLES = Path(__file__).parents[1] / "oracles"
_spec = importlib.util.spec_from_file_location("telescope", ORACLES / "telescope.py")
telescope = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(telescope)

PLANES, SPACING, THICKNESS, TESLA, P, N = 12, 8.0, 0.1, 3.8, 10.0, 3_000
SIGMAS = (2e-3, 1e-3)
"""cm, of y and z."""


def sequence(folder, fits, seed):
    """Processor seconds of ACTS' sequence with some fits, and its file."""
    out = folder / f"{fits or 'none'}.npz"
    command = [sys.executable, ORACLES / "acts_telescope.py", out, PLANES, SPACING, THICKNESS, P, TESLA, N, seed, fits]
    ended = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True, timeout=600
    )
    return float(re.search(r"seconds (\S+)", ended.stdout)[1]), out


def test_time_of_a_surface(capsys, tmp_path):
    spent = {name: [] for name in ("", "kalman", "global_chi2", "ours")}
    detector = telescope.telescope(PLANES, SPACING, THICKNESS, TESLA)
    for seed in (4, 5, 6):
        for fits in ("", "global_chi2", "kalman"):
            seconds, out = sequence(tmp_path, fits, seed)
            spent[fits].append(seconds)
        with np.load(out) as found:
            kalman, measured = found["kalman"], found["measured"]
        n = kalman.shape[0]
        measured = measured[np.lexsort((measured[:, 1], measured[:, 0]))].reshape(n, PLANES, 4)
        places = np.stack([measured[..., 3], -measured[..., 2]], axis=2) / 10.0
        states = np.column_stack([kalman[:, 5], np.pi / 2 - kalman[:, 4], kalman[:, 3], np.zeros((n, 2))])
        hits, routes = telescope.measured(places, states, 5, SIGMAS), np.tile(np.arange(PLANES), (n, 1))
        fit_tracks(detector, detector.field, hits.select(slice(0, 10)), routes[:10])
        start = time.process_time()
        fitted, _ = fit_tracks(detector, detector.field, hits, routes)
        spent["ours"].append((time.process_time() - start) * N / n)
        assert fitted.ok.all()
    each = {name: 1e6 * median(times) / (N * PLANES) for name, times in spent.items()}
    own = each["ours"]
    with capsys.disabled():
        print(f"\n{N} muons, {PLANES} planes, {fitted.n_iterations.mean():.2f} iterations; us a surface: {own:.2f}")
        for name in ("kalman", "global_chi2"):
            theirs = each[name] - each[""]
            print(f"  ACTS {name:<12} {theirs:6.2f} us, {theirs / own:.1f} times ours")
        print(f"  (their sequence without a fit {each['']:.2f} us)")
    assert each["kalman"] - each[""] > own
