"""The Z mass of a run: a template fit of refitted pairs, at each stage of the calibration."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration import Calibration
from mucal.plot.closing import ClosingMass, ZMass
from mucal.report import TrackResults
from mucal.simulation import stream_muons
from mucal.units import MeV
from mucal.wmass import dilepton_mass
from mucal.wmass.dilepton_mass import SimulatedPairs
from mucal.workflow.closing_pairs import ClosingPairs
from mucal.workflow.progress import Event, Tell
from mucal.workflow.refitted_pairs import RefittedPairs
from mucal.workflow.tracks_config import Tracked

MARGIN: Final = 0.1
"""Of a momentum; corrections and smearing bring no muon from farther outside into the range of the fit."""


def with_z_mass(
    found: TrackResults | None, config: Tracked, closing: Sequence[ClosingPairs], calibration: Calibration, tell: Tell
) -> TrackResults | None:
    """With the fitted Z mass, if Z are among the closing resonances; a warning where they are too few for a fit."""
    number = next((i for i, pairs in enumerate(closing) if pairs.resonance == "z"), None)
    if found is None or number is None:
        return found
    there = carried_to_z(calibration)
    if there.pt_range != calibration.pt_range:
        tell(Event(stage="warning", text=_carried_text(calibration, there)))
    z = z_mass(config, number, closing[number], found.closing[number], there)
    if np.all(np.isfinite(z.shift)):
        return replace(found, z=z)
    tell(Event(stage="warning", text=f"no template fit of m_Z: too few pairs, {z.pairs} of data"))
    return found


def z_mass(config: Tracked, number: int, pairs: ClosingPairs, closed: ClosingMass, calibration: Calibration) -> ZMass:
    """Fitted with momenta of the assumed detector, with the global corrections, and with the calibration.

    number      : of the Z among the closing resonances
    closed      : what its mass fits found, for the error of the global corrections
    calibration : holds for the muons of the fit, as `carried_to_z` makes sure
    """
    simulated = SimulatedPairs(
        muons=pairs.simulation.dimuons(), n_pixel=pairs.simulation.n_pixel,
        boson_mass=generated_masses(config, number, pairs.simulation),
    )  # fmt: skip
    model, binning = dilepton_mass.pair_model(simulated, calibration, config.trigger_pt)
    before, after = pairs.before.dimuons(), pairs.after.dimuons()
    corrected = calibration.correct(after.pt, after.eta, after.phi, after.charge, outside="nan")
    stages = [(before, before.pt), (after, after.pt), (after, corrected)]
    counts = [dilepton_mass.pair_counts(binning, muons, pt) for muons, pt in stages]
    fits = [dilepton_mass.fit_z(model, n, nuisances=i == 2) for i, n in enumerate(counts)]
    of_corrections = closed.calibration_error[1] * closed.mass
    return ZMass(
        pairs=int(counts[-1].sum()), shift=np.array([one.value for one in fits]) / MeV,
        error=np.array([one.statistics for one in fits]) / MeV,
        calibration_error=np.array([0.0, of_corrections, fits[-1].calibration]) / MeV,
        groups={name: impact / MeV for name, impact in fits[-1].groups.items()},
    )  # fmt: skip


def carried_to_z(calibration: Calibration) -> Calibration:
    """As it is if its range has the muons of the fit in it; else with a range that has.

    One that was made for the momenta of J/psi alone is carried to those of Z: whether it may be is what the fit tells.
    """
    (low, high), (first, last) = calibration.pt_range, dilepton_mass.PT_RANGE
    return replace(calibration, pt_range=(min(low, (1.0 - MARGIN) * first), max(high, (1.0 + MARGIN) * last)))


def _carried_text(calibration: Calibration, there: Calibration) -> str:
    (low, high), (first, last) = calibration.pt_range, there.pt_range
    return (
        f"the calibration holds for muons of {low:g} to {high:g} GeV and refuses others; the fit of m_Z alone carries "
        f"it to {first:g} to {last:g} GeV; to apply it to muons of Z, set pt_range in [calibration]"
    )


def generated_masses(config: Tracked, number: int, pairs: RefittedPairs) -> FloatArray:
    """(C,) GeV of the simulated bosons before radiation: their events are generated once more, without hits."""
    sample = config.closing_sample(number, of_data=False)
    parts = list(stream_muons(sample.muons, sample.n))
    event, mass = (np.concatenate([getattr(part, name)[::2] for part in parts]) for name in ("event", "mass"))
    found: FloatArray = mass[np.searchsorted(event, pairs.event)]
    return found
