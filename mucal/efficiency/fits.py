"""The result of the measurement: efficiencies of one step in bins."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.efficiency.histograms import ProbeHistograms
from mucal.efficiency.status import Status
from mucal.errors import NotCertified
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiencies(Result):
    """Efficiencies in the B bins of `histograms`, by a fit or by counting.

    method     : "fit", "count" or "given"
    parameters : names of the P parameters of a fit; ("eff", "ln_n") when counted
    histograms : what was measured
    values     : (B, P)     NaN where the status is none of OK, BAD_GOF, AT_BOUNDARY
    cov        : (B, P, P)  inverse of the second derivatives of -ln L; NaN for an efficiency at its boundary
    interval   : (B, 2)     ends of the 68 % interval of the profile likelihood; NaN if not asked for
    fitted     : (B, 2, M)  expected events at the minimum; NaN when counted
    deviance   : (B,)       Poisson deviance of mass bins merged to 5 expected events
    ndf        : (B,)
    p_value    : (B,)
    edm        : (B,)       estimated distance to the minimum in -2 ln L
    n_steps    : (B,)
    status     : (B,)       `Status` of each
    """

    method: str
    parameters: tuple[str, ...]
    histograms: ProbeHistograms
    values: FloatArray
    cov: FloatArray
    interval: FloatArray
    fitted: FloatArray
    deviance: FloatArray
    ndf: FloatArray
    p_value: FloatArray
    edm: FloatArray
    n_steps: IntArray
    status: IntArray

    def __post_init__(self) -> None:
        b, p = self.histograms.n_bins, len(self.parameters)
        check_shapes(self, values=(b, p), cov=(b, p, p), interval=(b, 2), deviance=(b,), ndf=(b,), p_value=(b,))
        check_shapes(self, fitted=self.histograms.counts.shape, edm=(b,), n_steps=(b,), status=(b,))

    @property
    def eff(self) -> FloatArray:
        """(B,) efficiency"""
        return self.value("eff")

    @property
    def error(self) -> FloatArray:
        """(B,) its standard error; NaN at the boundary"""
        result: FloatArray = np.sqrt(self.cov[:, 0, 0])
        return result

    @property
    def n_probes(self) -> FloatArray:
        """(B,) signal probes in the window"""
        result: FloatArray = np.exp(self.value("ln_n"))
        return result

    @property
    def usable(self) -> BoolArray:
        """(B,) whether smoothing may use the bin"""
        return np.isin(self.status, (Status.OK, Status.AT_BOUNDARY))

    def value(self, name: str) -> FloatArray:
        """(B,) one parameter"""
        return self.values[:, self.parameters.index(name)]

    def failed(self) -> tuple[str, ...]:
        """Bins with probes enough that cannot be used, each with its reason."""
        tried = ~np.isin(self.status, (Status.EMPTY, Status.LOW_STATS))
        return tuple(
            f"{self.histograms.place(int(row))}: {Status(int(self.status[row])).sentence}"
            for row in np.flatnonzero(tried & ~self.usable)
        )

    def require_converged(self, fraction: float = 1.0) -> None:
        """Raises NotCertified if fewer than `fraction` of the bins with probes enough can be used."""
        n_tried = int((~np.isin(self.status, (Status.EMPTY, Status.LOW_STATS))).sum())
        failed = self.failed()
        if n_tried - len(failed) < fraction * n_tried:
            raise NotCertified(
                f"{n_tried - len(failed)} of {n_tried} efficiencies are usable, required {fraction:.1%}",
                kind="efficiency.not_converged",
                where={"first": failed[0]},
                do="look at its spectra; widen the bin or constrain a shape",
            )

    def summary(self) -> list[str]:
        """Lines for people."""
        ends = ", ".join(f"{Status(i).name} {n}" for i, n in enumerate(np.bincount(self.status)) if n)
        good = self.usable
        mean = np.average(self.eff[good], weights=self.n_probes[good]) if good.any() else np.nan
        return [f"{self.histograms.step}: {self.status.size} bins by {self.method} ({ends}); mean {mean:.4f}"]
