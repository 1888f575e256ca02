"""Profiled blocks of J/psi pairs in a simple track model: the sparsity and the weak modes of the real ones.

Tracks cross the modules that the navigation finds; to first order a track is moved across its direction by its start
(parabola in the path), by the scattering in each module, by a field offset on the leg before it and by the loss in it.
The two tracks share a vertex, and their mass is known to 20 MeV.
"""

import numpy as np
from numba import njit

from mucal.detector import Detector, cross, local_slopes, navigation_index, to_global
from mucal.detector.kernels import alignment_rows
from mucal.detector.measurement import predict
from mucal.globalcor import Registry
from mucal.numerics.keyed import normal
from mucal.refit import ProfiledBlocks
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.units import CURVATURE, MUON_MASS

BZ = 3.8
MASS_WIDTH = 0.020


class JpsiPairs:
    """Pairs through a detector, and their blocks in chunks; residuals are those of a truth theta, and noise."""

    def __init__(
        self,
        detector: Detector,
        registry: Registry,
        n: int,
        *,
        seed: int = 5,
        truth=None,
        eta_max: float = 2.4,
        tries: int = 8,
    ):
        pairs = generate_dimuons(DimuonSimulation(seed=seed), tries * n + 20_000).dimuons
        inside = np.flatnonzero(np.all(np.abs(pairs.eta) < eta_max, axis=1))[:n]
        pt, eta, phi, charge = (np.asarray(getattr(pairs, name))[inside] for name in ("pt", "eta", "phi", "charge"))
        self.n = pt.shape[0]
        self.registry, self.detector, self.seed = registry, detector, seed
        self.truth = np.zeros(len(registry)) if truth is None else truth
        self.pt, self.eta, self.phi, self.charge = pt, eta, phi, charge
        self.index = navigation_index(detector)

    def __call__(self, chunk) -> ProfiledBlocks:
        return self.blocks(chunk.start, chunk.stop)

    def blocks(self, start: int, stop: int) -> ProfiledBlocks:
        m = self.detector.modules
        rows = slice(start, stop)
        pt, eta, phi, q = (a[rows].ravel() for a in (self.pt, self.eta, self.phi, self.charge))
        direction = np.stack([np.cos(phi), np.sin(phi), np.sinh(eta)], axis=1) / np.cosh(eta)[:, None]
        qop = q / (pt * np.cosh(eta))
        position = np.zeros((pt.size, 3))
        position[:, 2] = np.repeat(3.6 * normal(self.seed, "vertex", np.arange(start, stop)), 2)
        c = cross(self.index, position, direction, qop, BZ)
        on = c.on_module
        module, track, u, v = c.element[on], c.track[on], c.u[on], c.v[on]
        # where the track goes at the crossing: turned by the field
        turn = -CURVATURE * BZ * qop[track] * c.path[on]
        d = direction[track]
        cos, sin = np.cos(turn), np.sin(turn)
        t = np.stack([d[:, 0] * cos - d[:, 1] * sin, d[:, 0] * sin + d[:, 1] * cos, d[:, 2]], axis=1)
        du, dv = local_slopes(m, module, t)
        _, slope = predict(m, module, u, v)
        alignment = alignment_rows(u, v, du, dv, slope)
        offsets = np.searchsorted(track // 2, np.arange(stop - start + 1)).astype(np.int64)
        map_ = self.registry.map
        legs = np.stack([map_.bfield[module, 2], map_.eloss[module]], axis=1)
        label_rows = np.concatenate([map_.alignment[module], legs], axis=1)
        sigma = np.stack([m.sigma_u[module], np.where(m.n_meas[module] == 2, m.sigma_v[module], np.nan)], axis=1)
        place = to_global(m, module, np.stack([u, v, 0.0 * u], axis=1)) - position[track]
        mass = mass_derivatives(*(a[rows] for a in (self.pt, self.eta, self.phi, self.charge)))
        found = pair_blocks(
            offsets,
            track.astype(np.int64),
            c.path[on],
            t,
            place,
            m.rotation[module],
            slope,
            alignment,
            sigma,
            m.x_over_x0[module] / c.cosine[on],
            m.xi_mev[module] / c.cosine[on],
            label_rows.astype(np.int64),
            1.0 / np.abs(qop),
            q.astype(np.float64),
            mass,
            self.truth,
            normal(self.seed, "noise", np.arange(start, stop)[:, None], np.arange(160)[None]),
        )
        n_labels, n_rows, label, gradient, factor, chi2, ndof = found
        return ProfiledBlocks(
            digest=self.registry.digest, candidate=np.arange(start, stop), weight=np.ones(stop - start), label=label,
            label_offsets=np.concatenate([[0], np.cumsum(n_labels)]), gradient=gradient, n_rows=n_rows,
            factor_offsets=np.concatenate([[0], np.cumsum(n_labels * n_rows)]), factor=factor, chi2=chi2, ndof=ndof,
        )  # fmt: skip


def mass_derivatives(pt, eta, phi, charge):
    """dm / d(q/p, lambda, phi) of both muons, over the width of the mass: (N, 6), by differences."""

    def mass(k):
        p = 1.0 / np.abs(k[..., 0])
        e = np.sqrt(p**2 + MUON_MASS**2).sum(axis=1)
        x, y = p * np.cos(k[..., 1]) * np.cos(k[..., 2]), p * np.cos(k[..., 1]) * np.sin(k[..., 2])
        z = p * np.sin(k[..., 1])
        return np.sqrt(e**2 - x.sum(axis=1) ** 2 - y.sum(axis=1) ** 2 - z.sum(axis=1) ** 2)

    k = np.stack([charge / (pt * np.cosh(eta)), np.arctan(np.sinh(eta)), phi], axis=-1)
    rows = np.zeros((pt.shape[0], 6))
    for i in range(6):
        step = np.zeros_like(k)
        step[:, i // 3, i % 3] = 1e-6
        rows[:, i] = (mass(k + step) - mass(k - step)) / 2e-6
    return rows / MASS_WIDTH


@njit(cache=True)
def pair_blocks(
    offsets, track, path, t, place, rotation, slope, alignment, sigma, x_over_x0, xi, labels, momentum, charge,
    mass, truth, noise,
):  # fmt: skip
    n = offsets.size - 1
    n_labels, n_rows, ndof, chi2 = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n)
    label, gradient = np.empty(labels.size, np.int64), np.empty(labels.size)
    factor = np.empty(np.int64(n) * 60 * 320)
    at_label, at_factor = 0, 0
    for c in range(n):
        first, stop = offsets[c], offsets[c + 1]
        mine = np.unique(labels[first:stop].ravel())
        mine = mine[mine >= 0]
        most = 2 * (stop - first) + 1
        a, j, noise_rows = np.zeros((most, 9)), np.zeros((most, mine.size)), np.zeros((most, 2 * (stop - first)))
        s2 = np.ones(most)
        n_meas = 0
        for h in range(first, stop):
            leg = track[h] % 2
            p, q, s = momentum[track[h]], charge[track[h]], path[h]
            d = t[h]
            cos = np.hypot(d[0], d[1])
            big_u = np.array([-d[1] / cos, d[0] / cos, 0.0])
            big_v = np.array([-d[2] * d[0] / cos, -d[2] * d[1] / cos, cos])
            normal_ = rotation[h, 2]
            slant = normal_[0] * d[0] + normal_[1] * d[1] + normal_[2] * d[2]
            for k in range(2):
                if not sigma[h, k] > 0.0:
                    continue
                row = n_meas
                n_meas += 1
                s2[row] = sigma[h, k] ** 2
                # how the measurement moves with a displacement along U and along V
                by = np.zeros(2)
                for side in range(2):
                    move = big_u if side == 0 else big_v
                    along = (normal_[0] * move[0] + normal_[1] * move[1] + normal_[2] * move[2]) / slant
                    for axis in range(2):
                        e = rotation[h, axis]
                        part = 0.0
                        for x in range(3):
                            part += e[x] * (move[x] - d[x] * along)
                        by[side] += slope[h, k, axis] * part
                # the start moves the whole track, and turns it about the beam
                shift = np.zeros(3)
                for x in range(3):
                    for axis in range(2):
                        e = rotation[h, axis]
                        along = (e[0] * d[0] + e[1] * d[1] + e[2] * d[2]) / slant
                        shift[x] += slope[h, k, axis] * (e[x] - along * normal_[x])
                    a[row, 6 + x] = shift[x]
                bend = -0.5 * CURVATURE * BZ * cos * s * s
                a[row, 3 * leg] = by[0] * bend
                a[row, 3 * leg + 1] = by[1] * s
                a[row, 3 * leg + 2] = shift[1] * place[h, 0] - shift[0] * place[h, 1]
                for i in range(6):
                    if labels[h, i] >= 0:
                        j[row, np.searchsorted(mine, labels[h, i])] += alignment[h, k, i]
                before = 0.0
                for o in range(first, h + 1):
                    if track[o] != track[h]:
                        continue
                    if labels[o, 6] >= 0:
                        area = 0.5 * (s - before) ** 2 - 0.5 * (s - path[o]) ** 2
                        j[row, np.searchsorted(mine, labels[o, 6])] -= by[0] * CURVATURE * q / p * cos * area
                    before = path[o]
                    if o < h:
                        lever = s - path[o]
                        if labels[o, 7] >= 0:
                            bent = 0.5 * CURVATURE * BZ * cos * q / p**2 * 0.022 * xi[o] * lever**2
                            j[row, np.searchsorted(mine, labels[o, 7])] -= by[0] * bent
                        angle = 0.0136 / p * np.sqrt(x_over_x0[o])
                        noise_rows[row, 2 * (o - first)] = by[0] * lever * angle
                        noise_rows[row, 2 * (o - first) + 1] = by[1] * lever * angle
        for i in range(6):
            a[n_meas, i] = mass[c, i]
        n_meas += 1
        a, j, noise_rows = a[:n_meas], j[:n_meas], noise_rows[:n_meas]
        cov = noise_rows @ noise_rows.T
        for i in range(n_meas):
            cov[i, i] += s2[i]
        lower = np.linalg.cholesky(cov)
        white = np.linalg.solve(lower, np.concatenate((a, j), axis=1))
        scale = np.sqrt((white[:, :9] ** 2).sum(axis=0))
        q_, _ = np.linalg.qr(white[:, :9] / scale)
        # rows of the complement: the last rows of a full basis, by completing q with unit vectors
        basis, _ = np.linalg.qr(np.concatenate((q_, np.eye(n_meas)[:, : n_meas - 9]), axis=1))
        b = np.sqrt(2.0) * (np.ascontiguousarray(basis[:, 9:].T) @ np.ascontiguousarray(white[:, 9:]))
        r = noise[c, : n_meas - 9] + b @ truth[mine] / np.sqrt(2.0)
        g = -np.sqrt(2.0) * (b.T @ r)
        n_labels[c], n_rows[c], ndof[c], chi2[c] = mine.size, n_meas - 9, n_meas - 9, (r * r).sum()
        label[at_label : at_label + mine.size] = mine
        gradient[at_label : at_label + mine.size] = g
        at_label += mine.size
        for i in range(n_meas - 9):
            factor[at_factor : at_factor + mine.size] = b[i]
            at_factor += mine.size
    return n_labels, n_rows, label[:at_label], gradient[:at_label], factor[:at_factor].copy(), chi2, ndof
