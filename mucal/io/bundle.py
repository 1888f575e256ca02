"""A released calibration: one folder of files that agree with each other, under one manifest.

    calibration.h5          everything; what `mucal.load` reads
    corrections.json.gz     correctionlib, full precision, every nuisance
    corrections_raw.json.gz the same without the factors on the standard deviations (2.1, 10, ...)
    muonscare.json.gz       correctionlib in the shape of CMS's Run-3 tools, reduced
    corrections.root        histograms
    nuisances.json          names, groups, sources, where the covariances come from
    manifest.json           digest of every file, versions, configuration, inputs, validity

The same calibration gives the same bytes.  A date is written only if SOURCE_DATE_EPOCH states one.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal import __version__
from mucal.arrays import FloatArray
from mucal.calibration import Calibration, certify
from mucal.calibration.manifest import (
    MANIFEST,
    SCHEMA,
    TABLES,
    is_plain_name,
    manifest_bytes,
    read_manifest,
    verify_bundle,
)
from mucal.calibration.product import Sample
from mucal.calibration.raw import without_factors
from mucal.calibration.response import relative_variance
from mucal.errors import InputError, MucalError, VerificationError
from mucal.io.correctionlib import CorrectionFile, corrections_document, read_corrections_json
from mucal.io.json_file import write_json
from mucal.io.muonscare import muonscare_document
from mucal.io.root_tables import write_root_tables
from mucal.store import plain_values, sha256, write_bytes

CORRECTIONS: Final = "corrections.json.gz"
RAW: Final = "corrections_raw.json.gz"
MUONSCARE: Final = "muonscare.json.gz"
ROOT: Final = "corrections.root"
NUISANCES: Final = "nuisances.json"
OWN: Final = (TABLES, CORRECTIONS, RAW, MUONSCARE, ROOT, NUISANCES, MANIFEST)
PACKAGES: Final = ("numpy", "h5py", "correctionlib", "uproot")
CHECK_MUONS: Final = 1000
CHECK_TOLERANCE: Final = 1e-12


def write_bundle(
    calibration: Calibration,
    directory: str | Path,
    *,
    attachments: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> Path:
    """Release a calibration: write its files and their manifest into a folder, everything read back first.

    directory   : made if absent.  A new one appears at once and whole; in an existing one files are replaced one by
                  one, the manifest last, and in between it does not verify
    attachments : further files that belong to the release, name -> content, as a report
    overwrite   : allows files of an earlier release in the folder to be replaced; others are never touched

    Raises NotCertified if the calibration is not fit for export, FileExistsError unless `overwrite`, ResourceError if
    the disk is full.
    """
    certify(calibration)
    directory = Path(directory)
    attachments = attachments or {}
    _check_target(directory, attachments, overwrite)
    directory.parent.mkdir(parents=True, exist_ok=True)
    workplace = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
    try:
        _write_files(calibration, workplace, attachments)
        _check_agreement(calibration, workplace)
        names = [path.name for path in workplace.iterdir()]
        content = manifest_bytes(_manifest(calibration, workplace, names))
        write_bytes(workplace / MANIFEST, content)
        verify_bundle(workplace).require_whole()
        _move(workplace, directory)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return directory


def _check_target(directory: Path, attachments: Mapping[str, bytes], overwrite: bool) -> None:
    for name in attachments:
        if not is_plain_name(name) or name in OWN:
            raise ValueError(
                f"'{name}' cannot be attached: a plain file name, and none of {', '.join(OWN)}, is expected"
            )
    for name in (*OWN, *attachments):
        if (directory / name).exists() and not overwrite:
            raise FileExistsError(17, "exists already; remove it or ask to overwrite", str(directory / name))


def _write_files(calibration: Calibration, folder: Path, attachments: Mapping[str, bytes]) -> None:
    calibration.save(folder / TABLES)
    write_json(folder / CORRECTIONS, corrections_document(calibration), indent=None)
    write_json(folder / RAW, corrections_document(without_factors(calibration)), indent=None)
    write_json(folder / MUONSCARE, muonscare_document(calibration), indent=None)
    write_root_tables(calibration, folder / ROOT, date=_date())
    write_json(folder / NUISANCES, _nuisances(calibration))
    for name, content in attachments.items():
        write_bytes(folder / name, content)


def _move(workplace: Path, directory: Path) -> None:
    """Put the finished files in place, the manifest last, and drop what only the old manifest lists."""
    if not directory.exists():
        workplace.chmod(0o755)
        workplace.rename(directory)
        return
    old = _listed(directory)
    new = sorted((path.name for path in workplace.iterdir()), key=lambda name: name == MANIFEST)
    for name in new:
        (workplace / name).replace(directory / name)
    for name in old - set(new):
        (directory / name).unlink(missing_ok=True)


def _listed(directory: Path) -> set[str]:
    """The files of an earlier release in the folder; none if its manifest is not to be trusted."""
    try:
        return set(read_manifest(directory)["files"])
    except MucalError:
        return set()


def _date() -> datetime | None:
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    if not stated:
        return None
    if not stated.isdigit():
        raise InputError(
            f"SOURCE_DATE_EPOCH is '{stated}', expected whole seconds since 1970", kind="input.source_date_epoch"
        )
    return datetime.fromtimestamp(int(stated), UTC)


# ------------------------------------------------------------------------------------------------ contents


def _nuisances(calibration: Calibration) -> dict[str, Any]:
    tables = {
        "scale": calibration.scale,
        "resolution_data": calibration.resolution_data,
        "resolution_mc": calibration.resolution_mc,
        "closure": calibration.closure,
    }
    covariances = {
        name: {"sha256": hashlib.sha256(np.ascontiguousarray(table.cov).tobytes()).hexdigest(), "rows": len(table.cov)}
        for name, table in tables.items()
        if table is not None
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


def _manifest(calibration: Calibration, folder: Path, names: list[str]) -> dict[str, Any]:
    date = _date()
    tables = {"scale": calibration.scale, "resolution_data": calibration.resolution_data}
    content = {
        "type": "Calibration",
        "schema": SCHEMA,
        "mucal": __version__,
        "versions": {package: version(package) for package in PACKAGES},
        "files": {
            name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in sorted(names)
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
        "eta_edges": {name: t.eta_edges.tolist() for name, t in tables.items() if t is not None},
        "fit": {name: {"chi2": t.chi2, "ndf": t.ndf} for name, t in tables.items() if t is not None},
        "provenance": calibration.provenance.to_dict(),
    }
    if date is not None:
        content["date"] = date.isoformat()
    manifest: dict[str, Any] = plain_values(content, "manifest")
    return manifest


# ------------------------------------------------------------------------------------------------ agreement


def _check_agreement(calibration: Calibration, folder: Path) -> None:
    """What correctionlib computes from the written file is what the calibration computes, of every nuisance.

    Raises VerificationError if they differ by more than 1e-12 of a momentum, a variance or a weight.
    """
    corrections = read_corrections_json(folder / CORRECTIONS)
    for name in (RAW, MUONSCARE):
        read_corrections_json(folder / name)
    _check_scale(calibration, corrections)
    _check_resolution(calibration, corrections)
    _check_pixels(calibration, corrections)


def _check_scale(calibration: Calibration, corrections: CorrectionFile) -> None:
    pt, eta, charge = _grid(calibration)
    samples: tuple[tuple[Sample, str], ...] = (("data", "pt_scale"), ("mc", "pt_scale_mc"))
    for sample, name in samples:
        expected = {"nom": calibration.correct(pt, eta, 0.0 * pt, charge, sample)}
        for nuisance in calibration.nuisances("scale"):
            up, down = calibration.vary(pt, eta, 0.0 * pt, charge, nuisance, sample)
            expected |= {f"{nuisance}_up": up, f"{nuisance}_down": down}
        for key, momenta in expected.items():
            _require_same(name, key, pt * corrections.evaluate(name, pt, eta, charge, key), momenta, momenta)
    index = calibration.scale.bin_index(eta)
    for key, parameters in _varied(calibration, "scale", calibration.nominal("data")).items():
        for symbol, values in zip("AeM", parameters[:, index], strict=True):
            found = corrections.evaluate("scale_params", eta, symbol, key)
            _require_same("scale_params", f"{symbol}, {key}", found, values, np.abs(values))


def _check_resolution(calibration: Calibration, corrections: CorrectionFile) -> None:
    data, mc = calibration.resolution_data, calibration.resolution_mc
    if data is None:
        return
    pt, eta, _ = _grid(calibration)
    index = np.searchsorted(data.eta_edges, eta, side="right") - 1
    in_mc = np.zeros_like(pt)
    if mc is not None:
        in_mc = relative_variance(pt, mc.a[index], mc.b[index], mc.c[index], mc.d[index])
        _require_same("sigma_rel", "mc, nom", corrections.evaluate("sigma_rel", pt, eta, "mc", "nom"), in_mc, in_mc)
    usual = relative_variance(pt, data.a[index], data.b[index], data.c[index], data.d[index])
    for key, (a, b, c) in _varied(calibration, "resolution", np.stack([data.a, data.b, data.c])).items():
        in_data = relative_variance(pt, a[index], b[index], c[index], data.d[index])
        size = np.abs(in_data) + usual + in_mc  # the differences of these may be small; their rounding is not
        _require_same("sigma_rel", key, corrections.evaluate("sigma_rel", pt, eta, "data", key), in_data, size)
        if mc is not None:
            extra = corrections.evaluate("sigma_extra", pt, eta, key) ** 2
            _require_same("sigma_extra", key, extra, np.maximum(0.0, in_data - in_mc), size)


def _check_pixels(calibration: Calibration, corrections: CorrectionFile) -> None:
    if calibration.pixels is None:
        return
    _, eta, charge = _grid(calibration)
    for triggered, hits in product((0, 1), (0, 2)):
        muons = (eta, charge, triggered, hits)
        expected = {"nom": calibration.pixel_weight(*muons)}
        for nuisance in calibration.nuisances("pixel"):
            up, down = calibration.vary_pixel_weight(*muons, nuisance)
            expected |= {f"{nuisance}_up": up, f"{nuisance}_down": down}
        for key, weights in expected.items():
            found = corrections.evaluate("pixel_weight", hits, eta, charge, triggered, key)
            _require_same("pixel_weight", key, found, weights, weights)


def _varied(calibration: Calibration, kind: str, nominal: FloatArray) -> dict[str, FloatArray]:
    """The (3, B) parameters that each value of syst of one kind stands for."""
    expected = {"nom": nominal}
    for nuisance in calibration.nuisances(kind):
        shift = calibration.variation(nuisance)
        expected |= {f"{nuisance}_up": nominal + shift, f"{nuisance}_down": nominal - shift}
    return expected


def _require_same(name: str, key: str, found: FloatArray, expected: FloatArray, size: FloatArray) -> None:
    """Raises VerificationError if a correction of the file is further from what is expected than 1e-12 of `size`."""
    apart = np.abs(found - expected)
    if not np.all(apart <= CHECK_TOLERANCE * size):
        i = int(np.argmax(~(apart <= CHECK_TOLERANCE * size)))
        raise VerificationError(
            f"{CORRECTIONS} reads back differently: {name} for {key} gives {found[i]:.15g}, expected "
            f"{expected[i]:.15g} to {CHECK_TOLERANCE:g}",
            kind="verify.read_back",
        )


def _grid(calibration: Calibration) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Muons over the whole validity range, both charges, edges included."""
    (pt_low, pt_high), (eta_low, eta_high) = calibration.pt_range, calibration.eta_range
    steps = np.arange(CHECK_MUONS) / CHECK_MUONS
    pt = pt_low * (pt_high / pt_low) ** steps
    # the golden ratio spreads the second coordinate evenly over the first
    eta = eta_low + (eta_high - eta_low) * np.mod(np.arange(CHECK_MUONS) * 0.6180339887498949, 1.0)
    tables = (calibration.scale, calibration.resolution_data, calibration.pixels)
    edges = np.unique(np.concatenate([table.eta_edges for table in tables if table is not None]))
    edges = edges[(edges >= eta_low) & (edges < eta_high)]
    eta[: edges.size] = edges
    inside = (pt >= pt_low) & (pt < pt_high) & (eta < eta_high)
    charge = np.where(np.arange(CHECK_MUONS) % 2 == 0, 1.0, -1.0)
    return pt[inside], eta[inside], charge[inside]
