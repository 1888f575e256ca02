"""A closure from hits: a detector with known distortions, J/psi pairs refitted and solved, and a look with probes."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from mucal.arrays import FloatArray
from mucal.detector import Detector
from mucal.globalcor import (
    Chunk,
    GlobalCorrections,
    Refit,
    Registry,
    SolveConfig,
    accumulate,
    divide,
    solve,
)
from mucal.globalcor.accumulate import AccumulateConfig
from mucal.globalcor.corrections import corrected, values_at
from mucal.refit import MassReference, PairSelection, RefitConfig, derive_mass_reference
from mucal.simulation import HitSimulation, MuonGeneration, MuonGun, fire, generate_muons, simulate_hits
from mucal.track import LAM, QOP
from mucal.workflow.hit_sums import generated_mass

QUIET = HitSimulation(straggling="none", scattering=False, resolution_scale=0.0, seed_errors=(0.0, 0.0, 0.0))
"""Muons that follow the mean trajectory, recorded where they cross."""

SELECTION = PairSelection(min_hits=8)


def true_detector(detector: Detector, registry: Registry, theta: FloatArray) -> Detector:
    """The detector that corrections theta would bring the assumed one to; material scaled with its loss."""
    moved = corrected(registry, theta, detector)
    scale = np.exp(values_at(registry.map.eloss, theta))
    m, p, n = moved.modules, moved.passive, detector.n_modules
    return replace(
        moved,
        modules=replace(m, x_over_x0=m.x_over_x0 * scale[:n], xi_mev=m.xi_mev * scale[:n]),
        passive=replace(p, x_over_x0=p.x_over_x0 * scale[n:], xi_mev=p.xi_mev * scale[n:]),
    )


@dataclass(kw_only=True)
class SimulatedBlocks:
    """Blocks of generated events, by their numbers."""

    truth: Detector
    muons: MuonGeneration
    hits: HitSimulation
    refit: Refit

    def simulated(self, start: int, stop: int):
        return simulate_hits(
            generate_muons(self.muons, stop - start, first_event=start), self.truth, self.hits, n_threads=2
        ).hits

    def __call__(self, chunk: Chunk):
        return self.refit.pairs(self.simulated(chunk.start, chunk.stop))[1]


def reference_mass(made: SimulatedBlocks, n: int) -> MassReference:
    """Mean and width of the generated mass of selected pairs, from a sample without distortions."""
    other = replace(made, truth=made.refit.detector, muons=replace(made.muons, seed=made.muons.seed + 1000))
    mass, soft, ok = [], [], []
    for start in range(0, n, 10_000):
        hits = other.simulated(start, min(start + 10_000, n))
        fits, _ = made.refit.pairs(hits, profile=False)
        mass.append(generated_mass(hits, fits))
        soft.append(fits.vertex.pt.min(axis=1))
        ok.append(fits.constrained.ok)
    return derive_mass_reference(*map(np.concatenate, (mass, soft, ok)))


def probe_bias(truth: Detector, refit: Refit, pt: float, n: int, *, seed: int = 77, eta_max: float = 2.3):
    """delta k / k of muons without noise, their eta, phi and charge, (N,) each; d (delta k / k) / d theta (N, P)."""
    muons = fire(MuonGun(seed=seed, pt=(pt, pt), eta=(-eta_max, eta_max)), n)
    hits = simulate_hits(muons, truth, QUIET, n_threads=2).hits
    fits, _ = refit.tracks(hits)
    ok = fits.ok
    true = hits.truth.state
    bias = fits.state[:, QOP] / true[:, QOP] * np.cos(true[:, LAM]) / np.cos(fits.state[:, LAM]) - 1.0
    derivatives = refit.derivatives(fits)
    p = len(refit.registry)
    shifts = [derivatives.matrix(i, p) for i in (QOP, LAM)]
    qop, lam = np.where(ok, fits.state[:, QOP], 1.0), np.where(ok, fits.state[:, LAM], 0.0)
    slope = shifts[0].multiply(1.0 / qop[:, None]) + shifts[1].multiply(np.tan(lam)[:, None])
    eta, phi = np.arcsinh(np.tan(true[:, LAM])), true[:, 2]
    return bias[ok], eta[ok], phi[ok], np.sign(true[ok, QOP]), slope.tocsr()[ok]


def in_bins(bias, eta, charge, slope, edges, sign: int):
    """Half the sum (sign +1) or difference (-1) of both charges' means in eta bins, and its derivatives (m, P)."""
    values, rows = [], []
    for low, high in pairwise(edges):
        value, row = 0.0, 0.0
        for q in (1, -1):
            here = (eta >= low) & (eta < high) & (charge == q)
            weight = 0.5 * (1.0 if q > 0 else sign)
            value += weight * bias[here].mean()
            row = row + weight * np.asarray(slope[here].mean(axis=0)).ravel()
        values.append(value)
        rows.append(row)
    return np.array(values), np.array(rows)


def bias_in_bins(truth: Detector, refit: Refit, edges: FloatArray, n: int = 6000) -> tuple[FloatArray, FloatArray]:
    """Charge-even bias at 10 GeV, then the odd one at 40 GeV, in eta bins; and their derivatives (m, P)."""
    found = []
    for pt, sign in ((10.0, 1), (40.0, -1)):
        bias, eta, _, charge, slope = probe_bias(truth, refit, pt, n)
        found.append(in_bins(bias, eta, charge, slope, edges, sign))
    return np.concatenate([value for value, _ in found]), np.concatenate([rows for _, rows in found])


def chi2_of(values: FloatArray, cov: FloatArray) -> float:
    return float(values @ np.linalg.solve(cov, values))


def corrections(
    made: SimulatedBlocks, n_events: int, probes: FloatArray | None, config: SolveConfig, *, chunk: int = 8_000,
    applied: FloatArray | None = None, tell=lambda made: None,
) -> GlobalCorrections:  # fmt: skip
    """The solve of the pairs among n generated events."""
    sums = accumulate(made, divide(n_events, chunk), made.refit.registry, AccumulateConfig(n_threads=2), tell=tell)
    return solve(sums, made.refit.registry, config, probes=probes, applied=applied)


def refit_of(detector: Detector, registry: Registry, mass: MassReference, selection=SELECTION, **kwargs) -> Refit:
    return Refit(
        detector=detector, registry=registry, mass=mass, selection=selection, config=RefitConfig(n_threads=2), **kwargs
    )
