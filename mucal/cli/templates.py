"""`mucal templates`."""

from functools import partial
from importlib import import_module

import click

from mucal.cli import options
from mucal.cli.console import finish


@click.command("templates")
@click.option(
    "--channel",
    type=click.Choice(["w", "wlike", "dilepton", "kinematics", "boson_w", "boson_z"]),
    help="What is measured; default: w.",
)
@click.option(
    "--generator", type=click.Choice(["built-in", "pythia8"]),
    help="Of the events; default: built-in. Pythia (pip install pythia8mc) makes some 1e3 a second.",
)  # fmt: skip
@click.option("-n", "--events", type=click.IntRange(min=1), help="Generated for each sample; best a power of 2.")
@click.option("--calibration", metavar="BUNDLE", help="Add the nuisances of this calibration, or 'ansatz'.")
@click.option(
    "--efficiency",
    "efficiencies",
    multiple=True,
    metavar="FILE.h5",
    help="Of `mucal efficiency export`, or of `smooth` for each step (repeatable), or 'ansatz': weights and nuisances.",
)
@click.option("--nonprompt", metavar="FILE.h5", help="Of `mucal nonprompt`, or 'ansatz': a process and its nuisances.")
@click.option("--recoil", metavar="FILE.h5", help="Of `mucal recoil`: the recoil of data in mT and u_T, and nuisances.")
@click.option(
    "--weights",
    type=click.Choice(["config", "ansatz"]),
    help="Luminosity and prefiring as [weights] of the configuration, or its defaults, say; or an ansatz.",
)
@click.option(
    "--pdf", metavar="SET", help="Folder or .info of an LHAPDF set that takes the place of the built-in partons."
)
@click.option("--taus", is_flag=True, default=None, help="Add W to tau nu, the tau to a muon, to the channel w.")
@click.option(
    "--process",
    "processes",
    multiple=True,
    metavar="NAME=FILE",
    help="Own events of a process (repeatable) instead of generated ones; [table] says what the columns are.",
)
@click.option("--tree", metavar="NAME", help="Of ROOT files that hold several.")
@click.option(
    "--simulation-size",
    "size",
    type=click.FloatRange(min=0.0, min_open=True),
    metavar="R",
    help="Take the simulation for R times the data, whatever was filled (published: 4); default: as filled.",
)
@click.option("--helicity", is_flag=True, default=None, help="Keep the sums that a fit of helicities needs.")
@click.option("--model", metavar="MODEL.h5", help="Write the model that `mucal fit` takes, too.")
@click.option("--flat", type=click.FloatRange(0.0, 0.9), default=0.0, help="Share of a flat background in that model.")
@options.configuration
@options.seed
@options.jobs
@options.scheduler
@options.as_json
@options.output("Result file, as templates.h5.")
def command(
    channel: str | None, generator: str | None, events: int | None, calibration: str | None,
    efficiencies: tuple[str, ...], nonprompt: str | None, recoil: str | None, weights: str | None, pdf: str | None,
    taus: bool | None, processes: tuple[str, ...], tree: str | None, helicity: bool | None, model: str | None,
    flat: float, size: float | None, config: str | None, settings: tuple[str, ...], seed: int | None, jobs: int | None,
    scheduler: str | None, as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Fill histograms of W or Z events with all variations: eta, pT (GeV) and charge, or the pair's mass (GeV).

    Events come from the built-in generator, as [templates] of the configuration says, or from own files, one row a
    selected muon (ROOT, Parquet, CSV), with weights of theory as columns.  The same seed gives the same
    bytes, with any number of threads or workers.  What is measured elsewhere is named by its result file; 'ansatz'
    stands for the published numbers of nuisances with sizes that nobody measured.
    """
    stage = import_module("mucal.workflow.templates")
    asked = stage.load_templates(
        config, settings, channel=channel, generator=generator, events=events, seed=seed, taus=taus, helicity=helicity
    )  # fmt: skip
    files = stage.IngredientFiles(
        calibration=calibration, efficiencies=efficiencies, nonprompt=nonprompt, recoil=recoil,
        weights=stage.load_conditions(config, settings) if weights == "config" else weights,
    )  # fmt: skip
    tell = partial(click.echo, err=True)
    if processes:
        if any((channel, generator, events, seed is not None, pdf, helicity, taus, scheduler)):
            raise click.UsageError("own events (--process) know no generator; [table] says what they are")
        own = import_module("mucal.workflow.user_templates")
        table, named = own.load_table(config, settings), own.processes_of(processes)
        made = own.fill_user_templates(own.ProcessFiles(files=named, tree=tree), table, files, tell)
    else:
        made = stage.fill_templates(asked, files, pdf, jobs=jobs or 1, scheduler=scheduler, tell=tell)
    made = made if size is None else stage.as_large(made, size)
    made.save(out, overwrite=overwrite)
    plain, lines = stage.describe_templates(made)
    written = [out]
    if model is not None:
        stage.measurement(made, flat).save(model, overwrite=overwrite)
        written.append(model)
    finish({**plain, "written": written}, [*lines, *(f"written: {name}" for name in written)], as_json=as_json)
