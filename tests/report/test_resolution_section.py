"""The resolution on the page."""

from types import SimpleNamespace

import numpy as np

from mucal.report.page import Table
from mucal.report.resolution_section import resolution_section
from mucal.scale import DScan, ResolutionTable


def table(by_d: DScan | None = None) -> ResolutionTable:
    return ResolutionTable(
        eta_edges=np.array([-2.4, 0.0, 2.4]), a=np.full(2, 1e-4), b=np.full(2, 1e-5), c=np.full(2, 3e-8),
        d=np.full(2, 370.0), cov=np.diag(np.repeat([1e-12, 1e-12, 1e-18], 2)), chi2=10.0, ndf=9, pt_range=(4.0, 80.0),
        by_d=by_d,
    )  # fmt: skip


def tables(data: ResolutionTable) -> list[Table]:
    section = resolution_section(SimpleNamespace(resolution=data, resolution_mc=table()))
    return [item for item in section.items if isinstance(item, Table)]


def test_the_page_shows_a_scan_of_d():
    scan = DScan(
        d=np.array([10.0, 370.0]), pt=np.array([8.0, 40.0]), sigma=np.array([[0.01, 0.0198], [0.01, 0.0202]]),
        error=np.full((2, 2), 1e-4), chi2=np.array([19.0, np.nan]),
    )  # fmt: skip
    (found,) = tables(table(scan))
    assert found.head == ["At pT", "d = 10 GeV²", "d = 370 GeV²", "Spread", "Statistical error"]
    assert found.rows[0] == ["8 GeV", "1 %", "1 %", "0 %", "1 %"]
    assert found.rows[1] == ["40 GeV", "1.98 %", "2.02 %", "2 %", "0.505 %"]
    assert found.rows[2][:3] == ["χ²", "19.0", "–"]
    assert "data" in found.caption


def test_there_is_no_table_without_a_scan():
    assert not tables(table())
