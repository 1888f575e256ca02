"""What a run looks at besides, if ``[cross_checks]`` asks for it; nothing of the calibration depends on it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mucal.errors import NotCertified
from mucal.massfit import Binning, MassFits, fit_bins
from mucal.scale import (
    AngularBiases,
    ResolutionTable,
    ScaleTable,
    derive_at_once,
    fill_by_side,
    watch_angles,
)
from mucal.scale.angles import AngularHistograms
from mucal.track import Dimuons
from mucal.workflow.chain import Chain, added, reading_of, solve
from mucal.workflow.config import Analysis
from mucal.workflow.mass_fits import generated_mass, reference_mass
from mucal.workflow.passes import Source, corrected, smeared
from mucal.workflow.progress import Event, Tell
from mucal.workflow.simulated_fits import beside
from mucal.workflow.simulated_spectra import (
    fit_spectra,
    require_simulation,
    simulated_spectra,
    with_formula,
    with_spectra,
)
from mucal.workflow.stages import Folder


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossChecked:
    """What was found; None where it was not asked for, or could not be found.

    one_step : the scale table of one likelihood, all passes together
    unheld   : the scale table without its priors; None also where it has none
    angles   : biases of directions that corrected pairs ask for
    notes    : why one of them is missing
    """

    one_step: ScaleTable | None
    unheld: ScaleTable | None
    angles: AngularBiases | None
    notes: tuple[str, ...]


def cross_check(
    analysis: Analysis, folder: Folder, chain: Chain, data: Source, simulation: Source | None, tell: Tell
) -> CrossChecked:
    """The cross-checks that an analysis asks for, and the table without priors where it has some.

    Raises ConfigError for a one-step fit without simulation.
    """
    asked, notes = analysis.cross_checks, []
    one_step, unheld, angles = None, None, None
    if analysis.scale.prior:
        try:
            unheld = table_without_priors(analysis, chain)
        except NotCertified as error:
            notes.append(f"no table without priors: {error.what}")
    if asked.one_step:
        source = require_simulation(analysis, simulation, "cross_checks.one_step")
        try:
            one_step = table_at_once(analysis, folder, chain, data, source, tell)
        except (NotCertified, ValueError) as error:
            notes.append(f"no table of the one-step fit: {error.args[0]}")
    if asked.angles:
        try:
            angles = angles_of(analysis, chain, data, simulation, tell)
        except (NotCertified, ValueError) as error:
            notes.append(f"directions were not watched: {error.args[0]}")
    return CrossChecked(one_step=one_step, unheld=unheld, angles=angles, notes=tuple(notes))


def table_without_priors(analysis: Analysis, chain: Chain) -> ScaleTable:
    """The last step of the table once more with no prior on it, on top of the same start: what the masses alone say.

    Raises NotCertified if they do not determine every parameter.
    """
    free = replace(analysis.scale, prior={})
    return added(chain.start, solve(chain.fits, chain.simulation, free))


def table_at_once(
    analysis: Analysis, folder: Folder, chain: Chain, data: Source, simulation: Source, tell: Tell
) -> ScaleTable:
    """The last step of the table once more, of the same histograms in one likelihood, on top of the same start."""
    reading = reading_of(analysis, folder, data, simulation)
    spectra = simulated_spectra(analysis, folder, simulation, chain.smearing, reading, tell)
    fits, merged = fit_spectra(analysis, chain.fits.histograms, spectra, chain.merging, tell)
    step = derive_at_once(fits, merged, with_spectra(analysis).massfit, analysis.scale)
    found = added(chain.start, step)
    tell(Event(stage="one step", text=f"chi2 = {found.chi2:.1f} for {found.ndf} degrees of freedom"))
    return found


def angles_of(analysis: Analysis, chain: Chain, data: Source, simulation: Source | None, tell: Tell) -> AngularBiases:
    """Biases of directions in all pairs, corrected with the table; those of simulation, as wide as data, subtracted."""
    binning = analysis.bins.binning()
    of_data = _by_side((corrected(pairs, chain.table) for pairs in data), binning)
    model, mass = with_formula(analysis).massfit, reference_mass(analysis)
    fits = [fit_bins(side.histograms, model).relative_to(*mass) for side in of_data]
    references: list[MassFits | None] = [None, None]
    if simulation is not None:
        sides = _by_side((_widened(pairs, chain.smearing) for pairs in simulation), binning)
        references = [
            fit_bins(beside(side.histograms, fit, analysis), model).relative_to(generated_mass(analysis))
            for side, fit in zip(sides, fits, strict=True)
        ]
    slopes = [side.slopes for side in of_data]
    found = watch_angles(list(zip(fits, references, slopes, strict=True)), min_events=analysis.scale.min_events)
    for line in found.summary():
        tell(Event(stage="angles", text=line))
    return found


def _by_side(chunks: Iterable[Dimuons], binning: Binning) -> tuple[AngularHistograms, AngularHistograms]:
    """Histograms of the pairs of either sign of phi+ - phi-, chunks added."""
    above, below = fill_by_side(Dimuons.concatenate([]), binning)
    for pairs in chunks:
        more = fill_by_side(pairs, binning)
        above, below = above + more[0], below + more[1]
    return above, below


def _widened(pairs: Dimuons, smearing: ResolutionTable | None) -> Dimuons:
    return pairs if smearing is None else smeared(pairs, smearing)
