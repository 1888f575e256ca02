"""The result of a solve: what to add to the field, the material and the alignment, and how well it is known."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.detector import Detector, displaced
from mucal.detector.field import with_modes
from mucal.globalcor.registry import Registry
from mucal.globalcor.system import ParameterStatus
from mucal.store import Result

PRIOR_DRIVEN: Final = 0.9
"""Error over prior width above which a result says more of the prior than of the tracks."""

CONVERGED: Final = 0.1
"""Largest step of an outer iteration, in errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalCorrections(Result):
    """The total corrections theta of P parameters.

    registry     :        names, units, priors and where each acts
    theta        : (P,)   total correction; a frozen parameter keeps what was applied
    step         : (P,)   what this solve added
    error        : (P,)   of theta; NaN where it was not asked for, the prior width of frozen parameters
    conditional  : (P,)   error if the parameters of other blocks were known: a lower bound; NaN for frozen ones
    status       : (P,)   `ParameterStatus`
    covariance   : (F, F) of the free parameters in their order, or (0, 0)
    factor       : (P, k) columns with factor factor^T = the covariance in the softest directions, or (P, 0)
    replicas     : (R, P) deviates of theta from its covariance, or (0, P)
    jackknife    : (P,)   error from the scatter of parts of the sample, NaN if not asked for
    probes       : (m, m) covariance of the linear functions asked for
    chi2_drop    :        predicted, priors included
    chi2, ndof   :        of the candidates at the linearisation point
    n_candidates :
    method       :        dense, sparse or iterative
    residual     :        |b - A y| / |b| of the linear system
    iterations   :        0 for a direct method
    """

    registry: Registry
    theta: FloatArray
    step: FloatArray
    error: FloatArray
    conditional: FloatArray
    status: IntArray
    covariance: FloatArray
    factor: FloatArray
    replicas: FloatArray
    jackknife: FloatArray
    probes: FloatArray
    chi2_drop: float
    chi2: float
    ndof: float
    n_candidates: int
    method: str
    residual: float
    iterations: int

    def __post_init__(self) -> None:
        p = len(self.registry)
        each = ("theta", "step", "error", "conditional", "status", "jackknife")
        check_shapes(self, **dict.fromkeys(each, (p,)))
        check_shapes(self, factor=(p, self.factor.shape[1]), replicas=(self.replicas.shape[0], p))

    @property
    def digest(self) -> str:
        """Of the registry."""
        return self.registry.map.digest

    @property
    def free(self) -> BoolArray:
        """(P,) whether a parameter was fitted"""
        free: BoolArray = self.status == ParameterStatus.FREE
        return free

    @property
    def error_over_prior(self) -> FloatArray:
        """(P,) 1 where the tracks add nothing; 0 without a prior, NaN without an error"""
        ratio: FloatArray = self.error / self.registry.prior
        return ratio

    @property
    def prior_driven(self) -> BoolArray:
        """(P,) whether a result says more of its prior than of the tracks"""
        driven: BoolArray = self.free & (self.error_over_prior > PRIOR_DRIVEN)
        return driven

    def frozen(self, status: ParameterStatus) -> tuple[str, ...]:
        """Names of the parameters with a status."""
        return tuple(self.registry.names[i] for i in np.flatnonzero(self.status == status))

    def outer_converged(self) -> bool:
        """Whether no other refit is needed: steps below a tenth of the errors, predicted chi2 drop below 1."""
        error = np.where(np.isfinite(self.error), self.error, self.conditional)
        steps = np.abs(self.step[self.free]) / error[self.free]
        return bool(steps.max(initial=0.0) < CONVERGED and self.chi2_drop < 1.0)

    def to_detector(self, detector: Detector) -> Detector:
        """The corrected detector: modules moved by the alignment, modes added to the field.

        detector : the one that the registry was made for, without corrections

        Offsets of legs and losses are no part of a detector: `Refit(theta=...)` applies them, as all corrections.
        Raises ValueError for another detector, or field modes on a detector without a field.
        """
        return corrected(self.registry, self.theta, detector)

    def summary(self) -> list[str]:
        """A few lines for people."""
        lines = [
            f"{int(self.free.sum())} of {len(self.registry)} parameters fitted to {self.n_candidates} candidates "
            f"({self.method}); predicted chi2 drop {self.chi2_drop:.1f}, chi2/ndof {self.chi2 / max(self.ndof, 1):.4f}"
        ]
        for status in (ParameterStatus.NO_INFORMATION, ParameterStatus.FEW_ENTRIES, ParameterStatus.FIXED):
            names = self.frozen(status)
            if names:
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                lines.append(f"{len(names)} frozen, {status.sentence}: {', '.join(names[:3])}{more}")
        lines += self._mass_line()
        driven = int(self.prior_driven.sum())
        if driven:
            lines.append(f"{driven} say more of their prior than of the tracks (error above {PRIOR_DRIVEN:g} of it)")
        return lines

    def _mass_line(self) -> list[str]:
        """What is assumed of the mean mass, where its error is part of the covariance."""
        chosen = np.flatnonzero(self.registry.of_kind("mass") & self.free)
        width = 1e3 * self.registry.prior[chosen]
        return [f"the assumed mean mass is known to {w:.3g} MeV, which the covariance holds" for w in width]


def values_at(index: IntArray, theta: FloatArray) -> FloatArray:
    """theta where an index of the parameter map names a parameter, 0 where it names none; the shape of the index."""
    values: FloatArray = np.where(index >= 0, np.append(theta, 0.0)[index], 0.0)
    return values


def corrected(registry: Registry, theta: FloatArray, detector: Detector) -> Detector:
    """A detector with its modules moved, and modes added to its field, by theta (P,); see `GlobalCorrections`."""
    if detector.name != registry.detector or detector.n_modules != registry.map.alignment.shape[0]:
        raise ValueError(
            f"these corrections are of '{registry.detector}' with {registry.map.alignment.shape[0]} "
            f"modules, not of '{detector.name}' with {detector.n_modules}"
        )
    moved = replace(detector, modules=displaced(detector.modules, values_at(registry.map.alignment, theta)))
    if registry.modes is None:
        return moved
    if detector.field is None:
        raise ValueError(f"'{detector.name}' has no field to correct")
    return replace(moved, field=with_modes(detector.field, registry.modes, values_at(registry.map.modes, theta)))
