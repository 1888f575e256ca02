"""General broken lines of one track: q/p and the offsets on every surface as parameters, kinks as measurements.

What C. Kleinwort (NIM A673 (2012) 107) minimises, for thin scatterers and a q/p that does not change on the way;
written with dense matrices of numpy.
"""

import numpy as np

Q, SLOPES, OFFSETS = slice(0, 1), slice(1, 3), slice(3, 5)


def fit(transport, noise, surface_of, rows, residual, sigma):
    """Step of the start (5,), its covariance (5, 5) and chi2, about the reference.

    transport, noise : (L, 5, 5)  of each leg; noise of thin scatterers only, q/p is carried unchanged
    surface_of, rows, residual, sigma : (n,), (n, 5), (n,), (n,) of the measurements, as in `kalman.smooth`
    """
    n_legs = transport.shape[0]
    size = 1 + 2 * n_legs
    design, target = [], []

    def offset(i):
        part = np.zeros((2, size))
        part[:, 1 + 2 * i : 3 + 2 * i] = np.eye(2)
        return part

    q = np.zeros((1, size))
    q[0, 0] = 1.0
    for k, i in enumerate(surface_of):
        design.append(rows[k, OFFSETS] @ offset(i) / sigma[k])
        target.append(residual[k] / sigma[k])
    leaving = []
    for i in range(1, n_legs):
        f = transport[i]
        rest = offset(i) - f[OFFSETS, OFFSETS] @ offset(i - 1) - f[OFFSETS, Q] @ q
        leaving.append(np.linalg.solve(f[OFFSETS, SLOPES], rest))
    for i in range(1, n_legs - 1):
        f = transport[i]
        arriving = f[SLOPES, OFFSETS] @ offset(i - 1) + f[SLOPES, SLOPES] @ leaving[i - 1] + f[SLOPES, Q] @ q
        lever = np.linalg.inv(transport[i + 1][OFFSETS, SLOPES])
        kinks = lever @ noise[i + 1][OFFSETS, OFFSETS] @ lever.T
        whiten = np.linalg.inv(np.linalg.cholesky(kinks))
        design += list(whiten @ (leaving[i] - arriving))
        target += [0.0, 0.0]
    design, target = np.array(design), np.array(target)
    scale = np.linalg.norm(design, axis=0)
    left, values, right = np.linalg.svd(design / scale, full_matrices=False)
    solution = right.T @ (left.T @ target / values) / scale
    inverse = (right.T / values) / scale[:, None]
    chi2 = float(np.sum((design @ solution - target) ** 2))
    # the start: q/p, slopes and offsets on the first surface, back through the first leg; before the first surface the
    # slopes are known but for the kink on it
    first = np.linalg.inv(transport[0])
    there = np.vstack([q, leaving[0], offset(0)])
    lever = np.linalg.inv(transport[1][OFFSETS, SLOPES])
    kink = np.zeros((5, 5))
    kink[SLOPES, SLOPES] = lever @ noise[1][OFFSETS, OFFSETS] @ lever.T
    cov = first @ (there @ inverse @ (there @ inverse).T + kink) @ first.T
    return first @ there @ solution, cov, chi2
