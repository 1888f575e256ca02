"""A closure from hits: a detector with known distortions, J/psi pairs refitted and solved, and a look with probes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import reduce
from itertools import pairwise
from operator import add
from pathlib import Path

import numba
import numpy as np
import scipy.sparse as sp

from mucal.arrays import FloatArray
from mucal.detector import Detector
from mucal.detector.field import solenoid_field
from mucal.globalcor import (
    Chunk,
    Family,
    GlobalCorrections,
    NormalEquations,
    Refit,
    Registry,
    SolveConfig,
    accumulate,
    build_registry,
    divide,
    solve,
)
from mucal.globalcor.accumulate import AccumulateConfig
from mucal.globalcor.corrections import corrected, values_at
from mucal.globalcor.normal_equations import REFIT
from mucal.plot.globalcor import curvature_curves
from mucal.plot.style import save
from mucal.refit import MassReference, PairFits, PairSelection, RefitConfig, TrackFits, derive_mass_reference
from mucal.refit.mass_reference import window_means
from mucal.simulation import HitSimulation, MuonGeneration, MuonGun, fire, generate_muons, simulate_hits
from mucal.theory import resonance
from mucal.track import LAM, QOP, Hits
from mucal.workflow.hit_sums import digest_of, generated_curvature, generated_mass
from mucal.workflow.recorded_pairs import within_reach
from mucal.workflow.tracked import reference_with_generated

QUIET = HitSimulation(straggling="none", scattering=False, resolution_scale=0.0, seed_errors=(0.0, 0.0, 0.0))
"""Muons that follow the mean trajectory, recorded where they cross."""

SELECTION = PairSelection(min_hits=8, pt_min=3.5)


def jpsi(seed: int, **changes) -> MuonGeneration:
    """Muons from as far below as the selection may take them."""
    return MuonGeneration(process="jpsi", seed=seed, pt_min=SELECTION.lowest_pt(resonance("jpsi").mass), **changes)


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
    """Blocks of generated events, by their numbers.

    seen : folder for `columns_of` the pairs of each chunk, if they are wanted
    """

    truth: Detector
    muons: MuonGeneration
    hits: HitSimulation
    refit: Refit
    seen: Path | None = None

    def simulated(self, start: int, stop: int):
        muons = generate_muons(self.muons, stop - start, first_event=start)
        muons = muons.select(within_reach(muons, SELECTION.pt_min))
        return simulate_hits(muons, self.truth, self.hits, n_threads=self.refit.config.n_threads).hits

    def __call__(self, chunk: Chunk):
        hits = self.simulated(chunk.start, chunk.stop)
        fits, blocks = self.refit.pairs(hits)
        if self.seen is not None:
            np.save(self.columns_at(chunk), columns_of(hits, fits))
        return blocks

    def columns_at(self, chunk: Chunk) -> Path:
        assert self.seen is not None
        return self.seen / f"columns_{chunk.start}_{chunk.stop}{'_mirrored' * self.hits.mirrored}.npy"


def columns_of(hits: Hits, fits: PairFits) -> FloatArray:
    """(5, C) generated mass, 1/pT of the softer muon, its fitted pT, relative error of the mass, whether selected."""
    v = fits.vertex
    k = generated_curvature(hits, fits).max(axis=1)
    return np.array([generated_mass(hits, fits), k, v.pt.min(axis=1), v.sigma_mass / v.mass, fits.constrained.ok])


def reference_mass(made: SimulatedBlocks, n: int, *, more: int = 0) -> MassReference:
    """Mean and width of the generated mass of selected pairs, from a sample without distortions.

    more : accepted pairs that are only generated and help with the mean, as those of `mucal run` do
    """
    other = replace(made, truth=made.refit.detector, muons=replace(made.muons, seed=made.muons.seed + 1000))
    parts = []
    for start in range(0, n, 40_000):
        hits = other.simulated(start, min(start + 40_000, n))
        fits, _ = made.refit.pairs(hits, profile=False)
        parts.append(columns_of(hits, fits))
    mass, k, soft, sigma, ok = np.concatenate(parts, axis=1)
    selection = made.refit.selection
    if not more:
        return derive_mass_reference(mass, soft, sigma, ok == 1, window=selection.window)
    generated = replace(made.muons, seed=made.muons.seed + 2000)
    return reference_with_generated(mass, k, soft, sigma, ok == 1, selection, generated, more)


def columns_of_piece(made: SimulatedBlocks, n_events: int, number: int, *, chunk: int = 32_000) -> FloatArray:
    """(5, C) `columns_of` the pairs of a piece of `sums_of`, which has to be summed."""
    chunks = divide(n_events, chunk)[number * PIECE : (number + 1) * PIECE]
    return np.hstack([np.load(made.columns_at(chunk)) for chunk in chunks])


def score_at(found: GlobalCorrections, truth: FloatArray) -> FloatArray:
    """(F,) slope of the pairs' log-likelihood at the true parameters, 0 in the mean of an unbiased fit.

    Of a linear fit with priors P about 0: C^-1 theta - (C^-1 - P) theta_true, of the free parameters.
    """
    precision = np.linalg.inv(found.covariance)
    prior = np.diag(found.registry.prior[found.free] ** -2.0)
    score: FloatArray = precision @ found.theta[found.free] - (precision - prior) @ truth[found.free]
    return score


def own_mean(refit: Refit, columns: FloatArray) -> float:
    """GeV, by how much the masses of pairs lie above those that are assumed, in the mean that the fit takes of them.

    columns : (5, C) of `columns_of`; generated masses, to which the mean noise in the window is added
    """
    assumed = refit.mass
    assert assumed is not None
    above = columns[0] * columns[1] < assumed.m_ref[0] / SELECTION.pt_min
    entries, at = np.histogram(columns[0, above], 4096)
    mass, _, soft, sigma, _ = columns[:, columns[4] == 1]
    nodes = np.linspace(0.0, sigma.max(), 65)
    _, noise = window_means(0.5 * (at[1:] + at[:-1]), entries, refit.selection.window, nodes)
    weight = 1.0 / ((assumed.m_ref[0] * sigma) ** 2 + assumed.gamma[0] ** 2)
    measured = mass + np.interp(sigma, nodes, noise)
    return float(np.average(measured - assumed.at(soft, sigma)[0], weights=weight))


def probe_bias(truth: Detector, refit: Refit, pt: float, n: int, *, seed: int = 77, eta_max: float = 2.3):
    """delta k / k of muons without noise, their eta, phi and charge, (N,) each; d (delta k / k) / d theta (N, P)."""
    muons = fire(MuonGun(seed=seed, pt=(pt, pt), eta=(-eta_max, eta_max)), n)
    hits = simulate_hits(muons, truth, QUIET, n_threads=refit.config.n_threads).hits
    fits, _ = refit.tracks(hits)
    ok = fits.ok
    true = hits.truth.state
    bias = fits.state[:, QOP] / true[:, QOP] * np.cos(true[:, LAM]) / np.cos(fits.state[:, LAM]) - 1.0
    slope = curvature_matrix(refit, fits)
    eta, phi = np.arcsinh(np.tan(true[:, LAM])), true[:, 2]
    return bias[ok], eta[ok], phi[ok], np.sign(true[ok, QOP]), slope[ok]


def curvature_matrix(refit: Refit, fits: TrackFits) -> sp.csr_array:
    """(N, P) d (delta k / k) / d theta of fitted tracks; nothing where a fit failed."""
    derivatives, p, ok = refit.derivatives(fits), len(refit.registry), fits.ok
    shifts = [derivatives.matrix(i, p) for i in (QOP, LAM)]
    qop, lam = np.where(ok, fits.state[:, QOP], 1.0), np.where(ok, fits.state[:, LAM], 0.0)
    return (shifts[0].multiply(1.0 / qop[:, None]) + shifts[1].multiply(np.tan(lam)[:, None])).tocsr()


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


def even_slopes(truth: Detector, refit: Refit, pt: float, edges: FloatArray, n: int = 4000) -> FloatArray:
    """(m, P) d / d theta of the charge-even bias of muons without noise in eta bins."""
    bias, eta, _, charge, slope = probe_bias(truth, refit, pt, n)
    return in_bins(bias, eta, charge, slope, edges, 1)[1]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Means in bins with their errors, and chi2 with all covariances, for no deviation."""

    values: FloatArray
    errors: FloatArray
    chi2: float


