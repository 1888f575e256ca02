from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mucal.arrays import check_edges, check_shapes, same_edges


def test_a_wrong_shape_names_table_array_and_both_shapes():
    with pytest.raises(ValueError, match=r"SimpleNamespace\.e has shape \(23,\), expected \(24,\)"):
        check_shapes(SimpleNamespace(A=np.zeros(24), e=np.zeros(23)), A=(24,), e=(24,))


def test_tuples_have_shapes_too():
    check_shapes(SimpleNamespace(names=("a", "b")), names=(2,))


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20, unique=True))
def test_sorted_different_edges_pass(edges: list[float]):
    check_edges("edges", sorted(edges))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([1.0], "expected at least two bin edges"),
        ([[1.0, 2.0]], "in one dimension"),
        ([0.0, np.nan, 1.0], r"edges\[1\] is not finite"),
        ([0.0, 1.0, np.inf], r"edges\[2\] is not finite"),
        ([0.0, 2.0, 1.0, 3.0], r"must increase strictly: edges\[1\] = .*2\.0.*, edges\[2\] = .*1\.0"),
        ([0.0, 0.0], r"edges\[0\]"),
    ],
)
def test_edges_that_are_none_are_refused_with_the_place(edges, message: str):
    with pytest.raises(ValueError, match=message):
        check_edges("edges", edges)


def test_b21_edges_computed_in_two_ways_are_the_same():
    stepped = np.cumsum([-2.4, *np.full(48, 0.1)])
    counted = np.linspace(-2.4, 2.4, 49)
    assert not np.array_equal(stepped[:10], counted[:10])
    assert same_edges(stepped[:4], counted[:4])
    assert same_edges([-2.4 + 24 * 0.1, 1.0], [0.0, 1.0])


@given(st.lists(st.floats(1.0, 100.0), min_size=2, max_size=20, unique=True), st.integers(0, 3))
def test_b21_edges_agree_up_to_four_units_in_the_last_place(edges: list[float], bits: int):
    moved = np.array(sorted(edges))
    for _ in range(bits):
        moved = np.nextafter(moved, np.inf)
    assert same_edges(sorted(edges), moved)
    assert not same_edges(sorted(edges), np.array(sorted(edges)) * (1 + 1e-12))


def test_other_numbers_of_edges_are_other_edges():
    assert not same_edges([0.0, 1.0], [0.0, 1.0, 2.0])
