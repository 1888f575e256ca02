"""The fits of the model "morphing": spectra moved to each solution and fitted again until they stand still."""

from functools import partial
from typing import Final, NamedTuple

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.massfit.config import BatchConfig
from mucal.massfit.morphing import (
    LN_N,
    LN_S,
    LOGIT_F,
    NARROWEST,
    ROUGHNESS,
    SLOPE,
    VARIANCE,
    Spectra,
    expectation,
    spectra_at,
    template_information,
)
from mucal.massfit.scoring import Minimum, Rules, inverse, minimise
from mucal.massfit.status import Status
from mucal.massfit.template import Template

CHUNK: Final = 2048
"""Bins at a time; bounds the memory of derivatives and of the kernels' sums."""
PASSES: Final = 6
STANDING: Final = 0.05
"""Widths by which the solution may be off the point where the spectrum was taken: (0.05)^3 / 6 of a peak is left."""
FLOOR_EVENTS: Final = 0.01
CEILING_LOGIT: Final = 7.0
START_FRACTION: Final = 0.05


class Found(NamedTuple):
    """What R fits return.

    values         : (R, P)
    cov            : (R, P, P)  of the fluctuations of data and simulation
    fit_cov        : (R, P, P)  of those of the data alone
    mu, slopes     : (R, M), (R, P, M)  expected events and their derivatives
    active         : (R, P)     parameters that are free and on no wall
    template_noise : (R,)       what the finite simulation adds to the expected deviance
    edm, n_steps, status : (R,)
    """

    values: FloatArray
    cov: FloatArray
    fit_cov: FloatArray
    mu: FloatArray
    slopes: FloatArray
    active: BoolArray
    template_noise: FloatArray
    edm: FloatArray
    n_steps: IntArray
    status: IntArray


