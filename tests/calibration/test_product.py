from dataclasses import replace

import awkward as ak
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mucal.calibration import Calibration, CalibrationConfig, application, assemble
from mucal.errors import InputError
from mucal.numerics.keyed import normal
from mucal.scale import ScaleTable, distort_pt

PT = np.array([4.0, 10.0, 40.0, 69.9])
ETA = np.array([-2.4, 0.1, 1.3, 2.39])
PHI = np.array([-3.0, 0.0, 1.0, 3.0])
CHARGE = np.array([1, -1, 1, -1])


def one_bin(A: float, e: float, M: float) -> Calibration:
    table = ScaleTable(
        eta_edges=np.array([-2.4, 2.4]),
        A=np.array([A]),
        e=np.array([e]),
        M=np.array([M]),
        cov=np.diag([1e-8, 1e-8, 1e-12]),
        pt_range=(1.0, 100.0),
        resonance="jpsi",
    )
    return assemble(table, None, None, CalibrationConfig(pt_definition="refit"))


# ------------------------------------------------------------------------------------------------ scale


def test_correct_formula_page_golden_numbers():
    # docs/physics/calibration.md: A = 3e-4, e = 2 MeV, M = 1e-5/GeV at 40 GeV, mu+ and mu-
    cal = one_bin(3e-4, 2e-3, 1e-5)
    found = cal.correct(np.array([40.0, 40.0]), np.zeros(2), np.zeros(2), np.array([1, -1])) / 40.0
    assert_allclose(found, [0.9993504222255536, 1.0001500225033757], rtol=4e-16)


def test_correct_by_hand():
    # k = 1/40 per GeV: A - e k + q M / k = 1e-4 - 2.5e-5 + 4e-4 = 4.75e-4
    assert one_bin(1e-4, 1e-3, 1e-5).correct(40.0, 0.0, 0.0, 1) == pytest.approx(40 / 1.000475, rel=1e-15)


def test_simulation_is_the_reference_and_comes_back_bit_for_bit(calibration: Calibration):
    assert_array_equal(calibration.correct(PT, ETA, PHI, CHARGE, "mc"), PT)


def test_positive_sagitta_lowers_plus_and_raises_minus():
    plus, minus = one_bin(0.0, 0.0, 1e-5).correct([40.0, 40.0], [0.0, 0.0], [0.0, 0.0], [1, -1])
    assert plus < 40.0 < minus


def test_positive_energy_loss_is_given_back():
    assert one_bin(0.0, 2e-3, 0.0).correct(10.0, 0.0, 0.0, 1) == pytest.approx(10.002, abs=1e-6)


@given(
    pt=st.floats(4.5, 60.0),
    eta=st.floats(-2.39, 2.39),
    charge=st.sampled_from([-1, 1]),
)
def test_a_correction_undoes_its_distortion(calibration: Calibration, pt: float, eta: float, charge: int):
    true, h, q = np.array([pt]), np.array([eta]), np.array([charge])
    measured = distort_pt(calibration.scale, true, h, q)
    # the quadratic of the inverse loses a few bits
    assert_allclose(calibration.correct(measured, h, 0.0 * h, q), true, rtol=1e-13)


@given(pt=st.floats(4.0, 69.0), eta=st.floats(-2.4, 2.39), index=st.integers(0, 17), q=st.sampled_from([-1, 1]))
def test_up_and_down_lie_evenly_about_the_nominal_curvature(
    calibration: Calibration, pt: float, eta: float, index: int, q: int
):
    # k' is linear in A, e and M
    name = calibration.nuisances("jpsi_stat")[index]
    up, down = calibration.vary(pt, eta, 0.0, q, name)
    assert 0.5 * (1 / up + 1 / down) == pytest.approx(1 / calibration.correct(pt, eta, 0.0, q), rel=1e-14)


def test_variation_on_simulation_by_hand(calibration: Calibration):
    name = "jpsi_stat_003"
    dA, de, dM = calibration.variation(name)[:, np.searchsorted(calibration.scale.eta_edges, ETA, side="right") - 1]
    k = 1 / PT
    up, down = calibration.vary(PT, ETA, PHI, CHARGE, name, "mc")
    assert_allclose(1 / up, k + (dA - de * k) * k + CHARGE * dM, rtol=1e-14)
    assert_allclose(1 / down, k - (dA - de * k) * k - CHARGE * dM, rtol=1e-14)


