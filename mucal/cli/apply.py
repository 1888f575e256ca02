"""`mucal apply`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish, listening, paths


@click.command("apply")
@click.argument("calibration")
@click.argument("files", nargs=-1, required=True)
@options.configuration
@options.bad_files
@click.option(
    "--sample", type=click.Choice(["data", "mc"]), default="data", help="Data are corrected; simulation is smeared."
)
@click.option(
    "--vary", "nuisances", multiple=True, metavar="NAME",
    help="Add pt_NAME_up and pt_NAME_down of a nuisance or of a group ('scale' for all); may be repeated.",
)  # fmt: skip
@options.as_json
@options.output("Parquet file, one row a pair.")
def command(
    calibration: str, files: tuple[str, ...], config: str | None, settings: tuple[str, ...], on_bad_file: str | None,
    sample: str, nuisances: tuple[str, ...], as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Correct the muons of FILES with CALIBRATION (the folder, or its calibration.h5), in chunks.

    Columns are named by [input] of the configuration.  Muons outside the calibration's range get NaN and are counted.
    """
    analysis = mucal.workflow.load_analysis(
        config, settings=options.settings_with(settings, on_bad_file), files=paths(files), preset="dimuons"
    )
    with listening(as_json=as_json) as tell:
        ledger = mucal.workflow.apply(
            mucal.load(mucal.workflow.bundle_of(calibration)), analysis, out,
            sample="mc" if sample == "mc" else "data", nuisances=nuisances, overwrite=overwrite, tell=tell,
        )  # fmt: skip
    finish({"output": out, "ledger": ledger.to_dict()}, [f"apply: {ledger.line()}"], as_json=as_json)
