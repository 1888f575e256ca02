"""Batch of mass fits against a loop of iminuit fits of the same likelihood, compiled by numba; 20 000 bins in one call.

Run with `pytest -m benchmark -s tests/benchmarks/test_batch_fits.py`; numbers in docs/physics/massfit.md.
"""

import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from iminuit import Minuit
from numba import njit

from mucal.arrays import FloatArray, IntArray
from mucal.massfit import BatchConfig, MassFits, MassHistograms, Status, fit_bins
from mucal.massfit.config import DEFAULT_CONSTRAINTS
from mucal.theory import resonance

pytestmark = pytest.mark.benchmark

EDGES = np.linspace(2.9, 3.3, 101)
MASS = resonance("jpsi").mass
N_TIMED = 100  # fits of the loop that are timed, spread over the batch
N_COMPARED = 200
PRIOR = np.array([DEFAULT_CONSTRAINTS[name] for name in ("slope", "ln_alpha_l", "ln_alpha_r")])

PEAK = r"""
import re
from pathlib import Path
import numpy as np
from mucal.massfit import BatchConfig, MassHistograms, fit_bins

def peak():  # not getrusage: after a fork its maximum is at first the parent's
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

def histograms(n):
    edges = np.linspace(2.9, 3.3, 101)
    mean = 20 + 400 * np.exp(-0.5 * ((edges[1:] - 3.099) / 0.04) ** 2)
    return MassHistograms(
        eta_edges=np.array([-2.4, 2.4]), pt_edges=np.array([3.0, 30.0]), mass_edges=edges, abs_eta=False,
        index=np.zeros((n, 4), dtype=np.int64), counts=np.random.default_rng(1).poisson(mean, (n, 100)).astype(float),
        sums=np.zeros((n, 2, 5)),
    )

config = BatchConfig(model="dscb", min_events=1)
many = histograms(20_000)
fit_bins(histograms(10), config)
before = peak()
fit_bins(many, config)
print(before, peak())
"""


@njit(error_model="numpy")
def crystal_ball_cdf(t: float, alpha_l: float, alpha_r: float, n: float) -> float:
    """Integral of the double-sided Crystal Ball from 0 to t, with the same power on both sides."""
    alpha = alpha_r if t > 0 else alpha_l
    x = abs(t)
    core = math.sqrt(math.pi / 2) * math.erf(min(x, alpha) / math.sqrt(2))
    if x > alpha:
        scale = n / (alpha * (n - 1)) * math.exp(-0.5 * alpha * alpha)
        core += scale * (1 - (1 + alpha / n * (x - alpha)) ** (1 - n))
    return core if t > 0 else -core


@njit(error_model="numpy")
def expected(theta: FloatArray, edges: FloatArray, mass: float) -> FloatArray:
    n, s, sigma = math.exp(theta[0]), math.exp(theta[1]), math.exp(theta[2])
    f, slope, alpha_l, alpha_r = 1 / (1 + math.exp(-theta[3])), theta[4], math.exp(theta[5]), math.exp(theta[6])
    m = edges.size - 1
    signal, background = np.empty(m), np.empty(m)
    before = crystal_ball_cdf((edges[0] / (s * mass) - 1) / sigma, alpha_l, alpha_r, 3.0)
    before_b = math.exp(slope / 2)
    for j in range(m):
        after = crystal_ball_cdf((edges[j + 1] / (s * mass) - 1) / sigma, alpha_l, alpha_r, 3.0)
        x = (edges[j + 1] - edges[0]) / (edges[m] - edges[0]) - 0.5
        after_b = math.exp(-slope * x)
        signal[j] = after - before
        background[j] = (before_b - after_b) / slope if abs(slope) > 1e-8 else (edges[j + 1] - edges[j])
        before, before_b = after, after_b
    return n * ((1 - f) * signal / signal.sum() + f * background / background.sum())


