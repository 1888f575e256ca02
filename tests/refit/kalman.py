"""A Kalman filter and smoother of one track, in information form: forwards, backwards, and both together.

Written with matrices of numpy and nothing of mucal but the propagated legs; starts from no information, not from a
large covariance.
"""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray


@dataclass(frozen=True, kw_only=True)
class Smoothed:
    """Deviations from the reference track.

    start, start_cov : (5,), (5, 5)   at the start
    chi2             :
    local, cov       : (L, 5), (L, 5, 5)  on every surface, from all measurements
    """

    start: FloatArray
    start_cov: FloatArray
    chi2: float
    local: FloatArray
    cov: FloatArray


def through(info: FloatArray, eta: FloatArray, noise: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Information after noise was added to the state, and what it takes from the constant of chi2."""
    gain = np.linalg.inv(np.eye(5) + info @ noise)
    return gain @ info, gain @ eta, float(eta @ noise @ gain @ eta)


def smooth(
    transport: FloatArray, noise: FloatArray, surface_of: FloatArray, rows: FloatArray, residual: FloatArray,
    sigma: FloatArray,
) -> Smoothed:  # fmt: skip
    """Smoothed states of a track with n measurements.

    transport, noise : (L, 5, 5)  of each leg
    surface_of       : (n,)       increasing
    rows             : (n, 5)     d measurement / d local state
    residual, sigma  : (n,)       measured minus predicted of the reference, and its error
    """
    n_legs = transport.shape[0]
    measured = [
        (
            rows[surface_of == leg].T @ np.diag(sigma[surface_of == leg] ** -2.0) @ rows[surface_of == leg],
            rows[surface_of == leg].T @ (residual / sigma**2)[surface_of == leg],
        )
        for leg in range(n_legs)
    ]
    forward, info, eta, taken = [], np.zeros((5, 5)), np.zeros(5), 0.0
    for leg in range(n_legs):
        back = np.linalg.inv(transport[leg])
        info, eta = back.T @ info @ back, back.T @ eta
        info, eta, lost = through(info, eta, noise[leg])
        taken += lost
        info, eta = info + measured[leg][0], eta + measured[leg][1]
        forward.append((info, eta))
    chi2 = float(np.sum((residual / sigma) ** 2) - taken - eta @ np.linalg.solve(info, eta))
    info, eta = np.zeros((5, 5)), np.zeros(5)
    local, cov = np.zeros((n_legs, 5)), np.zeros((n_legs, 5, 5))
    for leg in range(n_legs - 1, -1, -1):
        cov[leg] = np.linalg.inv(forward[leg][0] + info)
        local[leg] = cov[leg] @ (forward[leg][1] + eta)
        info, eta = info + measured[leg][0], eta + measured[leg][1]
        info, eta, _ = through(info, eta, noise[leg])
        info, eta = transport[leg].T @ info @ transport[leg], transport[leg].T @ eta
    start_cov = np.linalg.inv(info)
    return Smoothed(start=start_cov @ eta, start_cov=start_cov, chi2=chi2, local=local, cov=cov)
