"""`mucal fit --mode`: templates or a model from files, fitted as one of the measurements, with its cross-checks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mucal.errors import ConfigError
from mucal.io.fit_input import FitInput
from mucal.likelihood import Model
from mucal.store import is_result, read_header, sha256
from mucal.templates import Templates
from mucal.wmass import SPLITS, combine, helicity_model
from mucal.wmass.measurement import Fit, Measurement, Mode, check_mode, measure
from mucal.wmass.slices import Split
from mucal.workflow.fit import FitOptions, FitRun, fit_config, fit_input
from mucal.workflow.fit_files import load_fit_input


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeOptions:
    """How a measurement is made.

    mode     : which
    beside   : files of further channels, fitted together with the first
    by       : splits of the mass
    prior    : relative, of the free helicities
    set_seed : of the table of parton sets; None for none
    """

    mode: Mode
    beside: tuple[str, ...] = ()
    by: tuple[Split, ...] = SPLITS
    prior: float = 0.5
    set_seed: int | None = None


def run_mode(
    path: str | Path, asked: ModeOptions, options: FitOptions | None = None, tell: Callable[[str], None] = print
) -> tuple[FitRun, Measurement]:
    """Read, fit and measure.

    Raises as `workflow.fit.run_fit` and `wmass.measurement.measure`.
    """
    options = options or FitOptions()
    found = joint_input([path, *asked.beside], options)
    nominal: Model = found.model
    check_mode(nominal, asked.mode)
    if asked.mode == "helicity":
        found = replace(found, model=_with_helicities(path, nominal, asked))
    tell(f"fit of {found.model.n_bins} bins with {len(found.model.parameters)} parameters")
    inputs = {str(p): sha256(p) for p in (path, *asked.beside)}
    run = fit_input(found, options, inputs)
    made = Fit(model=found.model, data=run.observation, config=fit_config(found, options), result=run.estimates)
    measurement = measure(made, asked.mode, nominal=nominal, by=asked.by, set_seed=asked.set_seed, tell=tell)
    return run, measurement.with_provenance(run.fitted.provenance)


def joint_input(paths: Sequence[str | Path], options: FitOptions) -> FitInput:
    """The input of one file, or the joint one of several channels.

    Raises ConfigError for several files with data of their own: their counts cannot be told from one another.
    """
    found = [load_fit_input(path, options.read) for path in paths]
    if len(found) == 1:
        return found[0]
    held = [str(path) for path, one in zip(paths, found, strict=True) if one.observation is not None]
    if held:
        raise ConfigError(
            f"{held[0]} holds data of its own, which a joint fit of {len(found)} files cannot take",
            kind="config.combination",
            do="join the models and their data with `wmass.combine` first",
        )
    return replace(found[0], model=combine([one.model for one in found]))


def _with_helicities(path: str | Path, model: Model, asked: ModeOptions) -> Model:
    if not is_result(path) or read_header(path)["type"] != "Templates":
        raise ConfigError(
            f"{path} holds no sums by helicity, which the mode 'helicity' needs",
            kind="config.mode",
            do="pass templates filled by `mucal templates --helicity`, not the model made of them",
        )
    if len(model.channels) > 1:
        raise ConfigError("the mode 'helicity' takes one channel", kind="config.mode")
    return helicity_model(model, Templates.load(path), prior=asked.prior)
