"""The program `mucal`: its commands by name, and the one place where errors become exit codes.

0 ok · 1 bug · 2 usage or configuration · 3 bad input · 4 not converged or not certified · 5 interrupted, resumable ·
6 resources · 7 verification failed
"""

import errno
import json
import shlex
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click

from mucal import __version__
from mucal.cli.console import interruptible, stop_was_asked
from mucal.errors import ConfigError, Interrupted, MucalError, ResourceError, nearest

COMMANDS: Final = {
    "run": "The whole chain: masses, scale, bundle, report. Without --config, the built-in closure.",
    "check": "Say what would be read from the inputs, and what is odd about them.",
    "refit": "Fit tracks or pairs of tracks to recorded hits.",
    "massfit": "Fit the dimuon mass in bins of both muons.",
    "globalcor": "Correct field, material and alignment from all tracks together.",
    "efficiency": "Muon efficiencies by tag and probe, and scale factors with their nuisances.",
    "nonprompt": "Estimate nonprompt muons from regions of isolation and transverse mass.",
    "recoil": "Calibrate the hadronic recoil in Z -> mu mu.",
    "scale": "Derive the momentum scale (A, e, M) per eta bin from mass fits.",
    "templates": "Fill histograms of W or Z events with all variations.",
    "fit": "Fit templates: estimates, pulls, nominal and global impacts.",
    "apply": "Correct the muons of files with a calibration.",
    "export": "Write the files of a calibration that other tools read.",
    "simulate": "Generate dimuons whose truth is known.",
    "compare": "Two finished runs beside each other, in units of their errors.",
    "report": "Write the page of figures of a finished run again.",
    "show": "Describe any file that mucal reads or writes.",
    "verify": "Check the digests of result files and bundles.",
}


class Program(click.Group):
    """Commands are imported when they are used; the list and its one-line helps are data."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"mucal.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown command is told with the nearest that there is."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            near = nearest(args[0], COMMANDS, 1)
            raise ConfigError(
                f"no command '{args[0]}'" + (f"; did you mean '{near[0]}'?" if near else ""),
                kind="usage.unknown_command",
                where={"known": ", ".join(COMMANDS)},
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 ok, 1 bug, 2 usage or configuration, 3 bad input, 4 not converged or not certified, "
    "5 interrupted, 6 resources, 7 verification failed. Units are GeV, cm, tesla and radian.",
)
@click.version_option(__version__, prog_name="mucal", message="%(prog)s %(version)s")
def program() -> None:
    """Muon momentum calibration: from recorded dimuons to correction tables and named uncertainties."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (default: that of the process) and return its exit code."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with interruptible():
            program.main(args=arguments, prog_name="mucal", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        # compiled code turns a KeyboardInterrupt into errors of its own, as SystemError
        return _report(KeyboardInterrupt() if stop_was_asked() else error, arguments)
    return 0


def resuming(arguments: Sequence[str]) -> str:
    """What to type to go on after an interruption."""
    if not arguments or arguments[0] not in ("run", "refit", "simulate"):
        return f"run it again: {shlex.join(('mucal', *arguments))}"
    kept = [argument for argument in arguments if argument not in ("--overwrite", "--resume")]
    return f"go on with: {shlex.join(('mucal', *kept, '--resume'))}"


def _report(error: BaseException, arguments: Sequence[str]) -> int:
    """Print an error the way users can act on, and return its exit code."""
    known = _known(error, arguments)
    if known is None:
        click.echo("".join(traceback.format_exception(error)), err=True)
        click.echo(f"error: this is a bug in mucal: {type(error).__name__}: {error}   [exit 1, bug]", err=True)
        known = MucalError(f"{type(error).__name__}: {error}", kind="bug")
    else:
        click.echo(f"error: {known}", err=True)
    if "--json" in arguments:
        status = "interrupted" if known.exit_code == 5 else "failed"
        plain = {"status": status, "reason": known.what, "kind": known.kind, "exit": known.exit_code}
        click.echo(json.dumps(plain | {"where": known.where, "do": known.do}, indent=2))
    return known.exit_code


def _known(error: BaseException, arguments: Sequence[str]) -> MucalError | None:
    """The error as one of ours; None for a bug."""
    match error:
        case Interrupted():
            return Interrupted(error.what, kind=error.kind, where=error.where, do=resuming(arguments))
        case MucalError():
            return error
        case click.UsageError(ctx=click.Context() as context):
            return ConfigError(error.format_message(), kind="usage", do=f"see {context.command_path} --help")
        case click.ClickException():
            return ConfigError(error.format_message(), kind="usage", do="see mucal --help")
        case KeyboardInterrupt() | click.Abort():
            return Interrupted("interrupted", kind="interrupted", do=resuming(arguments))
        case FileExistsError():
            return ConfigError(
                f"{error.filename} exists already",
                kind="usage.exists",
                do="choose another output, or give --overwrite",
            )
        case MemoryError():
            return ResourceError(f"memory ran out: {error}", kind="resource.memory", do="use smaller chunks")
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return ResourceError("the disk is full", kind="resource.disk", where={"file": error.filename})
        case OSError(filename=str(name)):
            return ConfigError(f"{error.strerror}: {name}", kind="usage.file", where={"file": name})
    return None
