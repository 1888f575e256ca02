"""Hits to fitted tracks or pairs, as the command makes them: read, refitted and written chunk by chunk."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from mucal import __version__
from mucal.errors import ConfigError, nearest
from mucal.globalcor import GlobalCorrections, Refit, build_registry
from mucal.io import HitsInput, open_hits
from mucal.io.fit_writer import Columns, read_fits, write_fits
from mucal.io.hits_source import HitsSource
from mucal.ledger import Ledger
from mucal.refit import BeamLine, MassReference, PairFits, PairSelection, RefitConfig, RobustConfig, TrackFits
from mucal.store import Provenance
from mucal.track import Hits
from mucal.workflow.config import SECTIONS as OF_ANALYSIS
from mucal.workflow.globalcor import detector_of
from mucal.workflow.hit_sums import digest_of
from mucal.workflow.hits import SECTIONS as OF_HITS
from mucal.workflow.parts import Parts
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.refit_job import Job
from mucal.workflow.stages import code_digest, digest
from mucal.workflow.toml_text import TomlText, overlay, parse_toml, read_toml
from mucal.workflow.validate import build

SECTION: Final = "refit"
OTHERS: Final = (*OF_ANALYSIS, *OF_HITS, "globalcor")
"""Sections that a file may hold for other commands."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSpot:
    """``[refit.beam]``: the luminous region, a measurement of the vertex of pairs; not of displaced decays.

    centre : cm
    sigma  : cm   across the line in x and y, along it in z
    slope  :      dx/dz and dy/dz of the line
    """

    centre: tuple[float, float, float]
    sigma: tuple[float, float, float]
    slope: tuple[float, float] = (0.0, 0.0)

    def line(self) -> BeamLine:
        """As the fit reads it.  Raises ConfigError unless the sigmas are positive."""
        try:
            return BeamLine.of(self.centre, self.sigma, self.slope)
        except ValueError as error:
            raise ConfigError(str(error), kind="config.value", where={"asked": "[refit.beam]"}) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitRun:
    """Section ``[refit]``.

    detector    : cms-like, barrel, or a file or folder of detector tables: as it is assumed to be
    chunk       : tracks refitted at a time
    mass, width : GeV, mean and standard deviation of the generated mass of pairs, which are fitted with it as well; or
                  a file of `mucal globalcor reference` on the command line
    selection   : ``[refit.selection]``, of pairs for the fit with the mass
    beam        : ``[refit.beam]``
    input       : ``[refit.input]``, how files of hits are read; its `chunk_rows` is `chunk`
    fit         : ``[refit.fit]``
    robust      : ``[refit.robust]``; the hits of pairs are judged by the fits of their tracks
    """

    detector: str = "cms-like"
    chunk: int = 20_000
    mass: float | None = None
    width: float | None = None
    selection: PairSelection = field(default_factory=PairSelection)
    beam: BeamSpot | None = None
    input: HitsInput = field(default_factory=HitsInput)
    fit: RefitConfig = field(default_factory=RefitConfig)
    robust: RobustConfig = field(default_factory=RobustConfig)

    def __post_init__(self) -> None:
        if self.chunk < 1:
            raise ValueError(f"chunk = {self.chunk}, expected at least 1 track")
        if (self.mass is None) != (self.width is None):
            raise ValueError(f"mass = {self.mass}, width = {self.width}; expected both or neither")


