"""Calibrations as ROOT histograms, in the layout that W-mass tools read.

    A, e, M                              TH1D over eta; bin errors are the square roots of the covariance's diagonal
    covariance_matrix                    TH2D, flattened eta-major: A, e, M of the first bin, A, e, M of the second, …
    covariance_order                     the names of its rows
    scale_variations                     TH2D, nuisance by parameter, flattened likewise
    closure/                             AZ, MZ and covariance_matrix (A, M of each bin) of the residual of the Z
    resolution_data/, resolution_mc/     a, b, c, d and covariance_matrix (a, b, c of each bin)
    resolution_variations                as for the scale, of data
    manifest                             JSON text: names of the nuisances, validity, units, origin

M is in 1/GeV (some old public files hold it multiplied by about 45 GeV).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from mucal import __version__
from mucal.arrays import FloatArray
from mucal.calibration import Calibration, certify
from mucal.calibration.covariance import RESOLUTION_PARAMETERS, SCALE_PARAMETERS, check_names, parameter_names
from mucal.errors import InputError
from mucal.io.root_histograms import Histogram, curve, eta_major, file_bytes, matrix, parts_of, read_histograms
from mucal.scale import Closure, ResolutionTable, ScaleTable
from mucal.store import replace_file


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosureTable:
    """The residual of a closure: A (C,) and M (C,) in 1/GeV over eta_edges (C+1,), cov (2C, 2C) of A, then M."""

    eta_edges: FloatArray
    A: FloatArray
    M: FloatArray
    cov: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class RootTables:
    """The tables of a calibration in ROOT form.

    scale                : A, e, M with their covariance
    closure              : residual of the Z, if there
    resolution_data, _mc : a, b, c, d with their covariance, if there
    """

    scale: ScaleTable
    resolution_data: ResolutionTable | None = None
    resolution_mc: ResolutionTable | None = None
    closure: ClosureTable | None = None


# ------------------------------------------------------------------------------------------------ writing


def write_root_tables(
    calibration: Calibration, path: str | Path, *, date: datetime | None = None, overwrite: bool = False
) -> Path:
    """Write the tables, covariances and variations of a calibration as ROOT histograms.

    date : written into the file in place of the clock's, so that the same calibration gives the same bytes

    Raises NotCertified if the calibration is not fit for export, FileExistsError unless `overwrite`.
    """
    certify(calibration)
    content = root_bytes(calibration, date=date)
    return replace_file(
        path, lambda temporary: temporary.write_bytes(content), check=read_root_tables, overwrite=overwrite
    )


def root_bytes(calibration: Calibration, *, date: datetime | None = None) -> bytes:
    """The bytes of the ROOT file of a calibration."""
    text = json.dumps(_manifest(calibration), sort_keys=True)
    objects = _objects(calibration)
    objects["covariance_order"] = " ".join(_minor(parameter_names(calibration.scale.n_bins)))
    objects["manifest"] = text
    return file_bytes(objects, repr(calibration.names).encode() + text.encode(), date)


def table_bytes(table: ScaleTable | ResolutionTable | Closure, *, date: datetime | None = None) -> bytes:
    """The bytes of a ROOT file that holds one table, its covariance beside it."""
    if isinstance(table, Closure):
        objects, identity = _closure(table), [table.A, table.M, table.cov]
    elif isinstance(table, ScaleTable):
        objects, identity = _table(table, SCALE_PARAMETERS, ()), [table.parameters, table.cov]
    else:
        objects = _table(table, RESOLUTION_PARAMETERS, ("d",))
        identity = [table.a, table.b, table.c, table.d, table.cov]
    return file_bytes(objects, b"".join(np.ascontiguousarray(part).tobytes() for part in identity), date)


def _objects(calibration: Calibration) -> dict[str, Any]:
    scale = calibration.scale
    objects = _table(scale, SCALE_PARAMETERS, ())
    objects["scale_variations"] = matrix("scale_variations", _flat_variations(calibration.scale_variations))
    if calibration.closure is not None:
        objects |= {f"closure/{name}": histogram for name, histogram in _closure(calibration.closure).items()}
    for part, table in (("resolution_data", calibration.resolution_data), ("resolution_mc", calibration.resolution_mc)):
        if table is not None:
            found = _table(table, RESOLUTION_PARAMETERS, ("d",))
            objects |= {f"{part}/{name}": histogram for name, histogram in found.items()}
    if calibration.resolution_variations.size:
        objects["resolution_variations"] = matrix(
            "resolution_variations", _flat_variations(calibration.resolution_variations)
        )
    return {name: histogram for name, histogram in objects.items() if histogram is not None}


def _table(table: ScaleTable | ResolutionTable, symbols: tuple[str, ...], fixed: tuple[str, ...]) -> dict[str, Any]:
    variance = np.diag(table.cov).reshape(3, -1)
    found = {name: curve(name, table.eta_edges, getattr(table, name), variance[i]) for i, name in enumerate(symbols)}
    found |= {name: curve(name, table.eta_edges, getattr(table, name), 0.0 * variance[0]) for name in fixed}
    order = eta_major(table.n_bins)
    found["covariance_matrix"] = matrix("covariance_matrix", table.cov[np.ix_(order, order)])
    return found


def _closure(closure: Closure) -> dict[str, Any]:
    variance = np.diag(closure.cov).reshape(2, -1)
    order = eta_major(closure.n_bins, 2)
    return {
        "AZ": curve("AZ", closure.eta_edges, closure.A, variance[0]),
        "MZ": curve("MZ", closure.eta_edges, closure.M, variance[1]),
        "covariance_matrix": matrix("covariance_matrix", closure.cov[np.ix_(order, order)]),
    }


def _minor(names: tuple[str, ...]) -> list[str]:
    return [names[i] for i in eta_major(len(names) // 3)]


def _flat_variations(variations: FloatArray) -> FloatArray:
    """(n, 3, B) -> (n, 3B), eta-major."""
    result: FloatArray = variations.transpose(0, 2, 1).reshape(variations.shape[0], -1)
    return result


def _manifest(calibration: Calibration) -> dict[str, Any]:
    return {
        "mucal": __version__,
        "units": {"A": "1", "e": "GeV", "M": "1/GeV", "a": "1", "b": "1", "c": "1/GeV^2", "d": "GeV^2"},
        "correction": "pt' = pt / (1 + A - e/pt + q M pt)",
        "scale_nuisances": list(calibration.nuisances("scale")),
        "resolution_nuisances": list(calibration.nuisances("resolution")),
        "factors": dict(calibration.factors),
        "resonance": calibration.resonance,
        "reference_mass": calibration.reference_mass,
        "reference_mass_error": calibration.reference_mass_error,
        "pdg_edition": calibration.pdg_edition,
        "pt_definition": calibration.pt_definition,
        "pt_range": list(calibration.pt_range),
        "eta_range": list(calibration.eta_range),
        "era": calibration.era,
        "tables": {part: _facts(table) for part, table in _tables(calibration).items()},
    }


def _tables(calibration: Calibration) -> dict[str, ScaleTable | ResolutionTable]:
    parts = ("scale", "resolution_data", "resolution_mc")
    return {part: table for part in parts if (table := getattr(calibration, part)) is not None}


def _facts(table: ScaleTable | ResolutionTable) -> dict[str, Any]:
    """What a table holds beside its arrays."""
    facts = {"chi2": table.chi2, "ndf": table.ndf, "pt_range": list(table.pt_range)}
    return facts | ({"resonance": table.resonance} if isinstance(table, ScaleTable) else {})


# ------------------------------------------------------------------------------------------------ reading


def read_root_tables(path: str | Path) -> RootTables:
    """The tables of a ROOT file in this layout, ours or another's, checked.

    Raises InputError if a histogram is missing, the eta axes differ, a variance is not the covariance's diagonal to
    1e-5, or a covariance is no covariance or ordered differently.
    """
    path = Path(path)
    found, texts = read_histograms(path, recursive=True)
    facts = _facts_of(texts.get("manifest", "{}"), path)
    edges, values, cov = parts_of(found, "", SCALE_PARAMETERS, path)
    if "covariance_order" in texts:
        names = _minor(parameter_names(edges.size - 1))
        check_names(texts["covariance_order"].split(), names, dataset="covariance_order", file=str(path))
    scale = ScaleTable(
        eta_edges=edges,
        A=values[0],
        e=values[1],
        M=values[2],
        cov=cov,
        **_stated(facts, "scale", path),
    )
    resolutions = {
        part: _resolution(found, part, facts, path)
        for part in ("resolution_data", "resolution_mc")
        if any(name.startswith(f"{part}/") for name in found)
    }
    return RootTables(scale=scale, closure=_read_closure(found, path), **resolutions)


def read_table(path: str | Path, symbols: tuple[str, ...]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Eta edges (B+1,), values (K, B) and covariance (K B, K B), each parameter over all bins, of one table of a file.

    symbols : names of the K histograms at the top of the file

    Raises InputError as `read_root_tables` does.
    """
    path = Path(path)
    found, _ = read_histograms(path, recursive=False)
    return parts_of(found, "", symbols, path)


