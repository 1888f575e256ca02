"""Global corrections as the commands call them: configuration and registry, solve, modes, Mille."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from mucal.detector import Detector
from mucal.detector.field import harmonic_modes
from mucal.errors import ConfigError, InputError
from mucal.globalcor import (
    CMS_2016,
    REDUCED,
    AccumulateConfig,
    BiasMap,
    Constraint,
    Family,
    GlobalCorrections,
    Measurement,
    NormalEquations,
    Refit,
    Registry,
    SolveConfig,
    WeakModes,
    build_registry,
    field_probes,
    gauges,
    solve,
    templates,
    weak_modes,
)
from mucal.globalcor.families import KINDS
from mucal.globalcor.templates import LENGTH, RADIUS
from mucal.io import open_detector
from mucal.io.field_probes import read_field_probes
from mucal.io.mille import MilleRecords, write_mille
from mucal.io.mille_blocks import records_of
from mucal.io.mille_text import read_text, write_labels
from mucal.plot.globalcor import overlap_figure, spectrum_figure
from mucal.plot.style import save
from mucal.refit import MassReference, PairSelection, ProfiledBlocks, RefitConfig
from mucal.workflow.hits import OTHERS as OF_OTHERS
from mucal.workflow.hits import SECTIONS as OF_HITS
from mucal.workflow.mode_maps import bias_lines, mode_bias, save_bias_figures
from mucal.workflow.toml_text import overlay, parse_toml, read_toml
from mucal.workflow.validate import build

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
    lines.append(
        f"errors of known patterns: cm at {RADIUS:g} cm from the beam or {LENGTH:g} cm along it; of fields T, of "
        "material ln of the loss"
    )
    lines.append(f"{'pattern':<16} {'alone':>10} {'all floating':>13} {'prior':>10}")
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
        """Records of one file of blocks after the other."""
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
