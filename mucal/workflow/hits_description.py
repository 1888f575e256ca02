"""What files of recorded tracks hold, before anything is fitted: tracks, hits, momenta, modules, what is rejected."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector import Detector
from mucal.detector.field import MagneticField
from mucal.io import HitsInput, open_detector, open_hits
from mucal.io.hits_files import names_hits
from mucal.track import LAM, QOP
from mucal.track.hits import Hits
from mucal.workflow.toml_text import read_toml

Lines = list[str]

HEAD: Final = 20_000
"""Tracks that `mucal show` looks at."""
NAMED: Final = 5
"""Modules that are named of those without hits."""


@dataclass(kw_only=True)
class Contents:
    """Counts that grow with every chunk of tracks.

    tracks, paired : all, and those that belong to a pair
    per_track      : (L,)  how many tracks have 0, 1, ... hits
    on_module      : (M,)  how many hits lie on each module
    pt, eta        : of the seeds: the least and the largest of pT (GeV) and of abs(eta)
    median_pt      : GeV   of the first chunk
    sigma_u        : cm    median of the first chunk
    truth          : whether it is known what was generated
    """

    tracks: int = 0
    paired: int = 0
    per_track: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    on_module: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    pt: tuple[float, float] = (np.inf, 0.0)
    eta: tuple[float, float] = (np.inf, 0.0)
    median_pt: float = float("nan")
    sigma_u: float = float("nan")
    truth: bool = False

    def add(self, hits: Hits) -> None:
        """Count a chunk."""
        if not len(hits):
            return
        pt = np.cos(hits.seed[:, LAM]) / np.abs(hits.seed[:, QOP])
        eta = np.abs(np.arcsinh(np.tan(hits.seed[:, LAM])))
        if not self.tracks:
            self.median_pt, self.sigma_u = float(np.median(pt)), float(np.median(hits.sigma_u))
            self.truth = hits.truth is not None
        self.tracks += len(hits)
        self.paired += int(np.sum(hits.pair >= 0))
        self.per_track = _grown(self.per_track, np.bincount(hits.n_hits))
        self.on_module = _grown(self.on_module, np.bincount(hits.module_id))
        self.pt, self.eta = _range(self.pt, pt), _range(self.eta, eta)

    @property
    def hits(self) -> int:
        """All hits."""
        return int(self.on_module.sum())

    def lines(self) -> Lines:
        """For people."""
        if not self.tracks:
            return ["  no tracks"]
        counts = np.flatnonzero(self.per_track)
        return [
            f"  {self.tracks} tracks: {self.paired} in pairs, {self.tracks - self.paired} single; the truth is "
            + ("there" if self.truth else "not there"),
            f"  {self.hits} hits on {np.count_nonzero(self.on_module)} modules, {counts.min()} to {counts.max()} a "
            f"track, {self.hits / self.tracks:.1f} on average; median sigma_u {1e4 * self.sigma_u:.3g} um",
            f"  seeds of pT {self.pt[0]:.3g} to {self.pt[1]:.3g} GeV, median {self.median_pt:.3g}; abs(eta) "
            f"{self.eta[0]:.2f} to {self.eta[1]:.2f}",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "tracks": self.tracks, "in_pairs": self.paired, "hits": self.hits,
            "modules_hit": int(np.count_nonzero(self.on_module)), "hits_per_track": self.hits / max(self.tracks, 1),
            "pt_range": list(self.pt) if self.tracks else None, "median_pt": self.median_pt if self.tracks else None,
            "abs_eta_range": list(self.eta) if self.tracks else None, "truth": self.truth,
        }  # fmt: skip


def _grown(counts: IntArray, more: IntArray) -> IntArray:
    total = np.zeros(max(counts.size, more.size), dtype=np.int64)
    total[: counts.size] += counts
    total[: more.size] += more
    return total


def _range(found: tuple[float, float], values: FloatArray) -> tuple[float, float]:
    return min(found[0], float(values.min())), max(found[1], float(values.max()))


def of_hits(hits: Hits) -> Lines:
    """Lines about tracks in memory."""
    contents = Contents()
    contents.add(hits)
    return contents.lines()


def of_detector(detector: Detector) -> Lines:
    """Lines about a detector."""
    modules = np.bincount(detector.modules.subdet, minlength=len(detector.subdet_names))
    named = ", ".join(f"{name} {n}" for name, n in zip(detector.subdet_names, modules, strict=True) if n)
    return [
        f"  detector {detector.name}: {detector.n_modules} modules ({named}), {detector.passive.n_surfaces} passive "
        "surfaces",
        f"  field: {_field(detector.field)}",
    ]


def _field(magnet: MagneticField | None) -> str:
    if magnet is None:
        return "none"
    modes = f", {magnet.amplitudes.size} modes on it" if magnet.amplitudes.size else ""
    return f"{magnet.kind}{modes}"


def head_of(path: Path, tree: str | None = None) -> tuple[dict[str, Any], Lines]:
    """What the first tracks of a file hold, and what would be rejected of them; no column names but ours are known.

    Raises InputError if the file cannot be read.
    """
    config = HitsInput(tree=tree or None, max_bad_fraction=1.0, duplicates="ignore", chunk_rows=HEAD)
    source = open_hits(path, config)
    contents = Contents()
    for hits in source:
        contents.add(hits)
        break
    ledger = source.ledger
    lines = [f"  tracks with hits; of the first {ledger.read}: {ledger.line()}", *contents.lines()]
    return {"first": ledger.to_dict(), **contents.to_dict()}, lines


def are_hits(file: str | Path, config: str | Path | None, settings: tuple[str, ...] = ()) -> bool:
    """Whether a file holds tracks with hits, under our names or those of the section [refit] of a configuration."""
    if config is None or "refit" not in read_toml(config, settings).values:
        return names_hits(Path(file), HitsInput())
    # the refit brings in compiled loops: only where it is asked for
    return names_hits(Path(file), import_module("mucal.workflow.refit").load_refit(config, settings).input)


def check_hits(files: Sequence[str | Path], config: HitsInput, named: str) -> tuple[dict[str, Any], Lines]:
    """What a refit would read of files of hits on a detector: the ledger, hits by subdetector, modules without hits.

    config : how files are read
    named  : the detector, as `open_detector` knows it

    All tracks are read.  Raises InputError as a refit would.
    """
    detector = open_detector(named)
    source = open_hits(list(files), replace(config, chunk_rows=min(config.chunk_rows, HEAD)), detector=detector)
    contents = Contents()
    for hits in source:
        contents.add(hits)
    counts = _grown(np.zeros(detector.n_modules, dtype=np.int64), contents.on_module)
    by_subdet = np.bincount(detector.modules.subdet, weights=counts, minlength=len(detector.subdet_names))
    hit = {name: int(n) for name, n in zip(detector.subdet_names, by_subdet, strict=True) if n}
    silent = np.flatnonzero(counts == 0)
    names = detector.module_names(silent[:NAMED])
    lines = [
        *(f"{table.path}: {table.format}, {table.tree or 'one table'}, {table.entries} rows" for table in source.files),
        *(f"  {note}" for note in source.notes),
        f"  {source.ledger.line()}",
        *contents.lines(),
        f"  hits on {detector.name}: {', '.join(f'{name} {n}' for name, n in hit.items()) or 'none'}",
        f"  modules without a hit: {silent.size} of {detector.n_modules}"
        + (f", as {', '.join(names)}" if names else ""),
    ]
    plain = {
        "status": "ok", "files": [str(table.path) for table in source.files], "ledger": source.ledger.to_dict(),
        **contents.to_dict(), "hits_by_subdetector": hit, "modules_without_hits": int(silent.size),
    }  # fmt: skip
    return plain, lines
