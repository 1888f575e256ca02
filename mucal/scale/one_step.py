"""A, e and M from all mass histograms in one likelihood, without a mass scale per bin in between.

-2 ln L = sum_b -2 ln L_b(ln s_b, nu_b) / (1 + r_b) + priors, with ln s_b = f_b(A, e, M) / 2 of the equations of `scale`
and nu_b the events, extra variance and background of each bin.  The signal of a bin is its simulated spectrum, moved
and widened (`massfit.morphing`); r_b = (signal events of data) / (simulated ones) makes room for its fluctuations.
The matrix of the Newton step is an arrow: the nu_b are eliminated bin by bin, what is left has the size of the table.

It serves as a cross-check of `derive`: the bins' scales have no bias of few events here, for none is estimated.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray
from mucal.errors import NotCertified
from mucal.ledger import Ledger
from mucal.massfit.bins import MassHistograms
from mucal.massfit.config import BatchConfig
from mucal.massfit.fits import MassFits
from mucal.massfit.morphing import (
    LN_N,
    LN_S,
    LOGIT_F,
    SLOPE,
    VARIANCE,
    Spectra,
    expectation,
    simulated_template,
    spectra_at,
)
from mucal.massfit.morphing_fit import rules_of
from mucal.massfit.scoring import Rules, gradient_and_information, likelihood_change, pressed
from mucal.scale.derive import ScaleConfig
from mucal.scale.least_squares import normal_equations, parameter_names, solve_certified, unfold_abs_eta
from mucal.scale.system import NAMES, ScaleSystem, build_system
from mucal.scale.table import ScaleTable
from mucal.store import Provenance

MAX_STEPS: Final = 100
TOLERANCE: Final = 1e-6
"""On the estimated distance to the minimum, in units of -2 ln L."""
NUISANCES: Final = (LN_N, VARIANCE, LOGIT_F, SLOPE)
"""What is left of a bin's parameters when its scale is given by the table."""


@dataclass(frozen=True, slots=True)
class _Bins:
    """The R bins that are fitted; weight (R,) = 1 / (1 + r); which bins were used and why others were not."""

    counts: FloatArray
    spectra: Spectra
    rules: Rules
    system: ScaleSystem
    weight: FloatArray
    ledger: Ledger


def derive_at_once(
    fits: MassFits, simulation: MassHistograms, model: BatchConfig, config: ScaleConfig | None = None
) -> ScaleTable:
    """Scale table from all histograms together.

    fits       : of data, with the model "morphing"; they give the starting point and say which bins are used
    simulation : the spectra that `fits` were made with: finer bins over a wider window
    model      : of `fits`
    config     : as for `derive`

    Raises ValueError for fits of another model or parameters without information, NotCertified if the steps do not
    converge.  Derived in docs/physics/scale.md.
    """
    config = config or ScaleConfig()
    if fits.model != "morphing" or model.model != "morphing":
        raise ValueError(f"the fits are of the model '{fits.model}'; the one-step fit takes those of 'morphing'")
    bins, theta = _bins(fits, simulation, model, config)
    edges, n_eta = fits.histograms.eta_edges, bins.system.n_eta
    free = np.repeat(np.isin(NAMES, config.free), n_eta)
    precision = np.repeat([config.prior.get(name, np.inf) for name in NAMES], n_eta) ** -2.0
    labels = [name for name, is_free in zip(parameter_names(NAMES, edges), free, strict=True) if is_free]
    parameters, cov, chi2 = _minimise(bins, theta, free, precision, labels)
    if fits.histograms.abs_eta:
        edges, parameters, cov = unfold_abs_eta(edges, parameters, cov)
    A, e, M = parameters.reshape(3, -1)
    return ScaleTable(
        eta_edges=edges, A=A, e=e, M=M, cov=cov, chi2=chi2,
        ndf=bins.system.y.size + int(np.count_nonzero(precision[free])) - int(free.sum()),
        pt_range=(float(fits.histograms.pt_edges[0]), float(fits.histograms.pt_edges[-1])), resonance=fits.resonance,
        provenance=Provenance(
            configuration={"free": tuple(config.free), "prior": dict(config.prior), "one_step": True},
            ledgers={"scale": bins.ledger},
        ),
    )  # fmt: skip


def _bins(
    fits: MassFits, simulation: MassHistograms, model: BatchConfig, config: ScaleConfig
) -> tuple[_Bins, FloatArray]:
    system, ledger, _ = build_system(fits, None, min_events=config.min_events, smoothed=False)
    rows, histograms = system.rows, fits.histograms
    template = simulated_template(simulation, histograms).rows(rows)
    theta, counts = fits.values[rows].copy(), histograms.counts[rows]
    spectra = spectra_at(template, histograms.mass_edges, theta[:, LN_S].copy(), theta[:, VARIANCE].copy())
    signal = np.exp(theta[:, LN_N]) / (1.0 + np.exp(theta[:, LOGIT_F]))
    weight = 1.0 / (1.0 + signal / np.maximum(spectra.n_events, 1.0))
    rules = rules_of(model, counts, spectra.width)
    return _Bins(counts=counts, spectra=spectra, rules=rules, system=system, weight=weight, ledger=ledger), theta


