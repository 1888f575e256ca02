"""What stands beside a calibration in its release: put there by a run, kept or added to by an export."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from mucal.arrays import BoolArray
from mucal.calibration import load
from mucal.calibration.manifest import MANIFEST
from mucal.calibration.response_map import ResponseMap
from mucal.efficiency import EfficiencyModel, ScaleFactors
from mucal.errors import InputError
from mucal.io.bundle import read_attachments, read_evidence, write_bundle
from mucal.io.efficiency_json import write_efficiency_json
from mucal.io.efficiency_root import write_efficiency_root
from mucal.io.mass_fit_table import FITS, mass_fit_bytes
from mucal.io.release_manifest import fit_quality, stated_date
from mucal.io.response_npz import RESPONSE, read_response, response_bytes
from mucal.io.response_onnx import RESPONSE_ONNX, response_onnx_bytes
from mucal.massfit import MassFits, Status
from mucal.scale import Closure
from mucal.scale.inflation import inflation_of
from mucal.store import read_header, sha256
from mucal.workflow.application import bundle_of
from mucal.workflow.config import General
from mucal.workflow.stages import REPORT

if TYPE_CHECKING:
    from mucal.calibration import Calibration
    from mucal.workflow.chain import Chain

EFFICIENCIES: Final = ("efficiencies.h5", "efficiencies.json.gz", "efficiencies.root")


# ------------------------------------------------------------------------------------------------ of a run


def files_beside(chain: "Chain", response: ResponseMap | None, report: Path) -> dict[str, bytes]:
    """The attachments of the release of a run: its page, the mass fits of its table, the map of the response."""
    in_fit, background = derived_from(chain.fits, chain), added_background(chain)
    table = mass_fit_bytes(chain.fits, chain.simulation, in_fit, chain.merging, background)
    attached = {REPORT: report.read_bytes(), FITS: table}
    return attached if response is None else {**attached, RESPONSE: response_bytes(response)}


def evidence_for(calibration: "Calibration", chain: "Chain", closures: Sequence[Closure]) -> dict[str, Any]:
    """What a run found and its calibration does not hold, for the manifest: closures, and bins that were dropped.

    closures: resonance -> `equations`, how well its A and M describe its masses; `residual`, whether they are 0 within
    their errors and those of the table as derived; `factor` on the latter that it asks for by itself, null if none
    explains it.
    """
    return {
        "closures": {closure.resonance: _closed(calibration, closure) for closure in closures},
        "mass_fits": dropped_bins(chain.fits, chain.simulation, derived_from(chain.fits, chain)),
    }


def derived_from(fits: MassFits, chain: "Chain") -> BoolArray:
    """(B,) bins that gave the scale table an equation."""
    used = set(map(tuple, chain.residuals.index.tolist()))
    return np.array([tuple(index) in used for index in fits.histograms.index.tolist()], dtype=bool)


def added_background(chain: "Chain") -> MassFits | None:
    """The fits of data whose background was added to the simulation of a run; None where none was."""
    asked = chain.table.provenance.configuration.get("analysis", {})
    return chain.widths if asked.get("add_background", General().add_background) else None


def dropped_bins(fits: MassFits, simulation: MassFits | None, in_fit: BoolArray) -> dict[str, Any]:
    """Numbers of fits by status, and the bins (eta+, pT+, eta-, pT-) by status that the scale table leaves out.

    A bin that is left out though the fit of data is good stands under "OK": simulation has no good fit there, its
    scale is fixed, or it holds fewer events than `scale.min_events`.

    in_fit : (B,)  bins that gave an equation
    """
    dropped: dict[str, list[list[int]]] = {}
    for index, status in zip(fits.histograms.index[~in_fit].tolist(), fits.status[~in_fit].tolist(), strict=True):
        dropped.setdefault(Status(status).name, []).append(index)
    found = {"used": int(in_fit.sum()), "data": _by_status(fits), "dropped": dropped}
    return found if simulation is None else {**found, "simulation": _by_status(simulation)}


def _by_status(fits: MassFits) -> dict[str, int]:
    return {status.name: n for status in Status if (n := int(np.sum(fits.status == status)))}


def _closed(calibration: "Calibration", closure: Closure) -> dict[str, Any]:
    equations = fit_quality(closure.chi2, closure.ndf)
    try:
        against = inflation_of(calibration.scale, [closure])
    except ValueError:  # it has no errors, or in |eta| no inverse covariance: it says nothing of the table
        return {"equations": equations, "residual": None, "factor": None}
    (found,) = against.each
    factor = found.factor if np.isfinite(found.factor) else None
    return {"equations": equations, "residual": fit_quality(found.chi2, found.ndf), "factor": factor}


# ------------------------------------------------------------------------------------------------ of an export


def export_release(
    path: str | Path,
    out: str | Path,
    attachments: Mapping[str, bytes],
    *,
    without: Iterable[str] = (),
    overwrite: bool = False,
) -> "Calibration":
    """Write a calibration's release anew, with the evidence of the one it is from.

    path        : a released calibration, the folder of a run, or a calibration.h5 alone
    attachments : as `attachments_of` finds them
    without     : names of attachments to leave out

    Raises what `mucal.load` and `write_bundle` raise.
    """
    folder = bundle_of(path)
    calibration = load(folder)
    kept = {name: content for name, content in attachments.items() if name not in set(without)}
    evidence = read_evidence(folder) if _is_release(folder) else {}
    write_bundle(calibration, out, attachments=kept, evidence=evidence, overwrite=overwrite)
    return calibration


def attachments_of(path: str | Path, efficiencies: str | Path | None = None) -> dict[str, bytes]:
    """The attachments of a release, of that of a run, none of a calibration.h5; those of efficiencies beside them.

    efficiencies : scale factors as `mucal efficiency` leaves them; in place of those that the release has

    Raises InputError for what is neither, VerificationError for a damaged release, NotCertified if the scale factors
    are not fit for export.
    """
    folder = bundle_of(path)
    found = read_attachments(folder) if _is_release(folder) else {}
    return found if efficiencies is None else {**found, **efficiency_files(efficiencies)}


def efficiency_files(path: str | Path) -> dict[str, bytes]:
    """Scale factors as attachments: everything (HDF5), correctionlib, ROOT histograms.

    path : result file that holds `ScaleFactors` of one step, or an `EfficiencyModel`; its provenance stays, with the
           file among the inputs

    Raises InputError for another one, NotCertified if they are not fit for export.
    """
    kind = read_header(path)["type"]
    if kind == EfficiencyModel.__name__:
        model = EfficiencyModel.load(path)
    elif kind == ScaleFactors.__name__:
        factors = ScaleFactors.load(path)
        model = EfficiencyModel(steps=(factors,), provenance=factors.provenance)
    else:
        raise InputError(
            f"{path} holds {kind}, expected the scale factors of one step, or of all",
            kind="input.wrong_type",
            where={"file": path},
            do="smooth efficiencies to scale factors first (mucal efficiency smooth); join several steps by mucal "
            "efficiency export -o all.h5",
        )
    origin = model.provenance
    model = model.with_provenance(replace(origin, inputs={**origin.inputs, str(path): sha256(path)}))
    result, correctionlib, root = EFFICIENCIES
    with TemporaryDirectory() as folder:
        made = Path(folder)
        write_efficiency_json(model, made / correctionlib)
        write_efficiency_root(model, made / root, date=stated_date())
        model.save(made / result)
        return {name: (made / name).read_bytes() for name in EFFICIENCIES}


def with_onnx(attachments: Mapping[str, bytes]) -> dict[str, bytes]:
    """The attachments, and their map of the response as an ONNX graph.

    Raises InputError if there is no map, ConfigError where onnx is not installed.
    """
    if RESPONSE not in attachments:
        raise InputError(
            f"the release has no {RESPONSE}, so that there is nothing to write as {RESPONSE_ONNX}",
            kind="input.response_map",
            do="attach a map with mucal.io.write_bundle(..., attachments=...), or leave out --onnx",
        )
    with TemporaryDirectory() as folder:
        made = Path(folder) / RESPONSE
        made.write_bytes(attachments[RESPONSE])
        return {**attachments, RESPONSE_ONNX: response_onnx_bytes(read_response(made))}


def _is_release(path: Path) -> bool:
    """Whether a path is the folder of a release, not a calibration.h5 alone."""
    return (path / MANIFEST).exists()
