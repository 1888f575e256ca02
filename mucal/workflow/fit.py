"""A template fit from a file to a result: read, fit, blind, impacts of both kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError, nearest
from mucal.io.fit_input import FitInput
from mucal.likelihood import (
    FitConfig,
    FitResult,
    Impacts,
    Observation,
    blind,
    expected_events,
    fit,
    global_impacts,
    look_for_trouble,
    nominal_impacts,
    observe,
    toy,
)
from mucal.likelihood.objective import McStat, McStatPer
from mucal.likelihood.passes import Backend
from mucal.store import Provenance, Result, is_result, sha256
from mucal.workflow.fit_files import ReadOptions, load_fit_input


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """How a fit is made.

    data     : "" for the file's own, the name of its pseudo-data, or a file with an `Observation`
    asimov   : fit what the model expects instead
    toy      : seed of pseudo-data drawn around it, in which counts and centres of constraints fluctuate
    pois     : whose impacts are wanted; the model's first by default
    unblind  : parameters of interest whose value in data is shown
    freeze   : parameters held at their start
    start    : parameter -> where the search begins
    scanned  : parameters along which the likelihood will be drawn; asked for by name before the fit is made
    mc_stat, per : of the finite simulation; None for what the file says
    read     : what the reader cannot know
    n_threads : of the compiled passes
    backend  : of the passes over the bins, as `likelihood.FitConfig` has them
    """

    data: str = ""
    asimov: bool = False
    toy: int | None = None
    pois: tuple[str, ...] = ()
    unblind: tuple[str, ...] = ()
    freeze: tuple[str, ...] = ()
    start: dict[str, float] = field(default_factory=dict)
    scanned: tuple[str, ...] = ()
    mc_stat: McStat | None = None
    per: McStatPer | None = None
    read: ReadOptions = field(default_factory=ReadOptions)
    n_threads: int = 1
    backend: Backend = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted(Result):
    """A finished fit.

    result    : estimates; parameters of interest in data are blinded unless shown
    nominal   : impacts of each parameter of interest wanted
    responses : global impacts of the same
    centre    : (S,)  of the constraints
    precision : (S,)  of the constraints; 0 for none
    data      : what was fitted: "data", "asimov", "toy 3" with its seed, or the name of pseudo-data
    format    : of the file
    notes     : of its reader
    warnings  : what looks wrong in the model and stops no fit
    """

    result: FitResult
    nominal: tuple[Impacts, ...]
    responses: tuple[Impacts, ...]
    centre: FloatArray
    precision: FloatArray
    data: str
    format: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def pulls(self) -> FloatArray:
        """(S,) estimate less centre, in prior standard errors; NaN without a constraint."""
        pulls: FloatArray = np.where(
            self.precision > 0, (self.result.values - self.centre) * np.sqrt(self.precision), np.nan
        )
        return pulls

    @property
    def constraints(self) -> FloatArray:
        """(S,) standard error after over before the fit; NaN without a constraint."""
        errors = np.sqrt(np.diag(self.result.cov))
        ratio: FloatArray = np.where(self.precision > 0, errors * np.sqrt(self.precision), np.nan)
        return ratio


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRun:
    """A finished fit with what it was made from: the input, the observation fitted, and the estimates unblinded."""

    found: FitInput
    observation: Observation
    estimates: FitResult
    fitted: Fitted


def run_fit(path: str | Path, options: FitOptions | None = None) -> FitRun:
    """Read a file, fit it and work out impacts.

    Raises NotCertified if the fit did not converge; InputError and ConfigError for what cannot be used.
    """
    options = options or FitOptions()
    return fit_input(load_fit_input(path, options.read), options, {str(path): sha256(path)})


def fit_input(
    found: FitInput, options: FitOptions, inputs: Mapping[str, str], observation: Observation | None = None
) -> FitRun:
    """Fit a model that is in memory and work out impacts.

    inputs      : file -> digest, of what it was made from
    observation : what is fitted, if `options` do not say; real data

    Raises as `run_fit`.
    """
    observation, what = (observation, "data") if observation is not None else _data(found, options)
    model, config = found.model, fit_config(found, options)
    _known(model.parameters, (*options.pois, *options.unblind, *options.freeze, *options.start, *options.scanned))
    result = fit(model, observation, config)
    result.require_converged()
    pois = options.pois or model.pois[:1]
    fitted = Fitted(
        result=_blinded(result, options) if what == "data" else result,
        nominal=tuple(nominal_impacts(model, observation, result, poi) for poi in pois),
        responses=tuple(global_impacts(model, observation, result, poi) for poi in pois),
        centre=observation.centre,
        precision=model.precision,
        data=what,
        format=found.format,
        notes=found.notes,
        warnings=tuple(str(finding) for finding in look_for_trouble(model)),
        provenance=Provenance(configuration={"fit": _plain(options)}, seed=options.toy, inputs=dict(inputs)),
    )
    return FitRun(found=found, observation=observation, estimates=result, fitted=fitted)


def fit_config(found: FitInput, options: FitOptions) -> FitConfig:
    """How the model of a file is fitted, after what the file and the user say."""
    return FitConfig(
        mc_stat=options.mc_stat or found.mc_stat,
        per=options.per or found.per,
        frozen=options.freeze,
        start={**found.start, **options.start},
        n_threads=options.n_threads,
        backend=options.backend,
    )


def _data(found: FitInput, options: FitOptions) -> tuple[Observation, str]:
    if sum((options.asimov, bool(options.data), options.toy is not None)) > 1:
        raise ConfigError("--asimov, --toy and --data exclude each other", kind="usage")
    if options.asimov or options.toy is not None:
        model = found.model
        at = model.centre.copy()
        at[model.index(options.start)] = list(options.start.values())
        if options.toy is None:
            return observe(model, expected_events(model, at)), "asimov"
        config = fit_config(found, options)
        rng = np.random.default_rng(options.toy)
        return toy(model, rng, at, mc_stat=config.mc_stat, per=config.per), f"toy {options.toy}"
    path = Path(options.data)
    if options.data and path.is_file() and is_result(path):
        given = Observation.load(path)
        return observe(found.model, given.counts, centre=given.centre, beta=given.beta), "data"
    return found.data(options.data), options.data or "data"


def _blinded(result: FitResult, options: FitOptions) -> FitResult:
    return blind(result, unblind=[name for name in options.unblind if name in result.pois])


def _known(parameters: Sequence[str], names: Sequence[str]) -> None:
    for name in names:
        if name not in parameters:
            raise ConfigError(
                f"no parameter '{name}' in this model",
                kind="usage.parameter",
                where={"near": ", ".join(nearest(name, parameters))},
            )


def _plain(options: FitOptions) -> dict[str, object]:
    return {
        "data": options.data,
        "asimov": options.asimov,
        "toy": options.toy,
        "pois": list(options.pois),
        "unblind": list(options.unblind),
        "freeze": list(options.freeze),
        "start": dict(options.start),
        "mc_stat": options.mc_stat,
        "per": options.per,
        "backend": options.backend,
        "measurement": options.read.measurement,
        "systematic_type": options.read.systematic_type,
        "largest_difference": options.read.largest_difference,
    }
