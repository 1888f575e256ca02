"""What a run found, as files people look for."""

from collections.abc import Mapping
from dataclasses import replace

from mucal.ledger import Ledger
from mucal.plot.closing import ClosingMasses
from mucal.plot.masses import ClosedMasses
from mucal.report import TrackResults, UncertaintyModel
from mucal.store import Result
from mucal.workflow.chain import Chain
from mucal.workflow.cross_checks import CrossChecked
from mucal.workflow.findings import Findings
from mucal.workflow.stages import TRACK_TABLES, UNCERTAINTIES, Folder


def save_tracks(found: TrackResults | None, folder: Folder) -> list[str]:
    """What the stages from hits found, as files people look for; returns names."""
    if found is None:
        return []
    made = (
        found.corrections, found.probes, found.reference, found.injected, ClosingMasses(masses=found.closing),
        found.w, found.z, found.modes, found.mode_bias, found.detector, found.models,
    )  # fmt: skip
    return _write(dict(zip(TRACK_TABLES, made, strict=True)), {}, folder)


def save(
    chain: Chain, checked: CrossChecked, found: Findings, model: UncertaintyModel | None, folder: Folder
) -> list[str]:
    """Write the results of the chain as files people look for; returns names."""
    results: dict[str, Result | None] = {
        "massfit.h5": chain.fits,
        "massfit_simulation.h5": chain.simulation,
        "scale.h5": chain.table,
        "scale_residuals.h5": chain.residuals,
        "shifts.h5": chain.shifts,
        "resolution.h5": found.resolution,
        "resolution_simulation.h5": found.resolution_mc,
        "recovery.h5": chain.recovery,
        "one_step.h5": checked.one_step,
        "scale_without_priors.h5": checked.unheld,
        "angles.h5": checked.angles,
        "closing_files.h5": ClosedMasses(shifts=found.closing) if found.closing else None,
        UNCERTAINTIES: model,
    }
    for i, spectrum in enumerate(chain.spectra.values()):
        results |= {f"spectra/{i}_{when}.h5": getattr(spectrum, when) for when in ("before", "after", "simulation")}
    return _write(results, {**chain.before.provenance.ledgers, **chain.simulation_ledgers}, folder)


def _write(results: Mapping[str, Result | None], read: Mapping[str, Ledger], folder: Folder) -> list[str]:
    """Write those results that there are, with the ledgers of what was read before their own; returns names."""
    there = {name: result for name, result in results.items() if result is not None}
    for name, result in there.items():
        own = replace(folder.base, ledgers={**read, **result.provenance.ledgers})
        result.with_provenance(own).save(folder.path / name, overwrite=True)
    return list(there)
