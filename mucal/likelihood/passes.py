"""The passes over the bins, as they stand or compiled: a model of ten bins is fitted before a compiler is imported.

One source serves both: `kernels` and `simulation_kernels` are plain functions, which `compiled` compiles as they are.
Who asks for it gets the same from JAX (`jax_passes`), on a GPU where there is one; nothing else chooses that.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final, Literal

import numpy as np

from mucal.errors import ConfigError
from mucal.likelihood import kernels
from mucal.likelihood.kernels import Table
from mucal.likelihood.simulation_kernels import profile_all

Backend = Literal["auto", "plain", "compiled", "jax"]
SMALL: Final = 2000
"""Numbers to be read in a pass, a cell counting as `PER_CELL`, up to which it is made in Python: 2 ms, when importing
and loading what is compiled takes a second."""
PER_CELL: Final = 16


@dataclass(frozen=True, slots=True)
class Passes:
    """The functions of `kernels` of the same names, and `simulation_kernels.profile_all`.

    n_parts : into how many parts the bins may be cut, each a call
    """

    value_and_gradient: Callable[..., Any]
    shapes: Callable[..., Any]
    jacobian: Callable[..., Any]
    along: Callable[..., Any]
    profile_all: Callable[..., Any]
    n_parts: int = field(default=16, kw_only=True)


PLAIN: Final = Passes(
    *(
        np.errstate(all="ignore")(function)
        for function in (kernels.value_and_gradient, kernels.shapes, kernels.jacobian, kernels.along, profile_all)
    )
)


def compiled_passes() -> Passes:
    """Compiled, or loaded from the cache."""
    found: Passes = import_module("mucal.likelihood.compiled").COMPILED
    return found


def passes_for(table: Table) -> Passes:
    """Those that are done first, once: a function of the size alone, so that the same model always takes the same."""
    size = table.kappa.size + table.eta.size + PER_CELL * table.process.size
    return PLAIN if size <= SMALL else compiled_passes()


def passes_of(backend: Backend, table: Table, n_processes: int) -> Passes:
    """Those asked for; "auto" is `passes_for`.

    Raises ConfigError for "jax" where JAX is not installed.
    """
    if backend == "plain":
        return PLAIN
    if backend == "compiled":
        return compiled_passes()
    if backend == "auto":
        return passes_for(table)
    try:
        module = import_module("mucal.likelihood.jax_passes")
    except ImportError as error:
        raise ConfigError(
            f"the backend 'jax' of a fit needs JAX: {error}", kind="config.missing_extra",
            do='pip install "mucal[gpu]", for a GPU also the plugin that JAX names for it; or backend="auto"',
        ) from error  # fmt: skip
    found: Passes = module.jax_passes(table, n_processes)
    return found