@dataclass(frozen=True, kw_only=True)
class PairsOfBins:
    """Pairs that took no part in the corrections: ln of fitted over generated mass, before and after.

    ratio : (2, N)  less what the spread of the momenta does to a mean, (sigma_m / m)^2
    x     : name -> (N,)  what they are binned in
    slope : (N, P)  d ln m / d theta, -1/2 of the sum over both muons of d (delta k / k) / d theta
    """

    ratio: FloatArray
    x: dict[str, FloatArray]
    slope: sp.csr_array

    @classmethod
    def of(cls, before: "SimulatedBlocks", after: "SimulatedBlocks", start: int, stop: int) -> "PairsOfBins":
        columns, slopes = [], []
        for first in range(start, stop, 16_000):
            hits = before.simulated(first, min(first + 16_000, stop))
            hits = hits.select(hits.pair >= 0)
            fits = [made.refit.pairs(hits, profile=False)[0] for made in (before, after)]
            tracks, _ = after.refit.tracks(hits)
            gen = generated_mass(hits, fits[0])
            good = [f.vertex.ok & (np.abs(f.vertex.mass - gen) < 5 * f.vertex.sigma_mass) for f in fits]
            rows = fits[0].tracks
            ok = good[0] & good[1] & (rows[:, 1] >= 0) & tracks.ok[np.maximum(rows, 0)].all(axis=1)
            state = hits.truth.state[rows[ok]]
            first_is_plus = state[:, 0, QOP] > 0
            eta = np.arcsinh(np.tan(state[..., LAM]))
            ratio = [np.log(f.vertex.mass / gen)[ok] - (f.vertex.sigma_mass / f.vertex.mass)[ok] ** 2 for f in fits]
            soft = (np.cos(state[..., LAM]) / np.abs(state[..., QOP])).min(axis=1)
            columns.append([*ratio, np.where(first_is_plus, eta[:, 0], eta[:, 1]),
                            np.where(first_is_plus, eta[:, 1], eta[:, 0]), soft])  # fmt: skip
            each = curvature_matrix(after.refit, tracks)
            slopes.append(-0.5 * (each[rows[ok, 0]] + each[rows[ok, 1]]))
        table = np.concatenate([np.array(c) for c in columns], axis=1)
        names = ("eta of mu+", "eta of mu-", "softer pT")
        return cls(ratio=table[:2], x=dict(zip(names, table[2:], strict=True)), slope=sp.vstack(slopes).tocsr())

    @property
    def n(self) -> int:
        return int(self.ratio.shape[1])

    def profile(self, name: str, when: int, found: GlobalCorrections) -> Profile:
        """In bins of equal size; errors of these pairs and, after corrections, of the corrections."""
        x = self.x[name]
        place = np.searchsorted(np.quantile(x, np.linspace(0, 1, 7))[1:-1], x)
        values, cov, rows = np.zeros(6), np.zeros((6, 6)), np.zeros((6, len(found.registry)))
        for i in range(6):
            here = np.flatnonzero(place == i)
            values[i] = self.ratio[when, here].mean()
            cov[i, i] = self.ratio[when, here].var() / here.size
            rows[i] = np.asarray(self.slope[here].mean(axis=0)).ravel()
        if when:
            rows = rows[:, found.free]
            cov = cov + rows @ found.covariance @ rows.T
        return Profile(values=values, errors=np.sqrt(np.diag(cov)), chi2=chi2_of(values, cov))


