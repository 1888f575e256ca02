"""`mucal nonprompt`."""

from importlib import import_module

import click

from mucal.cli import options
from mucal.cli.console import finish


@click.command("nonprompt")
@click.argument("data", nargs=-1)
@click.option("--prompt", multiple=True, metavar="FILE", help="Simulation of prompt muons, with weights; repeatable.")
@click.option("--control", is_flag=True, help="Only muons of secondary vertices, and compare with region D.")
@click.option("--figure", metavar="FILE.png", help="Draw regions and prediction of one slice.")
@click.option("--generate", is_flag=True, help="Instead of DATA: regions of a known truth, [nonprompt.generate].")
@options.configuration
@options.seed
@options.as_json
@options.output("Result file, as nonprompt.h5.")
def command(
    data: tuple[str, ...], prompt: tuple[str, ...], control: bool, figure: str | None, generate: bool,
    config: str | None, settings: tuple[str, ...], seed: int | None, as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Estimate nonprompt muons in DATA from regions of isolation and transverse mass (GeV).

    One row a muon, with pt, eta, charge, mt, isolation; [nonprompt] maps own columns.  With --control also sip3d
    and flight_significance of the vertex, of which muons above 4 are kept: prompt ones hardly are among them.
    """
    stages = import_module("mucal.workflow.measured_inputs")
    asked = stages.load_nonprompt(config, settings)
    if generate == bool(data):
        raise click.UsageError("give files of DATA, or --generate")
    tested: list[str] = []
    if generate:
        counts, truth = stages.generate_regions(asked, 1 if seed is None else seed)
        rejected = {}
    else:
        counts, rejected = stages.count_regions(data, prompt, asked, control=control)
    found = stages.estimate_nonprompt(counts, asked, figure)
    found.save(out, overwrite=overwrite)
    plain = {"output": out, "events": float(found.nominal.sum()), "nuisances": len(found.nuisances),
             "chi2": float(found.chi2.sum()), "ndf": float(found.ndf.sum()), "rejected": rejected}  # fmt: skip
    if generate:
        tested = [stages.truth_line(found, truth, asked)]
    elif control:
        tested = [stages.closure_line(found, counts)]
    lines = [*tested, *(f"rejected of {sample}: {reasons or 'none'}" for sample, reasons in rejected.items())]
    finish(plain, [*found.summary(), *lines, f"written: {out}"], as_json=as_json)
