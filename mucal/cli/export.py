"""`mucal export`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish


@click.command("export")
@click.argument("calibration")
@click.option("--roccor", metavar="FILE", help="Write a Rochester text table as well, e/pT frozen at one pT.")
@click.option("--wremnants", metavar="FOLDER", help="Write the ROOT files of W-mass programs as well, one a table.")
@options.as_json
@options.output("Folder of the exported files.")
def command(
    calibration: str, roccor: str | None, wremnants: str | None, as_json: bool, out: str, overwrite: bool
) -> None:  # fmt: skip
    """Write the files of CALIBRATION (a folder, or a calibration.h5) that other tools read.

    calibration.h5, corrections.json.gz (correctionlib; corrections_raw.json.gz without factors on the errors),
    corrections.root, nuisances.json and manifest.json.  Only a certified calibration is written.
    """
    found = mucal.load(mucal.workflow.bundle_of(calibration))
    mucal.io.write_bundle(found, out, overwrite=overwrite)
    if roccor is not None:
        mucal.io.write_roccor(found, roccor, overwrite=overwrite)
    if wremnants is not None:
        mucal.io.write_wremnants(found, wremnants, overwrite=overwrite)
    plain, lines = mucal.workflow.describe(out)
    finish(plain, lines, as_json=as_json)
