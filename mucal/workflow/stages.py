"""A run's folder: a finished stage is a file that says what it was made from, and is taken up again if that holds."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

from mucal import __version__
from mucal.errors import ConfigError, InputError, VerificationError
from mucal.store import Provenance, Result, replace_file
from mucal.workflow.progress import Event, Tell

R = TypeVar("R", bound=Result)

LOCK: Final = ".running"
BUNDLE: Final = "calibration"
RESULT: Final = "result.json"
REPORT: Final = "report.html"
DIGESTS: Final = "digests.json"
"""SHA-256 and length of every file that a finished run leaves outside its calibration and its stages."""
TABLES: Final = (
    "massfit.h5", "massfit_simulation.h5", "scale.h5", "scale_residuals.h5", "shifts.h5", "resolution.h5",
    "resolution_simulation.h5", "recovery.h5", "one_step.h5", "scale_without_priors.h5", "angles.h5",
    "closing_files.h5",
)  # fmt: skip
TRACK_TABLES: Final = (
    "corrections.h5", "probes.h5", "reference.h5", "injected.h5", "closing.h5", "w_shift.h5", "z_mass.h5",
    "weak_modes.h5", "mode_bias.h5", "detector_modes.h5", "scale_models.h5",
)  # fmt: skip
"""Of a run from hits."""
PARTIAL: Final = "stages/partial"
"""Sums that are not finished, in a folder each."""
UNCERTAINTIES: Final = "uncertainties.h5"
SPECTRA: Final = "spectra"
FOLDERS: Final = ("stages", SPECTRA)
MADE: Final = (*TABLES, *TRACK_TABLES, UNCERTAINTIES, RESULT, REPORT, DIGESTS)
"""Everything that a run makes, besides what stands in the folders."""


def digest(made_from: Mapping[str, Any]) -> str:
    """SHA-256 of plain values."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True, default=str).encode()).hexdigest()


@cache
def code_digest() -> str:
    """SHA-256 of the package's source: a stage made by other code is made again."""
    here = Path(__file__).parents[1]
    found = hashlib.sha256()
    for path in sorted(here.rglob("*.py")):
        found.update(path.relative_to(here).as_posix().encode())
        found.update(path.read_bytes())
    return found.hexdigest()


class Folder:
    """The folder of one run.

    path   :
    resume : whether finished stages may be taken up
    cache  : folder of stages of any runs, by their keys, that may be taken up and are added to; None: none
    base   : provenance that all results share: configuration, seed, inputs
    """

    def __init__(
        self, path: Path, *, resume: bool, base: Provenance, tell: Tell, cache: Path | None = None
    ) -> None:  # fmt: skip
        self.path = path
        self.resume = resume
        self.cache = cache
        self.base = base
        self.tell = tell
        self.reused: list[str] = []

    def once(self, name: str, kind: type[R], made_from: Mapping[str, Any], make: Callable[[], R]) -> tuple[R, str]:
        """The result of one stage and its key: taken up from a file that was made from the same, else made.

        name      : file name inside the folder
        made_from : plain values that determine the result: configuration, keys of earlier stages
        """
        key = digest({"stage": name, "mucal": __version__, "code": code_digest(), **made_from})
        path = self.path / name
        kept = None if self.cache is None else self.cache / f"{key}.h5"
        if self.resume and (found := self._take_up(path, kind, key)) is not None:
            self._reuse(name, "the interrupted run")
            return found, key
        cached = None if kept is None else self._take_up(kept, kind, key)
        if cached is not None:
            self._reuse(name, "the cache")
        made = make() if cached is None else cached
        configuration = {**self.base.configuration, "stage_key": key}
        own = replace(self.base, configuration=configuration, ledgers={**self.base.ledgers, **made.provenance.ledgers})
        made = made.with_provenance(own)
        made.save(path, overwrite=True)
        if kept is not None and cached is None:
            made.save(kept, overwrite=True)
        return made, key

    def _reuse(self, name: str, whence: str) -> None:
        self.reused.append(name)
        self.tell(Event(stage=name, text=f"taken up from {whence}"))

    def _take_up(self, path: Path, kind: type[R], key: str) -> R | None:
        """The result in a file if that was made from the same; None if it was not, is damaged or not there."""
        if not path.exists():
            return None
        try:
            found = kind.load(path)
        except (InputError, VerificationError) as error:
            self.tell(Event(stage=path.name, text=f"made again: {error.what}"))
            return None
        return found if found.provenance.configuration.get("stage_key") == key else None

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file into the folder, atomically."""
        return replace_file(
            self.path / name, lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite=True
        )


def open_folder(path: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder of a run ready and take its lock.

    Raises ConfigError if it holds something and neither `resume` nor `overwrite` is given, or if another run that is
    still alive works in it.
    """
    if path.exists() and not path.is_dir():
        raise ConfigError(f"{path} is a file, expected a folder", kind="usage.exists", where={"output": path})
    if path.is_dir() and any(path.iterdir()) and not (resume or overwrite):
        raise ConfigError(
            f"{path} exists already and is not empty",
            kind="usage.exists",
            where={"output": path},
            do="choose another output, or give --resume to go on or --overwrite to start anew",
        )
    path.mkdir(parents=True, exist_ok=True)
    lock = path / LOCK
    if lock.exists() and (pid := _alive(lock)):
        age = time.time() - lock.stat().st_mtime
        raise ConfigError(
            f"another run works in {path}: process {pid}, for {age:.0f} s",
            kind="usage.locked",
            where={"output": path},
            do="wait for it, or choose another output",
        )
    lock.write_text(str(os.getpid()))
    _clear(path, stages=not resume)


def _clear(path: Path, *, stages: bool) -> None:
    """Take away what an earlier run made, nothing else: a new run that fails must not stand beside old results.

    stages : the finished stages as well
    """
    folders = FOLDERS if stages else (SPECTRA,)
    for old in (*MADE, *(f"{folder}/{file.name}" for folder in folders for file in (path / folder).glob("*.h5"))):
        (path / old).unlink(missing_ok=True)
    if stages:
        shutil.rmtree(path / PARTIAL, ignore_errors=True)
    if (path / BUNDLE / "manifest.json").is_file():
        shutil.rmtree(path / BUNDLE)


def holds_lock(path: Path) -> bool:
    """Whether this process works in the folder."""
    try:
        return (path / LOCK).read_text() == str(os.getpid())
    except OSError:
        return False


def close_folder(path: Path) -> None:
    """Give back the lock, if it is ours."""
    if holds_lock(path):
        (path / LOCK).unlink(missing_ok=True)


def _alive(lock: Path) -> int:
    """The process that holds a lock, 0 if it is no longer there (or is this one)."""
    try:
        pid = int(lock.read_text())
        os.kill(pid, 0)
    except PermissionError:  # it lives, and is another user's
        return pid
    except (ValueError, OSError):
        return 0
    return 0 if pid == os.getpid() else pid
