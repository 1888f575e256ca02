"""The momentum-scale table: A, e and M in bins of pseudorapidity."""

from dataclasses import dataclass, field

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_edges, check_shapes
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleTable(Result):
    """Momentum-scale parameters in B bins of eta, with their joint covariance.

    eta_edges  : (B+1,)       strictly increasing
    A          : (B,)         relative field error
    e          : (B,) GeV     energy loss not in the material model
    M          : (B,) 1/GeV   sagitta bias; its effect is odd in charge
    cov        : (3B, 3B)     ordered A, e, M, each over all bins
    chi2, ndf  :              of the linear system that the table solves
    pt_range   : GeV          transverse momenta of the muons it was derived from
    resonance  :              name of the resonance whose mass set the scale
    """

    eta_edges: FloatArray
    A: FloatArray
    e: FloatArray
    M: FloatArray
    cov: FloatArray
    chi2: float = 0.0
    ndf: int = 0
    pt_range: tuple[float, float] = field(default=(0.0, float("inf")))
    resonance: str = ""

    def __post_init__(self) -> None:
        check_edges("ScaleTable.eta_edges", self.eta_edges)
        b = self.n_bins
        check_shapes(self, A=(b,), e=(b,), M=(b,), cov=(3 * b, 3 * b))

    @property
    def n_bins(self) -> int:
        """B, the number of eta bins."""
        return int(self.eta_edges.size) - 1

    @property
    def parameters(self) -> FloatArray:
        """(3B,) A, e, M in the order of the covariance"""
        return np.concatenate([self.A, self.e, self.M])

    def summary(self) -> list[str]:
        """Where it comes from, and A, e and M of every bin with their standard errors."""
        errors = np.sqrt(np.clip(np.diag(self.cov), 0, None)).reshape(3, -1)
        lines = [
            f"scale from {self.resonance} in {self.n_bins} eta bins, muons of {self.pt_range[0]:g} to "
            f"{self.pt_range[1]:g} GeV, chi2 = {self.chi2:.1f} for {self.ndf}",
            f"{'eta':>14} {'A [1e-3]':>18} {'e [MeV]':>18} {'M [1e-5/GeV]':>18}",
        ]
        for i in range(self.n_bins):
            cells = [
                f"{f * getattr(self, n)[i]:+.3f} +- {f * errors[j, i]:.3f}"
                for j, (n, f) in enumerate((("A", 1e3), ("e", 1e3), ("M", 1e5)))
            ]
            span = f"{self.eta_edges[i]:+.2f} .. {self.eta_edges[i + 1]:+.2f}"
            lines.append(f"{span:>14} " + " ".join(f"{cell:>18}" for cell in cells))
        return lines

    def bin_index(self, eta: FloatArray) -> IntArray:
        """Bin number of each muon; bins are [low, high).

        Raises ValueError if a muon lies outside the table (or its eta is NaN): no extrapolation.
        """
        index = np.searchsorted(self.eta_edges, eta, side="right") - 1
        outside = ~((eta >= self.eta_edges[0]) & (eta < self.eta_edges[-1]))
        if np.any(outside):
            i = int(np.argmax(outside))
            raise ValueError(
                f"{int(outside.sum())} of {outside.size} muons lie outside the scale table "
                f"({self.eta_edges[0]:g} <= eta < {self.eta_edges[-1]:g}), first eta[{i}] = {np.ravel(eta)[i]:g}; "
                "select first"
            )
        return index.astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class DScan(Result):
    """The resolution from the same widths with other d, the number that is fixed in it.

    d            : (S,) GeV^2
    pt           : (P,) GeV
    sigma, error : (S, P)       root of the mean over eta of (sigma_k/k)^2, and its statistical error; NaN where a d
                                gives no table
    chi2         : (S,)         of the fits
    """

    d: FloatArray
    pt: FloatArray
    sigma: FloatArray
    error: FloatArray
    chi2: FloatArray

    def __post_init__(self) -> None:
        s, p = self.d.size, self.pt.size
        check_shapes(self, d=(s,), pt=(p,), sigma=(s, p), error=(s, p), chi2=(s,))

    @property
    def spread(self) -> FloatArray:
        """(P,) largest less smallest sigma over their mean; NaN unless every d gives a table."""
        result: FloatArray = np.ptp(self.sigma, axis=0) / np.mean(self.sigma, axis=0)
        return result

    @property
    def relative_error(self) -> FloatArray:
        """(P,) the largest statistical error of sigma over its sigma; NaN as for the spread."""
        result: FloatArray = np.max(self.error / self.sigma, axis=0)
        return result

    @property
    def line(self) -> str:
        """The spread at each momentum as a line for people."""
        values = ", ".join(f"{d:g}" for d in self.d)
        spreads = [
            f"{100 * spread:.2g} % at {pt:g} GeV (statistical error {100 * error:.2g} %)" if np.isfinite(spread)
            else f"unknown at {pt:g} GeV, where not every d gives a resolution"
            for pt, spread, error in zip(self.pt, self.spread, self.relative_error, strict=True)
        ]  # fmt: skip
        return f"with d = {values} GeV^2 sigma_k/k spreads by " + ", ".join(spreads)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionTable(Result):
    """Curvature resolution in B bins of eta, (sigma_k/k)^2 = a + c pT^2 + b / (1 + d/pT^2).

    eta_edges : (B+1,)
    a         : (B,)          multiple scattering
    b         : (B,)          saturating cross term
    c         : (B,) 1/GeV^2  hit resolution
    d         : (B,) GeV^2    fixed, positive
    cov       : (3B, 3B)      ordered a, b, c, each over all bins
    chi2, ndf :               of the linear system that the table solves
    pt_range  : GeV           transverse momenta of the muons it was derived from
    by_d      :               what other d would have given, if that was asked
    """

    eta_edges: FloatArray
    a: FloatArray
    b: FloatArray
    c: FloatArray
    d: FloatArray
    cov: FloatArray
    chi2: float = 0.0
    ndf: int = 0
    pt_range: tuple[float, float] = field(default=(0.0, float("inf")))
    by_d: DScan | None = None

    def __post_init__(self) -> None:
        check_edges("ResolutionTable.eta_edges", self.eta_edges)
        b = int(self.eta_edges.size) - 1
        check_shapes(self, a=(b,), b=(b,), c=(b,), d=(b,), cov=(3 * b, 3 * b))
        if not np.all(self.d > 0):
            raise ValueError(f"ResolutionTable.d[{int(np.argmin(self.d > 0))}] = {self.d.min()} GeV^2, expected > 0")

    @property
    def n_bins(self) -> int:
        """B, the number of eta bins."""
        return int(self.eta_edges.size) - 1

    def summary(self) -> list[str]:
        """Where it comes from, the means of a, b and c, and what other d would have given."""
        mean = [float(np.mean(getattr(self, name))) for name in ("a", "b", "c")]
        return [
            f"resolution in {self.n_bins} eta bins, chi2 = {self.chi2:.1f} for {self.ndf}; means a = {mean[0]:.3g}, "
            f"b = {mean[1]:.3g}, c = {mean[2]:.3g} / GeV^2",
            *([] if self.by_d is None else [self.by_d.line]),
        ]
