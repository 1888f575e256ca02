"""One table as ROOT histograms: a TH1D over eta for each parameter, and their covariance, eta-major, as a TH2D."""

import hashlib
import io
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import uproot
from uproot.writing import identify

from mucal.arrays import FloatArray
from mucal.calibration.covariance import block_units, check_covariance, parameter_names
from mucal.errors import InputError
from mucal.io.file_magic import check_length
from mucal.io.file_magic import identify as identify_file
from mucal.io.root_dates import EPOCH, with_date

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

TEXTS: Final = ("manifest", "covariance_order")

Histogram = tuple[FloatArray, FloatArray, FloatArray]
"""Edges of the first axis, values, and variances of the bins of a curve."""


def file_bytes(objects: Mapping[str, Any], identity: bytes, date: datetime | None) -> bytes:
    """A ROOT file of these objects; its identity, in place of a random number, is its content."""
    buffer = io.BytesIO()
    number = uuid.UUID(bytes=hashlib.sha256(identity).digest()[:16])
    with uproot.recreate(buffer, uuid_function=lambda: number) as file:
        for name, each in objects.items():
            file[name] = each
        content = buffer.getvalue()  # closing the file closes the buffer, too
    return with_date(content, date or EPOCH)


def curve(name: str, edges: FloatArray, values: FloatArray, variance: FloatArray) -> Any:
    """A TH1D: values with variances over eta."""
    title, _, unit = TITLES[name].rpartition(";")
    title, _, eta = title.partition(";")
    axis = identify.to_TAxis("xaxis", eta, values.size, float(edges[0]), float(edges[-1]), fXbins=np.asarray(edges))
    other = identify.to_TAxis("yaxis", unit, 1, 0.0, 1.0)
    padded, squares = np.pad(values, 1), np.pad(variance, 1)
    return identify.to_TH1x(name, title, padded, float(values.size), 0.0, 0.0, 0.0, 0.0, squares, axis, fYaxis=other)


def matrix(name: str, values: FloatArray) -> Any:
    """A TH2D of a matrix: first index along x."""
    rows, columns = values.shape
    if rows == 0:
        return None
    axes = [identify.to_TAxis(f"{x}axis", "", n, 0.0, float(n)) for x, n in (("x", rows), ("y", columns))]
    flat = np.pad(values, 1).T.reshape(-1)
    sums = [0.0] * 7
    return identify.to_TH2x(name, name, flat, float(values.size), *sums, np.zeros(0), *axes)


def eta_major(n_bins: int, n_symbols: int = 3) -> Any:
    """Positions in (A, e, M each over all bins) of the elements of (all bins, each A, e, M)."""
    return np.arange(n_symbols * n_bins).reshape(n_symbols, n_bins).T.reshape(-1)


def read_histograms(path: Path, *, recursive: bool) -> tuple[dict[str, Histogram], dict[str, str]]:
    """The histograms of this layout in a ROOT file, and the texts beside them, by name.

    recursive : also those in folders

    Raises InputError for what is no ROOT file or breaks off, and for numbers that are not finite.
    """
    identify_file(path, "root")
    check_length(path, "root")
    with uproot.open(path) as file:
        keys = {key.partition(";")[0] for key in file.keys(recursive=recursive)}
        found = {name: _read(file, name, path) for name in sorted(keys) if _is_wanted(file, name)}
        texts = {name: str(file[name]) for name in TEXTS if name in keys}
    return found, texts


def _is_wanted(file: Any, name: str) -> bool:
    return name.rpartition("/")[2] in (*TITLES, "covariance_matrix") and file.classname_of(name).startswith("TH")


def _read(file: Any, name: str, path: Path) -> Histogram:
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


def parts_of(
    found: Mapping[str, Histogram], prefix: str, symbols: tuple[str, ...], path: Path
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Eta edges (B+1,), values (K, B) and covariance (K B, K B), each parameter over all bins, of one table.

    prefix  : of the names, as "closure/"
    symbols : names of the K parameters

    Raises InputError if a histogram is missing, the eta axes differ, or the covariance is none of these errors.
    """
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
    cov[np.ix_(eta_major(b, n), eta_major(b, n))] = matrix
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
