"""Global corrections, as the commands call them: registry, sums, solve, modes, application, Mille."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np

from mucal.detector import Detector, barrel, cms_like
from mucal.detector.field import harmonic_modes
from mucal.errors import ConfigError, InputError
from mucal.globalcor import (
    CMS_2016,
    REDUCED,
    AccumulateConfig,
    Chunk,
    Constraint,
    Family,
    GlobalCorrections,
    Measurement,
    NormalEquations,
    Registry,
    SolveConfig,
    WeakModes,
    accumulate,
    build_registry,
    gauges,
    influences,
    solve,
    templates,
    weak_modes,
)
from mucal.globalcor.families import KINDS
from mucal.globalcor.workers import MakeExecutor
from mucal.io import read_detector
from mucal.io.mille import MilleRecords, concatenate, read_mille, write_mille
from mucal.io.mille_blocks import blocks_of, records_of
from mucal.io.mille_text import read_text, write_labels
from mucal.plot.globalcor import overlap_figure, spectrum_figure
from mucal.plot.style import save
from mucal.refit import ProfiledBlocks
from mucal.store import is_result, sha256
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.toml_text import overlay, parse_toml, read_toml
from mucal.workflow.validate import build

BUILT_IN: Final = {"cms-like": cms_like, "barrel": barrel}
CHOICES: Final = {"cms2016": CMS_2016, "reduced": REDUCED}
SECTION: Final = "globalcor"


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalcorConfig:
    """Section ``[globalcor]``.

    detector     : cms-like, barrel, or a file or folder of detector tables
    choice       : cms2016 or reduced, if no families are given
    families     : ``[[globalcor.families]]``
    l_max, m_max : largest degree and order of the field modes, if some float
    accumulate   : ``[globalcor.accumulate]``
    solve        : ``[globalcor.solve]``
    """

    detector: str = "cms-like"
    choice: str = "reduced"
    families: tuple[Family, ...] = ()
    l_max: int = 4
    m_max: int | None = None
    accumulate: AccumulateConfig = field(default_factory=AccumulateConfig)
    solve: SolveConfig = field(default_factory=SolveConfig)

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ValueError(f"choice = '{self.choice}', expected {' or '.join(CHOICES)}")


def load_globalcor(path: str | Path | None, settings: tuple[str, ...] = ()) -> GlobalcorConfig:
    """The section ``[globalcor]`` of a configuration file, the defaults without one.

    settings : "globalcor.a.b=value", laid over it

    Raises ConfigError with file and line for whatever is wrong in it.
    """
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    unknown = [key for key in document.values if key != SECTION]
    if unknown:
        raise ConfigError(
            f"{document.place(unknown[0])} section '{unknown[0]}'; these commands read [{SECTION}] only",
            kind="config.unknown_key",
            where={"key": unknown[0]},
        )
    return build(GlobalcorConfig, document.values.get(SECTION, {}), document, SECTION)


def detector_of(name: str) -> Detector:
    """A built-in detector by name, or one read from tables."""
    return BUILT_IN[name]() if name in BUILT_IN else read_detector(name)


def make_registry(config: GlobalcorConfig) -> Registry:
    """The registry of a configuration."""
    families = config.families or CHOICES[config.choice]
    floating = any(family.kind == "modes" for family in families)
    modes = harmonic_modes(config.l_max, config.m_max) if floating else None
    return build_registry(detector_of(config.detector), families, modes)


def counts(registry: Registry) -> dict[str, int]:
    """How many parameters there are of each kind."""
    found = {kind: int(registry.of_kind(kind).sum()) for kind in KINDS}
    return {kind: n for kind, n in found.items() if n}


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


def workers_of(jobs: int | None, scheduler: str | None) -> MakeExecutor | None:
    """Local processes, or those of a dask scheduler by its address; None is this process."""
    if scheduler is not None:
        try:
            distributed = import_module("distributed")
        except ImportError as error:
            raise ConfigError(
                "--scheduler needs dask.distributed", kind="config.missing_extra", do="pip install 'mucal[distributed]'"
            ) from error
        executor: MakeExecutor = distributed.Client(scheduler).get_executor
        return executor
    return partial(ProcessPoolExecutor, jobs, mp_context=get_context("spawn")) if jobs and jobs > 1 else None


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
    files = BlockFiles(tuple(map(str, paths)), registry.digest, len(registry))
    sums = accumulate(
        files, files.chunks(), registry, config, sample=sample, checkpoints=checkpoints, inputs=inputs,
        workers=workers, tell=lambda made: tell(
            Event(stage="accumulate", done=made.chunk.number + 1, total=len(inputs), unit="files")
        ),
    )  # fmt: skip
    if sums.failed:
        raise InputError(
            f"{len(sums.failed)} of {len(inputs)} files could not be summed, first {first_failed(sums, paths)}",
            kind="input.damaged",
        )
    tell(Event(stage="accumulate", text=sums.ledger.line()))
    for one in influences(sums, registry, 3):
        tell(Event(stage="influence", text=f"{100 * one.share:.1f} % of {one.parameter}: candidate {one.candidate} of "
                                           f"file {one.chunk}"))  # fmt: skip
    return sums


def first_failed(sums: NormalEquations, paths: Sequence[str | Path]) -> str:
    """The name of the first file that could not be summed."""
    return str(paths[int(sums.failed[0].rpartition("/")[2])])


def added(paths: Sequence[str | Path]) -> NormalEquations:
    """The sum of saved sums."""
    sums = [NormalEquations.load(path) for path in paths]
    total = sums[0]
    for other in sums[1:]:
        total = total + other
    return total


def solve_sums(
    sums: NormalEquations, registry: Registry, config: SolveConfig, *, applied: str | Path | None = None,
    texts: Sequence[str | Path] = (), gauge: bool = False, detector: str = "cms-like",
) -> GlobalCorrections:  # fmt: skip
    """The corrections of sums.

    applied : corrections that were applied in the refit
    texts   : files of constraints and measurements in Millepede's form
    gauge   : hold the rigid motions of the tracker at 0
    """
    constraints: list[Constraint] = []
    measurements: list[Measurement] = []
    for path in texts:
        found = read_text(path)
        constraints += found.constraints
        measurements += found.measurements
    patterns = None
    large = int(np.count_nonzero(sums.total().entries)) > config.dense_limit
    if gauge or large:
        there = detector_of(detector)
        constraints += gauges(registry, there) if gauge else []
        patterns = templates(registry, there).vectors if large else None
    before = None if applied is None else GlobalCorrections.load(applied).theta
    return solve(
        sums, registry, config, applied=before, constraints=constraints, measurements=measurements, templates=patterns
    )


def find_modes(
    sums: NormalEquations,
    registry: Registry,
    config: SolveConfig,
    detector: str,
    n_modes: int,
    folder: str | Path | None,
) -> tuple[WeakModes, list[str]]:
    """The soft modes of sums, and lines for people; figures go into a folder if one is named."""
    patterns = templates(registry, detector_of(detector))
    modes = weak_modes(sums, registry, patterns, n_modes, config)
    lines = [f"{'mode':>4} {'eigenvalue':>11} {'of priors':>9}  most like"]
    for i, name in enumerate(modes.names()[:10]):
        lines.append(f"{i:>4} {modes.eigenvalues[i]:>11.4g} {100 * modes.prior_share[i]:>8.1f}%  {name}")
    lines.append(f"{'template':<16} {'alone':>10} {'all floating':>13} {'prior':>10}")
    for i, name in enumerate(modes.templates):
        lines.append(f"{name:<16} {modes.alone[i]:>10.3g} {modes.error[i]:>13.3g} {modes.prior_error[i]:>10.3g}")
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        save(spectrum_figure(modes), Path(folder) / "modes_spectrum.svg")
        save(overlap_figure(modes), Path(folder) / "modes_overlaps.svg")
    return modes, lines


def write_mille_of(
    paths: Sequence[str | Path], registry: Registry, out: str | Path, *, flavour: str, double: bool, overwrite: bool
) -> Path:
    """Profiled blocks as a Mille binary, and the table of its labels beside it, ending `.labels.csv`.

    Raises InputError for blocks of another registry.
    """

    def tables() -> Iterator[MilleRecords]:
        for path in paths:
            blocks = ProfiledBlocks.load(path)
            if blocks.digest != registry.digest:
                raise InputError(
                    f"{path} has derivatives by the parameters of another registry",
                    kind="input.different_maps",
                    where={"file": path},
                )
            yield records_of(blocks)

    write_labels(f"{out}.labels.csv", registry, overwrite=overwrite)
    return write_mille(out, tables(), flavour=flavour, double=double, overwrite=overwrite)
