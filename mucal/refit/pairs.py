"""Hits to muon pairs: two tracks from one vertex, and their mass."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.detector import PIXEL, Detector
from mucal.detector.field import MagneticField, evaluate
from mucal.propagation import Surfaces, free_states, surfaces_of
from mucal.refit.batches import Batch, Outcome, joined_blocks, one_array
from mucal.refit.kernels import pair as kernels
from mucal.refit.kernels import tie
from mucal.refit.kernels.mass_row import on_surface
from mucal.refit.kernels.placing import share_hits
from mucal.refit.mass_reference import MassReference
from mucal.refit.pair_batches import fit_pair_batch
from mucal.refit.pair_fits import PairFits, PairPass
from mucal.refit.pair_status import PairStatus
from mucal.refit.parameters import ParameterMap, ProfiledBlocks
from mucal.refit.placed import placed_status
from mucal.refit.selection import PairSelection
from mucal.refit.status import FitStatus
from mucal.refit.tracks import RefitConfig, check_map, started
from mucal.track import Hits
from mucal.units import CURVATURE

PIECE: Final = 512
"""Pairs of a piece of work for several threads; divides their work, and changes no result."""

ALONE: Final = 4096
"""Pairs of a piece for one thread: what one piece says is not copied together with that of others."""

SMALLEST_OPENING: Final = 1e-3
"""rad, between the tracks of a pair."""

FARTHEST: Final = 3.0
"""cm that a seed may be moved along its track to the common vertex."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamLine:
    """Where collisions are: a Gaussian luminous region, its tilts in the covariance.

    centre : (3,) cm
    cov    : (3, 3) cm2
    """

    centre: FloatArray
    cov: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, centre=(3,), cov=(3, 3))
        if not (np.all(np.isfinite(self.cov)) and np.all(np.linalg.eigvalsh(self.cov) > 0)):
            raise ValueError(f"BeamLine.cov is not positive definite: eigenvalues {np.linalg.eigvalsh(self.cov)} cm2")

    @classmethod
    def of(
        cls, centre: Sequence[float], sigma: Sequence[float], slope: Sequence[float] = (0.0, 0.0)
    ) -> "BeamLine":  # fmt: skip
        """That of a luminous region along a line.

        centre : x, y, z in cm
        sigma  : cm   across the line in x and y, along it in z
        slope  :      dx/dz and dy/dz of the line

        Raises ValueError unless the sigmas are positive.
        """
        if not np.all(np.asarray(sigma) > 0):
            raise ValueError(f"sigma = {list(sigma)} cm, expected three positive numbers")
        along = np.array([[1.0, 0.0, slope[0]], [0.0, 1.0, slope[1]], [0.0, 0.0, 1.0]]) * np.asarray(sigma)
        return cls(centre=np.asarray(centre, dtype=np.float64), cov=along @ along.T)


