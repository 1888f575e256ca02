import pytest
from hypothesis import given
from hypothesis import strategies as st

from mucal.ledger import EXAMPLES_KEPT, Ledger

reasons = st.dictionaries(st.sampled_from(["charge", "range:pt", "nonfinite:pt", "looper"]), st.integers(0, 1000))
ledgers = st.builds(
    lambda used, rejected: Ledger(
        read=used + sum(rejected.values()),
        used=used,
        rejected=rejected,
        examples={reason: tuple(f"entry {i}" for i in range(min(n, 7))) for reason, n in rejected.items()},
    ),
    st.integers(0, 10**9),
    reasons,
)


def test_the_line_adds_up_in_words():
    ledger = Ledger(read=20_000, used=19_929, rejected={"looper": 38, "nonfinite:pt": 33})
    assert ledger.line() == "read 20 000 events = used 19 929 + looper 38 + nonfinite:pt 33"


def test_a_ledger_that_does_not_add_up_is_refused():
    with pytest.raises(ValueError, match=r"read 10 events, but used 8 \+ rejected {'charge': 1} = 9"):
        Ledger(read=10, used=8, rejected={"charge": 1})


@given(ledgers, ledgers)
def test_the_sum_of_chunks_adds_up(one: Ledger, two: Ledger):
    total = one + two
    assert total.read == one.read + two.read == total.used + sum(total.rejected.values())


@given(ledgers, ledgers)
def test_counts_do_not_depend_on_the_order_of_chunks(one: Ledger, two: Ledger):
    assert dict((one + two).rejected) == dict((two + one).rejected)


@given(ledgers, ledgers, ledgers)
def test_chunks_may_be_grouped(one: Ledger, two: Ledger, three: Ledger):
    assert ((one + two) + three).to_dict() == (one + (two + three)).to_dict()


@given(ledgers)
def test_nothing_added_changes_nothing(ledger: Ledger):
    assert (ledger + Ledger()).to_dict() == (Ledger() + ledger).to_dict() == ledger.to_dict()


@given(ledgers)
def test_a_ledger_survives_plain_values(ledger: Ledger):
    assert Ledger(**ledger.to_dict()).to_dict() == ledger.to_dict()


def test_the_first_five_examples_are_kept():
    ledger = Ledger(read=9, rejected={"charge": 9}, examples={"charge": tuple("abcdefghi")})
    assert ledger.examples["charge"] == tuple("abcdefghi")[:EXAMPLES_KEPT]
    assert (ledger + ledger).examples["charge"] == tuple("abcde")


def test_reasons_without_counts_are_left_out():
    assert dict(Ledger(read=1, used=1, rejected={"charge": 0}).rejected) == {}


def test_different_things_are_not_added():
    with pytest.raises(ValueError, match="cannot add a ledger of muons to one of events"):
        Ledger(read=1, used=1) + Ledger(unit="muons", read=1, used=1)


def test_counts_cannot_be_changed_afterwards():
    with pytest.raises(TypeError):
        Ledger(read=1, rejected={"charge": 1}).rejected["charge"] = 2  # type: ignore[index]
