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
@click.option("--pairs", is_flag=True, help="Pairs from one vertex, instead of single tracks.")
@click.option("--applied", metavar="CORRECTIONS", help="Corrections of `mucal globalcor solve` that the fit applies.")
@click.option(
    "--reference",
    metavar="REFERENCE",
    help="File of `mucal globalcor reference`: pairs are fitted with their mass as well, in columns constrained_*.",
)
@click.option("--keep-failed", is_flag=True, help="Rows of fits that failed too, with NaN and their status.")
@options.configuration
@options.jobs
@options.as_json
@click.option("--resume", is_flag=True, help="Take up the chunks that a stopped run left in OUT.parts.")
@options.output("Parquet or ROOT file, one row a track or pair; or .h5 with all fits.")
def command(
    files: tuple[str, ...], pairs: bool, applied: str | None, reference: str | None, keep_failed: bool,
    config: str | None, settings: tuple[str, ...], jobs: int | None, as_json: bool, resume: bool, out: str,
    overwrite: bool,
) -> None:  # fmt: skip
    """Fit the tracks of FILES of hits (ROOT, Parquet or .h5): hits to momenta, covariances and chi2.

    Detector and field are those of [refit], with its tables [refit.input], [refit.fit] and [refit.robust]; of pairs
    also `mass` and `width`, [refit.selection] and [refit.beam].  Units are GeV, cm, rad, tesla.  Files are read in
    chunks; no result depends on their size or on --jobs.
    """
    run = stages().load_refit(config, settings)
    with listening(as_json=as_json) as tell:
        found = stages().refit_files(
            files, out, run, pairs=pairs, keep_failed=keep_failed, applied=applied, reference=reference, jobs=jobs,
            overwrite=overwrite, resume=resume, tell=tell,
        )  # fmt: skip
    lines = [f"refit: {line}" for line in found.summary()]
    finish({"output": out} | found.to_dict(), [*lines, f"written: {out}, {found.written} rows"], as_json=as_json)
