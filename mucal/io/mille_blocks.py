"""Rows of a fit as Mille records, and Mille records as profiled blocks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, solve_triangular

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.errors import InputError
from mucal.io.mille import MilleRecords
from mucal.refit import ProfiledBlocks


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """n correlated measurements of one candidate: residual = measured - predicted, and how the prediction moves.

    residual    : (n,)
    covariance  : (n, n)
    local_index : (l,)    which of the candidate's own parameters, from 0
    local       : (n, l)
    label       : (k,)    global parameters, from 0
    jacobian    : (n, k)
    """

    residual: FloatArray
    covariance: FloatArray
    local_index: IntArray
    local: FloatArray
    label: IntArray
    jacobian: FloatArray

    def __post_init__(self) -> None:
        n = self.residual.size
        check_shapes(self, covariance=(n, n), local=(n, self.local_index.size), jacobian=(n, self.label.size))


def record_of(groups: Sequence[Rows]) -> MilleRecords:
    """One record from groups of rows, each whitened by its own covariance; labels on disk are from 1.

    The marginal form of a fit is one group of all measurements, with the noise in its covariance and the 5 or 9
    parameters of the start as locals.  Its sparse form is one group a hit, and one a leg for the propagation residual
    with the noise of the leg, with the states on all surfaces as locals.  Both profile to the same blocks.
    """
    value, loc, glo = [], [], []
    for rows in groups:
        lower = np.linalg.cholesky(rows.covariance)
        white = solve_triangular(
            lower, np.column_stack([rows.residual, rows.local, rows.jacobian]), lower=True, check_finite=False
        )
        l = rows.local_index.size
        value.append(white[:, 0])
        loc.append((white[:, 1 : 1 + l], np.broadcast_to(rows.local_index + 1, (white.shape[0], l))))
        glo.append((white[:, 1 + l :], np.broadcast_to(rows.label + 1, (white.shape[0], rows.label.size))))
    n = sum(v.size for v in value)
    return MilleRecords(
        offsets=np.array([0, n], dtype=np.int64), value=np.concatenate(value), sigma=np.ones(n),
        local_offsets=_offsets([d.shape for d, _ in loc]), local=np.concatenate([d.ravel() for d, _ in loc]),
        local_index=np.concatenate([i.ravel() for _, i in loc]).astype(np.int64),
        global_offsets=_offsets([d.shape for d, _ in glo]), derivative=np.concatenate([d.ravel() for d, _ in glo]),
        label=np.concatenate([i.ravel() for _, i in glo]).astype(np.int64), errors=np.zeros(1, dtype=np.int64),
    )  # fmt: skip


def _offsets(shapes: Sequence[tuple[int, ...]]) -> IntArray:
    sizes = np.concatenate([np.full(rows, columns) for rows, columns in shapes])
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def records_of(blocks: ProfiledBlocks) -> MilleRecords:
    """Profiled blocks as records without local parameters: sigma 1, rows B / sqrt(2), values that give the gradient.

    With H = B^T B and g = -sqrt(2) B^T v the values v are the shortest that do; what g has outside the rows of B (none,
    if the blocks come from a fit) is lost.  Weights become part of the rows.
    """
    value, derivative, label, sizes = [], [], [], []
    for i in range(len(blocks)):
        at = slice(blocks.label_offsets[i], blocks.label_offsets[i + 1])
        root = np.sqrt(blocks.weight[i])
        b = root * blocks.dense_factor(i) / np.sqrt(2.0)
        v, *_ = np.linalg.lstsq(b.T, -0.5 * blocks.weight[i] * blocks.gradient[at], rcond=None)
        value.append(v)
        derivative.append(b.ravel())
        label.append(np.tile(blocks.label[at] + 1, v.size))
        sizes.append(np.full(v.size, b.shape[1]))
    n = int(blocks.n_rows.sum())
    return MilleRecords(
        offsets=np.concatenate([[0], np.cumsum(blocks.n_rows)]).astype(np.int64), value=np.concatenate(value),
        sigma=np.ones(n), local_offsets=np.zeros(n + 1, dtype=np.int64), local_index=np.zeros(0, dtype=np.int64),
        local=np.zeros(0), global_offsets=np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64),
        label=np.concatenate(label).astype(np.int64), derivative=np.concatenate(derivative),
        errors=np.zeros(len(blocks), dtype=np.int64),
    )  # fmt: skip


def blocks_of(records: MilleRecords, digest: str, n_parameters: int, *, first: int = 0) -> ProfiledBlocks:
    """Records with their local parameters profiled out, as Millepede does; rows of sigma <= 0 do not count.

    digest       :  of the registry whose label 1 is parameter 0
    n_parameters :  of the registry
    first        :  number of the first record

    Raises InputError for a label beyond the registry; a record with fewer rows than local parameters says nothing.
    """
    if records.label.size and records.label.max() > n_parameters:
        raise InputError(
            f"label {records.label.max()} in the records, the registry has {n_parameters} parameters",
            kind="input.different_maps",
            do="give the registry that the records were written with",
        )
    found = [_profile(records, i) for i in range(len(records))]
    labels, factors = [f[0] for f in found], [f[1] for f in found]
    n_labels, n_rows = np.array([l.size for l in labels]), np.array([b.shape[0] for b in factors])
    nothing, none = np.zeros(0), np.zeros(0, dtype=np.int64)
    return ProfiledBlocks(
        digest=digest, candidate=np.arange(first, first + len(records)), label=np.concatenate([none, *labels]),
        label_offsets=np.concatenate([[0], np.cumsum(n_labels)]).astype(np.int64),
        gradient=np.concatenate([nothing, *(f[2] for f in found)]), n_rows=n_rows.astype(np.int64),
        factor_offsets=np.concatenate([[0], np.cumsum(n_rows * n_labels)]).astype(np.int64),
        factor=np.concatenate([nothing, *(b.ravel() for b in factors)]),
        chi2=np.array([f[3] for f in found]), weight=np.ones(len(records)), ndof=n_rows.astype(np.int64),
    )  # fmt: skip


def _profile(records: MilleRecords, i: int) -> tuple[IntArray, FloatArray, FloatArray, float]:
    """Labels (k,), B (n - l, k), gradient (k,) and chi2 of one record."""
    rows = slice(records.offsets[i], records.offsets[i + 1])
    index, local = _dense(records.local_offsets[rows.start : rows.stop + 1], records.local_index, records.local)
    label, jacobian = _dense(records.global_offsets[rows.start : rows.stop + 1], records.label, records.derivative)
    used = records.sigma[rows] > 0
    sigma = records.sigma[rows][used]
    white = [x[used] / sigma[:, None] for x in (records.value[rows][:, None], local, jacobian)]
    value, a, j = white
    if index.size:
        q, r, _ = qr(a, pivoting=True)  # the whole basis; columns that others span take no row
        diagonal = np.abs(np.diag(r))
        rank = int(np.sum(diagonal > 1e-12 * diagonal.max(initial=0.0)))
        left = q[:, rank:].T
        value, j = left @ value, left @ j
    b = np.sqrt(2.0) * j
    v = value[:, 0]
    return label - 1, b, -np.sqrt(2.0) * (b.T @ v), float(v @ v)


def _dense(offsets: IntArray, index: IntArray, values: FloatArray) -> tuple[IntArray, FloatArray]:
    """The sorted indices of some rows, and the rows as a dense matrix over them."""
    part = slice(offsets[0], offsets[-1])
    names, column = np.unique(index[part], return_inverse=True)
    dense = np.zeros((offsets.size - 1, names.size))
    np.add.at(dense, (np.repeat(np.arange(offsets.size - 1), np.diff(offsets)), column.ravel()), values[part])
    return names.astype(np.int64), dense
