"""The same correction in the letters of other experiments.

Ours: k' = k (1 + A - e k) + q M with k = 1/pT, applied to data.  Two traps: RoccoR swaps the letters A and M; ATLAS
quotes parameters that are applied to *simulation*, which have the opposite sign.  Sources: A. Bodek et al.,
arXiv:1208.3710 (RoccoR); CMS muon group (MuonScaRe, Run 3); ATLAS, arXiv:2212.07338; LHCb, arXiv:2312.01772 and
arXiv:2311.04670.  Formulas derived in docs/physics/scale.md.
"""

from typing import NamedTuple

import numpy as np

from mucal.arrays import FloatArray
from mucal.units import TeV


class Ours(NamedTuple):
    """A (relative), e (GeV) and M (1/GeV), arrays of one shape."""

    A: FloatArray
    e: FloatArray
    M: FloatArray


class Roccor(NamedTuple):
    """pT' = pT / (M_R + q A_R pT) at one pT: M_R (multiplicative), A_R (1/GeV, additive)."""

    M_R: FloatArray
    A_R: FloatArray


class MuonScaRe(NamedTuple):
    """pT' = 1 / (m/pT + q a) at one pT: m (multiplicative), a (1/GeV)."""

    m: FloatArray
    a: FloatArray


class Atlas(NamedTuple):
    """pT' = [s0 + (1 + s1) pT] / (1 + q delta pT), applied to simulation: s0 (GeV), s1, delta (1/TeV)."""

    s0: FloatArray
    s1: FloatArray
    delta: FloatArray


class Lhcb(NamedTuple):
    """p' = (1 + alpha) p and q/p' = q/p + delta, applied to data: alpha, delta (1/GeV, of the full momentum)."""

    alpha: FloatArray
    delta: FloatArray


def to_roccor(ours: Ours, pt: FloatArray) -> Roccor:
    """Exact at `pt` (GeV): M_R = 1 + A - e/pT, A_R = M."""
    return Roccor(1.0 + ours.A - ours.e / pt, ours.M + 0.0)


def from_roccor(theirs: Roccor, pt: FloatArray, e: FloatArray | float = 0.0) -> Ours:
    """Exact at `pt` (GeV) for a given e (GeV), which RoccoR does not hold: A = M_R - 1 + e/pT, M = A_R."""
    return Ours(theirs.M_R - 1.0 + e / pt, np.zeros_like(theirs.M_R) + e, theirs.A_R + 0.0)


def to_muonscare(ours: Ours, pt: FloatArray) -> MuonScaRe:
    """Exact at `pt` (GeV): m = 1 + A - e/pT, a = M.  MuonScaRe corrects nothing below 26 GeV."""
    return MuonScaRe(1.0 + ours.A - ours.e / pt, ours.M + 0.0)


def from_muonscare(theirs: MuonScaRe, pt: FloatArray, e: FloatArray | float = 0.0) -> Ours:
    """Exact at `pt` (GeV) for a given e (GeV), which MuonScaRe does not hold."""
    return Ours(theirs.m - 1.0 + e / pt, np.zeros_like(theirs.m) + e, theirs.a + 0.0)


def to_atlas(ours: Ours) -> Atlas:
    """To first order: s1 = +A, s0 = -e, delta = -M in 1/TeV: what bends simulation as these data are bent."""
    return Atlas(-ours.e, ours.A + 0.0, -ours.M * TeV)


def from_atlas(theirs: Atlas) -> Ours:
    """The inverse of `to_atlas`."""
    return Ours(theirs.s1 + 0.0, -theirs.s0, -theirs.delta / TeV)


def to_lhcb(ours: Ours, eta: FloatArray) -> Lhcb:
    """To first order, for e = 0: alpha = -A, delta = M sin(theta).

    Raises ValueError where e is not 0: the convention has no energy loss.
    """
    if np.any(ours.e != 0):
        raise ValueError(f"e reaches {np.max(np.abs(ours.e)):g} GeV; the LHCb convention has no energy-loss term")
    return Lhcb(-ours.A, ours.M / np.cosh(eta))


def from_lhcb(theirs: Lhcb, eta: FloatArray) -> Ours:
    """The inverse of `to_lhcb`: A = -alpha, e = 0, M = delta cosh(eta)."""
    return Ours(-theirs.alpha, np.zeros_like(theirs.alpha), theirs.delta * np.cosh(eta))
