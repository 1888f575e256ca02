"""Routes: the elements of a detector that muons really cross, found by following them through field and material."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector import (
    CYLINDER,
    Detector,
    NavigationIndex,
    NavigationStatus,
    Passive,
    cross,
    navigation_index,
)
from mucal.detector.field import MagneticField, evaluate
from mucal.propagation.kernels import walk as kernels
from mucal.propagation.legs import StepConfig
from mucal.propagation.routes import surfaces_of
from mucal.propagation.status import TrackStatus
from mucal.propagation.surfaces import Surfaces


@dataclass(frozen=True, slots=True, kw_only=True)
class Terrain:
    """What a walk needs of a detector; make it once.

    surfaces : rows 0 .. M-1 the modules, M .. M+P-1 the passive surfaces
    outlines : (S, 4) cm  of a module 1, half_u at both ends, half_v; of a passive surface 0, low, high
    index    : finds the candidates
    envelope : (3,) cm  radius, lowest and highest z of all elements
    """

    surfaces: Surfaces
    outlines: FloatArray
    index: NavigationIndex
    envelope: FloatArray


def terrain(detector: Detector) -> Terrain:
    """The surfaces, outlines and navigation index of a detector."""
    modules, passive = detector.modules, detector.passive
    outlines = np.zeros((detector.n_elements, 4))
    outlines[: modules.n_modules] = np.column_stack([np.ones(modules.n_modules), modules.half_u, modules.half_v])
    outlines[modules.n_modules :, 1:3] = np.column_stack([passive.low, passive.high])
    index = navigation_index(detector)
    return Terrain(
        surfaces=surfaces_of(detector), outlines=outlines, index=index, envelope=_envelope(passive, index.envelope)
    )


def _envelope(passive: Passive, modules: FloatArray) -> FloatArray:
    """That of the modules, widened to hold the passive surfaces too."""
    cylinder = passive.kind == CYLINDER
    radius = np.where(cylinder, passive.position, passive.high).max(initial=modules[0])
    low = np.where(cylinder, passive.low, passive.position).min(initial=modules[1])
    high = np.where(cylinder, passive.high, passive.position).max(initial=modules[2])
    return np.array([radius, low, high])


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """What N muons cross, L elements at most.

    element   : (N, L)     rows of `surfaces_of` in the order of crossing, -1 after a track's last
    u, v      : (N, L) cm  where, on modules; NaN on passive surfaces
    thickness : (N,)       radiation lengths on the way
    status    : (N,)       `TrackStatus`; OK for a muon that left the detector, and what it crossed until then otherwise
    passed    : (N,)       elements that the muon turned out to be behind already, within their outline: they are not in
                           the route.  Two surfaces must meet within 1e-5 cm on its path for that
    """

    element: IntArray
    u: FloatArray
    v: FloatArray
    thickness: FloatArray
    status: IntArray
    passed: IntArray

    def counts(self) -> dict[str, int]:
        """How many tracks ended in each way, for the ledger."""
        return {status.name.lower(): int(np.sum(self.status == status)) for status in TrackStatus}


def find_routes(
    magnet: MagneticField,
    ground: Terrain,
    start: FloatArray,
    *,
    required: IntArray | None = None,
    slack: float = 1.0,
    config: StepConfig | None = None,
) -> Routes:
    """The elements that muons with mean energy loss cross, in true order.

    magnet   : the field
    ground   : `terrain` of the detector
    start    : (N, 7)    position, direction, q/p; see `free_states`
    required : (N, R)    modules that stay in the route where the muon passes beside them, by `slack` at most; -1: none
    slack    : cm        by which modules are widened for the helix that finds the candidates

    Raises ValueError for arrays that do not fit.  A required module further away than `slack` is not in the route.
    """
    config = config or StepConfig()
    start = np.ascontiguousarray(np.atleast_2d(start), dtype=np.float64)
    n = start.shape[0]
    wanted = np.full((n, 0), -1, dtype=np.int64) if required is None else np.asarray(required, dtype=np.int64)
    if start.shape[1] != 7 or wanted.ndim != 2 or wanted.shape[0] != n:
        raise ValueError(f"start has shape {start.shape}, required {wanted.shape}; expected (N, 7) and (N, R)")
    bz = float(evaluate(magnet, np.zeros((1, 3))).bfield[0, 2])
    found = cross(ground.index, start[:, :3], start[:, 3:6], start[:, 6], bz, slack=slack)
    k = found.element.size
    kept, rank = np.zeros(k, dtype=np.bool_), np.zeros(k, dtype=np.int64)
    u, v = np.full(k, np.nan), np.full(k, np.nan)
    length, status, passed = (np.zeros(n, dtype=np.int64) for _ in range(3))
    thickness = np.zeros(n)

    def run(part: slice) -> None:
        """Find the elements of some tracks into the arrays of all."""
        kernels.find_all(
            magnet.packed, ground.surfaces.packed, ground.surfaces.media, ground.outlines, ground.envelope,
            config.alpha, start[part],
            found.offsets[part.start : part.stop + 1], found.element, found.path, np.ascontiguousarray(wanted[part]),
            config.longest_step, config.most_steps, kept, rank, u, v, length[part], thickness[part], status[part],
            passed[part],
        )  # fmt: skip

    edges = np.linspace(0, n, min(config.n_threads, max(n, 1)) + 1).astype(int)
    with ThreadPoolExecutor(config.n_threads) as pool:
        list(pool.map(run, [slice(int(a), int(b)) for a, b in pairwise(edges)]))
    status[(status == TrackStatus.OK) & (found.status == NavigationStatus.LOOPER)] = TrackStatus.LOOPER
    rows = (found.track[kept], rank[kept])
    shape = (n, int(length.max(initial=0)))
    element, at_u, at_v = np.full(shape, -1, dtype=np.int64), np.full(shape, np.nan), np.full(shape, np.nan)
    element[rows], at_u[rows], at_v[rows] = found.element[kept], u[kept], v[kept]
    return Routes(element=element, u=at_u, v=at_v, thickness=thickness, status=status, passed=passed)
