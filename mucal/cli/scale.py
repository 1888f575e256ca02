"""`mucal scale`."""

import click

import mucal
from mucal.cli import options
from mucal.cli.console import finish


@click.command("scale")
@click.argument("massfit")
@click.option("--simulation", metavar="MASSFIT", help="Mass fits of simulation in the same bins.")
@click.option(
    "--closure",
    is_flag=True,
    help="MASSFIT are fits of corrected pairs of another resonance: what A and M do they still ask for?",
)
@options.configuration
@options.as_json
@options.output("Result file, as scale.h5.")
def command(
    massfit: str, simulation: str | None, closure: bool, config: str | None, settings: tuple[str, ...], as_json: bool,
    out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Derive A, e (GeV) and M (1/GeV) per eta bin from the mass fits in MASSFIT, with their covariance."""
    analysis = mucal.workflow.load_analysis(config, settings=settings, preset="dimuons")
    derive = mucal.workflow.derive_closure if closure else mucal.workflow.derive_scale
    derive(massfit, simulation, analysis).save(out, overwrite=overwrite)
    plain, lines = mucal.workflow.describe(out)
    finish(plain, lines, as_json=as_json)
