"""Sections beside the chain: efficiencies, impacts by published source, the named uncertainties, W masses."""

from dataclasses import replace

import numpy as np
import pytest

from mucal.efficiency import Efficiencies, ProbeHistograms, SmoothConfig, Status, count_efficiencies, scale_factors
from mucal.likelihood import Impacts
from mucal.plot.closing import WShift
from mucal.report import UncertaintyModel, uncertainty_section
from mucal.report.cross_check_section import cross_check_lines, cross_check_section
from mucal.report.efficiency_section import efficiency_section
from mucal.report.published_impacts import published_impacts_section
from mucal.report.world_section import closure_masses
from mucal.scale import Inflation, ScaleTable
from mucal.scale.inflation import Asked
from mucal.theory import resonance
from mucal.wmass.published import BREAKDOWN, CALIBRATION, TOTALS
from mucal.wmass.world import MEASURED


def impacts(poi: str, kind: str) -> Impacts:
    groups = {"jpsi_stat": 0.03, "zclosure_stat": 0.04, "pdf": 0.02, "mine": 0.01}
    return Impacts(
        poi=poi, parameters=(poi,), total=0.06, single=np.array([1.0]), groups=groups, data_stat=0.01, mc_stat=0.005,
        kind=kind,
    )  # fmt: skip


def test_groups_of_a_calibration_join_the_published_row():
    (table,) = published_impacts_section("fit.h5", impacts("mass", "nominal"), impacts("mass", "global")).items
    rows = {row[0]: list(row[1:]) for row in table.rows}
    # 0.03 and 0.04 of 100 MeV together; nominal impacts of two groups do not add
    assert rows["muon momentum scale"][:3] == ["2", "–", "5"]
    assert rows["muon momentum scale"][3:5] == [f"{BREAKDOWN['m_W nominal'][0]:g}", f"{BREAKDOWN['m_W global'][0]:g}"]
    assert rows["PDF"][:3] == ["1", "2", "2"]
    assert rows["mine"][3:] == ["–"] * 4
    assert rows["total"][3] == f"{TOTALS['m_W nominal']:g}"


def test_impacts_on_something_else_have_no_published_row():
    assert not published_impacts_section("fit.h5", impacts("mu", "nominal"), impacts("mu", "global")).items


def test_uncertainties_stand_beside_the_published_numbers():
    model = UncertaintyModel(
        groups=("jpsi_stat", "pixel_mult"), counts=np.array([144, 49]), factors=np.array([2.1, 1.0]),
        w_impact=np.array([3.0, np.nan]), sources=("modes", "weights"),
    )  # fmt: skip
    assert model.line == "193 nuisances: jpsi_stat 144, pixel_mult 49"
    table, sources = uncertainty_section(model).items
    assert sources.rows == [["jpsi_stat", "modes"], ["pixel_mult", "weights"]]
    assert list(table.rows[0][:6]) == ["jpsi_stat", "144", "2.1", "3.0", str(CALIBRATION["J/psi stat"][1]), "3.7"]
    assert table.rows[1][3] == "–"
    assert table.rows[-1][3] == "3.0"
    assert not uncertainty_section(None).items


def test_factors_that_closures_ask_for_stand_beside_the_applied_one():
    def asked_by(chi2: float, ndf: int, p_value: float, factor: float) -> Asked:
        return Asked(chi2=chi2, ndf=ndf, p_value=p_value, factor=factor)

    asked = Inflation(
        together=asked_by(90.0, 48, 2e-4, 2.0), even=asked_by(20.0, 24, 0.7, 0.0), odd=asked_by(70.0, 24, 2e-6, np.inf),
        each=(asked_by(90.0, 48, 2e-4, 2.2), asked_by(0.0, 0, 1.0, 0.0)), resonances=("z", "upsilon1s"),
        direction_even=0.0, direction_odd=1.5,
    )  # fmt: skip
    model = UncertaintyModel(
        groups=("jpsi_stat",), counts=np.array([144]), factors=np.array([2.1]), w_impact=np.array([3.0]),
        sources=("modes",), inflation=asked,
    )  # fmt: skip
    _, table, _ = uncertainty_section(model).items
    assert [row[3] for row in table.rows] == ["2.00", "0.00", "none is enough", "2.20", "0.00", "1.50", "2.10"]
    assert list(table.rows[0]) == ["all", "90.0 / 48", "0.0002", "2.00"]
    assert model.uncovered.endswith("multiplied by 2.1; what z and upsilon1s find asks for up to inf")
    covered = replace(model, inflation=replace(asked, odd=asked_by(70.0, 24, 0.06, np.inf)))
    assert covered.inflation.largest == 2.2
    assert covered.uncovered.endswith("find asks for up to 2.2")
    applied = replace(covered, factors=np.array([2.2]))
    assert applied.uncovered == ""


