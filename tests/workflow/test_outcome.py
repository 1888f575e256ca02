"""How a run ended, in words."""

import numpy as np
import pytest

from mucal.scale import ScaleTable
from mucal.workflow.outcome import beyond, failed


def test_what_compiled_code_made_of_an_interrupt_is_an_interrupt():
    error = SystemError("returned a result with an exception set")
    error.__cause__ = KeyboardInterrupt()
    assert failed(error).status == "interrupted"
    assert failed(ValueError("a")).status == "failed"


@pytest.mark.parametrize(("pt", "mark"), [(4.0, False), (25.0, False), (3.9, True), (40.0, True)])
def test_a_momentum_from_which_no_table_was_derived_is_marked(pt: float, mark: bool):
    one = np.zeros(1)
    table = ScaleTable(eta_edges=np.array([-1.0, 1.0]), A=one, e=one, M=one, cov=np.zeros((3, 3)), pt_range=(4.0, 25.0))
    assert ("extrapolated" in beyond(table, pt)) == mark
