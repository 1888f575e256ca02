"""Errors of many fits, smoothed over bins, so that a fit's own fluctuation does not set its weight."""

from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.errors import NotCertified

MAX_STEPS: Final = 500
TOLERANCE: Final = 1e-6
"""Relative step of every r at which the updates end."""
STANDING: Final = 1e-3
"""Relative step of a prediction, a hundredth of what a fitted variance fluctuates by, below which they may end at all:
an r that runs to 0 makes steps for ever, which move no prediction."""


def smooth_variance(variance: FloatArray, n_events: FloatArray, cells: IntArray, n_cells: int) -> FloatArray:
    """Variance of each bin predicted from its cells: V_b = (r_c+ + r_c-) / N_b with one r >= 0 per (eta, pT) cell.

    A fitted error is proportional to the fitted width, which is correlated with the fitted scale: weighting by it
    biases an average by -2 rho sigma_s sigma_lnsigma.  Every cell is shared by many bins, so the prediction is nearly
    free of one bin's fluctuation; that a variance is a sum over two muons is how the pair mass gets its resolution.
    The r maximise the likelihood of the fitted N_b V_b as gamma-distributed with relative variance ~ 1/N_b, by
    multiplicative updates, which keep them positive.

    variance : (B,)    of the fits, positive
    n_events : (B,)    events of the bins, positive
    cells    : (B, 2)  cell of each muon, 0 ... n_cells - 1

    Returns (B,).  Raises NotCertified if the predictions do not come to a stand.
    Source of the update: C. Fevotte and J. Idier, Neural Computation 23 (2011) 2421, eq. 4.
    """
    found = variance * n_events
    r = np.full(n_cells, 0.5 * np.average(found, weights=n_events))
    flat = cells.ravel()
    for _ in range(MAX_STEPS):
        predicted = r[cells].sum(axis=1)
        pull_up = np.bincount(flat, weights=np.repeat(n_events * found / predicted**2, 2), minlength=n_cells)
        pull_down = np.bincount(flat, weights=np.repeat(n_events / predicted, 2), minlength=n_cells)
        step = np.sqrt(np.divide(pull_up, pull_down, out=np.ones(n_cells), where=pull_down > 0))
        r *= step
        if np.max(np.abs(step - 1.0)) < TOLERANCE:
            break
    result: FloatArray = r[cells].sum(axis=1)
    moved = float(np.max(np.abs(result / predicted - 1.0)))
    if not moved < STANDING:
        raise NotCertified(
            f"the smooth variances still move by {moved:.1g} after {MAX_STEPS} steps, allowed {STANDING:g}",
            kind="scale.not_converged",
            do="look at the errors of the mass fits, or set smooth_errors = false",
        )
    return result / n_events
