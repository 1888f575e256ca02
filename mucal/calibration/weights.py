"""All nuisances of simulated muons at once: as weights of the response, and as momenta.

The response of a muon is taken from a map of it (`response_map`), or as normal: the measured curvature is
k (1 + sigma z), k the generated one.  A nuisance that shifts it by d (relative) or changes sigma^2 by v changes the
density at the measured value by the factors

    1 +- z d / sigma,    1 +- (z^2 - 1) v / (2 sigma^2),

to first order (docs/physics/templates.md).  An event's weight is the product over its muons.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mucal.arrays import FloatArray, IntArray
from mucal.calibration import kernels
from mucal.calibration.application import pixel_ln_weights
from mucal.calibration.columns import flatten
from mucal.calibration.muons import prepare, prepare_hits
from mucal.calibration.product import Calibration
from mucal.calibration.response import moments, moments_of
from mucal.calibration.response_map import ResponseMap, response_slopes
from mucal.scale.resolution import curvature_variance
from mucal.scale.table import ResolutionTable

LARGEST: Final = 10.0
"""Weights beyond this, of either sign, are set to it (arXiv:2412.13872 does the same)."""


def response_weights(
    calibration: Calibration, pt: Any, eta: Any, charge: Any, pt_gen: Any, *, smeared: bool = False,
    triggered: Any = None, n_pixel: Any = None, response: ResponseMap | None = None,
) -> npt.NDArray[np.float32]:  # fmt: skip
    """Weights of N simulated muons for +1 and -1 of each of the S nuisances, relative to the nominal weight.

    pt        : GeV   measured; smeared if `smeared`
    eta       :       measured
    charge    :       +1 or -1
    pt_gen    : GeV   generated
    smeared   :       the momenta were smeared to the resolution of data
    triggered : whether the muon fired the trigger, for nuisances of the pixel hits
    n_pixel   : its valid pixel hits; without both, those nuisances have weights of 1
    response  : the response of these muons, smeared like them; None: Gaussian, of the calibration's resolution

    Returns (N, S, 2) in the order of `calibration.names`, up then down; 1 for muons outside the range of eta.
    Raises ValueError if the calibration does not know the resolution of simulation; for a pT, measured or generated,
    that is not finite and above 0, an eta that is not finite, a charge other than +1 and -1; for hits and triggers
    that `Calibration.pixel_weight` refuses.
    """
    mc = calibration.resolution_mc
    if mc is None or calibration.resolution_data is None:
        raise ValueError("this calibration holds no resolution of simulation; its response is not known")
    flat, _ = flatten({"pt": pt, "eta": eta, "charge": charge, "pt_gen": pt_gen})
    p, h, q, true = (np.ascontiguousarray(flat[name], dtype=np.float64) for name in ("pt", "eta", "charge", "pt_gen"))
    _refuse({"pt": p, "eta": h, "charge": q, "pt_gen": true})
    low, high = calibration.eta_range
    inside = (h >= low) & (h < high)
    where = np.flatnonzero(inside)
    p, h, q, true = p[where], h[where], q[where], true[where]
    index = np.searchsorted(mc.eta_edges, h, side="right") - 1
    d = calibration.resolution_data.d[index]
    if response is not None:
        basis = moments_of(true, q, *response_slopes(response, p, true, h, q), d)
    else:
        wider = calibration.resolution_data if smeared else None
        basis = _gaussian(wider, mc, p, true, q, index, d)
    out = np.ones((where.size, len(calibration.names), 2), dtype=np.float32)
    scale_index = calibration.scale.bin_index(h)
    n_scale = calibration.scale_variations.shape[0]
    first = np.ascontiguousarray(basis[:, :3])
    second = np.ascontiguousarray(basis[:, 3:])
    kernels.weighted(first, scale_index, _by_bin(calibration.scale_variations), LARGEST, out, 0)
    resolutions = _by_bin(calibration.resolution_variations)
    kernels.weighted(second, index.astype(np.int64), resolutions, LARGEST, out, n_scale)
    if calibration.pixels is not None and triggered is not None and n_pixel is not None:
        columns = {"pt": pt, "eta": eta, "charge": charge, "triggered": triggered, "n_pixel": n_pixel}
        hits = prepare_hits(columns, calibration.validity, "nan")
        bins, log = pixel_ln_weights(hits, calibration.pixels)
        _weigh_pixels(calibration, bins[where], log[where], out)
    if where.size == inside.size:
        return out
    every = np.ones((inside.size, *out.shape[1:]), dtype=np.float32)
    every[where] = out
    return every


def _gaussian(
    data: ResolutionTable | None, mc: ResolutionTable, pt: FloatArray, true: FloatArray, charge: FloatArray,
    index: IntArray, d: FloatArray,
) -> FloatArray:  # fmt: skip
    """(N, 6) moments of a Gaussian response with the resolution of simulation, or of `data` where that is larger."""
    variance = curvature_variance(true, mc.a[index], mc.b[index], mc.c[index], mc.d[index])
    if data is not None:
        in_data = curvature_variance(true, data.a[index], data.b[index], data.c[index], data.d[index])
        variance = np.maximum(variance, in_data)
    sigma = np.sqrt(variance)
    return moments(true, charge, (true / pt - 1.0) / sigma, sigma, d)


def vary_all(calibration: Calibration, pt: Any, eta: Any, charge: Any, *, sample: str = "mc") -> FloatArray:
    """Momenta of N muons with each of the S scale nuisances up and down: `Calibration.vary` of all of them.

    pt, eta, charge : inside the validity range, in GeV
    sample          : "data" or "mc"

    Returns (N, S, 2) in GeV, up then down.  Raises ValueError for muons outside the range, and for one whose curvature
    a nuisance would turn.
    """
    muons = prepare({"pt": pt, "eta": eta, "phi": 0.0, "charge": charge}, calibration.validity, "raise")
    shifts = _by_bin(calibration.scale_variations)
    out = np.empty((muons.pt.size, shifts.shape[1], 2))
    index = calibration.scale.bin_index(muons.eta)
    kernels.varied(muons.pt, muons.charge, index, calibration.nominal(sample), shifts, out)
    if out.size and not (np.min(out) > 0 and np.max(out) < np.inf):
        i, s, _ = np.argwhere(~((out > 0) & (out < np.inf)))[0]
        raise ValueError(
            f"nuisance '{calibration.names[s]}' turns the sign of the curvature of muon {i}, pt = {muons.pt[i]:.4g} "
            "GeV; its variation is not that of a momentum scale"
        )
    return out


def _refuse(columns: Mapping[str, FloatArray]) -> None:
    """Raises ValueError for the first muon that has no response: of pt, eta, charge, pt_gen, each (N,)."""
    good = np.all([np.isfinite(values) for values in columns.values()], axis=0)
    good &= (columns["pt"] > 0) & (columns["pt_gen"] > 0) & (np.abs(columns["charge"]) == 1)
    if not np.all(good):
        i = int(np.argmin(good))
        muon = ", ".join(f"{name} = {values[i]:.6g}" for name, values in columns.items())
        raise ValueError(
            f"{int(np.sum(~good))} of {good.size} muons have no response to weigh by; the first, [{i}], has {muon}; "
            "expected finite numbers, momenta above 0 and charge +1 or -1; select first"
        )


def _by_bin(variations: FloatArray) -> FloatArray:
    """(S, 3, B) -> (B, S, 3)"""
    return np.ascontiguousarray(np.moveaxis(variations, 2, 0))


def _weigh_pixels(calibration: Calibration, index: IntArray, log: FloatArray, out: npt.NDArray[np.float32]) -> None:
    """Write the weights of the pixel nuisances; index, log : (N,) bin, and logarithm of the whole weight."""
    first = len(calibration.names) - calibration.pixel_variations.shape[0]
    for s, exponents in enumerate(calibration.pixel_variations):
        touched = np.flatnonzero(exponents[index])
        change = exponents[index[touched]] * log[touched]
        out[touched, first + s, 0] = np.exp(change)
        out[touched, first + s, 1] = np.exp(-change)
