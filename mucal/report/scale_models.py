"""Errors of the scale, and of the masses that follow from it, as several models of its uncertainty have them."""

from dataclasses import dataclass
from typing import Final

from mucal.arrays import FloatArray, IntArray, check_edges, check_shapes
from mucal.store import Result

DETECTOR: Final = "detector"
MASSES: Final = ("m_W", "m_W⁺", "m_W⁻", "m_W⁺ − m_W⁻", "m_Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleModels(Result):
    """The uncertainty of a scale in B bins of eta as K models have it.

    models    : K          group of nuisances, with its factor if that is not 1: "jpsi_stat", "detector"
    released  :            the one of the release
    counts    : (K,)       nuisances
    eta_edges : (B+1,)
    momenta   : (P,) GeV
    even, odd : (K, P, B)  errors of delta k/k: of A - e/pT, the same for both charges, and of M pT
    masses    : (K, 5) MeV errors of `MASSES`, before any profiling; NaN where no W or Z were simulated
    """

    models: tuple[str, ...]
    released: str
    counts: IntArray
    eta_edges: FloatArray
    momenta: FloatArray
    even: FloatArray
    odd: FloatArray
    masses: FloatArray

    def __post_init__(self) -> None:
        check_edges("ScaleModels.eta_edges", self.eta_edges)
        k, shape = len(self.models), (len(self.models), self.momenta.size, self.eta_edges.size - 1)
        check_shapes(self, counts=(k,), even=shape, odd=shape, masses=(k, len(MASSES)))

    def mass(self, model: str, name: str) -> float:
        """MeV, one of `MASSES` in one model."""
        return float(self.masses[self.models.index(model), MASSES.index(name)])
