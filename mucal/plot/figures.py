"""The usual figure of a result, by its type: what `result.plot()` draws."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from matplotlib.figure import Figure

from mucal.efficiency import Efficiencies
from mucal.globalcor import BiasMap, GlobalCorrections, ProbeBias, WeakModes
from mucal.likelihood import Contour, FitResult
from mucal.massfit import MassFits, SpectrumFit
from mucal.plot.efficiency import efficiency_map_figure
from mucal.plot.globalcor import bias_figure, error_figure, probe_figure, spectrum_figure
from mucal.plot.likelihood import correlations, most_correlated
from mucal.plot.likelihood_scans import contour_figure
from mucal.plot.masses import MassShifts, quality_figure, shift_figure
from mucal.plot.recoil import recoil_figure
from mucal.plot.refit import chi2_figure
from mucal.plot.resolution import resolution_figure
from mucal.plot.scale import scale_figure, whitened_figure
from mucal.plot.spectrum import spectrum
from mucal.refit import TrackFits
from mucal.scale import ResolutionTable, ScaleTable
from mucal.scale.recovery import Recovery
from mucal.store import Result
from mucal.templates.recoil import RecoilCalibration

MOMENTA: Final = (5.0, 15.0, 40.0)
"""GeV, at which a resolution is drawn."""

FIGURES: Final[Mapping[type[Result], Callable[[Any], Figure]]] = {
    TrackFits: chi2_figure,
    GlobalCorrections: error_figure,
    ProbeBias: probe_figure,
    WeakModes: spectrum_figure,
    BiasMap: bias_figure,
    MassFits: quality_figure,
    SpectrumFit: spectrum,
    ScaleTable: lambda table: scale_figure({table.resonance or "scale": table}),
    ResolutionTable: lambda table: resolution_figure({"resolution": table}, MOMENTA),
    MassShifts: shift_figure,
    Recovery: lambda found: whitened_figure(found.whitened),
    Efficiencies: efficiency_map_figure,
    RecoilCalibration: recoil_figure,
    FitResult: lambda fit: correlations(fit, most_correlated(fit, 20)),
    Contour: contour_figure,
}


def figure_of(result: Result) -> Figure:
    """The figure of a result; `mucal.plot` has others, with more arguments.

    Raises TypeError for a type that has none.
    """
    draw = FIGURES.get(type(result))
    if draw is None:
        known = ", ".join(sorted(kind.__name__ for kind in FIGURES))
        raise TypeError(f"a {type(result).__name__} has no figure of its own; these have: {known}")
    return draw(result)
