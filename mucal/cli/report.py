"""`mucal report`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish


@click.command("report")
@click.argument("run")
@options.as_json
def command(run: str, as_json: bool) -> None:
    """Write report.html in the folder RUN of a finished run again, from the results that stand there."""
    path = mucal.workflow.write_report(run)
    finish({"report": str(path)}, [f"report: {path}"], as_json=as_json)
