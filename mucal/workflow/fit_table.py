"""A finished fit in lines for people and in plain values for scripts."""

import math
import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.likelihood import Impacts
from mucal.workflow.fit import Fitted

STATISTICS: Final = ("data size", "simulation size")
WARNINGS: Final = 10
"""About the model that are printed."""
WIDEST: Final = 44
"""Characters of a parameter's name that a table shows."""


def fit_lines(fitted: Fitted, top: int = 20) -> list[str]:
    """The summary of a fit: parameters of interest, groups, the parameters with the largest impacts.

    top : rows of each table of parameters
    """
    lines = [*headline(fitted), *_pois(fitted)]
    if not fitted.nominal:
        lines += ["", *_pull_table(fitted, top)]
    for nominal, response in zip(fitted.nominal, fitted.responses, strict=True):
        lines += ["", *_group_table(nominal, response), "", *_impact_table(fitted, nominal, response, top)]
    return lines


def headline(fitted: Fitted) -> Iterator[str]:
    """How it ended, how large it is, and what to know about it."""
    result = fitted.result
    goodness = f"2 NLL = {result.saturated:.2f} for {result.ndof} degrees of freedom"
    if result.ndof > 0 and fitted.data != "asimov":
        goodness += f", p = {result.p_value:.3g}"
    yield f"fit of {fitted.data}: converged in {result.n_steps} steps, EDM {abs(result.edm):.1e}; {goodness}"
    yield (
        f"{result.expected.size} bins, {len(result.parameters)} parameters, {result.n_free} of them free, "
        f"{int(result.frozen.sum())} frozen; simulation: {result.mc_stat}"
        + (f" per {result.per}" if result.mc_stat != "none" else "")
    )
    yield from (f"note: {note}" for note in fitted.notes)
    yield from (f"warning: {warning}" for warning in fitted.warnings[:WARNINGS])
    if len(fitted.warnings) > WARNINGS:
        yield f"warning: and {len(fitted.warnings) - WARNINGS} more (--json lists all)"


def _pois(fitted: Fitted) -> Iterator[str]:
    result = fitted.result
    wide = max((len(name) for name in result.pois), default=0)
    for name in result.pois:
        value, error = rounded(result.value(name), result.error(name))
        hidden = f"   blinded by a hidden offset; --unblind {name} shows it" if name in result.blinded else ""
        yield f"  {name:<{wide}} = {value} +- {error}{hidden}"


def _group_table(nominal: Impacts, response: Impacts) -> Iterator[str]:
    rows = group_rows(nominal, response)
    wide = max(len(name) for name, _, _ in rows)
    yield f"  {'impacts on ' + nominal.poi:<{wide}} {'nominal':>12} {'global':>12}"
    for name, one, other in rows:
        yield f"  {name:<{wide}} {_number(one):>12} {_number(other):>12}"


def group_rows(nominal: Impacts, response: Impacts) -> list[tuple[str, float, float]]:
    """Group, nominal and global impact, the largest nominal one first; then what data and simulation give, and all."""
    others = [name for name in nominal.groups if name != nominal.poi]
    groups = sorted(others, key=lambda name: -nominal.groups[name])
    rows = [(name, nominal.groups[name], response.groups[name]) for name in groups]
    rows.append((STATISTICS[0], nominal.data_stat, response.data_stat))
    rows.append((STATISTICS[1], nominal.mc_stat, response.mc_stat))
    return [*rows, ("total", nominal.total, response.total)]


def ranking(fitted: Fitted, nominal: Impacts) -> IntArray:
    """Indices of the parameters that vary, but the one of interest, the largest nominal impact first."""
    size = np.abs(nominal.single)
    order = np.argsort(-size, kind="stable")
    skip = fitted.result.frozen | np.array([name == nominal.poi for name in fitted.result.parameters])
    left: IntArray = order[~skip[order]]
    return left


