"""The boson's pT after a fit, though the fit never saw it: what its nuisances say, carried to generated events.

A fit of muons (W-like: eta, pT, charge) constrains the nuisances of the boson's pT; with the same nuisances on
templates of *generated* events ("boson_z") it predicts the spectrum,

    f = nu(x) / sum nu(x),      cov f = J C J^T,      J = (d nu - f sum d nu) / sum nu,

and so does a fit of the pairs' own pT and rapidity.  Both respond to the same centres t of the constraints,
x1 = C1 c t + ..., x2 = C2 c t + ..., so that with independent counts their difference has

    cov (f1 - f2) = J1 C1 J1^T + J2 C2 J2^T - J1 X J2^T - (J1 X J2^T)^T,      X = C1 c C2.

Source: the validation of the pT model in arXiv:2412.13872; derived in docs/physics/wmass.md.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import ConfigError
from mucal.likelihood import FitResult, Model, observe
from mucal.likelihood.objective import objective
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrum(Result):
    """Shares of R bins of the boson's pT, adding to 1, after a fit.

    parameters : (S,)    of the model of generated events
    before     : (R,)    before the fit, and
    prior      : (R, R)  their covariance
    shares     : (R,)    after it
    cov        : (R, R)
    response   : (R, S)  their derivatives
    joint      : (S, S)  covariance of the parameters: of the fit, or the prior where it has them not
    held       : (S,)    the fit has the parameter, so that its constraint was used up there
    precision  : (S,)    of the constraints
    """

    parameters: tuple[str, ...]
    before: FloatArray
    prior: FloatArray
    shares: FloatArray
    cov: FloatArray
    response: FloatArray
    joint: FloatArray
    held: FloatArray
    precision: FloatArray

    def __post_init__(self) -> None:
        r, s = self.shares.size, len(self.parameters)
        check_shapes(self, before=(r,), prior=(r, r), cov=(r, r), response=(r, s), joint=(s, s), held=(s,))

    @property
    def errors(self) -> FloatArray:
        """(R,) standard errors"""
        return np.sqrt(np.diag(self.cov))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumTest(Result):
    """Whether two shares of R bins agree.

    difference : (R,)    first less second
    cov        : (R, R)
    chi2       :         of R - 1 degrees of freedom
    """

    difference: FloatArray
    cov: FloatArray
    chi2: float

    @property
    def ndof(self) -> int:
        """Bins less one, for shares add to 1."""
        return self.difference.size - 1

    @property
    def p_value(self) -> float:
        """Probability of at least this chi2"""
        return float(chdtrc(self.ndof, self.chi2))


def propagate(generated: Model, fitted: Model, result: FitResult) -> Spectrum:
    """The spectrum that a fit predicts.

    generated : of templates of generated events, as channel "boson_z"
    fitted    : the model of the fit; parameters are matched by name
    result    : not blinded in any parameter that moves the spectrum

    Raises NotCertified for a fit that did not converge, ConfigError if the models share no parameter.
    """
    result.require_converged()
    place = {name: j for j, name in enumerate(fitted.parameters)}
    shared = np.array([place.get(name, -1) for name in generated.parameters])
    held = shared >= 0
    if not held.any():
        raise ConfigError(
            "the generated templates and the fit share no parameter",
            kind="config.measurement",
            do="use the same nuisances in both",
        )
    prior = np.divide(1.0, generated.precision, out=np.zeros(held.size), where=generated.precision > 0)
    joint = np.diag(np.where(held, 0.0, prior))
    joint[np.ix_(held, held)] = result.cov[np.ix_(shared[held], shared[held])]
    x = generated.centre.copy()
    x[held] = result.values[shared[held]]
    before, slopes = _shares(generated, generated.centre)
    shares, response = _shares(generated, x)
    return Spectrum(
        parameters=generated.parameters, before=before, prior=(slopes * prior) @ slopes.T, shares=shares,
        cov=response @ joint @ response.T, response=response, joint=joint, held=held.astype(float),
        precision=generated.precision,
    )  # fmt: skip


def compare_spectra(first: Spectrum, second: Spectrum) -> SpectrumTest:
    """Two predictions of the same generated bins, from fits with independent counts and the same centres.

    Raises ValueError for predictions of different models.
    """
    if first.parameters != second.parameters or first.shares.size != second.shares.size:
        raise ValueError("spectra of different generated templates cannot be compared")
    both = first.joint @ (first.precision[:, None] * second.joint)
    # a constraint that neither fit has is the same unknown in both, as it stands
    across = first.response @ both @ second.response.T
    cov = first.cov + second.cov - across - across.T
    difference = first.shares - second.shares
    left = difference[:-1]
    chi2 = float(left @ np.linalg.solve(cov[:-1, :-1], left))
    return SpectrumTest(difference=difference, cov=cov, chi2=chi2)


def _shares(model: Model, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(R,) shares of the bins and (R, S) their derivatives."""
    at = objective(model, observe(model, np.zeros(model.n_bins)), "none").expand(x)
    total = at.nu.sum()
    shares = at.nu / total
    slopes = (at.jacobian - shares[:, None] * at.jacobian.sum(axis=0)) / total
    return shares, slopes
