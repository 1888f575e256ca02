"""Muon pairs and their kinematics."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Final, Self

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.units import MUON_MASS

PLUS: Final = 0
MINUS: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimuons:
    """N muon pairs; the muons stand in the order PLUS, MINUS (like-sign pairs: leading, trailing).

    run, lumi, event : (N,)       0 where the input has none; event numbers then count entries
    pt               : (N, 2) GeV
    eta              : (N, 2)
    phi              : (N, 2) rad
    charge           : (N, 2)     +1 or -1
    """

    run: IntArray
    lumi: IntArray
    event: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    charge: IntArray

    def __post_init__(self) -> None:
        n = self.run.shape[0]
        check_shapes(self, run=(n,), lumi=(n,), event=(n,), pt=(n, 2), eta=(n, 2), phi=(n, 2), charge=(n, 2))

    def __len__(self) -> int:
        return int(self.run.shape[0])

    @property
    def mass(self) -> FloatArray:
        """(N,) GeV"""
        return invariant_mass(self.pt, self.eta, self.phi)

    def select(self, keep: BoolArray | IntArray | slice) -> Self:
        """The pairs chosen by a mask, indices or a slice."""
        return replace(self, **{f.name: getattr(self, f.name)[keep] for f in fields(self)})

    def with_pt(self, pt: FloatArray) -> Self:
        """The same pairs with other transverse momenta, (N, 2) GeV."""
        return replace(self, pt=pt)

    @classmethod
    def concatenate(cls, parts: Sequence["Dimuons"]) -> "Dimuons":
        """All pairs of `parts`, in order; an empty sequence gives no pairs."""
        if not parts:
            none, no_pairs = np.zeros(0, dtype=np.int64), np.zeros((0, 2))
            return cls(
                run=none,
                lumi=none,
                event=none,
                pt=no_pairs,
                eta=no_pairs,
                phi=no_pairs,
                charge=no_pairs.astype(np.int64),
            )
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


def invariant_mass(pt: FloatArray, eta: FloatArray, phi: FloatArray) -> FloatArray:
    """Invariant mass of muon pairs, m^2 = 2 m_mu^2 + 2 (E1 E2 - p1.p2).

    pt  : (N, 2) GeV
    eta : (N, 2)
    phi : (N, 2) rad

    Returns (N,) GeV.
    """
    energy, pz = _energy_pz(pt, eta)
    dot = pt[:, 0] * pt[:, 1] * np.cos(phi[:, 0] - phi[:, 1]) + pz[:, 0] * pz[:, 1]
    result: FloatArray = np.sqrt(2.0 * MUON_MASS**2 + 2.0 * (energy[:, 0] * energy[:, 1] - dot))
    return result


def curvature_weights(pt: FloatArray, eta: FloatArray, phi: FloatArray) -> FloatArray:
    """Response of the pair mass to each muon's curvature: d ln m / d ln k_i = -w_i at fixed directions.

    w_1 = 1/2 [1 - 2 (m_mu^2/m^2) (1 + E2/E1)], exactly; 1/2 for massless muons.  Derived in docs/physics/scale.md.

    pt  : (N, 2) GeV
    eta : (N, 2)
    phi : (N, 2) rad

    Returns (N, 2), the weights w (positive).
    """
    energy, _ = _energy_pz(pt, eta)
    mass_squared = invariant_mass(pt, eta, phi)[:, None] ** 2
    result: FloatArray = 0.5 - (MUON_MASS**2 / mass_squared) * (1.0 + energy[:, ::-1] / energy)
    return result


def angular_response(pt: FloatArray, eta: FloatArray, phi: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Response of the pair mass to each muon's direction: d ln m / d lambda_i at fixed pT and phi, d ln m / d phi_i.

    With t = pT cosh^2 eta: (p_z1 E2/E1 - p_z2) t_1 / m^2 and pT1 pT2 sin(phi1 - phi2) / m^2, exactly; the muons'
    responses to phi are opposite.  Derived in docs/physics/scale.md.

    pt  : (N, 2) GeV
    eta : (N, 2)
    phi : (N, 2) rad

    Returns (N, 2) and (N, 2), 1/rad.
    """
    energy, pz = _energy_pz(pt, eta)
    mass_squared = invariant_mass(pt, eta, phi)[:, None] ** 2
    by_lambda = (pz * energy[:, ::-1] / energy - pz[:, ::-1]) * pt * np.cosh(eta) ** 2 / mass_squared
    by_phi = (pt * pt[:, ::-1]) * np.sin(phi - phi[:, ::-1]) / mass_squared
    return by_lambda, by_phi


def pair_kinematics(pt: FloatArray, eta: FloatArray, phi: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Transverse momentum (GeV), rapidity and azimuth (rad) of muon pairs, each (N,)."""
    energy, pz = _energy_pz(pt, eta)
    px, py = (pt * np.cos(phi)).sum(axis=1), (pt * np.sin(phi)).sum(axis=1)
    rapidity = np.arctanh(pz.sum(axis=1) / energy.sum(axis=1))
    return np.hypot(px, py), rapidity, np.arctan2(py, px)


def _energy_pz(pt: FloatArray, eta: FloatArray) -> tuple[FloatArray, FloatArray]:
    pz = pt * np.sinh(eta)
    return np.sqrt(pt**2 + pz**2 + MUON_MASS**2), pz
