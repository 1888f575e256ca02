"""How the batch of mass fits is made."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from mucal.errors import ConfigError, nearest
from mucal.theory import resonance

PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    "template": ("ln_n", "ln_s", "ln_sigma", "logit_f", "slope"),
    "morphing": ("ln_n", "ln_s", "variance", "logit_f", "slope"),
    "dscb": ("ln_n", "ln_s", "ln_sigma", "logit_f", "slope", "ln_alpha_l", "ln_alpha_r"),
}
"""Model -> names of its parameters, in the order of `MassFits.values`."""

DEFAULT_CONSTRAINTS: Final[Mapping[str, tuple[float, float]]] = {
    "slope": (0.0, 5.0),  # keeps a background of a few events from taking any shape
    "ln_alpha_l": (math.log(1.5), 0.5),  # a tail that begins outside the window is otherwise undetermined
    "ln_alpha_r": (math.log(1.5), 0.5),
}


LARGEST_FIXED: Final = 100.0
"""Every parameter is a logarithm, a logit or a slope over the window: larger values overflow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """Model, constraints and stopping rule of `fit_bins`.

    resonance    : name in the table of `theory.pdg`; scales are relative to its mass
    model        : "template", post-radiation spectrum smeared by a Gaussian; "dscb", double-sided Crystal Ball;
                   "morphing", the simulated spectrum of the bin, moved and widened: ln s and the squared relative
                   width ("variance") are then those of data against simulation
    fixed        : parameter -> value at which it is held in every bin
    constraints  : parameter -> (mean, sigma) of a Gaussian constraint, added to those of `DEFAULT_CONSTRAINTS`, which
                   it replaces name by name; sigma = inf removes one
    start        : parameter -> value where the fit of every bin begins; the others begin at what the spectrum says
    n_l, n_r     : powers of the Crystal Ball tails, above 1
    min_events   : a bin with fewer is not fitted (LOW_STATS)
    tolerance    : estimated distance to the minimum at which a fit has converged, in units of -2 ln L
    max_steps    : steps of one attempt
    max_attempts : starts tried, 1 to 4
    min_p_value  : a fit with a smaller goodness-of-fit probability is marked BAD_GOF (its numbers are kept)
    """

    resonance: str = "jpsi"
    model: Literal["template", "dscb", "morphing"] = "template"
    fixed: Mapping[str, float] = field(default_factory=dict)
    constraints: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    start: Mapping[str, float] = field(default_factory=dict)
    n_l: float = 3.0
    n_r: float = 3.0
    min_events: int = 500
    tolerance: float = 1e-6
    max_steps: int = 60
    max_attempts: int = 4
    min_p_value: float = 1e-6

    def __post_init__(self) -> None:
        resonance(self.resonance)
        if self.model not in PARAMETERS:
            raise _wrong("model", f"'{self.model}'", " or ".join(f"'{name}'" for name in PARAMETERS))
        known = PARAMETERS[self.model]
        for key, names in (("fixed", self.fixed), ("constraints", self.constraints), ("start", self.start)):
            for name in names:
                if name not in known:
                    near = ", ".join(nearest(name, known) or known)
                    raise _wrong(key, f"names '{name}'", f"a parameter of the model '{self.model}', as {near}")
        for key, values in (("fixed", self.fixed), ("start", self.start)):
            for name, value in values.items():
                if not abs(value) <= LARGEST_FIXED:
                    raise _wrong(f"{key}.{name}", f"= {value}", f"at most {LARGEST_FIXED:g} up or down")
        for name, (mean, sigma) in self.constraints.items():
            if not (math.isfinite(mean) and sigma > 0):
                raise _wrong(f"constraints.{name}", f"= ({mean}, {sigma})", "a finite mean and a sigma above 0")
        for key, value, low, high in (
            ("n_l", self.n_l, 1.0, 1000.0),
            ("n_r", self.n_r, 1.0, 1000.0),
            ("tolerance", self.tolerance, 1e-14, 1.0),
        ):
            if not low < value < high:
                raise _wrong(key, f"= {value}", f"a number between {low:g} and {high:g}")
        for key, count, least, most in (
            ("min_events", self.min_events, 1, None),
            ("max_steps", self.max_steps, 1, None),
            ("max_attempts", self.max_attempts, 1, 4),
        ):
            if count < least or (most is not None and count > most):
                raise _wrong(key, f"= {count}", f"at least {least}" + (f", at most {most}" if most else ""))
        if not 0.0 <= self.min_p_value < 1.0:
            raise _wrong("min_p_value", f"= {self.min_p_value}", "a probability below 1")

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the model's parameters."""
        return PARAMETERS[self.model]

    def with_model(self, model: Literal["template", "dscb", "morphing"]) -> "BatchConfig":
        """The same with another model; values of parameters that it does not have are left out."""
        known = PARAMETERS[model]
        fixed, start = ({k: v for k, v in values.items() if k in known} for values in (self.fixed, self.start))
        constraints = {k: v for k, v in self.constraints.items() if k in known}
        return replace(self, model=model, fixed=fixed, constraints=constraints, start=start)

    def constraint(self, name: str) -> tuple[float, float] | None:
        """(mean, sigma) of the constraint on one parameter, or None."""
        mean, sigma = self.constraints.get(name, DEFAULT_CONSTRAINTS.get(name, (0.0, math.inf)))
        return (mean, sigma) if math.isfinite(sigma) else None


def _wrong(key: str, found: str, expected: str) -> ConfigError:
    return ConfigError(f"massfit.{key} {found}; expected {expected}", kind="config.massfit", where={"key": key})
