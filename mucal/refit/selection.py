"""Which pairs take part in the constrained fit and in what is summed from it."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.refit.pair_fits import PairPass
from mucal.refit.pair_status import PairStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSelection:
    """Cuts on pairs; the defaults are those of the J/psi sample of the CMS calibration.

    window        : GeV  of the mass of the vertex fit
    chi2_per_ndof :      largest, of both passes
    edm           :      largest, of both passes
    pt_min        : GeV  of both muons where the vertex fit puts them on the surface m = m_ref: there they do not know
                         of the noise of the mass
    eta_max       :      of both muons there
    min_hits      :      of the track with fewer
    min_pixels    :      pixel hits of the track with fewer

    Source: docs/physics/pairs.md.
    """

    window: tuple[float, float] = (2.9, 3.3)
    chi2_per_ndof: float = 3.0
    edm: float = 1e-5
    pt_min: float = 0.0
    eta_max: float = 2.4
    min_hits: int = 6
    min_pixels: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.window[0] < self.window[1]:
            raise ValueError(f"window = {self.window} GeV, expected two rising masses")
        if not (self.chi2_per_ndof > 0 and self.edm > 0 and self.pt_min >= 0 and self.eta_max > 0):
            raise ValueError(
                f"chi2_per_ndof = {self.chi2_per_ndof}, edm = {self.edm}, pt_min = {self.pt_min} GeV, eta_max = "
                f"{self.eta_max}; expected positive numbers"
            )

    def lowest_pt(self, mass: float) -> float:
        """GeV, pT above which all muons of pairs of this mass (GeV) have to be generated, so that none is missed.

        A pair inside the window has (window[0] / mass)^2 left at least of the product of its momenta, and on the
        surface no muon is given back more than that lacks.  Source: docs/physics/pairs.md.
        """
        return self.pt_min * min(1.0, self.window[0] / mass) ** 2

    def by_vertex(self, fits: PairPass, counts: IntArray) -> IntArray:
        """(C,) OK or why a pair does not take part; counts (C, 2) are hits and pixel hits of its weaker track."""
        with np.errstate(invalid="ignore"):
            return np.select(
                [
                    ~fits.ok,
                    (counts[:, 0] < self.min_hits) | (counts[:, 1] < self.min_pixels),
                    ~((fits.mass > self.window[0]) & (fits.mass < self.window[1])),
                    ~(fits.chi2 < self.chi2_per_ndof * np.maximum(fits.ndof, 1)),
                    ~(fits.edm < self.edm),
                ],
                [
                    int(s)
                    for s in (
                        PairStatus.NOT_TRIED,
                        PairStatus.TOO_FEW_HITS,
                        PairStatus.OUTSIDE_WINDOW,
                        PairStatus.LARGE_CHI2,
                        PairStatus.LARGE_EDM,
                    )
                ],
                int(PairStatus.OK),
            )

    def on_surface(self, qop: FloatArray, lam: FloatArray, status: IntArray) -> IntArray:
        """(C,) the status of pairs after the cuts on their momenta on the surface of the mass.

        qop, lam : (C, 2) 1/GeV, rad  of both muons there
        status   : (C,)               of the pairs by the vertex fit
        """
        with np.errstate(invalid="ignore", divide="ignore"):
            soft = (np.cos(lam) / np.abs(qop)).min(axis=1) < self.pt_min
            forward = np.abs(np.tan(lam)).max(axis=1) > np.sinh(self.eta_max)
        cut = np.where(soft, PairStatus.SOFT, np.where(forward, PairStatus.FORWARD, PairStatus.OK))
        return np.where(status == PairStatus.OK, cut, status)

    def by_constrained(self, fits: PairPass) -> IntArray:
        """(C,) the status of the constrained fit after the cuts on it."""
        with np.errstate(invalid="ignore"):
            return np.select(
                [
                    ~fits.ok,
                    ~(fits.chi2 < self.chi2_per_ndof * np.maximum(fits.ndof, 1)),
                    ~(fits.edm < self.edm),
                ],
                [fits.status, int(PairStatus.LARGE_CHI2), int(PairStatus.LARGE_EDM)],
                int(PairStatus.OK),
            )
