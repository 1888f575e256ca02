"""One TOML file an analysis: its sections, and how they become the frozen dataclasses of the stages.

Sections: ``[analysis] [input] [simulation] [generate] [tracks] [bins] [reference.NAME] [massfit] [scale] [resolution]
[cross_checks] [calibration] [[closing]] [[spectra]]``.  The keys of a section are the fields of its dataclass; relative
file names are relative to the file that names them; an unknown key, a wrong type or a reference mass without
uncertainty or edition is an error with its file and line.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

from mucal.errors import ConfigError, nearest
from mucal.massfit import BatchConfig, SpectrumConfig
from mucal.scale import ResolutionConfig, ScaleConfig
from mucal.theory import resonance
from mucal.workflow.bins import Bins
from mucal.workflow.calibration_section import CalibrationSection, calibration_of
from mucal.workflow.closing_files import ClosingFiles, closings_of
from mucal.workflow.generated import Generate
from mucal.workflow.samples import Sample, require_one_input, sample_of, simulation_of_values, table_of
from mucal.workflow.toml_text import TomlText, overlay, parse_toml, read_toml
from mucal.workflow.tracks_config import Tracked
from mucal.workflow.validate import build, required

T = TypeVar("T")

_ETA_EDGES: Final = tuple(round(-2.4 + 0.1 * i, 1) for i in range(49))
_FULL_BINS: Final = (
    f"bins.eta_edges={list(_ETA_EDGES)}", f"bins.resolution_eta_edges={list(_ETA_EDGES[::2])}",
    *(f"tracks.closing.{i}.bins.eta_edges={list(_ETA_EDGES[::2])}" for i in (0, 1)),
    *(f"tracks.closing.{i}.massfit.min_events=40" for i in (0, 1)), "resolution.free=['a', 'b', 'c']",
    "resolution.prior={b=5e-6}", "scale.prior={e=5e-4, M=5e-5}",
)  # fmt: skip
"""48 bins of the scale and 24 of closure and resolution: the 314 nuisances of arXiv:2412.13872.

