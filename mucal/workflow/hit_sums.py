"""Sums straight from recorded hits: each chunk is read, refitted and profiled, and nothing of it is kept."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, Self

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError
from mucal.globalcor import (
    AccumulateConfig,
    Chunk,
    NormalEquations,
    Refit,
    Registry,
    accumulate,
    divide,
    influences,
    joined,
    truth_blocks,
)
from mucal.globalcor.normal_equations import REFIT
from mucal.globalcor.truth_assisted import Positions
from mucal.globalcor.workers import Made, MakeExecutor
from mucal.io import HitsInput, open_hits
from mucal.io.hits_source import HitsSource
from mucal.ledger import Ledger
from mucal.refit import MassReference, PairFits, ProfiledBlocks, derive_mass_reference
from mucal.track import LAM, QOP, Hits, invariant_mass
from mucal.workflow.progress import Event, Tell, silent

PAIRS_AT_ONCE: Final = 2_000
"""Pairs refitted at a time; their blocks take about 30 kB each."""


@dataclass(kw_only=True)
class HitBlocks:
    """The blocks of a stream of hits that is read once, in order; the chunk read last may be asked for again.

    stream   :  starts the stream anew
    n_chunks :  as many as it can yield; those that it does not are empty
    rows     :  of a chunk, about
    refit    :  how they are fitted
    truth    :  hold single tracks at their generated state, with these positions, instead of fitting pairs
    seen     :  called with the hits and fits of every whole chunk
    position :  rows of the input that the running stream has read, for `spans`
    ledger   :  of the pairs fitted, or tracks held, so far
    broken   :  what the stream ended with, if it did not end well: no later chunk can be made
    spans    :  chunk number -> the rows of the input that it was made from, first and one past the last
    """

    stream: Callable[[], Iterator[Hits]]
    n_chunks: int
    rows: int
    refit: Refit
    truth: Positions | None = None
    seen: Callable[[Hits, PairFits], object] = lambda hits, fits: None
    position: Callable[[], int] = lambda: 0
    ledger: Ledger = field(default_factory=lambda: Ledger(unit="pairs"))
    broken: Exception | None = None
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    _running: Iterator[Hits] | None = None
    _next: int = 0
    _held: Hits | None = None

    @classmethod
    def of_files(cls, source: HitsSource, refit: Refit, truth: Positions | None = None) -> Self:
        """Those of files; with a last chunk that is empty, as what is wrong with the whole is said at its end."""
        rows = source.config.chunk_rows
        n_chunks = sum(-(-table.entries // rows) + 1 for table in source.files) + 1
        return cls(
            stream=lambda: iter(source), n_chunks=n_chunks, rows=rows, refit=refit, truth=truth,
            position=lambda: source.ledger.read,
        )  # fmt: skip

    def chunks(self) -> tuple[Chunk, ...]:
        """All of them."""
        return divide(self.n_chunks * self.rows, self.rows)

    def __call__(self, chunk: Chunk) -> ProfiledBlocks:
        hits = self._of(chunk.number)
        whole = chunk.stop - chunk.start == self.rows
        if not whole:
            start = chunk.start - chunk.number * self.rows
            hits = _whole_pairs(hits, start, start + chunk.stop - chunk.start, start > 0)
        if self.truth is not None:
            blocks, ledger = truth_blocks(self.refit, hits, self.truth)
            self.ledger += ledger
            return blocks
        fits, profiled = self.refit.pairs(hits)
        assert profiled is not None
        self.ledger += fits.ledger(constrained=self.refit.mass is not None)
        if whole:
            self.seen(hits, fits)
        return profiled

    def _of(self, number: int) -> Hits:
        if self.broken is not None:
            raise self.broken
        if self._running is None or number < self._next - 1:
            self._running, self._next = self.stream(), 0
        while self._next <= number:
            before, last = self.position() if self._next else 0, self._held
            try:
                self._held = next(self._running, None)
            except Exception as error:  # a generator that raised is at its end: asked again it would say nothing
                self.broken = error
                raise
            self.spans[self._next] = (before, self.position())
            self._next += 1
            if self._held is None and last is not None:
                self._held = last.select(slice(0, 0))
        if self._held is None:
            raise InputError("the files hold no tracks", kind="input.empty")
        return self._held


def _whole_pairs(hits: Hits, start: int, stop: int, to_end: bool) -> Hits:
    """Rows from start to stop, the pair at either edge counted by its first row; to the end if `to_end`."""
    first = np.ones(len(hits), dtype=bool)
    first[1:] = (hits.pair[1:] != hits.pair[:-1]) | (hits.pair[1:] < 0)
    owner = np.maximum.accumulate(np.where(first, np.arange(len(hits)), 0))
    keep: np.ndarray = (owner >= start) & (to_end | (owner < stop))
    return hits.select(keep)


@dataclass(frozen=True, kw_only=True)
class FileBlocks:
    """The blocks of whole files, for workers that may be elsewhere: each file is a chunk.

    paths  :  as the workers see them
    config :  of the reading
    refit  :  how hits are fitted
    truth  :  see `HitBlocks`
    """

    paths: tuple[str, ...]
    config: HitsInput
    refit: Refit
    truth: Positions | None = None

    def chunks(self) -> tuple[Chunk, ...]:
        """One a file."""
        return tuple(Chunk(number=i, start=0, stop=1) for i in range(len(self.paths)))

    def __call__(self, chunk: Chunk) -> ProfiledBlocks:
        parts, before = [], 0
        for hits in open_hits(self.paths[chunk.number], self.config, detector=self.refit.detector):
            if self.truth is not None:
                blocks: ProfiledBlocks | None = truth_blocks(self.refit, hits, self.truth)[0]
                n = len(hits)
            else:
                fits, blocks = self.refit.pairs(hits)
                n = len(fits)
            assert blocks is not None
            parts.append(_renumbered(blocks, before))
            before += n
        return joined(parts)


def _renumbered(blocks: ProfiledBlocks, by: int) -> ProfiledBlocks:
    return replace(blocks, candidate=blocks.candidate + by)


def accumulate_hits(
    paths: Sequence[str | Path], refit: Refit, config: AccumulateConfig, *, columns: HitsInput | None = None,
    truth: Positions | None = None, sample: str = "", checkpoints: str | Path | None = None,
    workers: MakeExecutor | None = None, tell: Tell = silent,
) -> NormalEquations:  # fmt: skip
    """The sums of the pairs of files of hits; or of all tracks, held at their generated states.

    columns : how the files are read
    truth   : "recorded" or "simulated" positions of tracks that are held, see `globalcor.truth_blocks`
    workers : processes or machines, each of which takes whole files; None: this process, with the threads of `refit`

    Raises InputError for hits that cannot be read or that hold no pair, and for failed chunks as `tell_failed` does.
    """
    source = open_hits(list(paths), columns or HitsInput(chunk_rows=2 * PAIRS_AT_ONCE), detector=refit.detector)
    for note in source.notes:
        tell(Event(stage="accumulate", text=note))
    here = HitBlocks.of_files(source, refit, truth)
    files = FileBlocks(paths=tuple(map(str, paths)), config=source.config, refit=refit, truth=truth)
    produce = here if workers is None else files
    chunks = produce.chunks()
    reasons: dict[int, str] = {}

    def told(made: Made) -> None:
        if here.broken is not None:
            raise here.broken
        if made.blocks is None:
            reasons[made.chunk.number] = made.attempts[-1]
        tell(Event(stage="accumulate", done=made.chunk.number + 1, total=len(chunks), unit="chunks"))

    def place(number: int) -> str:
        return str(paths[number]) if workers is not None else entries_of(source, here.spans.get(number))

    sums = accumulate(
        produce, chunks, refit.registry, config, sample=sample, checkpoints=checkpoints,
        inputs={**source.digests, REFIT: digest_of(refit, truth)}, workers=workers, tell=told,
    )  # fmt: skip
    tell_failed(sums, place, reasons, len(chunks), config, tell)
    if workers is None:
        tell(Event(stage="accumulate", text=source.ledger.line()))
        tell(Event(stage="accumulate", text=here.ledger.line()))
    tell(Event(stage="accumulate", text=sums.ledger.line()))
    tell_influences(sums, refit.registry, config, place, tell)
    return sums


def entries_of(source: HitsSource, span: tuple[int, int] | None) -> str:
    """Files and entries of some rows of the whole input, for people; None: rows that an earlier run read."""
    if span is None:
        return "entries of an earlier run"
    parts, offset = [], 0
    for table in source.files:
        first, last = max(span[0] - offset, 0), min(span[1] - offset, table.entries) - 1
        if first <= last:
            parts.append(f"{table.path} entries {first} to {last}")
        offset += table.entries
    return ", ".join(parts)


def tell_failed(
    sums: NormalEquations, place: Callable[[int], str], reasons: Mapping[int, str], n_chunks: int,
    config: AccumulateConfig, tell: Tell,
) -> None:  # fmt: skip
    """Name the chunks that failed, and why.

    place   : of a chunk by its number, as people know it: files and entries
    reasons : chunk number -> what the last attempt said

    Raises InputError if they are more than `config.most_failed` of all, or nothing else is left.
    """
    numbers = [int(name.rpartition("/")[2]) for name in sums.failed]
    if not numbers:
        return
    names = [": ".join(filter(None, (place(n), reasons.get(n)))) for n in numbers]
    if len(names) > config.most_failed * n_chunks or len(names) == n_chunks:
        raise InputError(
            f"{len(names)} of {n_chunks} chunks or files could not be summed, first {names[0]}",
            kind="input.damaged",
            do="mend it or leave it out; or allow a share with globalcor.accumulate.most_failed: they are then named",
        )
    for name in names:
        tell(Event(stage="accumulate", text=f"left out, could not be summed: {name}"))


def tell_influences(
    sums: NormalEquations, registry: Registry, config: AccumulateConfig, place: Callable[[int], str], tell: Tell
) -> None:
    """The ten candidates that weigh most, largest first, and what leaves out those beyond the guard.

    place : of a chunk by its number, as people know it
    """
    top = influences(sums, registry)
    for one in top:
        tell(Event(stage="influence", text=f"{100 * one.share:.1f} % of {one.parameter}: candidate {one.candidate} of "
                                           f"chunk {one.chunk}, {place(one.chunk)}"))  # fmt: skip
    chunks: dict[int, list[int]] = {}
    for one in top:
        if one.share > config.guards.share:
            chunks.setdefault(one.chunk, []).append(one.candidate)
    if chunks:
        inside = ", ".join(f"{chunk} = {sorted(chunks[chunk])}" for chunk in sorted(chunks))
        tell(Event(
            stage="influence",
            text=f"beyond globalcor.accumulate.guards.share = {config.guards.share:g}; a sum without them: "
                 f"globalcor.accumulate.exclude = {{ {inside} }}",
        ))  # fmt: skip


def digest_of(refit: Refit, truth: Positions | None = None) -> str:
    """Of all that the blocks depend on besides the hits and the registry: geometry, material, field, fit, selection."""
    h = hashlib.sha256(np.ascontiguousarray(refit.total).tobytes())
    config = {k: v for k, v in asdict(refit.config).items() if k != "n_threads"}
    for part in (config, refit.selection, refit.detector.name, *([] if truth is None else [truth])):
        h.update(repr(part).encode())
    modules = refit.model.modules
    numbers: list[np.ndarray] = [refit.surfaces.packed, refit.surfaces.media, refit.magnet.packed]
    numbers += [modules.strip_angle, modules.focus, modules.n_meas]
    if refit.mass is not None:
        numbers += [refit.mass.pt_edges, refit.mass.m_ref, refit.mass.gamma, refit.mass.sigma, refit.mass.shift]
    numbers += [] if refit.beam is None else [refit.beam.centre, refit.beam.cov]
    for array in numbers:
        h.update(np.ascontiguousarray(array).tobytes())
    return h.hexdigest()


def reference_of_hits(
    paths: Sequence[str | Path], refit: Refit, *, columns: HitsInput | None = None,
    pt_edges: Sequence[float] = (), tell: Tell = silent,
) -> MassReference:  # fmt: skip
    """Mean and width of the generated mass of the pairs that the selection keeps, for `MassReference`.

    refit    : with any reference: it and the selection decide which pairs are kept
    pt_edges : GeV, of the softer muon; none: one bin

    Raises InputError for hits without truth.
    """
    source = open_hits(list(paths), columns or HitsInput(chunk_rows=2 * PAIRS_AT_ONCE), detector=refit.detector)
    if not source.has_truth:
        raise InputError(
            "the reference mass is that of generated muons, and these files do not say what was generated",
            kind="input.no_truth",
        )
    masses, curvatures, soft, errors, kept = [], [], [], [], []
    for hits in source:
        fits, _ = refit.pairs(hits, profile=False)
        masses.append(generated_mass(hits, fits))
        curvatures.append(generated_curvature(hits, fits))
        soft.append(fits.vertex.pt.min(axis=1))
        errors.append(fits.vertex.sigma_mass / fits.vertex.mass)
        kept.append(fits.constrained.ok)
        tell(Event(stage="reference", text=fits.ledger(constrained=True).line()))
    mass, selected = np.concatenate(masses), np.concatenate(kept)
    tell(Event(stage="reference", text=same_at_all_momenta(mass[selected], np.concatenate(curvatures)[selected])))
    return derive_mass_reference(
        mass, np.concatenate(soft), np.concatenate(errors), selected, window=refit.selection.window,
        pt_edges=np.array(pt_edges) if pt_edges else None,
    )  # fmt: skip


def same_at_all_momenta(mass: FloatArray, curvature: FloatArray) -> str:
    """Whether one mean mass will do for pairs of all momenta, for people.

    It has to be the same on the surface m = m_ref, which is k m / m_ref for muons of equal errors.

    mass      : (C,) GeV      generated, of the selected pairs
    curvature : (C, 2) 1/GeV  generated 1/pT

    Source: docs/physics/pairs.md.
    """
    on_surface = curvature.mean(axis=1) * mass / mass.mean() if mass.size else mass
    if mass.size < 3 or not on_surface.std() > 0:
        return "too few pairs to say whether their mean mass is the same at all momenta"
    slope = float(np.polyfit(on_surface, mass, 1)[0])
    error = float(mass.std() / on_surface.std() / np.sqrt(mass.size))
    line = f"mean mass on its surface changes by {1e3 * slope:+.1f} +- {1e3 * error:.1f} MeV GeV with the mean 1/pT"
    if abs(slope) > 4.0 * error:
        line += "; it should not: set selection.pt_min, and generate muons from further below it"
    return line


def generated_mass(hits: Hits, fits: PairFits) -> FloatArray:
    """(C,) GeV, of both muons after radiation; NaN for a pair of one track."""
    return np.where(fits.tracks[:, 1] >= 0, pair_masses(_generated(hits, fits)), np.nan)


def generated_curvature(hits: Hits, fits: PairFits) -> FloatArray:
    """(C, 2) 1/GeV, 1/pT of both muons; that of its first track twice for a pair of one."""
    return curvatures(_generated(hits, fits))


def _generated(hits: Hits, fits: PairFits) -> FloatArray:
    """(C, 2, 5)"""
    assert hits.truth is not None
    paired = hits if np.all(hits.pair >= 0) else hits.select(hits.pair >= 0)
    assert paired.truth is not None
    return paired.truth.state[np.maximum(fits.tracks, 0)]


def curvatures(state: FloatArray) -> FloatArray:
    """(...,) 1/GeV, 1/pT of states (..., 5)."""
    values: FloatArray = np.abs(state[..., QOP]) / np.cos(state[..., LAM])
    return values


def pair_masses(state: FloatArray) -> FloatArray:
    """(C,) GeV from the states (C, 2, 5) of both muons."""
    qop, lam, phi = np.moveaxis(state[..., :3], 2, 0)
    return invariant_mass(np.cos(lam) / np.abs(qop), np.arcsinh(np.tan(lam)), phi)
