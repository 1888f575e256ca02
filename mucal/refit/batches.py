"""One piece of work of the refit: arrays in, arrays out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector import Detector
from mucal.detector.field import MagneticField
from mucal.propagation import Surfaces
from mucal.refit.kernels import fit as kernels
from mucal.refit.parameters import ParameterMap, ProfiledBlocks
from mucal.refit.status import FitStatus
from mucal.track import Hits

LONGEST_TRACE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What all pieces share, as the kernels read it.

    field, surfaces, media :         packed
    modules                : (M, 3)  strip angle, focus, measured coordinates
    offsets, ln_loss       :         of the elements, see `fit_tracks`; without rows if there are none
    hits                   : (K, 4)  u, v, sigma_u, sigma_v
    maps                   :         alignment, bfield, eloss, modes of the `ParameterMap`
    mass_label             :         its parameter of the mean mass, -1 for none
    n_modes                :         of the field
    want                   :         whether derivatives are wanted
    """

    field: FloatArray
    surfaces: FloatArray
    media: FloatArray
    modules: FloatArray
    offsets: FloatArray
    ln_loss: FloatArray
    hits: FloatArray
    maps: tuple[IntArray, IntArray, IntArray, IntArray]
    mass_label: int
    n_modes: int
    want: bool

    @classmethod
    def of(
        cls, detector: Detector, magnet: MagneticField, surfaces: Surfaces, hits: Hits,
        parameters: ParameterMap | None, offsets: FloatArray | None, ln_loss: FloatArray | None,
    ) -> Self:  # fmt: skip
        """Packed arrays of a detector, its field and recorded hits."""
        if parameters is None:
            none = np.zeros((0, 6), dtype=np.int64)
            maps = (none, none[:, :3], none[:, 0], none[:, 0])
        else:
            maps = (parameters.alignment, parameters.bfield, parameters.eloss, parameters.modes)
        m = detector.modules
        return cls(
            field=magnet.packed,
            surfaces=surfaces.packed,
            media=surfaces.media,
            modules=np.column_stack([m.strip_angle, m.focus, m.n_meas.astype(np.float64)]),
            offsets=_per_element("offsets", offsets, (detector.n_elements, 3)),
            ln_loss=_per_element("ln_loss", ln_loss, (detector.n_elements,)),
            hits=np.column_stack([hits.u, hits.v, hits.sigma_u, hits.sigma_v]),
            maps=tuple(np.ascontiguousarray(part, dtype=np.int64) for part in maps),  # type: ignore[arg-type]
            mass_label=-1 if parameters is None else int(parameters.mass[0]),
            n_modes=0 if magnet.modes is None else magnet.modes.index.shape[0],
            want=parameters is not None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Results of the N tracks of one piece.

    free, cov, report, trace, status : (N, 7), (N, 5, 5), (N, 5), (N, T, 3), (N,)
    n_rows, n_labels : (N,)    of each B
    label, gradient  : (T,)
    j_ref            : (T, 5)  float32
    factor           : (S,)    float32
    """

    free: FloatArray
    cov: FloatArray
    report: FloatArray
    trace: FloatArray
    status: IntArray
    n_rows: IntArray
    n_labels: IntArray
    label: IntArray
    gradient: FloatArray
    j_ref: npt.NDArray[np.float32]
    factor: npt.NDArray[np.float32]


def fit_batch(
    batch: Batch, routes: IntArray, places: IntArray, starts: FloatArray, status: IntArray, settings: FloatArray,
    trace: bool,
) -> Outcome:  # fmt: skip
    """Fits the tracks of one piece; arguments as in `fit_tracks`, row for row."""
    n = routes.shape[0]
    width = int((routes >= 0).sum(axis=1).max(initial=1))
    routes, places = np.ascontiguousarray(routes[:, :width]), np.ascontiguousarray(places[:, :width])
    two = batch.modules[np.clip(routes, 0, batch.modules.shape[0] - 1), 2] == 2.0
    rows = ((places >= 0) * (1 + two)).sum(axis=1)
    bound = label_bounds(batch, routes, places) if batch.want else np.zeros(n, dtype=np.int64)
    bound = np.where(status == FitStatus.OK, bound, 0)
    most_labels = int(bound.sum())
    free, status = starts.copy(), status.copy()
    report, cov = np.zeros((n, 5)), np.full((n, 5, 5), np.nan)
    traces = empty_traces(n, settings, trace)
    n_rows, n_labels = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    label, gradient = np.empty(most_labels, dtype=np.int64), np.empty(most_labels)
    j_ref: npt.NDArray[Any] = np.empty((most_labels, 5), dtype=np.float32)
    factor: npt.NDArray[Any] = np.empty(int((bound * np.maximum(rows - 5, 0)).sum()), dtype=np.float32)
    kernels.fit_all(
        batch.field, batch.surfaces, batch.media, batch.modules, batch.offsets, batch.ln_loss, routes, places,
        batch.hits, free, settings, batch.maps, int(rows.max(initial=1)), int(bound.max(initial=1)), batch.n_modes,
        status, report, cov, traces, batch.want, n_rows, n_labels, label, gradient, j_ref, factor,
    )  # fmt: skip
    filled = int(n_labels.sum())
    return Outcome(
        free=free, cov=cov, report=report, trace=traces, status=status, n_rows=n_rows, n_labels=n_labels,
        label=label[:filled], gradient=gradient[:filled], j_ref=j_ref[:filled],
        factor=factor[: int((n_rows * n_labels).sum())],
    )  # fmt: skip


def empty_traces(n: int, settings: FloatArray, trace: bool) -> FloatArray:
    """(N, T, 3) room for every iteration of N fits; T = 0 unless a trace is wanted."""
    return np.full((n, min(LONGEST_TRACE, int(settings[3])) if trace else 0, 3), np.nan)


def label_bounds(batch: Batch, routes: IntArray, places: IntArray) -> IntArray:
    """(N,) how many labels a track can have at most, those on its route counted with repetitions."""
    alignment, bfield, eloss, modes = batch.maps
    on = routes >= 0
    element = np.where(on, routes, 0)
    module = np.where(places >= 0, routes, 0)
    own = (alignment >= 0).sum(axis=1)[module] * (places >= 0) + (bfield >= 0).sum(axis=1)[element] * on
    own = own + (eloss >= 0)[element] * on
    total: IntArray = own.sum(axis=1) + int((modes >= 0).sum())
    return total


def joined_blocks(
    outcomes: list[Outcome], parameters: ParameterMap, chi2: FloatArray, ndof: IntArray, ok: BoolArray
) -> ProfiledBlocks:
    """The profiled information of the candidates that are OK (N,), numbered by their rows."""
    parts: dict[str, list[np.ndarray]] = {"label": [], "gradient": [], "factor": []}
    counts, at = [], 0
    for o in outcomes:
        keep = ok[at : at + o.status.size] & (o.status == FitStatus.OK)
        at += o.status.size
        counts.append(np.stack([o.n_labels[keep], o.n_rows[keep]]))
        labels = _ends(o.n_labels)
        cells = _ends(o.n_labels * o.n_rows)
        for start, stop in _runs(keep | (o.n_labels == 0)):
            parts["label"].append(o.label[labels[start] : labels[stop]])
            parts["gradient"].append(o.gradient[labels[start] : labels[stop]])
            parts["factor"].append(o.factor[cells[start] : cells[stop]])
    n_labels, n_rows = np.concatenate([*counts, np.zeros((2, 0), dtype=np.int64)], axis=1)
    rows = np.flatnonzero(ok & np.concatenate([*(o.status == FitStatus.OK for o in outcomes), np.zeros(0, dtype=bool)]))
    return ProfiledBlocks(
        digest=parameters.digest,
        candidate=rows.astype(np.int64),
        label_offsets=_ends(n_labels),
        label=one_array(parts["label"], (0,), np.int64),
        gradient=one_array(parts["gradient"], (0,), np.float64),
        n_rows=n_rows,
        factor_offsets=_ends(n_labels * n_rows),
        factor=one_array(parts["factor"], (0,), np.float32),
        chi2=chi2[rows],
        weight=np.ones(rows.size),
        ndof=ndof[rows],
    )


def one_array(parts: Sequence[Any], empty: tuple[int, ...], kind: type) -> Any:
    """Arrays one after the other; a single one as it is, none as an empty one."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.zeros(empty, dtype=kind)


def _ends(counts: IntArray) -> IntArray:
    """(N+1,) 0, then the sums of the first counts."""
    ends: IntArray = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return ends


def _runs(keep: BoolArray) -> list[tuple[int, int]]:
    """First and one past the last row of each run of rows that are kept."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], keep.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _per_element(name: str, values: FloatArray | None, shape: tuple[int, ...]) -> FloatArray:
    if values is None:
        return np.zeros((0, *shape[1:]))
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.shape != shape or not np.all(np.isfinite(array)):
        raise ValueError(f"{name} has shape {array.shape}, expected {shape} finite numbers, one row an element")
    return array


def leading(starts: IntArray, counts: IntArray) -> IntArray:
    """Places start .. start + count - 1 of every row, one after the other."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if counts.size else 0
    places: IntArray = np.arange(total) + np.repeat(starts - (ends - counts), counts)
    return places
