"""How far the mass peak is from where it should be, in bins of one muon's eta, before and after the correction.

The kinematic bins of the validating events are summed over all but one variable and fitted again.  Bins of the *lesser*
variables are safe: eta is not correlated with the momentum's fluctuation, pT would be.  After the correction the
expected spread has two parts, the fit of these events and the table's own covariance:
V = diag(fit) + X C X^T, X the response of ln s of a coarse bin to A, e and M.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import chdtrc

from mucal.arrays import FloatArray, IntArray
from mucal.massfit import BatchConfig, MassFits, MassHistograms, fit_bins
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, SUMS, regrouped
from mucal.plot.masses import MassShifts, ShiftPoints
from mucal.scale import ScaleTable, add_fitted_background
from mucal.track import MINUS, PLUS

Category = Callable[[MassHistograms], IntArray]

BY_MUON: Final[dict[str, tuple[str, Category]]] = {
    "eta_plus": (r"$\eta$ of $\mu^+$", lambda h: h.index[:, ETA_PLUS]),
    "eta_minus": (r"$\eta$ of $\mu^-$", lambda h: h.index[:, ETA_MINUS]),
}
BY_LARGER: Final[dict[str, tuple[str, Category]]] = {
    "max_abs_eta": (r"larger $|\eta|$ of the pair", lambda h: np.maximum(h.index[:, ETA_PLUS], h.index[:, ETA_MINUS])),
}


def mass_shifts(
    before: MassHistograms,
    after: MassHistograms,
    table: ScaleTable,
    config: BatchConfig,
    simulation: MassHistograms | None = None,
    *,
    add_background: bool = True,
    offset: float = 0.0,
) -> MassShifts:
    """Relative mass shifts against eta, of events that did not derive the table.

    before, after : mass histograms of the same events with and without the correction
    table         : what corrected them; its covariance enters the expected spread
    config        : of the mass fits
    simulation    : histograms of simulation: its shifts are subtracted
    add_background: put the background found in data under the peaks of simulation
    offset        : added to all shifts, for a reference mass that is not that of the fits
    """
    categories = BY_LARGER if before.abs_eta else BY_MUON
    parts = []
    for name, (variable, category) in categories.items():
        pair = (project(before, category), project(after, category))
        reference = None if simulation is None else project(simulation, category)
        found = [_shift(part, config, reference, add_background, offset) for part in pair]
        response = table_response(after, category, table)
        parts.append(_points(name, variable, before.eta_edges, found, response, table.cov))
    return MassShifts(series=tuple(parts))


def relative_shift(
    histograms: MassHistograms, category: Category, config: BatchConfig, simulation: MassHistograms | None
) -> tuple[FloatArray, FloatArray]:
    """(E,) ln(m / m_simulation) of each category, and its error; NaN where there is no good fit.

    simulation : None: ln(m / m_ref)
    """
    reference = None if simulation is None else project(simulation, category)
    return _shift(project(histograms, category), config, reference, add_background=False)


def whole(histograms: MassHistograms) -> IntArray:
    """The category of all bins together."""
    return np.zeros(histograms.n_bins, dtype=np.int64)


def _shift(
    histograms: MassHistograms, config: BatchConfig, simulation: MassHistograms | None, add_background: bool,
    offset: float = 0.0,
) -> tuple[FloatArray, FloatArray]:  # fmt: skip
    """(E,) ln s of each category and `offset`, less that of simulation, and its error; NaN without a good fit."""
    n = histograms.eta_edges.size - 1
    # one Gaussian cannot describe many pT bins at once; what it leaves moves data and simulation alike
    config = replace(config, min_p_value=0.0)
    fits = fit_bins(histograms, config)
    shift, error = _spread(fits, fits.value("ln_s") + offset, n), _spread(fits, fits.error("ln_s"), n)
    if simulation is None:
        return shift, error
    reference = fit_bins(add_fitted_background(simulation, fits) if add_background else simulation, config)
    shift = shift - _spread(reference, reference.value("ln_s"), n)
    return shift, np.hypot(error, _spread(reference, reference.error("ln_s"), n))


def _points(
    name: str,
    variable: str,
    edges: FloatArray,
    found: list[tuple[FloatArray, FloatArray]],
    response: FloatArray,
    table_covariance: FloatArray,
) -> ShiftPoints:
    """The points before and after, with the tests of flatness."""
    from_table = response @ table_covariance @ response.T
    (before, before_error), (after, after_error) = found
    chi2_before, ndf = _chi2(before, before_error, np.zeros_like(from_table))
    chi2_after, ndf_after = _chi2(after, after_error, from_table)
    return ShiftPoints(
        name=name, variable=variable, edges=edges, before=before, before_error=before_error, after=after,
        after_error=after_error, table_error=np.sqrt(np.diag(from_table)), chi2_before=chi2_before,
        chi2_after=chi2_after, ndf=ndf_after, p_before=float(chdtrc(max(ndf, 1), chi2_before)),
        p_after=float(chdtrc(max(ndf_after, 1), chi2_after)),
    )  # fmt: skip


def project(histograms: MassHistograms, category: Category) -> MassHistograms:
    """The kinematic bins summed into categories; the first index of each row is its category."""
    index = np.zeros((histograms.n_bins, 4), dtype=np.int64)
    index[:, 0] = category(histograms)
    return regrouped(histograms, index)


def _spread(fits: MassFits, values: FloatArray, n: int) -> FloatArray:
    """Values of the good rows in all n categories, NaN elsewhere."""
    full = np.full(n, np.nan)
    full[fits.histograms.index[fits.good, 0]] = values[fits.good]
    return full


def table_response(histograms: MassHistograms, category: Category, table: ScaleTable) -> FloatArray:
    """(E, 3B) change of ln s of each category with the table's parameters, averaged over its events.

    ln s = sum_i [w_i A - w_i k_i e + q_i w_i pT_i M] over the two muons.  Fits in |eta| act on both sides of the
    table alike, half on each.
    """
    n = histograms.eta_edges.size - 1
    labels = category(histograms)
    events = np.bincount(labels, weights=histograms.n_events, minlength=n)
    response = np.zeros((n, 3, table.n_bins))
    columns = SUMS.index("w"), SUMS.index("wk"), SUMS.index("wpt")
    for muon, axis, charge in ((PLUS, ETA_PLUS, 1.0), (MINUS, ETA_MINUS, -1.0)):
        for parameter, (column, sign) in enumerate(zip(columns, (1.0, -1.0, charge), strict=True)):
            weights = sign * histograms.sums[:, muon, column]
            for bins, share in _table_bins(histograms, axis, table):
                np.add.at(response[:, parameter], (labels, bins), share * weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        response = np.nan_to_num(response / events[:, None, None])
    return response.reshape(n, 3 * table.n_bins)


def _table_bins(histograms: MassHistograms, axis: int, table: ScaleTable) -> list[tuple[IntArray, float]]:
    """Bins of the table that the muons of each row fall into, with their share of the row."""
    edges = histograms.eta_edges
    centre = 0.5 * (edges[1:] + edges[:-1])[histograms.index[:, axis]]
    if not histograms.abs_eta:
        return [(table.bin_index(centre), 1.0)]
    return [(table.bin_index(centre), 0.5), (table.bin_index(-centre), 0.5)]


def _chi2(values: FloatArray, errors: FloatArray, table_covariance: FloatArray) -> tuple[float, int]:
    """chi2 of the hypothesis that all shifts are zero, and the number of shifts."""
    use = np.isfinite(values) & np.isfinite(errors)
    if not use.any():
        return 0.0, 0
    covariance = np.diag(errors[use] ** 2) + table_covariance[np.ix_(use, use)]
    return float(values[use] @ cho_solve(cho_factor(covariance), values[use])), int(use.sum())
