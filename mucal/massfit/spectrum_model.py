"""The model of one spectrum: its parameters, and the events expected in every bin."""

from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError, nearest
from mucal.massfit import shapes
from mucal.massfit.spectrum_config import SpectrumConfig
from mucal.theory import DrellYan, fsr
from mucal.theory.lineshape import (
    Kernel,
    Line,
    crystal_ball_kernel,
    double_gaussian_kernel,
    drell_yan,
    gaussian_kernel,
)
from mucal.theory.pdg import resonance


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A fitted parameter.

    start, step : where and how wide to begin
    low, high   : domain
    """

    name: str
    start: float
    step: float
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Signal lines, resolution and background over a window.

    Parameters in order: scale, sigma, those of the resolution, the yields n_<state>, n_background, those of the
    background.

    config     : what was asked for
    edges      : (J+1,) GeV
    lines      : spectrum of each state before smearing
    parameters : P of them
    """

    config: SpectrumConfig
    edges: FloatArray
    lines: tuple[Line, ...]
    parameters: tuple[Parameter, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, in order."""
        return tuple(p.name for p in self.parameters)

    @property
    def components(self) -> tuple[str, ...]:
        """States, then "background" if there is one."""
        background = () if self.config.background == "none" else ("background",)
        return self.config.family.states + background

    def expected(self, values: FloatArray, edges: FloatArray | None = None) -> FloatArray:
        """(K, J) events of each component in each bin of the window, for (P,) parameter values.

        edges : (F+1,) GeV, other bins over the same window, for a smooth curve
        """
        edges = self.edges if edges is None else edges
        at = dict(zip(self.names, (float(v) for v in values), strict=True))
        kernel = _kernel(self.config.signal, at)
        rows = [
            at[f"n_{state}"] * shapes.smeared_line(edges, line, at["scale"], at["sigma"], kernel)
            for state, line in zip(self.config.family.states, self.lines, strict=True)
        ]
        if self.config.background != "none":
            rows.append(at["n_background"] * _background(self.config, edges, at))
        return np.stack(rows)


def build(config: SpectrumConfig, counts: FloatArray, edges: FloatArray) -> Model:
    """The model that `config` asks for, with starting values taken from the counts.

    Raises ConfigError if `start`, `fixed` or `constraints` name a parameter that the model does not have, or `start`
    or `fixed` a value outside its domain.
    """
    lines = tuple(_line(config, state, edges) for state in config.family.states)
    parameters = (
        Parameter(name="scale", start=1.0, step=1e-3, low=0.9, high=1.1),
        Parameter(name="sigma", start=config.family.sigma, step=0.1 * config.family.sigma, low=5e-4, high=0.2),
        *RESOLUTION[config.signal],
        *_yields(config, counts, edges),
        *_background_parameters(config, edges),
    )
    _check_names(config, parameters)
    return Model(config=config, edges=edges, lines=lines, parameters=parameters)


def _check_names(config: SpectrumConfig, parameters: tuple[Parameter, ...]) -> None:
    domains = {p.name: p for p in parameters}
    for key in ("start", "fixed", "constraints"):
        for name, value in getattr(config, key).items():
            if name not in domains:
                raise ConfigError(
                    f"{key} names '{name}', which this model does not have; the nearest are "
                    f"{', '.join(nearest(name, domains) or domains)}",
                    kind="config.unknown_parameter",
                    where={"known": ", ".join(domains)},
                )
            p = domains[name]
            if key != "constraints" and not p.low <= value <= p.high:
                raise ConfigError(
                    f"{key}.{name} = {value}, expected between {p.low:g} and {p.high:g}", kind="config.value"
                )


RESOLUTION: Final[dict[str, tuple[Parameter, ...]]] = {
    "gaussian": (),
    "double_gaussian": (
        Parameter(name="ratio", start=2.0, step=0.2, low=1.1, high=6.0),
        Parameter(name="fraction", start=0.3, step=0.05, low=0.0, high=0.9),
    ),
    "dscb": (
        Parameter(name="alpha_l", start=1.5, step=0.1, low=0.3, high=6.0),
        Parameter(name="n_l", start=5.0, step=1.0, low=1.1, high=50.0),
        Parameter(name="alpha_r", start=1.5, step=0.1, low=0.3, high=6.0),
        Parameter(name="n_r", start=5.0, step=1.0, low=1.1, high=50.0),
    ),
}

REACH: Final = 10.0
"""Resolutions beyond the window from which the line still feeds it."""


def _line(config: SpectrumConfig, state: str, edges: FloatArray) -> Line:
    entry = resonance(state)
    margin = REACH * config.family.sigma * edges[-1]
    low, high = max(0.25, float(edges[0] - margin)), float(edges[-1] + margin)
    if state == "z":
        model = DrellYan(luminosity_power=config.luminosity_power)
        line = fsr.line(state, low, high, config.family.sigma * entry.mass, model)
        if config.radiation:
            return line
        # the same nodes without radiation: their common weights are what remains after the radiated density
        weight = line.weight / fsr.radiated_density(line.mass, model) * drell_yan(line.mass, model)
        return Line(mass=line.mass, weight=weight / weight.sum())
    if config.radiation:
        return fsr.line(state, low, high, config.family.sigma * entry.mass)
    return Line(mass=np.array([entry.mass]), weight=np.ones(1))


def _kernel(signal: str, at: dict[str, float]) -> Kernel:
    if signal == "gaussian":
        return gaussian_kernel
    if signal == "double_gaussian":
        return partial(double_gaussian_kernel, ratio=at["ratio"], fraction=at["fraction"])
    return partial(crystal_ball_kernel, alpha_l=at["alpha_l"], n_l=at["n_l"], alpha_r=at["alpha_r"], n_r=at["n_r"])


def _background(config: SpectrumConfig, edges: FloatArray, at: dict[str, float]) -> FloatArray:
    if config.background == "exponential":
        return shapes.exponential(edges, at["slope"])
    if config.background == "chebyshev":
        return shapes.chebyshev(edges, [at[f"c{k}"] for k in range(1, config.degree + 1)])
    if config.background == "bernstein":
        return shapes.bernstein(edges, [at[f"b{k}"] for k in range(1, config.degree + 1)])
    return shapes.cms_shape(edges, at["alpha"], at["beta"], at["gamma"])


def _background_parameters(config: SpectrumConfig, edges: FloatArray) -> tuple[Parameter, ...]:
    low, width = float(edges[0]), float(edges[-1] - edges[0])
    if config.background == "exponential":
        return (Parameter(name="slope", start=0.0, step=1.0 / width, low=-50.0 / width, high=50.0 / width),)
    if config.background == "chebyshev":
        return tuple(Parameter(name=f"c{k}", start=0.0, step=0.1) for k in range(1, config.degree + 1))
    if config.background == "bernstein":
        return tuple(Parameter(name=f"b{k}", start=1.0, step=0.1, low=0.0) for k in range(1, config.degree + 1))
    if config.background == "cms_shape":
        return (
            Parameter(name="alpha", start=low, step=0.1 * width, low=low - width, high=low + width),
            Parameter(name="beta", start=4.0 / width, step=1.0 / width, low=0.05 / width, high=100.0 / width),
            Parameter(name="gamma", start=0.0, step=1.0 / width, low=-50.0 / width, high=50.0 / width),
        )
    return ()


def _yields(config: SpectrumConfig, counts: FloatArray, edges: FloatArray) -> tuple[Parameter, ...]:
    """Starting yields: what a window of two resolutions around each state holds above the level of the sidebands."""
    centre = 0.5 * (edges[1:] + edges[:-1])
    total = max(float(counts.sum()), 1.0)
    width = 2.0 * config.family.sigma + (resonance("z").width / resonance("z").mass if config.resonance == "z" else 0)
    near = np.stack([np.abs(centre / resonance(s).mass - 1.0) < width for s in config.family.states])
    outside = counts[~near.any(axis=0)]
    level = float(np.median(outside)) if outside.size and config.background != "none" else 0.0
    excess = np.array([max(float((counts[mask] - level).sum()), 0.02 * total) for mask in near])
    excess *= min(1.0, 0.95 * total / excess.sum())
    parameters = [
        Parameter(name=f"n_{state}", start=float(n), step=float(np.sqrt(total) + 0.05 * n))
        for state, n in zip(config.family.states, excess, strict=True)
    ]
    if config.background != "none":
        rest = total - float(excess.sum())
        parameters.append(Parameter(name="n_background", start=rest, step=float(np.sqrt(total) + 0.05 * rest)))
    return tuple(parameters)
