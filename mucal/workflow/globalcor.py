"""Global corrections, as the commands call them: registry, sums, solve, modes, application, Mille."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np

from mucal.detector import Detector
from mucal.detector.field import harmonic_modes
from mucal.errors import ConfigError, InputError, NotCertified
from mucal.globalcor import (
    CMS_2016,
    REDUCED,
    AccumulateConfig,
    BiasMap,
    Chunk,
    Constraint,
    Family,
    GlobalCorrections,
    Linearity,
    Measurement,
    NormalEquations,
    Refit,
    Registry,
    SolveConfig,
    WeakModes,
    accumulate,
    build_registry,
    field_probes,
    gauges,
    linear_against_refit,
    solve,
    templates,
    weak_modes,
)
from mucal.globalcor.families import KINDS
from mucal.globalcor.truth_assisted import Positions
from mucal.globalcor.workers import MakeExecutor
from mucal.io import HitsInput, open_detector, open_hits
from mucal.io.field_probes import read_field_probes
from mucal.io.file_magic import MAGIC
from mucal.io.mille import MilleRecords, concatenate, read_mille, write_mille
from mucal.io.mille_blocks import blocks_of, records_of
from mucal.io.mille_text import read_text, write_labels
from mucal.plot.globalcor import overlap_figure, spectrum_figure
from mucal.plot.style import save
from mucal.refit import MassReference, PairSelection, ProfiledBlocks, RefitConfig
from mucal.store import is_result, read_header, sha256
from mucal.workflow.hit_sums import accumulate_hits, reference_of_hits, tell_failed, tell_influences
from mucal.workflow.hits import OTHERS as OF_OTHERS
from mucal.workflow.hits import SECTIONS as OF_HITS
from mucal.workflow.mode_maps import bias_lines, mode_bias, save_bias_figures
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.toml_text import overlay, parse_toml, read_toml
from mucal.workflow.validate import build

REPRODUCED: Final = 0.1
"""Share of its own error by which a reference mass may differ from the one that its pairs were selected with."""
MOST_REFERENCES: Final = 12

CHOICES: Final = {"cms2016": CMS_2016, "reduced": REDUCED}
SECTION: Final = "globalcor"
MEAN_MASS: Final = Family(kind="mass", by="whole", min_entries=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalcorConfig:
    """Section ``[globalcor]``.

    detector     : cms-like, barrel, or a file or folder of detector tables
    choice       : cms2016 or reduced, if no families are given; with the error of the mean mass
    families     : ``[[globalcor.families]]``
    l_max, m_max : largest degree and order of the field modes, if some float
    refit        : ``[globalcor.refit]``, how hits are fitted
    selection    : ``[globalcor.selection]``, of pairs
    mass         : GeV, mean mass of such pairs; with `width` instead of a file of `mucal globalcor reference`
    width        : GeV, its standard deviation
    chunk        : pairs refitted at a time
    accumulate   : ``[globalcor.accumulate]``
    solve        : ``[globalcor.solve]``
    """

    detector: str = "cms-like"
    choice: str = "reduced"
    families: tuple[Family, ...] = ()
    l_max: int = 4
    m_max: int | None = None
    refit: RefitConfig = field(default_factory=RefitConfig)
    selection: PairSelection = field(default_factory=PairSelection)
    mass: float | None = None
    width: float | None = None
    chunk: int = 2_000
    accumulate: AccumulateConfig = field(default_factory=AccumulateConfig)
    solve: SolveConfig = field(default_factory=SolveConfig)

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ValueError(f"choice = '{self.choice}', expected {' or '.join(CHOICES)}")
        if (self.mass is None) != (self.width is None):
            raise ValueError(f"mass = {self.mass}, width = {self.width}; expected both or neither")
        if self.chunk < 1:
            raise ValueError(f"chunk = {self.chunk}, expected at least 1")


def load_globalcor(path: str | Path | None, settings: tuple[str, ...] = ()) -> GlobalcorConfig:
    """The section ``[globalcor]`` of a configuration file, the defaults without one.

    settings : "globalcor.a.b=value", laid over it

    Raises ConfigError with file and line for whatever is wrong in it.
    """
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    unknown = [key for key in document.values if key not in (SECTION, *OF_HITS, *OF_OTHERS)]
    if unknown:
        raise ConfigError(
            f"{document.place(unknown[0])} section '{unknown[0]}'; these commands read [{SECTION}]",
            kind="config.unknown_key",
            where={"key": unknown[0]},
        )
    return build(GlobalcorConfig, document.values.get(SECTION, {}), document, SECTION)


def detector_of(name: str) -> Detector:
    """A built-in detector by name, or one read from tables."""
    return open_detector(name)


def make_registry(config: GlobalcorConfig) -> Registry:
    """The registry of a configuration."""
    families = config.families or (*CHOICES[config.choice], MEAN_MASS)
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
    tell_failed(sums, failed_files(sums, paths), len(inputs), config, tell)
    tell(Event(stage="accumulate", text=sums.ledger.line()))
    tell_influences(sums, registry, "file", tell)
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


def failed_files(sums: NormalEquations, paths: Sequence[str | Path]) -> list[str]:
    """The names of the files that could not be summed."""
    return [str(paths[int(name.rpartition("/")[2])]) for name in sums.failed]


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
    reference: str | Path | None = None, probes: str | Path | None = None,
) -> GlobalCorrections:  # fmt: skip
    """The corrections of sums.

    applied   : corrections that were applied in the refit
    texts     : files of constraints and measurements in Millepede's form
    gauge     : hold the rigid motions of the tracker at 0
    reference : file of `mucal globalcor reference`: its error becomes the prior of the mean mass, if that floats
    probes    : table of field probes, see `io.field_probes`
    """
    if reference is not None:
        registry = registry.with_mass_error(MassReference.load(reference).common_error)
    constraints: list[Constraint] = []
    measurements: list[Measurement] = []
    for path in texts:
        found = read_text(path)
        constraints += found.constraints
        measurements += found.measurements
    if probes is not None:
        measurements += field_probes(registry, detector_of(detector), *read_field_probes(probes))
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
    momenta: tuple[float, ...] = (),
) -> tuple[WeakModes, BiasMap | None, list[str]]:
    """The soft modes of sums, the bias that they give to muons of some pT (GeV), and lines for people.

    folder : of figures, if they are wanted
    """
    there = detector_of(detector)
    patterns = templates(registry, there)
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
    if not momenta:
        return modes, None, lines
    bias = mode_bias(modes, patterns, Refit(detector=there, registry=registry), momenta)
    if folder is not None:
        save_bias_figures(bias, folder)
    return modes, bias, lines + bias_lines(bias, momenta)


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
