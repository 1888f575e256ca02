"""The pairing rule against a plain loop, and a reason for every event that gives no pair."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mucal.io import DimuonInput, MuonColumns
from mucal.io.muon_lists import MuonLists
from mucal.io.pairing import make_pairs

LISTS = MuonColumns(pt="pt", eta="eta", phi="phi", charge="q")


def lists(events: list[list[tuple[float, float]]], **columns: np.ndarray) -> MuonLists:
    """Events as lists of (pt, charge); eta counts the muons of an event."""
    counts = [len(event) for event in events]
    flat = [muon for event in events for muon in event]
    eta = np.concatenate([0.1 * np.arange(n) for n in counts] or [np.zeros(0)])
    muons = {
        "pt": np.array([m[0] for m in flat], dtype=float),
        "eta": eta,
        "phi": np.zeros(len(flat)),
        "charge": np.array([m[1] for m in flat], dtype=float),
    }
    return MuonLists(
        entry=np.arange(len(events)), event_of=np.repeat(np.arange(len(events)), counts), muons={**muons, **columns},
        ids={}, mass=None, flat={}, per_muon={},
    )  # fmt: skip


def reasons(result) -> list[str]:
    return [result.reasons[i] for i in result.reason]


def pair_by_loop(event: list[tuple[float, float]], charge: str) -> tuple[int, int] | None:
    """The documented rule, one event at a time."""
    down = sorted(range(len(event)), key=lambda i: -event[i][0])  # stable: equal pT in file order
    plus, minus = [i for i in down if event[i][1] > 0], [i for i in down if event[i][1] < 0]
    if charge == "opposite":
        return (plus[0], minus[0]) if plus and minus else None
    if charge == "any":
        if len(down) < 2:
            return None
        a, b = down[:2]
        return (b, a) if event[a][1] < 0 < event[b][1] else (a, b)
    seen: dict[float, int] = {}
    for i in down:
        if event[i][1] in seen:
            return seen[event[i][1]], i
        seen[event[i][1]] = i
    return None


EVENTS = st.lists(
    st.lists(st.tuples(st.sampled_from([3.0, 4.0, 5.5, 9.0, 40.0]), st.sampled_from([1.0, -1.0])), max_size=5),
    max_size=12,
)


@pytest.mark.parametrize("charge", ["opposite", "same", "any"])
@given(events=EVENTS)
def test_pairs_agree_with_a_plain_loop(charge: str, events: list):
    result = make_pairs(lists(events), DimuonInput(columns=LISTS, layout="rows", charge=charge))
    found = dict(zip(result.kept.tolist(), np.rint(result.dimuons.eta * 10).astype(int).tolist(), strict=True))
    expected = {i: list(p) for i, event in enumerate(events) if (p := pair_by_loop(event, charge)) is not None}
    assert found == expected


@given(events=EVENTS)
def test_every_event_is_kept_or_has_one_reason(events: list):
    result = make_pairs(lists(events), DimuonInput(columns=LISTS, layout="rows"))
    assert_array_equal(np.flatnonzero(result.reason == 0), result.kept)
    assert len(result.dimuons) == result.kept.size


def test_the_pair_is_never_chosen_by_mass():
    # muons 0 and 1 make the highest pT+ and pT-; muons 1 and 2 alone would give 3.0969 GeV
    event = [(40.0, 1), (30.0, -1), (5.0, 1)]
    result = make_pairs(lists([event]), DimuonInput(columns=LISTS, layout="rows", mass_range=(2.9, 3.3)))
    assert_allclose(result.dimuons.pt, np.zeros((0, 2)))
    assert reasons(result) == ["window"]


def test_reasons_by_hand():
    events = [[(5, 1), (4, -1)], [(5, 1)], [], [(5, 1), (4, 1)], [(5, 1), (2, -1)]]
    result = make_pairs(lists(events), DimuonInput(columns=LISTS, layout="rows", pt_min=3.0))
    few = "fewer_than_two_muons"
    assert reasons(result) == ["", few, few, "same_charge", "selection:pt >= 3"]


def test_muons_outside_eta_max_are_not_considered():
    event = [(5, 1), (9, -1), (4, -1)]
    config = DimuonInput(columns=LISTS, layout="rows", eta_max=2.4)
    result = make_pairs(lists([event], eta=np.array([0.0, -2.5, 2.4])), config)
    assert_allclose(result.dimuons.pt, [[5, 4]])


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("pt", np.nan, "nonfinite:pt"), ("eta", np.nan, "nonfinite:eta"), ("phi", np.nan, "nonfinite:phi"),
        ("charge", np.nan, "nonfinite:charge"),
        ("pt", np.inf, "range:pt"), ("pt", 1e6, "range:pt"), ("pt", 0.0, "range:pt"), ("pt", -3.0, "range:pt"),
        ("eta", np.inf, "range:eta"), ("eta", -20.0, "range:eta"), ("phi", 90.0, "range:phi"),
        ("charge", 0.0, "charge"), ("charge", 2.0, "charge"), ("charge", -2.0, "charge"), ("charge", 0.99, "charge"),
    ],
)  # fmt: skip
def test_a_bad_value_rejects_its_event_by_name_b01_to_b04(column: str, value: float, reason: str):
    made = lists([[(5, 1), (4, -1)], [(6, 1), (7, -1)]])
    made.muons[column][0] = value
    result = make_pairs(made, DimuonInput(columns=LISTS, layout="rows"))
    assert reasons(result) == [reason, ""]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [("px", np.nan, "nonfinite:px"), ("pz", np.inf, "range:pz"), ("e", np.nan, "nonfinite:e"), ("px", 0.0, "range:pt")],
)
def test_a_bad_four_momentum_rejects_its_event_by_name(column: str, value: float, reason: str):
    made = lists([[(0, 1), (0, -1)]])
    muons = {"px": [3.0, 4.0], "py": [0.0, 1.0], "pz": [1.0, -2.0], "e": [3.2, 4.6], "charge": [1.0, -1.0]}
    made = SimpleNamespace(**{n: getattr(made, n) for n in ("entry", "event_of", "ids", "mass", "flat", "per_muon")})
    made = MuonLists(**{**vars(made), "muons": {k: np.array(v) for k, v in muons.items()}})
    made.muons[column][0] = value
    columns = MuonColumns(px="px", py="py", pz="pz", e="e", charge="q")
    assert reasons(make_pairs(made, DimuonInput(columns=columns, layout="rows"))) == [reason]


def test_four_momenta_give_pt_eta_phi_by_hand():
    made = lists([[(0, 1), (0, -1)]])
    muons = {"px": [3.0, 0.0], "py": [4.0, -2.0], "pz": [0.0, 2.0], "charge": [-1.0, 1.0]}
    made = MuonLists(
        entry=made.entry, event_of=made.event_of, ids={}, mass=None, flat={}, per_muon={},
        muons={k: np.array(v) for k, v in muons.items()},
    )  # fmt: skip
    columns = MuonColumns(px="px", py="py", pz="pz", charge="q")
    d = make_pairs(made, DimuonInput(columns=columns, layout="rows")).dimuons
    assert_allclose(d.pt, [[2, 5]])  # the positive muon comes first
    assert_allclose(d.eta, [[np.log(1 + np.sqrt(2)), 0]])  # asinh 1
    assert_allclose(d.phi, [[-np.pi / 2, np.arctan2(4, 3)]])


def test_masses_that_disagree_are_counted_apart():
    made = lists([[(5, 1), (4, -1)], [(5, 1), (4, -1)]])
    pt, eta = made.muons["pt"], made.muons["eta"]
    four = {"px": pt.copy(), "py": np.zeros(4), "pz": pt * np.sinh(eta)}
    four["px"][2] = 6.0
    made = MuonLists(
        entry=made.entry, event_of=made.event_of, ids={}, mass=None, flat={}, per_muon={}, muons={**made.muons, **four}
    )
    columns = MuonColumns(pt="pt", eta="eta", phi="phi", px="px", py="py", pz="pz", charge="q")
    result = make_pairs(made, DimuonInput(columns=columns, layout="rows", check_mass=0.01))
    assert reasons(result) == ["", "inconsistent:mass"]


def test_nan_in_a_selected_event_column_is_nonfinite_not_selected_away():
    made = lists([[(5, 1), (4, -1)]] * 2)
    made = MuonLists(
        entry=made.entry, event_of=made.event_of, ids={}, mass=None, muons=made.muons, per_muon={},
        flat={"x": np.array([np.nan, 5.0])},
    )  # fmt: skip
    result = make_pairs(made, DimuonInput(columns=LISTS, layout="rows", select=("x < 1",)))
    assert reasons(result) == ["nonfinite:x", "selection:x < 1"]


def test_nan_of_a_muon_that_is_not_selected_does_no_harm():
    made = lists([[(np.nan, 1), (5, 1), (4, -1)]])
    made = MuonLists(
        entry=made.entry, event_of=made.event_of, ids={}, mass=None, muons=made.muons, flat={},
        per_muon={"good": np.array([False, True, True])},
    )  # fmt: skip
    result = make_pairs(made, DimuonInput(columns=LISTS, layout="rows", select=("good == 1",)))
    assert_allclose(result.dimuons.pt, [[5, 4]])


@pytest.mark.parametrize("window", [None, (2.9, 3.3)])
def test_a_mass_that_cannot_be_computed_is_never_kept(window: tuple[float, float] | None):
    # at eta 14 the energies are 1e9 GeV: 1e18 - 1e18 leaves nothing, sometimes less
    eta = np.array([14.0, 14.0 + 1e-9] * 200)
    made = lists([[(1000.0 + i, 1), (1000.0, -1)] for i in range(200)], eta=eta)
    result = make_pairs(made, DimuonInput(columns=LISTS, layout="rows", mass_range=window))
    assert "nonfinite:mass" in reasons(result)
    assert np.all(np.isfinite(result.dimuons.mass))
