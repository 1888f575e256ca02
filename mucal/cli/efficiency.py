"""`mucal efficiency`."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from mucal.cli import options
from mucal.cli.console import finish

STEPS = ("reco", "tracking", "idip", "trigger", "iso", "veto")


def stages() -> Any:
    """`workflow.efficiency`, imported when a command runs: it brings in compiled loops and figures."""
    return import_module("mucal.workflow.efficiency")


@click.group("efficiency")
def command() -> None:
    """Muon efficiencies by tag and probe, and scale factors with their nuisances.

    The steps: probes of one selection step in files, one row a probe; efficiencies of data by pass/fail mass fits and
    of simulation by counting; scale factors smoothed in pT; export.  Units are GeV.
    """


_step = click.option("--step", "name", type=click.Choice(STEPS), required=True, help="Which conditional efficiency.")


@command.command("simulate")
@_step
@click.option("-n", "--events", "n", type=click.IntRange(min=1), default=1_000_000, show_default=True, help="Pairs.")
@click.option("--background", type=click.FloatRange(0.0, 1.0), default=0.0, show_default=True, help="Fraction of them.")
@options.seed
@options.as_json
@options.output("Parquet file, as probes.parquet.")
def simulate(
    name: str, n: int, background: float, seed: int | None, as_json: bool, out: str, overwrite: bool
) -> None:  # fmt: skip
    """Generate probes whose efficiency is known."""
    found = stages().simulate_probes(name, n, 1 if seed is None else seed, background, out, overwrite=overwrite)
    finish({"output": out, "probes": found}, [f"{found} probes of {name}", f"written: {out}"], as_json=as_json)


@command.command("measure")
@click.argument("files", nargs=-1, required=True)
@_step
@click.option("--simulation", multiple=True, metavar="FILE", help="Simulated probes matched to truth: the templates.")
@click.option("--count", is_flag=True, help="Count instead of fitting: FILES are simulation without background.")
@click.option(
    "--figures",
    metavar="FOLDER",
    help="Draw failed bins and the worst fits here; without it, failed ones in OUT_failed.",
)
@options.configuration
@options.as_json
@options.output("Result file, as idip_data.h5.")
def measure(
    files: tuple[str, ...], name: str, simulation: tuple[str, ...], count: bool, figures: str | None,
    config: str | None, settings: tuple[str, ...], as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Efficiencies of one step in bins of eta, pT (GeV), charge and, for trigger and iso, u_T."""
    asked = stages().load_efficiency(config, settings)
    method = "count" if count else "fit"
    tell = partial(click.echo, err=True)
    found = stages().measure_files(files, name, asked, simulation=simulation, method=method, tell=tell)
    found.save(out, overwrite=overwrite)
    failed = [f"  failed: {text}" for text in found.failed()]
    if figures is not None:
        stages().draw_spectra(found, figures)
    elif failed:
        folder = Path(out).with_suffix("").as_posix() + "_failed"
        failed.append(f"  drawn: {len(stages().draw_spectra(found, folder, worst=0))} in {folder}")
    rejected = {why: n for why, n in found.histograms.rejected.items() if n}
    plain = {"output": out, "usable": int(found.usable.sum()), "bins": found.status.size, "failed": found.failed(),
             "rejected": rejected}  # fmt: skip
    counts, squares = found.histograms.counts.sum(), found.histograms.sumw2.sum()
    used = f"  used {counts:.0f}, of effective number {counts**2 / squares:.0f}, rejected {rejected or 'none'}"
    lines = [*found.summary(), used]
    finish(plain, [*lines, *failed[:20], *failed[20:][-1:], f"written: {out}"], as_json=as_json)


@command.command("smooth")
@click.argument("data")
@click.argument("simulation")
@click.option("--signal", metavar="FILE", help="Efficiencies of data under another signal model: effSyst.")
@click.option("--background", metavar="FILE", help="Under another background model: effSystAltBkg.")
@click.option("--alternative", multiple=True, metavar="NAME=FILE", help="Under any other model; repeatable.")
@click.option("--figure", metavar="FILE.png", help="Draw the scale factors against pT.")
@options.configuration
@options.as_json
@options.output("Result file, as idip_sf.h5.")
def smooth(
    data: str, simulation: str, signal: str | None, background: str | None, alternative: tuple[str, ...],
    figure: str | None, config: str | None, settings: tuple[str, ...], as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Scale factors of DATA over SIMULATION as polynomials in pT, with covariance and alternatives."""
    asked = stages().load_efficiency(config, settings)
    others = {name: path for name, path in (("signal", signal), ("background", background)) if path is not None}
    for text in alternative:
        name, equal, path = text.partition("=")
        if not (name and equal and path):
            raise click.UsageError(f"--alternative '{text}'; expected NAME=FILE")
        others[name] = path
    found = stages().smooth_files(data, simulation, asked, others)
    found.save(out, overwrite=overwrite)
    if figure is not None:
        load = stages().Efficiencies.load
        stages().draw_scale_factors(found, load(data), load(simulation), figure)
    plain = {"output": out, "degree": found.nominal.degree_pt, "chi2": float(found.nominal.chi2.sum()),
             "ndf": float(found.nominal.ndf.sum()), "left_out": found.nominal.left_out}  # fmt: skip
    finish(plain, [*found.summary(), f"written: {out}"], as_json=as_json)


@command.command("export")
@click.argument("files", nargs=-1, required=True)
@click.option("--veto", metavar="FILE", help="Scale factors of the veto on a second muon.")
@options.as_json
@options.output("File of correctionlib (.json, .json.gz), ROOT (.root), or a result (.h5).")
def export(files: tuple[str, ...], veto: str | None, as_json: bool, out: str, overwrite: bool) -> None:
    """Write the scale factors of several steps, FILES of `smooth` in the order of the chain, to one file."""
    counts = dict(stages().export_model(files, veto, out, overwrite=overwrite).counts())
    parts = ", ".join(f"{n} {group}" for group, n in counts.items())
    finish({"output": out, "nuisances": counts}, [f"nuisances: {parts}", f"written: {out}"], as_json=as_json)
