"""The equations that mass fits put on A, e and M: one per kinematic bin, six parameters in each."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.errors import NotCertified
from mucal.ledger import Ledger
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, PT_MINUS, PT_PLUS, matching_rows
from mucal.massfit.fits import MassFits
from mucal.massfit.status import Status
from mucal.scale.variance import smooth_variance

NAMES: Final = ("A", "e", "M")
TOO_LARGE: Final = "look at the mass fits: shifts of more than a few percent are not a calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleSystem:
    """Equations of the B bins that are used; E is the number of eta bins of the fits.

    rows     : (B,)        row of each equation in the data fits
    y        : (B,)        ln s^2 of data, less that of simulation if there is one
    variance : (B,)        of y
    weight   : (B, 2)      <2 w> of the muons PLUS, MINUS
    terms    : (B, 2, 3)   what multiplies A, e, M in each muon's relative curvature correction: 1, -<k>, q <pT>
    eta_bin  : (B, 2)      eta bin of each muon
    n_eta    :             E
    """

    rows: IntArray
    y: FloatArray
    variance: FloatArray
    weight: FloatArray
    terms: FloatArray
    eta_bin: IntArray
    n_eta: int

    @property
    def columns(self) -> IntArray:
        """(B, 2, 3) parameter number of each term, in the order A, e, M, each over all eta bins"""
        offsets = self.n_eta * np.arange(3)
        result: IntArray = self.eta_bin[:, :, None] + offsets
        return result

    def predict(self, parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        """y (B,) in product form, sum_i <2 w_i> ln(1 + A_i - e_i k_i + q_i M_i pT_i), and its derivatives (B, 2, 3).

        parameters : (3E,)

        Raises NotCertified where a correction factor is not positive.
        """
        factor = 1.0 + (self.terms * parameters[self.columns]).sum(axis=2)
        if not np.all(factor > 0):
            b = int(np.argmin(factor.min(axis=1)))
            raise NotCertified(
                f"equation {b} has the curvature factor {factor[b].min():.3g}; the shifts are too large",
                kind="scale.not_converged",
                do=TOO_LARGE,
            )
        y: FloatArray = (self.weight * np.log(factor)).sum(axis=1)
        return y, (self.weight / factor)[:, :, None] * self.terms


def scale_variance(fits: MassFits, rows: IntArray, smoothed: bool) -> FloatArray:
    """Variance of ln s in some rows of the fits, (len(rows),)."""
    variance = fits.error("ln_s")[rows] ** 2
    if not smoothed or rows.size == 0:
        return variance
    histograms = fits.histograms
    n_pt = histograms.pt_edges.size - 1
    index = histograms.index[rows]
    cells = index[:, [ETA_PLUS, ETA_MINUS]] * n_pt + index[:, [PT_PLUS, PT_MINUS]]
    return smooth_variance(variance, histograms.n_events[rows], cells, n_pt * (histograms.eta_edges.size - 1))


def build_system(
    data: MassFits, simulation: MassFits | None, *, min_events: float, smoothed: bool
) -> tuple[ScaleSystem, Ledger, float]:
    """The equations, the ledger of bins, and the fraction of events in bins whose fit failed."""
    place = None if simulation is None else matching_rows(data.histograms, simulation.histograms)
    reasons = _reasons(data, simulation, place, min_events)
    used = reasons == ""
    rows = np.flatnonzero(used)
    y = 2.0 * data.value("ln_s")[rows]
    variance = 4.0 * scale_variance(data, rows, smoothed)
    if simulation is not None and place is not None:
        # every good bin of the simulation shapes the smooth errors, also those that data do not fill
        good = np.flatnonzero(simulation.good & (simulation.error("ln_s") > 0))
        of_simulation = np.zeros(simulation.histograms.n_bins)
        of_simulation[good] = scale_variance(simulation, good, smoothed)
        y = y - 2.0 * simulation.value("ln_s")[place[rows]]
        variance = variance + 4.0 * of_simulation[place[rows]]
    histograms = data.histograms
    w = histograms.mean("w")[rows]
    charge = np.array([1.0, -1.0])
    terms = np.stack(
        [np.ones_like(w), -histograms.mean("wk")[rows] / w, charge * histograms.mean("wpt")[rows] / w], axis=2
    )
    system = ScaleSystem(
        rows=rows, y=y, variance=variance, weight=2.0 * w, terms=terms,
        eta_bin=histograms.index[rows][:, [ETA_PLUS, ETA_MINUS]], n_eta=histograms.eta_edges.size - 1,
    )  # fmt: skip
    rejected = Counter(str(reason) for reason in reasons[~used])
    ledger = Ledger(unit="bins", read=reasons.size, used=rows.size, rejected=rejected)
    return system, ledger, _lost(histograms.n_events, used, reasons)


TOO_FEW: Final = "too few events"
FIXED: Final = "scale fixed"
NO_SIMULATION: Final = "no simulated events"


def _reasons(
    data: MassFits, simulation: MassFits | None, place: IntArray | None, min_events: float
) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Why each bin is left out; "" where it is used."""
    reasons = _of_fits(data, "data")
    reasons[(reasons == "") & (data.histograms.n_events < min_events)] = TOO_FEW
    if simulation is not None and place is not None:
        theirs = np.where(place >= 0, _of_fits(simulation, "simulation")[place], NO_SIMULATION)
        reasons = np.where(reasons == "", theirs, reasons)
    return reasons


def _of_fits(fits: MassFits, sample: str) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    """Why the fit of each bin gives no equation; "" where it does.  A fixed scale has no variance to weigh it by."""
    reasons = np.array([_sentence(status, sample) for status in fits.status], dtype="<U64")
    reasons[fits.good & ~(fits.error("ln_s") > 0)] = FIXED if sample == "data" else f"{FIXED} in simulation"
    return reasons


def _sentence(status: int, sample: str) -> str:
    if status == Status.OK:
        return ""
    if status in (Status.EMPTY, Status.LOW_STATS):
        return TOO_FEW if sample == "data" else f"{TOO_FEW} in simulation"
    return f"{Status(int(status)).name.lower()} in {sample}"


def _lost(n_events: FloatArray, used: BoolArray, reasons: np.ndarray[tuple[int], np.dtype[np.str_]]) -> float:
    """Fraction of the events in bins that had events enough but no good fit."""
    few = np.char.startswith(reasons, TOO_FEW) | (reasons == NO_SIMULATION)
    tried = float(n_events[~few].sum())
    return 1.0 - float(n_events[used].sum()) / tried if tried > 0 else 0.0
