"""Mass fits of all kinematic bins in one call."""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Final

import numba
import numpy as np
from scipy.special import gammaincc

from mucal.arrays import FloatArray, IntArray
from mucal.errors import ConfigError
from mucal.massfit import morphing_fit
from mucal.massfit.bins import MassHistograms
from mucal.massfit.config import BatchConfig
from mucal.massfit.fits import MassFits
from mucal.massfit.kernels.rows import Levels, fit_rows, merged_deviance, parameters_used
from mucal.massfit.kernels.scoring import Prior
from mucal.massfit.status import Status
from mucal.massfit.template import Template, compress, levels, resonance_points
from mucal.store import Provenance
from mucal.theory import resonance

Fit = Callable[[IntArray], tuple[FloatArray | IntArray, ...]]
"""Rows -> values, covariance, expected events, deviance, its expectation per bin, ndf, distance, steps, status."""
CHUNK: Final = 256
"""Bins that one thread takes at a time; bounds the memory of templates given per bin."""
NO_NDF: Final = 1e-9
"""Degrees of freedom that are none but for rounding, as of a spectrum merged into one bin."""


def fit_bins(
    histograms: MassHistograms,
    config: BatchConfig,
    template: Template | None = None,
    *,
    n_threads: int | None = None,
) -> MassFits:
    """Fits of one model to every mass histogram, by damped Fisher scoring of the extended binned Poisson likelihood.

    histograms : B kinematic bins
    config     : model, constraints, stopping rule
    template   : for the model "template", the signal before resolution (by default the resonance after final-state
                 radiation); for "morphing", the measured spectra of simulation, counted in events, one row a bin
    n_threads  : defaults to numba's number of threads; the result does not depend on it

    Returns one row per histogram.  The covariance is the inverse of the expected (Fisher) information at the minimum,
    constraints included.  A background fraction that runs to zero is held at 0.01 events; its variance is then that
    of the information there, and it has no covariance.  Fixed parameters have zero variance.

    Raises ValueError if a template per bin has another number of rows than the histograms, ConfigError if a template
    comes with another model.  Derived in docs/physics/massfit.md.
    """
    _check(histograms, config, template)
    n_bins, p = histograms.n_bins, len(config.parameters)
    status = _status_before(histograms, config, template)
    values, cov = np.full((n_bins, p), np.nan), np.full((n_bins, p, p), np.nan)
    expected = np.full(histograms.counts.shape, np.nan)
    deviance, edm = np.full(n_bins, np.nan), np.full(n_bins, np.nan)
    per_bin = np.full(n_bins, np.nan)
    ndf, n_steps = np.zeros(n_bins), np.zeros(n_bins, np.int64)
    reference = resonance(config.resonance)
    fit = (_morphing if config.model == "morphing" else _compiled)(histograms, config, template)

    found = (values, cov, expected, deviance, per_bin, ndf, edm, n_steps, status)

    def work(rows: IntArray) -> None:
        for whole, part in zip(found, fit(rows), strict=True):
            whole[rows] = part

    tried = np.flatnonzero(status == Status.OK)
    with ThreadPoolExecutor(n_threads or numba.get_num_threads()) as pool:
        list(pool.map(work, _chunks(tried)))
    with np.errstate(invalid="ignore"):
        free = np.where(ndf > NO_NDF, ndf, np.nan)
        p_value = gammaincc(0.5 * free, 0.5 * deviance / per_bin)
        status[(status == Status.OK) & (p_value < config.min_p_value)] = Status.BAD_GOF
    return MassFits(
        provenance=Provenance(configuration=asdict(config)),
        resonance=config.resonance,
        reference_mass=reference.mass,
        reference_mass_error=reference.mass_error,
        model=config.model,
        parameters=config.parameters,
        histograms=histograms,
        values=values,
        cov=cov,
        deviance=deviance,
        ndf=ndf,
        p_value=p_value,
        edm=edm,
        n_steps=n_steps,
        status=status,
        expected=expected,
    )


def _compiled(histograms: MassHistograms, config: BatchConfig, template: Template | None) -> Fit:
    """Fits of some rows by the compiled kernels, for the models whose signal is a formula."""
    edges = np.ascontiguousarray(histograms.mass_edges, dtype=np.float64)
    reference = resonance(config.resonance)
    tables = _tables(edges, config, template)
    tails = np.array([config.n_l, config.n_r])
    start, prior = _start_and_prior(config)

    def fit(rows: IntArray) -> tuple[FloatArray | IntArray, ...]:
        nodes = tables if isinstance(tables, Levels) else compress(tables[0], tables[1][rows], edges, levels(edges))
        counts = np.ascontiguousarray(histograms.counts[rows], dtype=np.float64)
        rule = (config.tolerance, config.max_steps, config.max_attempts)
        return fit_rows(counts, edges, reference.mass, nodes, tails, start, prior, *rule)

    return fit


