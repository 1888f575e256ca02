"""Finished chunks of a simulation, kept beside its output, so that an interrupted one goes on where it stopped."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mucal.errors import ConfigError, MucalError
from mucal.io import read_json, write_json
from mucal.simulation import SimulatedHits
from mucal.store import Provenance
from mucal.track.hits import Hits

LEDGER: Final = "simulate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunks:
    """A folder of finished chunks, NUMBER.h5, and in `run.json` the key of what they were made from.

    folder : None keeps nothing
    """

    folder: Path | None

    def take(self, number: int) -> SimulatedHits | None:
        """A finished chunk; None if it is not there, or damaged by what interrupted the run."""
        path = self._path(number)
        if path is None or not path.exists():
            return None
        try:
            hits = Hits.load(path)
        except MucalError:
            path.unlink()
            return None
        passed = int(hits.provenance.configuration["passed"])
        return SimulatedHits(hits=hits, ledger=hits.provenance.ledgers[LEDGER], passed=passed)

    def keep(self, number: int, found: SimulatedHits) -> None:
        """Save a finished chunk."""
        path = self._path(number)
        if path is not None:
            made = Provenance(configuration={"passed": found.passed}, ledgers={LEDGER: found.ledger})
            found.hits.with_provenance(made).save(path, overwrite=True)

    def remove(self) -> None:
        """The folder with all that is in it."""
        if self.folder is not None:
            shutil.rmtree(self.folder)

    def _path(self, number: int) -> Path | None:
        return None if self.folder is None else self.folder / f"{number:06d}.h5"


NO_CHUNKS: Final = Chunks(folder=None)


def key_of(plain: Mapping[str, Any]) -> str:
    """A digest of plain values."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()


def open_chunks(folder: Path, key: str, *, resume: bool) -> Chunks:
    """The chunks of an earlier run with `resume`, else none, in a folder made anew.

    Raises ConfigError if they were made from something else, FileExistsError for a folder that is not ours.
    """
    about = folder / "run.json"
    if resume and about.exists():
        if read_json(about)["key"] != key:
            raise ConfigError(
                f"{folder} holds chunks of a run with another configuration, detector or version",
                kind="config.changed",
                where={"file": folder},
                do="give the configuration that it was begun with, or leave --resume out to begin anew",
            )
        return Chunks(folder=folder)
    if folder.exists():
        if any(folder.iterdir()) and not about.exists():
            raise FileExistsError(f"{folder} exists and holds no chunks of a simulation; choose another name")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    write_json(about, {"key": key})
    return Chunks(folder=folder)
