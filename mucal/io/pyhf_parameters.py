"""Parameters of a pyhf workspace: what constrains each, where it starts, and which uncertainties become parameters."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError
from mucal.io.pyhf_workspace import PER_BIN, Modifier, Sample, Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """centre and 1 / variance of the constraint (0 for none), start, and what it is, as an error says"""

    centre: float
    precision: float
    start: float
    meaning: str


def modifiers(found: Workspace) -> Iterator[tuple[Sample, Modifier]]:
    """Every modifier of a workspace with the sample it acts on."""
    for samples in found.channels.values():
        for sample in samples:
            for modifier in sample.modifiers:
                yield sample, modifier


def explicit_staterror(found: Workspace) -> bool:
    """Whether staterror must be parameters: beside shapesys, or where one bin has two.

    Raises InputError for per-bin uncertainties shared as HistFactory does not allow.
    """
    places: dict[str, set[str]] = {}
    for sample, modifier in modifiers(found):
        if modifier.kind in ("staterror", "shapesys"):
            place = sample.where["channel"] if modifier.kind == "staterror" else f"{sample.where}"
            places.setdefault(f"{modifier.kind} '{modifier.name}'", set()).add(place)
        kinds = Counter(one.kind for one in sample.modifiers)
        if kinds["shapesys"] > 1 or kinds["staterror"] > 1:
            raise InputError(
                "a sample has two shapesys or two staterror: one factor a bin cannot have two constraints",
                kind="pyhf.not_exact",
                where=sample.where,
            )
    for what, found_in in places.items():
        if len(found_in) > 1:
            raise InputError(
                f"{what} is shared by {len(found_in)} " + ("channels" if what.startswith("sta") else "samples"),
                kind="pyhf.not_exact",
                where={"places": "; ".join(sorted(found_in))},
            )
    names = [
        {m.name for s in samples for m in s.modifiers if m.kind == "staterror"} for samples in found.channels.values()
    ]
    gamma = any(modifier.kind == "shapesys" for _, modifier in modifiers(found))
    return any(len(here) > 1 for here in names) or (gamma and any(names))


def parameters_of_workspace(found: Workspace, explicit: bool) -> dict[str, Parameter]:
    """Name -> parameter, in the order in which modifiers name them.

    explicit : factors of staterror are parameters

    Raises InputError for a name with two meanings, and for settings that are not read.
    """
    parameters: dict[str, Parameter] = {}
    for sample, modifier in modifiers(found):
        for name, parameter in _parameters_of(found, sample, modifier, explicit).items():
            if parameters.setdefault(name, parameter).meaning != parameter.meaning:
                raise InputError(
                    f"parameter '{name}' has two meanings",
                    kind="likelihood.duplicate_name",
                    where={**sample.where, "first": parameters[name].meaning, "second": parameter.meaning},
                )
    if found.poi and found.poi not in parameters:
        raise InputError(
            f"the parameter of interest '{found.poi}' belongs to no modifier",
            kind="pyhf.structure",
            where={"measurement": found.measurement},
        )
    return parameters


def _parameters_of(found: Workspace, sample: Sample, modifier: Modifier, explicit: bool) -> dict[str, Parameter]:
    settings = found.settings.get(modifier.name, {})
    if modifier.kind in PER_BIN:
        return _of_simulation(found, sample, modifier, explicit and modifier.kind == "staterror", settings)
    if modifier.kind in ("normfactor", "shapefactor"):
        return _free(modifier, sample.nominal.size, settings)
    return {modifier.name: _constrained(sample, modifier, settings)}


def _of_simulation(
    found: Workspace, sample: Sample, modifier: Modifier, explicit: bool, settings: Mapping[str, Any]
) -> dict[str, Parameter]:
    """None, unless the factors of a staterror have to be parameters."""
    if set(settings) & {"auxdata", "sigmas", "factors"} or settings.get("fixed"):
        raise InputError(
            f"the settings of {modifier.kind} '{modifier.name}' are not read",
            kind="pyhf.not_exact",
            where=sample.where,
        )
    errors = relative_errors(found.channels[sample.where["channel"]], modifier.name) if explicit else np.zeros(0)
    return {
        f"{modifier.name}[{i}]": Parameter(centre=1.0, precision=error**-2.0, start=1.0, meaning="staterror")
        for i, error in enumerate(errors.tolist())
        if error > 0
    }


def _free(modifier: Modifier, size: int, settings: Mapping[str, Any]) -> dict[str, Parameter]:
    names = [f"{modifier.name}[{i}]" for i in range(size)] if modifier.kind == "shapefactor" else [modifier.name]
    values = [float(_one(settings.get("inits"), i, 1.0)) for i in range(len(names))]
    return {
        name: Parameter(centre=value, precision=0.0, start=value, meaning=modifier.kind)
        for name, value in zip(names, values, strict=True)
    }


def _constrained(sample: Sample, modifier: Modifier, settings: Mapping[str, Any]) -> Parameter:
    where = {**sample.where, "parameter": modifier.name}
    lumi = modifier.kind == "lumi"
    if lumi and not {"auxdata", "sigmas"} <= set(settings):
        raise InputError("lumi has no 'auxdata' and 'sigmas' in the measurement", kind="pyhf.structure", where=where)
    if not lumi and _one(settings.get("sigmas"), 0, 1.0) != 1.0:
        raise InputError(f"'sigmas' of a {modifier.kind} are not read", kind="pyhf.not_exact", where=where)
    centre = float(_one(settings.get("auxdata"), 0, 0.0))
    sigma = float(_one(settings.get("sigmas"), 0, 1.0))
    start = float(_one(settings.get("inits"), 0, centre))
    return Parameter(
        centre=start if settings.get("fixed") else centre,
        precision=sigma**-2.0,
        start=start,
        meaning="lumi" if lumi else "normsys or histosys",
    )


def _one(values: Any, i: int, default: float) -> float:
    given = values[i] if isinstance(values, list) and i < len(values) else values
    return default if given is None or isinstance(given, list) else given


def relative_errors(samples: tuple[Sample, ...], name: str) -> FloatArray:
    """(bins,) of the sum of the samples that list a staterror; 0 where they are empty."""
    total, variance = np.zeros(samples[0].nominal.size), np.zeros(samples[0].nominal.size)
    for sample in samples:
        for modifier in sample.modifiers:
            if modifier.kind == "staterror" and modifier.name == name:
                total, variance = total + sample.nominal, variance + modifier.data**2
    error: FloatArray = np.divide(np.sqrt(variance), total, out=np.zeros(total.size), where=total > 0)
    return error
