"""The passes over the bins, compiled; imported where a model is large enough to wait for that."""

from typing import Final

from numba import njit
from numba.extending import register_jitable

from mucal.likelihood import kernels, simulation_kernels
from mucal.likelihood.passes import Passes

for _part in (
    simulation_kernels.excess, simulation_kernels.pull_normal, simulation_kernels.pull_gamma,
    simulation_kernels.profiled, kernels.exponent, kernels.add_row, kernels.alike, kernels.add_rows,
):  # fmt: skip
    register_jitable(nogil=True, error_model="numpy")(_part)

COMPILED: Final = Passes(
    *(
        njit(cache=True, nogil=True, error_model="numpy")(function)
        for function in (
            kernels.value_and_gradient, kernels.shapes, kernels.jacobian, kernels.along, simulation_kernels.profile_all,
        )
    )
)  # fmt: skip
