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

import hashlib
import io
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import uproot
from uproot.writing import identify

from mucal import __version__
from mucal.arrays import FloatArray
from mucal.calibration import Calibration
from mucal.calibration.covariance import (
    RESOLUTION_PARAMETERS,
    SCALE_PARAMETERS,
    block_units,
    check_covariance,
    check_names,
    parameter_names,
)
from mucal.errors import InputError
from mucal.io.file_magic import check_length
from mucal.io.file_magic import identify as identify_file
from mucal.io.root_dates import EPOCH, with_date
from mucal.scale import Closure, ResolutionTable, ScaleTable
from mucal.store import replace_file

TITLES: Final = {
    "A": "A;#eta;A",
    "e": "e;#eta;e [GeV]",
    "M": "M;#eta;M [GeV^{-1}]",
    "AZ": "AZ;#eta;A",
    "MZ": "MZ;#eta;M [GeV^{-1}]",
    "a": "a;#eta;a",
    "b": "b;#eta;b",
    "c": "c;#eta;c [GeV^{-2}]",
    "d": "d;#eta;d [GeV^{2}]",
}
VARIANCE_TOLERANCE: Final = 1e-5
"""Largest relative difference of a bin's variance from the covariance's diagonal that readers of this layout allow."""


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

    Raises FileExistsError unless `overwrite`.
    """
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
    return _bytes(objects, repr(calibration.names).encode() + text.encode(), date)


def table_bytes(table: ScaleTable | ResolutionTable | Closure, *, date: datetime | None = None) -> bytes:
    """The bytes of a ROOT file that holds one table, its covariance beside it."""
    if isinstance(table, Closure):
        objects, identity = _closure(table), [table.A, table.M, table.cov]
    elif isinstance(table, ScaleTable):
        objects, identity = _table(table, SCALE_PARAMETERS, ()), [table.parameters, table.cov]
    else:
        objects = _table(table, RESOLUTION_PARAMETERS, ("d",))
        identity = [table.a, table.b, table.c, table.d, table.cov]
    return _bytes(objects, b"".join(np.ascontiguousarray(part).tobytes() for part in identity), date)


def _bytes(objects: Mapping[str, Any], identity: bytes, date: datetime | None) -> bytes:
    """A ROOT file of these objects; its identity, in place of a random number, is its content."""
    buffer = io.BytesIO()
    number = uuid.UUID(bytes=hashlib.sha256(identity).digest()[:16])
    with uproot.recreate(buffer, uuid_function=lambda: number) as file:
        for name, each in objects.items():
            file[name] = each
        content = buffer.getvalue()  # closing the file closes the buffer, too
    return with_date(content, date or EPOCH)


def _objects(calibration: Calibration) -> dict[str, Any]:
    scale = calibration.scale
    objects = _table(scale, SCALE_PARAMETERS, ())
    objects["scale_variations"] = _matrix("scale_variations", _flat_variations(calibration.scale_variations))
    if calibration.closure is not None:
        objects |= {f"closure/{name}": histogram for name, histogram in _closure(calibration.closure).items()}
    for part, table in (("resolution_data", calibration.resolution_data), ("resolution_mc", calibration.resolution_mc)):
        if table is not None:
            found = _table(table, RESOLUTION_PARAMETERS, ("d",))
            objects |= {f"{part}/{name}": histogram for name, histogram in found.items()}
    if calibration.resolution_variations.size:
        objects["resolution_variations"] = _matrix(
            "resolution_variations", _flat_variations(calibration.resolution_variations)
        )
    return {name: histogram for name, histogram in objects.items() if histogram is not None}


def _table(table: ScaleTable | ResolutionTable, symbols: tuple[str, ...], fixed: tuple[str, ...]) -> dict[str, Any]:
    variance = np.diag(table.cov).reshape(3, -1)
    found = {name: _curve(name, table.eta_edges, getattr(table, name), variance[i]) for i, name in enumerate(symbols)}
    found |= {name: _curve(name, table.eta_edges, getattr(table, name), 0.0 * variance[0]) for name in fixed}
    order = _eta_major(table.n_bins)
    found["covariance_matrix"] = _matrix("covariance_matrix", table.cov[np.ix_(order, order)])
    return found


def _closure(closure: Closure) -> dict[str, Any]:
    variance = np.diag(closure.cov).reshape(2, -1)
    order = _eta_major(closure.n_bins, 2)
    return {
        "AZ": _curve("AZ", closure.eta_edges, closure.A, variance[0]),
        "MZ": _curve("MZ", closure.eta_edges, closure.M, variance[1]),
        "covariance_matrix": _matrix("covariance_matrix", closure.cov[np.ix_(order, order)]),
    }


def _curve(name: str, edges: FloatArray, values: FloatArray, variance: FloatArray) -> Any:
    """A TH1D: values with variances over eta."""
    title, _, unit = TITLES[name].rpartition(";")
    title, _, eta = title.partition(";")
    axis = identify.to_TAxis("xaxis", eta, values.size, float(edges[0]), float(edges[-1]), fXbins=np.asarray(edges))
    other = identify.to_TAxis("yaxis", unit, 1, 0.0, 1.0)
    padded, squares = np.pad(values, 1), np.pad(variance, 1)
    return identify.to_TH1x(name, title, padded, float(values.size), 0.0, 0.0, 0.0, 0.0, squares, axis, fYaxis=other)


def _matrix(name: str, values: FloatArray) -> Any:
    """A TH2D of a matrix: first index along x."""
    rows, columns = values.shape
    if rows == 0:
        return None
    axes = [identify.to_TAxis(f"{x}axis", "", n, 0.0, float(n)) for x, n in (("x", rows), ("y", columns))]
    flat = np.pad(values, 1).T.reshape(-1)
    sums = [0.0] * 7
    return identify.to_TH2x(name, name, flat, float(values.size), *sums, np.zeros(0), *axes)


def _eta_major(n_bins: int, n_symbols: int = 3) -> Any:
    """Positions in (A, e, M each over all bins) of the elements of (all bins, each A, e, M)."""
    return np.arange(n_symbols * n_bins).reshape(n_symbols, n_bins).T.reshape(-1)


def _minor(names: tuple[str, ...]) -> list[str]:
    return [names[i] for i in _eta_major(len(names) // 3)]


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
    identify_file(path, "root")
    check_length(path, "root")
    with uproot.open(path) as file:
        keys = {key.partition(";")[0] for key in file.keys(recursive=True)}
        found = {name: _read(file, name, path) for name in sorted(keys) if _is_wanted(file, name)}
        text = str(file["manifest"]) if "manifest" in keys else "{}"
        order = str(file["covariance_order"]).split() if "covariance_order" in keys else None
    facts = _facts_of(text, path)
    edges, values, cov = _parts(found, "", SCALE_PARAMETERS, path)
    if order is not None:
        names = _minor(parameter_names(edges.size - 1))
        check_names(order, names, dataset="covariance_order", file=str(path))
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
    identify_file(path, "root")
    check_length(path, "root")
    with uproot.open(path) as file:
        keys = {key.partition(";")[0] for key in file.keys(recursive=False)}
        found = {name: _read(file, name, path) for name in sorted(keys) if _is_wanted(file, name)}
    return _parts(found, "", symbols, path)


def _is_wanted(file: Any, name: str) -> bool:
    return name.rpartition("/")[2] in (*TITLES, "covariance_matrix") and file.classname_of(name).startswith("TH")


def _read(file: Any, name: str, path: Path) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Edges of the first axis, values and variances of a histogram."""
    histogram = file[name]
    values = np.asarray(histogram.values(), dtype=np.float64)
    if not np.all(np.isfinite(values)):
        raise InputError(
            f"{int((~np.isfinite(values)).sum())} of {values.size} numbers of '{name}' are not finite",
            kind="input.nonfinite",
            where={"file": path, "table": name},
        )
    variances = np.asarray(histogram.variances(), dtype=np.float64) if values.ndim == 1 else np.zeros(0)
    return np.asarray(histogram.axis(0).edges(), dtype=np.float64), values, variances