def simple_fit(refit: Refit) -> Refit:
    """A fit with a formula for the field, an ideal solenoid, and no loss between the sensors."""
    d = refit.detector
    bare = replace(d, field=solenoid_field(), passive=replace(d.passive, xi_mev=1e-9 * d.passive.xi_mev))
    plain = build_registry(bare, [Family(kind="alignment", by="whole", components=("u",), min_entries=1)])
    return replace(refit, detector=bare, registry=plain, theta=np.zeros(0), mass=None)


def draw_curves(truth: Detector, start: Refit, corrected_refit: Refit, path: Path) -> None:
    """Bias of the curvature of muons without noise: a simple fit, the refit, the refit with corrections."""
    stages = {"simple fit": simple_fit(start), "refit": start, "refit and corrections": corrected_refit}
    momenta = (5.0, 10.0, 20.0, 40.0, 80.0)
    columns = {name: [probe_bias(truth, refit, pt, 2000)[:4] for pt in momenta] for name, refit in stages.items()}
    bias, eta, phi, charge = (
        [np.concatenate([part[i] for part in columns[name]]) for name in stages] for i in range(4)
    )
    pt = np.concatenate([np.full(part[0].size, p) for p, part in zip(momenta, columns["refit"], strict=True)])
    assert len({b.size for b in bias}) == 1
    figure = curvature_curves(
        pt, eta[0], phi[0], charge[0], dict(zip(stages, bias, strict=True)), eta_edges=np.linspace(-2.3, 2.3, 13)
    )
    save(figure, path)


