"""The digests of all that has one: result files, calibrations, folders of runs."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from mucal.calibration import verify_bundle
from mucal.errors import InputError, VerificationError
from mucal.store import is_result
from mucal.store import verify as verify_result


def verify(paths: Iterable[str | Path]) -> dict[str, str]:
    """File -> "ok" for every result file and every file of a calibration below the paths.

    Raises VerificationError that names all that differ, InputError for what is not ours.
    """
    states: dict[str, str] = {}
    for path in map(Path, paths):
        if path.is_dir():
            states |= _verify_folder(path)
        else:
            states[str(path)] = _verify_file(path)
    wrong = {name: state for name, state in states.items() if state not in ("ok", "extra")}
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


def enumerate_lines(wrong: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """`1` -> "file: damage" and so on."""
    return ((str(i + 1), f"{name}: {state}") for i, (name, state) in enumerate(wrong.items()))


def _verify_folder(path: Path) -> dict[str, str]:
    if (path / "manifest.json").exists():
        return {str(path / name): state.value for name, state in verify_bundle(path).states.items()}
    states: dict[str, str] = {}
    for inside in sorted(path.rglob("manifest.json")):
        states |= _verify_folder(inside.parent)
    bundles = {str(Path(name).parent) for name in states}
    for file in sorted(path.rglob("*.h5")):
        if str(file.parent) not in bundles and is_result(file):
            states[str(file)] = _verify_file(file)
    return states


def _verify_file(path: Path) -> str:
    try:
        verify_result(path)
    except VerificationError as error:
        return error.what
    return "ok"