@njit(error_model="numpy")
def minus_ln_l(theta: FloatArray, counts: FloatArray, edges: FloatArray, mass: float, prior: FloatArray) -> float:
    mu = expected(theta, edges, mass)
    total = 0.0
    for j in range(mu.size):
        total += mu[j] - counts[j]
        if counts[j] > 0:
            total += counts[j] * math.log(counts[j] / mu[j])
    for k in range(3):
        total += 0.5 * ((theta[4 + k] - prior[k, 0]) / prior[k, 1]) ** 2
    return total


def jpsi_spectra(rng: np.random.Generator, n_bins: int) -> FloatArray:
    """Poisson spectra of 500 to 1e5 events, width 0.6 to 2.2 %, background 2 to 30 %, tails from 1 to 2.2 sigma."""
    theta = np.stack(
        [
            rng.uniform(np.log(500), np.log(1e5), n_bins),
            rng.normal(0, 1e-3, n_bins),
            rng.uniform(np.log(0.006), np.log(0.022), n_bins),
            np.log(1 / (1 / rng.uniform(0.02, 0.30, n_bins) - 1)),
            rng.normal(0.5, 1.0, n_bins),
            np.log(rng.uniform(1.0, 2.0, n_bins)),
            np.log(rng.uniform(1.2, 2.2, n_bins)),
        ],
        axis=1,
    )
    return rng.poisson([expected(row, EDGES, MASS) for row in theta]).astype(float)


def histograms(counts: FloatArray) -> MassHistograms:
    b = counts.shape[0]
    return MassHistograms(
        eta_edges=np.array([-2.4, 2.4]),
        pt_edges=np.array([3.0, 30.0]),
        mass_edges=EDGES,
        abs_eta=False,
        index=np.zeros((b, 4), dtype=np.int64),
        counts=counts,
        sums=np.zeros((b, 2, 5)),
    )


def minuit(counts: FloatArray, start: FloatArray) -> Minuit:
    total = counts.sum()
    fit = Minuit(lambda theta: minus_ln_l(theta, counts, EDGES, MASS, PRIOR), start)
    fit.errordef = Minuit.LIKELIHOOD
    fit.errors = [1 / math.sqrt(total), 0.02 / math.sqrt(total), 0.05, 0.3, 0.5, 0.1, 0.1]
    free, floor = (-100, 100), (math.log(0.01 / total), 7.0)
    fit.limits = [free, (-0.05, 0.05), (-8.0, -2.0), floor, free, (-2.3, 3.0), (-2.3, 3.0)]
    return fit


def start_of(counts: FloatArray) -> FloatArray:
    """What a careful user of one fit would start from."""
    middle = 0.5 * (EDGES[1:] + EDGES[:-1])
    centre = middle[np.argmax(counts)]
    core = np.abs(middle - centre) < 0.06
    centre = np.average(middle[core], weights=counts[core])
    width = math.sqrt(np.average((middle[core] - centre) ** 2, weights=counts[core]))
    return np.array([math.log(counts.sum()), math.log(centre / MASS), math.log(width / MASS), -2.0, 0.1, 0.4, 0.4])


