"""The samples of a configuration: which files are read and how, or that none are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from mucal.errors import ConfigError, InputError
from mucal.io import DimuonInput
from mucal.theory import resonance
from mucal.workflow.toml_text import TomlText
from mucal.workflow.validate import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Files and how to read them: section ``[input]`` or ``[simulation]``.

    files : paths, in the order they were given
    input : all other keys of the section
    """

    files: tuple[Path, ...]
    input: DimuonInput


def require_one_input(document: TomlText, files: tuple[Path, ...]) -> None:
    """Events are read, generated, or made as tracks; one of the three."""
    makers = [name for name in ("generate", "tracks") if name in document.values]
    if len(makers) == 2:
        raise ConfigError(
            f"{document.place('tracks')} [tracks] and [generate] both make events",
            kind="config.two_inputs",
            where={"also": f"{document.place('generate')} [generate]"},
            do="remove one of them",
        )
    if not makers:
        return
    maker = makers[0]
    listed = [f"{name}.files" for name in ("input", "simulation") if _lists_files(document.values.get(name))]
    if files or listed:
        given = f"the files {files[0]}{', …' if len(files) > 1 else ''}" if files else listed[0]
        raise ConfigError(
            f"{document.place(maker)} [{maker}] makes the events, and {given} would be read",
            kind="config.two_inputs",
            where={"also": ", ".join(f"{document.place(key)} {key}" for key in listed)},
            do="name the columns in a file given as --config, or remove the file names"
            if document.name.startswith("built-in")
            else f"remove [{maker}] or the file names",
        )


def _lists_files(section: object) -> bool:
    return isinstance(section, Mapping) and bool(section.get("files"))


def sample_of(document: TomlText, name: str, files: tuple[Path, ...]) -> Sample:
    """The sample of section `name`; `files`, if there are any, stand in for those it lists."""
    return sample_of_values(table_of(document, name), document, name, files)


def sample_of_values(section: Mapping[str, Any], document: TomlText, name: str, files: tuple[Path, ...]) -> Sample:
    """The sample that the keys of a section describe; `name` is where they stand, `files` as in `sample_of`."""
    values = dict(section)
    listed = values.pop("files", [])
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ConfigError(
            f"{document.place(f'{name}.files')} files = {listed!r}, expected a list of file names",
            kind="config.wrong_type",
            where={"key": f"{name}.files"},
        )
    start = f"{name}."
    places = {key.removeprefix(start): document.place(key) for key in document.lines if key.startswith(start)}
    config = build(DimuonInput, values, document, name)
    if config.certified is not None:
        config = replace(config, certified=str(document.folder / Path(config.certified).expanduser()))
    paths = files or tuple(found for item in listed for found in _found(document, f"{name}.files", item))
    return Sample(files=paths, input=_with_places(config, places))


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMass:
    """The key of a simulation that data have not.

    mass : GeV  of the resonance in the generator; None: the table's
    """

    mass: float | None = None


MASS_TOLERANCE: Final = 0.01
"""Relative, between the mass in a generator and that of the table: generators differ by 1e-5, units by 1e3."""


def simulation_of_values(
    section: Mapping[str, Any], document: TomlText, name: str, fitted: str
) -> tuple[Sample, float | None]:
    """The simulated sample that the keys of a section describe, and the mass (GeV) in its generator, if given.

    name   : where the keys stand
    fitted : the resonance
    """
    values = dict(section)
    given = {key: values.pop(key) for key in ("mass",) if key in values}
    sample = sample_of_values(values, document, name, ())
    mass = build(SimulatedMass, given, document, name).mass
    listed = resonance(fitted).mass
    if mass is not None and not abs(mass / listed - 1.0) <= MASS_TOLERANCE:
        raise ConfigError(
            f"{document.place(f'{name}.mass')} mass = {mass:g} GeV, but {fitted} has {listed:g} GeV; expected within "
            f"{MASS_TOLERANCE:.0%}",
            kind="config.bad_value",
            where={"key": f"{name}.mass"},
            do="give the mass of this resonance in the generator of the simulation, in GeV",
        )
    return sample, mass


def table_of(document: TomlText, name: str) -> Mapping[str, Any]:
    """The keys of section `name`.  Raises ConfigError if it is not a table."""
    values = document.values[name]
    if not isinstance(values, Mapping):
        raise ConfigError(
            f"{document.place(name)} {name} = {values!r}, expected a table [{name}]",
            kind="config.wrong_type",
            where={"key": name},
        )
    return values


def _found(document: TomlText, path: str, item: str) -> list[Path]:
    """The files that one entry of `files` names: itself, or what its wildcards match."""
    full = document.folder / Path(item).expanduser()
    if not set("*?[") & set(item):
        return [full]
    anchor = Path(full.anchor)
    matches = sorted(anchor.glob(str(full.relative_to(anchor))) if full.is_absolute() else Path().glob(str(full)))
    if not matches:
        raise InputError(
            f"no file matches '{item}'", kind="input.missing_file", where={"asked": f"{document.place(path)} {path}"}
        )
    return matches


def _with_places(config: DimuonInput, places: Mapping[str, str]) -> DimuonInput:
    return replace(config, places=dict(places))