def _read_closure(found: Mapping[str, Histogram], path: Path) -> ClosureTable | None:
    if not any(name.startswith("closure/") for name in found):
        return None
    edges, values, cov = parts_of(found, "closure/", ("AZ", "MZ"), path)
    return ClosureTable(eta_edges=edges, A=values[0], M=values[1], cov=cov)


def _resolution(found: Mapping[str, Histogram], part: str, facts: Mapping[str, Any], path: Path) -> ResolutionTable:
    edges, values, cov = parts_of(found, f"{part}/", RESOLUTION_PARAMETERS, path)
    d = found.get(f"{part}/d")
    if d is None:
        raise InputError(f"histogram '{part}/d' is missing", kind="input.missing_histogram", where={"file": path})
    return ResolutionTable(
        eta_edges=edges, a=values[0], b=values[1], c=values[2], d=d[1], cov=cov, **_stated(facts, part, path)
    )


def _facts_of(text: str, path: Path) -> dict[str, Any]:
    """The tables' facts in the manifest text; none in a file of another origin."""
    try:
        tables = json.loads(text).get("tables", {})
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"'manifest' is not readable: {error}", kind="input.json", where={"file": path}) from error
    return tables if isinstance(tables, dict) else {}


def _stated(facts: Mapping[str, Any], part: str, path: Path) -> dict[str, Any]:
    """chi2, ndf, pt_range, resonance as far as they are stated, with their types."""
    stated = facts.get(part, {})
    try:
        kinds: dict[str, Any] = {"chi2": float, "ndf": int, "resonance": str}
        found = {name: kind(stated[name]) for name, kind in kinds.items() if name in stated}
        if "pt_range" in stated:
            low, high = stated["pt_range"]
            found["pt_range"] = (float(low), float(high))
    except (TypeError, ValueError) as error:
        raise InputError(f"'manifest' states {stated!r} for {part}", kind="input.json", where={"file": path}) from error
    return found
