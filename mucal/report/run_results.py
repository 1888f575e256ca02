"""What a page is made from: the results of a finished run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mucal.globalcor import BiasMap, GlobalCorrections, InjectedParameters, ProbeBias, WeakModes
from mucal.massfit import MassFits, SpectrumFit
from mucal.plot.closing import ClosingMass, WShift, ZMass
from mucal.plot.masses import ClosingShifts, MassShifts
from mucal.refit import MassReference
from mucal.report.scale_models import ScaleModels
from mucal.report.uncertainty_section import UncertaintyModel
from mucal.scale import AngularBiases, ResolutionTable, ScaleResiduals, ScaleTable
from mucal.scale.detector_modes import DetectorModes
from mucal.scale.recovery import Recovery
from mucal.store import Provenance
from mucal.theory import RESONANCES

VARIABLES: Final = {"eta_plus": "η of μ⁺", "eta_minus": "η of μ⁻", "max_abs_eta": "max |η|"}
LETTERS: Final = {r"$\psi$": "ψ", r"$\Upsilon$": "Υ"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumFits:
    """Fits of one spectrum with one model.

    before, after : events that did not derive the calibration, without and with it
    simulation    : None where there is none
    """

    before: SpectrumFit
    after: SpectrumFit
    simulation: SpectrumFit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackResults:
    """What a run from hits found before its mass fits.

    corrections : of the last refit
    probes      : bias of momenta before and after them
    reference   : the mass that the constraint assumed
    injected    : what a perfect solve would find
    closing     : resonances that took no part
    w           : what the muons of W show, if there are any
    z           : the mass of a template fit of pairs, if a calibration was released and there are Z
    modes       : the softest modes of the sums, if they were looked for
    mode_bias   : what they do to momenta
    detector    : the covariance of the corrections as modes of the scale
    models      : the errors of the scale by them and by its statistics, of its release
    """

    corrections: GlobalCorrections
    probes: ProbeBias
    reference: MassReference
    injected: InjectedParameters
    closing: tuple[ClosingMass, ...] = ()
    w: WShift | None = None
    z: ZMass | None = None
    modes: WeakModes | None = None
    mode_bias: BiasMap | None = None
    detector: DetectorModes | None = None
    models: ScaleModels | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """A finished run.

    title, status, reason : how it ended
    notes                 : what a reader should know
    fits, simulation      : mass fits of the last pass and of simulation
    table, residuals      : the scale table, and its linear system
    resolution, resolution_mc, recovery : where there are any
    shifts                : of events that did not derive the table
    spectra               : name -> its fits
    tracks                : of a run from hits
    uncertainties         : of its release, if there is one
    one_step, angles      : cross-checks, if they were asked for
    unheld                : the scale table without its priors, if it has some
    closing               : of resonances in files that took no part
    provenance            : configuration, seed, inputs, and the ledgers of all stages
    """

    title: str
    status: str
    reason: str
    notes: tuple[str, ...]
    fits: MassFits
    simulation: MassFits | None
    table: ScaleTable
    residuals: ScaleResiduals
    resolution: ResolutionTable | None
    resolution_mc: ResolutionTable | None
    shifts: MassShifts
    recovery: Recovery | None
    spectra: Mapping[str, SpectrumFits]
    provenance: Provenance
    tracks: TrackResults | None = None
    uncertainties: UncertaintyModel | None = None
    one_step: ScaleTable | None = None
    angles: AngularBiases | None = None
    unheld: ScaleTable | None = None
    closing: tuple[ClosingShifts, ...] = ()

    @property
    def beside_simulation(self) -> bool:
        """Whether mass shifts are relative to simulation: subtracted, or the signal of the fits."""
        return self.simulation is not None or self.fits.model == "morphing"

    @property
    def table_factor(self) -> float:
        """On the errors of the table in the release; 1 without one."""
        return 1.0 if self.uncertainties is None else self.uncertainties.factor(f"{self.table.resonance}_stat")


def events_shown(run: RunResults) -> str:
    """Which events the shifts are of."""
    general = run.provenance.configuration.get("analysis", {})
    everything = isinstance(general, Mapping) and general.get("derive_fraction") == 1.0
    return "the same events that derived the table" if everything else "events not used to derive"


def variable_name(name: str) -> str:
    """A variable of the mass shifts as a physicist writes it; one without such a name as it is."""
    return VARIABLES.get(name, name.replace("_", " "))


def resonance_name(name: str) -> str:
    """A resonance as a physicist writes it, in plain letters: "jpsi" -> "J/ψ"."""
    if name not in RESONANCES:
        return name
    text = RESONANCES[name].label
    for tex, letter in LETTERS.items():
        text = text.replace(tex, letter)
    return text


def p_text(p: float) -> str:
    """A probability in a sentence."""
    return f"p {probability(p)}" if p < 1e-20 else f"p = {probability(p)}"


def probability(p: float) -> str:
    """A probability in two digits; what is not worth telling from zero is a bound."""
    return "< 1e-20" if p < 1e-20 else f"{p:.2f}" if p >= 0.01 else f"{p:.2g}"
