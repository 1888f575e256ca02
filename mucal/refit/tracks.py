"""Hits to track parameters: many tracks at once."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.detector import Detector
from mucal.detector.field import MagneticField, evaluate
from mucal.errors import InputError
from mucal.ledger import Ledger
from mucal.propagation import (
    Surfaces,
    Terrain,
    curvilinear_axes,
    curvilinear_states,
    find_routes,
    free_states,
    surfaces_of,
    terrain,
)  # fmt: skip
from mucal.refit.batches import Batch, Outcome, fit_batch, joined_blocks
from mucal.refit.kernels.fit import LARGEST_TURN
from mucal.refit.parameters import ParameterMap, ProfiledBlocks
from mucal.refit.placed import FEWEST, hit_places, hit_status, placed_status
from mucal.refit.status import FitStatus, ledger_of_tracks
from mucal.store import Result
from mucal.track import DSZ, DXY, LAM, PHI, QOP, Hits
from mucal.units import CURVATURE

PIECE = 1024
"""Tracks of a piece of work; bounds the memory and divides the threads' work, and changes no result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitConfig:
    """How tracks are fitted.

    solver          :          "marginal": kinks and straggling integrated out; "states": block-tridiagonal elimination
    tolerance       :          of the predicted change of chi2, below which a fit has converged
    most_iterations :
    alpha           :          fraction of collisions kept in the mean and variance of the loss, as in `StepConfig`
    longest_step    : cm
    most_steps      :          of the propagation of a track
    n_threads       :          the results do not depend on it
    trace           :          keep chi2, predicted drop and q/p of every iteration
    """

    solver: Literal["marginal", "states"] = "marginal"
    tolerance: float = 1e-5
    most_iterations: int = 10
    alpha: float = 0.999
    longest_step: float = 10.0
    most_steps: int = 1000
    n_threads: int = 1
    trace: bool = False

    def __post_init__(self) -> None:
        if self.solver not in ("marginal", "states"):
            raise ValueError(f"solver = {self.solver!r}, expected 'marginal' or 'states'")
        if not self.tolerance > 0 or not self.longest_step > 0 or not 0 < self.alpha <= 1:
            raise ValueError(
                f"tolerance = {self.tolerance}, longest_step = {self.longest_step} cm, alpha = {self.alpha}; expected "
                "positive numbers, alpha at most 1"
            )
        if min(self.most_iterations, self.most_steps, self.n_threads) < 1:
            raise ValueError(
                f"most_iterations = {self.most_iterations}, most_steps = {self.most_steps}, n_threads = "
                f"{self.n_threads}; expected at least 1"
            )

    @property
    def settings(self) -> FloatArray:
        """What the kernels read."""
        return np.array([
            self.alpha, self.longest_step, self.most_steps, self.most_iterations, self.tolerance,
            self.solver == "states", FEWEST,
        ], dtype=np.float64)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackFits(Result):
    """N fitted tracks; a track whose status is not OK has NaN.

    run, lumi, event, pair : (N,)
    state       : (N, 5)          QOP, LAM, PHI, DXY, DSZ about `reference`, at the track's closest approach to it
    reference   : (N, 3) cm       the seed's
    cov         : (N, 5, 5)
    chi2        : (N,)
    ndof        : (N,)            measurements minus 5
    edm         : (N,)            half the predicted change of chi2 that the last step made
    n_iterations : (N,)
    status      : (N,)            `FitStatus`
    propagation : (N,)            `TrackStatus` of the reference track, where that is why a fit failed
    trace       : (N, T, 3)       chi2, predicted drop and q/p of every iteration; T = 0 unless asked for
    j_offsets   : (N+1,)          rows of `j_ref` of each track; all 0 unless derivatives were asked for
    j_label     : (T,)            global parameters
    j_ref       : (T, 5)          float32, d state / d parameter with the track refitted
    """

    run: IntArray
    lumi: IntArray
    event: IntArray
    pair: IntArray
    state: FloatArray
    reference: FloatArray
    cov: FloatArray
    chi2: FloatArray
    ndof: IntArray
    edm: FloatArray
    n_iterations: IntArray
    status: IntArray
    propagation: IntArray
    trace: FloatArray
    j_offsets: IntArray
    j_label: IntArray
    j_ref: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        n = self.run.size
        check_shapes(self, state=(n, 5), reference=(n, 3), cov=(n, 5, 5), chi2=(n,), ndof=(n,), status=(n,))
        check_shapes(self, j_offsets=(n + 1,), j_ref=(self.j_label.size, 5))

    def __len__(self) -> int:
        return int(self.run.size)

    @property
    def ok(self) -> BoolArray:
        """(N,) whether the fit converged"""
        good: BoolArray = self.status == FitStatus.OK
        return good

    @classmethod
    def concatenate(cls, parts: Sequence["TrackFits"]) -> "TrackFits":
        """The fits of all parts (at least one), in order."""
        starts = np.cumsum([0, *(part.j_label.size for part in parts)])
        offsets = [part.j_offsets[:-1] + start for part, start in zip(parts, starts, strict=False)]
        names = [f.name for f in fields(cls) if f.name not in ("provenance", "j_offsets")]
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**columns, j_offsets=np.concatenate([*offsets, starts[-1:]]).astype(np.int64))

    def ledger(self) -> Ledger:
        """read = used + rejected, by status; the first five of each reason by run:lumi:event."""
        return ledger_of_tracks(self.status, self.run, self.lumi, self.event)

    def require_converged(self) -> None:
        """Raises InputError if any track failed, with the first one's sentence."""
        failed = np.flatnonzero(~self.ok)
        if failed.size:
            i = int(failed[0])
            raise InputError(
                f"{failed.size} of {len(self)} tracks were not fitted, first track {i} "
                f"({self.run[i]}:{self.lumi[i]}:{self.event[i]}): {FitStatus(int(self.status[i])).sentence}",
                kind="refit.failed",
            )


