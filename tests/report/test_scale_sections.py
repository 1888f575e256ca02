"""The scale table on the page: its weak combinations by name, and what its priors say."""

from types import SimpleNamespace

import numpy as np
import pytest

from mucal.report.page import Table
from mucal.report.scale_sections import prior_driven, prior_line, scale_section, weak_rows
from mucal.scale import ScaleTable, weak_modes
from mucal.store import Provenance

ERRORS = (1e-4, 4.9e-4, 5e-6)
PRIOR = {"e": 5e-4, "M": 1e-5}


def table(correlation: float = 0.0, free: str = "AeM") -> ScaleTable:
    """Two bins; A and e of the first are correlated."""
    sigma = np.repeat([error if name in free else 0.0 for name, error in zip("AeM", ERRORS, strict=True)], 2)
    cov = np.diag(sigma**2)
    cov[0, 2] = cov[2, 0] = correlation * sigma[0] * sigma[2]
    zeros = np.zeros(2)
    return ScaleTable(
        eta_edges=np.array([-2.4, 0.0, 2.4]), A=zeros, e=zeros, M=zeros, cov=cov, resonance="jpsi", pt_range=(4.0, 25.0)
    )


def page_tables(found: ScaleTable) -> list[Table]:
    section = scale_section(SimpleNamespace(table=found, recovery=None))
    return [item for item in section.items if isinstance(item, Table)]


def test_a_known_weak_combination_is_named_with_its_shares():
    # eigenvalues 1 +- 0.96: half of A and half of e
    value, *shares, leading = weak_rows(weak_modes(table(0.96)))[0]
    assert value == "1.96"
    assert shares == ["50 %", "50 %", "0 %"]
    assert len(leading) == len("A[-2.4, 0) 50 %, e[-2.4, 0) 50 %")
    assert all(name in leading for name in ("A[-2.4, 0) 50 %", "e[-2.4, 0) 50 %"))


def test_the_page_names_weak_combinations_and_the_condition_number():
    weak = page_tables(table(0.96))[-1]
    assert weak.fold
    assert "condition number 49" in weak.caption
    assert len(weak.rows) == 6
    assert all(name in weak.rows[0][-1] for name in ("A[-2.4, 0) 50 %", "e[-2.4, 0) 50 %"))


def test_a_parameter_that_was_held_is_in_no_combination():
    rows = page_tables(table(free="AM"))[-1].rows
    assert len(rows) == 4
    assert not any("e[" in row[-1] for row in rows)


@pytest.mark.parametrize("configuration", [{"prior": PRIOR}, {"scale": {"prior": PRIOR}}])
def test_what_a_prior_drives_is_said(configuration: dict):
    # e: 0.98 of its prior; M: half of it; as `derive` writes the configuration, and as a run does
    found = table().with_provenance(Provenance(configuration=configuration))
    assert prior_driven(found) == {"e": 2}
    (line,) = prior_line(found)
    assert line == "e (2 of 2 bins) says more of its prior than of the masses (error above 0.9 of it)"
    assert line in scale_section(SimpleNamespace(table=found, recovery=None)).items[0].text


@pytest.mark.parametrize("configuration", [{}, {"prior": {}}, {"scale": {"free": ["A", "e"]}}])
def test_nothing_is_said_without_priors(configuration: dict):
    found = table().with_provenance(Provenance(configuration=configuration))
    assert not prior_driven(found)
    assert not prior_line(found)
