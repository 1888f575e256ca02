"""`mucal fit`."""

import os
from importlib import import_module
from typing import Any

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
@click.option("--toy", type=int, metavar="SEED", help="Fit pseudo-data drawn around that, everything fluctuating.")
@click.option(
    "--mode", type=click.Choice(["mw", "wlike", "dilepton", "helicity", "slices"]),
    help="Show as this measurement, with its cross-checks, beside the published numbers.",
)  # fmt: skip
@click.option("--with", "beside", multiple=True, metavar="FILE", help="Channel fitted together with MODEL; repeatable.")
@click.option("--by", multiple=True, type=click.Choice(["charge", "eta_sign", "central", "eta", "slices", "max_eta"]),
              help="Splits of --mode slices; default: all that the axes allow, for pairs max_eta.")  # fmt: skip
@click.option("--prior", type=click.FloatRange(0, min_open=True), default=0.5, show_default=True,
              help="Relative, of the scales of --mode helicity.")  # fmt: skip
@click.option("--parton-sets", type=int, metavar="SEED", help="Factors on drawn sets of partons (takes many fits).")
@click.option("--boson", metavar="FILE", help="Templates of generated bosons, whose pT the fit is to predict.")
@click.option("--pairs", metavar="FILE", help="With --boson: pairs, whose own fit finds that pT.")
@click.option("--scan", "scans", multiple=True, metavar="NAME", help="Profile likelihood along a parameter.")
@click.option("--contour", "contours", multiple=True, nargs=2, metavar="NAME NAME", help="Contours of two parameters.")
@click.option("--unblind", multiple=True, metavar="POI", help="Show the value in data of this parameter, by full name.")
@click.option("--poi", "pois", multiple=True, metavar="NAME", help="Impacts on this one; default: the model's first.")
@click.option("--freeze", multiple=True, metavar="NAME", help="Hold a parameter at its start.")
@click.option("--start", multiple=True, metavar="NAME=VALUE", callback=_starts, help="Where the search begins.")
@click.option("--mc-stat", type=click.Choice(["gamma", "normal", "none"]), help="Constraint of the finite simulation.")
@click.option("--per", type=click.Choice(["bin", "process"]), help="One factor of the simulation for each of these.")
@click.option(
    "--backend", type=click.Choice(["auto", "plain", "compiled", "jax"]), default="auto", show_default=True,
    help="Of the loops over bins; jax (extra mucal[gpu]) runs on a GPU where there is one.",
)  # fmt: skip
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
    model: str, data: str, asimov: bool, toy: int | None, mode: str | None, beside: tuple[str, ...],
    by: tuple[str, ...], prior: float, parton_sets: int | None, boson: str | None, pairs: str | None,
    scans: tuple[str, ...], contours: tuple[tuple[str, str], ...], unblind: tuple[str, ...], pois: tuple[str, ...],
    freeze: tuple[str, ...], start: dict[str, float], mc_stat: str | None, per: str | None, backend: str,
    measurement: str | None, systematics: str,
    inexact: float | None, top: int, figures: str | None, hepdata: str | None, page: str | None, jobs: int | None,
    as_json: bool, out: str | None, overwrite: bool,
) -> None:  # fmt: skip
    """Fit the templates of MODEL: a result of ours, a pyhf workspace, a rabbit tensor or a datacard.

    The format is recognised by content.  Parameters of interest in data are blinded by hidden offsets until --unblind
    names them.  Impacts are nominal (error of the parameter after the fit) and global (centre of its constraint).

    With --mode the parameter of interest is a mass in units of 100 MeV: mw, wlike and dilepton give its error by source
    and the difference of charges, slices the masses of parts of the sample, helicity (of templates filled with
    --helicity) the fit with free cross sections.

    With --boson (templates of channel boson_z or boson_w) the nuisances of the fit are carried to the spectrum of the
    bosons' pT; with --pairs beside it, a fit of pairs (channel kinematics) is compared with that prediction.
    """
    stage, table = import_module("mucal.workflow.fit"), import_module("mucal.workflow.fit_table")
    reading = import_module("mucal.workflow.fit_files").ReadOptions(
        measurement=measurement, systematic_type=systematics, per=per, largest_difference=inexact
    )
    asked = stage.FitOptions(
        data=data, asimov=asimov, toy=toy, pois=pois, unblind=unblind, freeze=freeze, start=start,
        scanned=(*scans, *(name for pair in contours for name in pair)), mc_stat=mc_stat, per=per, read=reading,
        n_threads=jobs or os.cpu_count() or 1, backend=backend,
    )  # fmt: skip
    more: dict[str, Any] = {}
    if mode is None:
        _refuse_without_mode(beside=beside, by=by, parton_sets=parton_sets)
        run = stage.run_fit(model, asked)
    else:
        measuring = import_module("mucal.workflow.measurement")
        how = measuring.ModeOptions(mode=mode, beside=beside, prior=prior, set_seed=parton_sets, **_given(by=by))
        run, more["measurement"] = measuring.run_mode(model, how, asked, lambda line: click.echo(line, err=True))
    if pairs and not boson:
        raise click.UsageError("--pairs: only with --boson")
    if boson:
        more["spectrum"] = import_module("mucal.workflow.fit_spectrum").boson_shares(run, boson, asked, pairs)
    if scans or contours:
        more["drawn"] = import_module("mucal.workflow.fit_scans").draw_likelihood(run, scans, contours, asked)
    plain, lines = _described(run, top, table, more)
    written = _write(run, (out, figures, hepdata, page), overwrite, more)
    finish({**plain, "written": written}, [*lines, *(f"written: {name}" for name in written)], as_json=as_json)


def _refuse_without_mode(**given: object) -> None:
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value not in (None, ())]
    if names:
        raise click.UsageError(f"{', '.join(names).replace('beside', 'with')}: only with --mode")


def _given(**options: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Options that were given; the others keep their default."""
    return {name: value for name, value in options.items() if value}


def _described(run: Any, top: int, table: Any, more: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Plain values and lines of a fit, and of what was measured beside it."""
    plain, lines = table.fit_plain(run.fitted), table.fit_lines(run.fitted, top)
    if "measurement" in more:
        grids = import_module("mucal.workflow.measurement_table")
        blinded = bool(run.fitted.result.blinded)
        lines += grids.table_lines(grids.measurement_grids(more["measurement"], blinded=blinded))
        plain["measurement"] = grids.measurement_plain(more["measurement"])
    if "spectrum" in more:
        grids, spectra = (import_module(f"mucal.workflow.{m}") for m in ("measurement_table", "fit_spectrum"))
        lines += grids.table_lines([spectra.shares_grid(more["spectrum"])])
        plain["boson"] = spectra.shares_plain(more["spectrum"])
    if "drawn" in more:
        scans = import_module("mucal.workflow.fit_scans")
        lines += scans.drawn_lines(more["drawn"])
        plain["profile_likelihood"] = scans.drawn_plain(more["drawn"])
    return plain, lines


def _write(run: object, wanted: tuple[str | None, ...], overwrite: bool, more: dict[str, Any]) -> list[str]:
    """The files asked for; their names."""
    if not any(wanted):
        return []
    outputs = import_module("mucal.workflow.fit_outputs")  # figures take seconds to import
    return [str(path) for path in outputs.write_outputs(run, *wanted, overwrite=overwrite, **more)]
