"""Reading correction files back: what correctionlib computes from them is what the calibration computes."""

from itertools import product
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration import Calibration
from mucal.calibration.product import Sample
from mucal.errors import VerificationError
from mucal.io.correctionlib import ENVELOPE, CorrectionFile, read_corrections_json
from mucal.io.muonscare import reference_pt
from mucal.scale.resolution import curvature_variance

CHECK_MUONS: Final = 1000
CHECK_TOLERANCE: Final = 1e-12


def check_corrections(calibration: Calibration, path: Path) -> None:
    """Compare the corrections of the written file with the calibration: nominal, of every nuisance, and their envelope.

    `rng` is the exception: its numbers are correctionlib's own.

    Raises VerificationError if they differ by more than 1e-12 of a momentum, a variance or a weight.
    """
    corrections = read_corrections_json(path)
    _check_scale(calibration, corrections)
    _check_resolution(calibration, corrections)
    _check_pixels(calibration, corrections)


def check_muonscare(calibration: Calibration, path: Path) -> None:
    """Compare the scale in a file of CMS's Run-3 shape with the calibration, where they agree: at the pT of its e/pT.

    Its smearing, a parabola of our resolution, is opened but not compared.

    Raises VerificationError if momenta of data or simulation, or their total error, differ by more than 1e-12.
    """
    corrections = read_corrections_json(path)
    _, eta, charge = _grid(calibration)
    pt = np.full(eta.size, reference_pt(calibration))
    samples: tuple[Sample, ...] = ("data", "mc")
    for sample in samples:
        m, a = (corrections.evaluate(f"{symbol}_{sample}", eta, 0.0 * eta, "nom") for symbol in "ma")
        momenta = calibration.correct(pt, eta, 0.0 * pt, charge, sample)
        _require_same(f"m_{sample}, a_{sample}", "nom", 1.0 / (m / pt + charge * a), momenta, momenta)
    m, rho = (corrections.evaluate("m_data", eta, 0.0 * eta, key) for key in ("stat", "rho_stat"))
    a = corrections.evaluate("a_data", eta, 0.0 * eta, "stat")
    error = np.sqrt(np.maximum(0.0, m**2 + (pt * a) ** 2 + 2.0 * rho * charge * m * pt * a))
    # relative to the curvature, so that 1 is the size that 1e-12 is meant of
    _require_same("m_data, a_data", "stat", error, _total(calibration, pt, eta, charge), np.ones_like(pt))


def _check_scale(calibration: Calibration, corrections: CorrectionFile) -> None:
    pt, eta, charge = _grid(calibration)
    samples: tuple[tuple[Sample, str], ...] = (("data", "pt_scale"), ("mc", "pt_scale_mc"))
    for sample, name in samples:
        expected = {"nom": calibration.correct(pt, eta, 0.0 * pt, charge, sample)}
        for nuisance in calibration.nuisances("scale"):
            up, down = calibration.vary(pt, eta, 0.0 * pt, charge, nuisance, sample)
            expected |= {f"{nuisance}_up": up, f"{nuisance}_down": down}
        curvature, shift = 1.0 / expected["nom"], _total(calibration, pt, eta, charge) / pt
        expected |= {f"{ENVELOPE}_up": 1.0 / (curvature - shift), f"{ENVELOPE}_down": 1.0 / (curvature + shift)}
        for key, momenta in expected.items():
            _require_same(name, key, pt * corrections.evaluate(name, pt, eta, charge, key), momenta, momenta)
    index = calibration.scale.bin_index(eta)
    for key, parameters in _varied(calibration, "scale", calibration.nominal("data")).items():
        for symbol, values in zip("AeM", parameters[:, index], strict=True):
            found = corrections.evaluate("scale_params", eta, symbol, key)
            _require_same("scale_params", f"{symbol}, {key}", found, values, np.abs(values))


