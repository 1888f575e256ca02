"""The numbers of a rabbit tensor, dense or sparse, symmetric or not, as effects in blocks."""

from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.errors import InputError
from mucal.io import rabbit_arrays as arrays
from mucal.likelihood.blocks import Effect, effect


def read_tensor(
    file: h5py.File,
    path: Path,
    n_bins: int,
    processes: Sequence[str],
    systs: Sequence[str],
    first: int,
    additive: bool,
) -> tuple[FloatArray, list[Effect], int]:
    """Nominal (B, P) of the bins with data, effects with columns from `first` on, and the number of all bins.

    Raises InputError for arrays whose shapes do not fit to each other.
    """
    n_processes, n_systs = len(processes), len(systs)
    if "hnorm" in file:
        nominal = arrays.floats(file, "hnorm", (None, n_processes), path=path)
        n_full = nominal.shape[0]
        kappa, eta = _dense_effects(file, path, n_full, n_processes, n_systs)
        nominal = np.ascontiguousarray(_with_data(nominal, n_bins, path))
        effects = (
            effect(
                p,
                first + j,
                kappa[:n_bins, p, j],
                None if eta is None else eta[:n_bins, p, j],
                nominal[:, p] > 0,
                additive,
            )
            for p in range(n_processes)
            for j in range(n_systs)
        )
        return nominal, [one for one in effects if one is not None], n_full
    places, values, shape = arrays.sparse(file, "hnorm_sparse", path=path)
    nominal = np.zeros((shape[0], n_processes))
    nominal[places[:, 0], places[:, 1]] = values
    cells, numbers, wide = arrays.sparse(file, "hlogk_sparse", path=path)
    if wide[0] != values.size or wide[1] not in (n_systs, 2 * n_systs):
        raise InputError(
            f"'hlogk_sparse' has shape {wide}, expected {values.size} x {n_systs} or {2 * n_systs}",
            kind="rabbit.shape",
            where={"file": path},
        )
    inside = places[cells[:, 0], 0] < n_bins
    found = _sparse_effects(
        places[cells[inside, 0]], cells[inside, 1], numbers[inside], n_bins, n_systs, first, additive
    )
    return np.ascontiguousarray(_with_data(nominal, n_bins, path)), found, shape[0]


def _with_data(nominal: FloatArray, n_bins: int, path: Path) -> FloatArray:
    if nominal.shape[0] < n_bins:
        raise InputError(
            f"the tensor has {nominal.shape[0]} bins for {n_bins} of data", kind="rabbit.shape", where={"file": path}
        )
    return nominal[:n_bins]


def _dense_effects(
    file: h5py.File, path: Path, n_full: int, n_processes: int, n_systs: int
) -> tuple[FloatArray, FloatArray | None]:
    """kappa and eta (bins, P, S); eta is None in the symmetric layout."""
    shape = arrays.shape(file, "hlogk", path=path)
    if shape == (n_full, n_processes, n_systs):
        return arrays.floats(file, "hlogk", path=path), None
    if shape == (n_full, n_processes, 2, n_systs):
        found = arrays.floats(file, "hlogk", path=path)
        return found[:, :, 0], found[:, :, 1]
    raise InputError(
        f"'hlogk' has shape {shape}, expected {n_full} x {n_processes} x [2 x] {n_systs}",
        kind="rabbit.shape",
        where={"file": path},
    )


def _sparse_effects(
    places: IntArray, columns: IntArray, values: FloatArray, n_bins: int, n_systs: int, first: int, additive: bool
) -> list[Effect]:
    """Effects from places (N, 2: bin, process) and columns (N,), those beyond the parameters being eta."""
    found: list[Effect] = []
    order = np.lexsort((places[:, 0], columns % n_systs, places[:, 1]))
    key = places[order, 1] * n_systs + columns[order] % n_systs
    for part in np.split(order, np.flatnonzero(np.diff(key)) + 1):
        if part.size:
            p, column = int(places[part[0], 1]), int(columns[part[0]] % n_systs)
            kappa, eta = np.zeros(n_bins), np.zeros(n_bins)
            for side, out in ((columns[part] < n_systs, kappa), (columns[part] >= n_systs, eta)):
                np.add.at(out, places[part[side], 0], values[part[side]])
            one = effect(p, first + column, kappa, eta, (kappa != 0) | (eta != 0), additive)
            if one is not None:
                found.append(one)
    return found
