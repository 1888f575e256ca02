"""Models written as pyhf workspaces, where HistFactory has a modifier that says the same; refused with the reason else.

Free rates become normfactor, a constrained one named lumi that, additive effects histosys, log-ratios that are the same
in all bins of a channel normsys, the finite simulation staterror ("normal", one factor a bin) or shapesys ("gamma", one
a process and bin).  Log-normal *shapes* have no modifier, nor have unconstrained effects and external terms.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError
from mucal.io.fit_input import FitInput
from mucal.io.histfactory import EXACT
from mucal.io.json_file import write_json
from mucal.io.pyhf_interpolation import histo_difference, norm_difference
from mucal.likelihood import Model, Observation, expected_events, observe

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    """One parameter on one process: kappa and eta (B,) in all bins"""

    process: int
    column: int
    additive: bool
    kappa: FloatArray
    eta: FloatArray


def write_pyhf(
    path: str | Path, found: FitInput, *, largest_difference: float = EXACT, overwrite: bool = False
) -> Path:
    """Write a model and its data, or what it expects, as a workspace with one measurement "fit".

    largest_difference : of any expected events, relative, that pyhf's interpolation (codes 4 and 4p) may make

    Raises InputError for what a workspace cannot say, naming it.
    """
    return write_json(path, workspace_of(found, largest_difference=largest_difference), overwrite=overwrite)


def workspace_of(found: FitInput, *, largest_difference: float = EXACT) -> Plain:
    """The workspace as plain values.  Raises as `write_pyhf` does."""
    model = found.model
    data = found.observation or observe(model, expected_events(model))
    if model.external:
        raise _refused(f"external term '{model.external[0].name}'", "a workspace has no terms g x + x H x / 2")
    effects = list(_effects(model))
    _check_parameters(model, effects)
    channels, observations, start = [], [], 0
    for channel in model.channels:
        rows = slice(start, start + channel.n_bins)
        samples = [
            {
                "name": process,
                "data": model.nominal[rows, p].tolist(),
                "modifiers": [
                    *_rate_modifiers(model, p),
                    *_effect_modifiers(model, effects, p, rows, channel.name, largest_difference),
                    *_simulation(found, p, rows, channel.name),
                ],
            }
            for p, process in enumerate(model.processes)
            if _is_there(model, effects, p, rows)
        ]
        channels.append({"name": channel.name, "samples": samples})
        observations.append({"name": channel.name, "data": data.counts[rows].tolist()})
        start += channel.n_bins
    config = {"poi": model.pois[0] if model.pois else "", "parameters": _settings(found, data)}
    return {
        "channels": channels,
        "observations": observations,
        "measurements": [{"name": "fit", "config": config}],
        "version": "1.0.0",
    }


def _effects(model: Model) -> Iterator[_Effect]:
    """Blocks taken apart; what acts on the same place is added."""
    whole: dict[tuple[int, int, bool], tuple[FloatArray, FloatArray]] = {}
    for block in model.effects.blocks():
        for i, column in enumerate(block.columns.tolist()):
            zeros = np.zeros(model.n_bins), np.zeros(model.n_bins)
            kappa, eta = whole.setdefault((block.process, column, block.additive), zeros)
            kappa[block.bins] += block.kappa[:, i]
            if block.eta.size:
                eta[block.bins] += block.eta[:, i]
    for (process, column, additive), (kappa, eta) in whole.items():
        yield _Effect(process=process, column=column, additive=additive, kappa=kappa, eta=eta)


def _is_there(model: Model, effects: list[_Effect], p: int, rows: slice) -> bool:
    added = any(e.process == p and e.additive and (e.kappa[rows].any() or e.eta[rows].any()) for e in effects)
    return added or bool(model.nominal[rows, p].any())


def _check_parameters(model: Model, effects: list[_Effect]) -> None:
    rates = set(model.rates[model.rates >= 0].tolist())
    for e in effects:
        name = model.parameters[e.column]
        if e.column in rates:
            raise _refused(f"parameter '{name}'", "it is a rate and changes templates too")
        if model.precision[e.column] != 1.0:
            raise _refused(
                f"parameter '{name}'",
                f"normsys and histosys have one of width 1, here the precision is {model.precision[e.column]:g}",
            )


def _rate_modifiers(model: Model, p: int) -> list[Plain]:
    modifiers = []
    for j in model.rates[p].tolist():
        name = model.parameters[j] if j >= 0 else ""
        if j >= 0 and model.precision[j] > 0 and name != "lumi":
            raise _refused(f"parameter '{name}'", "it is a rate with a constraint, and the only one is named 'lumi'")
        if j >= 0:
            kind = "lumi" if model.precision[j] > 0 else "normfactor"
            modifiers.append({"name": name, "type": kind, "data": None})
    return modifiers


def _effect_modifiers(
    model: Model, effects: list[_Effect], p: int, rows: slice, channel: str, largest: float
) -> Iterator[Plain]:
    nominal = model.nominal[rows, p]
    for e in effects:
        kappa, eta = e.kappa[rows], e.eta[rows]
        if e.process != p or not (kappa.any() or eta.any()):
            continue
        name = model.parameters[e.column]
        where = {"channel": channel, "process": model.processes[p]}
        if e.additive:
            difference = histo_difference(eta, nominal, "code4p")
            data = {"hi_data": (nominal + kappa + eta).tolist(), "lo_data": (nominal - kappa + eta).tolist()}
            yield {"name": name, "type": "histosys", "data": data}
        else:
            filled = nominal > 0
            spread = max(np.ptp(kappa[filled]), np.ptp(eta[filled]))
            if spread > largest:
                reason = f"its log-ratios differ by {spread:.2g} between bins, and a log-normal shape has no modifier"
                raise _refused(f"parameter '{name}'", reason, where)
            k, h = float(kappa[filled].mean()), float(eta[filled].mean())
            high, low = float(np.exp(k + h)), float(np.exp(-k + h))
            difference = norm_difference(high, low, "code4")
            yield {"name": name, "type": "normsys", "data": {"hi": high, "lo": low}}
        if difference > largest:
            raise _refused(
                f"parameter '{name}'",
                f"it is asymmetric or large, and pyhf's interpolation differs by up to {difference:.2g} of the events",
                where,
            )


def _simulation(found: FitInput, p: int, rows: slice, channel: str) -> list[Plain]:
    variance = found.model.sumw2[rows]
    if found.mc_stat == "none" or not variance[:, p].any():
        return []
    errors = np.sqrt(variance[:, p]).tolist()
    process = found.model.processes[p]
    if found.mc_stat == "normal":
        if found.per == "process" and np.any((variance > 0).sum(axis=1) > 1):
            raise _refused("the finite simulation", 'it has one "normal" factor a process, staterror has one a bin')
        mixed = (variance > 0).any(axis=1) & (variance[:, p] == 0) & (found.model.nominal[rows, p] > 0)
        if mixed.any():
            raise _refused(
                "the finite simulation",
                f"process '{process}' is exactly known in {int(mixed.sum())} bins of channel '{channel}' only",
            )
        return [{"name": f"staterror_{channel}", "type": "staterror", "data": errors}]
    if found.per == "bin" and np.any((variance > 0).sum(axis=1) > 1):
        raise _refused("the finite simulation", 'it has one "gamma" factor a bin, shapesys has one a process')
    return [{"name": f"shapesys_{channel}_{process}", "type": "shapesys", "data": errors}]


def _settings(found: FitInput, data: Observation) -> list[Plain]:
    """Starts, centres, widths, and what is fixed; pyhf wants bounds for rates."""
    model, rates = found.model, set(found.model.rates[found.model.rates >= 0].tolist())
    if np.any(data.beta != 1.0):
        raise _refused("the observation", "centres of the simulation's factors cannot be moved (toys)")
    settings = []
    for j, name in enumerate(model.parameters):
        start = float(found.start.get(name, data.centre[j]))
        one: Plain = {"name": name, "inits": [start]}
        if name in model.frozen:
            one["fixed"] = True
        if j in rates:
            one["bounds"] = [[min(-10.0, 2 * start), max(10.0, 10 * start)]]
        if model.precision[j] > 0:
            one["auxdata"] = [float(data.centre[j])]
            if j in rates:
                one["sigmas"] = [float(model.precision[j] ** -0.5)]
        settings.append(one)
    return settings


def _refused(what: str, why: str, where: Mapping[str, object] | None = None) -> InputError:
    return InputError(f"{what} cannot be written to a workspace: {why}", kind="pyhf.not_exact", where=where)