def test_variation_on_data_shifts_the_parameters(calibration: Calibration):
    name = "jpsi_stat_005"
    scale, shift = calibration.scale, calibration.variation(name)
    moved = replace(scale, A=scale.A - shift[0], e=scale.e - shift[1], M=scale.M - shift[2])
    down = calibration.vary(PT, ETA, PHI, CHARGE, name)[1]
    assert_allclose(down, replace(calibration, scale=moved).correct(PT, ETA, PHI, CHARGE), rtol=1e-15)


def test_sagitta_variation_is_odd_in_charge(calibration: Calibration):
    pure = calibration.scale_variations.copy()
    pure[0, :2] = 0.0
    cal = replace(calibration, scale_variations=pure)
    up, down = cal.vary(PT, ETA, PHI, CHARGE, "jpsi_stat_000", "mc")
    other_up, other_down = cal.vary(PT, ETA, PHI, -CHARGE, "jpsi_stat_000", "mc")
    assert_array_equal(up, other_down)
    assert_array_equal(down, other_up)


def test_field_like_variation_is_even_in_charge(calibration: Calibration):
    name = "reference_mass_jpsi"
    assert_array_equal(
        calibration.vary(PT, ETA, PHI, CHARGE, name, "mc"), calibration.vary(PT, ETA, PHI, -CHARGE, name, "mc")
    )


def test_reference_mass_moves_every_muon_by_its_relative_uncertainty(calibration: Calibration):
    up, _ = calibration.vary(PT, ETA, PHI, CHARGE, "reference_mass_jpsi", "mc")
    assert_allclose(up / PT, 1 / (1 + 0.006 / 3096.9), rtol=1e-12)


# ------------------------------------------------------------------------------------------------ containers


def test_float32_in_gives_float64_of_the_same_momenta(calibration: Calibration):
    found = calibration.correct(PT.astype(np.float32), ETA, PHI, CHARGE)
    assert found.dtype == np.float64
    assert_array_equal(found, calibration.correct(PT.astype(np.float32).astype(np.float64), ETA, PHI, CHARGE))


def test_pairs_in_two_dimensions(calibration: Calibration):
    found = calibration.correct(PT.reshape(2, 2), ETA.reshape(2, 2), PHI.reshape(2, 2), CHARGE.reshape(2, 2))
    assert_array_equal(found, calibration.correct(PT, ETA, PHI, CHARGE).reshape(2, 2))


def test_a_number_gives_a_number(calibration: Calibration):
    assert type(calibration.correct(10.0, 0.1, 0.0, -1)) is float


def test_no_muons_give_no_muons(calibration: Calibration):
    none = np.zeros(0)
    assert calibration.correct(none, none, none, none).shape == (0,)
    assert calibration.smear(none, none, none, none.astype(int), 1, none.astype(int), muon=0).shape == (0,)
    jagged = ak.Array([[], []])
    assert calibration.correct(jagged, jagged, jagged, jagged).tolist() == [[], []]


def test_jagged_in_gives_jagged_out(calibration: Calibration):
    counts = [2, 0, 1, 1]
    jagged = [ak.unflatten(column, counts) for column in (PT, ETA, PHI, CHARGE)]
    found = calibration.correct(*jagged)
    assert isinstance(found, ak.Array)
    assert ak.num(found).tolist() == counts
    assert_array_equal(ak.flatten(found).to_numpy(), calibration.correct(PT, ETA, PHI, CHARGE))


def test_a_slice_of_a_larger_jagged_array_is_read_right(calibration: Calibration):
    whole = [ak.unflatten(column, [1, 2, 0, 1]) for column in (PT, ETA, PHI, CHARGE)]
    part = [column[[3, 1]] for column in whole]
    assert calibration.correct(*part).tolist() == calibration.correct(*whole)[[3, 1]].tolist()


