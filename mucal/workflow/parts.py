"""Finished chunks of a long command, kept beside its output until that is whole, so that a stopped run can go on."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from mucal.errors import ConfigError, MucalError
from mucal.store import replace_file

KEY: Final = "key"

T = TypeVar("T")


class Parts:
    """The finished chunks of one run, in the folder ``OUT.parts``.

    out    : what the run writes
    key    : digest of inputs, configuration and code: chunks of another key are not taken up
    resume : whether those of a stopped run are; else they are thrown away

    Raises ConfigError if they are asked for and are of another key, or if the folder is somebody else's.
    """

    def __init__(self, out: str | Path, key: str, *, resume: bool) -> None:
        self.folder = Path(f"{out}.parts")
        self.taken = 0
        mark = self.folder / KEY
        if resume and mark.is_file() and mark.read_text(encoding="utf-8") != key:
            raise ConfigError(
                f"the finished chunks in {self.folder} are of other inputs, another configuration or another version",
                kind="usage.other_run",
                where={"output": out},
                do="give the files and options of the run that was stopped, or leave --resume out to begin anew",
            )
        if not mark.is_file() and self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigError(
                f"{self.folder} exists and holds no finished chunks", kind="usage.exists",
                where={"output": out}, do="move it away, or choose another output",
            )  # fmt: skip
        if not resume:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_file(mark, lambda temporary: temporary.write_text(key, encoding="utf-8"), overwrite=True)

    def once(
        self, number: int, suffix: str, make: Callable[[], tuple[T, Mapping[str, Any]]],
        save: Callable[[Path, T], object], load: Callable[[Path], T],
    ) -> tuple[T, Mapping[str, Any]]:  # fmt: skip
        """A chunk and what is said of it: taken up if it is whole, else made and kept.

        make       : gives both, the latter in plain values
        save, load : of the chunk alone
        """
        path, said = self.folder / f"{number:06d}{suffix}", self.folder / f"{number:06d}.json"
        if said.is_file():  # written last
            try:
                found = load(path), json.loads(said.read_text(encoding="utf-8"))
            except (MucalError, OSError, ValueError):
                pass  # a damaged chunk is made again
            else:
                self.taken += 1
                return found
        made, plain = make()
        save(path, made)
        text = json.dumps(plain)
        replace_file(said, lambda temporary: temporary.write_text(text, encoding="utf-8"), overwrite=True)
        return made, plain

    def clear(self) -> None:
        """Nothing is kept once the output is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)