@dataclass(frozen=True, slots=True)
class _Eliminated:
    """One Newton step of the bins' own parameters as a function of that of their scales.

    gradient  : (R,)     of -ln L by ln s, the others at their best
    curvature : (R,)     its information
    own       : (R, 4)   step of the bin's own parameters at fixed ln s
    by_scale  : (R, 4)   their change with ln s
    distance  : (R,)     what their own steps are worth, in units of -2 ln L
    """

    gradient: FloatArray
    curvature: FloatArray
    own: FloatArray
    by_scale: FloatArray
    distance: FloatArray


def _eliminate(bins: _Bins, theta: FloatArray, mu: FloatArray, slopes: FloatArray) -> _Eliminated:
    gradient, information = gradient_and_information(bins.counts, mu, slopes, theta, bins.rules)
    active = (bins.rules.free & ~pressed(theta, gradient, bins.rules.low, bins.rules.high))[:, NUISANCES]
    gradient, information = gradient * bins.weight[:, None], information * bins.weight[:, None, None]
    both = active[:, :, None] & active[:, None, :]
    inner = np.where(both, information[:, NUISANCES][:, :, NUISANCES], np.eye(len(NUISANCES)))
    scale = 1.0 / np.sqrt(np.einsum("rpp->rp", inner))
    scaled = inner * scale[:, :, None] * scale[:, None, :]
    right = np.where(
        active[:, :, None], np.stack([gradient[:, NUISANCES], information[:, NUISANCES, LN_S]], axis=2), 0.0
    )
    own, by_scale = np.moveaxis(-scale[:, :, None] * np.linalg.solve(scaled, scale[:, :, None] * right), 2, 0)
    return _Eliminated(
        gradient=gradient[:, LN_S] + np.sum(right[:, :, 1] * own, axis=1),
        curvature=information[:, LN_S, LN_S] + np.sum(right[:, :, 1] * by_scale, axis=1),
        own=own,
        by_scale=by_scale,
        distance=-np.sum(right[:, :, 0] * own, axis=1),
    )


def _minimise(
    bins: _Bins, theta: FloatArray, free: BoolArray, precision: FloatArray, labels: list[str]
) -> tuple[FloatArray, FloatArray, float]:
    """Parameters (3E,), their covariance, and twice the log-likelihood lost against a free scale in every bin."""
    system, columns = bins.system, bins.system.columns.reshape(-1, 6)
    best, slopes, _ = expectation(theta, bins.spectra)
    mu, parameters, cov = best, np.zeros(free.size), np.zeros((free.size, free.size))
    theta, mu, slopes = _at(bins, parameters, theta, np.zeros_like(theta[:, NUISANCES]))
    edm = np.inf
    for _ in range(MAX_STEPS):
        inner = _eliminate(bins, theta, mu, slopes)
        _, derivative = system.predict(parameters)
        x = 0.5 * derivative.reshape(-1, 6)
        matrix, moment = normal_equations(x, columns, inner.curvature, -inner.gradient / inner.curvature, free.size)
        matrix += np.diag(precision)
        moment -= precision * parameters
        move, inverse = solve_certified(matrix[np.ix_(free, free)], moment[free], labels)
        edm = float(moment[free] @ move + inner.distance.sum())
        if edm < TOLERANCE:
            cov[np.ix_(free, free)] = inverse
            lost = 2.0 * np.sum(bins.weight * likelihood_change(bins.counts, best, mu))
            return parameters, cov, float(lost + np.sum(precision * parameters**2))
        step = np.zeros(free.size)
        step[free] = move
        own = inner.own + inner.by_scale * (x * step[columns]).sum(axis=1)[:, None]
        parameters, theta, mu, slopes = _shortened(bins, precision, parameters, step, theta, own, mu)
    raise NotCertified(
        f"the one-step fit has an estimated distance {edm:.2g} to its minimum after {MAX_STEPS} steps, "
        f"required {TOLERANCE:.2g}",
        kind="scale.not_converged",
        do="look at the fits of the bins, or give more simulated events",
    )


def _shortened(
    bins: _Bins, precision: FloatArray, parameters: FloatArray, step: FloatArray, theta: FloatArray, own: FloatArray,
    mu: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:  # fmt: skip
    """Parameters, theta, expectation and derivatives after the longest of 1, 1/2, ... steps that does not lose."""
    length = 1.0
    while length > 1e-6:
        tried = parameters + length * step
        new, new_mu, new_slopes = _at(bins, tried, theta, length * own)
        if np.all(new_mu > 0):
            rules = bins.rules
            change = likelihood_change(bins.counts, mu, new_mu)
            change += 0.5 * np.sum(rules.precision * (new - theta) * (new + theta - 2.0 * rules.mean), axis=1)
            prior = 0.5 * np.sum(precision * (tried**2 - parameters**2))
            if np.sum(bins.weight * change) + prior <= TOLERANCE:
                return tried, new, new_mu, new_slopes
        length *= 0.5
    raise NotCertified("the one-step fit finds no better point along its step", kind="scale.not_converged")


def _at(
    bins: _Bins, parameters: FloatArray, theta: FloatArray, own: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """theta with the scales of the parameters and its own steps, inside the walls; expectation and derivatives."""
    new = theta.copy()
    new[:, NUISANCES] += own
    new[:, LN_S] = 0.5 * bins.system.predict(parameters)[0]
    new = np.clip(new, bins.rules.low, bins.rules.high)
    mu, slopes, _ = expectation(new, bins.spectra)
    return new, mu, slopes
