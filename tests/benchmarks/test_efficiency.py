"""Pass/fail fits in one call against a loop of iminuit fits of the same likelihood, compiled by numba.

Run with `pytest -m benchmark -s tests/benchmarks/test_efficiency.py`; numbers in docs/physics/efficiency.md.
"""

import time

import numpy as np
import pytest
from iminuit import Minuit

from mucal.arrays import FloatArray
from mucal.efficiency import FitConfig, ProbeHistograms, Status, measure
from mucal.efficiency.config import PARAMETERS
from mucal.efficiency.kernels import shapes
from mucal.efficiency.templates import line_templates

pytestmark = pytest.mark.benchmark

EDGES = np.linspace(60.0, 120.0, 61)
LINE = line_templates(EDGES)
MODEL = shapes.Model(EDGES, LINE.per_bin, LINE.pad, 0, np.array([0, 1]))
N_FITS = 5000
N_TIMED = 40


class Prediction:
    """The package's own expectation with its work arrays: what a loop of iminuit fits would call, too."""

    def __init__(self) -> None:
        g = LINE.content.shape[2]
        self.cumulative = np.zeros((2, g + 1))
        self.cumulative[:, 1:] = np.cumsum(LINE.content[0], axis=1)
        self.scratch = np.empty((5, 2 * g + 2)), np.empty((5, 61)), np.empty((9, 60))
        self.mu, self.dmu = np.empty(120), np.empty((18, 120))

    def __call__(self, theta: FloatArray) -> bool:
        return shapes.predict(theta, LINE.content[0], self.cumulative, MODEL, *self.scratch, self.mu, self.dmu)


def spectra(rng: np.random.Generator) -> FloatArray:
    """Efficiencies of 0.7 to 0.99 from 300 to 1e5 probes, backgrounds of 1 to 30 %."""
    prediction, counts = Prediction(), np.empty((N_FITS, 2, 60))
    for b in range(N_FITS):
        n, eff = 10 ** rng.uniform(2.5, 5), rng.uniform(0.7, 0.99)
        theta = np.array([
            eff, np.log(n), rng.normal(0, 0.3), np.log(rng.uniform(0.5, 1.2)), n * eff * rng.uniform(0.01, 0.1), 65.0,
            np.log(0.07), rng.uniform(0.01, 0.06), 1.0, -2.0, rng.normal(0, 0.3), np.log(rng.uniform(0.5, 1.2)),
            n * (1 - eff) * rng.uniform(0.05, 0.3), 66.0, np.log(0.08), rng.uniform(0.02, 0.08), 1.0, -2.0,
        ])  # fmt: skip
        assert prediction(theta)
        counts[b] = rng.poisson(prediction.mu).reshape(2, 60)
    return counts


def histograms(counts: FloatArray) -> ProbeHistograms:
    b = counts.shape[0]
    return ProbeHistograms(
        step="idip", eta_edges=np.array([-2.4, 2.4]), pt_edges=np.linspace(25, 65, b + 1),
        ut_edges=np.array([-np.inf, np.inf]), mass_edges=EDGES, by_charge=False, counts=counts, sumw2=counts,
        pt_sum=np.zeros(b),
    )  # fmt: skip


def minuit(counts: FloatArray, config: FitConfig) -> Minuit:
    """MIGRAD with the analytic gradient from what a careful user would start from, then HESSE."""
    prediction, flat = Prediction(), counts.reshape(-1)
    used = [a for a, name in enumerate(PARAMETERS) if not config.unused(name)]
    priors = [config.constraint(PARAMETERS[a]) for a in used]
    total = counts.sum(axis=1)
    theta = np.array([
        total[0] / total.sum(), np.log(0.9 * total.sum()), 0, np.log(0.8), 0.05 * total[0], 65, np.log(0.07), 0.03, 1,
        -2, 0, np.log(0.8), 0.2 * total[1], 65, np.log(0.07), 0.03, 1, -2,
    ])  # fmt: skip

    def minus_ln_l(x: FloatArray) -> float:
        theta[used] = x
        if not prediction(theta):
            return 1e30
        value = float((prediction.mu - flat * np.log(prediction.mu)).sum())
        return value + sum(0.5 * ((v - p[0]) / p[1]) ** 2 for v, p in zip(x, priors, strict=True) if p)

    def gradient(x: FloatArray) -> FloatArray:
        theta[used] = x
        prediction(theta)
        found: FloatArray = prediction.dmu[used] @ (1 - flat / prediction.mu)
        for k, prior in enumerate(priors):
            found[k] += (x[k] - prior[0]) / prior[1] ** 2 if prior else 0.0
        return found

    fit = Minuit(minus_ln_l, theta[used].copy(), grad=gradient, name=[PARAMETERS[a] for a in used])
    fit.errordef = Minuit.LIKELIHOOD
    fit.limits["eff"], fit.limits["n_b_pass"], fit.limits["n_b_fail"] = (0, 1), (0, None), (0, None)
    fit.limits["shift_pass"] = fit.limits["shift_fail"] = (-5, 5)
    return fit.migrad()


def test_five_thousand_fits_in_a_minute_agree_with_iminuit():
    counts = spectra(np.random.default_rng(20261126))
    config = FitConfig()
    begin = time.perf_counter()
    measure(histograms(counts[:4]), config, LINE)
    compiling = time.perf_counter() - begin
    begin, cpu = time.perf_counter(), time.process_time()
    found = measure(histograms(counts), config, LINE)
    wall, cpu = time.perf_counter() - begin, time.process_time() - cpu
    ends = {Status(i).name: int(n) for i, n in enumerate(np.bincount(found.status)) if n}
    print(f"\n{N_FITS} pass/fail fits, 12 parameters, 2 x 60 bins: {wall:.1f} s wall, {cpu:.1f} s cpu; {ends}")
    print(f"first call (compiling, or from the cache): {compiling:.1f} s; steps mean {found.n_steps.mean():.1f}")
    chosen = np.linspace(0, N_FITS - 1, N_TIMED).astype(int)
    begin = time.process_time()
    peers = [minuit(counts[b], config) for b in chosen]
    each = (time.process_time() - begin) / N_TIMED
    off = [abs(p.values["eff"] - found.eff[b]) / found.error[b] for p, b in zip(peers, chosen, strict=True) if p.valid]
    print(f"iminuit, same compiled likelihood and gradient, MIGRAD alone: {each / (cpu / N_FITS):.0f} times slower")
    print(f"|difference of eff| / error: median {np.median(off):.5f}, worst {np.max(off):.5f} of {len(off)}")
    assert wall < 60
    assert found.usable.mean() > 0.999
    assert np.median(off) < 0.01
