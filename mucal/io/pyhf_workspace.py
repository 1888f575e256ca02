"""A pyhf workspace (HistFactory JSON, version 1.0.0) with its structure checked: what follows need not look again."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError, nearest
from mucal.io.json_file import read_json

PER_BIN: Final = ("staterror", "shapesys")
LARGEST: Final = 1e30
"""Events; beyond, squares leave the range of numbers."""
MODIFIERS: Final = ("normfactor", "lumi", "normsys", "histosys", "shapefactor", *PER_BIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Modifier:
    """name; kind, one of `MODIFIERS`; its numbers: (2, bins) or (2,) high and low, (bins,) uncertainties, or none"""

    name: str
    kind: str
    data: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One process in one channel: nominal (bins,) and modifiers; `where` for messages"""

    name: str
    nominal: FloatArray
    modifiers: tuple[Modifier, ...]
    where: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Channels with their samples and counts, and one measurement: its poi and the settings of parameters."""

    channels: Mapping[str, tuple[Sample, ...]]
    counts: Mapping[str, FloatArray]
    measurement: str
    poi: str
    settings: Mapping[str, Mapping[str, Any]]


def is_workspace(content: Any) -> bool:
    """Whether JSON content looks like a workspace."""
    return isinstance(content, dict) and {"channels", "measurements"} <= content.keys()


def read_workspace(path: str | Path, measurement: str | None = None) -> Workspace:
    """A workspace file and one of its measurements, the first by default.

    Raises InputError for a file or structure that is not one, with the place.
    """
    content = read_json(path)
    if not is_workspace(content):
        raise InputError(
            f"{Path(path).name} is JSON, but no pyhf workspace: it has no 'channels' or no 'measurements'",
            kind="pyhf.structure",
            where={"file": path, "keys": ", ".join(content) if isinstance(content, dict) else "none"},
        )
    channels = dict(_channels(content))
    counts = {
        str(_key(one, "name", {"where": "observations"})): _numbers(_key(one, "data", {"where": "observations"}), {})
        for one in _list(_key(content, "observations", {"file": str(path)}), {"where": "observations"})
    }
    for channel, samples in channels.items():
        where = {"channel": channel}
        if counts.get(channel, np.zeros(0)).shape != samples[0].nominal.shape:
            raise _wrong(f"channel '{channel}' has no observation with {samples[0].nominal.size} bins", where)
    if not channels:
        raise _wrong("there are no channels", {"file": str(path)})
    chosen = _measurement(content, measurement)
    config = _key(chosen, "config", {"measurement": chosen["name"]})
    poi = str(_key(config, "poi", {"measurement": str(chosen["name"])}) or "")
    settings = dict(_settings(config))
    held = {name for name, one in settings.items() if one.get("fixed") and set(one.get("inits", [1.0])) == {1.0}}
    return Workspace(
        channels={name: tuple(_without(sample, held) for sample in samples) for name, samples in channels.items()},
        counts=counts,
        measurement=str(chosen["name"]),
        poi=poi,
        settings=settings,
    )


def _without(sample: Sample, held: Collection[str]) -> Sample:
    """The sample without the uncertainties by bin that are held at 1: they do nothing."""
    kept = tuple(one for one in sample.modifiers if one.kind not in PER_BIN or one.name not in held)
    return replace(sample, modifiers=kept)


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Parameter -> its settings, lists of numbers and flags."""
    for one in _list(config.get("parameters", []), {"where": "parameters"}):
        name = str(_key(one, "name", {"where": "parameters"}))
        where = {"parameter": name}
        for key in ("inits", "auxdata", "sigmas"):
            if key in one:
                numbers = _numbers(one[key], where)
                if key == "sigmas" and np.any(numbers <= 0):
                    raise _wrong(f"'sigmas' of '{name}' are {numbers.tolist()}, expected above 0", where)
        if not isinstance(one.get("fixed", False), bool):
            raise _wrong(f"'fixed' of '{name}' is {one['fixed']!r}, expected true or false", where)
        yield name, one


