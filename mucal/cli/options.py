"""Options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def configuration(function: F) -> F:
    """``--config FILE.toml`` and ``--set a.b=value``."""
    function = click.option(
        "--set", "settings", multiple=True, metavar="KEY=VALUE",
        help="Lay a value over the configuration, as --set bins.mass_bins=40; may be repeated.",
    )(function)  # fmt: skip
    return click.option("--config", metavar="FILE.toml", help="The analysis; see docs/how_to_run.md.")(function)


def bad_files(function: F) -> F:
    """``--on-bad-file fail|skip``."""
    return click.option(
        "--on-bad-file", type=click.Choice(["fail", "skip"]), default=None,
        help="A file that cannot be read: fail (default), or skip it and list it in the ledger.",
    )(function)  # fmt: skip


def jobs(function: F) -> F:
    """``--jobs N``."""
    return click.option(
        "--jobs", type=click.IntRange(min=1), metavar="N",
        help="At most N threads; default: all cores. No result depends on it.",
    )(function)  # fmt: skip


def scheduler(function: F) -> F:
    """``--scheduler ADDRESS``."""
    return click.option(
        "--scheduler", metavar="ADDRESS", help="Of dask.distributed, whose workers take the place of --jobs."
    )(function)


def seed(function: F) -> F:
    """``--seed S``."""
    return click.option(
        "--seed", type=int, metavar="S", help="Of all that is drawn; default: those of the configuration."
    )(function)


def as_json(function: F) -> F:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")(function)


def output(help_text: str, *, required: bool = True) -> Callable[[F], F]:
    """``-o OUT`` and ``--overwrite``."""

    def add(function: F) -> F:
        function = click.option("--overwrite", is_flag=True, help="Replace what stands at the output.")(function)
        return click.option("-o", "--output", "out", required=required, metavar="OUT", help=help_text)(function)

    return add


def require_columns(files: tuple[str, ...], config: str | None) -> None:
    """Raises UsageError for files of dimuons without a configuration that names their columns."""
    if files and config is None:
        raise click.UsageError("FILES need --config: their columns have to be named")


def settings_with(settings: tuple[str, ...], on_bad_file: str | None) -> tuple[str, ...]:
    """The settings of a command line, `--on-bad-file` among them."""
    return settings if on_bad_file is None else (*settings, f'input.on_bad_file="{on_bad_file}"')
