"""Nuisances beyond the published model: sizes ad hoc, and what other choices of a calibration change."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration, CalibrationConfig, assemble, certify, load
from mucal.calibration.raw import without_factors
from mucal.errors import ConfigError
from mucal.io import write_bundle
from mucal.io.wremnants import labels, write_wremnants
from mucal.scale import ScaleTable
from mucal.scale.inflation import pattern_factor


def config(**changes) -> CalibrationConfig:
    return CalibrationConfig(pt_definition="refit", **changes)


def moved(table: ScaleTable, A: float = 0.0, e: float = 0.0, M: float = 0.0) -> ScaleTable:
    """A table with another A in its first bin, and e and M that differ everywhere."""
    first = np.eye(table.n_bins)[0]
    return replace(table, A=table.A + A * first, e=table.e + e, M=table.M + M)


# ------------------------------------------------------------------------------------------------ ad hoc


def test_an_ad_hoc_A_adds_in_squares_to_the_mass_of_the_z(cms_like: Calibration):
    cal = assemble(cms_like.scale, None, None, config(adhoc_A=3e-5), closures=[cms_like.closure])
    shift = cal.variation("zclosure_lep")
    assert_allclose(shift[0], np.sqrt((0.0021 / 91.188) ** 2 + 3e-5**2), rtol=1e-12)
    assert not np.any(shift[1:])
    assert "3e-05 ad hoc" in cal.sources[cal.names.index("zclosure_lep")]
    assert cal.names == cms_like.names[: len(cal.names)]  # a larger one, not another one


def test_an_ad_hoc_A_without_the_nuisance_that_it_adds_to_is_refused(cms_like: Calibration):
    with pytest.raises(ConfigError, match="no closure with the Z is given"):
        assemble(cms_like.scale, None, None, config(adhoc_A=3e-5))
    measured = config(adhoc_A=3e-5, z_mass_nuisance=False)
    with pytest.raises(ConfigError, match="z_mass_nuisance = false leaves it out"):
        assemble(cms_like.scale, None, None, measured, closures=[cms_like.closure])


def test_an_ad_hoc_M_is_one_nuisance_everywhere(scale_table: ScaleTable):
    cal = assemble(scale_table, None, None, config(adhoc_M=2e-6))
    assert cal.groups.count("zclosure_M") == 1
    shift = cal.variation("zclosure_M")
    assert np.all(shift[2] == 2e-6)
    assert not np.any(shift[:2])
    # odd in charge: at 40 GeV delta k/k = q M pT = 8e-5
    for charge in (1, -1):
        up, down = cal.vary(40.0, 0.1, 0.0, charge, "zclosure_M", "mc")
        assert_allclose([up, down], [40 / (1 + 8e-5 * charge), 40 / (1 - 8e-5 * charge)], rtol=1e-12)


def test_none_of_it_is_there_by_default(scale_table: ScaleTable):
    names = assemble(scale_table, None, None, config()).names
    assert assemble(scale_table, None, None, config(adhoc_A=0.0, adhoc_M=0.0), alternatives={}).names == names
    assert not any(name.startswith(("zclosure_M", "alternative")) for name in names)


@pytest.mark.parametrize("name", ["adhoc_A", "adhoc_M"])
@pytest.mark.parametrize("size", [-1e-5, np.nan, np.inf])
def test_an_ad_hoc_size_is_a_number_from_zero_on(name: str, size: float):
    with pytest.raises(ConfigError, match=f"{name} = .*expected 0 or a positive number"):
        config(**{name: size})


# ------------------------------------------------------------------------------------------------ alternatives


@pytest.fixture(scope="module")
def with_alternatives(scale_table: ScaleTable) -> Calibration:
    others = {"fsr_off": moved(scale_table, A=2e-5, e=1e-3, M=1e-6), "line": moved(scale_table, A=-1e-5)}
    return assemble(scale_table, None, None, config(scale_factor=2.1), alternatives=others)


def test_an_alternative_is_the_difference_of_the_tables(with_alternatives: Calibration):
    assert with_alternatives.nuisances("alternative") == ("alternative_fsr_off", "alternative_line")
    A, e, M = with_alternatives.variation("alternative_fsr_off")
    assert_allclose(A, [2e-5, 0, 0, 0, 0, 0], atol=1e-15)
    assert_allclose(e, 1e-3, rtol=1e-9)
    assert_allclose(M, 1e-6, rtol=1e-9)
    # up is the other calibration, whatever the factor on the statistics
    up, _ = with_alternatives.vary(20.0, 0.1, 0.0, 1, "alternative_fsr_off")
    other = replace(with_alternatives, scale=moved(with_alternatives.scale, A=2e-5, e=1e-3, M=1e-6))
    assert_allclose(up, other.correct(20.0, 0.1, 0.0, 1), rtol=1e-12)


def test_its_source_says_which_factor_its_pattern_asks_for(with_alternatives: Calibration):
    other = moved(with_alternatives.scale, A=2e-5, e=1e-3, M=1e-6)
    factor = pattern_factor(with_alternatives.scale, other)
    source = with_alternatives.sources[with_alternatives.names.index("alternative_fsr_off")]
    assert factor > 1.01
    assert f"asks for a factor {factor:.2f} " in source


def test_alternatives_leave_the_house_with_all_others(with_alternatives: Calibration, tmp_path):
    certify(with_alternatives)
    write_bundle(with_alternatives, tmp_path / "release")  # evaluates every nuisance with correctionlib
    back = load(tmp_path / "release")
    assert back.nuisances("alternative") == ("alternative_fsr_off", "alternative_line")
    assert np.array_equal(back.scale_variations, with_alternatives.scale_variations)
    raw = without_factors(back)
    assert_allclose(raw.variation("alternative_line"), back.variation("alternative_line"), rtol=0)
    write_wremnants(back, tmp_path / "theirs")
    assert not [name for name in labels(back) if name.startswith("alternative")]  # those programs have none


def test_bins_that_differ_are_refused_by_name(scale_table: ScaleTable):
    shifted = replace(scale_table, eta_edges=1.1 * scale_table.eta_edges)
    with pytest.raises(ValueError, match="'window' has other bins of eta"):
        assemble(scale_table, None, None, config(), alternatives={"window": shifted})


def test_a_name_that_cannot_be_part_of_another_is_refused(scale_table: ScaleTable):
    with pytest.raises(ConfigError, match="'fsr off', expected letters, digits and _"):
        assemble(scale_table, None, None, config(), alternatives={"fsr off": scale_table})
