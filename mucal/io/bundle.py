"""A released calibration: one folder of files that agree with each other, under one manifest.

    calibration.h5          everything; what `mucal.load` reads
    corrections.json.gz     correctionlib, full precision, every nuisance
    corrections_raw.json.gz the same without the factors on the standard deviations (2.1, 10, ...)
    muonscare.json.gz       correctionlib in the shape of CMS's Run-3 tools, reduced
    corrections.root        histograms
    nuisances.json          names, groups, sources, where the covariances come from
    manifest.json           digest of every file, versions, configuration, inputs, validity, evidence

Beside them stand attachments: files that do not follow from the calibration alone, as the page of its run, the map of
the response, the mass fits or efficiencies.

The same calibration gives the same bytes; the manifest names the commit of the checkout that wrote it, if there is one,
and a date only if SOURCE_DATE_EPOCH states one.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mucal.calibration import Calibration, certify
from mucal.calibration.manifest import MANIFEST, TABLES, is_plain_name, manifest_bytes, read_manifest, verify_bundle
from mucal.calibration.raw import without_factors
from mucal.errors import MucalError, VerificationError
from mucal.io.correctionlib import corrections_document
from mucal.io.json_file import write_json
from mucal.io.muonscare import muonscare_document
from mucal.io.release_check import check_corrections, check_muonscare
from mucal.io.release_manifest import manifest_of, nuisances_of, stated_date
from mucal.io.root_tables import write_root_tables
from mucal.store import write_bytes

CORRECTIONS: Final = "corrections.json.gz"
RAW: Final = "corrections_raw.json.gz"
MUONSCARE: Final = "muonscare.json.gz"
ROOT: Final = "corrections.root"
NUISANCES: Final = "nuisances.json"
OWN: Final = (TABLES, CORRECTIONS, RAW, MUONSCARE, ROOT, NUISANCES, MANIFEST)


def write_bundle(
    calibration: Calibration,
    directory: str | Path,
    *,
    attachments: Mapping[str, bytes] | None = None,
    evidence: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Release a calibration: write its files and their manifest into a folder.

    All tables are read back first; those for correctionlib are compared with the calibration (`io.release_check`).

    directory   : made if absent.  A new one appears at once and whole; in an existing one files are replaced one by
                  one, the manifest last, and in between it does not verify
    attachments : further files that belong to the release, name -> content, as a report
    evidence    : plain values for the manifest that the calibration does not hold, as `workflow.release.evidence_for`
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
        check_corrections(calibration, workplace / CORRECTIONS)
        check_corrections(without_factors(calibration), workplace / RAW)
        check_muonscare(calibration, workplace / MUONSCARE)
        write_bytes(workplace / MANIFEST, manifest_bytes(manifest_of(calibration, workplace, evidence or {})))
        verify_bundle(workplace).require_whole()
        _move(workplace, directory)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return directory


def read_attachments(directory: str | Path) -> dict[str, bytes]:
    """The attachments of a release, name -> content, as `write_bundle` takes them.

    Raises InputError if it is no release, VerificationError if one is missing or not what its digest says.
    """
    directory = Path(directory)
    verify_bundle(directory).require_whole()
    found = {}
    for name, entry in read_manifest(directory)["files"].items():
        if name not in OWN:
            found[name] = (directory / name).read_bytes()
            if hashlib.sha256(found[name]).hexdigest() != entry["sha256"]:
                raise VerificationError(
                    f"{name} changed while it was read", kind="verify.damaged", where={"folder": directory},
                    do="wait for the other program that writes there, and try again",
                )  # fmt: skip
    return found


def read_evidence(directory: str | Path) -> dict[str, Any]:
    """The evidence in the manifest of a release, as `write_bundle` takes it; raises what `read_manifest` raises."""
    found: dict[str, Any] = read_manifest(directory).get("evidence", {})
    return found


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
    write_root_tables(calibration, folder / ROOT, date=stated_date())
    write_json(folder / NUISANCES, nuisances_of(calibration))
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
