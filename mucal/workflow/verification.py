"""The digests of all that has one: result files, calibrations, folders of runs."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from mucal import __version__
from mucal.calibration import verify_bundle
from mucal.calibration.agreement import TOLERANCE, compare_releases
from mucal.calibration.manifest import is_plain_name, manifest_bytes, read_digested
from mucal.errors import InputError, VerificationError
from mucal.io.file_magic import refuse_objects
from mucal.store import is_result, sha256, write_bytes
from mucal.store import verify as verify_result
from mucal.workflow.application import bundle_of
from mucal.workflow.stages import DIGESTS, LOCK, RESULT

FINE: Final = ("ok", "extra", "not covered")
"""States that are no damage: a file beside a calibration, and one in the folder of a run, that no digest covers."""


def verify(paths: Iterable[str | Path]) -> dict[str, str]:
    """File -> "ok" for every result file and every file of a calibration or a run below the paths.

    Files that no digest covers are "extra" in a calibration and "not covered" in the folder of a run.

    Raises VerificationError that names all that differ, InputError for what is not ours.
    """
    states: dict[str, str] = {}
    for path in map(Path, paths):
        if path.is_dir():
            states |= _verify_folder(path)
        else:
            states[str(path)] = _verify_file(path)
    wrong = {name: state for name, state in states.items() if state not in FINE}
    if wrong:
        raise VerificationError(
            f"{len(wrong)} of {len(states)} files are not what their digests say",
            kind="verify.damaged",
            where={state: name for name, state in wrong.items()} if len(wrong) == 1 else dict(enumerate_lines(wrong)),
            do="make them again, or copy them again from their source",
        )
    if not states:
        raise InputError(
            "there is nothing to verify", kind="input.nothing", where={"paths": ", ".join(map(str, paths))}
        )
    return states


def verify_against(
    path: str | Path, reference: str | Path, tolerance: float | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Whether a calibration, or that of a run, agrees with another one: as plain values, and as lines for people.

    tolerance : largest difference of any number, in standard errors; None for 1e-6

    Raises VerificationError if they do not agree or one is damaged, InputError for what is no calibration.
    """
    found = compare_releases(bundle_of(path), bundle_of(reference))
    found.require(TOLERANCE if tolerance is None else tolerance)
    plain = {"status": "ok", "same_bytes": found.same_bytes, "files": dict(found.files), "apart": dict(found.apart)}
    return plain, found.lines()


def enumerate_lines(wrong: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """`1` -> "file: damage" and so on."""
    return ((str(i + 1), f"{name}: {state}") for i, (name, state) in enumerate(wrong.items()))


def write_digests(folder: Path, names: Iterable[str]) -> Path:
    """Write the digests of the named files of a run's folder, with their own."""
    entries = {name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    content = manifest_bytes({"type": "Run", "schema": 1, "mucal": __version__, "files": entries})
    return write_bytes(folder / DIGESTS, content, overwrite=True)


def renew_digest(folder: Path, name: str) -> None:
    """State the digest of one file anew, in a folder that has digests; those of the others stay as they are."""
    if not (folder / DIGESTS).is_file():
        return
    digests = _read_digests(folder)
    entry = {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
    content = manifest_bytes({**digests, "files": {**digests["files"], name: entry}})
    write_bytes(folder / DIGESTS, content, overwrite=True)


def _verify_folder(path: Path) -> dict[str, str]:
    if (path / "manifest.json").exists():
        return {str(path / name): state.value for name, state in verify_bundle(path).states.items()}
    states: dict[str, str] = {}
    for inside in sorted(path.rglob("manifest.json")):
        states |= _verify_folder(inside.parent)
    bundles = {str(Path(name).parent) for name in states}
    for inside in sorted(path.rglob(DIGESTS)):
        states |= _verify_digests(inside.parent)
    for file in sorted(path.rglob("*.h5")):
        if str(file.parent) not in bundles and states.get(str(file), "ok") == "ok" and is_result(file):
            states[str(file)] = _verify_file(file)
    for ended in sorted(path.rglob(RESULT)):
        listed = (ended.parent / name for name in _listed(ended))
        states |= {str(file): "missing" for file in listed if not file.exists()}
        states |= {name: "not covered" for name in _files_of_run(ended.parent) if name not in states}
    return states


def _listed(ended: Path) -> list[str]:
    """Plain names of what `result.json` says was written; none if it is no such file."""
    try:
        names = json.loads(ended.read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in names if isinstance(name, str) and all(map(is_plain_name, PurePosixPath(name).parts))]


def _files_of_run(folder: Path) -> list[str]:
    """The files in the folder of a run itself, its lock left out."""
    return sorted(str(file) for file in folder.iterdir() if file.is_file() and file.name != LOCK)


def _read_digests(folder: Path) -> dict[str, dict[str, dict[str, object]]]:
    path = folder / DIGESTS
    digests = read_digested(path, do="run the analysis again, or copy its folder again from its source")
    files = digests.get("files")
    if digests.get("type") != "Run" or not isinstance(files, dict):
        raise InputError(f"{DIGESTS} is not that of a run", kind="input.foreign_file", where={"file": path})
    for name, entry in files.items():
        plain = all(is_plain_name(part) for part in PurePosixPath(name).parts) and not Path(name).is_absolute()
        if not name or not plain or not isinstance(entry, dict) or not {"sha256", "bytes"} <= entry.keys():
            raise InputError(
                f"{DIGESTS} names '{name}', which is not a file inside the folder",
                kind="input.refused",
                where={"file": path},
            )
    return digests


def _verify_digests(folder: Path) -> dict[str, str]:
    states = {str(folder / DIGESTS): "ok"}
    for name, entry in _read_digests(folder)["files"].items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            states[str(path)] = "missing"
        else:
            same = path.stat().st_size == entry["bytes"] and sha256(path) == entry["sha256"]
            states[str(path)] = "ok" if same else "damaged"
    return states


def _verify_file(path: Path) -> str:
    if path.is_file() and not is_result(path):
        refuse_objects(path)
    try:
        verify_result(path)
    except VerificationError as error:
        return error.what
    return "ok"
