"""Models from histograms and from arrays."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError
from mucal.likelihood.blocks import Effect, effect, gather
from mucal.likelihood.channel import Channel
from mucal.likelihood.histograms import Negative, Nominal, Templates, Variation, log_ratios, read_nominal
from mucal.likelihood.model import Model


def build(
    nominal: Templates,
    variations: Sequence[Variation] = (),
    *,
    rates: Mapping[str, Sequence[str]] | None = None,
    pois: Sequence[str] = (),
    inflation: float = 1.0,
    negative: Negative = "refuse",
) -> Model:
    """The model of histograms.

    nominal    : channel -> process -> histogram; its variances are the finite simulation's
    variations : shape parameters, with names all different
    rates      : parameter, free and starting at 1 -> processes that it multiplies
    pois       : names of the parameters of interest
    inflation  : factor on the standard errors of the simulation (1.26 in the measurement of m_W)
    negative   : bins of a template below 0 are refused, or become "zero": the process is absent there

    Raises InputError for templates, variations and names that cannot be used, with channel, process and bin.
    Source: arXiv:2412.13872; the log-ratios are (1) of docs/physics/likelihood.md.
    """
    found = read_nominal(nominal, negative)
    rates = rates or {}
    names = (*rates, *(variation.name for variation in variations))
    _refuse_two_meanings(rates, variations)
    effects = gather(_effects(found, variations, first=len(rates)))
    groups: dict[str, tuple[str, ...]] = {}
    for variation in variations:
        for group in variation.groups:
            groups[group] = (*groups.get(group, ()), variation.name)
    return Model(
        channels=found.channels,
        processes=found.processes,
        parameters=names,
        nominal=found.nominal,
        sumw2=inflation**2 * found.variance,
        effects=effects,
        rate=_rate_of(rates, found.processes),
        centre=np.array([1.0] * len(rates) + [0.0] * len(variations)),
        precision=np.array([0.0] * len(rates) + [float(variation.constrained) for variation in variations]),
        pois=tuple(pois),
        groups=groups,
    )


def from_arrays(
    nominal: FloatArray,
    kappa: FloatArray,
    *,
    parameters: Sequence[str],
    processes: Sequence[str],
    eta: FloatArray | None = None,
    sumw2: FloatArray | None = None,
    free: Sequence[str] = (),
    additive: Sequence[str] = (),
    rates: Mapping[str, Sequence[str]] | None = None,
    pois: Sequence[str] = (),
    groups: Mapping[str, tuple[str, ...]] | None = None,
) -> Model:
    """The model of dense arrays, as one channel "bins" with the axis "bin".

    nominal    : (B, P)
    kappa      : (B, P, S)  half the difference of the log-ratios up and down
    parameters : names of the S shape parameters
    processes  : names
    eta        : (B, P, S)  half their sum; None if all are symmetric
    sumw2      : (B, P) variances of the simulation, or (B,) their sum, which is then shared in proportion to the
                 nominal; None for exactly known templates
    additive   : shape parameters whose kappa and eta are events added instead of log-ratios
    free       : shape parameters without a constraint
    rates      : parameter -> processes that it multiplies; these come before the shape parameters
    """
    rates = rates or {}
    n_bins, n_processes = nominal.shape
    filled = nominal > 0
    effects = (
        effect(p, len(rates) + j, kappa[:, p, j], None if eta is None else eta[:, p, j], filled[:, p], name in additive)
        for p in range(n_processes)
        for j, name in enumerate(parameters)
    )
    return Model(
        channels=(Channel(name="bins", axes=("bin",), edges=(tuple(float(i) for i in range(n_bins + 1)),)),),
        processes=tuple(processes),
        parameters=(*rates, *parameters),
        nominal=np.ascontiguousarray(nominal, dtype=float),
        sumw2=_shared(sumw2, nominal),
        effects=gather(one for one in effects if one is not None),
        rate=_rate_of(rates, tuple(processes)),
        centre=np.array([1.0] * len(rates) + [0.0] * len(parameters)),
        precision=np.array([0.0] * len(rates) + [float(name not in free) for name in parameters]),
        pois=tuple(pois),
        groups=groups or {},
    )


def _shared(sumw2: FloatArray | None, nominal: FloatArray) -> FloatArray:
    """(B, P); a sum (B,) in proportion to the nominal: one factor a process then acts as one factor a bin does."""
    if sumw2 is None:
        return np.zeros(nominal.shape)
    if np.ndim(sumw2) == 2:
        return np.array(sumw2, dtype=float)
    total = nominal.sum(axis=1, keepdims=True)
    share = np.divide(nominal, total, out=np.zeros(nominal.shape), where=total > 0)
    shared: FloatArray = share * np.asarray(sumw2, dtype=float)[:, None]
    return shared


def _effects(found: Nominal, variations: Sequence[Variation], first: int) -> Iterator[Effect]:
    filled = found.nominal > 0
    for column, variation in enumerate(variations, start=first):
        for p, (kappa, eta) in log_ratios(found, variation).items():
            one = effect(p, column, kappa, eta, filled[:, p], variation.additive)
            if one is not None:
                yield one


def _rate_of(rates: Mapping[str, Sequence[str]], processes: tuple[str, ...]) -> np.ndarray:
    """(P,) parameter that multiplies each process, or (P, R) if there are several; -1 for none."""
    found: dict[str, list[int]] = {process: [] for process in processes}
    for j, (name, members) in enumerate(rates.items()):
        for process in members:
            if process not in processes or j in found[process]:
                raise InputError(
                    f"rate '{name}' names process '{process}', which is not in the model or was named before",
                    kind="likelihood.rate",
                    where={"process": ", ".join(processes)},
                )
            found[process].append(j)
    rate = np.full((len(processes), max(1, *map(len, found.values()))), -1, dtype=np.int64)
    for p, members_of in enumerate(found.values()):
        rate[p, : len(members_of)] = members_of
    return rate[:, 0] if rate.shape[1] == 1 else rate


def _refuse_two_meanings(rates: Mapping[str, Sequence[str]], variations: Sequence[Variation]) -> None:
    seen = {name: f"rate of {', '.join(members)}" for name, members in rates.items()}
    for variation in variations:
        if variation.name in seen:
            raise InputError(
                f"parameter '{variation.name}' has two meanings",
                kind="likelihood.duplicate_name",
                where={"first": seen[variation.name], "second": str(variation)},
                do="join the templates into one variation, or give each its own name",
            )
        seen[variation.name] = str(variation)
