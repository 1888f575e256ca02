"""Resonances that derived nothing: how far their masses are from simulation, and the scale they ask for in eta."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mucal.arrays import FloatArray, check_shapes
from mucal.globalcor import EVEN, ODD, ProbeBias
from mucal.plot.style import AFTER, BACKGROUND, BAND, BEFORE, TRUTH, label, panels, style
from mucal.scale import ScaleTable
from mucal.store import Result
from mucal.theory import resonance

STAGES: Final = ("assumed detector", "global corrections", "scale table")
"""With which momenta: refitted on the assumed detector, with the global corrections, with the scale table as well."""

COLOURS: Final = (AFTER, BEFORE, "#964a8b", TRUTH)
MARKERS: Final = ("o", "s", "^", "D")
PER_UNIT: Final = 1e5
MOMENTUM: Final = 40.0
"""GeV, of a muon of W or Z: where closures are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MassAtStages(Result):
    """A mass less that of simulation, at each of `STAGES`.

    shift             : (3,)
    error             : (3,)  statistical, of both samples
    calibration_error : (3,)  of the calibration so far
    """

    shift: FloatArray
    error: FloatArray
    calibration_error: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, **dict.fromkeys(("shift", "error", "calibration_error"), (len(STAGES),)))

    @property
    def total_error(self) -> FloatArray:
        """(3,) statistical and of the calibration"""
        both: FloatArray = np.hypot(self.error, self.calibration_error)
        return both


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingMass(MassAtStages):
    """One resonance by mass fits: shifts and errors are those of ln(m / m_simulation).

    resonance :
    pairs     :      of data, fitted
    mass      : GeV  the reference
    tables    : 3    the scale that these masses alone ask for in bins of eta
    """

    resonance: str
    pairs: int
    mass: float
    tables: tuple[ScaleTable, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingMasses(Result):
    """All closing resonances of a run."""

    masses: tuple[ClosingMass, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WShift(Result):
    """Fitted W mass less the injected one, at each of `STAGES`.

    Rows are both charges together, and plus less minus.

    muons             :
    shift             : (2, 3) MeV
    error             : (2, 3) MeV  from the scatter of the muons, the same in template and data
    calibration_error : (2, 3) MeV  of the calibration so far
    """

    muons: int
    shift: FloatArray
    error: FloatArray
    calibration_error: FloatArray

    @property
    def total_error(self) -> FloatArray:
        """(2, 3) MeV"""
        both: FloatArray = np.hypot(self.error, self.calibration_error)
        return both


@dataclass(frozen=True, slots=True, kw_only=True)
class ZMass(MassAtStages):
    """Z mass of a template fit of pairs, MeV; the last error of the calibration is that of its nuisances in the fit.

    pairs  : of data, counted with the whole calibration
    groups : of nuisances -> MeV, their impact with it
    """

    pairs: int
    groups: dict[str, float]


def closure_figure(closing: Sequence[ClosingMass], probes: ProbeBias, *, momentum: float = MOMENTUM) -> Figure:
    """Charge-even and charge-odd closure against eta with the global corrections: what other resonances still ask for.

    Points are A, and M times the momentum, with statistical errors; the band is what the covariance of the global
    corrections allows at that momentum, the line what muons without noise ask for.

    momentum : GeV, the nearest of the probes
    """
    t = int(np.argmin(np.abs(probes.momenta - momentum)))
    band = np.sqrt(np.diagonal(probes.mean_cov[t], axis1=1, axis2=2))
    return _closure_panels(
        closing, 1, float(probes.momenta[t]), probes.eta_edges, {r"J/$\psi$ corrections": band}, -probes.mean[t]
    )


def table_closure_figure(
    closing: Sequence[ClosingMass], table: ScaleTable, factor: float = 1.0, asked: ScaleTable | None = None, *,
    momentum: float = MOMENTUM,
) -> Figure:  # fmt: skip
    """The same with the scale table as well; the band is the statistical error of A - e/pT and of M pT of the table.

    Band and line are means over the bins of the first resonance, of the part that the table covers.

    closing  : one or more
    table    : applied to the momenta
    factor   : on the errors of the table, of a second band
    asked    : what muons without noise ask for before the table, in its bins; the line is what the table leaves of it
    momentum : GeV
    """
    edges = closing[0].tables[-1].eta_edges
    rows = _effects(edges, table.eta_edges, momentum)
    error = np.sqrt(np.einsum("pei,ij,pej->pe", rows, table.cov, rows))
    name = f"{resonance(table.resonance).label} table"
    bands = {name: error} if factor == 1.0 else {rf"{name} $\times$ {factor:.3g}": factor * error, name: error}
    line = None if asked is None else rows @ (asked.parameters - table.parameters)
    return _closure_panels(closing, 2, momentum, edges, bands, line)


def _effects(edges: FloatArray, table_edges: FloatArray, pt: float) -> FloatArray:
    """(2, E, 3B) d (A - e/pT) and d (M pT), means over E bins, by the parameters of a table; NaN outside the table."""
    low = np.maximum(edges[:-1, None], table_edges[None, :-1])
    high = np.minimum(edges[1:, None], table_edges[None, 1:])
    share = np.clip(high - low, 0.0, None)
    covered = share.sum(axis=1, keepdims=True)
    share = np.divide(share, covered, out=np.full_like(share, np.nan), where=covered > 0)
    zero = np.zeros_like(share)
    return np.stack([np.hstack([share, -share / pt, zero]), np.hstack([zero, zero, share * pt])])


def _closure_panels(
    closing: Sequence[ClosingMass], stage: int, pt: float, edges: FloatArray, bands: Mapping[str, FloatArray],
    line: FloatArray | None,
) -> Figure:  # fmt: skip
    """Charge-even points above charge-odd ones.

    stage : index in `STAGES`
    pt    : GeV, of M pT
    edges : (E+1,)
    bands : legend -> (2, E) half its width, even and odd; the widest first
    line  : (2, E) what muons without noise ask for
    """
    with style():
        figure, axes = panels(2, 1, width=6.4, height=5.6, sharex=True)
        for axis, parity, name in ((axes[0], EVEN, "A"), (axes[1], ODD, "M")):
            for i, (legend, band) in enumerate(bands.items(), 1 - len(bands)):
                axis.stairs(
                    PER_UNIT * band[parity], edges, baseline=-PER_UNIT * band[parity], fill=True, color=BAND,
                    alpha=0.7 if i == 0 else 0.35, label=legend,
                )  # fmt: skip
            if line is not None:
                axis.stairs(
                    PER_UNIT * line[parity], edges, baseline=None, color=BACKGROUND, label="muons without noise"
                )
            factor = PER_UNIT * (1.0 if name == "A" else pt)
            for i, found in enumerate(closing):
                _points(axis, found, stage, name, factor, i, len(closing))
            axis.axhline(0.0, color=BACKGROUND, linewidth=0.6)
            axis.margins(y=0.1)
        axes[0].set_ylabel(r"charge-even  $A$  [$10^{-5}$]")
        axes[1].set_ylabel(rf"charge-odd  $M \cdot {pt:g}$ GeV  [$10^{{-5}}$]")
        axes[1].set_xlabel(r"$\eta$")
        axes[1].set_xlim(edges[0], edges[-1])
        label(axes[0], STAGES[stage])
        axes[0].legend(
            loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=5, borderaxespad=0.2, columnspacing=1.2, fontsize=8.5
        )
        figure.align_ylabels(axes)
    return figure


def _points(axis: Axes, found: ClosingMass, stage: int, name: str, factor: float, i: int, n: int) -> None:
    """Points of one resonance, moved by a share of their bins; the bars still span these."""
    table = found.tables[stage]
    error = np.sqrt(np.diag(table.cov)).reshape(3, -1)["AeM".index(name)]
    known = error > 0
    if not known.any():
        return
    low, high = table.eta_edges[:-1][known], table.eta_edges[1:][known]
    at = 0.5 * (low + high) + 0.12 * (i - (n - 1) / 2) * (high - low)
    axis.errorbar(
        at, factor * getattr(table, name)[known], factor * error[known], np.stack([at - low, high - at]),
        fmt=MARKERS[i % 4], color=COLOURS[i % 4], label=resonance(found.resonance).label, linewidth=1.0,
    )  # fmt: skip
