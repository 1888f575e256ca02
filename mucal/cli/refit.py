"""`mucal refit`."""

from importlib import import_module
from typing import Any

import click

from mucal.cli import options
from mucal.cli.console import finish, listening


def stages() -> Any:
    """`workflow.refit`, imported when the command runs: it brings in compiled loops."""
    return import_module("mucal.workflow.refit")


@click.command("refit")
@click.argument("files", nargs=-1, required=True)
@click.option("--pairs", is_flag=True, help="Pairs from one vertex, without their mass, instead of single tracks.")
@click.option("--applied", metavar="CORRECTIONS", help="Corrections of `mucal globalcor solve` that the fit applies.")
@click.option("--keep-failed", is_flag=True, help="Rows of fits that failed too, with NaN and their status.")
@options.configuration
@options.jobs
@options.as_json
@options.output("Parquet or ROOT file, one row a track or pair; or .h5 with all fits of single tracks.")
def command(
    files: tuple[str, ...], pairs: bool, applied: str | None, keep_failed: bool, config: str | None,
    settings: tuple[str, ...], jobs: int | None, as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Fit the tracks of FILES of hits (ROOT, Parquet or .h5): hits to momenta, covariances and chi2.

    Detector and field are those of [refit], with its tables [refit.input], [refit.fit] and [refit.robust].  Units are
    GeV, cm, rad, tesla.  Files are read in chunks; no result depends on their size or on --jobs.
    """
    run = stages().load_refit(config, settings)
    with listening(as_json=as_json) as tell:
        found = stages().refit_files(
            files, out, run, pairs=pairs, keep_failed=keep_failed, applied=applied, jobs=jobs, overwrite=overwrite,
            tell=tell,
        )  # fmt: skip
    lines = [f"refit: {line}" for line in found.summary()]
    finish({"output": out} | found.to_dict(), [*lines, f"written: {out}, {found.written} rows"], as_json=as_json)
