"""`mucal globalcor`."""

from collections.abc import Callable
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click

from mucal.cli import options
from mucal.cli.console import finish, listening

F = TypeVar("F", bound=Callable[..., Any])


def stages() -> Any:
    """`workflow.globalcor`, imported when a command runs: it brings in compiled loops and figures."""
    return import_module("mucal.workflow.globalcor")


def sums_of() -> Any:
    """`workflow.globalcor_sums`, likewise."""
    return import_module("mucal.workflow.globalcor_sums")


@click.group("globalcor")
def command() -> None:
    """Field, material and alignment corrections from all tracks together.

    The steps: a registry of parameters, sums over candidates, a solve; then the corrections applied, their weak modes,
    and the exchange with Millepede.  Units are cm, rad, tesla; losses are ln of a scale.
    """


def _registry(function: F) -> F:
    return click.option("--registry", required=True, metavar="REGISTRY", help="File of `mucal globalcor registry`.")(
        function
    )


@command.command("registry")
@options.configuration
@options.as_json
@options.output("Result file, as registry.h5.")
def registry(config: str | None, settings: tuple[str, ...], as_json: bool, out: str, overwrite: bool) -> None:
    """Number and name the parameters of the families in [globalcor]."""
    found = stages().make_registry(stages().load_globalcor(config, settings))
    found.save(out, overwrite=overwrite)
    kinds = stages().counts(found)
    parts = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    plain = {
        "output": out,
        "detector": found.detector,
        "digest": found.digest,
        "parameters": len(found),
        "kinds": kinds,
    }
    finish(plain, [f"{len(found)} parameters of '{found.detector}': {parts}", f"written: {out}"], as_json=as_json)


