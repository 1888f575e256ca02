"""The manifest of a released calibration: every file with its digest, and the manifest's own."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from mucal.calibration.product import Calibration
from mucal.errors import InputError, VerificationError
from mucal.store import sha256

MANIFEST: Final = "manifest.json"
TABLES: Final = "calibration.h5"
SCHEMA: Final = 1
MAX_BYTES: Final = 16 * 2**20
OWN_DIGEST: Final = "manifest_sha256"
COMMIT: Final = "git"
"""Key of the commit that wrote the release: of mucal, not of the calibration."""


class FileState(StrEnum):
    """What became of one file of a released calibration."""

    OK = "ok"
    DAMAGED = "damaged"
    MISSING = "missing"
    EXTRA = "extra"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleReport:
    """The files of a released calibration and their states.

    directory : as given
    states    : file name -> state, in alphabetical order
    """

    directory: str
    states: Mapping[str, FileState]

    @property
    def whole(self) -> bool:
        """Whether every file of the manifest is there and undamaged; files it does not list are only mentioned."""
        return not any(state in (FileState.DAMAGED, FileState.MISSING) for state in self.states.values())

    def lines(self) -> list[str]:
        """One line a file."""
        return [f"{state.value:<8} {name}" for name, state in self.states.items()]

    def require_whole(self) -> None:
        """Raises VerificationError that names the damaged and missing files."""
        if not self.whole:
            wrong = [f"{name} is {s.value}" for name, s in self.states.items() if s in ("damaged", "missing")]
            raise VerificationError(
                f"the calibration is not what was released: {', '.join(wrong)}",
                kind="verify.bundle",
                where={"folder": self.directory},
                do="copy it again from its source",
            )


def load(path: str | Path) -> Calibration:
    """A released calibration, from its directory or from its `calibration.h5` alone.

    Every file of the directory is compared with its digest first.  Raises InputError for what is not a calibration,
    VerificationError for a damaged or incomplete one.
    """
    path = Path(path)
    if not path.is_dir():
        return Calibration.load(path)
    verify_bundle(path).require_whole()
    return Calibration.load(path / TABLES)


def verify_bundle(directory: str | Path) -> BundleReport:
    """Compare every file of a released calibration with the manifest.

    Raises InputError if there is no manifest, if it names files outside the directory, or if anything in the directory
    is a link; VerificationError if the manifest itself is damaged.
    """
    directory = Path(directory)
    listed = read_manifest(directory)["files"]
    states = {MANIFEST: FileState.OK}
    for name, entry in listed.items():
        path = directory / name
        if path.is_symlink():
            raise _refused(directory, f"'{name}' is a symbolic link")
        if not path.is_file():
            states[name] = FileState.MISSING
        else:
            same = path.stat().st_size == entry["bytes"] and sha256(path) == entry["sha256"]
            states[name] = FileState.OK if same else FileState.DAMAGED
    for path in directory.iterdir():
        if path.is_symlink():
            raise _refused(directory, f"'{path.name}' is a symbolic link")
        states.setdefault(path.name, FileState.EXTRA)
    return BundleReport(directory=str(directory), states=dict(sorted(states.items())))


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    """The one way a manifest is spelt, with its own digest inside: any changed byte is found."""
    plain = {key: value for key, value in manifest.items() if key != OWN_DIGEST}
    digest = hashlib.sha256(_spell(plain)).hexdigest()
    return _spell({**plain, OWN_DIGEST: digest})


def read_manifest(directory: str | Path) -> dict[str, Any]:
    """The manifest of a released calibration, itself verified.

    Raises InputError if it is missing, not ours, or names something that is not a plain file of the directory;
    VerificationError if a byte of it changed.
    """
    directory = Path(directory)
    path = directory / MANIFEST
    if path.is_symlink():
        raise _refused(directory, f"'{MANIFEST}' is a symbolic link")
    if not path.is_file():
        raise InputError(
            f"{directory} holds no {MANIFEST}: not a released calibration",
            kind="input.missing_file",
            where={"folder": directory},
        )
    checked = read_digested(path, do="copy the calibration again from its source")
    _check_manifest(checked, directory)
    return checked


def read_digested(path: Path, *, do: str) -> dict[str, Any]:
    """A file that `manifest_bytes` spelt, compared with the digest it states.

    do : what a user should do if it is damaged

    Raises InputError if it is too large, VerificationError if a byte of it changed.
    """
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path.name} is larger than {MAX_BYTES} bytes", kind="input.too_large", where={"file": path})
    raw = path.read_bytes()
    try:
        found: Any = json.loads(raw)
        whole = isinstance(found, dict) and manifest_bytes(found) == raw
    except (ValueError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise VerificationError(
            f"{path.name} is damaged: it does not have the digest it states",
            kind="verify.damaged",
            where={"file": path},
            do=do,
        )
    checked: dict[str, Any] = found
    return checked


def _check_manifest(manifest: Mapping[str, Any], directory: Path) -> None:
    if manifest.get("type") != "Calibration" or not isinstance(manifest.get("files"), dict):
        raise InputError(
            f"{MANIFEST} is not that of a calibration", kind="input.foreign_file", where={"file": directory}
        )
    if manifest.get("schema", 0) > SCHEMA:
        raise InputError(
            f"the calibration has schema {manifest['schema']} (mucal {manifest.get('mucal')}); this mucal reads up to "
            f"schema {SCHEMA}",
            kind="input.newer_schema",
            where={"folder": directory},
            do="use the newer version",
        )
    for name, entry in manifest["files"].items():
        if not is_plain_name(name):
            raise _refused(directory, f"the manifest names '{name}', which is not a plain file of the folder")
        if not isinstance(entry, dict) or not {"sha256", "bytes"} <= entry.keys():
            raise _refused(directory, f"the manifest gives no digest for '{name}'")


def is_plain_name(name: str) -> bool:
    """Whether a name stands for a file directly in its folder, on any system."""
    return bool(name) and name not in (".", "..") and not any(sign in name for sign in "/\\:\0")


def _refused(directory: Path, what: str) -> InputError:
    return InputError(
        f"{what}; a calibration is a folder of plain files",
        kind="input.refused",
        where={"folder": os.fspath(directory)},
        do="do not use this folder; ask where it comes from",
    )


def _spell(plain: Mapping[str, Any]) -> bytes:
    return (json.dumps(plain, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
