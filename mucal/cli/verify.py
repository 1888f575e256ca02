"""`mucal verify`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish


@click.command("verify")
@click.argument("paths", nargs=-1, required=True)
@options.as_json
def command(paths: tuple[str, ...], as_json: bool) -> None:
    """Compare result files, calibrations and folders of runs with their digests; exit 7 if one differs."""
    states = mucal.workflow.verify(paths)
    finish({"status": "ok", "files": states}, [f"{state:<8} {name}" for name, state in states.items()], as_json=as_json)
