"""Efficiencies in templates filled event by event: scale factors as weights, nuisances by moments.

A scale factor is sum_p c_p f_p(pT, u_T), f_p products of Legendre polynomials, and a nuisance adds v_p to c_p.  The
relative change of a bin is then linear in one moment for each p,

    sum_p v_p m_p ,    m_p = sum_i w_i f_p(i) / SF(i) / sum_i w_i ,

exact for whatever pT and u_T the events of the bin have, if the bin lies in one bin of the efficiencies' eta.
"""

from collections.abc import Sequence

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.efficiency import EfficiencyModel, ScaleFactors
from mucal.efficiency.nuisances import nuisances
from mucal.templates.binning import Binning, containing_bins
from mucal.templates.filling import Sums


def efficiency_columns(
    model: EfficiencyModel, eta: FloatArray, pt: FloatArray, charge: IntArray, ut: FloatArray
) -> tuple[dict[str, FloatArray], FloatArray]:
    """f_p / SF of every step, by column name, and the product of the scale factors (N,).

    Raises ValueError for muons outside the efficiencies' eta.
    """
    columns: dict[str, FloatArray] = {}
    factor = np.ones(eta.size)
    for one in model.steps:
        surface = one.nominal
        rows = surface.basis(pt, ut)
        i, q = surface.slices(eta, charge)
        value: FloatArray = np.einsum("np,np->n", rows, surface.coefficients[i, q])
        columns |= dict(zip(column_names(one), (rows / value[:, None]).T, strict=True))
        factor *= value
    return columns, factor


def column_names(one: ScaleFactors) -> tuple[str, ...]:
    """Of the moments of one step."""
    return tuple(f"efficiency:{one.step}:{p}" for p in range(one.nominal.n_parameters))


def efficiency_kappas(
    model: EfficiencyModel, binning: Binning, sums: Sequence[Sums]
) -> tuple[tuple[str, ...], tuple[str, ...], FloatArray]:
    """Names, groups and kappa (S, B) of all nuisances of the steps, of a process that is the sum of samples.

    sums : with the columns of `efficiency_columns`

    Raises ValueError if a bin of eta lies in two bins of the efficiencies.
    """
    nominal = np.sum([s.nominal for s in sums], axis=0)
    eta_edges, along = np.array(binning.edges[binning.axes.index("eta")]), binning.along("eta")
    positive = (binning.centres("charge") > 0).astype(np.int64)
    names: list[str] = []
    groups: list[str] = []
    rows: list[FloatArray] = []
    for one in model.steps:
        moments = np.sum([s.columns[:, [s.names.index(n) for n in column_names(one)]] for s in sums], axis=0)
        moments = np.divide(moments, nominal[:, None], out=np.zeros_like(moments), where=nominal[:, None] > 0)
        i = containing_bins(one.nominal.eta_edges, eta_edges, "efficiencies")[along]
        q = positive if one.nominal.by_charge else np.zeros_like(positive)
        for nuisance in nuisances(one):
            here = (nuisance.eta < 0) | (i == nuisance.eta)
            acts = np.flatnonzero(here & ((nuisance.charge < 0) | (q == nuisance.charge)))
            shift = nuisance.shift if nuisance.shift.ndim == 1 else nuisance.shift[i[acts], q[acts]]
            row = np.zeros(binning.n_bins)
            row[acts] = np.log1p((moments[acts] * shift).sum(axis=1))
            rows.append(row)
            names.append(nuisance.name)
            groups.append(nuisance.group)
    return tuple(names), tuple(groups), np.array(rows).reshape(len(names), binning.n_bins)
