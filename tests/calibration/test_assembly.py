from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import Calibration, CalibrationConfig, assemble, groups
from mucal.calibration.covariance import parameter_names
from mucal.errors import ConfigError, InputError
from mucal.ledger import Ledger
from mucal.scale import ResolutionTable, ScaleTable
from mucal.scale.detector_modes import DetectorModes
from mucal.store import Provenance


def config(**changes) -> CalibrationConfig:
    return CalibrationConfig(pt_definition="refit", **changes)


def test_scale_factor_multiplies_the_standard_deviations(scale_table: ScaleTable):
    once = assemble(scale_table, None, None, config(scale_factor=1.0))
    more = assemble(scale_table, None, None, config())  # as published, unless stated
    assert_allclose(more.scale_variations[:18], 2.1 * once.scale_variations[:18], rtol=1e-15)
    assert more.scale_variations[18].tolist() == once.scale_variations[18].tolist()
    assert once.factors == {"jpsi_stat": 1.0, "reference_mass": 1.0}
    assert more.factors == {"jpsi_stat": 2.1, "reference_mass": 1.0}


def test_resolution_nuisances_add_up_to_both_covariances(
    scale_table: ScaleTable, resolution_data: ResolutionTable, resolution_mc: ResolutionTable
):
    cal = assemble(scale_table, resolution_data, resolution_mc, config(resolution_factor=10.0))
    flat = cal.resolution_variations.reshape(12, 12)
    total = resolution_data.cov + resolution_mc.cov
    error = 10.0 * np.sqrt(np.diag(total))
    assert_allclose(flat.T @ flat / np.outer(error, error), 100 * total / np.outer(error, error), atol=1e-10)


def test_resolution_of_data_alone_is_kept_but_cannot_smear(scale_table: ScaleTable, resolution_data: ResolutionTable):
    cal = assemble(scale_table, resolution_data, None, config())
    assert len(cal.nuisances("resolution")) == 12
    with pytest.raises(ValueError, match="cannot smear"):
        cal.smear(10.0, 0.0, 0.0, 1, 1, 1, muon=0)


def test_both_bases_give_the_same_total(scale_table: ScaleTable):
    flat = [
        assemble(scale_table, None, None, config(basis=basis)).scale_variations.reshape(-1, 18)
        for basis in ("scaled", "plain")
    ]
    error = np.sqrt(np.diag(scale_table.cov))
    scaled, plain = (f.T @ f / np.outer(error, error) for f in flat)
    assert_allclose(scaled, plain, atol=1e-7)


def test_validity_is_that_of_the_table_unless_configured(scale_table: ScaleTable):
    assert assemble(scale_table, None, None, config()).pt_range == (4.0, 70.0)
    cal = assemble(scale_table, None, None, config(pt_range=(5.0, 30.0), eta_range=(-1.0, 1.0)))
    assert (cal.pt_range, cal.eta_range) == ((5.0, 30.0), (-1.0, 1.0))
    with pytest.raises(ValueError, match="range:eta 1"):
        cal.correct(10.0, 1.0, 0.0, 1)


def test_the_pt_definition_is_mandatory():
    with pytest.raises(ConfigError, match="pt_definition is empty"):
        CalibrationConfig(pt_definition=" ")


@pytest.mark.parametrize("name", ["reference_mass", "reference_mass_error", "pdg_edition"])
def test_a_reference_mass_needs_uncertainty_and_edition(name: str):
    given = {"reference_mass": 3.0969, "reference_mass_error": 6e-6, "pdg_edition": 2024}
    given.pop(name)
    with pytest.raises(ConfigError, match=f"without {name}") as caught:
        config(**given)
    assert caught.value.exit_code == 2


def test_a_reference_mass_without_error_is_refused():
    with pytest.raises(ConfigError, match="expected a positive uncertainty"):
        config(reference_mass=3.0969, reference_mass_error=0.0, pdg_edition=2024)


def test_a_reference_mass_in_mev_is_refused(scale_table: ScaleTable):
    wrong = config(reference_mass=3096.9, reference_mass_error=0.006, pdg_edition=2024)
    with pytest.raises(ConfigError, match=r"3096\.9 GeV, but jpsi has 3\.0969 GeV"):
        assemble(scale_table, None, None, wrong)


def test_a_configured_reference_mass_sets_its_nuisance(scale_table: ScaleTable):
    cal = assemble(
        scale_table, None, None, config(reference_mass=3.0969, reference_mass_error=3.0969e-4, pdg_edition=0)
    )
    assert_allclose(cal.variation("reference_mass_jpsi")[0], 1e-4, rtol=1e-14)
    assert (cal.reference_mass, cal.reference_mass_error, cal.pdg_edition) == (3.0969, 3.0969e-4, 0)


def test_a_table_without_resonance_needs_one_configured(scale_table: ScaleTable):
    nameless = replace(scale_table, resonance="")
    with pytest.raises(ConfigError, match="no resonance is named"):
        assemble(nameless, None, None, config())
    assert assemble(nameless, None, None, config(resonance="z")).nuisances("z_stat")[0] == "z_stat_000"