def chi2_of(values: FloatArray, cov: FloatArray) -> float:
    return float(values @ np.linalg.solve(cov, values))


PIECE = 25
"""Chunks of a piece of a sum, each with checkpoints of its own."""


def corrections(
    made: SimulatedBlocks, n_events: int, probes: FloatArray | None, config: SolveConfig, *, chunk: int = 32_000,
    applied: FloatArray | None = None, tell=lambda made: None, kept: Path | None = None,
) -> GlobalCorrections:  # fmt: skip
    """The solve of the pairs among n generated events.

    kept : folder of checkpoints: who asks for these events again, or for fewer, takes the finished pieces up
    """
    sums = sums_of(made, n_events, chunk=chunk, tell=tell, kept=kept)
    return solve(reduce(add, sums), made.refit.registry, config, probes=probes, applied=applied)


def sums_of(
    made: SimulatedBlocks, n_events: int, *, chunk: int = 32_000, tell=lambda made: None, kept: Path | None = None,
    sample: str = "",
) -> Iterator[NormalEquations]:  # fmt: skip
    """The sums of the pairs among n generated events, piece by piece; `kept` as in `corrections`."""
    chunks = divide(n_events, chunk)
    how = AccumulateConfig(n_threads=made.refit.config.n_threads, chunks_per_leaf=PIECE, every=5)
    inputs = {REFIT: digest_of(made.refit)}
    for at in range(0, len(chunks), PIECE):
        piece = chunks[at : at + PIECE]
        place = None if kept is None else kept / f"{inputs[REFIT][:12]}_{at}_{piece[-1].stop}{sample}"
        yield accumulate(
            made, piece, made.refit.registry, how, tell=tell, checkpoints=place, inputs=inputs, sample=sample
        )


def refit_of(detector: Detector, registry: Registry, mass: MassReference, selection=SELECTION, **kwargs) -> Refit:
    config = RefitConfig(n_threads=numba.get_num_threads())
    return Refit(detector=detector, registry=registry, mass=mass, selection=selection, config=config, **kwargs)
