"""The two engines of `fit_spectrum` find one minimum; needs the extra [zfit], whose import takes a while."""

import os
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.io import DimuonInput, MuonColumns, open_dimuons
from mucal.massfit import SpectrumConfig, SpectrumFit, fit_spectrum
from mucal.theory import fsr, resonance

# TensorFlow and zfit warn on import and in use; what they say is not about us
pytestmark = [pytest.mark.oracle, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def zfit():
    os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("zfit", exc_type=ImportError)


def compare(config: dict, masses) -> tuple[SpectrumFit, SpectrumFit]:
    """Both engines' fits, after the check that their minima agree to a thousandth of a standard error."""
    ours, theirs = (
        fit_spectrum(masses, SpectrumConfig(**config)),
        fit_spectrum(masses, SpectrumConfig(engine="zfit", **config)),
    )
    assert ours.good
    assert theirs.good
    free = np.diag(ours.cov) > 0
    errors = np.sqrt(np.diag(ours.cov)[free])
    assert_allclose((theirs.values - ours.values)[free] / errors, 0.0, atol=1e-3)
    # HESSE stops at 2 % in a second derivative; TensorFlow's are exact
    assert_allclose(np.sqrt(np.diag(theirs.cov)[free]) / errors, 1.0, atol=1e-2)
    assert_allclose(theirs.min_2_ln_l, ours.min_2_ln_l, atol=1e-4)
    return ours, theirs


def masses(seed: int, sigma: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng(seed)
    line = resonance("jpsi").mass * fsr.sample("jpsi", rng.random(3000))
    smeared = 1.0005 * line * (1 + sigma * (1 + (rng.random(3000) < 0.3)) * rng.standard_normal(3000))
    return np.concatenate([smeared, rng.uniform(2.9, 3.3, 800)])


@pytest.mark.parametrize(
    "config",
    [
        {"signal": "double_gaussian"},
        {"signal": "dscb", "fixed": {"n_l": 5.0, "n_r": 5.0}, "background": "chebyshev", "degree": 1},
        {"signal": "gaussian", "background": "bernstein", "degree": 1, "constraints": {"sigma": (0.01, 0.0005)},
         "min_p_value": 0.0},
    ],
    ids=["double_gaussian", "dscb", "constrained"],
)  # fmt: skip
def test_engines_agree(zfit, config):
    compare(config, masses(1))


def test_engines_agree_on_the_recorded_z_with_an_error_function_background(zfit, recorded):
    columns = MuonColumns(pt=("pt1", "pt2"), eta=("eta1", "eta2"), phi=("phi1", "phi2"), charge=("Q1", "Q2"))
    source = open_dimuons(recorded / "cms2011_zmumu_rec5208.csv.gz", DimuonInput(columns=columns))
    config = {
        "resonance": "z", "window": (66.0, 116.0), "n_bins": 50, "signal": "gaussian", "background": "cms_shape",
        "fixed": {"alpha": 60.0, "beta": 0.1},
    }  # fmt: skip
    compare(config, source.read().mass)
