"""`mucal check`."""

from importlib import import_module

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish, paths


@click.command("check")
@click.argument("files", nargs=-1)
@options.configuration
@options.bad_files
@options.as_json
def command(
    files: tuple[str, ...], config: str | None, settings: tuple[str, ...], on_bad_file: str | None, as_json: bool
) -> None:
    """Say what would be read from FILES, before the run: columns, medians, ranges, what is odd.

    Configuration and files are checked exactly as the run would; nothing is written.  Files of hits are checked as
    `mucal refit` would read them, on the detector of [refit].
    """
    if files and import_module("mucal.workflow.hits_description").are_hits(files[0], config, settings):
        given = settings if on_bad_file is None else (*settings, f'refit.input.on_bad_file="{on_bad_file}"')
        run = import_module("mucal.workflow.refit").load_refit(config, given)
        plain, lines = import_module("mucal.workflow.hits_description").check_hits(files, run.input, run.detector)
        finish(plain, lines, as_json=as_json)
        return
    options.require_columns(files, config)
    analysis = mucal.workflow.load_analysis(
        config, settings=options.settings_with(settings, on_bad_file), files=paths(files), preset="dimuons"
    )
    plain, lines = mucal.workflow.check(analysis)
    finish(plain, lines, as_json=as_json)
