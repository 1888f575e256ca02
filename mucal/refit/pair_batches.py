"""One piece of work of the fit of pairs: arrays in, arrays out."""

from typing import Any

import numpy as np
import numpy.typing as npt

from mucal.arrays import FloatArray, IntArray
from mucal.refit.batches import Batch, Outcome, empty_traces, label_bounds
from mucal.refit.kernels import pair as kernels
from mucal.refit.kernels import tie
from mucal.refit.pair_status import PairStatus


def fit_pair_batch(
    batch: Batch, routes: IntArray, places: IntArray, starts: FloatArray, use_mass: bool, status: IntArray,
    constraints: FloatArray, settings: FloatArray, trace: bool,
) -> Outcome:  # fmt: skip
    """Fits the pairs of one piece, in one pass.

    routes, places : (C, 2, L)  elements of both tracks and the hits on them
    starts         : (C, 2, 7)  both muons at their common start
    use_mass       :            the second pass
    constraints    : (C, `tie.CONSTRAINTS`)

    Returns free (C, 2, 7), cov (C, 9, 9), report (C, `kernels.SUMMARY`), and j_ref (T, 10): nine unknowns and the mass.
    """
    n = status.size
    width = int((routes >= 0).sum(axis=2).max(initial=1))
    routes, places = np.ascontiguousarray(routes[:, :, :width]), np.ascontiguousarray(places[:, :, :width])
    good = status == PairStatus.OK
    two = batch.modules[np.clip(routes, 0, batch.modules.shape[0] - 1), 2] == 2.0
    rows = ((places >= 0) * (1 + two)).sum(axis=2)
    flat = (2 * n, width)
    bound = np.zeros((n, 2), dtype=np.int64)
    if batch.want:
        bound = label_bounds(batch, routes.reshape(flat), places.reshape(flat)).reshape(n, 2) * good[:, None]
    mass_label = batch.mass_label if use_mass else -1
    # legs and tie without the 9 unknowns, at most three rows of a beam line and one of the mass
    most_rows = np.maximum(rows.sum(axis=1) - 9 + 4, 0)
    labels = bound.sum(axis=1) + (good & (mass_label >= 0))
    most_labels = int(labels.sum())
    free, status = starts.copy(), status.copy()
    report = np.zeros((n, kernels.SUMMARY))
    traces = empty_traces(n, settings, trace)
    covs = np.full((n, 9, 9), np.nan)
    n_rows, n_labels = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    label, gradient = np.empty(most_labels, dtype=np.int64), np.empty(most_labels)
    j_ref: npt.NDArray[Any] = np.empty((most_labels, tie.SIZE + 1), dtype=np.float32)
    factor: npt.NDArray[Any] = np.empty(int((labels * most_rows).sum()), dtype=np.float32)
    kernels.fit_pairs(
        batch.field, batch.surfaces, batch.media, batch.modules, batch.offsets, batch.ln_loss, routes, places,
        batch.hits, free, settings, constraints, use_mass, batch.maps, mass_label,
        int(rows.max(initial=5)), int(bound.max(initial=1)), batch.n_modes, status, covs, report, traces,
        batch.want, n_rows, n_labels, label, gradient, j_ref, factor,
    )  # fmt: skip
    filled = int(n_labels.sum())
    return Outcome(
        free=free, cov=covs, report=report, trace=traces, status=status, n_rows=n_rows, n_labels=n_labels,
        label=label[:filled], gradient=gradient[:filled], j_ref=j_ref[:filled],
        factor=factor[: int((n_rows * n_labels).sum())],
    )  # fmt: skip
