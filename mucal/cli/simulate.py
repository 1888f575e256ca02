"""`mucal simulate`."""

import os
from importlib import import_module
from typing import Any

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish, listening


def stages() -> Any:
    """`workflow.hits`, imported when hits are simulated: it brings in compiled loops."""
    return import_module("mucal.workflow.hits")


@click.command("simulate")
@options.configuration
@click.option("--hits", is_flag=True, help="Hits, also without a configuration that asks for them.")
@click.option(
    "--sample", type=click.Choice(["data", "simulation"]), default="data",
    help="Of dimuons: with or without the distortion.",
)  # fmt: skip
@click.option(
    "-n",
    "--events",
    "--pairs",
    "events",
    type=click.IntRange(min=1),
    help="Accepted pairs or events; default: as configured.",
)
@options.seed
@options.jobs
@click.option("--resume", is_flag=True, help="Take up the chunks of hits that an interrupted run left in OUT.parts.")
@options.as_json
@options.output("Parquet file, one row a pair; of hits Parquet, ROOT or HDF5, one row a track.")
def command(
    config: str | None, settings: tuple[str, ...], hits: bool, sample: str, events: int | None, seed: int | None,
    jobs: int | None, resume: bool, as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Generate samples whose truth is known: dimuons, or the hits that muons leave in a distorted detector.

    Dimuons are those of [generate] (default: the built-in closure of dimuons).  Hits are made where the configuration
    has [muons], [hits] or [distortion], or with --hits; the true detector and a JSON file of what was done are written
    beside.
    Units are GeV, cm, rad, tesla.  The same seed gives the same bytes, whatever --jobs.  Dimuons take seconds and are
    always made from the beginning.
    """
    if hits or (config is not None and stages().asks_for_hits(config)):
        _hits(config, settings, events, seed, jobs or os.cpu_count() or 1, resume, as_json, out, overwrite)
        return
    given = [f"generate.{'data' if sample == 'data' else 'simulation'}={events}"] if events is not None else []
    analysis = mucal.workflow.load_analysis(config, settings=(*settings, *given), seed=seed, preset="dimuons")
    with listening(as_json=as_json) as tell, mucal.workflow.at_most(jobs):
        ledger = mucal.workflow.simulate(analysis, out, sample=sample, overwrite=overwrite, tell=tell)
    finish({"output": out, "ledger": ledger.to_dict()}, [f"simulate: {ledger.line()}"], as_json=as_json)


def _hits(
    config: str | None, settings: tuple[str, ...], events: int | None, seed: int | None, jobs: int, resume: bool,
    as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    given = (f"muons.events={events}",) if events is not None else ()
    run = stages().load_hit_run(config, settings=(*settings, *given), seed=seed)
    with listening(as_json=as_json) as tell:
        ledgers = stages().simulate_hit_files(run, out, jobs=jobs, resume=resume, overwrite=overwrite, tell=tell)
    plain = {"output": out, "ledgers": {name: ledger.to_dict() for name, ledger in ledgers.items()}}
    lines = [f"{name}: {ledger.line()}" for name, ledger in ledgers.items()]
    finish(plain, [*lines, f"written: {out}"], as_json=as_json)
