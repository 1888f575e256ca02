"""Any file or folder in a few lines."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

import mucal
from mucal.calibration import Calibration
from mucal.detector import Detector
from mucal.errors import InputError
from mucal.io import read_json
from mucal.io.bundle import read_evidence
from mucal.ledger import Ledger
from mucal.massfit import MassFits, SpectrumFit
from mucal.report.scale_sections import weak_rows
from mucal.scale import Closure, ResolutionTable, ScaleTable, coherent_shift, weak_modes
from mucal.scale.recovery import Recovery
from mucal.store import Result, is_result, read_header
from mucal.track.hits import Hits
from mucal.workflow.application import bundle_of
from mucal.workflow.hits_description import of_detector, of_hits
from mucal.workflow.mass_fits import quality_line
from mucal.workflow.outcome import beyond
from mucal.workflow.outside_files import Lines, describe_file
from mucal.workflow.stages import RESULT


def describe(path: str | Path) -> tuple[dict[str, Any], Lines]:
    """What a path holds, as plain values and as lines for people.

    Raises InputError for what cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    if path.is_dir():
        return _describe_folder(path)
    if is_result(path):
        return _describe_result(path)
    return describe_file(path)


def _describe_folder(path: Path) -> tuple[dict[str, Any], Lines]:
    if (path / RESULT).exists():
        ended = read_json(path / RESULT)
        lines = [f"{path}: run, status {ended['status']}" + (f": {ended['reason']}" if ended["reason"] else "")]
        lines += [f"  {name:<32} {value}" for name, value in ended["headline"].items()]
        return ended, [*lines, f"  files: {', '.join(ended['files'])}"]
    folder = bundle_of(path)
    calibration, files, evidence = mucal.load(folder), sorted(p.name for p in path.iterdir()), read_evidence(folder)
    return {"path": str(path), "type": "calibration", "files": files, "evidence": evidence}, [
        f"{path}: calibration",
        *_summary(calibration),
        *_evidence(evidence),
        f"  files: {', '.join(files)}",
    ]


def _evidence(evidence: Mapping[str, Any]) -> Lines:
    """Closures and mass fits as the manifest of a release states them."""
    lines = []
    for resonance, closure in evidence.get("closures", {}).items():
        if (residual := closure["residual"]) is not None:
            factor = closure["factor"]
            asked = "no factor on them explains it" if factor is None else f"it asks for a factor {factor:.2f} on them"
            lines.append(
                f"  closure with {resonance}: chi2/ndf {residual['chi2']:.1f}/{residual['ndf']} with the errors of the "
                f"table as derived, p = {residual['p_value']:.2g}; {asked}"
            )
    if fits := evidence.get("mass_fits"):
        dropped = ", ".join(f"{len(bins)} {status}" for status, bins in fits["dropped"].items()) or "none"
        lines.append(f"  mass fits: {fits['used']} bins used, dropped by status: {dropped}")
    return lines


def _describe_result(path: Path) -> tuple[dict[str, Any], Lines]:
    header = read_header(path)
    kind = header["type"]
    provenance = header["provenance"]
    lines = [f"{path}: {kind}, made by mucal {header['mucal']}"]
    if kind in _DESCRIBED:
        cls, tell = _DESCRIBED[kind]
        lines += tell(cls.load(path))
    for name, array in header["arrays"].items():
        lines.append(f"  {name:<28} {array['dtype'][1:]:<4} {'x'.join(map(str, array['shape']))}")
    lines += [f"  input {name}  sha256 {digest[:16]}…" for name, digest in provenance["inputs"].items()]
    lines += [f"  {stage}: {Ledger(**ledger).line()}" for stage, ledger in provenance["ledgers"].items()]
    return {"path": str(path), **header}, lines


def _fits(fits: MassFits) -> Lines:
    edges = fits.histograms
    return [
        f"  {fits.resonance} at {fits.reference_mass:.6g} GeV, model {fits.model}: {quality_line(fits)}",
        f"  {edges.counts.sum():.0f} pairs in {edges.n_bins} bins of {'|eta|' if edges.abs_eta else 'eta'} and pT, "
        f"{edges.mass_edges[0]:g} to {edges.mass_edges[-1]:g} GeV",
    ]


def _closure(closure: Closure) -> Lines:
    errors = np.sqrt(np.diag(closure.cov))
    asked = errors > 0
    pulls = closure.residual[asked] / errors[asked]
    found = [
        f"{name} of {values.min():.2g} to {values.max():.2g}{unit}, median error {np.median(error):.2g}{unit}"
        for name, unit, values, error in zip(
            "AM", ("", " 1/GeV"), (closure.A, closure.M), errors.reshape(2, -1), strict=True
        )
        if np.any(error > 0)
    ]
    return [
        f"  {closure.resonance}, {closure.n_bins} eta bins: {'; '.join(found)}; rms of the pulls "
        f"{np.sqrt(np.mean(pulls**2)):.2f}",
        f"  chi2/ndf of the equations {closure.chi2:.1f}/{closure.ndf}",
    ]


def _scale(table: ScaleTable) -> Lines:
    lines = _summary(table)
    shift = coherent_shift(table)
    for pt, even, error in zip(shift.pt, shift.even, shift.even_error, strict=True):
        number = f"{1e5 * even:+.1f} +- {1e5 * error:.1f} (1e-5)"
        lines.append(f"  eta average of A - e/pT at {pt:g} GeV: {number}{beyond(table, pt)}")
    return lines + _weak(table)


WEAKEST: Final = 3
"""Combinations of a scale table that are shown."""


def _weak(table: ScaleTable) -> Lines:
    """The weakest combinations of its parameters, if any has an error."""
    if not np.any(np.diag(table.cov) > 0):
        return []
    modes = weak_modes(table)
    rows = weak_rows(modes)[:WEAKEST]
    return [
        f"  weakest combinations, 1 if uncorrelated; condition number {modes.condition_number:.3g}",
        *(f"  {eigenvalue:>6}  {leading}" for eigenvalue, *_, leading in rows),
    ]


def _summary(found: Result) -> Lines:
    return [f"  {line}" for line in found.summary()]


def _recovery(found: Recovery) -> Lines:
    return [f"  injected against recovered: chi2 = {found.chi2:.1f} for {found.ndf}, p = {found.p_value:.2g}"]


_DESCRIBED: Final[Mapping[str, tuple[type[Result], Callable[[Any], Lines]]]] = {
    "MassFits": (MassFits, _fits),
    "ScaleTable": (ScaleTable, _scale),
    "Closure": (Closure, _closure),
    "ResolutionTable": (ResolutionTable, _summary),
    "Calibration": (Calibration, _summary),
    "Recovery": (Recovery, _recovery),
    "SpectrumFit": (SpectrumFit, _summary),
    "Detector": (Detector, of_detector),
    "Hits": (Hits, of_hits),
}