def cpu(work: Callable[[], object]) -> float:
    """Processor seconds."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def test_batch_is_fast_converges_and_agrees_with_iminuit():
    rng = np.random.default_rng(20261122)
    counts = jpsi_spectra(rng, 20_000)
    config = BatchConfig(model="dscb", min_events=1)
    sample = histograms(counts)
    fit_bins(histograms(counts[:10]), config)  # compile
    minus_ln_l(start_of(counts[0]), counts[0], EDGES, MASS, PRIOR)

    begin = time.perf_counter()
    fits: MassFits = fit_bins(sample, config)
    wall = time.perf_counter() - begin

    timed = np.linspace(0, counts.shape[0] - 1, N_TIMED).astype(int)
    part = histograms(counts[:4000])
    batch, migrad, errors = [], [], []
    for _ in range(5):  # in turn, so that a change of load hits all
        batch.append(cpu(lambda: fit_bins(part, config, n_threads=1)) / 4000)
        migrad.append(cpu(lambda: [minuit(counts[b], start_of(counts[b])).migrad() for b in timed]) / N_TIMED)
        errors.append(cpu(lambda: [minuit(counts[b], start_of(counts[b])).migrad().hesse() for b in timed]) / N_TIMED)

    ends = {Status(i).name: int(n) for i, n in enumerate(np.bincount(fits.status)) if n}
    converged = float(np.isin(fits.status, (Status.OK, Status.BAD_GOF)).mean())
    print(f"\n20 000 bins, 7 parameters, 100 mass points: {wall:.2f} s wall")
    print(f"status {ends}, steps mean {fits.n_steps.mean():.2f}, largest {fits.n_steps.max()}")
    per_fit, per_migrad, per_errors = (float(np.median(times)) for times in (batch, migrad, errors))
    print(f"batch with covariance {1 / per_fit:.0f} fits/s/core")
    print(f"iminuit loop, MIGRAD alone {1 / per_migrad:.0f} fits/s: ratio {per_migrad / per_fit:.0f}")
    print(f"iminuit loop, MIGRAD and HESSE {1 / per_errors:.0f} fits/s: ratio {per_errors / per_fit:.0f}")

    compared = rng.choice(counts.shape[0], N_COMPARED, replace=False)
    off, elsewhere, unexplained = compare(fits, counts, compared)
    print(f"|batch - iminuit| / sigma, largest of 7 per bin: median {np.median(off):.5f}, above 0.01: {len(elsewhere)}")
    for line in elsewhere:
        print(line)

    assert converged >= 0.999
    assert np.median(off) < 0.01
    assert unexplained == 0
    assert 1 / per_fit > 2e4
    assert per_errors / per_fit > 50  # like with like: a fit with its covariance


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc")
def test_peak_memory_is_that_of_the_results():
    result = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    before, after = (int(kilobytes) / 1024 for kilobytes in result.stdout.split())
    print(f"\n20 000 bins: {after - before:.0f} MiB more at the peak than after a batch of 10")
    # 0.5 kB a bin of values and covariance are 10 MB; as much again for work in chunks and the noise of an allocator
    assert after - before < 20


def compare(fits: MassFits, counts: FloatArray, rows: IntArray) -> tuple[FloatArray, list[str], int]:
    """Largest difference per bin in errors; a sentence for each above 0.01; how many of those are no local minimum.

    The peer starts on its own.  Where it ends elsewhere it starts again from the batch's answer: if it stays, both
    are minima of the same likelihood.
    """
    off, elsewhere, unexplained = np.empty(rows.size), [], 0
    for k, b in enumerate(rows):
        sigma = np.sqrt(np.diagonal(fits.cov[b]))
        peer = refined(counts[b], start_of(counts[b]))
        off[k] = np.max(np.abs(fits.values[b] - np.array(peer.values)) / sigma)
        if off[k] <= 0.01:
            continue
        again = refined(counts[b], fits.values[b])
        stays = np.max(np.abs(fits.values[b] - np.array(again.values)) / sigma) < 0.01
        unexplained += not stays
        deeper = minus_ln_l(fits.values[b], counts[b], EDGES, MASS, PRIOR) - peer.fval
        elsewhere.append(
            f"  bin {b}: {off[k]:.2f} sigma, -2 ln L of the batch {2 * deeper:+.3f}, "
            f"width {np.exp(fits.values[b, 2]):.4f}, {'two minima' if stays else 'UNEXPLAINED'}"
        )
    return off, elsewhere, unexplained


def refined(counts: FloatArray, start: FloatArray) -> Minuit:
    fit = minuit(counts, start).migrad()
    fit.strategy, fit.tol = 2, 1e-4
    return fit.migrad()
