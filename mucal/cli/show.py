"""`mucal show`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish


@click.command("show")
@click.argument("path")
@options.as_json
def command(path: str, as_json: bool) -> None:
    """Describe PATH: a result file, a calibration, the folder of a run, or a file of events."""
    plain, lines = mucal.workflow.describe(path)
    finish(plain, lines, as_json=as_json)
