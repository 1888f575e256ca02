"""Templates, as the command calls them: configuration and calibration read, templates filled, model made."""

import math
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.likelihood import Model
from mucal.templates import Templates, TemplatesConfig, build
from mucal.templates.smoothing import ETA_DEGREE, PT_DEGREE, smoothed
from mucal.wmass import Background, mass_model
from mucal.wmass.dilution import expected_shares
from mucal.workflow.ingredients import IngredientFiles, load_conditions, load_ingredients
from mucal.workflow.toml_text import overlay, parse_toml, read_toml
from mucal.workflow.validate import build as validated
from mucal.workflow.workers import workers_of

SECTION: Final = "templates"

__all__ = [
    "IngredientFiles", "Templates", "as_large", "describe_templates", "fill_templates", "load_conditions",
    "load_templates", "measurement",
]  # fmt: skip


def load_templates(path: str | Path | None, settings: tuple[str, ...] = (), **given: Any) -> TemplatesConfig:
    """The section ``[templates]`` of a configuration file, the defaults without one.

    given : values of the command line, laid over the file; None leaves one as it is

    Raises ConfigError with file and line for whatever is wrong in it.
    """
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    values = dict(document.values.get(SECTION, {})) | {k: v for k, v in given.items() if v is not None}
    events = values.get("events")
    if isinstance(events, int) and "chunk" not in values:
        values["chunk"] = min(TemplatesConfig().chunk, events) if events > 0 else 1
    return validated(TemplatesConfig, values, document, SECTION)


def fill_templates(
    config: TemplatesConfig, files: IngredientFiles | None = None, partons: str | Path | None = None, *,
    jobs: int = 1, scheduler: str | None = None, tell: Callable[[str], None],
) -> Templates:  # fmt: skip
    """Templates of the built-in generator, with what is measured elsewhere.

    partons   : folder or .info of an LHAPDF set
    jobs      : threads of this process
    scheduler : address of a dask scheduler, whose workers fill instead

    Raises ConfigError for a file that holds something else.
    """
    found = load_ingredients(files or IngredientFiles())
    inputs = dict(found.inputs)
    given: dict[str, Any] = {}
    if partons is not None:
        given["partons"] = import_module("mucal.io.lhapdf").read_lhapdf(partons)
        inputs |= given["partons"].provenance.inputs
    workers = None if scheduler is None else workers_of(None, scheduler)
    made = build(
        config, calibration=found.calibration, ingredients=found.ingredients, n_threads=jobs, workers=workers,
        tell=tell, **given,
    )  # fmt: skip
    return found.finish(made).with_provenance(replace(made.provenance, inputs=inputs))


def as_large(templates: Templates, times: float) -> Templates:
    """The variances that simulation of `times` the data's events would have: for structure before there is so much."""
    variance = np.where(templates.sumw2 > 0, templates.nominal / times, templates.sumw2)
    configuration = {**templates.provenance.configuration, "simulation_size": times}
    made = replace(templates, sumw2=variance)
    return made.with_provenance(replace(templates.provenance, configuration=configuration))


def measurement(templates: Templates, flat: float = 0.0) -> Model:
    """The model that `mucal fit` takes; variations of theory are smoothed where the bins are of eta and pT.

    flat : share of a background, flat in all bins, of the whole; known to 5 %
    """
    if tuple(templates.axes) == ("charge", "eta", "pt"):
        _, n_eta, n_pt = templates.binning.shape
        templates = smoothed(templates, pt_degree=min(PT_DEGREE, n_pt - 1), eta_degree=min(ETA_DEGREE, n_eta - 1))
    if not flat:
        return mass_model(templates)
    signal = templates.nominal.sum()
    events = np.full(templates.binning.n_bins, flat / (1.0 - flat) * signal / templates.binning.n_bins)
    known = {"flat_norm": np.full(events.size, np.log(1.05))}
    return mass_model(templates, [Background(name="Flat", events=events, variance=0.0 * events, kappa=known)])


def describe_templates(templates: Templates) -> tuple[dict[str, Any], list[str]]:
    """Plain values, and lines for people."""
    events = dict(zip(templates.processes, templates.nominal.sum(axis=1).tolist(), strict=True))
    groups = {g: templates.groups.count(g) for g in dict.fromkeys(templates.groups)}
    lines = [f"channel {templates.channel}: {templates.binning.n_bins} bins of {', '.join(templates.axes)}"]
    lines += [f"  {name:<12} {n:.4g} events" for name, n in events.items()]
    lines += [f"  {len(templates.nuisances)} nuisances" + "".join(f", {n} {g}" for g, n in groups.items())]
    lines += [f"  {stage}: {ledger.line()}" for stage, ledger in templates.provenance.ledgers.items()]
    plain: dict[str, Any] = {"channel": templates.channel, "events": events, "nuisances": groups}
    shape = templates.binning.shape
    if tuple(templates.axes) == ("charge", "eta", "pt") and shape[1] > ETA_DEGREE and shape[2] > PT_DEGREE:
        share = expected_shares(templates)
        known = not math.isnan(share.smooth)
        plain["mass_share"] = {"as_filled": share.as_filled, "smooth": share.smooth} if known else None
        found = (
            f"of a shift of the mass or of momenta a fit finds {share.smooth:.3f} with smooth variations, "
            f"{share.as_filled:.3f} with those filled; more events bring it to 1"
        )
        lines += [f"  noise: {found if known else 'too few events to tell what share of a shift a fit finds'}"]
    return plain, lines