def fit_pairs(
    detector: Detector,
    magnet: MagneticField,
    hits: Hits,
    routes: IntArray | None = None,
    config: RefitConfig = RefitConfig(),
    *,
    mass: MassReference | None = None,
    selection: PairSelection = PairSelection(),
    beam: BeamLine | None = None,
    parameters: ParameterMap | None = None,
    surfaces: Surfaces | None = None,
    offsets: FloatArray | None = None,
    ln_loss: FloatArray | None = None,
) -> tuple[PairFits, ProfiledBlocks | None]:
    """Every pair of tracks fitted from one vertex; then, with `mass`, once more with its mass as a measurement.

    detector, magnet, hits, routes, config, parameters, surfaces, offsets, ln_loss : as in `fit_tracks`
    mass       : mean and width of the generated mass that the constraint assumes; None: no second pass
    selection  : pairs that take part in the second pass, by the result of the first and by the momenta that it gives
                 on the surface of the mass; and kept by the result of the second
    beam       : the luminous region, a measurement of the vertex; not for muons that may come from displaced decays

    Returns the fits and, if `parameters` is given, what the pairs say of them: those whose last pass is OK.
    Raises as `fit_tracks`.
    Source: docs/physics/pairs.md.
    """
    if routes is None:
        hits, routes = started(detector, magnet, hits, n_threads=config.n_threads)
    if routes.ndim != 2 or routes.shape[0] != len(hits):
        raise ValueError(f"routes has shape {routes.shape}, expected ({len(hits)}, L)")
    if parameters is not None:
        check_map(parameters, detector, magnet)
    if mass is not None and not mass.holds_for(selection.window):
        raise ValueError(
            f"the reference mass was derived for pairs of {mass.window[0]:g} to {mass.window[1]:g} GeV, the selection "
            f"takes {selection.window[0]:g} to {selection.window[1]:g} GeV; derive it with this selection"
        )
    number, tracks, status = pairs_of(hits)
    own, places = placed_status(detector, hits, routes)
    status = _pair_status(hits, own, tracks, status)
    free, status = vertex_seeds(hits, tracks, status, magnet)
    batch = Batch.of(detector, magnet, surfaces or surfaces_of(detector), hits, parameters, offsets, ln_loss)
    legs = np.where(tracks >= 0, tracks, 0)
    joint = routes[legs] if len(hits) else np.full((0, 2, 1), -1)
    places = places[legs] if len(hits) else joint
    constraints = _constraints(number.size, beam)
    outcomes = _run(
        replace(batch, want=batch.want and mass is None), joint, places, free, False, status, constraints, config
    )
    vertex = _pass_of(outcomes)
    m_ref = gamma = np.full(number.size, np.nan)
    constrained = _not_tried(number.size)
    if mass is not None:
        m_ref, gamma = mass.at(vertex.pt.min(axis=1), vertex.sigma_mass / vertex.mass)
        constraints[:, tie.M_REF], constraints[:, tie.GAMMA] = m_ref, gamma
        chosen = selection.by_vertex(vertex, _weaker_counts(detector, hits, legs))
        chosen = np.where(vertex.ok & (chosen == PairStatus.OK) & ~np.isfinite(m_ref), PairStatus.OUTSIDE_TABLE, chosen)
        free = on_surface(_free_of(outcomes), vertex.cov, constraints, chosen == PairStatus.OK)
        chosen = selection.on_surface(*_momenta(free), chosen)
        outcomes = _run(batch, joint, places, free, True, chosen, constraints, config)
        constrained = _pass_of(outcomes)
        constrained = _masked(constrained, selection.by_constrained(constrained))
    last = constrained if mass is not None else vertex
    j_ref = _joined(outcomes, "j_ref", (0, tie.SIZE + 1), np.float32)
    first = legs[:, 0] if len(hits) else np.zeros(0, dtype=np.int64)
    fits = PairFits(
        run=hits.run[first], lumi=hits.lumi[first], event=hits.event[first], pair=number, tracks=tracks,
        charge=np.where(tracks >= 0, hits.charge[legs], 0) if len(hits) else tracks, vertex=vertex,
        constrained=constrained, m_ref=m_ref, gamma=gamma, j_label=_joined(outcomes, "label", (0,), np.int64),
        j_offsets=np.concatenate([[0], np.cumsum(_joined(outcomes, "n_labels", (0,), np.int64))]).astype(np.int64),
        j_ref=j_ref[:, : tie.SIZE], j_mass=j_ref[:, tie.SIZE],
    )  # fmt: skip
    if parameters is None:
        return fits, None
    return fits, joined_blocks(outcomes, parameters, last.chi2, last.ndof, last.ok)


def pairs_of(hits: Hits) -> tuple[IntArray, IntArray, IntArray]:
    """Numbers of the pairs (C,), their two rows (C, 2), the positive muon first, and OK, LONE or CROWDED (C,)."""
    rows = np.flatnonzero(hits.pair >= 0)
    number, group, count = np.unique(hits.pair[rows], return_inverse=True, return_counts=True)
    order = np.lexsort((rows, -hits.charge[rows], group))
    start = np.concatenate([[0], np.cumsum(count)])[:-1].astype(np.int64)
    tracks = np.full((number.size, 2), -1, dtype=np.int64)
    tracks[:, 0] = rows[order][start]
    two = count >= 2
    tracks[two, 1] = rows[order][start[two] + 1]
    status = np.select([count == 1, count > 2], [int(PairStatus.LONE), int(PairStatus.CROWDED)], int(PairStatus.OK))
    return number.astype(np.int64), tracks, status.astype(np.int64)