def _channels(content: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Sample, ...]]]:
    seen: set[str] = set()
    for i, channel in enumerate(_list(content["channels"], {"where": "channels"})):
        name = str(_key(channel, "name", {"where": f"channels[{i}]"}))
        if name in seen:
            raise _wrong(f"channel '{name}' is defined twice", {"channel": name})
        seen.add(name)
        samples = tuple(
            _sample(one, name) for one in _list(_key(channel, "samples", {"channel": name}), {"channel": name})
        )
        names = [sample.name for sample in samples]
        if not samples or len(set(names)) < len(names):
            raise _wrong(f"channel '{name}' has no samples, or two of one name", {"samples": ", ".join(names)})
        for sample in samples:
            if sample.nominal.size != samples[0].nominal.size:
                raise _wrong(
                    f"{sample.nominal.size} bins, the first sample has {samples[0].nominal.size}", sample.where
                )
        yield name, samples


def _sample(content: Any, channel: str) -> Sample:
    name = str(_key(content, "name", {"channel": channel}))
    where = {"channel": channel, "sample": name}
    nominal = _numbers(_key(content, "data", where), where)
    modifiers = tuple(_modifier(one, nominal.size, where) for one in _list(content.get("modifiers", []), where))
    pairs = [(one.kind, one.name) for one in modifiers]
    for pair in pairs:
        if pairs.count(pair) > 1:
            raise _wrong(f"{pair[0]} '{pair[1]}' stands {pairs.count(pair)} times", where)
    return Sample(name=name, nominal=nominal, modifiers=modifiers, where=where)


def _modifier(content: Any, n_bins: int, where: Mapping[str, str]) -> Modifier:
    name, kind = str(_key(content, "name", where)), str(_key(content, "type", where))
    where = {**where, "modifier": name}
    if kind not in MODIFIERS:
        raise InputError(
            f"modifier '{name}' is a '{kind}', which is not known",
            kind="pyhf.modifier",
            where={**where, "known": ", ".join(MODIFIERS), "near": ", ".join(nearest(kind, MODIFIERS, 1))},
        )
    data = content.get("data")
    if kind == "normsys":
        numbers = _numbers([_key(data, "hi", where), _key(data, "lo", where)], where)
        if np.any(numbers <= 0):
            raise _wrong(f"normsys '{name}' has hi {numbers[0]:g} and lo {numbers[1]:g}, expected above 0", where)
    elif kind == "histosys":
        sides = [_numbers(_key(data, side, where), where) for side in ("hi_data", "lo_data")]
        if sides[0].size != sides[1].size:
            raise _wrong(f"histosys '{name}' has {sides[0].size} numbers up and {sides[1].size} down", where)
        numbers = np.stack(sides)
    else:
        numbers = _numbers(data, where) if kind in PER_BIN else np.zeros(0)
    if kind in ("histosys", *PER_BIN) and numbers.shape[-1] != n_bins:
        raise _wrong(f"{kind} '{name}' has {numbers.shape[-1]} numbers for {n_bins} bins", where)
    if kind in PER_BIN and np.any(numbers < 0):
        raise _wrong(f"{kind} '{name}' has a negative uncertainty {numbers.min():g}", where)
    return Modifier(name=name, kind=kind, data=numbers)


def _measurement(content: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    listed = _list(content["measurements"], {"where": "measurements"})
    known = {str(_key(one, "name", {"where": "measurements"})): one for one in listed}
    if not known or name not in (None, *known):
        raise InputError(
            f"there is no measurement '{name}' in this workspace",
            kind="pyhf.measurement",
            where={"known": ", ".join(known)},
        )
    found: Mapping[str, Any] = next(iter(known.values())) if name is None else known[name]
    return found


def _key(content: Any, key: str, where: Mapping[str, str]) -> Any:
    if not isinstance(content, dict) or key not in content:
        raise _wrong(f"'{key}' is missing", where)
    return content[key]


def _list(values: Any, where: Mapping[str, str]) -> list[Any]:
    if not isinstance(values, list):
        raise _wrong(f"expected a list, found {str(values)[:40]}", where)
    return values


def _numbers(values: Any, where: Mapping[str, str]) -> FloatArray:
    plain = isinstance(values, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not plain or not values:
        raise _wrong(f"expected a list of numbers, found {str(values)[:40]}", where)
    found = np.array(values, dtype=float)
    bad = np.flatnonzero(~(np.abs(found) < LARGEST))
    if bad.size:
        what = "above any number of events" if np.isfinite(found[bad[0]]) else "not finite"
        raise _wrong(f"number {int(bad[0])} of a list is {what}: {found[bad[0]]:g}", where)
    return found


def _wrong(what: str, where: Mapping[str, str]) -> InputError:
    return InputError(what, kind="pyhf.structure", where=where)
