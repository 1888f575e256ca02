"""Tracks whose hits follow the model of the refit exactly: linear Gaussian noise about the mean trajectory."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector import Detector, cross, navigation_index, predict
from mucal.detector.field import MagneticField
from mucal.propagation import StepConfig, Surfaces, free_states, propagate, routes_of, surfaces_of
from mucal.track import Hits, HitsTruth


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Hits with their truth, and what they were made with."""

    detector: Detector
    magnet: MagneticField
    surfaces: Surfaces
    hits: Hits
    routes: IntArray
    covariance: list[FloatArray]


def gaussian_sample(
    detector: Detector,
    magnet: MagneticField,
    n: int,
    *,
    seed: int = 1,
    pt: tuple[float, float] = (3.0, 60.0),
    eta: float = 0.8,
    noise: bool = True,
    surfaces: Surfaces | None = None,
    smear: float = 1.0,
    alpha: float = 0.999,
    paired: bool = False,
) -> Sample:
    """Up to n tracks from near the origin; those that miss a surface of their route are left out.

    paired : tracks 2i and 2i + 1 have one vertex and opposite charges
    """
    rng = np.random.default_rng(seed)
    p_t = np.exp(rng.uniform(np.log(pt[0]), np.log(pt[1]), n))
    eta_i, phi = rng.uniform(-eta, eta, n), rng.uniform(-np.pi, np.pi, n)
    charge = rng.choice([-1, 1], n)
    state = np.zeros((n, 5))
    state[:, 0], state[:, 1], state[:, 2] = charge / (p_t * np.cosh(eta_i)), np.arctan(np.sinh(eta_i)), phi
    vertex = rng.normal(0.0, [1e-3, 1e-3, 3.0], (n, 3))
    if paired:
        vertex[1::2] = vertex[::2]
        charge[1::2] = -charge[::2]
        state[:, 0] = charge * np.abs(state[:, 0])
    free = free_states(state, vertex)
    index = navigation_index(detector)
    routes = routes_of(cross(index, vertex, free[:, 3:6], state[:, 0], 3.8))
    # the last passive surfaces say nothing of the hits before them
    routes = _until_last_module(routes, detector.n_modules)
    surfaces = surfaces or surfaces_of(detector)
    legs = propagate(magnet, surfaces, free, routes)
    good = (legs.status == 0) & ((routes < detector.n_modules) & (routes >= 0)).sum(axis=1).astype(bool)
    rows = np.flatnonzero(good)
    state, vertex, charge, routes, free = state[rows], vertex[rows], charge[rows], routes[rows], free[rows]
    legs = propagate(magnet, surfaces, free, routes, config=StepConfig(alpha=alpha))
    modules, covariance = detector.modules, []
    columns: list[list[FloatArray]] = [[] for _ in range(5)]
    counts = []
    for i in range(rows.size):
        place = np.flatnonzero((routes[i] >= 0) & (routes[i] < detector.n_modules))
        m = routes[i, place]
        value, slope = predict(modules, m, legs.local[i, place, 3], legs.local[i, place, 4])
        two = modules.n_meas[m] == 2
        h = np.zeros((2 * m.size, 5))
        h[:, 3:] = slope.reshape(-1, 2)
        sigma = np.column_stack([modules.sigma_u[m], np.where(two, modules.sigma_v[m], 1.0)])
        use = np.column_stack([np.ones(m.size, bool), two]).ravel()
        cov = joint_noise(legs.transport[i], legs.noise[i], place, h, use, noise) + np.diag(sigma.ravel()[use] ** 2)
        shift = np.full(2 * m.size, np.nan)
        shift[use] = np.linalg.cholesky(cov) @ rng.normal(size=int(use.sum())) * smear
        covariance.append(cov)
        measured = value + shift.reshape(-1, 2)
        counts.append(m.size)
        for column, part in zip(
            columns, (m, measured[:, 0], np.where(two, measured[:, 1], np.nan), sigma[:, 0],
                      np.where(two, sigma[:, 1], np.nan)), strict=True,
        ):  # fmt: skip
            column.append(part)
    start = state.copy()
    start += rng.normal(size=state.shape) * np.array([0.01, 1e-3, 1e-3, 0.01, 0.01]) * _scale(state)
    module_id, u, v, sigma_u, sigma_v = (np.concatenate(column) for column in columns)
    k = rows.size
    number = np.arange(k)
    hits = Hits(
        run=np.ones(k, dtype=np.int64), lumi=np.ones(k, dtype=np.int64), event=number,
        pair=rows // 2 if paired else np.full(k, -1), charge=charge, seed=start, seed_ref=vertex,
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        module_id=module_id, u=u, v=v, sigma_u=sigma_u, sigma_v=sigma_v,
        truth=HitsTruth(
            state=state, vertex=vertex, parent=np.zeros(k, dtype=np.int64), mass=np.full(k, np.nan),
            hit_u=np.full(u.size, np.nan), hit_v=np.full(u.size, np.nan),
        ),
    )  # fmt: skip
    return Sample(detector=detector, magnet=magnet, surfaces=surfaces, hits=hits, routes=routes, covariance=covariance)