def fit_tracks(
    detector: Detector,
    magnet: MagneticField,
    hits: Hits,
    routes: IntArray | None = None,
    config: RefitConfig = RefitConfig(),
    *,
    parameters: ParameterMap | None = None,
    surfaces: Surfaces | None = None,
    offsets: FloatArray | None = None,
    ln_loss: FloatArray | None = None,
) -> tuple[TrackFits, ProfiledBlocks | None]:
    """Every track fitted on its own, with the continuous-variable-helix model.

    chi2(x) = r^T Sigma^-1 r with r = measured - predicted along the mean trajectory from the start x, and Sigma the
    covariance of hits, scattering and straggling together; minimised by Gauss-Newton steps.

    detector   :          as assumed: its modules, their errors of measurement are those of the hits
    magnet     :          the field, with its corrections
    hits       :
    routes     : (N, L)   the elements that each track crosses, -1 after its last; None walks them: `started`
    config     :
    parameters :          global parameters whose derivatives are wanted
    surfaces   :          those of the detector, if they are at hand
    offsets    : (E, 3) T added to the field on the leg that ends on each element
    ln_loss    : (E,)     ln of the scale of the mean ionisation loss in each element

    Returns the fits and, if `parameters` is given, what the tracks that are OK say of them.
    Raises ValueError for arrays that do not fit, InputError for another detector's parameters.
    Source: docs/physics/refit.md.
    """
    if routes is None:
        hits, routes = started(detector, magnet, hits, n_threads=config.n_threads)
    if routes.ndim != 2 or routes.shape[0] != len(hits):
        raise ValueError(f"routes has shape {routes.shape}, expected ({len(hits)}, L)")
    if parameters is not None:
        check_map(parameters, detector, magnet)
    status, places = placed_status(detector, hits, routes)
    batch = Batch.of(detector, magnet, surfaces or surfaces_of(detector), hits, parameters, offsets, ln_loss)
    starts = np.full((len(hits), 7), np.nan)
    good = status == FitStatus.OK
    starts[good] = free_states(hits.seed[good], hits.seed_ref[good])
    pieces = [slice(a, min(a + PIECE, len(hits))) for a in range(0, len(hits), PIECE)]

    def run(part: slice) -> Outcome:
        return fit_batch(batch, routes[part], places[part], starts[part], status[part], config.settings, config.trace)

    if config.n_threads == 1 or len(pieces) < 2:
        outcomes = [run(part) for part in pieces]
    else:
        with ThreadPoolExecutor(config.n_threads) as pool:
            outcomes = list(pool.map(run, pieces))
    fits = _assemble(hits, magnet, outcomes)
    return fits, None if parameters is None else joined_blocks(outcomes, parameters, fits.chi2, fits.ndof, fits.ok)


def routes_of_hits(
    detector: Detector, magnet: MagneticField, hits: Hits, *, slack: float = 2.0, ground: Terrain | None = None
) -> IntArray:
    """The routes that `started` finds: (N, L), -1 after a track's last."""
    return started(detector, magnet, hits, slack=slack, ground=ground)[1]


