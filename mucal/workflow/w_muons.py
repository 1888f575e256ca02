"""Muons of W through the true detector: the W mass fitted with their momenta, before and after the calibration."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray
from mucal.detector import Detector
from mucal.globalcor import GlobalCorrections, Refit
from mucal.numerics import normal
from mucal.plot.closing import WShift
from mucal.refit import TrackFits
from mucal.scale import ScaleTable, correct_pt
from mucal.simulation import stream_muons
from mucal.store import Result
from mucal.theory import resonance
from mucal.track import LAM, QOP
from mucal.wmass import muon_spectrum
from mucal.wmass.momentum_shift import PtScore, curvature_weights, pt_score
from mucal.wmass.muon_spectrum import MuonSample
from mucal.workflow.probes import curvature_slopes
from mucal.workflow.progress import Event, Tell
from mucal.workflow.recorded_pairs import hits_of
from mucal.workflow.tracks_config import HitSample, Tracked

FOR_SCORE: Final = 400_000
"""Muons generated for the shape of the spectrum, of each charge."""
CHARGES: Final = (1, -1)
CHARGES_TO_ROWS: Final = np.array([[0.5, 0.5], [1.0, -1.0]])
"""Both charges together, and plus less minus, from the two charges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WMuons(Result):
    """Muons of one charge, fitted in every way.

    charge  :
    nominal : (N,) GeV  of the assumed detector, fitted on it
    before  : (N,) GeV  of the true detector, fitted on the assumed one
    after   : (N,) GeV  and with the global corrections
    eta     : (N,)
    score   :           of the spectrum
    slope   : (F,) GeV  d m / d theta of the free global parameters
    """

    charge: int
    nominal: FloatArray
    before: FloatArray
    after: FloatArray
    eta: FloatArray
    score: PtScore
    slope: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class WSample(Result):
    """Muons of both charges."""

    muons: tuple[WMuons, ...]


def w_muons(config: Tracked, refit: Refit, true: Detector, corrections: GlobalCorrections, tell: Tell) -> WSample:
    """The muons of both charges: the same, with the same random numbers, in the true and in the assumed detector.

    refit : of single tracks, with the corrections
    """
    return WSample(muons=tuple(_of_charge(config, refit, true, corrections, charge, tell) for charge in CHARGES))


def _of_charge(
    config: Tracked, refit: Refit, true: Detector, corrections: GlobalCorrections, charge: int, tell: Tell
) -> WMuons:
    sample = config.w_sample(charge)
    plain = replace(refit, theta=np.zeros(0))
    nominal, before, after, eta, slopes = [], [], [], [], []
    for assumed, hits in zip(
        _fits(sample, refit.detector, plain), hits_of(sample, true, refit.config.n_threads), strict=True
    ):
        old, _ = plain.tracks(hits, profile=False)
        new, _ = refit.tracks(hits)
        ok = assumed.ok & old.ok & new.ok
        nominal.append(_pt(assumed)[ok])
        before.append(_pt(old)[ok])
        after.append(_pt(new)[ok])
        eta.append(np.arcsinh(np.tan(new.state[ok, LAM])))
        slopes.append(curvature_slopes(refit.derivatives(new), new, corrections)[np.flatnonzero(ok)])
        tell(Event(stage=f"w {charge:+d}", done=sum(map(len, nominal)), total=sample.n, unit="muons"))
    seen = np.concatenate(nominal)
    score = _score(sample)
    weights = curvature_weights(score, np.concatenate(after))
    parts = np.split(weights, np.cumsum([len(part) for part in after])[:-1])
    slope = sum((np.asarray(s.T @ w).ravel() for s, w in zip(slopes, parts, strict=True)), np.zeros(slopes[0].shape[1]))
    return WMuons(
        charge=charge, nominal=seen, before=np.concatenate(before), after=np.concatenate(after),
        eta=np.concatenate(eta), score=score, slope=slope,
    )  # fmt: skip


def _fits(sample: HitSample, detector: Detector, refit: Refit) -> Iterator[TrackFits]:
    for hits in hits_of(sample, detector, refit.config.n_threads):
        yield refit.tracks(hits, profile=False)[0]


def _pt(fits: TrackFits) -> FloatArray:
    with np.errstate(divide="ignore", invalid="ignore"):
        pt: FloatArray = np.cos(fits.state[:, LAM]) / np.abs(fits.state[:, QOP])
    return pt


RESOLUTION: Final = 0.015
"""Relative, of 1/pT at 40 GeV: it rounds the edge of the spectrum; the shift does not depend on it to first order."""


def _score(sample: HitSample) -> PtScore:
    generated, mass = _generated(sample)
    w = resonance("w")
    return pt_score(generated.pt, mass, w.mass, w.width, resolution=RESOLUTION)