def _morphing(histograms: MassHistograms, config: BatchConfig, template: Template | None) -> Fit:
    """Fits of some rows with simulated spectra, moved and widened, as signal."""
    if template is None or template.weights.ndim != 2:
        raise ConfigError(
            "massfit.model = 'morphing' needs the simulated spectrum of every bin",
            kind="config.massfit",
            do="give a Template of measured simulated masses, one row a bin, or choose the model 'template'",
        )
    edges = np.ascontiguousarray(histograms.mass_edges, dtype=np.float64)

    def fit(rows: IntArray) -> tuple[FloatArray | IntArray, ...]:
        counts = np.ascontiguousarray(histograms.counts[rows], dtype=np.float64)
        found = morphing_fit.fit_rows(counts, edges, template.rows(rows), config)
        goodness = _goodness(counts, found, config)
        expected = np.where((found.status == Status.OK)[:, None], found.mu, np.nan)
        return (found.values, found.cov, expected, *goodness, found.edm, found.n_steps, found.status)

    return fit


def _goodness(
    counts: FloatArray, found: morphing_fit.Found, config: BatchConfig
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(R,) deviance of merged bins, its expectation for one degree of freedom, and the degrees of freedom."""
    n, p = found.values.shape
    deviance, per_bin, ndf = np.full(n, np.nan), np.full(n, np.nan), np.zeros(n)
    merged = np.empty((p, p))
    constraints = [config.constraint(name) for name in config.parameters]
    precision = np.array([0.0 if c is None else c[1] ** -2.0 for c in constraints])
    for row in np.flatnonzero(found.status == Status.OK):
        mu, slopes, active = found.mu[row], found.slopes[row], found.active[row].astype(np.int64)
        deviance[row], expectation, n_merged = merged_deviance(counts[row], mu, slopes, merged)
        ndf[row] = n_merged - parameters_used(merged, found.fit_cov[row], precision, active)
        per_bin[row] = expectation / n_merged
        if ndf[row] > NO_NDF:
            per_bin[row] += found.template_noise[row] / ndf[row]
    return deviance, per_bin, ndf


def _check(histograms: MassHistograms, config: BatchConfig, template: Template | None) -> None:
    mass, edges = resonance(config.resonance).mass, histograms.mass_edges
    if not edges[0] < mass < edges[-1]:
        raise ConfigError(
            f"the mass of {config.resonance}, {mass} GeV, lies outside the mass window",
            kind="config.massfit",
            where={"window": f"{edges[0]} to {edges[-1]} GeV"},
            do="choose mass edges around the resonance",
        )
    if template is None:
        return
    if config.model not in ("template", "morphing"):
        raise ConfigError(
            f"a template was given but massfit.model is '{config.model}'",
            kind="config.massfit",
            do="set massfit.model to 'template' or 'morphing', or leave the template out",
        )
    if template.weights.ndim == 2 and template.weights.shape[0] != histograms.n_bins:
        raise ValueError(f"Template.weights has {template.weights.shape[0]} rows for {histograms.n_bins} histograms")


def _status_before(histograms: MassHistograms, config: BatchConfig, template: Template | None) -> IntArray:
    """(B,) why a bin is not fitted; OK where it is."""
    counts = histograms.counts
    status = np.full(histograms.n_bins, int(Status.OK))
    usable = np.all(np.isfinite(counts) & (counts >= 0), axis=1)
    n_events = np.where(usable, counts.sum(axis=1), np.inf)
    status[n_events < config.min_events] = Status.LOW_STATS
    status[n_events <= 0] = Status.EMPTY
    if template is not None:
        edges, true = histograms.mass_edges, template.edges
        inside = (true[1:] > edges[0]) & (true[:-1] < edges[-1])
        content = np.broadcast_to(template.weights, (histograms.n_bins, true.size - 1))
        finite = np.all(np.isfinite(content), axis=1)
        status[finite & (content[:, inside].sum(axis=1) <= 0) & (status == Status.OK)] = Status.TEMPLATE_EMPTY
        usable = usable & finite
    status[~usable] = Status.NON_FINITE
    return status


def _tables(
    edges: FloatArray, config: BatchConfig, template: Template | None
) -> Levels | tuple[FloatArray, FloatArray]:
    """Nodes common to all bins, or the points and weights (B, K) of templates per bin."""
    if config.model != "template":
        none = np.zeros((1, 0))
        return Levels(
            level_sigma=np.zeros(0),
            offsets=np.zeros(0, np.int64),
            nodes=none,
            weights=none,
            n_nodes=np.zeros((1, 0), np.int64),
        )
    level_sigma = levels(edges)
    points = resonance_points(config.resonance, edges, level_sigma[-1]) if template is None else template.points
    if points[1].ndim == 2:
        return points
    return compress(points[0], points[1][None, :], edges, level_sigma)


def _start_and_prior(config: BatchConfig) -> tuple[FloatArray, Prior]:
    """(P,) start (NaN: from the spectrum), and what is free and constrained."""
    p = len(config.parameters)
    start, free = np.full(p, np.nan), np.ones(p, np.int64)
    mean, precision = np.zeros(p), np.zeros(p)
    for j, name in enumerate(config.parameters):
        constraint = config.constraint(name)
        if name in config.fixed:
            start[j], free[j] = config.fixed[name], 0
        elif constraint is not None:
            mean[j], precision[j] = constraint[0], 1.0 / constraint[1] ** 2
            start[j] = mean[j] if name in config.constraints else math.nan
        if name in config.start and name not in config.fixed:
            start[j] = config.start[name]
    return start, Prior(free, mean, precision)


def _chunks(rows: IntArray) -> Iterator[IntArray]:
    for begin in range(0, rows.size, CHUNK):
        yield rows[begin : begin + CHUNK]
