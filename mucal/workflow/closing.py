"""Masses of the closing resonances against their simulation, before and after the calibration."""

from dataclasses import dataclass, replace

import numpy as np

from mucal.errors import NotCertified
from mucal.massfit import BatchConfig, MassFits, MassHistograms, fit_bins
from mucal.plot.closing import ClosingMass
from mucal.scale import ScaleTable, derive
from mucal.theory import resonance
from mucal.workflow.closing_pairs import ClosingPairs
from mucal.workflow.passes import collect
from mucal.workflow.progress import Event, Tell
from mucal.workflow.refitted_pairs import RefittedPairs, RefittedSource
from mucal.workflow.shifts import relative_shift, table_response, whole
from mucal.workflow.tracks_config import ClosingSample


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedResonance:
    """One closing resonance after the calibration.

    sample           : how it was made and fitted
    mass             : at each stage
    data, simulation : mass fits in bins, of momenta with the whole calibration and of simulation
    """

    sample: ClosingSample
    mass: ClosingMass
    data: MassFits
    simulation: MassFits


def close_masses(sample: ClosingSample, pairs: ClosingPairs, table: ScaleTable, tell: Tell) -> ClosedResonance:
    """One resonance with momenta of the assumed detector, with the global corrections, and with the table as well.

    table : the scale table of the calibrating resonance, applied to its global corrections

    The error of the calibration with the table is that of both added in squares: they share the masses that derived
    them, so it is at most 1.4 times too large.
    """
    simulation = _filled(sample, pairs.simulation, None, tell)
    samples = [
        _filled(sample, pairs.before, None, tell), _filled(sample, pairs.after, None, tell),
        _filled(sample, pairs.after, table, tell),
    ]  # fmt: skip
    shifts = [_whole_shift(part, sample.fits, simulation) for part in samples]
    of_simulation = fit_bins(simulation, sample.fits)
    fits = [fit_bins(part, sample.fits) for part in samples]
    response = table_response(samples[2], whole, table)[0]
    of_table = float(np.sqrt(response @ table.cov @ response))
    mass = ClosingMass(
        resonance=sample.resonance, pairs=int(samples[0].counts.sum()), mass=resonance(sample.resonance).mass,
        shift=np.array([shift for shift, _ in shifts]), error=np.array([error for _, error in shifts]),
        calibration_error=np.array([0.0, pairs.mass.error, np.hypot(pairs.mass.error, of_table)]),
        tables=tuple(_table(sample, part, of_simulation, tell) for part in fits),
    )  # fmt: skip
    return ClosedResonance(sample=sample, mass=mass, data=fits[-1], simulation=of_simulation)


def _table(sample: ClosingSample, data: MassFits, simulation: MassFits, tell: Tell) -> ScaleTable:
    """The scale that masses ask for; without errors, which says that it is not known, if they do not give it."""
    try:
        return derive(data, simulation, sample.scale)
    except (NotCertified, ValueError) as error:
        tell(Event(stage="warning", text=f"{sample.resonance} in bins of eta: {error.args[0]}"))
        edges = sample.bins.binning().eta_edges
        zeros = np.zeros(edges.size - 1)
        n = 3 * zeros.size
        return ScaleTable(eta_edges=edges, A=zeros, e=zeros, M=zeros, cov=np.zeros((n, n)), resonance=sample.resonance)


def _filled(sample: ClosingSample, pairs: RefittedPairs, table: ScaleTable | None, tell: Tell) -> MassHistograms:
    """Mass histograms of all pairs; momenta of any size are corrected."""
    return collect(
        RefittedSource(pairs), sample.bins.binning(), table=table, tell=tell, stage=f"closing {sample.resonance}"
    ).derive


def _whole_shift(part: MassHistograms, config: BatchConfig, simulation: MassHistograms) -> tuple[float, float]:
    """ln(m / m_simulation) of all bins together and its statistical error; NaN where a fit fails."""
    shift, error = relative_shift(part, whole, replace(config, min_events=1), simulation)
    return float(shift[0]), float(error[0])
