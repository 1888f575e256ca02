"""`mucal run`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish, listening, paths


@click.command("run")
@click.argument("files", nargs=-1)
@options.configuration
@options.bad_files
@click.option("--resume", is_flag=True, help="Go on where an interrupted run in OUT stopped.")
@options.seed
@options.jobs
@options.as_json
@options.output("Folder for everything the run makes.")
def command(
    files: tuple[str, ...], config: str | None, settings: tuple[str, ...], on_bad_file: str | None, resume: bool,
    seed: int | None, jobs: int | None, as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """The whole chain: masses, scale table, calibration, page.

    FILES stand in for those of [input] in the configuration.  Without --config, a sample with a known distortion is
    generated and the distortion recovered (about a minute).  Leaves in OUT: report.html, result.json, calibration/,
    scale.h5, massfit.h5 and every intermediate stage.
    """
    if files and config is None:
        raise click.UsageError("FILES need --config: their columns have to be named")
    analysis = mucal.workflow.load_analysis(
        config, settings=options.settings_with(settings, on_bad_file), files=paths(files), seed=seed
    )
    with listening(as_json=as_json) as tell, mucal.workflow.at_most(jobs):
        outcome = mucal.workflow.run(analysis, out, resume=resume, overwrite=overwrite, tell=tell)
    finish(outcome.to_dict(), ["", *outcome.lines, f"report: {out}/report.html"], as_json=as_json)
