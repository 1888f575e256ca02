"""The fit relinearised about the track with its kinks, surface by surface: a check of the smooth reference.

`fit_tracks` propagates the start only, and kinks are linear about that one smooth track.  Here every surface keeps its
own fitted state x_l and the propagation starts anew from each: with the defects e_l = x_l - F(x_{l-1}) and the noise
w_l ~ N(0, Q_l),

    delta_l = F_l delta_{l-1} - e_l + w_l,   residual = m - h(x_l) - H delta_l,

solved, added to the states, and repeated.  The fixed point minimises the objective with the propagation as it is, not
linear in the kinks.  In numpy, a track at a time: for samples of hundreds, not for production.
"""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.detector import Detector, predict
from mucal.detector.field import MagneticField
from mucal.propagation import Legs, StepConfig, Surfaces, free_states, propagate, surfaces_of
from mucal.refit.placed import hit_places
from mucal.refit.tracks import RefitConfig, TrackFits, perigee_states, routes_of_hits
from mucal.store import Result
from mucal.track import Hits


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalUpdate(Result):
    """N tracks after the last round; NaN for those that were not fitted before or lost a surface on the way.

    state : (N, 5)  about the reference of the fits
    chi2  : (N,)
    step  : (N,)    how far the last round moved the start, in errors of the fit
    """

    state: FloatArray
    chi2: FloatArray
    step: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, state=(self.chi2.size, 5), step=(self.chi2.size,))


def update_locally(
    detector: Detector,
    magnet: MagneticField,
    hits: Hits,
    fits: TrackFits,
    routes: IntArray | None = None,
    config: RefitConfig = RefitConfig(),
    *,
    rounds: int = 4,
    surfaces: Surfaces | None = None,
) -> LocalUpdate:
    """The fits of the tracks that are OK, carried on by `rounds` relinearisations about their own kinks.

    The noise Q of every leg stays that of the smooth track, so that both fits minimise with one set of weights.  Each
    round shortens the step: by a factor of a few for soft tracks at shallow angles, of thousands for stiff ones.
    """
    routes = routes_of_hits(detector, magnet, hits) if routes is None else routes
    surfaces = surfaces or surfaces_of(detector)
    steps = StepConfig(longest_step=config.longest_step, most_steps=config.most_steps, alpha=config.alpha)
    n = len(hits)
    state, chi2, step = np.full((n, 5), np.nan), np.full(n, np.nan), np.full(n, np.nan)
    places = hit_places(routes, hits, np.arange(n))
    for i in np.flatnonzero(fits.ok).tolist():
        route = routes[i][: int(np.flatnonzero(places[i] >= 0)[-1]) + 1]
        track = _Track(detector, magnet, surfaces, hits, steps, route, places[i, : route.size], _start(fits, i))
        for _ in range(rounds):
            if not track.relinearise():
                break
        else:
            state[i] = perigee_states(track.start, fits.reference[[i]], magnet)[0][0]
            chi2[i] = track.chi2
            step[i] = float(np.max(np.abs(track.step) / np.sqrt(np.diag(track.cov))))
    return LocalUpdate(state=state, chi2=chi2, step=step)


def _start(fits: TrackFits, i: int) -> FloatArray:
    return free_states(fits.state[i], fits.reference[i])


