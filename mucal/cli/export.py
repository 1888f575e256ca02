"""`mucal export`."""

from importlib import import_module
from typing import Any

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish


def stage() -> Any:
    """`workflow.release`, imported when the command runs."""
    return import_module("mucal.workflow.release")


def layout() -> Any:
    """`io.wremnants`, likewise."""
    return import_module("mucal.io.wremnants")


@click.command("export")
@click.argument("calibration")
@click.option("--roccor", metavar="FILE", help="Write a Rochester text table as well, e/pT frozen at one pT.")
@click.option("--wremnants", metavar="FOLDER", help="Write the ROOT files of W-mass programs as well, one a table.")
@click.option(
    "--efficiencies", metavar="FILE", help="Attach scale factors, a .h5 of mucal efficiency smooth or export."
)
@click.option("--onnx", is_flag=True, help="Attach the map of the response as an ONNX graph too (mucal[onnx]).")
@click.option("--without", multiple=True, metavar="NAME", help="Leave an attachment out, as report.html; repeatable.")
@options.as_json
@options.output("Folder of the exported files.")
def command(
    calibration: str, roccor: str | None, wremnants: str | None, efficiencies: str | None, onnx: bool,
    without: tuple[str, ...], as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Write the files of CALIBRATION (a folder, or a calibration.h5) that other tools read.

    calibration.h5, corrections.json.gz (correctionlib; corrections_raw.json.gz without factors on the errors),
    muonscare.json.gz, corrections.root, nuisances.json and manifest.json; and the attachments of a release, as
    report.html, fits.parquet and response_map.npz.  Only a certified calibration is written.
    """
    attachments = stage().attachments_of(calibration, efficiencies)
    if onnx:
        attachments = stage().with_onnx(attachments)
    if unknown := sorted(set(without) - set(attachments)):
        there = ", ".join(attachments) or "none"
        raise click.UsageError(f"--without '{unknown[0]}': no such attachment; there are {there}")
    found = stage().export_release(calibration, out, attachments, without=without, overwrite=overwrite)
    if roccor is not None:
        mucal.io.write_roccor(found, roccor, overwrite=overwrite)
    if wremnants is not None:
        mucal.io.write_wremnants(found, wremnants, overwrite=overwrite)
    plain, lines = mucal.workflow.describe(out)
    if wremnants is not None and (unnamed := layout().left_out(found)):
        lines = [*lines, f"{len(unnamed)} nuisances have no name in {wremnants}: {', '.join(unnamed)}"]
    finish(plain, lines, as_json=as_json)