def test_a_table_without_its_priors_is_shown_beside_it():
    b = 2
    free = ScaleTable(
        eta_edges=np.array([-1.0, 0.0, 1.0]), A=np.array([1e-4, 0.0]), e=np.zeros(b), M=np.array([2e-5, -3e-5]),
        cov=np.diag([4e-8, 4e-8, 0.0, 0.0, 1e-10, 9e-10]), chi2=3.0, ndf=2,
    )  # fmt: skip
    text, table = cross_check_section(free, None, None, free).items
    assert "A to 20·10⁻⁵, M to 2·10⁻⁵/GeV" in text.text
    assert list(table.head) == ["η", "A [10⁻⁵]", "M [10⁻⁵/GeV]"]
    assert table.rows == [["-1 to 0", "+10.0 ± 20.0", "+2.0 ± 1.0"], ["0 to 1", "+0.0 ± 20.0", "-3.0 ± 3.0"]]
    (line,) = cross_check_lines(free, None, None, free)
    assert line == "without priors: A to 20 1e-5, M to 2 1e-5/GeV (median errors of a bin)"
    assert not cross_check_section(free, None, None).items


def test_the_closure_of_the_w_is_the_generated_mass_plus_its_shift():
    found = WShift(
        muons=10, shift=np.array([[-100.0, 4.0, 1.0], [0.0, 0.0, 0.0]]), error=np.full((2, 3), 3.0),
        calibration_error=np.array([[0.0, 4.0, 4.0], [0.0, 0.0, 0.0]]),
    )  # fmt: skip
    globally, calibrated = closure_masses(found)
    generated = 1e3 * resonance("w").mass
    assert (globally.mass, calibrated.mass) == pytest.approx((generated + 4.0, generated + 1.0))
    assert calibrated.error == pytest.approx(5.0)


def test_published_masses_average_without_cdf_to_the_pdg_value():
    # PDG 2024 (note on the W mass): 80 369.2 +- 13.3 MeV is the average of LEP, Tevatron before 2022, LHCb and ATLAS
    # as of 2023; with ATLAS 2024 and CMS it is pulled down. Weights alone, correlations left out: within 1 sigma of it
    chosen = [one for one in MEASURED if one.name in ("LEP", "D0", "LHCb", "ATLAS")]
    weights = np.array([one.error**-2.0 for one in chosen])
    mean = float(np.sum(weights * [one.mass for one in chosen]) / weights.sum())
    assert abs(mean - 80369.2) < 13.3


@pytest.fixture(scope="module")
def counted() -> Efficiencies:
    edges, shape = np.linspace(60.0, 120.0, 13), (4, 6, 2, 1)
    eff = np.broadcast_to(np.linspace(0.8, 0.95, 6)[None, :, None, None], shape).reshape(-1)
    counts = np.stack([eff, 1 - eff], axis=1)[:, :, None] * np.full(12, 100.0)
    pt = np.tile(np.repeat(np.linspace(28.5, 53.5, 6), 2), 4)
    found = count_efficiencies(
        ProbeHistograms(
            step="trigger", eta_edges=np.linspace(-2.4, 2.4, 5), pt_edges=np.linspace(26, 56, 7),
            ut_edges=np.array([-np.inf, np.inf]), mass_edges=edges, by_charge=True, counts=counts, sumw2=counts,
            pt_sum=counts.sum(axis=(1, 2)) * pt,
        )
    )  # fmt: skip
    status, values = found.status.copy(), found.values.copy()
    status[5], values[5] = Status.LOW_STATS, np.nan
    return replace(found, status=status, values=values)


def test_efficiencies_are_drawn_and_failed_bins_named(counted: Efficiencies):
    factors = scale_factors(counted, counted, SmoothConfig(degree_pt=1))
    surface, measured, table = efficiency_section({"sf.h5": factors}, {"data.h5": counted}).items
    assert surface.caption.startswith("sf.h5: ")
    assert measured.caption.startswith("data.h5: ")
    (row,) = table.rows
    assert list(row[:4]) == ["data.h5", "trigger", "48", "47"]
    assert row[4] == f"{float(np.mean(counted.eff[counted.usable])):.4f}"
    assert row[5] == "trigger: eta -2.4 to -1.2, pt 36 to 41 GeV, charge +1 (low_stats)"
    assert not efficiency_section({}, {}).items
