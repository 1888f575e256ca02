"""How pass/fail fits are made."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mucal.errors import ConfigError, nearest

SHAPES: Final = ("shift", "ln_width", "n_b", "alpha", "ln_beta", "gamma", "ln_tau", "logit_tail")
CATEGORIES: Final = ("pass", "fail")
PARAMETERS: Final = ("eff", "ln_n", *(f"{name}_{category}" for category in CATEGORIES for name in SHAPES))
"""In the order of `Efficiencies.values`: GeV and 1/GeV; yields in events."""

DEFAULT_CONSTRAINTS: Final[Mapping[str, tuple[float, float]]] = {
    "shift": (0.0, 2.0),  # a category of a few events has no peak that could be measured
    "ln_width": (math.log(0.8), 0.7),
    "alpha": (65.0, 10.0),
    "ln_beta": (math.log(0.07), 0.5),
    "gamma": (0.03, 0.04),
    "ln_tau": (math.log(3.0), 0.5),
    "logit_tail": (-2.0, 1.0),
}
"""Shape -> mean and sigma of a weak Gaussian constraint, in both categories."""

START: Final[Mapping[str, float]] = {name: mean for name, (mean, _) in DEFAULT_CONSTRAINTS.items()}
BOXES: Final[Mapping[str, tuple[float, float]]] = {
    "shift": (-5.0, 5.0),
    "ln_width": (math.log(0.1), math.log(10.0)),
    "alpha": (0.0, 200.0),
    "ln_beta": (math.log(0.005), math.log(1.0)),
    "gamma": (-1.0, 1.0),
    "ln_tau": (math.log(0.3), math.log(15.0)),
    "logit_tail": (-12.0, 5.0),
}
LARGEST_STEPS: Final[Mapping[str, float]] = {
    "shift": 1.0, "ln_width": 0.5, "alpha": 5.0, "ln_beta": 0.5, "gamma": 0.05, "ln_tau": 0.5, "logit_tail": 1.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """Model, constraints and stopping rule of `measure`.

    signal          : "template", simulated masses smeared by a Gaussian; "analytic", the Z line with radiation smeared
                      by a Gaussian with a tail to low masses
    background_pass : "exponential", or "turn_on" (erfc times exponential)
    background_fail : likewise
    fixed           : parameter -> value at which it is held
    constraints     : parameter -> (mean, sigma) in the place of its default; sigma = inf removes it
    min_probes      : a bin with fewer is not fitted (LOW_STATS)
    intervals       : also the 68 % interval of the profile likelihood
    tolerance       : estimated distance to the minimum, in -2 ln L, at which a fit has converged
    max_steps       : of one start
    neighbours      : a fit that fails is tried again from the shapes of the nearest bins that did not
    min_p_value     : a fit with a smaller goodness-of-fit probability is marked BAD_GOF (its numbers are kept)
    """

    signal: Literal["template", "analytic"] = "template"
    background_pass: Literal["exponential", "turn_on"] = "exponential"
    background_fail: Literal["exponential", "turn_on"] = "turn_on"
    fixed: Mapping[str, float] = field(default_factory=dict)
    constraints: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    min_probes: int = 50
    intervals: bool = False
    tolerance: float = 1e-6
    max_steps: int = 200
    neighbours: bool = True
    min_p_value: float = 1e-6

    def __post_init__(self) -> None:
        for key, options in (
            ("signal", ("template", "analytic")),
            ("background_pass", ("exponential", "turn_on")),
            ("background_fail", ("exponential", "turn_on")),
        ):
            if getattr(self, key) not in options:
                raise _wrong(key, f"= '{getattr(self, key)}'", " or ".join(f"'{one}'" for one in options))
        for key, names in (("fixed", self.fixed), ("constraints", self.constraints)):
            for name in names:
                if name not in PARAMETERS:
                    raise _wrong(key, f"names '{name}'", "a parameter, as " + ", ".join(nearest(name, PARAMETERS)))
        for name, (mean, sigma) in self.constraints.items():
            if not (math.isfinite(mean) and sigma > 0):
                raise _wrong(f"constraints.{name}", f"= ({mean}, {sigma})", "a finite mean and a sigma above 0")
        if not 0 < self.tolerance < 1:
            raise _wrong("tolerance", f"= {self.tolerance}", "a number between 0 and 1")
        if self.min_probes < 1 or self.max_steps < 1:
            raise _wrong("min_probes", f"= {self.min_probes}, max_steps = {self.max_steps}", "numbers from 1 on")

    def unused(self, name: str) -> bool:
        """Whether the model does without that parameter."""
        shape, _, category = name.rpartition("_")
        if shape in ("alpha", "ln_beta"):
            return bool(getattr(self, f"background_{category}") != "turn_on")
        return shape in ("ln_tau", "logit_tail") and self.signal != "analytic"

    def constraint(self, name: str) -> tuple[float, float] | None:
        """(mean, sigma) of the constraint on one parameter, or None."""
        default = DEFAULT_CONSTRAINTS.get(name.rpartition("_")[0], (0.0, math.inf))
        mean, sigma = self.constraints.get(name, default)
        return (mean, sigma) if math.isfinite(sigma) else None


def _wrong(key: str, found: str, expected: str) -> ConfigError:
    return ConfigError(f"efficiency.{key} {found}; expected {expected}", kind="config.efficiency", where={"key": key})
