"""What the manifest of a release and its list of nuisances say of a calibration."""

import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.special import chdtrc

from mucal import __version__
from mucal.calibration import Calibration
from mucal.calibration.manifest import COMMIT, SCHEMA
from mucal.errors import InputError
from mucal.io.checkout import commit
from mucal.scale import Closure, ResolutionTable, ScaleTable
from mucal.store import plain_values, sha256

PACKAGES: Final = ("numpy", "h5py", "correctionlib", "uproot")


def manifest_of(calibration: Calibration, folder: Path, evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of the files in a folder, as plain values.

    evidence : what was found on the way to the calibration that it does not hold itself, plain values
    """
    tables = _tables(calibration)
    content = {
        "type": "Calibration",
        "schema": SCHEMA,
        "mucal": __version__,
        "versions": {package: version(package) for package in PACKAGES},
        "files": {
            path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for path in sorted(folder.iterdir())
        },
        "validity": {
            "pt_range": calibration.pt_range,
            "eta_range": calibration.eta_range,
            "charge": [-1, 1],
            "era": calibration.era,
            "muon_pt_definition": calibration.pt_definition,
        },
        "reference": {
            "resonance": calibration.resonance,
            "mass": calibration.reference_mass,
            "mass_error": calibration.reference_mass_error,
            "unit": "GeV",
            "pdg_edition": calibration.pdg_edition,
        },
        "description": calibration.description,
        "nuisances": {group: calibration.groups.count(group) for group in dict.fromkeys(calibration.groups)},
        "factors": calibration.factors,
        "eta_edges": {name: table.eta_edges.tolist() for name, table in tables.items()},
        "fit": {name: fit_quality(table.chi2, table.ndf) for name, table in tables.items()},
        "provenance": calibration.provenance.to_dict(),
    }
    if evidence:
        content["evidence"] = evidence
    if (date := stated_date()) is not None:
        content["date"] = date.isoformat()
    if (found := commit()) is not None:
        content[COMMIT] = found
    manifest: dict[str, Any] = plain_values(content, "manifest")
    return manifest


def nuisances_of(calibration: Calibration) -> dict[str, Any]:
    """Name, group, kind and source of every nuisance, and digests of the covariances they come from."""
    covariances = {
        name: {"sha256": hashlib.sha256(np.ascontiguousarray(table.cov).tobytes()).hexdigest(), "rows": len(table.cov)}
        for name, table in _tables(calibration).items()
    }
    rows = zip(calibration.names, calibration.groups, calibration.kinds, calibration.sources, strict=True)
    return {
        "nuisances": [
            {"name": name, "group": group, "kind": kind, "source": source} for name, group, kind, source in rows
        ],
        "factors": dict(calibration.factors),
        "parameters": list(calibration.parameter_names),
        "covariances": covariances,
        "definition": "up (down) adds (subtracts) a standard deviation, factors included (docs/physics/calibration.md)",
    }


def fit_quality(chi2: float, ndf: int) -> dict[str, float | int | None]:
    """chi2, degrees of freedom and p-value, null without any."""
    return {"chi2": chi2, "ndf": ndf, "p_value": float(chdtrc(ndf, chi2)) if ndf > 0 else None}


def stated_date() -> datetime | None:
    """The date that SOURCE_DATE_EPOCH states, if it does.  Raises InputError if it is no number of seconds."""
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    if not stated:
        return None
    if not stated.isdigit():
        raise InputError(
            f"SOURCE_DATE_EPOCH is '{stated}', expected whole seconds since 1970", kind="input.source_date_epoch"
        )
    return datetime.fromtimestamp(int(stated), UTC)


def _tables(calibration: Calibration) -> dict[str, ScaleTable | ResolutionTable | Closure]:
    """The tables that the calibration has."""
    tables: dict[str, ScaleTable | ResolutionTable | Closure | None] = {
        "scale": calibration.scale,
        "resolution_data": calibration.resolution_data,
        "resolution_mc": calibration.resolution_mc,
        "closure": calibration.closure,
    }
    return {name: table for name, table in tables.items() if table is not None}
