"""The refit beside ACTS' Kalman filter and global chi2 fit, on hits that Fatras simulated (pyacts).

ACTS takes Highland's logarithm of each plane by itself, we that of all: a scale of our radiation lengths makes the
widths equal, so that the same problem is solved.
"""

import importlib.util
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq

from mucal.refit import fit_tracks

pytestmark = pytest.mark.oracle
pytest.importorskip("acts")
HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("telescope", HERE / "telescope.py")
telescope = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(telescope)

PLANES, SPACING, THICKNESS, TESLA, N, P = 12, 8.0, 0.1, 3.8, 2_000, 10.0
SIGMAS = (2e-3, 1e-3)
"""cm, of y and z: ACTS measures -z first."""


def root_of_variance(x: float, total: float) -> float:
    return np.sqrt(x) * (1.0 + 0.038 * np.log(total))


def as_in_acts(detector):
    """The detector with radiation lengths that give each plane the scattering it has in ACTS."""
    x = float(detector.modules.x_over_x0[0])
    ours = brentq(lambda y: root_of_variance(y, PLANES * y) - root_of_variance(x, x), x / 3, x)
    return replace(detector, modules=replace(detector.modules, x_over_x0=np.full(PLANES, ours)))


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return fits_of(tmp_path_factory.mktemp("acts"))


def fits_of(folder):
    """Our fits, and those of ACTS as arrays (N, 13); folder is for its file."""
    out = folder / "muons.npz"
    arguments = [out, PLANES, SPACING, THICKNESS, P, TESLA, N, 4]
    subprocess.run(
        [sys.executable, HERE / "acts_telescope.py", *map(str, arguments)], capture_output=True,
        stdin=subprocess.DEVNULL, check=True, timeout=300,
    )  # fmt: skip
    with np.load(out) as found:
        kalman, global_chi2, measured = found["kalman"], found["global_chi2"], found["measured"]
    assert np.array_equal(kalman[:, 0], global_chi2[:, 0])
    n = kalman.shape[0]
    assert n > 0.98 * N
    measured = measured[np.lexsort((measured[:, 1], measured[:, 0]))].reshape(n, PLANES, 4)
    places = np.stack([measured[..., 3], -measured[..., 2]], axis=2) / 10.0
    states = np.column_stack([kalman[:, 5], np.pi / 2 - kalman[:, 4], kalman[:, 3], np.zeros((n, 2))])
    detector = as_in_acts(telescope.telescope(PLANES, SPACING, THICKNESS, TESLA))
    hits = telescope.measured(places, states, 5, SIGMAS)
    fits, _ = fit_tracks(detector, detector.field, hits, np.tile(np.arange(PLANES), (n, 1)))
    assert fits.ok.all()
    return fits, kalman, global_chi2


def difference(fits, theirs):
    """(N, 3) ours less theirs in q/p, lambda and phi, in our errors; and (N, 3) their errors over ours."""
    error = np.sqrt(np.diagonal(fits.cov, axis1=1, axis2=2)[:, :3])
    values = np.column_stack([theirs[:, 5], np.pi / 2 - theirs[:, 4], theirs[:, 3]])
    return (fits.state[:, :3] - values) / error, np.sqrt(theirs[:, [10, 9, 8]]) / error


def test_the_kalman_filter_finds_the_same(fitted):
    fits, kalman, _ = fitted
    away, errors = difference(fits, kalman)
    print("Kalman: mean", away.mean(axis=0), "r.m.s.", away.std(axis=0), "errors", np.median(errors, axis=0))
    assert np.all(np.abs(away.mean(axis=0)) < 0.01)
    assert np.all(np.quantile(np.abs(away), 0.99, axis=0) < 0.05)
    np.testing.assert_allclose(np.median(errors, axis=0), 1.0, atol=0.01)


def test_the_global_chi2_fit_finds_the_same_but_for_the_mean_loss(fitted):
    fits, _, global_chi2 = fitted
    away, errors = difference(fits, global_chi2)
    print("global chi2: mean", away.mean(axis=0), "r.m.s.", away.std(axis=0), "errors", np.median(errors, axis=0))
    assert np.all(away.std(axis=0) < 0.01)
    np.testing.assert_allclose(np.median(errors, axis=0), 1.0, atol=0.01)
    # its q/p is off by half of the loss in all planes, 4.9 MeV, as a fit that takes q/p for constant would be
    missing = np.median(away[:, 0] * np.sqrt(fits.cov[:, 0, 0])) * P**2 * -1e3
    print("missing", missing, "MeV")
    assert 1.0 < abs(missing) < 4.0
    assert abs(away[:, 1].mean()) < 0.01


def test_momentum_and_pulls_of_muons_of_fatras(fitted):
    fits, _, _ = fitted
    pull = (fits.state[:, 0] + 1.0 / P) / np.sqrt(fits.cov[:, 0, 0])
    print("pull", pull.mean(), pull.std())
    assert abs(pull.mean()) < 4.0 / np.sqrt(pull.size)
    # their fit has the same width: Fatras' kinks are narrower than Highland's
    assert abs(pull.std() - 1.0) < 0.08
