"""Terms of -ln L that come from elsewhere: the outcome of another fit as a gradient and a Hessian."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import InputError
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Quadratic(Result):
    """g x + x H x / 2 in some of the parameters, added to -ln L beside their own constraints.

    name       : of the term; its global impact is listed under it
    parameters : (E,) names
    gradient   : (E,)    g, at x = 0
    hessian    : (E, E)  H, symmetric

    The covariance of what was measured elsewhere is H^-1, its result -H^-1 g: see `from_estimate`.
    """

    name: str
    parameters: tuple[str, ...]
    gradient: FloatArray
    hessian: FloatArray

    def __post_init__(self) -> None:
        e = len(self.parameters)
        check_shapes(self, gradient=(e,), hessian=(e, e))
        if len(set(self.parameters)) != e:
            raise InputError(f"external term '{self.name}' names a parameter twice", kind="likelihood.external")
        if not (np.all(np.isfinite(self.gradient)) and np.all(np.isfinite(self.hessian))):
            raise InputError(f"external term '{self.name}' is not finite", kind="likelihood.external")
        skew = np.abs(self.hessian - self.hessian.T).max(initial=0.0)
        if skew > 1e-9 * np.abs(self.hessian).max(initial=0.0):
            raise InputError(
                f"the Hessian of external term '{self.name}' differs from its transpose by {skew:.3g}",
                kind="likelihood.external",
                do="pass (H + H^T) / 2 if that is rounding",
            )


def from_estimate(name: str, parameters: tuple[str, ...], values: FloatArray, cov: FloatArray) -> Quadratic:
    """The term of a measurement elsewhere: (x - values) cov^-1 (x - values) / 2, without its constant.

    values : (E,)
    cov    : (E, E)  positive definite
    """
    try:
        root = np.linalg.cholesky(cov)
    except np.linalg.LinAlgError as error:
        raise InputError(
            f"the covariance of external term '{name}' is not positive definite", kind="likelihood.external"
        ) from error
    half = np.linalg.inv(root)
    hessian = half.T @ half
    return Quadratic(name=name, parameters=parameters, gradient=-hessian @ values, hessian=hessian)


def least(term: Quadratic) -> float:
    """The smallest value of a term, -g H^-1 g / 2; 0 if it has none (H not positive definite)."""
    try:
        half = np.linalg.solve(np.linalg.cholesky(term.hessian), term.gradient)
    except np.linalg.LinAlgError:
        return 0.0
    return -0.5 * float(half @ half)