def vertex_seeds(
    hits: Hits, tracks: IntArray, status: IntArray, magnet: MagneticField
) -> tuple[FloatArray, IntArray]:  # fmt: skip
    """Both muons (C, 2, 7) at the point nearest to both seeds, and the status: PARALLEL where there is none.

    Each seed is followed along a parabola, by FARTHEST at most.
    """
    free = np.full((tracks.shape[0], 2, 7), np.nan)
    status = status.copy()
    rows = np.flatnonzero(status == PairStatus.OK)
    if rows.size == 0:
        return free, status
    seeds = free_states(hits.seed[tracks[rows]].reshape(-1, 5), hits.seed_ref[tracks[rows]].reshape(-1, 3))
    position, direction, qop = seeds[:, :3], seeds[:, 3:6], seeds[:, 6:]
    bend = CURVATURE * qop * np.cross(direction, evaluate(magnet, position).bfield)
    bend = np.where(np.isfinite(bend), bend, 0.0)
    path = np.zeros((rows.size, 2))
    parallel = np.zeros(rows.size, dtype=bool)
    for _ in range(3):
        s = path.reshape(-1, 1)
        r = (position + s * direction + 0.5 * s**2 * bend).reshape(-1, 2, 3)
        t = direction + s * bend
        t = (t / np.linalg.norm(t, axis=1, keepdims=True)).reshape(-1, 2, 3)
        gap, cosine = r[:, 1] - r[:, 0], np.einsum("ni,ni->n", t[:, 0], t[:, 1])
        sine2 = np.maximum(1.0 - cosine**2, 1e-30)
        parallel = (sine2 < SMALLEST_OPENING**2) & (cosine > 0)
        a, b = np.einsum("ni,ni->n", gap, t[:, 0]), np.einsum("ni,ni->n", gap, t[:, 1])
        step = np.column_stack([(a - b * cosine), (a * cosine - b)]) / sine2[:, None]
        path = np.clip(path + step, -FARTHEST, FARTHEST)
    s = path.reshape(-1, 1)
    r = (position + s * direction + 0.5 * s**2 * bend).reshape(-1, 2, 3)
    t = direction + s * bend
    free[rows, :, :3] = r.mean(axis=1, keepdims=True)
    free[rows, :, 3:6] = (t / np.linalg.norm(t, axis=1, keepdims=True)).reshape(-1, 2, 3)
    free[rows, :, 6] = qop.reshape(-1, 2)
    status[rows[parallel]] = PairStatus.PARALLEL
    return free, status


def _pair_status(hits: Hits, own: IntArray, tracks: IntArray, status: IntArray) -> IntArray:
    """Status of the pairs after that of their tracks, `own` (N,); shared hits found."""
    status = status.copy()
    for k in (1, 0):
        leg = np.where(tracks[:, k] >= 0, own[tracks[:, k]] if own.size else 0, FitStatus.OK)
        status = np.where((status == PairStatus.OK) & (leg != FitStatus.OK), leg, status)
    good = np.flatnonzero(status == PairStatus.OK)
    status[good[share_hits(tracks, good, hits.offsets, hits.module_id, hits.u)]] = PairStatus.SHARED_HIT
    return status


def _constraints(n: int, beam: BeamLine | None) -> FloatArray:
    """(C, CONSTRAINTS) what the kernel reads of each pair; no mass yet."""
    values = np.zeros((n, tie.CONSTRAINTS))
    if beam is not None:
        values[:, tie.HAS_BEAM] = 1.0
        values[:, tie.BEAM : tie.WHITEN] = beam.centre
        values[:, tie.WHITEN :] = np.linalg.inv(np.linalg.cholesky(beam.cov)).ravel()
    return values


