"""Efficiencies by counting: for simulation matched to truth, and as a cross-check of the fits."""

from dataclasses import replace

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.efficiency.fits import Efficiencies
from mucal.efficiency.histograms import ProbeHistograms
from mucal.efficiency.status import Status

PARAMETERS = ("eff", "ln_n")


def count_efficiencies(histograms: ProbeHistograms, *, min_probes: float = 1.0) -> Efficiencies:
    """eff = W_pass / W of signal probes without background, in the whole window.

    With weights, var = [(1 - eff)^2 sum w^2_pass + eff^2 sum w^2_fail] / W^2.  A bin below `min_probes` effective
    probes, W^2 / sum w^2, is LOW_STATS; an efficiency of 0 or 1 is AT_BOUNDARY and has no error; one outside [0, 1],
    which negative weights can give, is OUTSIDE.
    """
    passing, failing = histograms.counts.sum(axis=2).T
    variance = histograms.sumw2.sum(axis=2).T
    return _counted(histograms, passing, failing, variance[0], variance[1], min_probes)


def subtract_sidebands(
    histograms: ProbeHistograms, core: tuple[float, float] = (81.0, 101.0), *, min_probes: float = 50.0
) -> Efficiencies:
    """Cut and count: probes of the core less a straight line through the events on either side of it.

    core : GeV, edges of mass bins

    The background below the core is the mean density of the two sides times its width, which is exact for a straight
    line when both sides are equally far away.  Signal that lies outside the core counts as background (a few percent
    of it): a cross-check, not a measurement.

    Raises ValueError if the core has no bins on both sides.
    """
    middle = 0.5 * (histograms.mass_edges[1:] + histograms.mass_edges[:-1])
    inside = (middle > core[0]) & (middle < core[1])
    sides: list[BoolArray] = [middle < core[0], middle > core[1]]
    if not (inside.any() and sides[0].any() and sides[1].any()):
        raise ValueError(f"core {core} leaves no mass bins inside or on both sides of it")
    weight = np.where(inside, 1.0, 0.0)
    for side in sides:
        weight[side] = -0.5 * inside.sum() / side.sum()
    signal, variance = histograms.counts @ weight, histograms.sumw2 @ weight**2
    return _counted(histograms, signal[:, 0], signal[:, 1], variance[:, 0], variance[:, 1], min_probes)


def given_efficiencies(
    step: str, eta_edges: FloatArray, pt_edges: FloatArray, eff: FloatArray, error: FloatArray
) -> Efficiencies:
    """Efficiencies of another tool, to be smoothed here; one of them outside [0, 1], or without an error, is OUTSIDE.

    eff, error : (E, T) or (E, T, 2), with charges -1, +1

    The number of probes is what the error would be binomial of.  Raises ValueError if the shapes do not fit the edges.
    """
    by_charge = np.ndim(eff) == 3
    shape = (eta_edges.size - 1, pt_edges.size - 1, 1 + by_charge, 1)
    if np.shape(eff) != np.shape(error) or np.shape(eff) not in (shape[:2], shape[:3]):
        raise ValueError(f"eff and error have shapes {np.shape(eff)}, {np.shape(error)}; the edges give {shape[:3]}")
    value, sigma = np.asarray(eff, dtype=float).reshape(-1), np.asarray(error, dtype=float).reshape(-1)
    good = (value >= 0) & (value <= 1) & (sigma > 0) & np.isfinite(sigma)
    inner = np.clip(np.where(good, value, 0.5), 1e-6, 1.0 - 1e-6)
    n = np.where(good, inner * (1.0 - inner) / np.where(good, sigma, 1.0) ** 2, 0.0)
    counts = np.stack([inner * n, (1.0 - inner) * n], axis=1)[:, :, None]
    pt = np.broadcast_to(0.5 * (pt_edges[1:] + pt_edges[:-1])[None, :, None, None], shape).reshape(-1)
    histograms = ProbeHistograms(
        step=step, eta_edges=eta_edges, pt_edges=pt_edges, ut_edges=np.array([-np.inf, np.inf]),
        mass_edges=np.array([60.0, 120.0]), by_charge=by_charge, counts=counts, sumw2=counts, pt_sum=n * pt,
    )  # fmt: skip
    found = _counted(histograms, counts[:, 0, 0], counts[:, 1, 0], counts[:, 0, 0], counts[:, 1, 0], 0.0)
    return replace(found, method="given", status=np.where(good, found.status, int(Status.OUTSIDE)))


def _counted(
    histograms: ProbeHistograms, passing: FloatArray, failing: FloatArray, var_pass: FloatArray, var_fail: FloatArray,
    min_probes: float,
) -> Efficiencies:  # fmt: skip
    b = histograms.n_bins
    total = passing + failing
    variance = var_pass + var_fail
    status = np.full(b, int(Status.OK))
    with np.errstate(divide="ignore", invalid="ignore"):
        eff = passing / total
        n_effective = np.where(variance > 0, total**2 / variance, 0.0)
        error2 = ((1 - eff) ** 2 * var_pass + eff**2 * var_fail) / total**2
    status[~((eff >= 0) & (eff <= 1))] = Status.OUTSIDE
    status[(eff == 0) | (eff == 1)] = Status.AT_BOUNDARY
    status[n_effective < min_probes] = Status.LOW_STATS
    status[~(variance > 0)] = Status.EMPTY
    status[~np.isfinite(total)] = Status.NON_FINITE
    values, cov = np.full((b, 2), np.nan), np.full((b, 2, 2), np.nan)
    usable = np.isin(status, (Status.OK, Status.AT_BOUNDARY))
    values[usable, 0], values[usable, 1] = eff[usable], np.log(total[usable])
    cov[usable] = 0.0
    cov[usable, 0, 0] = np.where(error2[usable] > 0, error2[usable], np.nan)
    cov[usable, 1, 1] = variance[usable] / total[usable] ** 2
    nothing = np.full(b, np.nan)
    no_steps: IntArray = np.zeros(b, np.int64)
    return Efficiencies(
        provenance=histograms.provenance, method="count", parameters=PARAMETERS, histograms=histograms, values=values,
        cov=cov, interval=np.full((b, 2), np.nan), fitted=np.full(histograms.counts.shape, np.nan), deviance=nothing,
        ndf=np.zeros(b), p_value=nothing, edm=nothing, n_steps=no_steps, status=status,
    )  # fmt: skip
