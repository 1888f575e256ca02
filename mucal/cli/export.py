"""`mucal export`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish


@click.command("export")
@click.argument("calibration")
@options.as_json
@options.output("Folder of the exported files.")
def command(calibration: str, as_json: bool, out: str, overwrite: bool) -> None:
    """Write the files of CALIBRATION (a folder, or a calibration.h5) that other tools read.

    calibration.h5, corrections.json.gz (correctionlib), corrections.root, nuisances.json and manifest.json.  Only a
    certified calibration is written.
    """
    mucal.io.write_bundle(mucal.load(mucal.workflow.bundle_of(calibration)), out, overwrite=overwrite)
    plain, lines = mucal.workflow.describe(out)
    finish(plain, lines, as_json=as_json)
