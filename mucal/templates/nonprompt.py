"""Muons that are not prompt, from regions of isolation and transverse mass: the extended ABCD method.

Regions: A failing, B passing isolation at mT of 20 to 40 GeV; Ax, Bx the same at 0 to 20; C failing, D passing above
40.
With a fake factor f = B/A that is log-linear in mT, D = C f_1^2 / f_x = C Ax B^2 / (Bx A^2).

What is fitted.  In each (charge, eta) and region the nonprompt density dN/dpT = exp(sum_k c_k T_k(x)), T_k Chebyshev
polynomials, x in [-1, 1] over the pT range, to data = prompt simulation + nonprompt, by quasi-likelihood with variance
mu + var_prompt (or by least squares of ln N, weights N^2 / Var, as the published analysis does).  Coefficients of D are
the combination with weights +1 Ax, -1 Bx, -2 A, +2 B, +1 C; so are those of its covariance, squared.

Nuisances at +1 multiply D by exp(kappa): four eigenvariations in each (charge, eta), a common normalisation, and common
slopes T_1 and T_2.  Source: arXiv:2412.13872, arXiv:1906.10831; derived in docs/physics/nonprompt.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
from scipy.special import gammaincc

from mucal.arrays import FloatArray, check_edges, check_shapes
from mucal.errors import ConfigError, InputError
from mucal.store import Result
from mucal.templates.nonprompt_fits import basis, quasi_likelihood, weighted_logarithms

REGIONS: Final = ("Ax", "Bx", "A", "B", "C", "D")
WEIGHTS: Final = np.array([1.0, -1.0, -2.0, 2.0, 1.0])
"""Of ln N of the five sideband regions in ln N of D."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionCounts(Result):
    """Events in the six regions, in the order Ax, Bx, A, B, C, D; Q charges (-1, +1), E bins of eta, T of pT.

    eta_edges, pt_edges : GeV
    data                : (6, Q, E, T)  counts; D is not looked at by `estimate`
    prompt              : (6, Q, E, T)  expected prompt events
    prompt_sumw2        : (6, Q, E, T)
    """

    eta_edges: FloatArray
    pt_edges: FloatArray
    data: FloatArray
    prompt: FloatArray
    prompt_sumw2: FloatArray

    def __post_init__(self) -> None:
        check_edges("eta_edges", self.eta_edges)
        check_edges("pt_edges", self.pt_edges)
        shape = (6, self.data.shape[1], self.eta_edges.size - 1, self.pt_edges.size - 1)
        check_shapes(self, data=shape, prompt=shape, prompt_sumw2=shape)

    def place(self, region: int, q: int, i: int) -> dict[str, str]:
        """A region and slice in words."""
        low, high = self.eta_edges[i], self.eta_edges[i + 1]
        return {"region": REGIONS[region], "slice": f"charge {2 * q - 1:+d}, eta {low:g} to {high:g}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class NonpromptConfig:
    """How nonprompt muons are estimated.

    degree         : of the polynomial in the exponent
    method         : "quasi_likelihood", or "least_squares" of logarithms
    normalisation  : relative, of the common nuisance
    slopes         : changes of the exponent's T_1 and T_2 by the two other common ones
    factor         : multiplies the prediction: a correction for non-closure, 1 without
    """

    degree: int = 3
    method: Literal["quasi_likelihood", "least_squares"] = "quasi_likelihood"
    normalisation: float = 0.05
    slopes: tuple[float, float] = (0.1, 0.1)
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.degree <= 6 and self.normalisation >= 0 and self.factor > 0):
            raise ConfigError(
                f"nonprompt: degree {self.degree}, normalisation {self.normalisation}, factor {self.factor}; expected "
                "0 to 6, at least 0, above 0",
                kind="config.nonprompt",
            )
        if self.method not in ("quasi_likelihood", "least_squares"):
            raise ConfigError(
                f"nonprompt.method = '{self.method}'; expected 'quasi_likelihood' or 'least_squares'",
                kind="config.nonprompt",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonprompt(Result):
    """Nonprompt muons in region D, smooth in pT, with their nuisances.

    eta_edges, pt_edges : GeV
    nominal             : (Q, E, T)        events
    region_coefficients : (5, Q, E, K)     of the sidebands, in the order Ax, Bx, A, B, C
    region_cov          : (5, Q, E, K, K)
    coefficients, cov   : (Q, E, K), (Q, E, K, K)  of D
    chi2, ndf           : (5, Q, E)
    nuisances, groups   : names of S nuisances: 4 Q E eigenvariations, three common
    kappa               : (S, Q, E, T)     ln(varied / nominal) at +1
    carried             : names of R nuisances of the prompt simulation, as "luminosity"
    carried_kappa       : (R, Q, E, T)     what they do to `nominal` through the subtraction
    """

    eta_edges: FloatArray
    pt_edges: FloatArray
    nominal: FloatArray
    region_coefficients: FloatArray
    region_cov: FloatArray
    coefficients: FloatArray
    cov: FloatArray
    chi2: FloatArray
    ndf: FloatArray
    nuisances: tuple[str, ...]
    groups: tuple[str, ...]
    kappa: FloatArray
    carried: tuple[str, ...] = ()
    carried_kappa: FloatArray = field(default_factory=lambda: np.zeros((0, 0, 0, 0)))

    @property
    def p_value(self) -> FloatArray:
        """(5, Q, E) probability of a larger chi2 of the smoothing"""
        some = self.ndf > 0
        result: FloatArray = np.where(some, gammaincc(0.5 * np.where(some, self.ndf, 1), 0.5 * self.chi2), np.nan)
        return result

    @property
    def error(self) -> FloatArray:
        """(Q, E, T) statistical standard error of `nominal`"""
        rows = basis(self.pt_edges, self.coefficients.shape[-1] - 1)
        result: FloatArray = self.nominal * np.sqrt(np.einsum("tk,qekl,tl->qet", rows, self.cov, rows))
        return result

    def summary(self) -> list[str]:
        """Lines for people."""
        low = int((self.p_value < 0.01).sum())
        return [
            f"nonprompt: {self.nominal.sum():.0f} events in D, {len(self.nuisances)} nuisances; smoothing chi2/ndf "
            f"{self.chi2.sum():.0f}/{self.ndf.sum():.0f}, {low} of {self.chi2.size} slices below p = 1 %"
        ]


def estimate(regions: RegionCounts, config: NonpromptConfig) -> Nonprompt:
    """Nonprompt muons in D from the five other regions.

    Raises InputError that names region and slice if data or prompt events are not finite, or if a region holds too few
    nonprompt events to fit a polynomial: an empty region is no estimate of 0.
    """
    _, n_charge, n_eta, _ = regions.data.shape
    k = config.degree + 1
    rows = basis(regions.pt_edges, config.degree)
    coefficients, cov = np.zeros((5, n_charge, n_eta, k)), np.zeros((5, n_charge, n_eta, k, k))
    chi2, ndf = np.zeros((5, n_charge, n_eta)), np.zeros((5, n_charge, n_eta))
    for r in range(5):
        for q in range(n_charge):
            for i in range(n_eta):
                at = (r, q, i)
                coefficients[at], cov[at], chi2[at], ndf[at] = _one_slice(regions, at, rows, config)
    combined, combined_cov = (
        np.einsum("r,rqek->qek", WEIGHTS, coefficients),
        np.einsum("r,rqekl->qekl", WEIGHTS**2, cov),
    )
    names, groups, kappa = _nuisances(combined_cov, rows, config)
    nominal = config.factor * np.exp(combined @ rows.T) * np.diff(regions.pt_edges)
    return Nonprompt(
        provenance=regions.provenance, eta_edges=regions.eta_edges, pt_edges=regions.pt_edges, nominal=nominal,
        region_coefficients=coefficients, region_cov=cov, coefficients=combined, cov=combined_cov, chi2=chi2, ndf=ndf,
        nuisances=names, groups=groups, kappa=kappa,
    )  # fmt: skip


def _one_slice(
    regions: RegionCounts, at: tuple[int, int, int], rows: FloatArray, config: NonpromptConfig
) -> tuple[FloatArray, FloatArray, float, float]:
    data, prompt, sumw2 = regions.data[at], regions.prompt[at], regions.prompt_sumw2[at]
    place = regions.place(*at)
    if not (np.isfinite(data).all() and np.isfinite(prompt).all() and np.isfinite(sumw2).all() and (data >= 0).all()):
        bad = int(np.argmin(np.isfinite(data) & np.isfinite(prompt) & np.isfinite(sumw2) & (data >= 0)))
        raise InputError(
            f"data {data[bad]}, prompt {prompt[bad]} in a region of the nonprompt estimate",
            kind="nonprompt.not_finite",
            where={**place, "bin": f"pt {regions.pt_edges[bad]:g} to {regions.pt_edges[bad + 1]:g} GeV"},
        )
    filled = int((data - prompt > 0).sum())
    if filled < rows.shape[1] or (data - prompt).sum() <= 0:
        empty = int(np.argmin(data - prompt > 0))
        low, high = regions.pt_edges[empty], regions.pt_edges[empty + 1]
        raise InputError(
            f"{(data - prompt).sum():.1f} nonprompt events, {filled} of {data.size} bins filled, for "
            f"{rows.shape[1]} coefficients",
            kind="nonprompt.empty_region",
            where={**place, "bin": f"first empty: pt {low:g} to {high:g} GeV"},
            do="merge bins of eta or lower the degree",
        )
    width = np.diff(regions.pt_edges)
    found = weighted_logarithms(data - prompt, data + sumw2, width, rows)
    if config.method == "quasi_likelihood":
        found = quasi_likelihood(data, prompt, sumw2, width, rows, found[0])
    if not np.isfinite(found[1]).all():
        raise InputError(
            "the smoothing did not converge", kind="nonprompt.not_converged", where=place, do="merge bins of eta"
        )
    return found


def _nuisances(
    cov: FloatArray, rows: FloatArray, config: NonpromptConfig
) -> tuple[tuple[str, ...], tuple[str, ...], FloatArray]:
    """Names, groups, kappa (S, Q, E, T): eigenvariations, largest first, largest component positive; common ones."""
    n_charge, n_eta, k, _ = cov.shape
    values, vectors = np.linalg.eigh(cov)
    shifts = np.swapaxes((np.sqrt(np.maximum(values, 0.0))[..., None, :] * vectors)[..., ::-1], -1, -2)
    largest = np.take_along_axis(shifts, np.abs(shifts).argmax(axis=-1)[..., None], axis=-1)
    shifts = shifts * np.where(largest < 0, -1.0, 1.0)
    names: list[str] = []
    kappa = np.zeros((n_charge * n_eta * k + 3, n_charge, n_eta, rows.shape[0]))
    for q in range(n_charge):
        for i in range(n_eta):
            for j in range(k):
                kappa[len(names), q, i] = rows @ shifts[q, i, j]
                names.append(f"fakeSmooth_eta{i}_q{q}_par{j}")
    x = basis_variable(rows)
    common = (np.full_like(x, np.log1p(config.normalisation)), config.slopes[0] * x, config.slopes[1] * (2 * x**2 - 1))
    for name, shift in zip(("fakeNorm", "fakeSlope", "fakeCurvature"), common, strict=True):
        kappa[len(names)] = shift
        names.append(name)
    groups = ("nonprompt_smoothing",) * (len(names) - 3) + ("nonprompt_common",) * 3
    return tuple(names), groups, kappa


def basis_variable(rows: FloatArray) -> FloatArray:
    """(T,) x in [-1, 1] at the middles of T bins of equal or unequal width, from Chebyshev rows of any degree."""
    if rows.shape[1] > 1:
        return rows[:, 1]
    middle: FloatArray = (2.0 * np.arange(rows.shape[0]) + 1.0) / rows.shape[0] - 1.0
    return middle


def propagate(
    regions: RegionCounts, config: NonpromptConfig, varied: Mapping[str, FloatArray]
) -> tuple[tuple[str, ...], FloatArray]:
    """What systematics of the prompt simulation do to the estimate, through the subtraction.

    varied : nuisance -> prompt events (6, Q, E, T) at +1

    Returns names and kappa (S, Q, E, T) of the nonprompt events.
    """
    nominal = estimate(regions, config).nominal
    shifts = [np.log(estimate(replace(regions, prompt=prompt), config).nominal / nominal) for prompt in varied.values()]
    empty = np.zeros((0, *nominal.shape))
    return tuple(varied), np.stack(shifts) if shifts else empty


@dataclass(frozen=True, slots=True, kw_only=True)
class NonpromptClosure:
    """Prediction against what D holds where that may be looked at: simulation, or muons of secondary vertices.

    ratio, error : ln(observed / predicted) of all of D, and its standard error
    chi2, ndf    : over all bins, the prediction's covariance included
    """

    ratio: float
    error: float
    chi2: float
    ndf: int

    @property
    def p_value(self) -> float:
        """Probability of a larger chi2."""
        return float(gammaincc(0.5 * self.ndf, 0.5 * self.chi2))


def closure(found: Nonprompt, regions: RegionCounts) -> NonpromptClosure:
    """The prediction compared with data less prompt events in D of a control region."""
    observed = regions.data[5] - regions.prompt[5]
    variance = np.maximum(found.nominal + regions.prompt[5], 1e-9) + regions.prompt_sumw2[5]
    rows = basis(regions.pt_edges, found.coefficients.shape[-1] - 1)
    chi2, of_prediction = 0.0, 0.0
    for q, i in np.ndindex(observed.shape[:2]):
        slope = found.nominal[q, i][:, None] * rows
        total = np.diag(variance[q, i]) + slope @ found.cov[q, i] @ slope.T
        off = observed[q, i] - found.nominal[q, i]
        chi2 += float(off @ np.linalg.solve(total, off))
        of_prediction += float(slope.sum(axis=0) @ found.cov[q, i] @ slope.sum(axis=0))
    n = found.nominal.sum()
    return NonpromptClosure(
        ratio=float(np.log(observed.sum() / n)),
        error=float(np.sqrt(variance.sum() + of_prediction) / n),
        chi2=chi2,
        ndf=observed.size,
    )


def curvature_bias(ln_f: FloatArray) -> FloatArray:
    """ln(predicted / true) of D if ln f in the three ranges of mT is ln_f (3, ...): 2 ln f_1 - ln f_x - ln f_D."""
    result: FloatArray = 2.0 * ln_f[1] - ln_f[0] - ln_f[2]
    return result
