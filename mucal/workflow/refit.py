"""Hits to fitted tracks or pairs, as the command makes them: read, refitted and written chunk by chunk."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.errors import ConfigError, nearest
from mucal.globalcor import GlobalCorrections, Refit, build_registry
from mucal.io import HitsInput, open_hits
from mucal.io.fit_columns import Columns, pair_columns, track_columns
from mucal.io.fit_writer import write_fits
from mucal.io.hits_source import HitsSource
from mucal.ledger import Ledger
from mucal.refit import FitStatus, PairStatus, RefitConfig, RobustConfig, TrackFits
from mucal.store import Provenance
from mucal.track import Hits
from mucal.workflow.config import SECTIONS as OF_ANALYSIS
from mucal.workflow.globalcor import detector_of
from mucal.workflow.hits import SECTIONS as OF_HITS
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.toml_text import TomlText, overlay, parse_toml, read_toml
from mucal.workflow.validate import build

SECTION: Final = "refit"
OTHERS: Final = (*OF_ANALYSIS, *OF_HITS, "globalcor")
"""Sections that a file may hold for other commands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitRun:
    """Section ``[refit]``.

    detector : cms-like, barrel, or a file or folder of detector tables: as it is assumed to be
    chunk    : tracks refitted at a time
    input    : ``[refit.input]``, how files of hits are read; its `chunk_rows` is `chunk`
    fit      : ``[refit.fit]``
    robust   : ``[refit.robust]``, of single tracks
    """

    detector: str = "cms-like"
    chunk: int = 20_000
    input: HitsInput = field(default_factory=HitsInput)
    fit: RefitConfig = field(default_factory=RefitConfig)
    robust: RobustConfig = field(default_factory=RobustConfig)

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"chunk = {self.chunk}, expected at least 1 track")


@dataclass(kw_only=True)
class Refitted:
    """What a run found.

    read, fitted : ledgers of tracks in the files; of tracks or pairs fitted
    hits         : ledger of hits, where any could be removed
    written      : rows
    chi2, ndof   : sums over what was fitted
    iterations   : likewise
    statuses     : status -> its sentence, of those that occurred
    """

    read: Ledger = field(default_factory=Ledger)
    fitted: Ledger = field(default_factory=Ledger)
    hits: Ledger | None = None
    written: int = 0
    chi2: float = 0.0
    ndof: int = 0
    iterations: int = 0
    statuses: dict[str, str] = field(default_factory=dict)

    def summary(self) -> list[str]:
        """Lines for people: ledgers, and the headline number."""
        lines = [self.read.line(), self.fitted.line()]
        lines += [self.hits.line()] if self.hits is not None else []
        lines += [f"{name.lower()}: {sentence}" for name, sentence in self.statuses.items()]
        if self.fitted.used:
            mean = self.iterations / self.fitted.used
            lines.append(f"chi2/ndof {self.chi2 / max(self.ndof, 1):.4f}, {mean:.2f} iterations")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "ledgers": {"read": self.read.to_dict(), "fitted": self.fitted.to_dict()}
            | ({} if self.hits is None else {"hits": self.hits.to_dict()}),
            "statuses": self.statuses, "written": self.written, "chi2": self.chi2, "ndof": self.ndof,
            "mean_iterations": self.iterations / max(self.fitted.used, 1),
        }  # fmt: skip


def load_refit(path: str | Path | None, settings: tuple[str, ...] = ()) -> RefitRun:
    """The section ``[refit]`` of a configuration file, the defaults without one.

    settings : "refit.a.b=value", laid over it

    Raises ConfigError with file and line for whatever is wrong in it.
    """
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    for key in document.values:
        if key not in (SECTION, *OTHERS):
            near = nearest(key, (SECTION, *OTHERS))
            raise ConfigError(
                f"{document.place(key)} unknown section '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""),
                kind="config.unknown_key",
                where={"key": key, "known": SECTION},
            )
    return _built(document)


def _built(document: TomlText) -> RefitRun:
    run = build(RefitRun, document.values.get(SECTION, {}), document, SECTION)
    local = document.folder / run.detector
    named = replace(run, detector=str(local)) if local.exists() else run
    return replace(named, input=replace(named.input, chunk_rows=named.chunk))


