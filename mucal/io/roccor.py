"""Rochester corrections (RoccoR): the table, applied as the official program does.

    pT' = pT / (M_R + q A_R pT)      for data and for simulation, in bins of eta and of azimuth
    x / (1 + (x - 1) k_data / k_mc)  with x = pT_gen / pT' brings the spread of simulation to that of data

A table holds sets of members: the error of a result is sqrt(sum over sets of the mean over members of its squared
difference from set 0, member 0).  The letters A and M are swapped against ours (`scale.conventions`), and there is no
term in e.  Its text is read and written in `roccor_text`.

Source: A. Bodek et al., arXiv:1208.3710, and the public tables.
"""

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from scipy.special import ndtr, ndtri

from mucal.arrays import BoolArray, FloatArray, IntArray, check_edges
from mucal.scale import ScaleTable, conventions

MC, DATA = 0, 1
TINY: Final = 1e-300
SMEARING_PT: Final = 45.0
Sample = Literal["data", "mc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoccorTable:
    """A Rochester table with S sets of members; members of all sets stand one after the other.

    eta_edges  : (E+1,)
    offsets    : (S+1,)           members offsets[s] .. offsets[s+1] belong to set s
    M_R        : (N, 2, E, F)     multiplicative; of simulation, data; over F equal bins of azimuth from -pi
    A_R        : (N, 2, E, F) 1/GeV  additive
    abs_edges  : (R+1,)           of |eta|
    spread     : (N, 2, R)        k of the spread; NaN where a table has none
    smearing   : (N, 6, R, L)     s0, s1, s2, width, alpha, n by layers; NaN where a table has none
    layers_min :                  tracker layers of the first of the L bins; fewer are counted in it, more in the last
    shares     : (N, 2, R, L+1)   of muons up to each number of layers, of simulation and data; NaN likewise
    """

    eta_edges: FloatArray
    offsets: IntArray
    M_R: FloatArray
    A_R: FloatArray
    abs_edges: FloatArray
    spread: FloatArray
    smearing: FloatArray
    layers_min: int
    shares: FloatArray

    def __post_init__(self) -> None:
        for name in ("eta_edges", "abs_edges"):
            check_edges(f"RoccorTable.{name}", getattr(self, name))
        for name in ("M_R", "A_R"):
            if not np.all(np.isfinite(getattr(self, name))):
                raise ValueError(f"RoccorTable.{name} holds numbers that are not finite, expected none")

    def scale(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, sample: Sample = "data",
        member: int = 0,
    ) -> FloatArray:  # fmt: skip
        """Corrected over measured pT, 1 / (M_R + q A_R pT).

        pt     : (N,) GeV
        eta    : (N,)      beyond the table its last bins are used, as the official program does
        phi    : (N,) rad
        charge : (N,)      +1 or -1
        sample : "data" or "mc"
        member : counted over all sets; 0 is the nominal one

        Raises ValueError for a pt that is not positive and finite, an eta or phi that is not finite, a charge other
        than +-1, or another sample.
        """
        return self._scale(*_checked(pt, eta, phi, charge, sample), sample, member)

    def scale_error(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, sample: Sample = "data"
    ) -> FloatArray:
        """Standard error of `scale` from all members of all sets, (N,); arguments and errors as there."""
        muons = _checked(pt, eta, phi, charge, sample)
        members = [self._scale(*muons, sample, m) for m in range(self.offsets[-1])]
        return self._error(members)

    def spread_scale(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, pt_gen: FloatArray,
        member: int = 0,
    ) -> FloatArray:  # fmt: skip
        """Scale of simulation with its spread brought to that of data, for muons with a generated pT: (N,).

        pt_gen : (N,) GeV

        Raises ValueError as `scale` does, and for a pt_gen that is not positive and finite.
        """
        pt_gen = np.asarray(pt_gen, dtype=float)
        _require((pt_gen > 0) & np.isfinite(pt_gen), "pt_gen", pt_gen, "a positive, finite momentum")
        scale = self.scale(pt, eta, phi, charge, "mc", member)
        r = np.clip(np.searchsorted(self.abs_edges, np.abs(eta), side="right") - 1, 0, self.abs_edges.size - 2)
        x = pt_gen / (scale * pt)
        result: FloatArray = scale * x / (1.0 + (x - 1.0) * self.spread[member, DATA, r] / self.spread[member, MC, r])
        return result

    def smear_scale(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, layers: IntArray,
        uniform: FloatArray, member: int = 0,
    ) -> FloatArray:  # fmt: skip
        """Scale of simulation with the spread of data, for muons without a generated pT: (N,).

        k / (1 + sqrt(k_data^2 - k_mc^2) sigma(k pT) x) with x the Crystal Ball's quantile at `uniform`; k alone where
        simulation is the wider one.

        layers  : (N,)  tracker layers with a measurement
        uniform : (N,)  random numbers between 0 and 1

        Raises ValueError as `scale` does, for a random number outside 0 to 1, and if the table has no smearing.
        """
        if np.all(np.isnan(self.smearing)):
            raise ValueError("this Rochester table holds no smearing (its lines R); use spread_scale, or another table")
        uniform = np.asarray(uniform, dtype=float)
        _require((uniform >= 0) & (uniform <= 1), "uniform", uniform, "a number between 0 and 1")
        scale = self.scale(pt, eta, phi, charge, "mc", member)
        r = np.clip(np.searchsorted(self.abs_edges, np.abs(eta), side="right") - 1, 0, self.abs_edges.size - 2)
        at = np.clip(layers - self.layers_min, 0, self.smearing.shape[3] - 1)
        s0, s1, s2, width, alpha, power = self.smearing[member][:, r, at]
        x = scale * pt - SMEARING_PT
        sigma = s0 + s1 * x + s2 * x * x
        of_data, of_mc = self.spread[member, DATA, r], self.spread[member, MC, r]
        extra = np.sqrt(np.clip(of_data**2 - of_mc**2, 0.0, None))
        drawn = extra * sigma * width * crystal_ball_quantile(uniform, alpha, power)
        result: FloatArray = scale * np.where(drawn > -1.0, 1.0 / (1.0 + drawn), 1.0)
        return result

    def _scale(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray, sample: Sample, member: int
    ) -> FloatArray:
        i, j = self._bins(eta, phi)
        of = DATA if sample == "data" else MC
        result: FloatArray = 1.0 / (self.M_R[member, of, i, j] + charge * self.A_R[member, of, i, j] * pt)
        return result

    def _bins(self, eta: FloatArray, phi: FloatArray) -> tuple[IntArray, IntArray]:
        n_eta, n_phi = self.M_R.shape[2:]
        i = np.clip(np.searchsorted(self.eta_edges, eta, side="right") - 1, 0, n_eta - 1)
        j = np.clip(np.floor((phi + np.pi) / (2.0 * np.pi / n_phi)).astype(np.int64), 0, n_phi - 1)
        return i.astype(np.int64), j

    def _error(self, members: list[FloatArray]) -> FloatArray:
        squares = [np.square(member - members[0]) for member in members]
        sets = [np.mean(squares[a:b], axis=0) for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)]
        result: FloatArray = np.sqrt(np.sum(sets, axis=0))
        return result

    def to_ours(self, pt: float, sample: Sample = "data") -> ScaleTable:
        """Our table with the same scale at one pT (GeV): M_R and A_R averaged over azimuth, e = 0.

        The covariance is that of the members: sum over sets of the mean of their outer products.
        """
        of = DATA if sample == "data" else MC
        mean = [getattr(self, name)[:, of].mean(axis=-1) for name in ("M_R", "A_R")]
        ours = conventions.from_roccor(conventions.Roccor(*mean), np.full_like(mean[0], pt))
        rows = np.concatenate([ours.A, ours.e, ours.M], axis=1)
        shifts = rows - rows[0]
        sets = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        cov = np.sum([shifts[a:b].T @ shifts[a:b] / (b - a) for a, b in sets], axis=0)
        return ScaleTable(
            eta_edges=self.eta_edges, A=ours.A[0], e=ours.e[0], M=ours.M[0], cov=0.5 * (cov + cov.T), resonance="z"
        )


