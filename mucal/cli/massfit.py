"""`mucal massfit`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish, listening, paths


@click.command("massfit")
@click.argument("files", nargs=-1)
@options.configuration
@options.bad_files
@click.option(
    "--sample", type=click.Choice(["data", "simulation"]), default="data", help="Section [input] or [simulation]."
)
@click.option("--table", metavar="FILE", help="Write the fits as a Parquet table as well, one row a kinematic bin.")
@options.seed
@options.jobs
@options.as_json
@options.output("Result file, as massfit.h5.")
def command(
    files: tuple[str, ...], config: str | None, settings: tuple[str, ...], on_bad_file: str | None, sample: str,
    table: str | None,
    seed: int | None, jobs: int | None, as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Fit the dimuon mass in bins of both muons' eta and pT (GeV).

    Bins, window and model come from [bins] and [massfit]; all events are used, without a split.
    """
    options.require_columns(files, config)
    analysis = mucal.workflow.load_analysis(
        config, settings=options.settings_with(settings, on_bad_file), files=paths(files), seed=seed, preset="dimuons"
    )
    with listening(as_json=as_json) as tell, mucal.workflow.at_most(jobs):
        fits = mucal.workflow.fit_masses(analysis, sample=sample, tell=tell)
    fits.save(out, overwrite=overwrite)
    if table is not None:
        mucal.io.write_mass_fits(fits, table, overwrite=overwrite)
    plain, _ = mucal.workflow.describe(out)
    finish(plain, [f"massfit: {mucal.workflow.fit_summary(fits)}", f"written: {out}"], as_json=as_json)
    fits.require_converged(analysis.general.min_good)
