"""`mucal fit`."""

import os
from importlib import import_module

import click

from mucal.cli import options
from mucal.cli.console import finish


def _starts(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """NAME=VALUE of the command line."""
    starts = {}
    for text in values:
        name, separator, value = text.partition("=")
        try:
            starts[name] = float(value)
        except ValueError:
            separator = ""
        if not separator:
            raise click.BadParameter(f"'{text}', expected NAME=VALUE")
    return starts


@click.command("fit")
@click.argument("model")
@click.option("--data", default="", metavar="NAME", help="Pseudo-data of the file, or a file with an Observation.")
@click.option("--asimov", is_flag=True, help="Fit what the model expects (at --start, if given) instead of data.")
@click.option("--unblind", multiple=True, metavar="POI", help="Show the value in data of this parameter, by full name.")
@click.option("--poi", "pois", multiple=True, metavar="NAME", help="Impacts on this one; default: the model's first.")
@click.option("--freeze", multiple=True, metavar="NAME", help="Hold a parameter at its start.")
@click.option("--start", multiple=True, metavar="NAME=VALUE", callback=_starts, help="Where the search begins.")
@click.option("--mc-stat", type=click.Choice(["gamma", "normal", "none"]), help="Constraint of the finite simulation.")
@click.option("--per", type=click.Choice(["bin", "process"]), help="One factor of the simulation for each of these.")
@click.option("--measurement", metavar="NAME", help="Of a pyhf workspace; default: the first.")
@click.option(
    "--systematics", type=click.Choice(["auto", "log_normal", "normal"]), default="auto", show_default=True,
    help="What the effects of a rabbit tensor are.",
)  # fmt: skip
@click.option("--inexact", type=float, metavar="X", help="Largest relative difference of events by our interpolation.")
@click.option("--top", type=click.IntRange(min=0), default=20, show_default=True, help="Parameters in the table.")
@click.option("--figures", metavar="FOLDER", help="Write figures: pulls and impacts, correlations, fitted bins.")
@click.option("--hepdata", metavar="FOLDER", help="Write HEPData tables (YAML).")
@click.option("--report", "page", metavar="PAGE.html", help="Write one page with all figures and tables.")
@options.jobs
@options.as_json
@options.output("Result file, as fit.h5.", required=False)
def command(
    model: str, data: str, asimov: bool, unblind: tuple[str, ...], pois: tuple[str, ...], freeze: tuple[str, ...],
    start: dict[str, float], mc_stat: str | None, per: str | None, measurement: str | None, systematics: str,
    inexact: float | None, top: int, figures: str | None, hepdata: str | None, page: str | None, jobs: int | None,
    as_json: bool, out: str | None, overwrite: bool,
) -> None:  # fmt: skip
    """Fit the templates of MODEL: a result of ours, a pyhf workspace, a rabbit tensor or a datacard.

    The format is recognised by content.  Parameters of interest in data are blinded by hidden offsets until --unblind
    names them.  Impacts are nominal (error of the parameter after the fit) and global (centre of its constraint).
    """
    stage, table = import_module("mucal.workflow.fit"), import_module("mucal.workflow.fit_table")
    reading = import_module("mucal.workflow.fit_files").ReadOptions(
        measurement=measurement, systematic_type=systematics, largest_difference=inexact
    )
    run = stage.run_fit(
        model,
        stage.FitOptions(
            data=data, asimov=asimov, pois=pois, unblind=unblind, freeze=freeze, start=start, mc_stat=mc_stat, per=per,
            read=reading, n_threads=jobs or os.cpu_count() or 1,
        ),
    )  # fmt: skip
    written = _write(run, (out, figures, hepdata, page), overwrite)
    plain = {**table.fit_plain(run.fitted), "written": written}
    finish(plain, [*table.fit_lines(run.fitted, top), *(f"written: {name}" for name in written)], as_json=as_json)


def _write(run: object, wanted: tuple[str | None, ...], overwrite: bool) -> list[str]:
    """The files asked for; their names."""
    if not any(wanted):
        return []
    outputs = import_module("mucal.workflow.fit_outputs")  # figures take seconds to import
    return [str(path) for path in outputs.write_outputs(run, *wanted, overwrite=overwrite)]