def _checked(
    pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, sample: str
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    if sample not in get_args(Sample):
        raise ValueError(f"sample = {sample!r}, expected one of {', '.join(map(repr, get_args(Sample)))}")
    p, h, f, q = (np.asarray(column, dtype=float) for column in (pt, eta, phi, charge))
    _require((p > 0) & np.isfinite(p), "pt", p, "a positive, finite momentum")
    _require(np.isfinite(h), "eta", h, "a finite number")
    _require(np.isfinite(f), "phi", f, "a finite number")
    _require(np.abs(q) == 1, "charge", q, "+1 or -1")
    return p, h, f, q


def _require(good: BoolArray, name: str, values: FloatArray, expected: str) -> None:
    if not np.all(good):
        i = int(np.argmin(good))
        bad = int(np.size(good) - np.count_nonzero(good))
        raise ValueError(f"{bad} of {np.size(good)} muons: {name}[{i}] = {np.ravel(values)[i]:g}, expected {expected}")


def crystal_ball_quantile(u: FloatArray, alpha: FloatArray, n: FloatArray) -> FloatArray:
    """x below which the part u of a Crystal Ball lies, equal tails of power n from +-alpha on, width 1.

    u        : (N,)  between 0 and 1
    alpha, n : (N,)  positive; above 1
    """
    tail = n / (alpha * (n - 1.0)) * np.exp(-0.5 * alpha**2)
    core = np.sqrt(2.0 * np.pi) * (ndtr(alpha) - ndtr(-alpha))
    below = np.minimum(u, 1.0 - u) * (core + 2.0 * tail)
    stretch = np.maximum(below / tail, TINY) ** (1.0 / (1.0 - n))
    outside = alpha + (stretch - 1.0) * n / alpha
    inside = -ndtri(ndtr(-alpha) + np.clip(below - tail, 0.0, None) / np.sqrt(2.0 * np.pi))
    result: FloatArray = np.where(u < 0.5, -1.0, 1.0) * np.where(below < tail, outside, inside)
    return result
