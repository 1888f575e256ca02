"""The fit: estimates, their covariance, and whether they may be used."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from scipy.linalg import lapack
from scipy.special import chdtrc

from mucal.arrays import BoolArray, FloatArray, check_shapes
from mucal.errors import ConfigError, NotCertified, nearest
from mucal.likelihood.curvature import mirror
from mucal.likelihood.external import least
from mucal.likelihood.model import Model
from mucal.likelihood.newton import Minimum, minimise
from mucal.likelihood.objective import McStat, McStatPer, Objective, objective
from mucal.likelihood.observation import Observation, observe
from mucal.likelihood.passes import Backend
from mucal.likelihood.status import Status
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """How a model is fitted.

    mc_stat   : constraint of the finite simulation: "gamma", "normal" or "none"
    per       : its factors: one for each "bin", or one for each "process" in a bin
    frozen    : parameters held at their start, beside those of the model
    start     : parameter -> where the search begins; the centres otherwise, measured or of the model
    tolerance : EDM below which a fit has converged
    max_steps : Gauss-Newton steps
    n_threads : of the compiled passes; the result does not depend on it
    backend   : of the passes over the bins: "plain", "compiled" or "jax", which runs on a GPU where JAX has one and is
                an optional extra; "auto" is one of the first two by the size of the model.  Results agree to rounding
    """

    mc_stat: McStat = "gamma"
    per: McStatPer = "bin"
    frozen: tuple[str, ...] = ()
    start: Mapping[str, float] = field(default_factory=dict)
    tolerance: float = 1e-6
    max_steps: int = 100
    n_threads: int = 1
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        if self.mc_stat not in get_args(McStat):
            raise ConfigError(
                f"mc_stat is '{self.mc_stat}', expected {' or '.join(get_args(McStat))}", kind="config.likelihood"
            )
        if self.per not in get_args(McStatPer):
            raise ConfigError(
                f"per is '{self.per}', expected {' or '.join(get_args(McStatPer))}", kind="config.likelihood"
            )
        if self.backend not in get_args(Backend):
            raise ConfigError(
                f"backend is '{self.backend}', expected {', '.join(get_args(Backend))}", kind="config.likelihood"
            )
        if not (0 < self.tolerance < math.inf and self.max_steps > 0 and self.n_threads > 0):
            raise ConfigError("tolerance, max_steps and n_threads are above 0", kind="config.likelihood")


@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult(Result):
    """Estimates of S parameters from B bins.

    parameters : (S,) names
    pois       :      names of the parameters of interest
    groups     :      group -> names of its parameters
    values     : (S,)    NaN unless the status is OK
    cov        : (S, S)  inverse of the exact Hessian; 0 for frozen parameters, NaN unless the status is OK
    frozen     : (S,)    held at their start
    beta       : (B,) or (B, P)  factors of the finite simulation, 1 where a template is exactly known
    expected   : (B,)    expected events before beta
    nll        :         -ln L at the minimum
    external   :         the least that the external terms could give; twice nll less that tests the goodness of fit
    n_free     :         unconstrained parameters fitted
    edm        :         estimated distance to the minimum, in units of -ln L
    n_steps    :         Gauss-Newton steps
    mc_stat    :         constraint of the finite simulation
    per        :         one factor of it for each "bin" or each "process"
    blinded    :         parameters whose values carry a hidden offset
    status     :         value of `Status`
    """

    parameters: tuple[str, ...]
    pois: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    values: FloatArray
    cov: FloatArray
    frozen: BoolArray
    beta: FloatArray
    expected: FloatArray
    nll: float
    n_free: int
    edm: float
    n_steps: int
    mc_stat: McStat
    status: int
    per: McStatPer = "bin"
    external: float = 0.0
    blinded: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        s, b = len(self.parameters), self.beta.shape[0]
        check_shapes(self, values=(s,), cov=(s, s), frozen=(s,), expected=(b,))

    @property
    def saturated(self) -> float:
        """2 NLL less what external terms give at least; like chi2 of `ndof` degrees of freedom for a right model."""
        return 2.0 * (self.nll - self.external)

    @property
    def ndof(self) -> int:
        """Bins less unconstrained parameters."""
        return self.expected.size - self.n_free

    @property
    def p_value(self) -> float:
        """Goodness-of-fit probability of the saturated test."""
        return float(chdtrc(self.ndof, self.saturated))

    def value(self, name: str) -> float:
        """One estimate."""
        return float(self.values[self.place(name)])

    def error(self, name: str) -> float:
        """Its standard error."""
        j = self.place(name)
        return math.sqrt(self.cov[j, j])

    def require_converged(self) -> None:
        """Raises NotCertified, with what went wrong, unless the fit converged."""
        if self.status != Status.OK:
            raise NotCertified(
                Status(self.status).sentence,
                kind="likelihood.not_converged",
                where={"edm": f"{self.edm:.2g}", "steps": self.n_steps},
            )

    def place(self, name: str) -> int:
        """Its index.  Raises ValueError with the nearest names for an unknown one."""
        if name not in self.parameters:
            close = ", ".join(f"'{n}'" for n in nearest(name, self.parameters))
            raise ValueError(f"no parameter '{name}' in this fit; the nearest are {close or 'none'}")
        return self.parameters.index(name)


def fit(model: Model, data: Observation | FloatArray, config: FitConfig | None = None) -> FitResult:
    """The minimum of -ln L and its covariance; a fit that fails has a status and NaN.

    data : counts (B,), or an observation with centres of its own

    Raises InputError for counts or names that cannot be used.
    Source: docs/physics/likelihood.md; the model of arXiv:2412.13872.
    """
    config = config or FitConfig()
    data = data if isinstance(data, Observation) else observe(model, data)
    function = objective(model, data, config.mc_stat, config.n_threads, config.per, config.backend)
    free = model.is_free
    free[model.index(config.frozen)] = False
    start = _start(function)
    start[model.index(config.start)] = list(config.start.values())
    minimum = minimise(function, start, free, config.max_steps, config.tolerance)
    good = minimum.status == Status.OK
    of_cells = function.of_cells(minimum.expansion.profile.beta, 1.0)
    beta = of_cells if config.per == "process" else function.of_bins(minimum.expansion.profile.beta, 1.0)
    return FitResult(
        parameters=model.parameters,
        pois=model.pois,
        groups=model.groups,
        values=minimum.x if good else np.full(free.size, np.nan),
        cov=_covariance(minimum, free) if good else np.full((free.size, free.size), np.nan),
        frozen=~free,
        beta=beta if good else np.full(beta.shape, np.nan),
        expected=minimum.expansion.nu if good else np.full(model.n_bins, np.nan),
        nll=minimum.value if good else math.nan,
        n_free=int((free & (model.precision == 0)).sum()),
        edm=minimum.edm,
        n_steps=minimum.n_steps,
        mc_stat=config.mc_stat,
        status=int(minimum.status),
        per=config.per,
        external=sum(least(term) for term in model.external),
    )


def _start(function: Objective) -> FloatArray:
    """(S,) the measured centres, or the model's where they fit better: a toy's counts know nothing of its centres."""
    measured, expected = function.observation.centre, function.model.centre
    if np.array_equal(measured, expected):
        return measured.copy()
    return min((measured, expected), key=lambda x: function.value_and_gradient(x)[0]).copy()


def _covariance(minimum: Minimum, free: BoolArray) -> FloatArray:
    """H^-1 of the free parameters, 0 for the others."""
    inverse, _ = lapack.dpotri(minimum.factor, lower=1)
    mirror(inverse)
    if free.all():
        return np.ascontiguousarray(inverse.T)
    cov = np.zeros((free.size, free.size))
    cov[np.ix_(free, free)] = inverse
    return cov


def function_of(model: Model, data: Observation | FloatArray, result: FitResult, n_threads: int = 1) -> Objective:
    """The function whose minimum a result is.

    Raises NotCertified for a fit that did not converge, and for blinded estimates, at which nothing can be worked out.
    """
    result.require_converged()
    if result.blinded:
        raise NotCertified(
            f"the estimates of {', '.join(result.blinded)} are blinded",
            kind="likelihood.blinded",
            do="work out impacts, scans and predictions with the result before it is blinded",
        )
    data = data if isinstance(data, Observation) else observe(model, data)
    return objective(model, data, result.mc_stat, n_threads, result.per)


def expected_events(model: Model, values: FloatArray | None = None) -> FloatArray:
    """Expected events of all processes (B,), at the centres or at given parameters: the Asimov data."""
    x = model.centre if values is None else np.asarray(values, dtype=float)
    return objective(model, observe(model, np.zeros(model.n_bins)), "none").expand(x).nu
