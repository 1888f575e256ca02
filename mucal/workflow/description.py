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
from mucal.ledger import Ledger
from mucal.massfit import MassFits, SpectrumFit
from mucal.scale import Closure, ResolutionTable, ScaleTable, coherent_shift
from mucal.scale.recovery import Recovery
from mucal.store import Result, is_result, read_header
from mucal.track.hits import Hits
from mucal.workflow.application import bundle_of
from mucal.workflow.chain import quality_line
from mucal.workflow.hits_description import of_detector, of_hits
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
    calibration = mucal.load(bundle_of(path))
    return {"path": str(path), "type": "calibration", "files": sorted(p.name for p in path.iterdir())}, [
        f"{path}: calibration",
        *_calibration(calibration),
        f"  files: {', '.join(sorted(p.name for p in path.iterdir()))}",
    ]


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
    errors = np.sqrt(np.diag(closure.cov)).reshape(2, -1)
    pulls = closure.residual / errors.ravel()
    return [
        f"  {closure.resonance}, {closure.n_bins} eta bins: A of {closure.A.min():.2g} to {closure.A.max():.2g}, M of "
        f"{closure.M.min():.2g} to {closure.M.max():.2g} 1/GeV; median errors {np.median(errors[0]):.2g}, "
        f"{np.median(errors[1]):.2g} 1/GeV; rms of the pulls {np.sqrt(np.mean(pulls**2)):.2f}",
        f"  chi2/ndf of the equations {closure.chi2:.1f}/{closure.ndf}",
    ]


def _scale(table: ScaleTable) -> Lines:
    errors = np.sqrt(np.clip(np.diag(table.cov), 0, None)).reshape(3, -1)
    lines = [
        f"  scale from {table.resonance} in {table.n_bins} eta bins, muons of {table.pt_range[0]:g} to "
        f"{table.pt_range[1]:g} GeV, chi2 = {table.chi2:.1f} for {table.ndf}",
        f"  {'eta':>14} {'A [1e-3]':>18} {'e [MeV]':>18} {'M [1e-5/GeV]':>18}",
    ]
    for i in range(table.n_bins):
        cells = [
            f"{f * getattr(table, n)[i]:+.3f} +- {f * errors[j, i]:.3f}"
            for j, (n, f) in enumerate((("A", 1e3), ("e", 1e3), ("M", 1e5)))
        ]
        span = f"{table.eta_edges[i]:+.2f} .. {table.eta_edges[i + 1]:+.2f}"
        lines.append(f"  {span:>14} " + " ".join(f"{cell:>18}" for cell in cells))
    shift = coherent_shift(table)
    for pt, even, error in zip(shift.pt, shift.even, shift.even_error, strict=True):
        number = f"{1e5 * even:+.1f} +- {1e5 * error:.1f} (1e-5)"
        lines.append(f"  eta average of A - e/pT at {pt:g} GeV: {number}{beyond(table, pt)}")
    return lines


def _resolution(table: ResolutionTable) -> Lines:
    mean = [float(np.mean(getattr(table, name))) for name in ("a", "b", "c")]
    return [
        f"  resolution in {table.n_bins} eta bins, chi2 = {table.chi2:.1f} for {table.ndf}; means a = {mean[0]:.3g}, "
        f"b = {mean[1]:.3g}, c = {mean[2]:.3g} / GeV^2"
    ]


def _calibration(found: Calibration) -> Lines:
    groups = {group: found.groups.count(group) for group in dict.fromkeys(found.groups)}
    return [
        f"  scale from {found.resonance}, {1e3 * found.reference_mass:.3f} +- {1e3 * found.reference_mass_error:.3f} "
        f"MeV (PDG {found.pdg_edition}), for {found.pt_definition} momenta",
        f"  valid for {found.pt_range[0]:g} <= pt < {found.pt_range[1]:g} GeV, {found.eta_range[0]:g} <= eta < "
        f"{found.eta_range[1]:g}",
        f"  nuisances: {', '.join(f'{n} {group}' for group, n in groups.items())}",
    ]


def _recovery(found: Recovery) -> Lines:
    return [f"  injected against recovered: chi2 = {found.chi2:.1f} for {found.ndf}, p = {found.p_value:.2g}"]


def _spectrum(fit: SpectrumFit) -> Lines:
    return [f"  {line}" for line in fit.summary().splitlines()]


_DESCRIBED: Final[Mapping[str, tuple[type[Result], Callable[[Any], Lines]]]] = {
    "MassFits": (MassFits, _fits),
    "ScaleTable": (ScaleTable, _scale),
    "Closure": (Closure, _closure),
    "ResolutionTable": (ResolutionTable, _resolution),
    "Calibration": (Calibration, _calibration),
    "Recovery": (Recovery, _recovery),
    "SpectrumFit": (SpectrumFit, _spectrum),
    "Detector": (Detector, of_detector),
    "Hits": (Hits, of_hits),
}