def _check_resolution(calibration: Calibration, corrections: CorrectionFile) -> None:
    data, mc = calibration.resolution_data, calibration.resolution_mc
    if data is None:
        return
    pt, eta, _ = _grid(calibration)
    index = np.searchsorted(data.eta_edges, eta, side="right") - 1
    in_mc = np.zeros_like(pt)
    if mc is not None:
        in_mc = curvature_variance(pt, mc.a[index], mc.b[index], mc.c[index], mc.d[index])
        _require_same("sigma_rel", "mc, nom", corrections.evaluate("sigma_rel", pt, eta, "mc", "nom"), in_mc, in_mc)
    usual = curvature_variance(pt, data.a[index], data.b[index], data.c[index], data.d[index])
    for key, (a, b, c) in _varied(calibration, "resolution", np.stack([data.a, data.b, data.c])).items():
        in_data = curvature_variance(pt, a[index], b[index], c[index], data.d[index])
        size = np.abs(in_data) + usual + in_mc  # the differences of these may be small; their rounding is not
        _require_same("sigma_rel", key, corrections.evaluate("sigma_rel", pt, eta, "data", key), in_data, size)
        if mc is not None:
            extra = corrections.evaluate("sigma_extra", pt, eta, key) ** 2
            _require_same("sigma_extra", key, extra, np.maximum(0.0, in_data - in_mc), size)


def _check_pixels(calibration: Calibration, corrections: CorrectionFile) -> None:
    if calibration.pixels is None:
        return
    _, eta, charge = _grid(calibration)
    for triggered, hits in product((0, 1), (0, 2)):
        muons = (eta, charge, triggered, hits)
        expected = {"nom": calibration.pixel_weight(*muons)}
        for nuisance in calibration.nuisances("pixel"):
            up, down = calibration.vary_pixel_weight(*muons, nuisance)
            expected |= {f"{nuisance}_up": up, f"{nuisance}_down": down}
        for key, weights in expected.items():
            found = corrections.evaluate("pixel_weight", hits, eta, charge, triggered, key)
            _require_same("pixel_weight", key, found, weights, weights)


def _total(calibration: Calibration, pt: FloatArray, eta: FloatArray, charge: FloatArray) -> FloatArray:
    """(N,) change of k' over k of every muon, all scale nuisances in quadrature."""
    A, e, M = calibration.scale_variations.transpose(1, 0, 2)[:, :, calibration.scale.bin_index(eta)]
    result: FloatArray = np.sqrt(np.sum((A - e / pt + charge * M * pt) ** 2, axis=0))
    return result


def _varied(calibration: Calibration, kind: str, nominal: FloatArray) -> dict[str, FloatArray]:
    """The (3, B) parameters that each value of syst of one kind stands for."""
    expected = {"nom": nominal}
    for nuisance in calibration.nuisances(kind):
        shift = calibration.variation(nuisance)
        expected |= {f"{nuisance}_up": nominal + shift, f"{nuisance}_down": nominal - shift}
    return expected


def _require_same(name: str, key: str, found: FloatArray, expected: FloatArray, size: FloatArray) -> None:
    """Raises VerificationError if a correction of the file is further from what is expected than 1e-12 of `size`."""
    apart = np.abs(found - expected)
    if not np.all(apart <= CHECK_TOLERANCE * size):
        i = int(np.argmax(~(apart <= CHECK_TOLERANCE * size)))
        raise VerificationError(
            f"the correction file reads back differently: {name} for {key} gives {found[i]:.15g}, expected "
            f"{expected[i]:.15g} to {CHECK_TOLERANCE:g}",
            kind="verify.read_back",
        )


def _grid(calibration: Calibration) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Muons over the whole validity range, both charges, edges included."""
    (pt_low, pt_high), (eta_low, eta_high) = calibration.pt_range, calibration.eta_range
    steps = np.arange(CHECK_MUONS) / CHECK_MUONS
    pt = pt_low * (pt_high / pt_low) ** steps
    # the golden ratio spreads the second coordinate evenly over the first
    eta = eta_low + (eta_high - eta_low) * np.mod(np.arange(CHECK_MUONS) * 0.6180339887498949, 1.0)
    tables = (calibration.scale, calibration.resolution_data, calibration.pixels)
    edges = np.unique(np.concatenate([table.eta_edges for table in tables if table is not None]))
    edges = edges[(edges >= eta_low) & (edges < eta_high)]
    eta[: edges.size] = edges
    inside = (pt >= pt_low) & (pt < pt_high) & (eta < eta_high)
    charge = np.where(np.arange(CHECK_MUONS) % 2 == 0, 1.0, -1.0)
    return pt[inside], eta[inside], charge[inside]