def _impact_table(fitted: Fitted, nominal: Impacts, response: Impacts, top: int) -> Iterator[str]:
    order = ranking(fitted, nominal)
    shown = order[:top]
    wide = max([len(_cut(fitted.result.parameters[j])) for j in shown] + [9])
    yield f"  {'':>3}  {'parameter':<{wide}} {'pull':>7} {'constraint':>10} {'nominal':>12} {'global':>12}"
    for rank, j in enumerate(shown, start=1):
        name = _cut(fitted.result.parameters[j])
        yield (
            f"  {rank:>3}  {name:<{wide}} {_pull(fitted, int(j))} {_signed(nominal.single[j]):>12} "
            f"{_signed(response.single[j]) if fitted.precision[j] > 0 else '-':>12}"
        )
    if order.size > shown.size:
        yield f"       and {order.size - shown.size} more (--top N)"


def _pull_table(fitted: Fitted, top: int) -> Iterator[str]:
    """Without a parameter of interest: the largest pulls."""
    pulls = np.nan_to_num(np.abs(fitted.pulls), nan=-1.0)
    order = np.argsort(-pulls, kind="stable")[:top]
    wide = max([len(_cut(fitted.result.parameters[j])) for j in order] + [9])
    yield f"       {'parameter':<{wide}} {'pull':>7} {'constraint':>10} {'value':>12} {'error':>12}"
    for rank, j in enumerate(order, start=1):
        name = fitted.result.parameters[j]
        value, error = rounded(fitted.result.value(name), fitted.result.error(name))
        yield f"  {rank:>3}  {_cut(name):<{wide}} {_pull(fitted, int(j))} {value:>12} {error:>12}"


def _pull(fitted: Fitted, j: int) -> str:
    if not fitted.precision[j] > 0:
        return f"{'free':>7} {'-':>10}"
    return f"{fitted.pulls[j]:>+7.2f} {fitted.constraints[j]:>10.3f}"


def fit_plain(fitted: Fitted) -> dict[str, Any]:
    """Everything of a fit but covariances, as JSON knows it."""
    result = fitted.result
    errors = np.sqrt(np.diag(result.cov))
    parameters = {
        name: {
            "value": float(result.values[j]),
            "error": float(errors[j]),
            "pull": _or_none(fitted.pulls, j),
            "constraint": _or_none(fitted.constraints, j),
            "frozen": bool(result.frozen[j]),
        }
        for j, name in enumerate(result.parameters)
    }
    return {
        "status": "ok",
        "data": fitted.data,
        "format": fitted.format,
        "notes": list(fitted.notes),
        "warnings": list(fitted.warnings),
        "edm": result.edm,
        "steps": result.n_steps,
        "twice_nll": result.saturated,
        "ndof": result.ndof,
        "p_value": result.p_value if result.ndof > 0 else None,
        "blinded": list(result.blinded),
        "pois": {name: parameters[name] for name in result.pois},
        "parameters": parameters,
        "impacts": {
            nominal.poi: {"nominal": _impacts(nominal), "global": _impacts(response)}
            for nominal, response in zip(fitted.nominal, fitted.responses, strict=True)
        },
    }


def _impacts(impacts: Impacts) -> dict[str, Any]:
    return {
        "total": impacts.total,
        "data_stat": impacts.data_stat,
        "mc_stat": impacts.mc_stat,
        "groups": dict(impacts.groups),
        "single": dict(zip(impacts.parameters, impacts.single.tolist(), strict=True)),
    }


def _or_none(values: FloatArray, j: int) -> float | None:
    return float(values[j]) if np.isfinite(values[j]) else None


def rounded(value: float, error: float) -> tuple[str, str]:
    """Value and error to two digits of the error."""
    if not (math.isfinite(error) and error > 0):
        return f"{value:.6g}", "0" if error == 0 else "-"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f}", f"{error:.{digits}f}"


def safe_name(name: str) -> str:
    """A name that can be part of a file's."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _signed(value: float) -> str:
    return f"{value:+.4g}"


def _cut(name: str) -> str:
    return name if len(name) <= WIDEST else f"{name[: WIDEST - 1]}…"
