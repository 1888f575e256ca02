"""Tracks through their routes, leg by leg, and the legs composed."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector.field import MagneticField
from mucal.errors import InputError
from mucal.propagation.kernels import tracks as kernels
from mucal.propagation.status import TrackStatus
from mucal.propagation.surfaces import Surfaces


@dataclass(frozen=True, slots=True, kw_only=True)
class StepConfig:
    """How tracks are stepped.

    longest_step : cm   at most; 10 cm keeps 3 GeV muons within 2e-7 cm over 2 m of a CMS-like field
    most_steps   :      a track that takes more gets status STEP_CAP
    alpha        :      fraction of collisions kept in the mean and variance of the loss in thin layers; 1 keeps all
    backwards    :      against the muon's direction; only without thin material
    n_threads    :      tracks are divided among them; the results do not depend on it
    """

    longest_step: float = 10.0
    most_steps: int = 1000
    alpha: float = 0.999
    backwards: bool = False
    n_threads: int = 1

    def __post_init__(self) -> None:
        if not self.longest_step > 0 or self.most_steps < 1 or self.n_threads < 1:
            raise ValueError(
                f"longest_step = {self.longest_step}, most_steps = {self.most_steps}, n_threads = {self.n_threads}; "
                "all must be positive"
            )
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha = {self.alpha}, expected a fraction of collisions kept, 0 < alpha <= 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Legs:
    """N tracks of L legs.  Leg i leaves surface i-1 through its material and ends on surface i, before its material.

    The first leg starts from the curvilinear start state.  Local coordinates: QOP, U_SLOPE, V_SLOPE, U_LOCAL, V_LOCAL.

    free          : (N, L, 7)        position (cm), direction, q/p on the surface
    local         : (N, L, 5)        the same in the surface's frame; on a cylinder u = R phi, v = z
    transport     : (N, L, 5, 5)     d local_i / d local_{i-1}; for i = 0 by the start state
    by_parameters : (N, L, 5, 5+M)   d local_i / d the leg's parameters: B_x, B_y, B_z offset (1/T), ln of the scale of
                                     the mean loss in the layer left and in the gap, then M field modes (1/T)
    noise         : (N, L, 5, 5)     covariance of local_i from scattering and straggling on the leg
    path          : (N, L) cm        length of the leg
    thickness     : (N,)             radiation lengths crossed before the last surface
    n_reached     : (N,)             surfaces reached; beyond them all is NaN
    status        : (N,)             `TrackStatus`
    """

    free: FloatArray
    local: FloatArray
    transport: FloatArray
    by_parameters: FloatArray
    noise: FloatArray
    path: FloatArray
    thickness: FloatArray
    n_reached: IntArray
    status: IntArray

    def counts(self) -> dict[str, int]:
        """How many tracks ended in each way, for the ledger."""
        return {status.name.lower(): int(np.sum(self.status == status)) for status in TrackStatus}


def propagate(
    magnet: MagneticField,
    surfaces: Surfaces,
    start: FloatArray,
    route: IntArray,
    *,
    offsets: FloatArray | None = None,
    ln_loss: FloatArray | None = None,
    config: StepConfig = StepConfig(),
) -> Legs:
    """Muons through known surfaces, with the derivatives of every leg and its process noise.

        dr/ds = t,   dt/ds = kappa (q/p) t x B(r),   d(q/p)/ds = (q/p) E S e^k / p^2

    magnet   : the field, with its corrections; its modes get one column each
    surfaces : what can be crossed
    start    : (N, 7)     position, direction, q/p; see `free_states`
    route    : (N, L)     rows of `surfaces` in the order of crossing; -1 ends a track; (L,) is the same for all
    offsets  : (N, L, 3) T  added to the field on each leg, (L, 3) the same for all
    ln_loss  : (N, L, 2)    ln of the scale of the mean ionisation loss, in the layer that the leg leaves and in its gap

    Returns the legs; a track that fails has its status and NaN, and stops no other.
    Raises ValueError for arrays that do not fit, InputError for a route that names no surface.
    Source: docs/physics/propagation.md.
    """
    start = np.ascontiguousarray(np.atleast_2d(start), dtype=np.float64)
    n = start.shape[0]
    route = np.asarray(route, dtype=np.int64)
    route = np.ascontiguousarray(np.broadcast_to(route, (n, route.shape[-1])))
    legs = route.shape[1]
    if start.shape[1] != 7:
        raise ValueError(f"start has shape {start.shape}, expected (N, 7)")
    if route.size and not (route.min() >= -1 and route.max() < surfaces.n_surfaces):
        raise InputError(
            f"a route names surface {route.max() if route.max() >= surfaces.n_surfaces else route.min()}, "
            f"there are {surfaces.n_surfaces}",
            kind="input.unknown_surface",
        )
    if config.backwards and np.any(surfaces.xi > 0):
        raise ValueError("backwards propagation undoes no thin material; leave it out or go forwards")
    n_modes = 0 if magnet.modes is None else magnet.modes.index.shape[0]
    result = _empty(n, legs, kernels.MODES + n_modes)
    packed, table = magnet.packed, surfaces.packed
    own = (_per_leg("offsets", offsets, n, legs, 3), _per_leg("ln_loss", ln_loss, n, legs, 2))

    def run(part: slice) -> None:
        """Propagate some tracks into the arrays of all."""
        kernels.propagate_all(
            packed, table, surfaces.media, config.alpha, start[part], route[part], own[0][part], own[1][part],
            config.longest_step, -1.0 if config.backwards else 1.0, config.most_steps, surfaces.has_gaps,
            result.free[part], result.local[part], result.transport[part], result.by_parameters[part],
            result.noise[part], result.path[part], result.thickness[part], result.n_reached[part], result.status[part],
        )  # fmt: skip

    if config.n_threads == 1 or n < config.n_threads:
        run(slice(0, n))
    else:
        edges = np.linspace(0, n, config.n_threads + 1).astype(int)
        with ThreadPoolExecutor(config.n_threads) as pool:
            list(pool.map(run, [slice(a, b) for a, b in pairwise(edges)]))
    return result


def _empty(n: int, legs: int, n_parameters: int) -> Legs:
    """Room for N tracks, in one piece: large pieces get large pages, and small arrays would each wait for theirs."""
    shapes = {
        "free": (n, legs, 7),
        "local": (n, legs, 5),
        "transport": (n, legs, 5, 5),
        "by_parameters": (n, legs, 5, n_parameters),
        "noise": (n, legs, 5, 5),
        "path": (n, legs),
        "thickness": (n,),
    }
    edges = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes.values())])
    room = np.empty(edges[-1])
    arrays = {
        name: room[a:b].reshape(shape) for (name, shape), (a, b) in zip(shapes.items(), pairwise(edges), strict=True)
    }
    return Legs(**arrays, n_reached=np.empty(n, dtype=np.int64), status=np.empty(n, dtype=np.int64))


def _per_leg(name: str, values: FloatArray | None, n: int, legs: int, width: int) -> FloatArray:
    if values is None:
        return np.zeros((0, 0, width))
    values = np.asarray(values, dtype=np.float64)
    if values.shape[-2:] != (legs, width) or values.ndim > 3 or (values.ndim == 3 and values.shape[0] not in (1, n)):
        raise ValueError(f"{name} has shape {values.shape}, expected ({n}, {legs}, {width})")
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} holds numbers that are not finite")
    return np.ascontiguousarray(np.broadcast_to(values, (n, legs, width)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """Derivatives of every surface's local state by the start of the track and by the parameters of each leg.

    by_start      : (N, L, 5, 5)          d local_i / d start
    by_leg        : (N, L, L, 5, 5+M)     [n, i, j]: d local_i / d parameters of leg j; 0 for j > i
    noise         : (N, L, 5, 5)          covariance of local_i from all legs up to i
    """

    by_start: FloatArray
    by_leg: FloatArray = field(repr=False)
    noise: FloatArray


def compose(legs: Legs) -> Composed:
    """Legs put together: F_i ... F_1, and for each leg's parameters F_i ... F_{j+1} times its columns.

    Parameters that act on several legs are the sums of their columns.
    """
    n, n_legs = legs.path.shape
    by_start = np.empty((n, n_legs, 5, 5))
    by_leg = np.zeros((n, n_legs, n_legs, 5, legs.by_parameters.shape[3]))
    noise = np.empty((n, n_legs, 5, 5))
    for i in range(n_legs):
        transport = legs.transport[:, i]
        by_start[:, i] = transport if i == 0 else transport @ by_start[:, i - 1]
        noise[:, i] = legs.noise[:, i]
        if i > 0:
            by_leg[:, i, :i] = transport[:, None] @ by_leg[:, i - 1, :i]
            noise[:, i] += transport @ noise[:, i - 1] @ np.swapaxes(transport, 1, 2)
        by_leg[:, i, i] = legs.by_parameters[:, i]
    return Composed(by_start=by_start, by_leg=by_leg, noise=noise)
