"""Pass/fail fits of all bins of one step."""

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Final

import numba
import numpy as np
from scipy.special import gammaincc

from mucal.arrays import FloatArray, IntArray
from mucal.efficiency.config import BOXES, LARGEST_STEPS, PARAMETERS, START, FitConfig
from mucal.efficiency.fits import Efficiencies
from mucal.efficiency.histograms import ProbeHistograms
from mucal.efficiency.kernels.rows import fit_rows
from mucal.efficiency.kernels.shapes import FIRST, N_B, N_PARAMETERS, PER_CATEGORY, Model
from mucal.efficiency.status import Status
from mucal.efficiency.templates import MassTemplates, line_templates
from mucal.store import Provenance

CHUNK: Final = 64
CORE: Final = (81.0, 101.0)
"""GeV; counts inside and outside give the starting values."""
CORE_SHARE: Final = 0.85
RETRIED: Final = (Status.NOT_CONVERGED, Status.HESSIAN_NOT_PD)
SHAPES: Final = np.array([name not in ("eff", "ln_n") and not name.startswith("n_b_") for name in PARAMETERS])
"""Parameters that a neighbour may lend; efficiency and yields are the bin's own."""


def measure(
    histograms: ProbeHistograms,
    config: FitConfig,
    templates: MassTemplates | None = None,
    *,
    n_threads: int | None = None,
) -> Efficiencies:
    """Efficiencies of one step by simultaneous fits of the passing and the failing spectrum of every bin.

    histograms : unweighted counts of data
    config     : model, constraints, stopping rule
    templates  : signal before smearing; needed if the signal is "template"
    n_threads  : default numba's number; the result does not depend on it

    A fit that fails starts again from the shapes of its nearest neighbours; where that fails, too, it is flagged.  The
    covariance is the inverse of the second derivatives at the minimum, the constraints included.  A yield or a
    width that ends at its limit is held there.  Raises ValueError if templates are missing or do not fit the bins.
    Derived in docs/physics/efficiency.md.
    """
    if config.signal == "template" and templates is None:
        raise ValueError("the signal 'template' needs MassTemplates; pass them, or use the signal 'analytic'")
    signal = templates if templates is not None else line_templates(histograms.mass_edges)
    shapes = signal.for_window(histograms)
    spread = signal.spread(histograms.mass_edges.size - 1)
    model = Model(
        np.ascontiguousarray(histograms.mass_edges), signal.per_bin, signal.pad, int(config.signal == "analytic"),
        np.array([config.background_pass == "turn_on", config.background_fail == "turn_on"], dtype=np.int64),
    )  # fmt: skip
    b, p = histograms.n_bins, N_PARAMETERS
    status = _status_before(histograms, config, shapes)
    values, cov, bounds = np.full((b, p), np.nan), np.full((b, p, p), np.nan), np.full((b, 2), np.nan)
    fitted = np.full(histograms.counts.shape, np.nan)
    deviance, ndf, edm = np.full(b, np.nan), np.zeros(b), np.full(b, np.nan)
    n_steps = np.zeros(b, np.int64)
    free, mean, precision = _prior(config)
    largest = np.array(
        [0.3, 1.0] + 2 * [LARGEST_STEPS.get(name[:-5], math.inf) for name in PARAMETERS[2 : 2 + PER_CATEGORY]]
    )

    results = (values, cov, bounds, fitted, deviance, ndf, edm, n_steps, status)

    def work(rows: IntArray, nearby: FloatArray | None = None) -> None:
        """Fit some bins, from starts of their own or nearby, into the arrays of all."""
        counts = np.ascontiguousarray(histograms.counts[rows], dtype=np.float64)
        starts, low, high = _starts(counts, histograms.mass_edges, config)
        if nearby is not None:
            starts = np.clip(np.where(SHAPES, nearby, starts[:, :1]), low[:, None, :], high[:, None, :])
        own = np.ascontiguousarray(shapes[rows] if shapes.shape[0] > 1 else shapes)
        own_spread = np.ascontiguousarray(spread[rows] if spread.shape[0] > 1 else spread)
        parts: list[Any] = [whole[rows] for whole in results]
        fit_rows(
            counts, own, own_spread, model, starts, free, mean, precision, low, high, largest, config.tolerance,
            config.max_steps, config.intervals, *parts,
        )  # fmt: skip
        for whole, part in zip(results, parts, strict=True):
            whole[rows] = part

    tried = np.flatnonzero(status == Status.OK)
    with ThreadPoolExecutor(n_threads or numba.get_num_threads()) as pool:
        list(pool.map(work, [tried[i : i + CHUNK] for i in range(0, tried.size, CHUNK)]))
    failed = tried[np.isin(status[tried], RETRIED)]
    good = np.flatnonzero(np.isin(status, (Status.OK, Status.AT_BOUNDARY)))
    if config.neighbours and failed.size and good.size:
        status[failed] = Status.OK
        work(failed, values[_nearest(histograms, failed, good)])
    with np.errstate(invalid="ignore"):
        p_value = np.where(ndf > 0, gammaincc(0.5 * np.where(ndf > 0, ndf, 1.0), 0.5 * deviance), np.nan)
        status[(status == Status.OK) & (p_value < config.min_p_value)] = Status.BAD_GOF
    return Efficiencies(
        provenance=Provenance(configuration=asdict(config)), method="fit", parameters=PARAMETERS, histograms=histograms,
        values=values, cov=cov, interval=bounds, fitted=fitted, deviance=deviance, ndf=ndf, p_value=p_value, edm=edm,
        n_steps=n_steps, status=status,
    )  # fmt: skip


