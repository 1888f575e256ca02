import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal.io.selection import parse_selection

VALUES = np.array([-3.0, -1.0, 0.0, 2.0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x < 0", [True, True, False, False]),
        ("x <= 0", [True, True, True, False]),
        ("x > -1", [False, False, True, True]),
        ("x >= -1", [False, True, True, True]),
        ("x == 2", [False, False, False, True]),
        ("x != 2", [True, True, True, False]),
        ("abs(x) < 2.5", [False, True, True, True]),
        ("  abs( x )>=2e0 ", [True, False, False, True]),
    ],
)
def test_each_comparison_by_hand(text: str, expected: list[bool]):
    assert_array_equal(parse_selection(text).passes(VALUES), expected)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_text_is_compared_as_a_whole(quote: str):
    selection = parse_selection(f"Type == {quote}GG{quote}")
    assert_array_equal(selection.passes(np.array(["GG", "G", "GGG"])), [True, False, False])


def test_flags_are_compared_with_true_and_with_one():
    flags = np.array([True, False])
    assert_array_equal(parse_selection("Muon_mediumId == true").passes(flags), flags)
    assert_array_equal(parse_selection("Muon_mediumId == 1").passes(flags), flags)


@pytest.mark.parametrize("op", ["==", "!=", "<", ">", "<=", ">="])
def test_nan_passes_no_comparison(op: str):
    assert not parse_selection(f"x {op} 1").passes(np.array([np.nan])).any()


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "x <", "< 2", "x < y", "x =< 2", "x < 2 and y > 3", "abs(x < 2", "sqrt(x) < 2", "x < nan",
        "x < inf", "__import__('os').system('ls') == 0", "x == 'a' 'b'", "x < 'a'", "abs(x) == 'a'", "x == 0x10",
    ],
)  # fmt: skip
def test_anything_else_is_refused_and_quoted(text: str):
    with pytest.raises(ValueError, match="selection") as caught:
        parse_selection(text)
    assert repr(text) in str(caught.value)


def test_event_numbers_beyond_two_to_the_53_are_compared_exactly():
    values = np.array([2**53, 2**53 + 1])
    assert_array_equal(parse_selection(f"event == {2**53 + 1}").passes(values), [False, True])