def _parts(
    found: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]], prefix: str, symbols: tuple[str, ...], path: Path
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Eta edges, (3, B) values, and the covariance in our order."""
    wanted = [f"{prefix}{name}" for name in (*symbols, "covariance_matrix")]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise InputError(
            f"histogram '{missing[0]}' is missing",
            kind="input.missing_histogram",
            where={"file": path, "known": ", ".join(found) or "none of this layout"},
        )
    edges = found[wanted[0]][0]
    for name in wanted[1:-1]:
        if not np.array_equal(found[name][0], edges):
            raise InputError(
                f"'{name}' and '{wanted[0]}' have different eta axes", kind="input.axes", where={"file": path}
            )
    b, n, of_matrix = edges.size - 1, len(symbols), wanted[-1]
    matrix = found[of_matrix][1]
    if matrix.shape != (n * b, n * b):
        raise InputError(
            f"'{of_matrix}' has shape {matrix.shape}, expected {(n * b, n * b)}",
            kind="input.covariance",
            where={"file": path},
        )
    cov = np.empty_like(matrix)
    cov[np.ix_(_eta_major(b, n), _eta_major(b, n))] = matrix
    check_covariance(cov, dataset=of_matrix, file=str(path), units=block_units(cov, n))
    variances = np.concatenate([found[name][2] for name in wanted[:-1]])
    _check_variances(variances, np.diag(cov), parameter_names(b, symbols), of_matrix, path)
    return edges, np.stack([found[name][1] for name in wanted[:-1]]), cov


def _check_variances(variances: FloatArray, diagonal: FloatArray, rows: tuple[str, ...], name: str, path: Path) -> None:
    wrong = np.abs(variances - diagonal) > VARIANCE_TOLERANCE * np.abs(diagonal)
    if np.any(wrong):
        i = int(np.argmax(wrong))
        raise InputError(
            f"the errors of the histograms are not those of '{name}': the variance of row '{rows[i]}' is "
            f"{variances[i]:.6g}, on the diagonal stands {diagonal[i]:.6g}",
            kind="input.covariance",
            where={"file": path},
            do="the matrix may be ordered differently: it must be eta-major",
        )


def _read_closure(found: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]], path: Path) -> ClosureTable | None:
    if not any(name.startswith("closure/") for name in found):
        return None
    edges, values, cov = _parts(found, "closure/", ("AZ", "MZ"), path)
    return ClosureTable(eta_edges=edges, A=values[0], M=values[1], cov=cov)


def _resolution(
    found: Mapping[str, tuple[FloatArray, FloatArray, FloatArray]], part: str, facts: Mapping[str, Any], path: Path
) -> ResolutionTable:
    edges, values, cov = _parts(found, f"{part}/", RESOLUTION_PARAMETERS, path)
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
