"""The result of many mass fits."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.errors import NotCertified
from mucal.massfit.bins import MassHistograms
from mucal.massfit.status import Remedy, Status
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class MassFits(Result):
    """Fits of one model to B mass histograms; rows are the rows of `histograms`.

    resonance      : name in the table of `theory.pdg`
    reference_mass : GeV, with its uncertainty; scales are relative to it
    model          : name of the signal model
    parameters     : names of the P fitted parameters, as "ln_n", "ln_s", "ln_sigma", "logit_f", "slope"
    histograms     : what was fitted
    values         : (B, P)     NaN in a bin whose status is not OK or BAD_GOF
    cov            : (B, P, P)  their covariance
    deviance       : (B,)       Poisson deviance of mass bins merged to 5 expected events
    ndf            : (B,)       merged bins less the parameters as far as the bin itself fixes them, not a constraint
    p_value        : (B,)       goodness-of-fit probability
    edm            : (B,)       estimated distance to the minimum, in units of -2 ln L
    n_steps        : (B,)       steps taken
    status         : (B,)       `Status` of each fit
    expected       : (B, M)     events that the model expects, NaN as the values; None in files of older versions
    remedies       : (B,)       `Remedy` of each; None where failed fits were not tried again
    """

    resonance: str
    reference_mass: float
    reference_mass_error: float
    model: str
    parameters: tuple[str, ...]
    histograms: MassHistograms
    values: FloatArray
    cov: FloatArray
    deviance: FloatArray
    ndf: FloatArray
    p_value: FloatArray
    edm: FloatArray
    n_steps: IntArray
    status: IntArray
    expected: FloatArray | None = None
    remedies: IntArray | None = None

    def __post_init__(self) -> None:
        b, p = self.histograms.n_bins, len(self.parameters)
        check_shapes(self, values=(b, p), cov=(b, p, p), deviance=(b,), ndf=(b,), p_value=(b,), edm=(b,))
        check_shapes(self, n_steps=(b,), status=(b,))
        if self.expected is not None:
            check_shapes(self, expected=self.histograms.counts.shape)
        if self.remedies is not None:
            check_shapes(self, remedies=(b,))

    @property
    def good(self) -> BoolArray:
        """(B,) the fits whose numbers may be used"""
        result: BoolArray = self.status == Status.OK
        return result

    def value(self, name: str) -> FloatArray:
        """(B,) one parameter"""
        return self.values[:, self.parameters.index(name)]

    def error(self, name: str) -> FloatArray:
        """(B,) standard error of one parameter"""
        j = self.parameters.index(name)
        result: FloatArray = np.sqrt(self.cov[:, j, j])
        return result

    @property
    def width_parameter(self) -> str:
        """The parameter of the resolution: "ln_sigma", or "variance" of the model "morphing"."""
        return "variance" if "variance" in self.parameters else "ln_sigma"

    @property
    def failed_bins(self) -> IntArray:
        """(F, 4) the kinematic bins in which no step of the ladder gave a fit"""
        if self.remedies is None:
            return self.histograms.index[:0]
        result: IntArray = self.histograms.index[self.remedies == Remedy.DROPPED]
        return result

    def remedy_lines(self) -> list[str]:
        """`3 mass fits started from the values of neighbouring bins`: a line for each remedy that was needed."""
        if self.remedies is None:
            return []
        found = zip(*np.unique(self.remedies, return_counts=True), strict=True)
        return [f"{n} mass fits {Remedy(int(r)).sentence}" for r, n in found if r != Remedy.NONE]

    def relative_to(self, mass: float, error: float | None = None) -> Self:
        """The fits with scales relative to another reference mass: ln s moves by ln(m_old / m_new).

        mass, error : GeV; None: the error stays
        """
        values = self.values.copy()
        values[:, self.parameters.index("ln_s")] += np.log(self.reference_mass / mass)
        error = self.reference_mass_error if error is None else error
        return replace(self, values=values, reference_mass=mass, reference_mass_error=error)

    def require_converged(self, fraction: float = 1.0) -> None:
        """Raises NotCertified if fewer than `fraction` of the fits with events enough are good."""
        tried = ~np.isin(self.status, (Status.EMPTY, Status.LOW_STATS))
        good = int(self.good.sum())
        if good < fraction * int(tried.sum()):
            first = int(np.flatnonzero(tried & ~self.good)[0])
            status = Status(int(self.status[first]))
            raise NotCertified(
                f"{good} of {int(tried.sum())} mass fits are good, required {fraction:.1%}",
                kind="massfit.not_converged",
                where={"bin": f"row {first}, index {self.histograms.index[first].tolist()}", "status": status.sentence},
            )
