"""The mass that a constraint assumes: mean and width of what is generated, after radiation and selection."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class MassReference(Result):
    """Mean and standard deviation of the generated mass after radiation, in bins of the softer muon's pT.

    pt_edges : (B+1,) GeV
    m_ref    : (B,) GeV
    gamma    : (B,) GeV
    n_pairs  : (B,)        behind each; 0 where the numbers were given, not derived
    error    : (B,) GeV    standard error of m_ref, 0 if it is taken for exact
    """

    pt_edges: FloatArray
    m_ref: FloatArray
    gamma: FloatArray
    n_pairs: IntArray
    error: FloatArray

    def __post_init__(self) -> None:
        b = self.pt_edges.size - 1
        check_shapes(self, m_ref=(b,), gamma=(b,), n_pairs=(b,), error=(b,))
        if b < 1 or np.any(np.diff(self.pt_edges) <= 0):
            raise ValueError(f"MassReference.pt_edges must rise, found {self.pt_edges}")
        if not (np.all(self.m_ref > 0) and np.all(self.gamma > 0)):
            raise ValueError(f"MassReference needs positive masses and widths, found {self.m_ref}, {self.gamma} GeV")
        if not np.all((self.error >= 0) & np.isfinite(self.error)):
            raise ValueError(f"MassReference.error is {self.error} GeV, expected errors of at least 0")

    @classmethod
    def constant(cls, m_ref: float, gamma: float, error: float = 0.0) -> Self:
        """One mean, width and error of the mean for all pairs."""
        return cls(
            pt_edges=np.array([0.0, np.inf]), m_ref=np.array([m_ref]), gamma=np.array([gamma]),
            n_pairs=np.zeros(1, dtype=np.int64), error=np.array([error]),
        )  # fmt: skip

    @property
    def common_error(self) -> float:
        """GeV, of the mean over all bins, weighted with the pairs behind them."""
        weight = np.maximum(self.n_pairs, 1) / np.maximum(self.n_pairs, 1).sum()
        return float(np.sqrt(np.sum((weight * self.error) ** 2)))

    def at(self, softer_pt: FloatArray) -> tuple[FloatArray, FloatArray]:
        """m_ref and gamma (N,) for pairs whose softer muon has pT (N,) GeV; NaN outside the table."""
        place = np.searchsorted(self.pt_edges, softer_pt, side="right") - 1
        inside = (place >= 0) & (place < self.m_ref.size)
        place = np.where(inside, place, 0)
        return np.where(inside, self.m_ref[place], np.nan), np.where(inside, self.gamma[place], np.nan)


def derive_mass_reference(
    mass_gen: FloatArray, softer_pt: FloatArray, selected: BoolArray, pt_edges: FloatArray | None = None
) -> MassReference:
    """Mean and standard deviation of the generated mass of the simulated pairs that the selection keeps.

    The fit is linear in the mass row, so that the mean is what it needs, not the peak: radiation shifts it by -4.8 MeV
    in a window of 2.9 to 3.3 GeV.

    mass_gen  : (N,) GeV  of the muons after radiation
    softer_pt : (N,) GeV  of the softer muon in the fit of the vertex, as `MassReference.at` gets it
    selected  : (N,)      by the very cuts of the data, on fitted quantities
    pt_edges  : (B+1,)    None: one bin

    Raises ValueError if a bin holds fewer than two pairs.
    Source: docs/physics/pairs.md.
    """
    edges = np.array([0.0, np.inf]) if pt_edges is None else np.asarray(pt_edges, dtype=np.float64)
    use = selected & np.isfinite(mass_gen) & np.isfinite(softer_pt)
    place = np.searchsorted(edges, softer_pt[use], side="right") - 1
    inside = (place >= 0) & (place < edges.size - 1)
    place, mass = place[inside], mass_gen[use][inside]
    count = np.bincount(place, minlength=edges.size - 1)
    if np.any(count < 2):
        i = int(np.argmin(count))
        raise ValueError(
            f"bin {i} of the softer muon's pT ({edges[i]:g} to {edges[i + 1]:g} GeV) holds {count[i]} selected pairs, "
            "expected at least 2; widen the bins or generate more"
        )
    mean = np.bincount(place, mass, minlength=count.size) / count
    variance = np.bincount(place, (mass - mean[place]) ** 2, minlength=count.size) / (count - 1)
    return MassReference(
        pt_edges=edges, m_ref=mean, gamma=np.sqrt(variance), n_pairs=count.astype(np.int64),
        error=np.sqrt(variance / count),
    )  # fmt: skip
