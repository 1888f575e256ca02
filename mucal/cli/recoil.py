"""`mucal recoil`."""

from importlib import import_module

import click

from mucal.cli import options
from mucal.cli.console import finish


@click.command("recoil")
@click.argument("data", nargs=-1)
@click.option("--simulation", multiple=True, metavar="FILE", help="Simulated pairs; repeatable.")
@click.option("--background", multiple=True, metavar="FILE", help="Simulated pairs to subtract, weighted; repeatable.")
@click.option("--figure", metavar="FILE.png", help="Draw response, resolution and the map.")
@click.option(
    "--generate",
    type=click.IntRange(min=1000),
    metavar="N",
    help="Instead of files: N pairs of each sample, data as [recoil.generate], simulation as the built-in detector.",
)
@options.configuration
@options.seed
@options.as_json
@options.output("Result file, as recoil.h5.")
def command(
    data: tuple[str, ...], simulation: tuple[str, ...], background: tuple[str, ...], figure: str | None,
    generate: int | None, config: str | None, settings: tuple[str, ...], seed: int | None, as_json: bool, out: str,
    overwrite: bool,
) -> None:  # fmt: skip
    """Calibrate the recoil against Z -> mu mu of DATA and simulation, for the transverse mass of W.

    One row a pair, with met, met_phi, pt1, phi1, pt2, phi2 (GeV, rad); [recoil] maps own columns.
    """
    stages = import_module("mucal.workflow.measured_inputs")
    if (generate is None) != bool(data and simulation):
        raise click.UsageError("give files of DATA and --simulation, or --generate")
    asked = stages.load_recoil(config, settings)
    if generate is not None:
        found = stages.calibrate_generated_recoil(generate, asked, 1 if seed is None else seed, figure)
    else:
        found = stages.calibrate_recoil(data, simulation, asked, figure, background)
    found.save(out, overwrite=overwrite)
    plain = {"output": out, "nuisances": len(found.nuisances()), "response": found.response.tolist(),
             "resolution": found.resolution.tolist()}  # fmt: skip
    finish(plain, [*found.summary(), f"written: {out}"], as_json=as_json)