def fit_rows(counts: FloatArray, edges: FloatArray, template: Template, config: BatchConfig) -> Found:
    """Fits of R spectra (R, M), each with its own simulated one (R, G).

    The covariance holds the fluctuations of the data and those of the simulated spectrum.
    """
    parts = [
        _fit_chunk(
            counts[a : a + CHUNK],
            edges,
            template.rows(slice(a, a + CHUNK)),
            config,
        )
        for a in range(0, counts.shape[0], CHUNK)
    ]
    return Found(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def rules_of(config: BatchConfig, counts: FloatArray, width: FloatArray) -> Rules:
    """Constraints, steps and walls of R spectra (R, M) with simulated peaks of relative widths (R,)."""
    n, total = counts.shape[0], counts.sum(axis=1)
    mean, precision = np.zeros(5), np.zeros(5)
    for j, name in enumerate(config.parameters):
        constraint = config.constraint(name)
        if constraint is not None:
            mean[j], precision[j] = constraint[0], constraint[1] ** -2.0
    largest, low, high = np.empty((n, 5)), np.full((n, 5), -np.inf), np.full((n, 5), np.inf)
    largest[:, LN_N], largest[:, LOGIT_F], largest[:, SLOPE] = 1.0, 2.0, 5.0
    largest[:, LN_S], largest[:, VARIANCE] = 0.5 * width, 0.3 * width**2
    low[:, LOGIT_F], high[:, LOGIT_F] = np.log(FLOOR_EVENTS / total), CEILING_LOGIT
    low[:, SLOPE], high[:, SLOPE] = -100.0, 100.0
    low[:, VARIANCE] = NARROWEST * width**2
    for j, name in enumerate(config.parameters):
        if name in config.fixed:
            low[:, j] = high[:, j] = config.fixed[name]
    free = ~np.isin(config.parameters, list(config.fixed))
    return Rules(
        free=free, mean=mean, precision=precision, largest=largest, low=low, high=high, tolerance=config.tolerance,
        max_steps=config.max_steps,
    )  # fmt: skip


def start_of(config: BatchConfig, counts: FloatArray) -> FloatArray:
    """(R, 5) where the fits begin: no shift, no smearing, a small background."""
    theta = np.zeros((counts.shape[0], 5))
    theta[:, LN_N] = np.log(counts.sum(axis=1))
    theta[:, LOGIT_F] = np.log(START_FRACTION / (1.0 - START_FRACTION))
    for name, value in {**config.start, **config.fixed}.items():
        theta[:, config.parameters.index(name)] = value
    return theta


def _fit_chunk(counts: FloatArray, edges: FloatArray, template: Template, config: BatchConfig) -> Found:
    n = counts.shape[0]
    theta, moving = start_of(config, counts), np.ones(n, dtype=bool)
    spectra = spectra_at(template, edges, theta[:, LN_S].copy(), theta[:, VARIANCE].copy())
    rules = rules_of(config, counts, spectra.width)
    steps = np.zeros(n, dtype=np.int64)
    for _ in range(PASSES):
        found = minimise(counts, theta, partial(_expected, spectra), rules)
        theta, steps = found.theta, steps + found.n_steps
        moving = _away(theta, spectra) & (found.status == Status.OK)
        if not np.any(moving):
            break
        spectra = spectra_at(template, edges, theta[:, LN_S].copy(), theta[:, VARIANCE].copy())
    status = np.where(moving, Status.NOT_CONVERGED, found.status)
    return _finish(found, status, steps, spectra, rules)


def _finish(found: Minimum, status: IntArray, steps: IntArray, spectra: Spectra, rules: Rules) -> Found:
    """Covariances and statuses; NaN where there is no result."""
    theta = found.theta
    floor = theta <= rules.low
    floor[:, :LOGIT_F] = False
    walled = np.any(rules.free & ~found.active & ~(floor & (np.arange(5) == LOGIT_F)), axis=1)
    status = np.where((status == Status.OK) & walled, Status.AT_BOUNDARY, status)
    mu, slopes, _ = expectation(theta, spectra)
    share = _signal_share(theta, spectra)
    fit_cov = inverse(found.information, found.active)
    fit_cov[:, ~rules.free, :] = 0.0
    fit_cov[:, :, ~rules.free] = 0.0
    own = np.where(found.active[:, :, None] & found.active[:, None, :], fit_cov, 0.0)
    cov = fit_cov + own @ template_information(theta, spectra, mu, slopes) @ own
    bad = status != Status.OK
    values = np.where(bad[:, None], np.nan, theta)
    cov[bad] = np.nan
    log_window = np.log(spectra.edges[-1] / spectra.edges[0])
    # of the modes of the simulated fluctuation, the fitted yield, shift and width take up three
    noise = share * np.clip(ROUGHNESS * log_window / spectra.bandwidth - 3.0, 0.0, None)
    return Found(values, cov, fit_cov, mu, slopes, found.active, noise, found.edm, steps, status.astype(np.int64))


def _signal_share(theta: FloatArray, spectra: Spectra) -> FloatArray:
    """(R,) signal events of the data over simulated ones."""
    signal = np.exp(theta[:, LN_N]) / (1.0 + np.exp(theta[:, LOGIT_F]))
    result: FloatArray = signal / np.maximum(spectra.n_events, 1.0)
    return result


def _away(theta: FloatArray, spectra: Spectra) -> BoolArray:
    """Whether a solution is too far from the point where its spectrum was taken."""
    shift = np.abs(theta[:, LN_S] - spectra.centre) / spectra.width
    smear = np.abs(theta[:, VARIANCE] - spectra.variance) / spectra.width**2
    result: BoolArray = (shift > STANDING) | (smear > STANDING)
    return result


def _expected(spectra: Spectra, theta: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    return expectation(theta, _rows(spectra, rows))


def _rows(spectra: Spectra, rows: IntArray) -> Spectra:
    return Spectra(
        spectra.edges, spectra.sums[:, rows], spectra.centre[rows], spectra.variance[rows], spectra.width[rows],
        spectra.bandwidth[rows], spectra.n_events[rows],
    )  # fmt: skip
