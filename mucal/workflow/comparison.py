"""Two runs beside each other: every number of both in units of its error, and what was configured differently."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.linalg import lstsq
from scipy.special import chdtrc

from mucal.arrays import FloatArray
from mucal.errors import InputError
from mucal.report import RunResults
from mucal.report.comparison_page import Comparison, NumberPair, comparison_page
from mucal.report.fit_sections import flattened
from mucal.scale import ResolutionTable, ScaleTable
from mucal.store import replace_file
from mucal.workflow.finished_run import load_run
from mucal.workflow.stages import RESULT

UNITS: Final = {"A": ("1e-5", 1e5), "e": ("MeV", 1e3), "M": ("1e-5/GeV", 1e5)}


def compare_runs(first: str | Path, second: str | Path) -> Comparison:
    """Two finished runs beside each other.

    first, second : their folders

    Raises InputError for a folder that is not that of a finished run, and for runs that cannot be compared: other
    resonance, reference mass, bins of eta or momenta.
    """
    runs = (load_run(first), load_run(second))
    _refuse_different(runs, (first, second))
    groups = {
        "headline": tuple(_headline(first, second)),
        "scale table": tuple(_scale(runs[0].table, runs[1].table)),
        "resolution of data": tuple(_resolution(runs[0].resolution, runs[1].resolution)),
        "resolution of simulation": tuple(_resolution(runs[0].resolution_mc, runs[1].resolution_mc)),
        "global corrections": tuple(_corrections(*runs)),
    }
    chi2, ndf = _chi2(runs[0].table, runs[1].table)
    return Comparison(
        names=(str(first), str(second)), groups={name: rows for name, rows in groups.items() if rows},
        chi2=chi2, ndf=ndf, p_value=float(chdtrc(max(1, ndf), chi2)), shared=_share_events(*runs),
        configuration=tuple(_changed(*runs)), tables=(runs[0].table, runs[1].table),
    )  # fmt: skip


def write_comparison(found: Comparison, path: str | Path, *, overwrite: bool = False) -> Path:
    """The page of a comparison."""
    html = comparison_page(found)
    return replace_file(path, lambda to: to.write_text(html, encoding="utf-8"), overwrite=overwrite)


@dataclass(frozen=True, slots=True)
class _Demand:
    """What two runs must agree in: its name, and both values."""

    name: str
    first: Any
    second: Any


def _refuse_different(runs: tuple[RunResults, RunResults], folders: tuple[str | Path, str | Path]) -> None:
    """Raises InputError that names all in which the runs must agree and do not."""
    one, other = runs
    demands = (
        _Demand("resonance", one.table.resonance, other.table.resonance),
        _Demand("reference mass [GeV]", one.fits.reference_mass, other.fits.reference_mass),
        _Demand("bins of eta", one.table.eta_edges.tolist(), other.table.eta_edges.tolist()),
        _Demand("pt_definition", _defined(one), _defined(other)),
    )
    different = {
        demand.name: f"{demand.first} and {demand.second}" for demand in demands if demand.first != demand.second
    }
    if different:
        raise InputError(
            f"the runs cannot be compared, they differ in: {', '.join(different)}",
            kind="input.not_comparable",
            where={"first": folders[0], "second": folders[1], **different},
            do="compare runs of the same resonance in the same bins",
        )


def _defined(run: RunResults) -> str:
    section = run.provenance.configuration.get("calibration", {})
    return str(section.get("pt_definition", "as read")) if isinstance(section, Mapping) else "as read"


def _headline(first: str | Path, second: str | Path) -> Iterator[NumberPair]:
    """The numbers of `result.json` that both have, with their errors where they state one."""
    a, b = (json.loads((Path(path) / RESULT).read_text(encoding="utf-8"))["headline"] for path in (first, second))
    for name, value in a.items():
        other = b.get(name)
        if name.endswith("_error") or not all(isinstance(x, int | float) for x in (value, other)):
            continue
        errors = [float(found.get(f"{name}_error") or np.nan) for found in (a, b)]
        yield NumberPair(name=name, unit="", first=float(value), second=float(other), errors=(errors[0], errors[1]))


def _scale(one: ScaleTable, other: ScaleTable) -> Iterator[NumberPair]:
    errors = [np.sqrt(np.clip(np.diag(table.cov), 0.0, None)).reshape(3, -1) for table in (one, other)]
    for j, (name, (unit, factor)) in enumerate(UNITS.items()):
        rows = zip(getattr(one, name), getattr(other, name), errors[0][j], errors[1][j], strict=True)
        yield from _rows(name, unit, factor, one.eta_edges, rows)


def _resolution(one: ResolutionTable | None, other: ResolutionTable | None) -> Iterator[NumberPair]:
    if one is None or other is None or not np.array_equal(one.eta_edges, other.eta_edges):
        return
    errors = [np.sqrt(np.clip(np.diag(table.cov), 0.0, None)).reshape(3, -1) for table in (one, other)]
    for j, name in enumerate("abc"):
        rows = zip(getattr(one, name), getattr(other, name), errors[0][j], errors[1][j], strict=True)
        yield from _rows(
            name, "1e-6" if name != "c" else "1e-9/GeV^2", 1e6 if name != "c" else 1e9, one.eta_edges, rows
        )


def _rows(name: str, unit: str, factor: float, edges: FloatArray, rows: Any) -> Iterator[NumberPair]:
    """Those that either run solved for."""
    for i, (a, b, error_a, error_b) in enumerate(rows):
        if error_a > 0 or error_b > 0:
            yield NumberPair(
                name=f"{name} at eta {edges[i]:g} to {edges[i + 1]:g}", unit=unit, first=factor * float(a),
                second=factor * float(b), errors=(factor * float(error_a), factor * float(error_b)),
            )  # fmt: skip


def _corrections(one: RunResults, other: RunResults) -> Iterator[NumberPair]:
    """The global parameters that both fitted, by name."""
    if one.tracks is None or other.tracks is None:
        return
    a, b = one.tracks.corrections, other.tracks.corrections
    place = {name: i for i, name in enumerate(b.registry.names) if b.free[i]}
    for i, name in enumerate(a.registry.names):
        j = place.get(name)
        if a.free[i] and j is not None:
            yield NumberPair(
                name=name, unit=a.registry.units[i], first=float(a.theta[i]), second=float(b.theta[j]),
                errors=(float(a.error[i]), float(b.error[j])),
            )  # fmt: skip


def _chi2(one: ScaleTable, other: ScaleTable) -> tuple[float, int]:
    """Of the difference of two scale tables with the sum of their covariances, over the combinations these know."""
    cov = one.cov + other.cov
    use = np.diag(cov) > 0
    if not use.any():
        return 0.0, 0
    sigma = np.sqrt(np.diag(cov)[use])
    pulls = (other.parameters - one.parameters)[use] / sigma
    solution, _, rank, _ = lstsq(cov[np.ix_(use, use)] / np.outer(sigma, sigma), pulls, cond=1e-9)
    return float(pulls @ solution), int(rank)


def _share_events(one: RunResults, other: RunResults) -> bool:
    """Whether both read the same files, or drew with the same seeds."""
    a, b = one.provenance, other.provenance
    if a.inputs or b.inputs:
        return bool(set(a.inputs.values()) & set(b.inputs.values()))

    def seeds(configuration: Mapping[str, Any]) -> list[str]:
        return [str(dict(configuration.get(name, {})).get("seed")) for name in ("generate", "tracks")]

    return seeds(a.configuration) == seeds(b.configuration)


def _changed(one: RunResults, other: RunResults) -> Iterator[tuple[str, str, str]]:
    """Configuration lines that differ: key, and what stands in each; "–" where it does not."""
    lines = [{"mucal": run.provenance.mucal, **flattened("", run.provenance.configuration)} for run in (one, other)]
    for key in dict.fromkeys((*lines[0], *lines[1])):
        a, b = (found.get(key, "–") for found in lines)
        if a != b:
            yield key, a, b
