"""`mucal verify`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish


@click.command("verify")
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--against", metavar="FOLDER", help="A calibration that the one in PATHS should agree with, in bytes or in numbers."
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="With --against: largest difference of any number, in its standard errors; 1e-6 without this option.",
)
@options.as_json
def command(paths: tuple[str, ...], against: str | None, tolerance: float | None, as_json: bool) -> None:
    """Compare result files, calibrations and folders of runs with their digests; exit 7 if one differs."""
    if against is not None:
        if len(paths) != 1:
            raise click.UsageError("--against compares one calibration with another; name one folder before it")
        plain, lines = mucal.workflow.verify_against(paths[0], against, tolerance)
        finish(plain, lines, as_json=as_json)
        return
    states = mucal.workflow.verify(paths)
    finish({"status": "ok", "files": states}, [f"{state:<8} {name}" for name, state in states.items()], as_json=as_json)