def started(
    detector: Detector, magnet: MagneticField, hits: Hits, *, slack: float = 2.0, ground: Terrain | None = None,
    n_threads: int = 1,
) -> tuple[Hits, IntArray]:  # fmt: skip
    """The hits with better seeds, and the elements that the reference tracks from these cross up to their last hit.

    A seed that is off by 1 % and 1 mrad crosses other modules and supports than its muon.  So one step of a fit through
    the modules that were hit, in their order and with nothing between them, comes first; where it fails, or goes
    further than a step of a fit may, the seed stays.

    slack     : cm  how far the true path may be from the helix of the start
    ground    :     `terrain` of the detector, to make it once for many calls
    n_threads :     the results do not depend on it

    Returns routes (N, L), which hold every module that was hit, -1 after a track's last; nothing for a track whose seed
    or hits are bad.
    Source: docs/physics/refit.md.
    """
    good = hit_status(detector, hits) == FitStatus.OK
    chosen, place = hits.select(good), ground or terrain(detector)
    pieces = [chosen.select(slice(a, a + PIECE)) for a in range(0, len(chosen), PIECE)]

    def run(piece: Hits) -> tuple[FloatArray, IntArray]:
        return _start(detector, magnet, piece, slack, place)

    if n_threads == 1 or len(pieces) < 2:
        found = [run(piece) for piece in pieces]
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            found = list(pool.map(run, pieces))
    seed = hits.seed.copy()
    routes = np.full((len(hits), max([1, *(walked.shape[1] for _, walked in found)])), -1, dtype=np.int64)
    rows = np.flatnonzero(good)
    for i, (better, walked) in enumerate(found):
        own = rows[i * PIECE : (i + 1) * PIECE]
        seed[own] = better
        routes[own, : walked.shape[1]] = walked
    return replace(hits, seed=seed), routes


def _start(
    detector: Detector, magnet: MagneticField, hits: Hits, slack: float, ground: Terrain
) -> tuple[FloatArray, IntArray]:
    """Seeds and routes of the tracks of one piece, all of them good."""
    n = len(hits)
    required = np.full((n, int(hits.n_hits.max())), -1, dtype=np.int64)
    required[np.arange(required.shape[1]) < hits.n_hits[:, None]] = hits.module_id
    rough, _ = fit_tracks(
        detector, magnet, hits, required, RefitConfig(tolerance=np.inf), surfaces=ground.surfaces
    )  # fmt: skip
    with np.errstate(invalid="ignore"):
        near = np.abs(rough.state[:, LAM] - hits.seed[:, LAM]) < LARGEST_TURN
        near &= np.abs(rough.state[:, QOP] - hits.seed[:, QOP]) < 0.5 * np.abs(hits.seed[:, QOP])
    seed = np.where(near[:, None], rough.state, hits.seed)
    walked = find_routes(magnet, ground, free_states(seed, hits.seed_ref), required=required, slack=slack).element
    return seed, to_last_hit(walked, hits)


def to_last_hit(routes: IntArray, hits: Hits) -> IntArray:
    """Routes (N, L) that end with the last hit of their track."""
    is_hit = hit_places(routes, hits, np.arange(len(hits))) >= 0
    last = np.where(is_hit.any(axis=1), is_hit.shape[1] - np.argmax(is_hit[:, ::-1], axis=1), 0)
    ended: IntArray = np.where(np.arange(routes.shape[1]) < last[:, None], routes, -1)
    return ended


def check_map(parameters: ParameterMap, detector: Detector, magnet: MagneticField) -> None:
    """Raises InputError if a map is of another detector or field, or floats variances."""
    check_sizes(parameters, detector, magnet)
    if parameters.floats_variances:
        raise InputError(
            "the parameter map floats variances (hit_variance, scattering or straggling), and a fit gives derivatives "
            "of means only; give variances a map of their own, for `variance_blocks`",
            kind="input.variance_parameters",
        )


def check_sizes(parameters: ParameterMap, detector: Detector, magnet: MagneticField) -> None:
    """Raises InputError if a map is of another detector or field."""
    n_modes = 0 if magnet.modes is None else magnet.modes.index.shape[0]
    found = (parameters.alignment.shape[0], parameters.eloss.size, parameters.modes.size)
    expected = (detector.n_modules, detector.n_elements, n_modes)
    if found != expected:
        raise InputError(
            f"the parameter map is of {found[0]} modules, {found[1]} elements and {found[2]} field modes; this "
            f"detector and field have {expected[0]}, {expected[1]} and {expected[2]}",
            kind="input.other_map",
        )