def test_a_covariance_in_another_order_is_refused(scale_table: ScaleTable):
    eta_major = tuple(f"{symbol}_{i:02d}" for i in range(6) for symbol in "AeM")
    with pytest.raises(InputError, match="row 1 is 'e_00', expected 'A_01'") as caught:
        assemble(scale_table, None, None, config(scale_order=eta_major), files={"scale": "scale.h5"})
    assert caught.value.where["file"] == "scale.h5"
    assemble(scale_table, None, None, config(scale_order=parameter_names(6)))


def test_a_bad_resolution_covariance_is_not_hidden_by_the_sum(
    scale_table: ScaleTable, resolution_data: ResolutionTable, resolution_mc: ResolutionTable
):
    negative = replace(resolution_mc, cov=-0.5 * resolution_data.cov)
    with pytest.raises(InputError, match="not positive semidefinite") as caught:
        assemble(scale_table, resolution_data, negative, config())
    assert caught.value.where["dataset"] == "resolution_mc.cov"


def test_resolutions_in_different_bins_are_refused(
    scale_table: ScaleTable, resolution_data: ResolutionTable, resolution_mc: ResolutionTable
):
    shifted = replace(resolution_mc, eta_edges=resolution_mc.eta_edges * 1.1)
    with pytest.raises(ValueError, match="same eta bins"):
        assemble(scale_table, resolution_data, shifted, config())


def test_edges_that_differ_in_their_last_bits_are_the_same(
    scale_table: ScaleTable, resolution_data: ResolutionTable, resolution_mc: ResolutionTable
):
    cal = assemble(scale_table, resolution_data, resolution_mc, config())
    assert cal.factors["resolution_stat"] == 10.0
    assert cal.resolution_mc is not None
    nearly = replace(cal.resolution_mc, eta_edges=np.nextafter(cal.resolution_mc.eta_edges, 9.0))
    group = groups.resolution(resolution_data, nearly, 10.0, "scaled", {})
    assert_allclose(group.variations, cal.resolution_variations, rtol=1e-12)
    narrower = {"eta_range": (-2.3, 2.3), "resolution_mc": nearly}
    assert_allclose(replace(cal, **narrower).smear(10.0, 0.1, 0.0, 1, 1, 1, muon=0), 10.0, rtol=0.1)


def test_modes_of_the_detector_fit_edges_that_were_counted_up(scale_table: ScaleTable):
    counted = -2.4 + 0.8 * np.arange(7)
    assert counted[3] != scale_table.eta_edges[3]
    modes = DetectorModes(
        eta_edges=counted, variations=np.full((2, 3, 6), 1e-5), leading=("a", "b"), residual=np.zeros(3)
    )
    cal = assemble(scale_table, None, None, config(), detector=modes)
    assert cal.nuisances("detector") == ("detector_000", "detector_001")
    with pytest.raises(ValueError, match="other bins of eta"):
        assemble(scale_table, None, None, config(), detector=replace(modes, eta_edges=1.1 * counted))


@pytest.mark.parametrize("factor", [0.0, -1.0, np.nan, np.inf])
def test_a_factor_is_positive(factor: float):
    with pytest.raises(ConfigError, match="expected a positive number"):
        config(scale_factor=factor)


def test_provenance_of_the_tables_is_kept(scale_table: ScaleTable):
    ledger = Ledger(unit="events", read=3, used=2, rejected={"window": 1})
    origin = Provenance(configuration={"min_events": 10}, inputs={"a.root": "12"}, ledgers={"massfit": ledger}, seed=4)
    cal = assemble(scale_table.with_provenance(origin), None, None, config())
    assert cal.provenance.inputs == {"a.root": "12"}
    assert cal.provenance.ledgers == {"massfit": ledger}
    assert cal.provenance.seed == 4
    assert cal.provenance.configuration["scale"] == {"min_events": 10}
    assert cal.provenance.configuration["calibration"]["pt_definition"] == "refit"


def test_provenance_of_closures_pixels_and_the_detector_is_kept(cms_like: Calibration):
    def origin(name: str, used: int) -> Provenance:
        ledger = Ledger(unit="bins", read=9, used=used, rejected={"low_stats": 9 - used})
        return Provenance(configuration={"of": name}, inputs={f"{name}.root": name}, ledgers={"massfit": ledger})

    assert cms_like.closure is not None
    assert cms_like.pixels is not None
    modes = DetectorModes(
        eta_edges=cms_like.scale.eta_edges, variations=np.full((1, 3, 48), 1e-5), leading=("a",), residual=np.zeros(3)
    )
    cal = assemble(
        cms_like.scale.with_provenance(origin("jpsi", 9)), None, None, config(),
        closures=[cms_like.closure.with_provenance(origin("z", 8))],
        pixels=cms_like.pixels.with_provenance(origin("pixels", 9)),
        detector=modes.with_provenance(origin("detector", 7)),
    )  # fmt: skip
    found = cal.provenance
    assert found.inputs == {f"{name}.root": name for name in ("jpsi", "z", "pixels", "detector")}
    assert found.configuration["closure_z"] == {"of": "z"}
    # the pixels' ledger is that of the scale
    used = {stage: ledger.used for stage, ledger in found.ledgers.items()}
    assert used == {"massfit": 9, "closure_z/massfit": 8, "detector/massfit": 7}
