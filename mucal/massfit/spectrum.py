"""One spectrum, for a person to look at: resonance masses, resolution and yields, with a goodness of fit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import NotCertified
from mucal.ledger import Ledger
from mucal.massfit import minuit_engine, spectrum_model, zfit_engine
from mucal.massfit.goodness import GoodnessOfFit, goodness_of_fit
from mucal.massfit.minuit_engine import Minimum, at_edge
from mucal.massfit.spectrum_config import SpectrumConfig
from mucal.massfit.spectrum_model import Model
from mucal.massfit.status import Status
from mucal.store import Provenance, Result
from mucal.theory.pdg import EDITION, resonance
from mucal.units import MeV

STAGE: Final = "fit_spectrum"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumFit(Result):
    """Fit of one mass spectrum.

    resonance       : family of the configuration
    states          : names of the S fitted states
    signal, background, engine : of the configuration
    edges           : (J+1,) GeV
    counts          : (J,)    events
    expected        : (K, J)  events of each component at the minimum
    components      : names of the K components: the states, then "background"
    curve_edges     : (F+1,) GeV, fine bins for a smooth curve
    curves          : (K, F)  events of each component in them
    parameters      : names of the P parameters
    values          : (P,)    NaN, as all numbers below, unless `status` is OK or BAD_GOF
    cov             : (P, P)  zero for fixed parameters
    lower, upper    : (P,)    errors of the profile likelihood if asked for, else NaN
    masses          : (S,) GeV, scale times reference mass
    mass_errors     : (S,) GeV, statistical
    reference       : (S,) GeV, PDG
    reference_errors: (S,) GeV
    quality         : goodness of fit
    min_2_ln_l      : -2 ln L at the minimum over the bins as they are, against the saturated model
    edm, n_calls    : of the minimiser
    held            : parameters that were held where the likelihood is flat, counted as fixed: tail exponents that
                      ran to the upper edge of their domain, where a power tail is an exponential one, and yield and
                      shape of a background that is not there
    at_edge         : parameters behind a status AT_BOUNDARY
    status          : `Status`
    """

    resonance: str
    states: tuple[str, ...]
    signal: str
    radiation: bool
    background: str
    engine: str
    edges: FloatArray
    counts: FloatArray
    expected: FloatArray
    components: tuple[str, ...]
    curve_edges: FloatArray
    curves: FloatArray
    parameters: tuple[str, ...]
    values: FloatArray
    cov: FloatArray
    lower: FloatArray
    upper: FloatArray
    masses: FloatArray
    mass_errors: FloatArray
    reference: FloatArray
    reference_errors: FloatArray
    quality: GoodnessOfFit
    min_2_ln_l: float
    edm: float
    n_calls: int
    held: tuple[str, ...]
    at_edge: tuple[str, ...]
    status: int

    def __post_init__(self) -> None:
        j, k, p, s = self.counts.size, len(self.components), len(self.parameters), len(self.states)
        f = self.curve_edges.size - 1
        check_shapes(self, edges=(j + 1,), expected=(k, j), curves=(k, f), values=(p,), cov=(p, p))
        check_shapes(self, lower=(p,), upper=(p,), masses=(s,), mass_errors=(s,), reference=(s,), reference_errors=(s,))

    @property
    def good(self) -> bool:
        """Whether the numbers may be used: the fit converged and its goodness of fit is not below the minimum."""
        return self.status == Status.OK

    @property
    def valid(self) -> bool:
        """Whether there are numbers: the minimum is one, whatever its goodness of fit."""
        return self.status in (Status.OK, Status.BAD_GOF)

    def value(self, name: str) -> float:
        """One parameter"""
        return float(self.values[self.parameters.index(name)])

    def error(self, name: str) -> float:
        """Standard error of one parameter; 0 if it was fixed"""
        j = self.parameters.index(name)
        return float(np.sqrt(self.cov[j, j]))

    def require_good(self) -> None:
        """Raises NotCertified, with the reason, if the numbers may not be used."""
        if not self.good:
            raise NotCertified(
                f"the fit of the {self.resonance} spectrum is not good: {Status(self.status).sentence}",
                kind="massfit.not_converged",
                where={"window": f"{self.edges[0]:g} to {self.edges[-1]:g} GeV, {self.counts.sum():.0f} events"},
            )

    def summary(self) -> list[str]:
        """A table in plain text, a line each: masses against the PDG, parameters, goodness of fit, status."""
        head = (
            f"{self.resonance}  {self.edges[0]:g} to {self.edges[-1]:g} GeV, {self.counts.size} bins, "
            f"{self.counts.sum():.0f} events   signal {self.signal}{' with radiation' if self.radiation else ''}, "
            f"background {self.background}, {self.engine}"
        )
        status = f"  status {self.status}: {Status(self.status).sentence}"
        if not self.valid:
            return [head, status + (f" ({', '.join(self.at_edge)})" if self.at_edge else "")]
        lines = [head, *(_state_line(self, i) for i in range(len(self.states)))]
        lines += [_parameter_line(self, name) for name in self.parameters]
        q = self.quality
        lines.append(
            f"  deviance {q.deviance:.1f}, Pearson {q.pearson:.1f} for {q.ndf} degrees of freedom: "
            f"p = {q.p_value:.3f}, {q.pearson_p_value:.3f}"
        )
        return [*lines, status]


def fit_spectrum(mass: FloatArray, config: SpectrumConfig) -> SpectrumFit:
    """Resonance masses, relative resolution and yields of one spectrum, by an extended binned Poisson likelihood.

    mass   : (N,) GeV; those outside the window are left out and counted
    config : model and engine

    Returns the fit; with a status other than OK or BAD_GOF its numbers are NaN.  Raises ValueError if a mass is not
    finite or not one-dimensional, ConfigError for parameters that the model does not have, ImportError if the engine
    is not installed.
    """
    mass = np.asarray(mass, dtype=float)
    if mass.ndim != 1:
        raise ValueError(f"masses have shape {mass.shape}, expected one dimension")
    if not np.all(np.isfinite(mass)):
        i = int(np.argmin(np.isfinite(mass)))
        raise ValueError(f"{int((~np.isfinite(mass)).sum())} of {mass.size} masses are not finite, first mass[{i}]")
    edges = np.linspace(*config.range, config.n_bins + 1)
    counts = np.histogram(mass, edges)[0].astype(float)
    model = spectrum_model.build(config, counts, edges)
    model, minimum = _minimise(model, counts)
    return _result(model, counts, minimum, asked=config).with_provenance(
        Provenance(configuration=_plain(config), ledgers={STAGE: _ledger(mass, counts, config)})
    )


def _minimise(model: Model, counts: FloatArray) -> tuple[Model, Minimum]:
    """The minimum, and the model with the parameters that had to be held."""
    n, p = counts.sum(), len(model.parameters)
    if n < model.config.min_events:
        nothing = np.full(p, np.nan)
        status = Status.LOW_STATS if n else Status.EMPTY
        return model, Minimum(
            values=nothing, cov=np.diag(nothing), lower=nothing, upper=nothing, edm=np.nan, n_calls=0, status=status
        )
    engine = zfit_engine.minimise if model.config.engine == "zfit" else minuit_engine.minimise
    minimum = engine(model, counts)
    for _ in EXPONENTS:
        edge = _at_edge(model, minimum)
        upper = {p.name: p.high for p in model.parameters if p.name in edge and p.name in EXPONENTS}
        if not edge or set(edge) != set(upper):
            break
        held = {name: high for name, high in upper.items() if minimum.values[model.names.index(name)] > 0.5 * high}
        model = replace(model, config=replace(model.config, fixed={**model.config.fixed, **held}))
        minimum = engine(model, counts)
    return _background_or_none(model, minimum, counts, engine)


EXPONENTS: Final = ("n_l", "n_r")

ONE_SIGMA: Final = 1.0
"""In -2 ln L: a background that gains less is not seen, its shape has no likelihood to speak of."""


def _background_or_none(
    model: Model, minimum: Minimum, counts: FloatArray, engine: Callable[[Model, FloatArray], Minimum]
) -> tuple[Model, Minimum]:
    """The minimum, or that with the background held at no events, as a sample of pure signal needs it.

    It is held where the fit with it fails or makes the sum of all components negative somewhere, provided that the
    background is not seen: its yield came out negative, or the likelihood gains less than one standard error by it.
    """
    if "n_background" not in model.names or "n_background" in model.config.fixed:
        return model, minimum
    if minimum.status == Status.OK and np.all(model.expected(minimum.values).sum(axis=0) > 0):
        return model, minimum
    first = model.names.index("n_background")
    nothing = {p.name: p.start for p in model.parameters[first:]} | {"n_background": 0.0}
    bare = replace(model, config=replace(model.config, fixed={**nothing, **model.config.fixed}))
    alone = engine(bare, counts)
    worse = minuit_engine.objective(bare, counts, alone.values) - minuit_engine.objective(model, counts, minimum.values)
    unseen = minimum.values[first] < 0 or worse < ONE_SIGMA
    return (bare, alone) if alone.status == Status.OK and unseen else (model, minimum)


def _at_edge(model: Model, minimum: Minimum) -> tuple[str, ...]:
    if minimum.status != Status.AT_BOUNDARY:
        return ()
    return tuple(
        p.name
        for p, value in zip(model.parameters, minimum.values, strict=True)
        if p.name not in model.config.fixed and at_edge(p.low, p.high, float(value))
    )


def _result(model: Model, counts: FloatArray, minimum: Minimum, asked: SpectrumConfig) -> SpectrumFit:
    config, valid = model.config, minimum.status == Status.OK
    p, states = len(model.parameters), [resonance(name) for name in config.family.states]
    values = minimum.values if valid else np.full(p, np.nan)
    cov = minimum.cov if valid else np.full((p, p), np.nan)
    reference = np.array([state.mass for state in states])
    fine = np.linspace(model.edges[0], model.edges[-1], CURVE_FACTOR * counts.size + 1)
    k = len(model.components)
    expected = model.expected(values) if valid else np.full((k, counts.size), np.nan)
    free = p - len(config.fixed)
    quality = goodness_of_fit(counts, expected.sum(axis=0), free)
    status = minimum.status
    if valid and not quality.p_value >= config.min_p_value:
        status = Status.BAD_GOF
    return SpectrumFit(
        resonance=config.resonance,
        states=config.family.states,
        signal=config.signal,
        radiation=config.radiation,
        background=config.background,
        engine=config.engine,
        edges=model.edges,
        counts=counts,
        expected=expected,
        components=model.components,
        curve_edges=fine,
        curves=model.expected(values, fine) if valid else np.full((k, fine.size - 1), np.nan),
        parameters=model.names,
        values=values,
        cov=cov,
        lower=minimum.lower,
        upper=minimum.upper,
        masses=values[0] * reference,
        mass_errors=np.sqrt(cov[0, 0]) * reference,
        reference=reference,
        reference_errors=np.array([state.mass_error for state in states]),
        quality=quality,
        min_2_ln_l=minuit_engine.objective(model, counts, values) if valid else np.nan,
        edm=minimum.edm,
        n_calls=minimum.n_calls,
        held=tuple(name for name in config.fixed if name not in asked.fixed),
        at_edge=_at_edge(model, minimum),
        status=int(status),
    )


CURVE_FACTOR: Final = 5
"""Fine bins per bin in the stored curves."""


def _state_line(fit: SpectrumFit, i: int) -> str:
    mass, error, reference = fit.masses[i] / MeV, fit.mass_errors[i] / MeV, fit.reference[i] / MeV
    name = fit.states[i]
    return (
        f"  {name:<14}{mass:>10.2f} +- {error:.2f} MeV   minus PDG {mass - reference:+.2f} MeV "
        f"({mass / reference - 1:+.2e})   width {fit.value('sigma') * mass:.2f} +- "
        f"{fit.error('sigma') * mass:.2f} MeV   yield {fit.value('n_' + name):.0f} +- {fit.error('n_' + name):.0f}"
    )


def _parameter_line(fit: SpectrumFit, name: str) -> str:
    line = f"  {name:<14}{fit.value(name):>14.6g}"
    if name in fit.held:
        return f"{line}    held, the likelihood is flat"
    return f"{line} +- {fit.error(name):.3g}" if fit.error(name) > 0 else f"{line}    fixed"


def _ledger(mass: FloatArray, counts: FloatArray, config: SpectrumConfig) -> Ledger:
    low, high = config.range
    below, above = int((mass < low).sum()), int((mass > high).sum())
    return Ledger(
        unit="pairs", read=mass.size, used=int(counts.sum()), rejected={"below_window": below, "above_window": above}
    )


def _plain(config: SpectrumConfig) -> Mapping[str, object]:
    return {**config.to_dict(), "pdg_edition": EDITION}
