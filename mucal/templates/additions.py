"""Processes and nuisances from elsewhere added to templates: nonprompt muons, efficiencies, running conditions."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mucal.arrays import FloatArray
from mucal.efficiency import EfficiencyModel
from mucal.templates.binning import Binning
from mucal.templates.event_weights import EventWeights
from mucal.templates.nonprompt import Nonprompt
from mucal.templates.table import Templates


def with_nuisances(
    templates: Templates, names: Sequence[str], groups: Sequence[str], kappa: FloatArray, processes: Sequence[str]
) -> Templates:
    """Templates with more nuisances, which act alike on the processes named.

    names, groups : (S,)
    kappa         : (S, B) ln(varied / nominal) at +1
    processes     : on which they act

    Raises ValueError for unknown processes and for names that are taken.
    """
    unknown = [name for name in processes if name not in templates.processes]
    if unknown:
        raise ValueError(f"no process '{unknown[0]}' among {', '.join(templates.processes)}")
    acts = np.array([name in processes for name in templates.processes])
    more = np.where(acts[:, None, None], kappa[None], 0.0)
    return replace(
        templates, nuisances=(*templates.nuisances, *names), groups=(*templates.groups, *groups),
        kappa=np.concatenate([templates.kappa, more], axis=1),
    )  # fmt: skip


def with_nonprompt(
    templates: Templates, found: Nonprompt, *, process: str = "nonprompt", subtraction: FloatArray | None = None
) -> Templates:
    """Templates in (charge, eta, pT) with the nonprompt muons as one more process, and their own nuisances.

    subtraction : (S, Q, E, T) what the nuisances that are there already do to it through the prompt subtraction, as
                  `nonprompt.propagate` finds; None: what the estimate itself carries of those that are there

    Raises ValueError for other bins, or if the process is there.
    """
    _same_bins(templates, found)
    if process in templates.processes:
        raise ValueError(f"the templates have a process '{process}' already")
    s, b = len(templates.nuisances), templates.nominal.shape[1]
    own = np.zeros((1, s, b))
    if subtraction is not None:
        own = subtraction.reshape(1, s, b)
    for name, row in zip(found.carried, found.carried_kappa, strict=True):
        if subtraction is None and name in templates.nuisances:
            own[0, templates.nuisances.index(name)] = row.ravel()
    nominal = found.nominal.reshape(1, b)
    q = templates.mass_shifts.size
    grown = replace(
        templates,
        processes=(*templates.processes, process),
        nominal=np.concatenate([templates.nominal, nominal]),
        sumw2=np.concatenate([templates.sumw2, np.zeros((1, b))]),
        kappa=np.concatenate([templates.kappa, own]),
        shifted=np.concatenate([templates.shifted, np.broadcast_to(nominal, (q, 1, b))], axis=1),
        helicity=np.concatenate([templates.helicity, np.zeros((1, *templates.helicity.shape[1:]))]),
    )
    return with_nuisances(grown, found.nuisances, found.groups, found.kappa.reshape(-1, b), [process])


def efficiency_effects(
    model: EfficiencyModel, binning: Binning, ut: FloatArray | None = None
) -> tuple[tuple[str, ...], tuple[str, ...], FloatArray]:
    """Names, groups and kappa (S, B) of all efficiency nuisances in bins of (charge, eta, pT).

    ut : (B,) GeV, mean u_T of each bin where a step depends on it; 0 without

    Each acts at the middle of a bin, where the smooth scale factor's relative change is taken for the bin's.
    """
    eta, pt = binning.centres("eta"), binning.centres("pt")
    charge = np.sign(binning.centres("charge")).astype(np.int64)
    recoil = np.zeros(eta.size) if ut is None else ut
    found = model.nuisances()
    kappa = np.zeros((len(found), eta.size))
    for row, one in zip(kappa, found, strict=True):
        row[:] = np.log1p(one.change(model.step(one.step), eta, pt, charge, recoil))
    return tuple(one.name for one in found), tuple(one.group for one in found), kappa


def with_efficiencies(
    templates: Templates, model: EfficiencyModel, processes: Sequence[str], *, vetoed: Sequence[str] = (),
    ut: FloatArray | None = None,
) -> Templates:  # fmt: skip
    """Templates in (charge, eta, pT) with the nuisances of the efficiencies.

    processes : with one muon that passes all steps
    vetoed    : with a second muon, on which the nuisances of the veto act
    ut        : as for `efficiency_effects`
    """
    names, groups, kappa = efficiency_effects(model, templates.binning, ut)
    veto = np.array([group.endswith("_veto") for group in groups])
    for chosen, on in ((~veto, processes), (veto, vetoed)):
        rows = np.flatnonzero(chosen)
        if rows.size and on:
            templates = with_nuisances(templates, [names[i] for i in rows], [groups[i] for i in rows], kappa[rows], on)
    return templates


def with_event_weights(
    templates: Templates, weights: EventWeights, processes: Sequence[str], events: dict[str, FloatArray] | None = None
) -> Templates:
    """Templates with the nuisances of weights that are functions of the bin alone, as luminosity and prefiring.

    events : column -> (B,) values; by default eta of the bin, and phi in no hot spot
    """
    columns = bin_columns(templates.binning) if events is None else events
    kappa = np.stack([weights.log_change(name, columns) for name in weights.nuisances])
    return with_nuisances(templates, weights.nuisances, weights.groups, kappa, processes)


def with_running_conditions(templates: Templates, weights: EventWeights, processes: Sequence[str]) -> Templates:
    """The same, and the nominal weights multiply the expected events of the processes.

    Raises InputError for weights that need more than the bin, as pileup: those are for events, not for bins.
    """
    acts = np.array([name in processes for name in templates.processes])
    factor = np.where(acts[:, None], weights.weight(bin_columns(templates.binning)), 1.0)
    weighed = replace(
        templates, nominal=factor * templates.nominal, sumw2=factor**2 * templates.sumw2,
        shifted=factor * templates.shifted, helicity=factor[:, None, None] * templates.helicity,
    )  # fmt: skip
    return with_event_weights(weighed, weights, processes)


def bin_columns(binning: Binning) -> dict[str, FloatArray]:
    """What weights can read of a bin: its eta, and phi in no hot spot."""
    eta = binning.centres("eta") if "eta" in binning.axes else np.full(binning.n_bins, np.nan)
    return {"eta": eta, "phi": np.zeros(binning.n_bins)}


def _same_bins(templates: Templates, found: Nonprompt) -> None:
    if templates.axes != ("charge", "eta", "pt"):
        raise ValueError(f"templates in {templates.axes}; nonprompt muons are known in (charge, eta, pt)")
    for axis, edges in (("eta", found.eta_edges), ("pt", found.pt_edges)):
        own = np.array(templates.edges[templates.axes.index(axis)])
        if own.shape != edges.shape or np.max(np.abs(own - edges)) > 1e-9:
            raise ValueError(f"templates and nonprompt muons have different bins of {axis}")
