"""Sums as the commands make them: of hits, of profiled blocks or Mille records, here or by workers."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from mucal.errors import ConfigError, InputError, NotCertified
from mucal.globalcor import (
    AccumulateConfig,
    Chunk,
    GlobalCorrections,
    Linearity,
    NormalEquations,
    Refit,
    Registry,
    accumulate,
    build_registry,
    linear_against_refit,
)
from mucal.globalcor.truth_assisted import Positions
from mucal.globalcor.workers import Made, MakeExecutor
from mucal.io import HitsInput, open_hits
from mucal.io.file_magic import MAGIC
from mucal.io.mille import concatenate, read_mille
from mucal.io.mille_blocks import blocks_of
from mucal.refit import MassReference, ProfiledBlocks
from mucal.store import is_result, read_header, sha256
from mucal.workflow.globalcor import GlobalcorConfig, detector_of
from mucal.workflow.hit_sums import accumulate_hits, reference_of_hits, tell_failed, tell_influences
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.workers import workers_of

REPRODUCED: Final = 0.1
"""Share of its own error by which a reference mass may differ from the one that its pairs were selected with."""
MOST_REFERENCES: Final = 12


@dataclass(frozen=True, slots=True)
class BlockFiles:
    """Files of profiled blocks, or Mille binaries, as chunks: each file is one."""

    paths: tuple[str, ...]
    digest: str
    n_parameters: int

    def __call__(self, chunk: Chunk) -> ProfiledBlocks:
        path = self.paths[chunk.number]
        if is_result(path):
            return ProfiledBlocks.load(path)
        return blocks_of(concatenate(read_mille(path)), self.digest, self.n_parameters)

    def chunks(self) -> tuple[Chunk, ...]:
        """One a file."""
        return tuple(Chunk(number=i, start=0, stop=1) for i in range(len(self.paths)))


def accumulate_files(
    paths: Sequence[str | Path], registry: Registry, config: AccumulateConfig, *, sample: str = "",
    checkpoints: str | Path | None = None, workers: MakeExecutor | None = None, tell: Tell = silent,
) -> NormalEquations:  # fmt: skip
    """The sums of files of profiled blocks or Mille binaries.

    workers : see `workers_of`

    Raises InputError for a missing file, or the same file twice.
    """
    inputs: dict[str, str] = {}
    for path in paths:
        if not Path(path).is_file():
            raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
        digest = sha256(path)
        if digest in inputs.values():
            other = next(name for name, found in inputs.items() if found == digest)
            raise InputError(f"{path} holds the same bytes as {other}", kind="input.same_file", where={"file": path})
        inputs[str(path)] = digest
    reasons: dict[int, str] = {}

    def told(made: Made) -> None:
        if made.blocks is None:
            reasons[made.chunk.number] = made.attempts[-1]
        tell(Event(stage="accumulate", done=made.chunk.number + 1, total=len(inputs), unit="files"))

    def place(number: int) -> str:
        return str(paths[number])

    files = BlockFiles(tuple(map(str, paths)), registry.digest, len(registry))
    sums = accumulate(
        files, files.chunks(), registry, config, sample=sample, checkpoints=checkpoints, inputs=inputs,
        workers=workers, tell=told,
    )  # fmt: skip
    tell_failed(sums, place, reasons, len(inputs), config, tell)
    tell(Event(stage="accumulate", text=sums.ledger.line()))
    tell_influences(sums, registry, config, place, tell)
    return sums


def holds_hits(path: str | Path) -> bool:
    """Whether a file is one of recorded tracks: ROOT or Parquet by its first bytes, or a saved `Hits`."""
    if not Path(path).is_file():
        return False
    if is_result(path):
        return bool(read_header(path)["type"] == "Hits")
    with open(path, "rb") as file:
        head = file.read(16)
    return any(head.startswith(MAGIC[name]) for name in ("root", "parquet"))


def refit_of(
    config: GlobalcorConfig, registry: Registry, *, reference: str | Path | None = None,
    applied: str | Path | None = None, jobs: int | None = None,
) -> Refit:  # fmt: skip
    """How hits are fitted for sums.

    reference : file of `mucal globalcor reference`; None: `mass` and `width` of the configuration, or no mass
    applied   : corrections that the fit applies
    jobs      : threads; default: all cores
    """
    if reference is not None:
        mass: MassReference | None = MassReference.load(reference)
    else:
        mass = (
            None if config.mass is None or config.width is None else MassReference.constant(config.mass, config.width)
        )
    if mass is not None and not mass.holds_for(config.selection.window):
        raise ConfigError(
            f"the reference mass was derived for pairs of {mass.window[0]:g} to {mass.window[1]:g} GeV, and "
            f"globalcor.selection.window is {list(config.selection.window)}",
            kind="config.reference_window",
            do="derive it with this window: mucal globalcor reference",
        )
    before = None if applied is None else GlobalCorrections.load(applied)
    if before is not None and before.digest != registry.map.digest:
        raise InputError(f"{applied} is of another registry", kind="input.different_maps", where={"file": applied})
    return Refit(
        detector=detector_of(config.detector), registry=registry, theta=np.zeros(0) if before is None else before.theta,
        config=replace(config.refit, n_threads=jobs or os.cpu_count() or 1), mass=mass, selection=config.selection,
    )  # fmt: skip


def accumulate_any(
    paths: Sequence[str | Path], registry: Registry, config: GlobalcorConfig, *, reference: str | Path | None = None,
    applied: str | Path | None = None, truth: Positions | None = None, sample: str = "",
    checkpoints: str | Path | None = None, jobs: int | None = None, scheduler: str | None = None, tell: Tell = silent,
) -> NormalEquations:  # fmt: skip
    """The sums of files of hits, or of profiled blocks or Mille binaries.

    truth : of hits, positions of tracks that are held at their generated states, see `globalcor.truth_blocks`

    Raises ConfigError for both in one call, or a reference or corrections that nothing would use.
    """
    of_hits = [holds_hits(path) for path in paths]
    if reference is not None and truth is not None:
        raise ConfigError(
            "--reference is the mass of fitted pairs, and --truth fits none: every track is held at its own momentum",
            kind="config.unused_option",
        )
    if all(of_hits):
        refit = refit_of(config, registry, reference=reference, applied=applied, jobs=jobs)
        workers = None if scheduler is None else workers_of(None, scheduler)
        return accumulate_hits(
            paths, refit, config.accumulate, columns=HitsInput(chunk_rows=2 * config.chunk), truth=truth,
            sample=sample, checkpoints=checkpoints, workers=workers, tell=tell,
        )  # fmt: skip
    if any(of_hits):
        raise ConfigError(
            f"{paths[of_hits.index(True)]} holds hits, {paths[of_hits.index(False)]} does not; sum them in two "
            "commands and give both sums to `mucal globalcor solve`",
            kind="config.mixed_inputs",
        )
    if reference is not None or applied is not None or truth is not None:
        raise ConfigError(
            "--reference, --applied and --truth belong to hits; these files are profiled already",
            kind="config.unused_option",
        )
    return accumulate_files(
        paths, registry, config.accumulate, sample=sample, checkpoints=checkpoints,
        workers=workers_of(jobs, scheduler), tell=tell,
    )  # fmt: skip


def derive_reference(
    paths: Sequence[str | Path], config: GlobalcorConfig, *, pt_edges: Sequence[float] = (), jobs: int | None = None,
    tell: Tell = silent,
) -> MassReference:  # fmt: skip
    """The mass that a constraint may assume, from simulated hits; see `hit_sums.reference_of_hits`.

    The cut on chi2 of the constrained fit depends on the mass that it assumes: with a wider one more radiating pairs
    pass.  So the hits are fitted, first with the middle of the window, until the reference moves by less than
    `REPRODUCED` of its error.  Derived in docs/physics/pairs.md.

    Raises NotCertified if it still moves after `MOST_REFERENCES` fits, InputError for hits without truth.
    """
    detector = detector_of(config.detector)
    mean = sum(config.selection.window) / 2 if config.mass is None else config.mass
    width = (config.selection.window[1] - config.selection.window[0]) / 10 if config.width is None else config.width
    nothing = build_registry(detector, ())
    refit, columns = refit_of(config, nothing, jobs=jobs), HitsInput(chunk_rows=2 * config.chunk)
    last = MassReference.constant(mean, width)
    for _ in range(MOST_REFERENCES):
        found = reference_of_hits(paths, replace(refit, mass=last), columns=columns, pt_edges=pt_edges, tell=tell)
        same = found.n_pairs.size == last.n_pairs.size
        moved = float(np.max(np.abs(found.m_ref - last.m_ref) / found.error)) if same else 1.0
        if moved < REPRODUCED:
            return found
        last = found
    raise NotCertified(
        f"the reference mass still moves by {moved:.2g} of its error after {MOST_REFERENCES} fits",
        kind="globalcor.reference",
        do="widen the cut on chi2 per degree of freedom, or simulate more pairs",
    )


def linear_of_hits(
    paths: Sequence[str | Path], config: GlobalcorConfig, corrections: str | Path, *, most: int = 10_000,
    jobs: int | None = None,
) -> Linearity:  # fmt: skip
    """The first `most` tracks of files of hits corrected to first order, beside a refit with the corrections."""
    found = GlobalCorrections.load(corrections)
    refit = refit_of(config, found.registry, jobs=jobs)
    source = open_hits(list(paths), HitsInput(chunk_rows=most), detector=refit.detector)
    hits = next(iter(source), None)
    if hits is None or len(hits) == 0:
        raise InputError("the files hold no tracks", kind="input.empty")
    return linear_against_refit(refit, found, hits)


def added(paths: Sequence[str | Path]) -> NormalEquations:
    """The sum of saved sums."""
    sums = [NormalEquations.load(path) for path in paths]
    total = sums[0]
    for other in sums[1:]:
        total = total + other
    return total