def _assemble(hits: Hits, magnet: MagneticField, outcomes: list[Outcome]) -> TrackFits:
    """Results of all pieces as one table, with NaN where a fit failed."""
    n = len(hits)
    status = np.concatenate([o.status for o in outcomes]) if outcomes else np.zeros(0, dtype=np.int64)
    report = np.concatenate([o.report for o in outcomes]) if outcomes else np.zeros((0, 5))
    ok = status == FitStatus.OK
    state, cov = np.full((n, 5), np.nan), np.full((n, 5, 5), np.nan)
    if np.any(ok):
        free = np.concatenate([o.free for o in outcomes])[ok]
        state[ok], turn = perigee_states(free, hits.seed_ref[ok], magnet)
        cov[ok] = turn @ np.concatenate([o.cov for o in outcomes])[ok] @ np.swapaxes(turn, 1, 2)
    counts = np.concatenate([o.n_labels for o in outcomes]) if outcomes else np.zeros(0, dtype=np.int64)
    j_ref = np.concatenate([o.j_ref for o in outcomes]) if outcomes else np.zeros((0, 5), dtype=np.float32)
    if j_ref.size:
        j_ref = np.einsum("tij,tj->ti", np.repeat(turn, counts[ok], axis=0), j_ref).astype(np.float32)
    return TrackFits(
        run=hits.run, lumi=hits.lumi, event=hits.event, pair=hits.pair, state=state, reference=hits.seed_ref, cov=cov,
        chi2=np.where(ok, report[:, 0], np.nan), ndof=np.where(ok, report[:, 3], 0).astype(np.int64),
        edm=np.where(ok, report[:, 1], np.nan), n_iterations=report[:, 2].astype(np.int64), status=status,
        propagation=report[:, 4].astype(np.int64),
        trace=np.concatenate([o.trace for o in outcomes]) if outcomes else np.zeros((0, 0, 3)),
        j_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        j_label=np.concatenate([o.label for o in outcomes]) if outcomes else np.zeros(0, dtype=np.int64),
        j_ref=j_ref,
    )  # fmt: skip


def perigee_states(free: FloatArray, reference: FloatArray, magnet: MagneticField) -> tuple[FloatArray, FloatArray]:
    """Curvilinear states about given points of muons that pass close to them, at their closest approach.

    free      : (N, 7)     position, direction, q/p
    reference : (N, 3) cm  at most some mm away along the track: a parabola is followed there

    Returns (N, 5), and (N, 5, 5): its derivatives by the curvilinear coordinates in the muon's own frozen frame.  The
    axes of a state about a point turn with the track: dDXY = dx_perp + sin(lambda) DSZ dphi, dDSZ = dy_perp -
    sin(lambda) DXY dphi, and the closest approach moves along the track.
    """
    r, t = free[:, :3].copy(), free[:, 3:6].copy()
    bfield = evaluate(magnet, r).bfield
    for _ in range(3):
        s = np.einsum("ni,ni->n", t, reference - r)[:, None]
        bend = CURVATURE * free[:, 6:] * np.cross(t, bfield)
        r = r + s * t + 0.5 * s**2 * bend
        t = t + s * bend
        t /= np.linalg.norm(t, axis=1, keepdims=True)
    u, v = curvilinear_axes(t)
    state = curvilinear_states(np.column_stack([r, t, free[:, 6]]))
    state[:, DXY] = np.einsum("ni,ni->n", u, r - reference)
    state[:, DSZ] = np.einsum("ni,ni->n", v, r - reference)
    across = np.hypot(t[:, 0], t[:, 1])
    turn = np.tile(np.eye(5), (free.shape[0], 1, 1))
    turn[:, DXY, PHI] = t[:, 2] * state[:, DSZ]
    turn[:, DSZ, PHI] = -t[:, 2] * state[:, DXY]
    # ds = -(d T).(r - reference)
    along = np.zeros((free.shape[0], 5))
    along[:, PHI], along[:, LAM] = -across * state[:, DXY], -state[:, DSZ]
    turn[:, LAM] += np.einsum("ni,ni->n", v, bend)[:, None] * along
    turn[:, PHI] += (np.einsum("ni,ni->n", u, bend) / across)[:, None] * along
    return state, turn