class _Track:
    """One track: its start (1, 7) and the states on its surfaces, before their material."""

    def __init__(
        self, detector: Detector, magnet: MagneticField, surfaces: Surfaces, hits: Hits, steps: StepConfig,
        route: IntArray, places: IntArray, start: FloatArray,
    ) -> None:  # fmt: skip
        self.detector, self.magnet, self.surfaces, self.steps = detector, magnet, surfaces, steps
        self.route, self.start = route, start
        self.on = np.flatnonzero(places >= 0)
        numbers = places[self.on]
        self.measured = np.column_stack([hits.u[numbers], hits.v[numbers]])
        self.sigma = np.column_stack([hits.sigma_u[numbers], hits.sigma_v[numbers]])
        smooth = self._legs(start, route)
        self.noise, self.local, self.free = smooth.noise[0], smooth.local[0].copy(), smooth.free[0].copy()
        self.chi2, self.step, self.cov = np.nan, np.full(5, np.nan), np.full((5, 5), np.nan)

    def _legs(self, start: FloatArray, route: IntArray) -> Legs:
        return propagate(self.magnet, self.surfaces, start, route, config=self.steps)

    def relinearise(self) -> bool:
        """One round.  False if a leg does not reach its surface."""
        first = self._legs(self.start, self.route[:1])
        rest = self._legs(self.free[:-1], np.column_stack([self.route[:-1], self.route[1:]]))
        if first.status[0] != 0 or np.any(rest.status != 0):
            return False
        transport = np.concatenate([first.transport[0], rest.transport[:, 1]])
        defect = self._difference(self.local, np.concatenate([first.local[0], rest.local[:, 1]]))
        value, slope = predict(self.detector.modules, self.route[self.on], *self.local[self.on, 3:].T)
        which, part = np.nonzero(np.isfinite(self.measured))
        leg_of, sigma = self.on[which], self.sigma[which, part]
        rows = np.zeros((which.size, 5))
        rows[:, 3:] = slope[which, part]
        deterministic = np.zeros_like(self.local)
        for leg in range(self.route.size):
            before = deterministic[leg - 1] if leg else np.zeros(5)
            deterministic[leg] = transport[leg] @ before - defect[leg]
        residual = (self.measured - value)[which, part] - np.einsum("kj,kj->k", rows, deterministic[leg_of])
        ends = np.zeros((self.route.size, which.size, 5))
        for leg in range(self.route.size - 1, -1, -1):
            ends[leg] = np.where((leg_of == leg)[:, None], rows, 0.0)
            if leg + 1 < self.route.size:
                ends[leg] += ends[leg + 1] @ transport[leg + 1]
        by_start = ends[0] @ transport[0]
        covariance = np.diag(sigma**2) + sum(end @ q @ end.T for end, q in zip(ends, self.noise, strict=True))
        weight = np.linalg.inv(covariance)
        self.cov = np.linalg.inv(by_start.T @ weight @ by_start)
        self.step = self.cov @ by_start.T @ weight @ residual
        left = weight @ (residual - by_start @ self.step)
        self.chi2 = float(residual @ left)
        self._move(transport, defect, np.einsum("lij,lkj,k->li", self.noise, ends, left))
        return True

    def _move(self, transport: FloatArray, defect: FloatArray, noise: FloatArray) -> None:
        """The start and all states moved by the solution."""
        delta = self.step
        for leg in range(self.route.size):
            delta = transport[leg] @ delta - defect[leg] + noise[leg]
            self.local[leg] += delta
        self.start = _moved(self.start, self.step)
        self.free = self._free(self.local)

    def _difference(self, one: FloatArray, other: FloatArray) -> FloatArray:
        """Local states (L, 5) subtracted; R phi of a cylinder within half a turn."""
        shift = one - other
        turn = 2.0 * np.pi * self.surfaces.radius[self.route]
        round_ = self.surfaces.is_cylinder[self.route]
        shift[round_, 3] -= turn[round_] * np.round(shift[round_, 3] / turn[round_])
        return shift

    def _free(self, local: FloatArray) -> FloatArray:
        """Positions, directions and q/p (L, 7) of local states (L, 5), on the side that the track came from."""
        centre, axes = self.surfaces.centre[self.route].copy(), self.surfaces.rotation[self.route].copy()
        round_, radius = self.surfaces.is_cylinder[self.route], self.surfaces.radius[self.route]
        point = centre + local[:, 3:4] * axes[:, 0] + local[:, 4:5] * axes[:, 1]
        phi = local[:, 3] / np.where(round_, radius, 1.0)
        c, s, zero, one = np.cos(phi), np.sin(phi), np.zeros_like(phi), np.ones_like(phi)
        turned = np.stack(
            [np.stack([-s, c, zero], 1), np.stack([zero, zero, one], 1), np.stack([c, s, zero], 1)], axis=1
        )
        axes[round_] = turned[round_]
        point[round_] = np.stack([radius * c, radius * s, local[:, 4]], axis=1)[round_]
        direction = local[:, 1:2] * axes[:, 0] + local[:, 2:3] * axes[:, 1] + axes[:, 2]
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        forward = np.sign(np.einsum("li,li->l", direction, self.free[:, 3:6]))
        moved: FloatArray = np.column_stack([point, direction * forward[:, None], local[:, 0]])
        return moved


def _moved(start: FloatArray, step: FloatArray) -> FloatArray:
    """A start (1, 7) moved by (q/p, lambda, phi, x_perp, y_perp) in its own frame."""
    t = start[0, 3:6]
    across = np.hypot(t[0], t[1])
    u = np.array([-t[1], t[0], 0.0]) / across
    v = np.cross(t, u)
    lam, phi = np.arcsin(t[2]) + step[1], np.arctan2(t[1], t[0]) + step[2]
    direction = [np.cos(lam) * np.cos(phi), np.cos(lam) * np.sin(phi), np.sin(lam)]
    moved: FloatArray = np.concatenate([start[0, :3] + step[3] * u + step[4] * v, direction, [start[0, 6] + step[0]]])
    return moved[None]
