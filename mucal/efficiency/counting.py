"""Efficiencies by counting: for simulation matched to truth, and as a cross-check of the fits."""

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