def test_doubly_jagged_arrays_keep_their_shape(calibration: Calibration):
    pt = ak.Array([[[10.0], [20.0, 30.0]], [], [[5.0]]])
    found = calibration.correct(pt, 0.0 * pt, 0.0 * pt, ak.ones_like(pt))
    assert ak.num(found, axis=2).tolist() == [[1, 2], [], [1]]
    assert found[0, 1, 1] == calibration.correct(30.0, 0.0, 0.0, 1)


def test_series_in_gives_series_out(calibration: Calibration):
    index = [7, 3, 5, 1]
    pt, eta, phi, charge = (pd.Series(column, index=index, name="pt") for column in (PT, ETA, PHI, CHARGE))
    found = calibration.correct(pt, eta, phi, charge)
    expected = pd.Series(calibration.correct(PT, ETA, PHI, CHARGE), index=index, name="pt")
    pd.testing.assert_series_equal(found, expected)


def test_series_of_different_indices_are_refused(calibration: Calibration):
    with pytest.raises(ValueError, match="eta and pt have different pandas indices"):
        calibration.correct(pd.Series(PT), pd.Series(ETA, index=[3, 2, 1, 0]), PHI, CHARGE)


def test_columns_of_different_lengths_are_refused(calibration: Calibration):
    with pytest.raises(ValueError, match=r"eta has shape \(3,\), expected \(4,\)"):
        calibration.correct(PT, ETA[:3], PHI, CHARGE)


def test_columns_of_text_are_refused(calibration: Calibration):
    with pytest.raises(ValueError, match="charge has dtype <U1, expected numbers"):
        calibration.correct(PT, ETA, PHI, np.array(list("+-+-")))
    with pytest.raises(ValueError, match="charge has dtype"):
        calibration.correct(pd.Series(PT), ETA, PHI, pd.Series(list("+-+-")))


# ------------------------------------------------------------------------------------------------ rejection

BAD = [
    ("nonfinite:pt", "pt", np.nan),
    ("nonfinite:pt", "pt", np.inf),
    ("nonfinite:eta", "eta", np.nan),
    ("nonfinite:phi", "phi", np.nan),
    ("nonpositive:pt", "pt", 0.0),
    ("nonpositive:pt", "pt", -30.0),
    ("range:pt", "pt", 3.999),
    ("range:pt", "pt", 70.0),
    ("range:pt", "pt", 4000.0),
    ("range:eta", "eta", 2.4),
    ("range:eta", "eta", -2.401),
    ("charge", "charge", 0.0),
    ("charge", "charge", 2.0),
    ("charge", "charge", 0.99),
    ("charge", "charge", np.nan),
]


def with_bad(column: str, value: float) -> dict[str, np.ndarray]:
    columns = {"pt": PT, "eta": ETA, "phi": PHI, "charge": CHARGE.astype(float)}
    columns[column] = np.where(np.arange(4) == 2, value, columns[column])
    return columns


@pytest.mark.parametrize(("reason", "column", "value"), BAD)
def test_a_bad_muon_is_an_error_that_counts_and_places_it(
    calibration: Calibration, reason: str, column: str, value: float
):
    with pytest.raises(ValueError, match=rf"1 of 4 muons are outside the calibration \({reason} 1\).*\[2\]"):
        calibration.correct(**with_bad(column, value))


@pytest.mark.parametrize(("reason", "column", "value"), BAD)
def test_a_bad_muon_is_nan_where_that_is_asked_for(calibration: Calibration, reason: str, column: str, value: float):
    columns = with_bad(column, value)
    for found in (
        calibration.correct(**columns, outside="nan"),
        *calibration.vary(**columns, nuisance="jpsi_stat_001", outside="nan"),
    ):
        assert_array_equal(np.isnan(found), [False, False, True, False])
    good = np.array([0, 1, 3])
    assert_array_equal(
        calibration.correct(**columns, outside="nan")[good], calibration.correct(PT, ETA, PHI, CHARGE)[good]
    )
    ledger = calibration.count_rejected(**columns)
    assert (ledger.read, ledger.used, dict(ledger.rejected)) == (4, 3, {reason: 1})
    assert ledger.examples[reason] == ("muon 2",)


