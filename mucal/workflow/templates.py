"""Templates, as the command calls them: configuration and calibration read, templates filled, model made."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

import mucal
from mucal.likelihood import Model
from mucal.store import sha256
from mucal.templates import Templates, TemplatesConfig, build
from mucal.templates.smoothing import ETA_DEGREE, PT_DEGREE, smoothed
from mucal.wmass import Background, mass_model
from mucal.workflow.application import bundle_of
from mucal.workflow.toml_text import overlay, parse_toml, read_toml
from mucal.workflow.validate import build as validated

SECTION: Final = "templates"


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
    config: TemplatesConfig, calibration: str | Path | None = None, partons: str | Path | None = None, *,
    jobs: int = 1, tell: Callable[[str], None],
) -> Templates:  # fmt: skip
    """Templates with the nuisances of a calibration (bundle or file) and the partons of an LHAPDF set, if given."""
    inputs: dict[str, str] = {}
    given: dict[str, Any] = {}
    if calibration is not None:
        given["calibration"] = mucal.load(bundle_of(Path(calibration)))
        is_folder = Path(calibration).is_dir()
        file = bundle_of(Path(calibration)) / "calibration.h5" if is_folder else Path(calibration)
        inputs[str(calibration)] = sha256(file)
    if partons is not None:
        given["partons"] = import_module("mucal.io.lhapdf").read_lhapdf(partons)
        inputs |= given["partons"].provenance.inputs
    made = build(config, n_threads=jobs, tell=tell, **given)
    return made.with_provenance(replace(made.provenance, inputs=inputs))


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
    return {"channel": templates.channel, "events": events, "nuisances": groups}, lines