50 000 Z do not tell b from c in 24 bins: without a prior of 0.2 % on sqrt(b), c comes out negative in some.
"""
_CLOSING_SIZES: Final = tuple(f"tracks.closing.{i}.{kind}" for i in (0, 1) for kind in ("data", "simulation"))
PRESETS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "closure": ("closure.toml", ()),
    "quick": (
        "closure.toml",
        (
            "tracks.data=5000", "tracks.simulation=5000", "tracks.w_muons=1000", "tracks.momenta=[10.0, 40.0]",
            *(f"{key}=1500" for key in _CLOSING_SIZES),
            *(f"{where}bins.eta_edges=[-2.4, 0.0, 2.4]" for where in ("", "tracks.closing.0.", "tracks.closing.1.")),
        ),
    ),
    "full": (
        "closure.toml",
        ("tracks.data=260_000", "tracks.simulation=260_000", "tracks.w_muons=40_000",
         *(f"{key}=50_000" for key in _CLOSING_SIZES[:2]), *(f"{key}=100_000" for key in _CLOSING_SIZES[2:]),
         *_FULL_BINS),
    ),
    "dimuons": ("closure_dimuons.toml", ()),
}  # fmt: skip
"""Name -> built-in file, and settings laid over it: the closure from hits in three sizes, and that of dimuons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class General:
    """Section ``[analysis]``.

    name            : of the calibration, as in "cms2010_jpsi"
    title           : of the report
    seed            : of the random split and of everything that is drawn
    derive_fraction : of the events from which the calibration is derived; the others show it
    passes          : times the masses are fitted and the table is solved; after the first, on corrected momenta
    add_background  : put the background found in data under the peaks of simulation before they are fitted; for
                      simulation that holds the resonance only
    match_resolution: smear simulation by what its mass widths lack before its shifts are subtracted; where a
                      ``[resolution]`` is asked for
    min_good        : fraction of the mass fits with events enough that have to end well
    min_p_value     : of the linear system that gives the table; below it the result is not certified
    """

    name: str = "calibration"
    title: str = ""
    seed: int = 1
    derive_fraction: float = 0.5
    passes: int = 2
    add_background: bool = True
    match_resolution: bool = True
    min_good: float = 0.9
    min_p_value: float = 1e-6

    def __post_init__(self) -> None:
        for name in ("derive_fraction", "min_good"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise ValueError(f"{name} = {getattr(self, name)}, expected above 0 and up to 1")
        if self.passes < 1:
            raise ValueError(f"passes = {self.passes}, expected at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Section ``[reference.NAME]``: a reference mass of one's own, with all that a reader needs to judge it.

    mass        : in `unit`
    uncertainty : in `unit`
    unit        : "GeV" or "MeV"
    edition     : year of the Review of Particle Physics, or of the paper
    """

    mass: float
    uncertainty: float
    unit: str
    edition: int

    def __post_init__(self) -> None:
        if self.unit not in ("GeV", "MeV"):
            raise ValueError(f"unit = '{self.unit}', expected 'GeV' or 'MeV'")
        if not (self.mass > 0 and self.uncertainty > 0):
            raise ValueError(f"mass = {self.mass} +- {self.uncertainty}, expected both positive")

    @property
    def in_gev(self) -> tuple[float, float]:
        """Mass and uncertainty, GeV."""
        factor = 1.0 if self.unit == "GeV" else 1e-3
        return self.mass * factor, self.uncertainty * factor


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossChecks:
    """Section ``[cross_checks]``: what is looked at besides, and changes nothing of the calibration.

    one_step : the table from all mass histograms in one likelihood, beside that of the scales of single bins
    angles   : whether the masses of corrected pairs ask for biases of the measured directions
    """

    one_step: bool = False
    angles: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What ``[[spectra]]`` says besides the model.

    name   : title of the figure
    events : masses in the window that are kept; a figure for people does not gain from more
    """

    name: str = ""
    events: int = 2_000_000

    def __post_init__(self) -> None:
        if self.events < 1:
            raise ValueError(f"events = {self.events}, expected at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSpectrum:
    """One ``[[spectra]]``: a spectrum for people to look at, before and after the correction."""

    name: str
    events: int
    config: SpectrumConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """A whole configuration.

    data, simulation : samples in files; None where there are none
    simulated_mass   : GeV  of the resonance, as the simulation in files was generated; None: the table's
    generate         : samples made by `simulation` with a known distortion; None where files are given
    tracks           : samples made as hits of a distorted detector and refitted; None where pairs are read or generated
    closing          : resonances in files that take no part in the table
    plain            : the configuration as plain values, for provenance
    """

    general: General = General()
    data: Sample | None = None
    simulation: Sample | None = None
    simulated_mass: float | None = None
    generate: Generate | None = None
    tracks: Tracked | None = None
    bins: Bins = field(default_factory=Bins)
    massfit: BatchConfig = field(default_factory=BatchConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    resolution: ResolutionConfig | None = None
    cross_checks: CrossChecks = CrossChecks()
    calibration: CalibrationSection
    references: Mapping[str, Reference] = field(default_factory=dict)
    spectra: tuple[NamedSpectrum, ...] = ()
    closing: tuple[ClosingFiles, ...] = ()
    plain: Mapping[str, Any] = field(default_factory=dict)


SECTIONS: Final = (
    "analysis", "input", "simulation", "generate", "tracks", "bins", "reference", "massfit", "scale", "resolution",
    "cross_checks", "calibration", "spectra", "closing",
)  # fmt: skip


def load_analysis(
    path: str | Path | None = None,
    *,
    settings: tuple[str, ...] = (),
    files: tuple[Path, ...] = (),
    seed: int | None = None,
    preset: str = "closure",
) -> Analysis:
    """The analysis of a configuration file; without one, a built-in closure.

    settings : "a.b=value", laid over the file
    files    : data files of the command line; they stand in for those of ``[input]``
    seed     : of all that is drawn: of ``[analysis]`` and, if there is one, of ``[generate]`` or ``[tracks]``
    preset   : without a path, one of `PRESETS`

    Raises ConfigError with file and line for whatever is wrong in it, also for files beside ``[generate]``: which of
    the two was meant cannot be known.
    """
    document = read_built_in(preset, settings) if path is None else read_toml(path, settings)
    if seed is not None:
        drawn = ("analysis", *(name for name in ("generate", "tracks") if name in document.values))
        document = overlay(document, tuple(f"{section}.seed={seed}" for section in drawn))
    return analysis_of(document, files)


def read_built_in(preset: str, settings: tuple[str, ...] = ()) -> TomlText:
    """The configuration of a built-in closure.  Raises ConfigError for an unknown preset."""
    if preset not in PRESETS:
        near = ", ".join(nearest(preset, PRESETS) or PRESETS)
        raise ConfigError(f"no preset '{preset}'; the nearest are {near}", kind="config.unknown_preset")
    name, sizes = PRESETS[preset]
    text = resources.files("mucal.workflow").joinpath(name).read_text(encoding="utf-8")
    return overlay(parse_toml(text, f"built-in {name}", Path()), (*sizes, *settings))


def analysis_of(document: TomlText, files: tuple[Path, ...] = ()) -> Analysis:
    """The analysis that a parsed configuration describes; arguments and exceptions as for `load_analysis`."""
    values = document.values
    for key in values:
        if key not in SECTIONS:
            near = nearest(key, SECTIONS)
            raise ConfigError(
                f"{document.place(key)} unknown section '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""),
                kind="config.unknown_key",
                where={"key": key, "known": ", ".join(SECTIONS)},
            )

    require_one_input(document, files)

    def section(kind: type[T], name: str) -> T:
        return build(kind, values.get(name, {}), document, name)

    massfit = section(BatchConfig, "massfit")
    data = sample_of(document, "input", files) if "input" in values else None
    simulation, simulated_mass = _simulation(document, massfit.resonance)
    closing = closings_of(document, data)
    return Analysis(
        general=section(General, "analysis"),
        data=data,
        simulation=simulation,
        simulated_mass=simulated_mass,
        generate=section(Generate, "generate") if "generate" in values else None,
        tracks=section(Tracked, "tracks") if "tracks" in values else None,
        bins=section(Bins, "bins"),
        massfit=massfit,
        scale=section(ScaleConfig, "scale"),
        resolution=section(ResolutionConfig, "resolution") if "resolution" in values else None,
        cross_checks=section(CrossChecks, "cross_checks"),
        calibration=calibration_of(document),
        references=_references(document, [massfit.resonance, *(one.asked.resonance for one in closing)]),
        spectra=_spectra(document),
        closing=closing,
        plain=json.loads(json.dumps(values, default=str)),
    )


def _simulation(document: TomlText, fitted: str) -> tuple[Sample | None, float | None]:
    """The sample of ``[simulation]``, and the key that it has beside those of ``[input]``: its `mass`, if given.

    fitted : the resonance of the mass fits
    """
    if "simulation" not in document.values:
        return None, None
    sample, mass = simulation_of_values(table_of(document, "simulation"), document, "simulation", fitted)
    for maker in ("generate", "tracks"):
        if mass is not None and maker in document.values:
            raise ConfigError(
                f"{document.place('simulation.mass')} mass = {mass:g} GeV, but [{maker}] makes the simulation, with "
                f"{resonance(fitted).mass:g} GeV",
                kind="config.two_inputs",
                where={"also": f"{document.place(maker)} [{maker}]"},
                do="remove simulation.mass",
            )
    return sample, mass


def _references(document: TomlText, compared: Sequence[str]) -> dict[str, Reference]:
    """The sections ``[reference.NAME]``.

    compared : resonances whose mass is compared with a reference

    Raises ConfigError for a malformed section, and for the mass of a resonance that nothing is compared with.
    """
    if "reference" not in document.values:
        return {}
    found = {}
    for name, values in table_of(document, "reference").items():
        path = f"reference.{name}"
        resonance(name)
        if name not in compared:
            raise ConfigError(
                f"{document.place(path)} no mass is compared with that of {name}: this analysis fits "
                f"{', '.join(compared)}",
                kind="config.reference",
                where={"key": path},
                do="name the resonance of [massfit] or of a [[closing]], or remove the section",
            )
        if not isinstance(values, Mapping):
            raise ConfigError(
                f"{document.place(path)} {path} = {values!r} has no uncertainty, unit and edition",
                kind="config.reference",
                where={"key": path},
                do=f"write [{path}] with mass, uncertainty, unit and edition, or leave it out to use the table",
            )
        for key in required(Reference):
            if key not in values:
                raise ConfigError(
                    f"{document.place(path)} the reference mass of {name} has no {key}",
                    kind="config.reference",
                    where={"key": path, "needs": ", ".join(required(Reference))},
                )
        found[name] = build(Reference, values, document, path)
    return found


def _spectra(document: TomlText) -> tuple[NamedSpectrum, ...]:
    entries = document.values.get("spectra", [])
    if not isinstance(entries, list):
        raise ConfigError(
            f"{document.place('spectra')} spectra is {type(entries).__name__}, expected a list of [[spectra]]",
            kind="config.wrong_type",
        )
    found = []
    for i, entry in enumerate(entries):
        values = dict(entry)
        label = build(Label, {k: values.pop(k) for k in ("name", "events") if k in values}, document, f"spectra.{i}")
        config = build(SpectrumConfig, values, document, f"spectra.{i}")
        found.append(NamedSpectrum(name=label.name or f"spectrum {i + 1}", events=label.events, config=config))
    return tuple(found)
