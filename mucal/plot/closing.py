"""Resonances that derived nothing: how far their masses are from simulation, and the scale they ask for in eta."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
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


def closure_figure(
    closing: Sequence[ClosingMass], probes: ProbeBias, *, stage: int = 1, momentum: float = 40.0
) -> Figure:
    """Charge-even and charge-odd closure against eta: what other resonances still ask for.

    Points are A, and M times the momentum, with statistical errors; the band is what the covariance of the global
    corrections allows at that momentum, the line what muons without noise show.

    stage    : index in `STAGES`
    momentum : GeV, the nearest of the probes
    """
    t = int(np.argmin(np.abs(probes.momenta - momentum)))
    pt = float(probes.momenta[t])
    with style():
        figure, axes = panels(2, 1, width=6.4, height=5.6, sharex=True)
        for axis, parity, name in ((axes[0], EVEN, "A"), (axes[1], ODD, "M")):
            band = PER_UNIT * np.sqrt(np.diag(probes.mean_cov[t, parity]))
            axis.stairs(
                band, probes.eta_edges, baseline=-band, fill=True, color=BAND, alpha=0.7, label=r"J/$\psi$ corrections",
            )  # fmt: skip
            axis.stairs(
                -PER_UNIT * probes.mean[t, parity], probes.eta_edges, baseline=None, color=BACKGROUND,
                label="muons without noise",
            )  # fmt: skip
            factor = PER_UNIT * (1.0 if name == "A" else pt)
            for i, found in enumerate(closing):
                _points(axis, found, stage, name, factor, i, len(closing))
            axis.axhline(0.0, color=BACKGROUND, linewidth=0.6)
            axis.margins(y=0.2)
        axes[0].set_ylabel(r"charge-even  $A$  [$10^{-5}$]")
        axes[1].set_ylabel(rf"charge-odd  $M \cdot {pt:g}$ GeV  [$10^{{-5}}$]")
        axes[1].set_xlabel(r"$\eta$")
        axes[1].set_xlim(probes.eta_edges[0], probes.eta_edges[-1])
        label(axes[0], STAGES[stage])
        axes[0].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.2, fontsize=8.5)
        figure.align_ylabels(axes)
    return figure


def _points(axis: object, found: ClosingMass, stage: int, name: str, factor: float, i: int, n: int) -> None:
    table = found.tables[stage]
    b = table.n_bins
    error = np.sqrt(np.diag(table.cov)).reshape(3, b)[0 if name == "A" else 2]
    known = error > 0
    if not known.any():
        return
    width = np.diff(table.eta_edges)
    centre = table.eta_edges[:-1] + width * (0.5 + 0.12 * (i - (n - 1) / 2))
    axis.errorbar(  # type: ignore[attr-defined]
        centre[known], factor * getattr(table, name)[known], factor * error[known], 0.38 * width[known],
        fmt=MARKERS[i % 4], color=COLOURS[i % 4], label=resonance(found.resonance).label, linewidth=1.0,
    )  # fmt: skip
