"""The pass/fail fit against zfit on a sample of bins: other shapes code, another likelihood, another minimiser."""

import os
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import ndtr

from mucal.efficiency import FitConfig, measure
from mucal.efficiency.templates import MassTemplates, wide_edges

from .toys import EDGES, background, histograms

# TensorFlow and zfit warn on import and in use; what they say is not about us
pytestmark = [pytest.mark.oracle, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PEAK = 91.0
FREE = {
    f"{name}_{category}": (0.0, np.inf)
    for name in ("shift", "ln_width", "gamma")
    for category in ("pass", "fail")
}  # fmt: skip
BINS = ((0.95, 8000.0), (0.85, 4000.0), (0.7, 3000.0), (0.9, 20_000.0))


@pytest.fixture(scope="module")
def zfit():
    os.environ.setdefault("ZFIT_DISABLE_TF_WARNINGS", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("zfit", exc_type=ImportError)


def spike() -> MassTemplates:
    """All signal in one step of 0.1 GeV: smeared, a Gaussian but for a box of that width."""
    edges, pad = wide_edges(EDGES, 10)
    content = np.zeros((1, 2, edges.size - 1))
    content[:, :, np.searchsorted(edges, PEAK)] = 1.0
    return MassTemplates(edges=edges, content=content, sumw2=0 * content, per_bin=10, pad=pad)


def toys() -> np.ndarray:
    rng = np.random.default_rng(31)
    counts = []
    for eff, n in BINS:
        shapes = [np.diff(ndtr((EDGES - PEAK - s) / w)) for s, w in ((0.3, 2.2), (-0.4, 2.6))]
        signal = [eff * n * shapes[0], (1 - eff) * n * shapes[1]]
        counts.append(rng.poisson([s + 400 * background(g) for s, g in zip(signal, (0.03, 0.02), strict=True)]))
    return np.array(counts, dtype=float)


def zfit_efficiency(zfit, counts: np.ndarray, tag: str) -> tuple[float, float]:
    """Efficiency and its error of one bin: two extended binned likelihoods that share efficiency and yield."""
    space = zfit.Space("m", binning=zfit.binned.RegularBinning(60, 60.0, 120.0, name="m"))
    wide = zfit.Space("m", limits=(60.0, 120.0))
    total = float(counts.sum())
    eff = zfit.Parameter(f"eff_{tag}", 0.8, 0.0, 1.0)
    n = zfit.Parameter(f"n_{tag}", 0.8 * total, 0.0, 3 * total)
    models, data = [], []
    for i, category in enumerate(("pass", "fail")):
        name = f"{category}_{tag}"
        mu = zfit.Parameter(f"mu_{name}", PEAK, 86.0, 96.0)
        sigma = zfit.Parameter(f"sigma_{name}", 2.0, 0.3, 8.0)
        slope = zfit.Parameter(f"slope_{name}", -0.03, -0.5, 0.5)
        n_b = zfit.Parameter(f"n_b_{name}", 0.2 * float(counts[i].sum()), 0.0, 3 * total)
        share = (lambda p: p[0] * p[1]) if i == 0 else (lambda p: (1 - p[0]) * p[1])
        yield_ = zfit.ComposedParameter(f"yield_{name}", share, params=[eff, n])
        signal = zfit.pdf.Gauss(mu=mu, sigma=sigma, obs=wide, extended=yield_)
        other = zfit.pdf.Exponential(slope, obs=wide, extended=n_b)
        models.append(zfit.pdf.SumPDF([signal, other]).to_binned(space))
        data.append(zfit.data.BinnedData.from_tensor(space, counts[i], counts[i]))
    loss = zfit.loss.ExtendedBinnedNLL(model=models, data=data)
    result = zfit.minimize.Minuit(tol=1e-5).minimize(loss)
    assert result.valid
    errors = result.hesse(params=[eff])
    return float(result.params[eff]["value"]), float(errors[eff]["error"])


def test_efficiencies_are_those_of_zfit(zfit):
    counts = toys()
    config = FitConfig(background_fail="exponential", constraints=FREE)
    found = measure(histograms(counts), config, spike())
    assert found.usable.all()
    for b, one in enumerate(counts):
        value, error = zfit_efficiency(zfit, one, str(b))
        # MIGRAD stops within a thousandth of an error; the box of 0.1 GeV widens the peak by 0.02 %, which is fitted
        assert abs(found.eff[b] - value) < 0.01 * error
        assert_allclose(found.error[b], error, rtol=0.02)