@pytest.mark.parametrize("compiled", [1, 10**9])
def test_a_turned_curvature_is_refused_or_nan_and_counted_at_any_size(
    calibration: Calibration, monkeypatch: pytest.MonkeyPatch, compiled: int
):
    monkeypatch.setattr(application, "COMPILED", compiled)
    # 1 + M pT < 0 of a positive muon above 33 GeV, M = -0.03/GeV; the other three keep their sign
    turning = replace(calibration, scale=replace(calibration.scale, A=np.zeros(6), e=np.zeros(6), M=np.full(6, -0.03)))
    with pytest.raises(ValueError, match=r"correction of muon 2 turns the sign of its curvature.* -0\.2 at pt = 40"):
        turning.correct(PT, ETA, PHI, CHARGE)
    found = turning.correct(PT, ETA, PHI, CHARGE, outside="nan")
    assert_allclose(found, PT / np.where([True, True, False, True], 1 - 0.03 * CHARGE * PT, np.nan), rtol=1e-14)
    ledger = turning.count_rejected(PT, ETA, PHI, CHARGE)
    assert (ledger.read, ledger.used, dict(ledger.rejected)) == (4, 3, {"nonpositive:curvature": 1})
    assert turning.count_rejected(PT, ETA, PHI, CHARGE, "mc").used == 4
    # a muon that is outside already has that reason alone
    ledger = turning.count_rejected(PT, ETA + np.where(PT == 40, 2.0, 0.0), PHI, CHARGE)
    assert dict(ledger.rejected) == {"range:eta": 1}


@pytest.mark.parametrize("compiled", [1, 10**9])
def test_an_unknown_outside_is_refused_at_any_size(
    calibration: Calibration, monkeypatch: pytest.MonkeyPatch, compiled: int
):
    monkeypatch.setattr(application, "COMPILED", compiled)
    with pytest.raises(ValueError, match="outside = 'nam', expected one of 'raise', 'nan'"):
        calibration.correct(PT, ETA, PHI, CHARGE, outside="nam")  # type: ignore[arg-type]


def test_missing_values_are_rejected_like_nan(calibration: Calibration):
    pt = ak.Array([[10.0, None], [20.0]])
    eta, charge = ak.Array([[0.1, 0.2], [0.3]]), ak.Array([[1, -1], [1]])
    found = calibration.correct(pt, eta, 0.0 * eta, charge, outside="nan")
    assert np.isnan(found.tolist()[0][1])
    assert found.tolist()[1][0] == calibration.correct(20.0, 0.3, 0.0, 1)
    series = pd.Series([10.0, None], dtype="Float64")
    assert np.isnan(calibration.correct(series, [0.0, 0.0], [0.0, 0.0], [1, 1], outside="nan").iloc[1])
    masked = np.ma.masked_array([10.0, 20.0], [False, True])
    assert np.isnan(calibration.correct(masked, [0.0, 0.0], [0.0, 0.0], [1, 1], outside="nan")[1])


def test_a_missing_event_is_refused(calibration: Calibration):
    pt = ak.Array([[10.0], None])
    with pytest.raises(ValueError, match="missing list"):
        calibration.correct(pt, pt, pt, pt)


def test_a_muon_has_one_reason(calibration: Calibration):
    ledger = calibration.count_rejected([np.nan, -1.0], [np.nan, 9.0], [0.0, 0.0], [0, 0])
    assert dict(ledger.rejected) == {"nonfinite:pt": 1, "nonpositive:pt": 1}


def test_unknown_words_are_refused(calibration: Calibration):
    with pytest.raises(ValueError, match="expected 'data' or 'mc'"):
        calibration.correct(PT, ETA, PHI, CHARGE, "simulation")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected one of 'raise', 'nan'"):
        calibration.correct(PT, ETA, PHI, CHARGE, outside="clip")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ smearing

EVENT = np.arange(4)


def test_smearing_by_hand(calibration: Calibration):
    data, mc = calibration.resolution_data, calibration.resolution_mc
    assert data is not None
    assert mc is not None
    for i in range(4):
        j = int(np.searchsorted(data.eta_edges, ETA[i], side="right")) - 1
        extra = sum(
            sign * (t.a[j] + t.c[j] * PT[i] ** 2 + t.b[j] / (1 + t.d[j] / PT[i] ** 2))
            for sign, t in ((1, data), (-1, mc))
        )
        z = normal(0, "calibration.smear", 1, 2, 10 + i, 0)[0]
        expected = PT[i] / (1 + z * np.sqrt(max(0.0, extra)))
        assert calibration.smear(PT[i], ETA[i], PHI[i], 1, 2, 10 + i, muon=0) == pytest.approx(expected, rel=1e-14)


