"""Tables applied to muons: momenta with other parameters, smeared momenta, weights by pixel hits."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mucal.arrays import FloatArray, IntArray
from mucal.calibration.columns import flatten
from mucal.calibration.muons import Muons, prepare, prepare_hits
from mucal.calibration.response import momentum_factor
from mucal.calibration.validity import OUTSIDE, Outside, Validity
from mucal.numerics.keyed import normal
from mucal.scale.momentum import curvature_factor
from mucal.scale.pixels import PixelMultiplicity
from mucal.scale.resolution import curvature_variance
from mucal.scale.table import ResolutionTable

COMPILED: Final = 200_000
"""Muons from which the compiled loop is worth its start (a second, once)."""
SEED: Final = 0
"""Of the smearing.  Fixed: two users who smear the same muon get the same momentum."""
PURPOSE: Final = "calibration.smear"


def momenta(
    columns: Mapping[str, Any], eta_edges: FloatArray, parameters: Sequence[FloatArray], validity: Validity,
    outside: Outside,
) -> list[Any]:  # fmt: skip
    """Corrected pT for each of some sets of parameters, in the user's container; compiled for many muons.

    columns    : pt, eta, phi, charge
    eta_edges  : (B+1,)
    parameters : each (3, B)  A, e, M

    Raises ValueError for muons outside the validity range or whose curvature the parameters would turn, which get
    NaN if `outside` is "nan".
    """
    flat, restore = flatten(columns)
    if outside in OUTSIDE and flat["pt"].size >= COMPILED:
        found = _compiled(flat, eta_edges, parameters, validity, outside)
        if found is not None:
            return [restore(values) for values in found]
    muons = prepare(columns, validity, outside)
    index = _bins(eta_edges, muons)
    return [muons.finish(_corrected(muons, each[:, index], outside)) for each in parameters]


def _corrected(muons: Muons, parameters: FloatArray, outside: Outside) -> FloatArray:
    """(N,) GeV with the (3, N) parameters of every muon; of a turned curvature NaN, or refused as `outside` says."""
    A, e, M = parameters
    if outside == "nan":
        turned = curvature_factor(muons.pt, muons.charge, A, e, M) <= 0
        A = np.where(turned, np.nan, A)
    return muons.pt * momentum_factor(muons.pt, muons.charge, A, e, M)


def _compiled(
    flat: Mapping[str, npt.NDArray[Any]], eta_edges: FloatArray, parameters: Sequence[FloatArray], validity: Validity,
    outside: Outside,
) -> list[FloatArray] | None:  # fmt: skip
    """One pass for each set of parameters; None where a muon has to be refused."""
    from mucal.calibration import kernels

    limits = np.array([*validity.pt_range, *validity.eta_range])
    found = [np.empty(flat["pt"].size) for _ in parameters]
    for values, out in zip(parameters, found, strict=True):
        muons = (flat["pt"], flat["eta"], flat["phi"], flat["charge"])
        if kernels.scaled(*muons, eta_edges, values, limits, out) and outside != "nan":
            return None
    return found


def smeared(muons: Muons, data: ResolutionTable, mc: ResolutionTable, shift: FloatArray | float) -> FloatArray:
    """(N,) GeV, pT of simulation with the resolution of data, whose a, b, c are shifted by (3, B) or a number."""
    width = np.sqrt(np.maximum(0.0, extra_variance(muons, data, mc, shift)))
    stretch = 1.0 + width * normal(SEED, PURPOSE, *muons.keys) if muons.pt.size else width
    return muons.pt / np.where(stretch > 0, stretch, np.nan)


def extra_variance(muons: Muons, data: ResolutionTable, mc: ResolutionTable, shift: FloatArray | float) -> FloatArray:
    """(N,) (sigma_k/k)^2 of data, its a, b, c shifted, less that of simulation, in the same eta bins."""
    index = _bins(data.eta_edges, muons)
    a, b, c = (np.stack([data.a, data.b, data.c]) + shift)[:, index]
    in_data = curvature_variance(muons.pt, a, b, c, data.d[index])
    in_mc = curvature_variance(muons.pt, mc.a[index], mc.b[index], mc.c[index], mc.d[index])
    result: FloatArray = in_data - in_mc
    return result


def pixel_weights(
    columns: Mapping[str, Any], pixels: PixelMultiplicity, exponents: Sequence[FloatArray | float],
    validity: Validity, outside: Outside,
) -> list[Any]:  # fmt: skip
    """Weights by pixel hits to each of some powers, in the user's container.

    columns   : eta, charge, triggered, n_pixel
    exponents : each (B,) or one number

    Raises ValueError for muons outside the validity range, unless `outside` is "nan".
    """
    muons = prepare_hits(columns, validity, outside)
    index, log = pixel_ln_weights(muons, pixels)
    return [muons.finish(np.exp(np.broadcast_to(each, (pixels.n_bins,))[index] * log)) for each in exponents]


def pixel_ln_weights(muons: Muons, pixels: PixelMultiplicity) -> tuple[IntArray, FloatArray]:
    """(N,) eta bin of every muon of `prepare_hits`, and the logarithm of its whole weight by pixel hits."""
    index = _bins(pixels.eta_edges, muons)
    fired, hits = muons.keys
    return index, pixels.ln_weights[np.minimum(hits, 1), fired, (muons.charge > 0).astype(np.int64), index]


def _bins(eta_edges: FloatArray, muons: Muons) -> IntArray:
    """(N,) eta bin of every muon, all of them inside the edges."""
    return np.searchsorted(eta_edges, muons.eta, side="right") - 1