@dataclass(kw_only=True)
class Refitted:
    """What a run found.

    read, fitted : ledgers of tracks in the files; of tracks or pairs fitted
    hits         : ledger of hits, where any could be removed
    constrained  : ledger of pairs fitted with their mass
    written      : rows
    resumed      : chunks that a stopped run had finished
    chi2, ndof   : sums over what was fitted
    iterations   : likewise
    n_tracks     : of each chunk, or as many of them as stand in pairs
    statuses     : status -> its sentence, of those that occurred
    """

    read: Ledger = field(default_factory=Ledger)
    fitted: Ledger = field(default_factory=Ledger)
    hits: Ledger | None = None
    constrained: Ledger | None = None
    written: int = 0
    resumed: int = 0
    chi2: float = 0.0
    ndof: int = 0
    iterations: int = 0
    n_tracks: list[int] = field(default_factory=list)
    statuses: dict[str, str] = field(default_factory=dict)

    def summary(self) -> list[str]:
        """Lines for people: ledgers, and the headline number."""
        lines = [self.read.line(), self.fitted.line()]
        lines += [self.hits.line()] if self.hits is not None else []
        lines += [f"with the mass: {self.constrained.line()}"] if self.constrained is not None else []
        lines += [f"{self.resumed} chunks were finished already"] if self.resumed else []
        lines += [f"{name.lower()}: {sentence}" for name, sentence in self.statuses.items()]
        if self.fitted.used:
            mean = self.iterations / self.fitted.used
            lines.append(f"chi2/ndof {self.chi2 / max(self.ndof, 1):.4f}, {mean:.2f} iterations")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        ledgers = {"read": self.read, "fitted": self.fitted, "hits": self.hits, "constrained": self.constrained}
        return {
            "ledgers": {name: ledger.to_dict() for name, ledger in ledgers.items() if ledger is not None},
            "statuses": self.statuses, "written": self.written, "chi2": self.chi2, "ndof": self.ndof,
            "mean_iterations": self.iterations / max(self.fitted.used, 1),
        }  # fmt: skip

    def add(self, part: Mapping[str, Any]) -> None:
        """What `counted` says of a chunk."""
        for name, counts in part["ledgers"].items():
            before = getattr(self, name)
            ledger = Ledger(**counts)
            setattr(self, name, ledger if before is None else before + ledger)
        for name in ("chi2", "ndof", "iterations"):
            setattr(self, name, getattr(self, name) + part[name])
        self.n_tracks.append(part["n_tracks"])
        self.statuses |= part["statuses"]


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
    applied: str | Path | None = None, reference: str | Path | None = None, jobs: int | None = None,
    overwrite: bool = False, resume: bool = False, tell: Tell = silent,
) -> Refitted:  # fmt: skip
    """Fit the tracks, or with `pairs` the pairs, of files of hits, and write what was found.

    out         : .parquet or .root, streamed; or .h5, a `TrackFits` or `PairFits` of all, failed ones too, in memory
    keep_failed : rows of fits that failed as well, with NaN and their status
    applied     : corrections of `mucal globalcor solve` that the fit applies
    reference   : of `mucal globalcor reference`, the mass of the second fit of pairs; None: that of the configuration
    jobs        : threads, default all cores; no result depends on it
    resume      : take up the chunks that a stopped run left in ``OUT.parts``

    Raises ConfigError for another suffix, or options of pairs for tracks; InputError for hits that cannot be read.
    """
    suffix = Path(out).suffix.lower()
    if suffix not in (".parquet", ".root", ".h5"):
        raise ConfigError(
            f"{'pairs' if pairs else 'tracks'} are not written to '{suffix}'", kind="config.suffix",
            where={"file": out}, do="choose .parquet or .root, or .h5",
        )  # fmt: skip
    if not pairs and (reference is not None or run.mass is not None or run.beam is not None):
        raise ConfigError(
            "a mass and a beam line belong to pairs, and tracks are fitted on their own", kind="config.unused_option",
            do="give --pairs, or leave them out",
        )  # fmt: skip
    if Path(out).exists() and not overwrite:
        raise FileExistsError(17, "exists", str(out))
    refit = _refit(run, applied, reference, jobs)
    source = open_hits(list(paths), run.input, detector=refit.detector)
    for note in source.notes:
        tell(Event(stage="refit", text=note))
    whole = suffix == ".h5"
    key = digest({
        "mucal": __version__, "code": code_digest(), "inputs": list(source.digests.values()), "refit": digest_of(refit),
        "run": repr(replace(run, fit=RefitConfig())), "pairs": pairs, "keep_failed": keep_failed, "whole": whole,
    })  # fmt: skip
    parts = Parts(out, key, resume=resume)
    found = Refitted(fitted=Ledger(unit="pairs" if pairs else "tracks"))
    job = Job(refit=refit, robust=run.robust, pairs=pairs, keep_failed=keep_failed)
    if whole:
        fits = job.joined(_made(source, found, tell, parts, job.result, ".h5", _save, job.load), found.n_tracks)
        plain = json.loads(json.dumps({"detector": run.detector, "chunk": run.chunk}, default=str))
        made = Provenance(configuration=plain, inputs=source.digests, ledgers={"read": found.read})
        replace(fits, provenance=made).save(out, overwrite=overwrite)
        found.written = len(fits)
    else:
        chunks = _made(source, found, tell, parts, job.columns, ".parquet", _write, read_fits)
        found.written = write_fits(out, chunks, overwrite=overwrite)
    found.resumed = parts.taken
    parts.clear()
    return found


def _refit(run: RefitRun, applied: str | Path | None, reference: str | Path | None, jobs: int | None) -> Refit:
    detector = detector_of(run.detector)
    mass: MassReference | None = None
    if reference is not None:
        mass = MassReference.load(reference)
    elif run.mass is not None and run.width is not None:
        mass = MassReference.constant(run.mass, run.width)
    refit = Refit(
        detector=detector, registry=build_registry(detector, ()),
        config=replace(run.fit, n_threads=jobs or os.cpu_count() or 1), mass=mass, selection=run.selection,
        beam=None if run.beam is None else run.beam.line(),
    )  # fmt: skip
    if applied is None:
        return refit
    corrections = GlobalCorrections.load(applied)
    return replace(refit, registry=corrections.registry, theta=corrections.theta)


def _made(
    source: HitsSource, found: Refitted, tell: Tell, parts: Parts,
    make: Callable[[Hits], tuple[T, Mapping[str, Any]]], suffix: str, save: Callable[[Path, T], object],
    load: Callable[[Path], T],
) -> Iterator[T]:  # fmt: skip
    """What is made of every chunk, with progress; of no tracks if there is no chunk."""
    number = 0
    for hits in source:
        made, counts = parts.once(number, suffix, partial(make, hits), save, load)
        found.add(counts)
        number += 1
        yield made
        found.read = source.ledger
        tell(Event(stage="refit", done=source.ledger.read, total=source.entries, unit="tracks"))
    found.read = source.ledger
    if number == 0:
        made, counts = make(source.read())
        found.add(counts)
        yield made


def _write(path: Path, columns: Columns) -> None:
    write_fits(path, [columns], overwrite=True)


def _save(path: Path, fits: TrackFits | PairFits) -> None:
    fits.save(path, overwrite=True)
