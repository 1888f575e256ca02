"""The regions inside the likelihood: their coefficients as free parameters, and D as what follows from them."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray
from mucal.templates.nonprompt import REGIONS, WEIGHTS, Nonprompt
from mucal.templates.nonprompt_fits import basis


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionParameters:
    """Free parameters of one (charge, eta): 5 K changes of coefficients, exact because a model is log-linear in them.

    names   : of the parameters, region by region
    nominal : (6, T)       nonprompt events of the regions Ax, Bx, A, B, C, D at 0
    kappa   : (6, T, 5 K)  d ln(events) / d parameter; in D the weights of the five regions
    """

    names: tuple[str, ...]
    nominal: FloatArray
    kappa: FloatArray


def region_parameters(found: Nonprompt, charge: int, eta: int, *, factor: float = 1.0) -> RegionParameters:
    """What a fit of all six regions needs for one slice, around the coefficients already found.

    charge, eta : indices of the slice
    factor      : on D, as in `NonpromptConfig`
    """
    k = found.coefficients.shape[-1]
    rows = basis(found.pt_edges, k - 1)
    width = np.diff(found.pt_edges)
    own = found.region_coefficients[:, charge, eta]
    nominal = np.exp(np.concatenate([own, (WEIGHTS @ own)[None]]) @ rows.T) * width
    nominal[5] *= factor
    kappa = np.zeros((6, rows.shape[0], 5, k))
    for r in range(5):
        kappa[r, :, r] = rows
        kappa[5, :, r] = WEIGHTS[r] * rows
    names = tuple(f"nonprompt_{REGIONS[r]}_eta{eta}_q{charge}_par{j}" for r in range(5) for j in range(k))
    return RegionParameters(names=names, nominal=nominal, kappa=kappa.reshape(6, rows.shape[0], 5 * k))
