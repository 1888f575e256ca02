"""Making a calibration: tables, their covariances turned into nuisances, and everything a user must know."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Final, Literal, TypeVar

import numpy as np

from mucal.calibration import groups
from mucal.calibration.covariance import RESOLUTION_PARAMETERS, SCALE_PARAMETERS, check_names, parameter_names
from mucal.calibration.product import KINDS, Calibration
from mucal.errors import ConfigError
from mucal.ledger import Ledger
from mucal.scale.closure import Closure
from mucal.scale.detector_modes import DetectorModes
from mucal.scale.inflation import inflation_of
from mucal.scale.pixels import PixelMultiplicity
from mucal.scale.table import ResolutionTable, ScaleTable
from mucal.store import Provenance, Result
from mucal.theory.pdg import RESONANCES, resonance

MASS_TOLERANCE: Final = 0.1
"""A configured reference mass this far (relatively) from the table's is in the wrong unit or of the wrong state."""
EDGE_DECIMALS: Final = 12
T = TypeVar("T", ScaleTable, ResolutionTable, Closure, PixelMultiplicity, DetectorModes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationConfig:
    """What turns tables into a calibration.

    pt_definition       : which momenta it corrects, as "refit", "nanoaod"; mandatory
    resonance           : whose mass sets the scale; "" takes that of the scale table
    reference_mass      : GeV; None takes the PDG table's.  If given, so must be the two that follow
    reference_mass_error: GeV
    pdg_edition         : year of the Review of Particle Physics, 0 for another source (named in `description`)
    pt_range            : GeV, where the calibration may be applied; None takes that of the scale table
    eta_range           : None takes that of the scale table
    scale_factor        : multiplies the standard deviations of the scale parameters, for what statistics do not hold;
                          2.1 as published (arXiv:2412.13872); "closure" takes what the closures ask for, at least 1
    resolution_factor   : likewise for the resolution, 10 as published
    reference_mass_nuisance : whether the mass that set the scale is one; None: unless the mass of the Z is one
    z_mass_nuisance     : whether the mass of the Z in its closure is one; off where the mass of the Z is measured
    adhoc_A             : relative, the same everywhere: added in squares to the nuisance of the mass of the Z
    adhoc_M             : 1/GeV, the same everywhere: a nuisance of its own; 0 for none
    pixels_in_nominal   : the weight by pixel hits is part of the nominal weights, not only of the uncertainty
    basis               : "scaled" diagonalises the covariance in units of the median errors, "plain" as it is
    scale_order         : names of the rows of the scale covariance, checked if given ("A_00", …, "e_00", …)
    resolution_order    : likewise ("a_00", …)
    era, description    : free text for those who apply it
    """

    pt_definition: str
    resonance: str = ""
    reference_mass: float | None = None
    reference_mass_error: float | None = None
    pdg_edition: int | None = None
    pt_range: tuple[float, float] | None = None
    eta_range: tuple[float, float] | None = None
    scale_factor: float | Literal["closure"] = 2.1
    resolution_factor: float = 10.0
    reference_mass_nuisance: bool | None = None
    z_mass_nuisance: bool = True
    adhoc_A: float = 0.0
    adhoc_M: float = 0.0
    pixels_in_nominal: bool = False
    basis: Literal["scaled", "plain"] = "scaled"
    scale_order: tuple[str, ...] = ()
    resolution_order: tuple[str, ...] = ()
    era: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        if not self.pt_definition.strip():
            raise ConfigError(
                "pt_definition is empty; say which momenta the calibration corrects",
                kind="config.pt_definition",
                do="set it to 'refit', 'nanoaod' or a name of your own; corrections do not carry over between them",
            )
        for name in ("scale_factor", "resolution_factor"):
            factor = getattr(self, name)
            if name == "scale_factor" and factor == "closure":
                continue
            if isinstance(factor, str) or not (np.isfinite(factor) and factor > 0):
                raise ConfigError(f"{name} = {factor!r}, expected a positive number", kind="config.factor")
        for name in ("adhoc_A", "adhoc_M"):
            size = getattr(self, name)
            if not (np.isfinite(size) and size >= 0):
                raise ConfigError(f"{name} = {size!r}, expected 0 or a positive number", kind="config.adhoc")
        for name in ("pt_range", "eta_range"):
            limits = getattr(self, name)
            if limits is not None and not limits[0] < limits[1]:
                raise ConfigError(f"{name} = {limits}, expected lower < upper", kind="config.range")
        _check_mass(self)


def assemble(
    scale: ScaleTable,
    resolution_data: ResolutionTable | None,
    resolution_mc: ResolutionTable | None,
    config: CalibrationConfig,
    *,
    closures: Sequence[Closure] = (),
    pixels: PixelMultiplicity | None = None,
    detector: DetectorModes | None = None,
    alternatives: Mapping[str, ScaleTable] | None = None,
    files: Mapping[str, str] | None = None,
) -> Calibration:
    """A calibration from a scale table, the resolutions of data and simulation, their covariances, and closures.

    The nuisances are those of `calibration.groups`.  The mass that set the scale is one of them unless the mass of
    the Z takes its place (`reference_mass_nuisance`).  Only the closure with the Z gives nuisances; all closures say
    by how much the errors of the scale must grow (`scale_factor`).

    closures : of corrected data, each with another resonance
    pixels   : muons with and without pixel hits
    detector : modes of field, material and alignment, which take the place of the statistics of the scale
    alternatives : name -> table of the same data by other choices: its difference from `scale` is a nuisance
    files    : "scale", "resolution_data", "resolution_mc" -> file they came from, for error messages

    Raises InputError if a covariance is not one or is ordered differently, ConfigError for a reference mass without
    uncertainty and edition, ValueError if tables do not fit together.  Source: docs/physics/calibration.md.
    """
    files = files or {}
    others = {name: _tidy(table) for name, table in (alternatives or {}).items()}
    scale, closures = _tidy(scale), [_tidy(closure) for closure in closures]
    resolution_data, resolution_mc = (None if t is None else _tidy(t) for t in (resolution_data, resolution_mc))
    pixels, detector = None if pixels is None else _tidy(pixels), None if detector is None else _tidy(detector)
    name = config.resonance or scale.resonance
    mass, error, edition = _reference_mass(name, config)
    _check_orders(scale, resolution_data, config, files)
    found = [_scale_group(scale, name, config, closures, detector, files)]
    found += _closure_groups(scale, closures, config)
    by_default = all(group.name != "zclosure_lep" for group in found)
    if by_default if config.reference_mass_nuisance is None else config.reference_mass_nuisance:
        found.append(groups.reference_mass(scale, name, mass, error))
    if others:
        found.append(groups.alternatives(others, scale))
    if resolution_data is not None:
        factor = config.resolution_factor
        found.append(groups.resolution(resolution_data, resolution_mc, factor, config.basis, files))
    if pixels is not None:
        found.append(groups.pixel(pixels, in_nominal=config.pixels_in_nominal))
    by_kind = {kind: [group.variations for group in found if group.kind == kind] for kind in KINDS}
    n_resolution = 0 if resolution_data is None else resolution_data.n_bins
    n_pixel = 0 if pixels is None else pixels.n_bins
    tables: dict[str, Result | None] = {
        "scale": scale, "resolution_data": resolution_data, "resolution_mc": resolution_mc,
        **{f"closure_{closure.resonance}": closure for closure in closures}, "pixels": pixels, "detector": detector,
        **{f"alternative_{name}": table for name, table in others.items()},
    }  # fmt: skip
    return Calibration(
        scale=scale,
        resolution_data=resolution_data,
        resolution_mc=resolution_mc,
        pixels=pixels,
        closure=next((closure for closure in closures if closure.resonance == "z"), None),
        parameter_names=parameter_names(scale.n_bins),
        names=tuple(n for group in found for n in group.names),
        groups=tuple(group.name for group in found for _ in group.names),
        kinds=tuple(group.kind for group in found for _ in group.names),
        sources=tuple(source for group in found for source in group.sources),
        scale_variations=np.concatenate(by_kind["scale"]),
        resolution_variations=np.concatenate([np.zeros((0, 3, n_resolution)), *by_kind["resolution"]]),
        pixel_variations=np.concatenate([np.zeros((0, n_pixel)), *by_kind["pixel"]]),
        pixels_in_nominal=config.pixels_in_nominal and pixels is not None,
        factors={group.name: group.factor for group in found},
        resonance=name,
        reference_mass=mass,
        reference_mass_error=error,
        pdg_edition=edition,
        pt_range=config.pt_range or scale.pt_range,
        eta_range=config.eta_range or (float(scale.eta_edges[0]), float(scale.eta_edges[-1])),
        pt_definition=config.pt_definition,
        era=config.era,
        description=config.description,
        provenance=_provenance(config, tables),
    )


def _scale_group(
    scale: ScaleTable, name: str, config: CalibrationConfig, closures: Sequence[Closure],
    detector: DetectorModes | None, files: Mapping[str, str],
) -> groups.Group:  # fmt: skip
    """The statistics of the scale with their factor, or the modes of the detector."""
    if detector is not None:
        return groups.detector(detector, scale)
    asked = inflation_of(scale, closures) if closures else None
    if isinstance(config.scale_factor, str):
        if asked is None or not np.isfinite(asked.factor):
            raise ConfigError(
                "scale_factor = 'closure', but "
                + ("no closure is given" if asked is None else "no factor explains what the closures find"),
                kind="config.factor",
                do="give a number, as 2.1, or a closure that the errors of the table can explain",
            )
        factor = asked.factor
    else:
        factor = config.scale_factor
    note = "" if asked is None else asked.line(factor)
    return groups.statistical(scale, name, factor, config.basis, files.get("scale", ""), note)


def _closure_groups(scale: ScaleTable, closures: Sequence[Closure], config: CalibrationConfig) -> list[groups.Group]:
    """The nuisances of the closure with the Z, and those of ad hoc sizes; the other closures serve the factor alone."""
    resonances = [closure.resonance for closure in closures]
    if len(set(resonances)) != len(resonances):
        raise ValueError(f"closures with {', '.join(resonances)}; expected each resonance once")
    found = []
    for closure in closures:
        if closure.resonance == "z":
            found.append(groups.closure_statistics(closure, scale, config.basis, ""))
            if config.z_mass_nuisance:
                found.append(groups.closure_mass(closure, scale, config.adhoc_A))
    if config.adhoc_A and all(group.name != "zclosure_lep" for group in found):
        raise ConfigError(
            f"adhoc_A = {config.adhoc_A:g} adds to the nuisance of the mass of the Z, but "
            + ("no closure with the Z is given" if config.z_mass_nuisance else "z_mass_nuisance = false leaves it out"),
            kind="config.adhoc",
            do="give a closure with the Z, or leave adhoc_A out",
        )
    return [*found, *([groups.adhoc_sagitta(scale, config.adhoc_M)] if config.adhoc_M else [])]


def _tidy(table: T) -> T:
    """The table with its eta edges rounded to twelve decimals, 1.2 for 1.1999999999999997.

    Not every reader of decimal numbers (correctionlib's among them) returns the nearest double for seventeen digits; a
    muon on an edge would then fall into different bins.  Twelve decimals come back exactly everywhere.
    """
    return replace(table, eta_edges=np.round(table.eta_edges, EDGE_DECIMALS))


def _check_mass(config: CalibrationConfig) -> None:
    given = (config.reference_mass, config.reference_mass_error, config.pdg_edition)
    names = ("reference_mass", "reference_mass_error", "pdg_edition")
    if all(value is None for value in given):
        return
    for name, value in zip(names, given, strict=True):
        if value is None:
            raise ConfigError(
                f"a reference mass is configured without {name}",
                kind="config.reference_mass",
                do="give reference_mass and reference_mass_error in GeV and pdg_edition (a year; 0 for another "
                "source), or none of them to use the table",
            )
    if not (config.reference_mass_error or 0.0) > 0:
        raise ConfigError(
            f"reference_mass_error = {config.reference_mass_error} GeV, expected a positive uncertainty",
            kind="config.reference_mass",
        )


def _reference_mass(name: str, config: CalibrationConfig) -> tuple[float, float, int]:
    """Value and uncertainty in GeV, and edition."""
    if not name:
        raise ConfigError(
            "no resonance is named, neither by the scale table nor by the configuration",
            kind="config.reference_mass",
            where={"known": ", ".join(RESONANCES)},
            do="set resonance to the state whose mass set the scale",
        )
    listed = resonance(name)
    if config.reference_mass is None or config.reference_mass_error is None or config.pdg_edition is None:
        return listed.mass, listed.mass_error, listed.edition
    if abs(config.reference_mass / listed.mass - 1.0) > MASS_TOLERANCE:
        raise ConfigError(
            f"reference_mass = {config.reference_mass:g} GeV, but {name} has {listed.mass:g} GeV",
            kind="config.reference_mass",
            do="masses are in GeV; check the unit and the resonance",
        )
    return config.reference_mass, config.reference_mass_error, config.pdg_edition


def _check_orders(
    scale: ScaleTable, resolution: ResolutionTable | None, config: CalibrationConfig, files: Mapping[str, str]
) -> None:
    if config.scale_order:
        expected = parameter_names(scale.n_bins, SCALE_PARAMETERS)
        check_names(config.scale_order, expected, dataset="ScaleTable.cov", file=files.get("scale", ""))
    if config.resolution_order and resolution is not None:
        expected = parameter_names(resolution.n_bins, RESOLUTION_PARAMETERS)
        file = files.get("resolution_data", "")
        check_names(config.resolution_order, expected, dataset="ResolutionTable.cov", file=file)


def _provenance(config: CalibrationConfig, tables: Mapping[str, Result | None]) -> Provenance:
    """The stage's configuration beside those of the tables; all inputs and ledgers.

    A ledger that differs from an earlier table's of the same stage is kept with its table's name before the stage.
    """
    found = {name: table.provenance for name, table in tables.items() if table is not None}
    configuration: dict[str, object] = {"calibration": asdict(config)}
    configuration |= {name: dict(p.configuration) for name, p in found.items() if p.configuration}
    ledgers: dict[str, Ledger] = {}
    for name, p in found.items():
        for stage, ledger in p.ledgers.items():
            ledgers[stage if ledgers.get(stage, ledger) == ledger else f"{name}/{stage}"] = ledger
    inputs = {file: digest for p in found.values() for file, digest in p.inputs.items()}
    seeds = [p.seed for p in found.values() if p.seed is not None]
    return Provenance(configuration=configuration, inputs=inputs, ledgers=ledgers, seed=seeds[0] if seeds else None)
