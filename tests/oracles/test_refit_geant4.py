"""Muons that Geant4 takes through a telescope, refitted with the matching geometry (geant4-pybind).

Nothing but the geometry and the field is shared: scattering is Urban's and single, losses are sampled spectra.
"""

import importlib.util
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mucal.refit import fit_tracks
from mucal.track import QOP

pytestmark = pytest.mark.oracle
HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("telescope", HERE / "telescope.py")
telescope = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(telescope)

PLANES, SPACING, THICKNESS, TESLA, N = 12, 8.0, 0.1, 3.8, 10_000


def fits_of(momentum, folder):
    """Fits and true states (N, 5) of muons of one momentum (GeV)."""
    out = folder / f"muons_{momentum:g}.npz"
    arguments = [out, PLANES, SPACING, THICKNESS, momentum, TESLA, N, 11]
    subprocess.run(
        [sys.executable, HERE / "geant4_telescope.py", *map(str, arguments)], capture_output=True,
        stdin=subprocess.DEVNULL, check=True, timeout=900,
    )  # fmt: skip
    with np.load(out) as found:
        truth, crossings = found["truth"], found["crossings"]
    states = np.column_stack([np.full(N, -1.0 / momentum), truth, np.zeros((N, 2))])
    whole = np.isfinite(crossings).all(axis=(1, 2))
    assert whole.mean() > 0.999
    detector = telescope.telescope(PLANES, SPACING, THICKNESS, TESLA)
    hits = telescope.recorded(crossings[whole], states[whole], 5)
    routes = np.tile(np.arange(PLANES), (len(hits), 1))
    fits, _ = fit_tracks(detector, detector.field, hits, routes)
    return fits, states[whole]


def pulls_of(fits, truth):
    """(N, 5) of the tracks that were fitted."""
    errors = np.sqrt(np.diagonal(fits.cov[fits.ok], axis1=1, axis2=2))
    return (fits.state[fits.ok] - truth[fits.ok]) / errors


@pytest.fixture(scope="module", params=[3.0, 10.0], ids=["3 GeV", "10 GeV"])
def fitted(request, tmp_path_factory):
    """`fits_of` muons of one momentum."""
    if find_spec("geant4_pybind") is None:  # importing it here would ask where its data libraries are
        pytest.skip("geant4-pybind is not installed")
    return fits_of(request.param, tmp_path_factory.mktemp("geant4"))


def test_momentum_is_unbiased_within_its_statistics(fitted):
    # a loss larger than the fit's mean, which leaves out one collision in a thousand, is a tail of q/p: the middle 99 %
    fits, truth = fitted
    relative = np.sort(fits.state[fits.ok, QOP] / truth[fits.ok, QOP] - 1.0)
    core = relative[relative.size // 200 : -(relative.size // 200)]
    error = core.std() / np.sqrt(core.size)
    assert abs(core.mean()) < 4.0 * error
    assert error < 2e-4


def test_pulls_have_width_one(fitted):
    fits, truth = fitted
    assert fits.ok.mean() > 0.999
    pulls = pulls_of(fits, truth)
    core = 0.5 * (np.quantile(pulls, 0.8413, axis=0) - np.quantile(pulls, 0.1587, axis=0))
    print("cores", core, "widths", pulls.std(axis=0), "means", pulls.mean(axis=0))
    assert abs(core[QOP] - 1.0) < 0.05
    # what one plane does to direction and offset has a narrower core than Highland's share of all planes, whose
    # logarithm is of the sum; at high momentum resolution takes over
    x = telescope.telescope(PLANES, SPACING, THICKNESS, TESLA).modules.x_over_x0[0]
    thin = (1.0 + 0.038 * np.log(x)) / (1.0 + 0.038 * np.log(PLANES * x))
    assert np.all((core > thin - 0.02) & (core < 1.05))
    # errors of the means, and what tails of the loss add to that of q/p
    assert np.all(np.abs(pulls.mean(axis=0)) < 4.0 / np.sqrt(N) + np.array([0.01, 0, 0, 0, 0]))


def test_chi2_is_that_of_its_degrees_of_freedom(fitted):
    # Highland's width is that of the core of 98 %, good to 5 %; tails of single scatters lie above
    fits, _ = fitted
    median = np.median(fits.chi2[fits.ok]) / stats.chi2.median(fits.ndof[0])
    unlikely = np.mean(stats.chi2.sf(fits.chi2[fits.ok], fits.ndof[fits.ok]) < 1e-3)
    print("median chi2 over that of its law", median, "p < 1e-3:", unlikely)
    assert abs(median - 1.0) < 0.1
