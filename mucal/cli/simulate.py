"""`mucal simulate`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish, listening


@click.command("simulate")
@options.configuration
@click.option(
    "--sample", type=click.Choice(["data", "simulation"]), default="data", help="With or without the distortion."
)
@click.option("-n", "--pairs", type=click.IntRange(min=1), help="Accepted pairs; default: those of [generate].")
@options.seed
@options.as_json
@options.output("Parquet file, one row a pair.")
def command(
    config: str | None, settings: tuple[str, ...], sample: str, pairs: int | None, seed: int | None, as_json: bool,
    out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Generate dimuons whose truth is known, as [generate] of the configuration says (default: the built-in closure).

    Momenta are in GeV.  The same seed gives the same bytes.
    """
    given = [f"generate.{'data' if sample == 'data' else 'simulation'}={pairs}"] if pairs is not None else []
    analysis = mucal.workflow.load_analysis(config, settings=(*settings, *given), seed=seed)
    with listening(as_json=as_json) as tell:
        ledger = mucal.workflow.simulate(analysis, out, sample=sample, overwrite=overwrite, tell=tell)
    finish({"output": out, "ledger": ledger.to_dict()}, [f"simulate: {ledger.line()}"], as_json=as_json)