def brute_force(sample: Sample, i: int, start: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Generalised least squares of track i with the weights at `start`: state, covariance, chi2."""
    hits, modules, route = sample.hits, sample.detector.modules, sample.routes[i]
    place = np.flatnonzero((route >= 0) & (route < sample.detector.n_modules))
    m, own = route[place], slice(hits.offsets[i], hits.offsets[i + 1])
    two = modules.n_meas[m] == 2
    use = np.column_stack([np.ones(m.size, bool), two]).ravel()

    def legs_of(state: FloatArray):
        return propagate(sample.magnet, sample.surfaces, free_states(state[None], hits.seed_ref[i]), route)

    def residuals(state: FloatArray) -> FloatArray:
        value, _ = predict(modules, m, *legs_of(state).local[0, place, 3:].T)
        return (np.column_stack([hits.u[own], hits.v[own]]) - value).ravel()[use]

    legs = legs_of(start)
    _, slope = predict(modules, m, *legs.local[0, place, 3:].T)
    h = np.zeros((2 * m.size, 5))
    h[:, 3:] = slope.reshape(-1, 2)
    sigma = np.column_stack([hits.sigma_u[own], hits.sigma_v[own]]).ravel()[use]
    weight = np.linalg.inv(joint_noise(legs.transport[0], legs.noise[0], place, h, use, True) + np.diag(sigma**2))
    steps = np.array([1e-5, 1e-4, 1e-4, 1e-3, 1e-3])
    x = start.copy()
    for _ in range(4):
        a = np.column_stack([
            (residuals(x - d * e) - residuals(x + d * e)) / (2 * d) for d, e in zip(steps, np.eye(5), strict=True)
        ])  # fmt: skip
        cov = np.linalg.inv(a.T @ weight @ a)
        x = x + cov @ a.T @ weight @ residuals(x)
    r = residuals(x)
    return x, cov, float(r @ weight @ r)


def joint_noise(
    transport: FloatArray, noise: FloatArray, place: IntArray, h: FloatArray, use: np.ndarray, wanted: bool
) -> FloatArray:
    """Covariance of all measurements from process noise, by brute force over pairs of surfaces."""
    n_legs = int(place.max()) + 1
    total = np.zeros((n_legs, 5, 5))
    for i in range(n_legs):
        total[i] = noise[i] + (transport[i] @ total[i - 1] @ transport[i].T if i else 0.0)
    size = 2 * place.size
    result = np.zeros((size, size))
    if not wanted:
        return result[np.ix_(use, use)]
    for a, i in enumerate(place):
        joint = total[i].copy()
        for b in range(a, place.size):
            block = h[2 * b : 2 * b + 2] @ joint @ h[2 * a : 2 * a + 2].T
            result[2 * b : 2 * b + 2, 2 * a : 2 * a + 2] = block
            result[2 * a : 2 * a + 2, 2 * b : 2 * b + 2] = block.T
            if b + 1 < place.size:
                for leg in range(place[b] + 1, place[b + 1] + 1):
                    joint = transport[leg] @ joint
    return result[np.ix_(use, use)]


def _scale(state: FloatArray) -> FloatArray:
    scale = np.ones_like(state)
    scale[:, 0] = np.abs(state[:, 0])
    return scale


def _until_last_module(routes: IntArray, n_modules: int) -> IntArray:
    on_module = (routes >= 0) & (routes < n_modules)
    last = routes.shape[1] - 1 - np.argmax(on_module[:, ::-1], axis=1)
    kept = routes.copy()
    kept[np.arange(routes.shape[1]) > last[:, None]] = -1
    return kept
