"""`mucal run`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish, listening, paths


@click.command("run")
@click.argument("files", nargs=-1)
@options.configuration
@click.option(
    "--quick",
    "preset",
    flag_value="quick",
    help="The built-in closure with few events: a minute once its loops are compiled, which takes the first run three.",
)
@click.option("--full", "preset", flag_value="full", help="The built-in closure with ten times the events.")
@click.option("--dimuons", "preset", flag_value="dimuons", help="A closure of generated dimuons, without hits.")
@options.bad_files
@click.option("--resume", is_flag=True, help="Go on where an interrupted run in OUT stopped.")
@click.option("--cache", metavar="FOLDER", help="Keep stages by what they were made from, for any later run.")
@options.seed
@options.jobs
@options.as_json
@options.output("Folder for everything the run makes.")
def command(
    files: tuple[str, ...], config: str | None, settings: tuple[str, ...], preset: str | None,
    on_bad_file: str | None, resume: bool, cache: str | None, seed: int | None, jobs: int | None, as_json: bool,
    out: str, overwrite: bool,
) -> None:  # fmt: skip
    """The whole chain: masses, scale table, calibration, page.

    FILES stand in for those of [input] in the configuration.  Without --config, the built-in closure: J/psi, Upsilon
    and Z as hits of a distorted tracker, corrected and compared with what was injected.  Leaves in OUT: report.html,
    result.json, calibration/, corrections.h5, scale.h5, massfit.h5 and every intermediate stage.
    """
    options.require_columns(files, config)
    if preset is not None and config is not None:
        raise click.UsageError(f"--{preset} is a size of the built-in closure, and --config names another analysis")
    analysis = mucal.workflow.load_analysis(
        config, settings=options.settings_with(settings, on_bad_file), files=paths(files), seed=seed,
        preset=preset or "closure",
    )  # fmt: skip
    ahead = mucal.workflow.compiling_ahead(wanted=analysis.tracks is not None and jobs != 1)
    with listening(as_json=as_json) as tell, mucal.workflow.at_most(jobs), ahead:
        outcome = mucal.workflow.run(analysis, out, resume=resume, overwrite=overwrite, cache=cache, tell=tell)
    finish(outcome.to_dict(), ["", *outcome.lines, *next_steps(outcome.status, out)], as_json=as_json)


def next_steps(status: str, out: str) -> list[str]:
    """Where the page stands, and what to do with the calibration if there is one."""
    lines = [f"report: {out}/report.html"]
    if status == "ok":
        lines += [
            f"next: mucal apply {out}/calibration FILES --config FILE.toml; in Python mucal.load('{out}/calibration');",
            "      docs/how_to says how to go on with hits, dimuons, tables or histograms of your own",
        ]
    return lines
