"""A page writes what a physicist writes: J/ψ, η of μ⁺, and momenta beyond a table marked as such."""

import numpy as np
import pytest

from mucal.report.run_results import resonance_name, variable_name
from mucal.report.scale_sections import recovery_section
from mucal.scale import ScaleTable
from mucal.scale.recovery import compare
from mucal.theory import RESONANCES


@pytest.mark.parametrize(("name", "text"), [
    ("eta_plus", "η of μ⁺"), ("eta_minus", "η of μ⁻"), ("max_abs_eta", "max |η|"), ("run_number", "run number"),
])  # fmt: skip
def test_variables_have_their_usual_names(name: str, text: str):
    assert variable_name(name) == text


def test_no_resonance_is_written_in_tex():
    assert resonance_name("jpsi") == "J/ψ"
    assert not any("$" in resonance_name(name) or "\\" in resonance_name(name) for name in RESONANCES)
    assert resonance_name("mine") == "mine"


def test_momenta_beyond_the_table_are_marked():
    x = np.full(4, 1e-3)
    table = ScaleTable(
        eta_edges=np.linspace(-2.4, 2.4, 5), A=x, e=x, M=0 * x, cov=np.diag(np.repeat([1e-8, 1e-6, 0.0], 4)),
        resonance="jpsi", pt_range=(4.0, 25.0),
    )  # fmt: skip
    averages = recovery_section(compare(table, table)).items[-1]
    assert [row[0] for row in averages.rows] == ["8 GeV", "40 GeV, extrapolated"]
    assert "derived from muons of 4 to 25 GeV" in averages.caption
