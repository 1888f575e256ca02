"""Two generations of a growing sum in a folder, and the lock that keeps a second run out."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self

from mucal import __version__
from mucal.errors import ConfigError, InputError, VerificationError
from mucal.globalcor.normal_equations import NormalEquations
from mucal.store import read_header

GENERATIONS: Final = ("sum-0.h5", "sum-1.h5")
LOCK: Final = "running.pid"


class Checkpoints:
    """The folder of one accumulation, in use between `with` and its end.

    asked  : what the sum depends on; a folder of another sum, or of another version of mucal, is refused
    inputs : file -> SHA-256

    Raises ConfigError if another process uses the folder.
    """

    def __init__(self, folder: str | Path, asked: Mapping[str, Any], inputs: Mapping[str, str]) -> None:
        self.folder = Path(folder)
        self.asked, self.inputs = asked, inputs
        self.next = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            try:
                with open(self.folder / LOCK, "x") as lock:
                    lock.write(str(os.getpid()))
                return self
            except FileExistsError:
                self._refuse_live_owner()
                (self.folder / LOCK).unlink(missing_ok=True)
        raise ConfigError(f"{self.folder} is being taken by another run", kind="config.in_use")

    def __exit__(self, *_: object) -> None:
        (self.folder / LOCK).unlink(missing_ok=True)

    def _refuse_live_owner(self) -> None:
        text = (self.folder / LOCK).read_text().strip()
        if text.isdigit() and int(text) != os.getpid() and _alive(int(text)):
            age = max(0, round(time.time() - (self.folder / LOCK).stat().st_mtime))
            raise ConfigError(
                f"process {text} is accumulating into {self.folder}, for {age} s now",
                kind="config.in_use",
                where={"file": self.folder / LOCK},
                do="wait for it, or stop it first",
            )

    def newest(self) -> NormalEquations | None:
        """The generation with more chunks that is whole; None if there is none.

        Raises ConfigError, with what differs, if it is of another sum, VerificationError if all are damaged.
        """
        found: list[tuple[int, int]] = []
        damaged: list[MucalFault] = []
        for i, name in enumerate(GENERATIONS):
            if (self.folder / name).exists():
                try:
                    found.append((_n_chunks(read_header(self.folder / name)), i))
                except (VerificationError, InputError) as error:
                    damaged.append(error)
        if not found:
            if damaged:
                raise damaged[0]
            return None
        _, i = max(found)
        self.next = 1 - i
        kept = NormalEquations.load(self.folder / GENERATIONS[i])
        self._refuse_other(kept)
        return kept

    def save(self, done: NormalEquations) -> None:
        """Replace the older generation."""
        done.save(self.folder / GENERATIONS[self.next], overwrite=True)
        self.next = 1 - self.next

    def _refuse_other(self, kept: NormalEquations) -> None:
        made = kept.provenance
        before = {**made.configuration, "inputs": dict(made.inputs), "mucal": made.mucal}
        now = {**self.asked, "inputs": dict(self.inputs), "mucal": __version__}
        # sequences come back from a file as lists or tuples
        changed = [k for k in sorted({*before, *now}) if _plain(before.get(k)) != _plain(now.get(k))]
        if changed:
            lines = [f"{k}: was {_short(before.get(k))}, now {_short(now.get(k))}" for k in changed]
            raise ConfigError(
                f"{self.folder} holds a sum of something else: {', '.join(changed)} changed",
                kind="config.changed",
                where={"file": self.folder, "change": "; ".join(lines)},
                do="give another folder, or go back to what the sum was begun with",
            )


MucalFault = VerificationError | InputError


def _n_chunks(header: Mapping[str, Any]) -> int:
    """Chunks of a saved sum, those that failed as well, without loading it."""
    sizes = {name: entry["shape"] for name, entry in header["arrays"].items() if name.startswith("partials/")}
    return sum(int(shape[0]) for name, shape in sizes.items() if name.rpartition("/")[2] in ("chunks", "failed"))


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=list)


def _short(value: Any) -> str:
    text = _plain(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