def _status_before(histograms: ProbeHistograms, config: FitConfig, shapes: FloatArray) -> IntArray:
    """(B,) why a bin is not fitted; OK where it is."""
    counts = histograms.counts
    status = np.full(histograms.n_bins, int(Status.OK))
    usable = np.all(np.isfinite(counts) & (counts >= 0), axis=(1, 2))
    n_probes = np.where(usable, counts.sum(axis=(1, 2)), np.inf)
    status[n_probes < config.min_probes] = Status.LOW_STATS
    status[n_probes <= 0] = Status.EMPTY
    sums = np.broadcast_to(shapes.sum(axis=2), (histograms.n_bins, 2))
    finite = np.all(np.isfinite(shapes) & (shapes >= 0), axis=(1, 2))
    status[np.any(sums <= 0, axis=1) & (status == Status.OK)] = Status.TEMPLATE_EMPTY
    status[~(usable & finite)] = Status.NON_FINITE
    return status


def _nearest(histograms: ProbeHistograms, rows: IntArray, among: IntArray) -> IntArray:
    """(R, 3) the bins of `among` that are nearest to each row, in steps of eta, pT, charge and u_T."""
    place = np.stack(np.unravel_index(np.arange(histograms.n_bins), histograms.shape), axis=1)
    steps = np.abs(place[rows][:, None] - place[among][None]).sum(axis=2)
    order = np.argsort(steps, axis=1, kind="stable")[:, :3]
    order = order[:, np.minimum(np.arange(3), order.shape[1] - 1)]
    return among[order]


def _prior(config: FitConfig) -> tuple[IntArray, FloatArray, FloatArray]:
    """(P,) what is free, and means and precisions of the constraints."""
    free, mean, precision = np.ones(N_PARAMETERS, np.int64), np.zeros(N_PARAMETERS), np.zeros(N_PARAMETERS)
    for a, name in enumerate(PARAMETERS):
        constraint = config.constraint(name)
        if name in config.fixed or config.unused(name):
            free[a] = 0
        elif constraint is not None:
            mean[a], precision[a] = constraint[0], 1.0 / constraint[1] ** 2
    return free, mean, precision


def _starts(counts: FloatArray, edges: FloatArray, config: FitConfig) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Three starts (R, 3, P) from counts (R, 2, M), and the box (R, P) of the parameters.

    Signal and background of each category from the counts inside and outside the core; the second start has more
    background, the third wider peaks.
    """
    r, m = counts.shape[0], counts.shape[2]
    middle = 0.5 * (edges[1:] + edges[:-1])
    inside = (middle > CORE[0]) & (middle < CORE[1])
    flat = max(inside.sum() / m, 1e-3)
    total, core = counts.sum(axis=2), counts[:, :, inside].sum(axis=2)
    share = CORE_SHARE if inside.any() and flat < CORE_SHARE else 1.0
    signal = np.clip((core - flat * total) / max(share - flat, 1e-3), 0.02 * total + 0.5, total + 0.5)
    start = np.empty((r, 3, N_PARAMETERS))
    low, high = np.full((r, N_PARAMETERS), -np.inf), np.full((r, N_PARAMETERS), np.inf)
    for a, name in enumerate(PARAMETERS[2:], start=2):
        shape = name[:-5]
        mean = (config.constraint(name) or (START.get(shape, 0.0), 0.0))[0]
        low[:, a], high[:, a] = BOXES.get(shape, (0.0, np.inf))
        start[:, :, a] = mean
        start[:, 2, a] += 0.7 if shape == "ln_width" else 0.0
    for t, part in enumerate((1.0, 0.5, 1.0)):
        n = part * signal
        start[:, t, 0] = np.clip(n[:, 0] / n.sum(axis=1), 0.02, 0.98)
        start[:, t, 1] = np.log(n.sum(axis=1))
        for c in range(2):
            start[:, t, FIRST + c * PER_CATEGORY + N_B] = np.maximum(total[:, c] - n[:, c], 0.02 * total[:, c] + 0.1)
    low[:, 0], high[:, 0] = 0.0, 1.0
    low[:, 1], high[:, 1] = np.log(1e-3), np.log(3.0 * total.sum(axis=1) + 10.0)
    for name, value in config.fixed.items():
        a = PARAMETERS.index(name)
        start[:, :, a], low[:, a], high[:, a] = value, -np.inf, np.inf
    return np.clip(start, low[:, None, :], high[:, None, :]), low, high