@command.command("reference")
@click.argument("files", nargs=-1, required=True)
@click.option("--pt-edges", metavar="A,B,...", help="GeV, bins of the softer muon's pT; default: one bin for all.")
@options.jobs
@options.configuration
@options.as_json
@options.output("Result file, as reference.h5.")
def reference(
    files: tuple[str, ...], pt_edges: str | None, jobs: int | None, config: str | None, settings: tuple[str, ...],
    as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Derive from simulated hits FILES the mean mass that the constraint assumes: after radiation and selection."""
    asked = stages().load_globalcor(config, settings)
    with listening(as_json=as_json) as tell:
        found = sums_of().derive_reference(files, asked, pt_edges=_numbers(pt_edges), jobs=jobs, tell=tell)
    found.save(out, overwrite=overwrite)
    plain = {"output": out, "pt_edges": found.pt_edges.tolist(), "m_ref": found.m_ref.tolist(),
             "gamma": found.gamma.tolist(), "error": found.error.tolist(),
             "n_pairs": found.n_pairs.tolist(), "window": found.window.tolist(), "sigma": found.sigma.tolist(),
             "shift": found.shift.tolist()}  # fmt: skip
    lines = [
        f"{n} pairs, softer muon {a:g} to {b:g} GeV: mean {m:.5f} +- {e:.5f} GeV, width {1e3 * w:.2f} MeV"
        for a, b, m, e, w, n in zip(
            found.pt_edges[:-1], found.pt_edges[1:], found.m_ref, found.error, found.gamma, found.n_pairs, strict=True
        )
    ]
    finish(plain, [*lines, f"written: {out}"], as_json=as_json)


def _numbers(text: str | None, option: str = "--pt-edges") -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise click.BadParameter(f"'{text}', expected numbers with commas between them", param_hint=option) from None


@command.command("accumulate")
@click.argument("files", nargs=-1, required=True)
@_registry
@click.option("--reference", metavar="REFERENCE", help="Hits: file of `mucal globalcor reference`, the mass assumed.")
@click.option("--applied", metavar="CORRECTIONS", help="Hits: corrections that the refit applies.")
@click.option(
    "--truth", type=click.Choice(["recorded", "simulated"]),
    help="Simulated hits: hold every track at its generated state, with these positions; no pairs, no mass.",
)  # fmt: skip
@click.option("--sample", default="", help="Name of the sample; sums of different samples can be added.")
@click.option(
    "--resume", "checkpoints", metavar="FOLDER", help="Keep the growing sum here, and go on from what it holds."
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N",
    help="Hits: threads that refit, default: all cores.  Blocks and records: processes that read, default: 1.",
)  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS", help="Of dask.distributed, instead of --jobs; it takes whole files.")
@options.configuration
@options.as_json
@options.output("Result file, as sums.h5.")
def accumulate(
    files: tuple[str, ...], registry: str, reference: str | None, applied: str | None, truth: str | None, sample: str,
    checkpoints: str | None, jobs: int | None, scheduler: str | None, config: str | None, settings: tuple[str, ...],
    as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Sum FILES into normal equations: recorded hits, which are refitted, or profiled blocks or Mille records."""
    asked = stages().load_globalcor(config, settings)
    with listening(as_json=as_json) as tell:
        sums = sums_of().accumulate_any(
            files, stages().Registry.load(registry), asked, reference=reference, applied=applied, truth=truth,
            sample=sample, checkpoints=checkpoints, jobs=jobs, scheduler=scheduler, tell=tell,
        )  # fmt: skip
    sums.save(out, overwrite=overwrite)
    finish({"output": out, "ledger": sums.ledger.to_dict()}, [f"written: {out}"], as_json=as_json)


@command.command("solve")
@click.argument("sums", nargs=-1, required=True)
@_registry
@click.option("--applied", metavar="CORRECTIONS", help="Corrections that the refit applied already.")
@click.option(
    "--text", "texts", multiple=True, metavar="FILE", help="Constraints and measurements in Millepede's form."
)
@click.option(
    "--field-probes", "probes", metavar="FILE.csv", help="|B| measured: x_cm,y_cm,z_cm,b_tesla,sigma_tesla a line."
)
@click.option("--gauge", is_flag=True, help="Hold the six rigid motions of the tracker at 0.")
@click.option("--reference", metavar="REFERENCE", help="The mass that was assumed: its error enters the covariance.")
@options.configuration
@options.as_json
@options.output("Result file, as corrections.h5.")
def solve(
    sums: tuple[str, ...], registry: str, applied: str | None, texts: tuple[str, ...], probes: str | None,
    gauge: bool, reference: str | None, config: str | None, settings: tuple[str, ...], as_json: bool, out: str,
    overwrite: bool,
) -> None:  # fmt: skip
    """Add SUMS and solve for all parameters, with the priors of the registry."""
    asked = stages().load_globalcor(config, settings)
    found = stages().solve_sums(
        sums_of().added(sums), stages().Registry.load(registry), asked.solve, applied=applied, texts=texts, gauge=gauge,
        detector=asked.detector, reference=reference, probes=probes,
    )  # fmt: skip
    found.save(out, overwrite=overwrite)
    plain = {"output": out, "method": found.method, "chi2_drop": found.chi2_drop, "converged": found.outer_converged(),
             "free": int(found.free.sum()), "residual": found.residual}  # fmt: skip
    finish(plain, [*found.summary(), f"written: {out}"], as_json=as_json)


@command.command("apply")
@click.argument("corrections")
@options.configuration
@options.as_json
@options.output("Result file of the corrected detector, as detector.h5.")
def apply(
    corrections: str, config: str | None, settings: tuple[str, ...], as_json: bool, out: str, overwrite: bool
) -> None:
    """Move the modules of the configuration's detector, and add the field modes, by CORRECTIONS."""
    found = stages().GlobalCorrections.load(corrections)
    detector = stages().detector_of(stages().load_globalcor(config, settings).detector)
    found.to_detector(detector).save(out, overwrite=overwrite)
    finish({"output": out, "digest": found.digest}, [f"written: {out}"], as_json=as_json)


@command.command("linear")
@click.argument("corrections")
@click.argument("files", nargs=-1, required=True)
@click.option("--most", type=click.IntRange(min=1), default=10_000, show_default=True, help="Tracks that are fitted.")
@options.jobs
@options.configuration
@options.as_json
@options.output("Result file, as linear.h5.")
def linear(
    corrections: str, files: tuple[str, ...], most: int, jobs: int | None, config: str | None,
    settings: tuple[str, ...], as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """Tracks of hits FILES with CORRECTIONS added to first order, beside a refit with them."""
    asked = stages().load_globalcor(config, settings)
    found = sums_of().linear_of_hits(files, asked, corrections, most=most, jobs=jobs)
    found.save(out, overwrite=overwrite)
    plain = {"output": out, "mean": found.mean, "share_within": found.share_within, "beyond": int(found.beyond.sum())}
    finish(plain, [*found.summary(), f"written: {out}"], as_json=as_json)


@command.command("modes")
@click.argument("sums", nargs=-1, required=True)
@_registry
@click.option("-n", "--modes", "n_modes", type=click.IntRange(min=1), default=50, show_default=True)
@click.option("--figures", metavar="FOLDER", help="Draw the spectrum, the overlaps and the bias of momenta here.")
@click.option(
    "--bias", metavar="PT,PT,...", help="GeV, rising: what modes and templates do to muons of these pT, beside OUT."
)
@options.configuration
@options.as_json
@options.output("Result file, as modes.h5.")
def modes(
    sums: tuple[str, ...], registry: str, n_modes: int, figures: str | None, bias: str | None, config: str | None,
    settings: tuple[str, ...], as_json: bool, out: str, overwrite: bool,
) -> None:  # fmt: skip
    """The softest modes of SUMS, what they are like, and how well each known weak mode is determined."""
    asked = stages().load_globalcor(config, settings)
    momenta = _numbers(bias, "--bias")
    if any(low >= high for low, high in pairwise((0.0, *momenta))):
        raise click.BadParameter(f"'{bias}', expected rising momenta above 0", param_hint="--bias")
    beside = Path(out).with_name(f"{Path(out).stem}_bias.h5")
    if momenta and beside.exists() and not overwrite:
        raise FileExistsError(f"{beside} exists; choose another name, or --overwrite")
    found, maps, lines = stages().find_modes(
        sums_of().added(sums), stages().Registry.load(registry), asked.solve, asked.detector, n_modes, figures, momenta
    )
    found.save(out, overwrite=overwrite)
    if maps is not None:
        maps.save(beside, overwrite=overwrite)
        lines = [*lines, f"written: {beside}"]
    plain = {"output": out, "eigenvalues": found.eigenvalues.tolist(), "names": found.names(),
             "templates": dict(zip(found.templates, found.error.tolist(), strict=True))}  # fmt: skip
    finish(plain, [*lines, f"written: {out}"], as_json=as_json)


@command.command("mille")
@click.argument("files", nargs=-1, required=True)
@_registry
@click.option("--flavour", type=click.Choice(["c", "fortran"]), default="c", show_default=True)
@click.option("--double", is_flag=True, help="float64 numbers (C flavour only).")
@options.as_json
@options.output("Mille binary, as records.bin or records.bin.gz; a table of its labels is written beside it.")
def mille(
    files: tuple[str, ...], registry: str, flavour: str, double: bool, as_json: bool, out: str, overwrite: bool
) -> None:
    """Write FILES of profiled blocks as records for Millepede-II; `accumulate` reads such records."""
    stages().write_mille_of(
        files, stages().Registry.load(registry), Path(out), flavour=flavour, double=double, overwrite=overwrite
    )
    finish({"output": out, "labels": f"{out}.labels.csv"}, [f"written: {out}, {out}.labels.csv"], as_json=as_json)
