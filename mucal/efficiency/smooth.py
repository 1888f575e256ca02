"""Efficiencies and scale factors as polynomials in pT (and u_T) for each (eta, charge), with their covariance."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.polynomial import legendre
from scipy.special import gammaincc

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.efficiency.fits import Efficiencies
from mucal.errors import ConfigError, InputError, NotCertified
from mucal.store import Provenance, Result

Variance = Callable[[FloatArray], FloatArray]

MAX_DEGREE: Final = 5
ITERATIONS: Final = 3
"""Of the variances, which are taken at the smooth efficiency; the third changes nothing visible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmoothConfig:
    """How one step is smoothed.

    degree_pt, degree_ut : of the polynomial; degree_ut counts where the step is measured in u_T.  degree_pt = -1: the
                           lowest degree to which one more adds less than chance, by the sum of chi2 over all slices
    significance         : of that test
    """

    degree_pt: int = 3
    degree_ut: int = 2
    significance: float = 0.01

    def __post_init__(self) -> None:
        if not (-1 <= self.degree_pt <= MAX_DEGREE and 0 <= self.degree_ut <= MAX_DEGREE):
            raise ConfigError(
                f"efficiency.smooth: degrees {self.degree_pt} in pT and {self.degree_ut} in u_T; expected 0 to "
                f"{MAX_DEGREE}, or -1 in pT for the test",
                kind="config.efficiency",
            )
        if not 0 < self.significance < 1:
            raise ConfigError(
                f"efficiency.smooth.significance = {self.significance}; expected a probability",
                kind="config.efficiency",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface(Result):
    """c . L(x): products of Legendre polynomials in pT and u_T, each mapped to [-1, 1], for each (eta, charge).

    eta_edges        : (E+1,)
    by_charge        : Q = 2 charges (-1, +1), or 1
    pt_range, ut_range : GeV; beyond them the value at the edge holds.  ut_range is (-inf, inf) where it plays no part
    degree_pt, degree_ut : P = (degree_pt + 1) (degree_ut + 1) coefficients, those of u_T running fastest
    coefficients     : (E, Q, P)
    cov              : (E, Q, P, P)
    chi2, ndf        : (E, Q)
    left_out         : bins that were not usable, each with its reason
    """

    eta_edges: FloatArray
    by_charge: bool
    pt_range: tuple[float, float]
    ut_range: tuple[float, float]
    degree_pt: int
    degree_ut: int
    coefficients: FloatArray
    cov: FloatArray
    chi2: FloatArray
    ndf: FloatArray
    left_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        e, q, p = self.eta_edges.size - 1, 1 + self.by_charge, self.n_parameters
        check_shapes(self, coefficients=(e, q, p), cov=(e, q, p, p), chi2=(e, q), ndf=(e, q))

    @property
    def n_parameters(self) -> int:
        """Coefficients of one bin of eta and charge."""
        return (self.degree_pt + 1) * (self.degree_ut + 1)

    @property
    def p_value(self) -> FloatArray:
        """(E, Q) probability of a larger chi2; NaN where nothing is left over"""
        some = self.ndf > 0
        result: FloatArray = np.where(some, gammaincc(0.5 * np.where(some, self.ndf, 1.0), 0.5 * self.chi2), np.nan)
        return result

    def basis(self, pt: FloatArray, ut: FloatArray | None = None) -> FloatArray:
        """(N, P) the products of polynomials at pT and u_T (GeV), clamped to the ranges."""
        x = _unit(np.asarray(pt, dtype=float), self.pt_range)
        rows = np.asarray(legendre.legvander(x, self.degree_pt), dtype=np.float64)
        if self.degree_ut == 0:
            return rows
        if ut is None:
            raise ValueError("this surface depends on u_T; pass ut")
        across = legendre.legvander(_unit(np.asarray(ut, dtype=float), self.ut_range), self.degree_ut)
        product: FloatArray = (rows[:, :, None] * across[:, None, :]).reshape(rows.shape[0], -1)
        return product

    def slices(self, eta: FloatArray, charge: IntArray) -> tuple[IntArray, IntArray]:
        """(N,) indices of eta and charge.  Raises ValueError outside the edges, and for a charge that is not +-1."""
        eta, charge = np.asarray(eta, dtype=float), np.asarray(charge)
        i = np.searchsorted(self.eta_edges, eta, side="right") - 1
        wrong = ~((i >= 0) & (i < self.eta_edges.size - 1))
        if wrong.any():
            first = int(np.argmax(wrong))
            raise ValueError(
                f"{int(wrong.sum())} of {eta.size} muons lie outside {self.eta_edges[0]:g} <= eta < "
                f"{self.eta_edges[-1]:g}, first eta[{first}] = {eta[first]:g}; select first"
            )
        if not np.all(np.abs(charge) == 1):
            raise ValueError(f"charge holds {charge[np.abs(charge) != 1][0]}; expected -1 or +1")
        return i, (charge > 0).astype(np.int64) if self.by_charge else np.zeros(eta.size, np.int64)

    def __call__(self, eta: FloatArray, pt: FloatArray, charge: IntArray, ut: FloatArray | None = None) -> FloatArray:
        """(N,) values for muons."""
        i, q = self.slices(eta, charge)
        result: FloatArray = np.einsum("np,np->n", self.basis(pt, ut), self.coefficients[i, q])
        return result

    def error(self, eta: FloatArray, pt: FloatArray, charge: IntArray, ut: FloatArray | None = None) -> FloatArray:
        """(N,) their standard errors."""
        i, q = self.slices(eta, charge)
        rows = self.basis(pt, ut)
        result: FloatArray = np.sqrt(np.einsum("np,npr,nr->n", rows, self.cov[i, q], rows))
        return result

    def eigenvariations(self) -> FloatArray:
        """(E, Q, P, P) shifts of the coefficients, [..., k, :] of the k-th: sum_k v_k v_k^T = cov, largest first."""
        values, vectors = np.linalg.eigh(self.cov)
        shifts = np.sqrt(np.maximum(values, 0.0))[..., None, :] * vectors
        shifts = np.swapaxes(shifts[..., ::-1], -1, -2)
        largest = np.take_along_axis(shifts, np.abs(shifts).argmax(axis=-1)[..., None], axis=-1)
        result: FloatArray = shifts * np.where(largest < 0, -1.0, 1.0)
        return result


def smooth_scale_factor(data: Efficiencies, mc: Efficiencies, config: SmoothConfig) -> Surface:
    """The ratio of efficiencies in data and simulation, smoothed.

    A bin's own error is not used as its weight: it is small where the efficiency came out large by chance, and pulls
    the fit up.  The binomial part of the variance is taken at the smooth efficiency, eps (1 - eps) / N, what the
    background adds to it as fitted.  Bins at the boundary thereby take part like all others.

    Raises InputError for different bins, NotCertified if a slice has fewer usable bins than coefficients.
    Derived in docs/physics/efficiency.md.
    """
    _check_bins(data, mc)
    usable = data.usable & mc.usable & (np.nan_to_num(mc.eff) > 0)
    ratio = np.where(usable, data.eff / np.where(usable, mc.eff, 1.0), np.nan)

    def variance(smooth: FloatArray) -> FloatArray:
        found = _variance(data, smooth * mc.eff) + smooth**2 * _variance(mc, mc.eff)
        return np.asarray(found / mc.eff**2, dtype=np.float64)

    return _smooth(data, ratio, usable, variance, config, (*data.failed(), *mc.failed()))


def smooth_efficiency(efficiencies: Efficiencies, config: SmoothConfig) -> Surface:
    """Efficiencies of data or of simulation, smoothed with the same weights as scale factors."""
    usable = efficiencies.usable
    return _smooth(
        efficiencies, efficiencies.eff, usable, lambda smooth: _variance(efficiencies, smooth), config,
        efficiencies.failed(),
    )  # fmt: skip


def _variance(found: Efficiencies, at: FloatArray) -> FloatArray:
    """(B,) variance of an efficiency if its true value were `at`."""
    n = found.n_probes
    if found.method == "count":  # weights: effective probes
        own = np.nan_to_num(found.cov[:, 1, 1])
        n = np.where(own > 0, 1.0 / np.where(own > 0, own, 1.0), n)
    at = np.clip(at, 0.5 / n, 1.0 - 0.5 / n)
    extra = np.nan_to_num(found.cov[:, 0, 0] - found.eff * (1.0 - found.eff) / n)
    result: FloatArray = at * (1.0 - at) / n + np.maximum(extra, 0.0)
    return result


def _smooth(
    found: Efficiencies, values: FloatArray, usable: BoolArray, variance: Variance, config: SmoothConfig,
    failed: Sequence[str],
) -> Surface:  # fmt: skip
    h = found.histograms
    in_ut = h.shape[3] > 1
    degree_ut = config.degree_ut if in_ut else 0
    if config.degree_pt >= 0:
        return _fit(found, values, usable, variance, config.degree_pt, degree_ut, failed)
    surface = _fit(found, values, usable, variance, 0, degree_ut, failed)
    for degree in range(1, min(MAX_DEGREE, h.shape[1] - 2) + 1):
        higher = _fit(found, values, usable, variance, degree, degree_ut, failed)
        drop, more = float((surface.chi2 - higher.chi2).sum()), float((surface.ndf - higher.ndf).sum())
        if gammaincc(0.5 * more, 0.5 * max(drop, 0.0)) > config.significance:
            break
        surface = higher
    return surface


def _fit(
    found: Efficiencies, values: FloatArray, usable: BoolArray, variance: Variance, degree_pt: int, degree_ut: int,
    failed: Sequence[str],
) -> Surface:  # fmt: skip
    h = found.histograms
    e, _, q, _ = h.shape
    p = (degree_pt + 1) * (degree_ut + 1)
    ut_range = (float(h.ut_edges[0]), float(h.ut_edges[-1]))
    empty = Surface(
        provenance=Provenance(), eta_edges=h.eta_edges, by_charge=h.by_charge,
        pt_range=(float(h.pt_edges[0]), float(h.pt_edges[-1])), ut_range=ut_range, degree_pt=degree_pt,
        degree_ut=degree_ut, coefficients=np.zeros((e, q, p)), cov=np.zeros((e, q, p, p)), chi2=np.zeros((e, q)),
        ndf=np.zeros((e, q)), left_out=tuple(failed),
    )  # fmt: skip
    ut = None
    if degree_ut:
        middle = 0.5 * (h.ut_edges[1:] + h.ut_edges[:-1])
        ut = np.broadcast_to(middle, h.shape).reshape(-1)
    rows = empty.basis(h.pt_mean, ut)
    index = np.arange(h.n_bins).reshape(h.shape)
    for i in range(e):
        for c in range(q):
            own = index[i, :, c, :].reshape(-1)
            own = own[usable[own]]
            if own.size < p:
                raise NotCertified(
                    f"{own.size} usable bins for {p} coefficients in eta {h.eta_edges[i]:g} to {h.eta_edges[i + 1]:g}"
                    + (f", charge {2 * c - 1:+d}" if q == 2 else ""),
                    kind="efficiency.too_few_bins",
                    where={"step": h.step, "failed": "; ".join(f for f in failed) or "none: too few probes"},
                    do="lower the degree, widen the bins, or mend the failed fits",
                )

            def own_variance(smooth: FloatArray, own: IntArray = own) -> FloatArray:
                return variance(_at(values, own, smooth))[own]

            slope, cov, chi2 = _weighted(rows[own], values[own], own_variance)
            empty.coefficients[i, c], empty.cov[i, c], empty.chi2[i, c] = slope, cov, chi2
            empty.ndf[i, c] = own.size - p
    return empty


def _at(values: FloatArray, own: IntArray, smooth: FloatArray) -> FloatArray:
    """All values with those of one slice replaced by the smooth ones."""
    result = values.copy()
    result[own] = smooth
    return result


def _weighted(rows: FloatArray, values: FloatArray, variance: Variance) -> tuple[FloatArray, FloatArray, float]:
    """Coefficients (P,), covariance (P, P), chi2 of a weighted fit whose weights follow from its own values."""
    smooth = np.full(values.size, np.median(values))
    for _ in range(ITERATIONS):
        weight = 1.0 / variance(smooth)
        normal = (rows * weight[:, None]).T @ rows
        slope = np.linalg.solve(normal, rows.T @ (weight * values))
        smooth = rows @ slope
    cov = np.linalg.inv(normal)
    return np.asarray(slope, dtype=np.float64), 0.5 * (cov + cov.T), float((weight * (values - smooth) ** 2).sum())


def _unit(x: FloatArray, limits: tuple[float, float]) -> FloatArray:
    """x mapped to [-1, 1] over the limits, clamped."""
    result: FloatArray = np.clip(2.0 * (x - limits[0]) / (limits[1] - limits[0]) - 1.0, -1.0, 1.0)
    return result


def _check_bins(data: Efficiencies, mc: Efficiencies) -> None:
    for name in ("eta_edges", "pt_edges", "ut_edges"):
        one, two = getattr(data.histograms, name), getattr(mc.histograms, name)
        if not np.array_equal(one, two) or data.histograms.by_charge != mc.histograms.by_charge:
            raise InputError(
                f"efficiencies of data and simulation have different bins: {name} or charges",
                kind="efficiency.different_bins",
                where={"data": f"{one.size} edges", "simulation": f"{two.size} edges"},
            )