def _generated(sample: HitSample) -> tuple[MuonSample, FloatArray]:
    """Muons as generated, and the masses of their W (GeV)."""
    parts = list(stream_muons(sample.muons, FOR_SCORE, chunk=2**18))
    state = np.concatenate([part.state for part in parts])
    pt = np.cos(state[:, LAM]) / np.abs(state[:, QOP])
    eta = np.arcsinh(np.tan(state[:, LAM]))
    return MuonSample(eta=eta, pt=pt), np.concatenate([part.mass for part in parts])


def w_shift(config: Tracked, sample: WSample, corrections: GlobalCorrections, table: ScaleTable) -> WShift:
    """The fitted W mass less the injected one, MeV, at each stage: of both charges together and of plus less minus."""
    seen = [_muons_of(sample, [muons.nominal for muons in sample.muons])]
    seen += [_muons_of(sample, pt) for pt in _momenta(sample, table)]
    model = muon_spectrum.spectrum_model(
        muon_spectrum.spectrum(seen[0]), {c: _mass_ratios(config.w_sample(c)) for c in CHARGES}
    )
    found = [muon_spectrum.fit_mass(model, muon_spectrum.spectrum(muons)) for muons in seen[1:]]
    error = [muon_spectrum.scatter(one, seen[0], muons) for one, muons in zip(found, seen[1:], strict=True)]
    globally = _propagated(CHARGES_TO_ROWS @ np.array([m.slope for m in sample.muons]), corrections.covariance)
    of_table = np.array([_table_slope(m, table, _inside(m, table)) for m in sample.muons])
    by_table = _propagated(CHARGES_TO_ROWS @ of_table, table.cov)
    calibration = np.stack([np.zeros(2), globally, np.hypot(globally, by_table)], axis=1)
    return WShift(
        muons=int(sum(muons.eta.size for muons in sample.muons)), shift=1e3 * np.transpose([m.values for m in found]),
        error=1e3 * np.transpose(error), calibration_error=1e3 * calibration,
    )  # fmt: skip


def _momenta(sample: WSample, table: ScaleTable) -> list[list[FloatArray]]:
    """pT (GeV) at each stage, charge by charge."""
    calibrated = []
    for muons in sample.muons:
        inside, last = _inside(muons, table), muons.after.copy()
        charge = np.full(int(inside.sum()), float(muons.charge))
        last[inside] = correct_pt(table, muons.after[inside], muons.eta[inside], charge)
        calibrated.append(last)
    return [[m.before for m in sample.muons], [m.after for m in sample.muons], calibrated]


def _muons_of(sample: WSample, pt: list[FloatArray]) -> dict[int, MuonSample]:
    return {m.charge: MuonSample(eta=m.eta, pt=one) for m, one in zip(sample.muons, pt, strict=True)}


def _mass_ratios(sample: HitSample) -> FloatArray:
    """What another mass does to the spectrum of a charge, with the resolution."""
    generated, mass = _generated(sample)
    pulls = normal(1, "w_muons/resolution", np.arange(mass.size, dtype=np.int64))
    smeared = MuonSample(eta=generated.eta, pt=generated.pt / (1.0 + RESOLUTION * pulls))
    w = resonance("w")
    return muon_spectrum.mass_ratios(smeared, mass, w.mass, w.width)


def _inside(muons: WMuons, table: ScaleTable) -> BoolArray:
    inside: BoolArray = (muons.eta >= table.eta_edges[0]) & (muons.eta < table.eta_edges[-1])
    return inside


def scale_slope(sample: WSample, table: ScaleTable) -> FloatArray:
    """(3B,) MeV: d m / d (A, e, M) of the scale table, for both charges together."""
    rows = [_table_slope(muons, table, _inside(muons, table)) for muons in sample.muons]
    slope: FloatArray = 1e3 * CHARGES_TO_ROWS[0] @ np.array(rows)
    return slope


def _propagated(slopes: FloatArray, cov: FloatArray) -> FloatArray:
    """(C,) errors of linear functions with slopes (C, F)."""
    errors: FloatArray = np.sqrt(np.einsum("cf,fg,cg->c", slopes, cov, slopes))
    return errors


def _table_slope(muons: WMuons, table: ScaleTable, inside: BoolArray) -> FloatArray:
    """(3B,) GeV: d m / d (A, e, M)."""
    weights = curvature_weights(muons.score, muons.after)[inside]
    bins, pt = table.bin_index(muons.eta[inside]), muons.after[inside]
    columns = (weights, -weights / pt, muons.charge * weights * pt)
    return np.concatenate([np.bincount(bins, column, minlength=table.n_bins) for column in columns])