def _run(
    batch: Batch, routes: IntArray, places: IntArray, free: FloatArray, use_mass: bool, status: IntArray,
    constraints: FloatArray, config: RefitConfig,
) -> list[Outcome]:  # fmt: skip
    """One pass over all pairs, piece by piece."""
    size = ALONE if config.n_threads == 1 else PIECE
    pieces = [slice(a, min(a + size, status.size)) for a in range(0, status.size, size)]

    def run(part: slice) -> Outcome:
        return fit_pair_batch(
            batch, routes[part], places[part], free[part], use_mass, status[part], constraints[part], config.settings,
            config.trace,
        )  # fmt: skip

    return _in_threads(run, pieces, config.n_threads)


def _in_threads(run: Callable[[slice], Outcome], pieces: list[slice], n_threads: int) -> list[Outcome]:
    if n_threads == 1 or len(pieces) < 2:
        return [run(part) for part in pieces]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(run, pieces))


def _free_of(outcomes: list[Outcome]) -> FloatArray:
    free: FloatArray = _joined(outcomes, "free", (0, 2, 7), np.float64)
    return free


def _momenta(free: FloatArray) -> tuple[FloatArray, FloatArray]:
    """q/p and dip angle (C, 2) of both muons (C, 2, 7)."""
    return free[:, :, 6], np.arctan2(free[:, :, 5], np.hypot(free[:, :, 3], free[:, :, 4]))


def _pass_of(outcomes: list[Outcome]) -> PairPass:
    """Results of all pieces as one table, with NaN where a fit failed."""
    if not outcomes:
        return _not_tried(0)
    status = np.concatenate([o.status for o in outcomes])
    report, free = np.concatenate([o.report for o in outcomes]), _free_of(outcomes)
    qop, lam = _momenta(free)
    phi = np.arctan2(free[:, :, 4], free[:, :, 3])
    fits = PairPass(
        state=np.column_stack([np.stack([qop, lam, phi], axis=2).reshape(-1, 6), free[:, 0, :3]]),
        cov=np.concatenate([o.cov for o in outcomes]), mass=report[:, kernels.MASS],
        sigma_mass=report[:, kernels.SIGMA_MASS], chi2=report[:, kernels.CHI2],
        ndof=report[:, kernels.NDOF].astype(np.int64), edm=report[:, kernels.EDM],
        n_iterations=report[:, kernels.ITERATIONS].astype(np.int64), status=status,
        trace=np.concatenate([o.trace for o in outcomes]),
    )  # fmt: skip
    return _masked(fits, status)


def _masked(fits: PairPass, status: IntArray) -> PairPass:
    """The same fits with this status, and NaN where it is not OK."""
    wrong = status != PairStatus.OK
    names = ("state", "cov", "mass", "sigma_mass", "chi2", "edm")
    values = {name: getattr(fits, name).copy() for name in names}
    for array in values.values():
        array[wrong] = np.nan
    return replace(fits, **values, ndof=np.where(wrong, 0, fits.ndof), status=status)


def _not_tried(n: int) -> PairPass:
    nan, none = np.full(n, np.nan), np.zeros(n, dtype=np.int64)
    return PairPass(
        state=np.full((n, 9), np.nan), cov=np.full((n, 9, 9), np.nan), mass=nan, sigma_mass=nan, chi2=nan, ndof=none,
        edm=nan, n_iterations=none, status=np.full(n, int(PairStatus.NOT_TRIED)), trace=np.zeros((n, 0, 3)),
    )  # fmt: skip


def _weaker_counts(detector: Detector, hits: Hits, legs: IntArray) -> IntArray:
    """(C, 2) hits and pixel hits of the track of each pair that has fewer."""
    known = (hits.module_id >= 0) & (hits.module_id < detector.n_modules)
    pixel = known & (detector.modules.n_meas[np.where(known, hits.module_id, 0)] == PIXEL)
    pixels = np.bincount(hits.track[pixel], minlength=len(hits))
    if len(hits) == 0:
        return np.zeros((0, 2), dtype=np.int64)
    return np.column_stack([hits.n_hits[legs].min(axis=1), pixels[legs].min(axis=1)])


def _joined(outcomes: list[Outcome], name: str, empty: tuple[int, ...], kind: type) -> Any:
    """One array of all pieces, one after the other."""
    return one_array([getattr(o, name) for o in outcomes], empty, kind)
