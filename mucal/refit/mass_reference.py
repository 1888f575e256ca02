"""The mass that a constraint assumes: mean and width of what is generated, after radiation and selection.

Pairs are selected by a window on their measured mass, which holds noise: of pairs with a relative error sigma it lets
pass noise of a mean that is not zero, as the masses do not lie in its middle, and another mean of the generated mass
than of pairs without noise.  Both shift the mean; a window on both sides of the peak cuts more noise below it.
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from scipy.special import ndtr

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.store import Result

NODES: Final = 33
"""Errors of a mass at which the shift by the window is tabulated."""

ANY_MASS: Final = (0.0, np.inf)
"""The window that lets everything pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MassReference(Result):
    """Mean and standard deviation of the generated mass after radiation, in bins of the softer muon's pT.

    pt_edges : (B+1,) GeV
    m_ref    : (B,) GeV
    gamma    : (B,) GeV
    n_pairs  : (B,)        behind each; 0 where the numbers were given, not derived
    error    : (B,) GeV    standard error of m_ref, 0 if it is taken for exact
    window   : (2,) GeV    of the measured mass, for which the shift holds
    sigma    : (S,)        relative errors of a measured mass, rising
    shift    : (B, S) GeV  mean of the measured mass in the window at this error, less m_ref

    Source: docs/physics/pairs.md.
    """

    pt_edges: FloatArray
    m_ref: FloatArray
    gamma: FloatArray
    n_pairs: IntArray
    error: FloatArray
    window: FloatArray
    sigma: FloatArray
    shift: FloatArray

    def __post_init__(self) -> None:
        b = self.pt_edges.size - 1
        check_shapes(self, m_ref=(b,), gamma=(b,), n_pairs=(b,), error=(b,), window=(2,), shift=(b, self.sigma.size))
        if b < 1 or np.any(np.diff(self.pt_edges) <= 0):
            raise ValueError(f"MassReference.pt_edges must rise, found {self.pt_edges}")
        if not (np.all(self.m_ref > 0) and np.all(self.gamma > 0)):
            raise ValueError(f"MassReference needs positive masses and widths, found {self.m_ref}, {self.gamma} GeV")
        if not np.all((self.error >= 0) & np.isfinite(self.error)):
            raise ValueError(f"MassReference.error is {self.error} GeV, expected errors of at least 0")

    @classmethod
    def constant(cls, m_ref: float, gamma: float, error: float = 0.0) -> Self:
        """One mean, width and error of the mean for all pairs, whatever their window."""
        return cls.table(np.array([0.0, np.inf]), np.array([m_ref]), np.array([gamma]), np.array([error]))

    @classmethod
    def table(cls, pt_edges: FloatArray, m_ref: FloatArray, gamma: FloatArray, error: FloatArray) -> Self:
        """Means (B,), widths and errors of the means in bins of the softer muon's pT, whatever the window."""
        return cls(
            pt_edges=pt_edges, m_ref=m_ref, gamma=gamma, n_pairs=np.zeros(m_ref.size, dtype=np.int64), error=error,
            window=np.array(ANY_MASS), sigma=np.zeros(1), shift=np.zeros((m_ref.size, 1)),
        )  # fmt: skip

    @property
    def common_error(self) -> float:
        """GeV, of the mean over all bins, weighted with the pairs behind them."""
        weight = np.maximum(self.n_pairs, 1) / np.maximum(self.n_pairs, 1).sum()
        return float(np.sqrt(np.sum((weight * self.error) ** 2)))

    def holds_for(self, window: tuple[float, float]) -> bool:
        """Whether pairs selected by this window have these means."""
        return bool(np.array_equal(self.window, ANY_MASS) or np.array_equal(self.window, window))

    def at(self, softer_pt: FloatArray, sigma: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean of the measured mass and gamma (N,) of pairs; NaN outside the table.

        softer_pt : (N,) GeV  of the softer muon in the fit of the vertex
        sigma     : (N,)      relative error of the mass of that fit; beyond the last of the table the shift stays
        """
        place = np.searchsorted(self.pt_edges, softer_pt, side="right") - 1
        mean, gamma = np.full(place.shape, np.nan), np.full(place.shape, np.nan)
        for i in range(self.m_ref.size):
            here = place == i
            mean[here] = self.m_ref[i] + np.interp(sigma[here], self.sigma, self.shift[i])
            gamma[here] = self.gamma[i]
        return mean, gamma


def derive_mass_reference(
    mass_gen: FloatArray,
    softer_pt: FloatArray,
    sigma: FloatArray,
    selected: BoolArray,
    *,
    window: tuple[float, float],
    pt_edges: FloatArray | None = None,
) -> MassReference:
    """Mean and standard deviation of the generated mass of the simulated pairs that the selection keeps.

    The fit is linear in the mass row, so that the mean is what it needs, not the peak: radiation shifts it by -4.8 MeV
    in a window of 2.9 to 3.3 GeV.

    mass_gen  : (N,) GeV  of the muons after radiation; of all pairs, as those beyond the window show what enters it
    softer_pt : (N,) GeV  of the softer muon in the fit of the vertex, as `MassReference.at` gets it
    sigma     : (N,)      relative error of the mass in that fit; NaN where it failed
    selected  : (N,)      by the very cuts of the data, on fitted quantities
    window    : GeV       of these cuts, on the mass of the vertex fit
    pt_edges  : (B+1,)    None: one bin

    Raises ValueError if a bin holds fewer than two pairs.
    Source: docs/physics/pairs.md.
    """
    edges = np.array([0.0, np.inf]) if pt_edges is None else np.asarray(pt_edges, dtype=np.float64)
    fitted = np.isfinite(mass_gen) & np.isfinite(softer_pt) & np.isfinite(sigma)
    place = np.searchsorted(edges, softer_pt, side="right") - 1
    place = np.where(fitted & (place >= 0) & (place < edges.size - 1), place, -1)
    use = selected & (place >= 0)
    count = np.bincount(place[use], minlength=edges.size - 1)
    if np.any(count < 2):
        i = int(np.argmin(count))
        raise ValueError(
            f"bin {i} of the softer muon's pT ({edges[i]:g} to {edges[i + 1]:g} GeV) holds {count[i]} selected pairs, "
            "expected at least 2; widen the bins or generate more"
        )
    mean = np.bincount(place[use], mass_gen[use], minlength=count.size) / count
    variance = np.bincount(place[use], (mass_gen[use] - mean[place[use]]) ** 2, minlength=count.size) / (count - 1)
    nodes = np.linspace(0.0, sigma[use].max(), NODES)
    shifts = []
    for i in range(count.size):
        entries, at = np.histogram(mass_gen[place == i], 4096)
        shifts.append(window_shift(0.5 * (at[1:] + at[:-1]), entries, window, nodes, sigma[use & (place == i)]))
    return MassReference(
        pt_edges=edges, m_ref=mean, gamma=np.sqrt(variance), n_pairs=count.astype(np.int64),
        error=np.sqrt(variance / count), window=np.array(window), sigma=nodes, shift=np.array(shifts),
    )  # fmt: skip


def window_shift(
    mass: FloatArray, entries: FloatArray, window: tuple[float, float], sigma: FloatArray, of_pairs: FloatArray
) -> FloatArray:
    """(S,) GeV, mean measured mass in the window at an error sigma, less the mean generated mass of given pairs in it.

    mass, entries : (M,)     GeV, histogram of the generated mass before the window
    sigma         : (S,)     relative
    of_pairs      : (N,)     relative errors of the pairs that were selected: they say which generated masses those have

    """
    generated, noise = window_means(mass, entries, window, sigma)
    shift: FloatArray = generated + noise - np.interp(of_pairs, sigma, generated).mean()
    return shift


def window_means(
    mass: FloatArray, entries: FloatArray, window: tuple[float, float], sigma: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(S,) GeV, mean generated mass and mean noise of pairs whose measured mass is in the window; as in `window_shift`.

    With a = (low / m - 1) / sigma and b = (high / m - 1) / sigma the window keeps Phi(b) - Phi(a) of the pairs of mass
    m, whose noise has the mean m sigma (phi(a) - phi(b)) over that.
    """
    width = np.maximum(sigma, 1e-6)[:, None] * mass
    a, b = (window[0] - mass) / width, (window[1] - mass) / width
    passing = entries * (ndtr(b) - ndtr(a))
    noise = width * entries * (np.exp(-0.5 * a**2) - np.exp(-0.5 * b**2)) / np.sqrt(2.0 * np.pi)
    total = passing.sum(axis=1)
    return passing @ mass / total, noise.sum(axis=1) / total