def test_the_two_muons_of_an_event_are_smeared_independently(calibration: Calibration):
    n = 20_000
    pt, eta = np.full((n, 2), 40.0), np.zeros((n, 2))
    moved = calibration.smear(pt, eta, eta, 1, 1, np.arange(n)) / pt - 1
    rho = np.corrcoef(moved.T)[0, 1]
    assert abs(rho) < 4 / np.sqrt(n)
    assert_allclose(moved.std(axis=0), np.sqrt(_extra(calibration, 40.0, 0.0)), rtol=4 / np.sqrt(2 * n))


def _extra(calibration: Calibration, pt: float, eta: float) -> float:
    data, mc = calibration.resolution_data, calibration.resolution_mc
    assert data is not None
    assert mc is not None
    j = int(np.searchsorted(data.eta_edges, eta, side="right")) - 1
    return float(data.a[j] - mc.a[j] + (data.c[j] - mc.c[j]) * pt**2 + (data.b[j] - mc.b[j]) / (1 + data.d[j] / pt**2))


def test_smearing_does_not_depend_on_order_or_chunks(calibration: Calibration):
    rng = np.random.default_rng(5)
    n = 1000
    pt, eta, event = rng.uniform(4, 70, n), rng.uniform(-2.4, 2.4, n), rng.integers(0, 2**62, n)
    whole = calibration.smear(pt, eta, eta, 1, 1, event, muon=0)
    order = rng.permutation(n)
    assert_array_equal(calibration.smear(pt[order], eta[order], eta, 1, 1, event[order], muon=0), whole[order])
    parts = [
        calibration.smear(p, h, h, 1, 1, v, muon=0)
        for p, h, v in zip(*(np.split(c, [1, 400]) for c in (pt, eta, event)), strict=True)
    ]
    assert_array_equal(np.concatenate(parts), whole)


def test_large_event_numbers_keep_their_last_digit(calibration: Calibration):
    event = np.array([2**60, 2**60 + 1])
    a, b = calibration.smear([40.0, 40.0], [0.0, 0.0], [0.0, 0.0], 1, 1, event, muon=0)
    assert a != b


def test_jagged_muons_are_numbered_within_their_event(calibration: Calibration):
    pt = ak.Array([[40.0, 40.0], [], [40.0]])
    found = calibration.smear(pt, 0.0 * pt, 0.0 * pt, np.ones(3, int), np.ones(3, int), np.array([5, 6, 7]))
    expected = [calibration.smear(40.0, 0.0, 0.0, 1, 1, event, muon=muon) for event, muon in ((5, 0), (5, 1), (7, 0))]
    assert ak.flatten(found).tolist() == expected


def test_nominal_and_varied_smearing_share_their_random_numbers(calibration: Calibration):
    n = 500
    pt, eta = np.full(n, 30.0), np.full(n, 0.5)
    args = (pt, eta, eta, 1, 1, np.arange(n))
    nominal = pt / calibration.smear(*args, muon=0) - 1
    up, down = (pt / found - 1 for found in calibration.vary_smearing(*args, "resolution_stat_000", muon=0))
    # k/k0 - 1 = z sigma: the same z, another sigma
    for varied in (up, down):
        ratio = varied / nominal
        assert_allclose(ratio, ratio[0], rtol=1e-10)
    assert (up.std() - nominal.std()) * (down.std() - nominal.std()) < 0


def test_simulation_worse_than_data_is_left_alone_and_counted(calibration: Calibration):
    swapped = replace(calibration, resolution_data=calibration.resolution_mc, resolution_mc=calibration.resolution_data)
    worse = [_extra(calibration, p, h) > 0 for p, h in zip(PT, ETA, strict=True)]
    found = swapped.smear(PT, ETA, PHI, 1, 1, EVENT, muon=0)
    assert_array_equal(found == PT, worse)
    assert swapped.unsmeared(PT, ETA) == sum(worse) > 0


