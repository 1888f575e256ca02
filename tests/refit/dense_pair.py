"""One pair by dense algebra: numerical derivatives of all rows by the nine unknowns, dense weights; the mass as a row.

The point about which it is linear can be held while global parameters move.
"""

from dataclasses import dataclass, replace

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector import Detector, displaced, predict
from mucal.detector.field import MagneticField, with_modes
from mucal.propagation import Surfaces, free_states, propagate, surfaces_of
from mucal.refit.kernels.mass import pair_mass
from mucal.refit.kernels.mass_row import TIGHT
from mucal.track import Hits

STEPS = np.array([1e-6, 1e-5, 1e-5, 1e-6, 1e-5, 1e-5, 1e-4, 1e-4, 1e-4])
"""1/GeV, rad, cm: of the numerical derivatives by the nine unknowns; the propagation is smooth to 1e-12."""


@dataclass(kw_only=True)
class DensePair:
    """Two tracks of one vertex and their mass.

    surfaces     : of the detector
    hits, routes : of the two tracks, the positive one first
    m_ref, gamma : GeV
    """

    detector: Detector
    surfaces: Surfaces
    magnet: MagneticField
    hits: Hits
    routes: IntArray
    m_ref: float
    gamma: float

    def legs(self, k: int, x: FloatArray, moved: dict[str, FloatArray]):
        """Leg k from the nine unknowns, with the global parameters moved."""
        magnet, route = self.magnet, self.routes[k]
        surfaces = surfaces_of(self.placed(moved)) if "alignment" in moved else self.surfaces
        if "modes" in moved:
            magnet = with_modes(magnet, magnet.modes, moved["modes"])
        more = {}
        if "bfield" in moved:
            more["offsets"] = np.where(route[:, None] >= 0, moved["bfield"][route], 0.0)[None]
        if "eloss" in moved:
            more["ln_loss"] = np.zeros((1, route.size, 2))
            more["ln_loss"][0, 1:, 0] = np.where(route[:-1] >= 0, moved["eloss"][route[:-1]], 0.0)
        state = np.concatenate([x[3 * k : 3 * k + 3], [0.0, 0.0]])[None]
        return propagate(magnet, surfaces, free_states(state, x[6:]), route, **more)

    def placed(self, moved: dict[str, FloatArray]):
        if "alignment" not in moved:
            return self.detector
        return replace(self.detector, modules=displaced(self.detector.modules, moved["alignment"]))

    def measured(self, k: int):
        """Hits of leg k, their places in its route, their modules, and which of u, v were measured."""
        own = slice(self.hits.offsets[k], self.hits.offsets[k + 1])
        place = np.flatnonzero(np.isin(self.routes[k], self.hits.module_id[own]) & (self.routes[k] >= 0))
        m = self.routes[k, place]
        return own, place, m, np.column_stack([np.ones(m.size, bool), self.detector.modules.n_meas[m] == 2]).ravel()

    def residuals(self, x: FloatArray, moved: dict[str, FloatArray]) -> FloatArray:
        parts = []
        modules = self.placed(moved).modules
        for k in range(2):
            own, place, m, use = self.measured(k)
            value, _ = predict(modules, m, *self.legs(k, x, moved).local[0, place, 3:].T)
            parts.append((np.column_stack([self.hits.u[own], self.hits.v[own]]) - value).ravel()[use])
        return np.concatenate(parts)

    def weight(self, x: FloatArray) -> FloatArray:
        blocks = []
        for k in range(2):
            own, place, m, use = self.measured(k)
            legs = self.legs(k, x, {})
            _, slope = predict(self.detector.modules, m, *legs.local[0, place, 3:].T)
            h = np.zeros((2 * m.size, 5))
            h[:, 3:] = slope.reshape(-1, 2)
            sigma = np.column_stack([self.hits.sigma_u[own], self.hits.sigma_v[own]]).ravel()[use]
            blocks.append(np.linalg.inv(noise_of(legs, place, h, use) + np.diag(sigma**2)))
        n = blocks[0].shape[0]
        weight = np.zeros((n + blocks[1].shape[0],) * 2)
        weight[:n, :n], weight[n:, n:] = blocks
        return weight

    def derivatives(self, x: FloatArray) -> FloatArray:
        """(R, 9) of the predictions by the unknowns, numerically."""
        return np.column_stack([
            (self.residuals(x - d * e, {}) - self.residuals(x + d * e, {})) / (2 * d)
            for d, e in zip(STEPS, np.eye(9), strict=True)
        ])  # fmt: skip

    def linearised(self, x: FloatArray):
        """Of the point x: weights, derivatives, covariance without the mass, mass, its slope, b, s and t."""
        weight, a = self.weight(x), self.derivatives(x)
        cov = np.linalg.inv(a.T @ weight @ a)
        slope, curvature, scratch = np.zeros(6), np.zeros((6, 6)), np.empty((2, 24))
        mass = pair_mass(*self.muons(x), slope, curvature, scratch)
        slope, curved = np.append(slope, np.zeros(3)), np.zeros((9, 9))
        curved[:6, :6] = curvature
        gain = cov @ slope
        s, t = (slope @ gain + (width * self.gamma) ** 2 for width in (1.0, TIGHT))
        b = 0.5 * (np.trace(curved @ cov) - s / t**2 * gain @ curved @ gain)
        return weight, a, cov, mass, slope, b, s, t

    @staticmethod
    def muons(x: FloatArray):
        return [free_states(np.concatenate([x[3 * k : 3 * k + 3], [0.0, 0.0]])[None], x[6:])[0] for k in range(2)]

    def walked(self, x: FloatArray, n_steps: int = 8):
        """To the surface of the mass, by Gauss-Newton steps; returns the point and what `linearised` says there."""
        for _ in range(n_steps):
            at = weight, a, cov, mass, slope, b, _, t = self.linearised(x)
            step = cov @ a.T @ weight @ self.residuals(x, {})
            x = x + step + cov @ slope * (self.m_ref + b - mass - slope @ step) / t
        return x, at

    def chi2(self, x: FloatArray, at, moved: dict[str, FloatArray]) -> float:
        """The least that the linear problem about x, with `at` as it is there, has for parameters that are moved."""
        weight, a, cov, mass, slope, b, s, _ = at
        r = self.residuals(x, moved)
        pull = a.T @ weight @ r
        e = self.m_ref + b - mass - slope @ cov @ pull
        return float(r @ weight @ r - pull @ cov @ pull + e * e / s)


def noise_of(legs, place, h, use):
    """Covariance of the measurements of one leg, by brute force over pairs of surfaces."""
    transport, noise = legs.transport[0], legs.noise[0]
    n_legs = int(place.max()) + 1
    total = np.zeros((n_legs, 5, 5))
    for i in range(n_legs):
        total[i] = noise[i] + (transport[i] @ total[i - 1] @ transport[i].T if i else 0.0)
    result = np.zeros((2 * place.size,) * 2)
    for a, i in enumerate(place):
        joint = total[i].copy()
        for b in range(a, place.size):
            block = h[2 * b : 2 * b + 2] @ joint @ h[2 * a : 2 * a + 2].T
            result[2 * b : 2 * b + 2, 2 * a : 2 * a + 2] = block
            result[2 * a : 2 * a + 2, 2 * b : 2 * b + 2] = block.T
            for step in range(place[b] + 1, place[b + 1] + 1 if b + 1 < place.size else 0):
                joint = transport[step] @ joint
    return result[np.ix_(use, use)]
