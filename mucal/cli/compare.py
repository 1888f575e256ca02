"""`mucal compare`."""

import math
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mucal.cli import options
from mucal.cli.console import finish


@click.command("compare")
@click.argument("first")
@click.argument("second")
@click.option("--all", "everything", is_flag=True, help="Print all numbers, not only those furthest apart.")
@options.as_json
@options.output("Page, as compare.html.", required=False)
def command(first: str, second: str, everything: bool, as_json: bool, out: str | None, overwrite: bool) -> None:
    """Compare the folders FIRST and SECOND of two finished runs.

    Every number that both have stands beside the other, with the difference in units of both errors, and so do the
    lines of the configuration that differ.  Runs of different resonances, bins of eta or momenta are refused.
    """
    stage, page = import_module("mucal.workflow.comparison"), import_module("mucal.report.comparison_page")
    found = stage.compare_runs(first, second)
    lines = page.comparison_lines(found, everything=everything)
    if out is not None:
        lines.append(f"page: {stage.write_comparison(found, Path(out), overwrite=overwrite)}")
    plain = {
        "first": first, "second": second, "chi2": found.chi2, "ndf": found.ndf, "p_value": found.p_value,
        "shared_events": found.shared,
        "groups": {title: {pair.name: _plain(pair) for pair in pairs} for title, pairs in found.groups.items()},
        "configuration": {key: [a, b] for key, a, b in found.configuration},
    }  # fmt: skip
    finish(plain, lines, as_json=as_json)


def _plain(pair: Any) -> dict[str, float | None]:
    numbers = {
        "first": pair.first, "second": pair.second, "first_error": pair.errors[0], "second_error": pair.errors[1],
        "pull": pair.pull,
    }  # fmt: skip
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}
