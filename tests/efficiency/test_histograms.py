"""Probes of pairs, their spectra, counting: by hand, and from generated pairs with known truth."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.efficiency import (
    STEPS,
    MuonFlags,
    ProbeBinning,
    Probes,
    Status,
    count_efficiencies,
    fill,
    probes_of,
    step,
)
from mucal.errors import ConfigError, InputError
from mucal.simulation.tag_and_probe import TagAndProbeSimulation, generate_tag_and_probe

BINNING = ProbeBinning(eta_edges=(-2.4, 0.0, 2.4), pt_edges=(25.0, 40.0, 60.0))


def probes(**columns: list[float]) -> Probes:
    n = len(columns["mass"])
    full = {"pt": [30.0] * n, "eta": [1.0] * n, "charge": [1] * n, "ut": [0.0] * n, "passing": [True] * n,
            "weight": [1.0] * n} | columns  # fmt: skip
    kinds = {"charge": np.int64, "passing": np.bool_}
    return Probes(**{name: np.array(v, dtype=kinds.get(name, float)) for name, v in full.items()})


def test_filling_by_hand():
    found = fill(probes(mass=[91.5, 91.7, 60.0], passing=[True, False, True], weight=[2.0, 1.0, 1.0]), "idip", BINNING)
    row = np.ravel_multi_index((1, 0, 1, 0), found.shape)  # eta 0 to 2.4, pt 25 to 40, charge +1
    assert found.counts[row, 0, 31] == 2.0
    assert found.sumw2[row, 0, 31] == 4.0
    assert found.counts[row, 1, 31] == 1.0
    assert found.counts[row, 0, 0] == 1.0
    assert found.counts.sum() == 4.0
    assert found.pt_mean[row] == 30.0
    assert "eta 0 to 2.4, pt 25 to 40 GeV, charge +1" in found.place(row)


def test_what_is_read_is_used_or_rejected_by_reason():
    found = fill(
        probes(mass=[91, np.nan, 130, 91, 91, 91.0], pt=[30, 30, 30, 10, 30, 30], eta=[0, 0, 0, 0, 3, 0],
               charge=[1, 1, 1, 1, 1, 2]),
        "idip", BINNING,
    )  # fmt: skip
    assert {k: n for k, n in found.rejected.items() if n} == {
        "nonfinite": 1, "range:mass": 1, "range:pt": 1, "range:eta": 1, "charge": 1,
    }  # fmt: skip
    assert found.counts.sum() + sum(found.rejected.values()) == 6


def test_parts_of_a_sample_add_up():
    both = probes(mass=[91, 92, 93.0], pt=[30, 50, 30])
    parts = [Probes(**{f: getattr(both, f)[s] for f in Probes.__slots__}) for s in (slice(1), slice(1, 3))]
    added = fill(parts[0], "idip", BINNING) + fill(parts[1], "idip", BINNING)
    assert_array_equal(added.counts, fill(both, "idip", BINNING).counts)
    with pytest.raises(ValueError, match="different bins"):
        _ = added + fill(both, "idip", replace(BINNING, by_charge=False))


def test_recoil_beyond_the_last_edge_belongs_to_the_edge_bin():
    binning = replace(BINNING, ut_edges=(-30.0, 0.0, 100.0))
    found = fill(probes(mass=[91, 91, 91.0], ut=[-200.0, 500.0, np.nan]), "iso", binning)
    assert found.counts.reshape(*found.shape, -1).sum(axis=(0, 1, 2, 4)).tolist() == [1.0, 1.0]
    assert found.rejected["nonfinite:ut"] == 1


def test_no_probe_in_the_bins_is_an_error():
    with pytest.raises(InputError, match="none of 1 probes"):
        fill(probes(mass=[0.0912]), "idip", BINNING)


def test_counting_with_weights_by_hand():
    found = fill(probes(mass=[91, 91, 91.0], passing=[True, True, False], weight=[2.0, 1.0, 1.0]), "idip", BINNING)
    counted = count_efficiencies(found)
    row = np.ravel_multi_index((1, 0, 1, 0), found.shape)
    assert_allclose(counted.eff[row], 0.75)
    # (1/4)^2 (4 + 1) + (3/4)^2 1 over 4^2
    assert_allclose(counted.error[row], np.sqrt((5 / 16 + 9 / 16) / 16))
    assert counted.status[0] == Status.EMPTY


def test_negative_weights_that_leave_the_unit_interval_are_refused():
    found = fill(probes(mass=[91, 91.0], passing=[True, False], weight=[2.0, -1.0]), "idip", BINNING)
    counted = count_efficiencies(found, min_probes=0.0)
    row = np.ravel_multi_index((1, 0, 1, 0), found.shape)
    assert counted.status[row] == Status.OUTSIDE
    assert np.isnan(counted.eff[row])


def test_unknown_step_names_its_neighbour():
    with pytest.raises(ConfigError, match="trigger"):
        step("triger")


def test_missing_flag_and_missing_momentum_are_named():
    none = np.zeros((1, 2))
    muons = MuonFlags(
        pt=none, eta=none, phi=none, charge=none.astype(int), tag=none > 0, flags={"standalone": none > 0}
    )
    with pytest.raises(InputError, match="needs the flag 'idip'"):
        probes_of(muons, step("trigger"))
    muons = replace(muons, flags={"standalone": none > 0, "global_muon": none > 0})
    with pytest.raises(InputError, match="standalone muons"):
        probes_of(muons, step("tracking"))


def test_pair_by_hand_gives_two_probes():
    yes = np.ones((1, 2), dtype=bool)
    muons = MuonFlags(
        pt=np.array([[45.0, 40.0]]), eta=np.zeros((1, 2)), phi=np.array([[0.0, np.pi]]), charge=np.array([[1, -1]]),
        tag=yes, flags={"global_muon": yes, "idip": np.array([[True, False]])}, recoil_x=np.array([7.0]),
        recoil_y=np.array([0.0]),
    )  # fmt: skip
    found = probes_of(muons, step("idip"))
    assert_allclose(found.mass, 2 * np.sqrt(45.0 * 40.0), rtol=1e-5)  # back to back; muon mass adds 3e-6
    assert found.pt.tolist() == [40.0, 45.0]
    assert found.passing.tolist() == [False, True]
    assert_allclose(found.ut, [-7.0, 7.0])
    assert len(probes_of(replace(muons, charge=np.array([[1, 1]])), step("idip"))) == 0


@pytest.mark.parametrize("name", [one.name for one in STEPS])
def test_counted_efficiencies_are_those_generated(name: str):
    simulation = TagAndProbeSimulation()
    sample = generate_tag_and_probe(simulation, 40_000)
    wide = ProbeBinning(eta_edges=(-2.4, 2.4), pt_edges=(15.0, 35.0, 45.0, 200.0), by_charge=False,
                        mass_edges=tuple(np.linspace(20.0, 200.0, 181)))  # fmt: skip
    probed = probes_of(sample.muons, step(name))
    counted = count_efficiencies(fill(probed, name, wide))
    truth = simulation.truth[name](probed.eta, probed.pt, probed.charge.astype(float), np.nan_to_num(probed.ut))
    rows = np.digitize(probed.pt, wide.pt_edges) - 1
    inside = (rows >= 0) & (rows < 3) & (np.abs(probed.eta) < 2.4) & (probed.mass > 20) & (probed.mass < 200)
    mean = np.array([truth[inside & (rows == b)].mean() for b in range(3)])
    # the standalone momentum is smeared, so that the truth is taken at a slightly wrong pT: below the errors here
    pulls = (counted.eff - mean) / np.sqrt(mean * (1 - mean) / np.bincount(rows[inside], minlength=3))
    assert np.abs(pulls).max() < 4.0


def test_any_chunks_give_the_same_pairs():
    simulation = TagAndProbeSimulation()
    whole = generate_tag_and_probe(simulation, 400)
    parts = [generate_tag_and_probe(simulation, 200, first_event=first) for first in (0, 200)]
    assert_array_equal(whole.muons.flags["iso"], np.concatenate([p.muons.flags["iso"] for p in parts]))
    assert_array_equal(whole.ut, np.concatenate([p.ut for p in parts]))
