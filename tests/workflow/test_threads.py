"""The number of threads is bounded while a command runs."""

import numba
import pytest

from mucal.workflow.threads import at_most


@pytest.mark.parametrize("asked", [None, 1, 10_000])
def test_threads_are_bounded_inside_and_as_before_outside(asked: int | None):
    before = numba.get_num_threads()
    with at_most(asked):
        assert numba.get_num_threads() == (1 if asked == 1 else before)
    assert numba.get_num_threads() == before