def test_flat_muons_need_their_number(calibration: Calibration):
    for pt in (PT, pd.Series(PT), ak.Array(PT)):
        with pytest.raises(ValueError, match="pass muon="):
            calibration.smear(pt, ETA, PHI, 1, 1, EVENT)


def test_the_keys_of_random_numbers_are_integers(calibration: Calibration):
    with pytest.raises(ValueError, match="event has dtype float64"):
        calibration.smear(PT, ETA, PHI, 1, 1, EVENT.astype(float), muon=0)


def test_smearing_rejects_what_correcting_rejects(calibration: Calibration):
    pt = np.array([np.nan, 10.0, -1.0, 100.0])
    with pytest.raises(ValueError, match="3 of 4 muons"):
        calibration.smear(pt, 0 * ETA, PHI, 1, 1, EVENT, muon=0)
    found = calibration.smear(pt, 0 * ETA, PHI, 1, 1, EVENT, muon=0, outside="nan")
    assert_array_equal(np.isnan(found), [True, False, True, True])


def test_without_a_resolution_nothing_is_smeared():
    with pytest.raises(ValueError, match="cannot smear"):
        one_bin(0.0, 0.0, 0.0).smear(PT, ETA, PHI, 1, 1, EVENT, muon=0)


# ------------------------------------------------------------------------------------------------ nuisances


def test_nuisances_by_kind_and_group(calibration: Calibration):
    assert calibration.nuisances("scale") == (*(f"jpsi_stat_{i:03d}" for i in range(18)), "reference_mass_jpsi")
    assert calibration.nuisances("resolution") == calibration.nuisances("resolution_stat")
    assert len(calibration.nuisances("resolution")) == 12
    assert calibration.nuisances() == calibration.nuisances("scale") + calibration.nuisances("resolution")


def test_an_unknown_nuisance_names_its_neighbours(calibration: Calibration):
    with pytest.raises(ValueError, match=r"no nuisance 'jpsi_stat_99'.*nearest are.*jpsi_stat_0"):
        calibration.vary(PT, ETA, PHI, CHARGE, "jpsi_stat_99")
    with pytest.raises(ValueError, match="no nuisance group 'resolution_stats'; the nearest are resolution_stat"):
        calibration.nuisances("resolution_stats")


def test_a_nuisance_of_the_other_kind_is_refused(calibration: Calibration):
    with pytest.raises(ValueError, match="use vary_smearing"):
        calibration.vary(PT, ETA, PHI, CHARGE, "resolution_stat_000")
    with pytest.raises(ValueError, match="use vary"):
        calibration.vary_smearing(PT, ETA, PHI, 1, 1, EVENT, "jpsi_stat_000", muon=0)


def test_a_nuisance_name_stands_for_one_thing(calibration: Calibration):
    with pytest.raises(ValueError, match="nuisance 'jpsi_stat_000' is defined 2 times"):
        replace(calibration, names=("jpsi_stat_000", *calibration.names[:1], *calibration.names[2:]))


def test_parameters_in_another_order_are_refused(calibration: Calibration):
    names = list(calibration.parameter_names)
    names[2], names[3] = names[3], names[2]
    with pytest.raises(InputError, match="row 2 is 'A_03', expected 'A_02'"):
        replace(calibration, parameter_names=tuple(names))


def test_a_validity_range_beyond_the_tables_is_refused(calibration: Calibration):
    with pytest.raises(ValueError, match="not inside the eta bins of ScaleTable"):
        replace(calibration, eta_range=(-2.5, 2.4))


def test_a_calibration_is_saved_and_loaded_bit_for_bit(calibration: Calibration, tmp_path):
    found = Calibration.load(calibration.save(tmp_path / "calibration.h5"))
    assert_array_equal(found.scale_variations, calibration.scale_variations)
    assert_array_equal(found.resolution_variations, calibration.resolution_variations)
    assert (found.names, found.factors, found.pt_range) == (calibration.names, calibration.factors, (4.0, 70.0))
    assert_array_equal(found.correct(PT, ETA, PHI, CHARGE), calibration.correct(PT, ETA, PHI, CHARGE))
    assert found.save(tmp_path / "again.h5").read_bytes() == (tmp_path / "calibration.h5").read_bytes()
