"""What a terminal shows."""

import pytest

from mucal.cli.console import folded
from mucal.cli.run import next_steps

TABLE = [
    "                        injected  error     p",
    "field: 18 modes [1e-4 T]    13.5   5.29  0.96",
    "e [MeV]                    0.216  0.499      ",
]


def test_rows_of_a_table_fold_in_a_narrow_terminal_and_stay_aligned():
    assert [part for row in TABLE for part in folded(row, 30)] == [
        "         injected  error     p",
        "field: 18 modes [1e-4 T]",
        "             13.5   5.29  0.96",
        "e [MeV]",
        "            0.216  0.499      ",
    ]


@pytest.mark.parametrize("line", [*TABLE, "a sentence that is longer than thirty characters, as most of them are", ""])
def test_what_fits_and_what_is_no_table_is_left_alone(line: str):
    assert folded(line, 45) == [line]


def test_a_run_ends_with_its_page_and_what_to_do_with_what_it_released():
    assert next_steps("not_certified", "first") == ["report: first/report.html"]
    page, apply, _ = next_steps("ok", "first")
    assert page == "report: first/report.html"
    assert "mucal apply first/calibration FILES" in apply