def refit_files(
    paths: Sequence[str | Path], out: str | Path, run: RefitRun, *, pairs: bool = False, keep_failed: bool = False,
    applied: str | Path | None = None, jobs: int | None = None, overwrite: bool = False, tell: Tell = silent,
) -> Refitted:  # fmt: skip
    """Fit the tracks, or with `pairs` the pairs, of files of hits, and write what was found.

    out         : .parquet or .root, streamed; or .h5, a `TrackFits` of all tracks, failed ones too, held in memory
    keep_failed : rows of fits that failed as well, with NaN and their status
    applied     : corrections of `mucal globalcor solve` that the fit applies
    jobs        : threads, default all cores; no result depends on it

    Raises ConfigError for another suffix, or weights for pairs; InputError for hits that cannot be read.
    """
    suffix = Path(out).suffix.lower()
    if suffix not in (".parquet", ".root", ".h5") or (suffix == ".h5" and pairs):
        raise ConfigError(
            f"{'pairs' if pairs else 'tracks'} are not written to '{suffix}'", kind="config.suffix",
            where={"file": out}, do="choose .parquet or .root" + ("" if pairs else ", or .h5"),
        )  # fmt: skip
    if pairs and run.robust.acts:
        raise ConfigError("[refit.robust] is of single tracks; leave it out for pairs", kind="config.unused_option")
    if Path(out).exists() and not overwrite:
        raise FileExistsError(17, "exists", str(out))
    refit = _refit(run, applied, jobs)
    source = open_hits(list(paths), run.input, detector=refit.detector)
    for note in source.notes:
        tell(Event(stage="refit", text=note))
    found = Refitted(fitted=Ledger(unit="pairs" if pairs else "tracks"))
    if suffix == ".h5":
        parts = [_fit_tracks(refit, hits, run, found)[0] for hits in _told(source, found, tell)]
        if not parts:
            parts = [_fit_tracks(refit, source.read(), run, found)[0]]
        fits = TrackFits.concatenate(parts)
        plain = json.loads(json.dumps({"detector": run.detector, "chunk": run.chunk}, default=str))
        made = Provenance(configuration=plain, inputs=source.digests, ledgers={"read": found.read})
        replace(fits, provenance=made).save(out, overwrite=overwrite)
        found.written = len(fits)
    else:
        chunks = _columns(refit, source, run, found, tell, pairs=pairs, keep_failed=keep_failed)
        found.written = write_fits(out, chunks, overwrite=overwrite)
    return found


def _refit(run: RefitRun, applied: str | Path | None, jobs: int | None) -> Refit:
    detector = detector_of(run.detector)
    config = replace(run.fit, n_threads=jobs or os.cpu_count() or 1)
    if applied is None:
        return Refit(detector=detector, registry=build_registry(detector, ()), config=config)
    corrections = GlobalCorrections.load(applied)
    return Refit(detector=detector, registry=corrections.registry, theta=corrections.theta, config=config)


def _told(source: HitsSource, found: Refitted, tell: Tell) -> Iterator[Hits]:
    """The chunks of a source, with progress."""
    for hits in source:
        yield hits
        found.read = source.ledger
        tell(Event(stage="refit", done=source.ledger.read, total=source.entries, unit="tracks"))
    found.read = source.ledger


def _columns(
    refit: Refit, source: HitsSource, run: RefitRun, found: Refitted, tell: Tell, *, pairs: bool, keep_failed: bool
) -> Iterator[Columns]:
    """Columns of every chunk; of no rows if there is no chunk."""
    any_chunk = False
    for hits in _told(source, found, tell):
        any_chunk = True
        yield _columns_of(refit, hits, run, found, pairs=pairs, keep_failed=keep_failed)
    if not any_chunk:
        yield _columns_of(refit, source.read(), run, found, pairs=pairs, keep_failed=keep_failed)


def _columns_of(refit: Refit, hits: Hits, run: RefitRun, found: Refitted, *, pairs: bool, keep_failed: bool) -> Columns:
    if not pairs:
        fits, removed = _fit_tracks(refit, hits, run, found)
        return track_columns(fits, np.full(len(fits), True) if keep_failed else fits.ok, removed)
    of_pairs, _ = refit.pairs(hits, profile=False)
    vertex = of_pairs.vertex
    _count(found, of_pairs.ledger(), vertex, {s.name: s.sentence for s in PairStatus})
    return pair_columns(of_pairs, np.full(len(of_pairs), True) if keep_failed else vertex.ok)


def _fit_tracks(refit: Refit, hits: Hits, run: RefitRun, found: Refitted) -> tuple[TrackFits, np.ndarray | None]:
    """Fits of single tracks and, where hits could be removed, how many were of each."""
    removed = None
    if run.robust.acts:
        robust = refit.robustly(hits, run.robust)
        fits, removed = robust.fits, robust.n_outliers
        found.hits = robust.hits_ledger() if found.hits is None else found.hits + robust.hits_ledger()
    else:
        fits, _ = refit.tracks(hits, profile=False)
    _count(found, fits.ledger(), fits, {s.name: s.sentence for s in FitStatus})
    return fits, removed


def _count(found: Refitted, ledger: Ledger, fits: Any, sentences: dict[str, str]) -> None:
    found.fitted += ledger
    ok = fits.ok
    found.chi2 += float(fits.chi2[ok].sum())
    found.ndof += int(fits.ndof[ok].sum())
    found.iterations += int(fits.n_iterations[ok].sum())
    found.statuses |= {name: sentences[name.upper()] for name in ledger.rejected}
