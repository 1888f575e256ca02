"""The Z mass of refitted pairs: templates in their mass and the larger |eta|, with the nuisances of a calibration.

The templates are simulated pairs with the resolution of data.  Another mass weights them by the ratio of Drell-Yan
densities at the mass before radiation; a nuisance of the calibration moves their momenta, or their weights by pixel
hits.  The rate is free, so that shapes alone tell.  Where each comes from: docs/physics/wmass.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.calibration import Calibration
from mucal.likelihood import FitConfig, Model, Status, fit, nominal_impacts
from mucal.templates import Templates
from mucal.templates.binning import CHANNELS, Binning
from mucal.templates.smoothing import smooth_in_mass
from mucal.theory.lineshape import DrellYan, drell_yan
from mucal.theory.variation import log_ratio
from mucal.track import Dimuons
from mucal.track.dimuon import invariant_mass
from mucal.wmass.tensor import MASS, UNIT, mass_model

PROCESS: Final = "Zmumu"
PT_RANGE: Final = (26.0, 60.0)
"""GeV, of both muons."""
MASS_RANGE: Final = (75.0, 105.0)
"""GeV; the published bins between."""
FEW_ETA_EDGES: Final = (-2.4, -1.2, 0.0, 1.2, 2.4)
ENOUGH: Final = 50.0
"""Simulated pairs a bin, in the mean: with fewer the bins of eta are `FEW_ETA_EDGES`, not the published 14."""
SMALLEST: Final = 1e-3
"""Pairs: bins without simulated ones have as many, in the data as well."""
FEWEST: Final = 50.0
"""Simulated pairs inside the histogram: with fewer there is no fit."""
SHIFTS: Final = (-UNIT, UNIT)
"""GeV, of the mass."""
CALIBRATION: Final = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedPairs:
    """Pairs of simulation as refitted.

    muons      : C pairs
    n_pixel    : (C, 2)  hits in the pixel detector
    boson_mass : (C,) GeV  before radiation
    """

    muons: Dimuons
    n_pixel: IntArray
    boson_mass: FloatArray

    def __post_init__(self) -> None:
        n = self.boson_mass.size
        check_shapes(self, n_pixel=(n, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedZ:
    """A fitted mass.

    value       : GeV  from that of the simulation; NaN where simulated pairs are too few or the fit did not converge
    statistics  : GeV  error with the calibration held: of the pairs, and of the simulated ones
    calibration : GeV  what its nuisances add in squares
    groups      : group of nuisances -> GeV
    """

    value: float
    statistics: float
    calibration: float
    groups: dict[str, float]


def bins_for(n: int) -> Binning:
    """Published bins of the mass in `MASS_RANGE`, and of the larger |eta|: 14, or 4 for few simulated pairs."""
    mass, eta = CHANNELS["dilepton"].edges
    inside = tuple(m for m in mass if MASS_RANGE[0] <= m <= MASS_RANGE[1])
    many = n >= ENOUGH * (len(inside) - 1) * (len(eta) - 1)
    return Binning(axes=CHANNELS["dilepton"].axes, edges=(inside, eta if many else FEW_ETA_EDGES))


def pair_counts(binning: Binning, muons: Dimuons, pt: FloatArray, weight: FloatArray | None = None) -> FloatArray:
    """(B,) pairs in the bins, with other momenta pt (C, 2) GeV; pairs with a muon that is NaN are left out."""
    forward = np.argmax(np.abs(muons.eta), axis=1)
    values = (invariant_mass(pt, muons.eta, muons.phi), muons.eta[np.arange(forward.size), forward])
    keep = np.all((pt > PT_RANGE[0]) & (pt < PT_RANGE[1]), axis=1)
    bins = np.where(keep, binning.index(values), -1)
    counted = np.bincount(bins[bins >= 0], None if weight is None else weight[bins >= 0], minlength=binning.n_bins)
    return counted.astype(np.float64)


def pair_model(pairs: SimulatedPairs, calibration: Calibration, trigger_pt: float) -> tuple[Model, Binning]:
    """The mass and the rate, free, and the nuisances of a calibration; and the bins.

    trigger_pt : GeV  muons above it fired the trigger, as its pixel weights assume
    """
    muons, shape = pairs.muons, DrellYan()
    pt = _as_in_data(muons, calibration)
    weight = _pixel_weight(pairs, calibration, trigger_pt)
    binning = bins_for(int(pair_counts(bins_for(0), muons, pt).sum()))
    nominal = np.maximum(pair_counts(binning, muons, pt, weight), SMALLEST)
    at = drell_yan(pairs.boson_mass, shape)
    heavier = [drell_yan(pairs.boson_mass, replace(shape, peak=shape.peak + s)) / at for s in SHIFTS]
    low, high = (np.maximum(pair_counts(binning, muons, pt, weight * w), SMALLEST) for w in heavier)
    rows = [
        0.5 * (log_ratio(up, nominal) - log_ratio(down, nominal))
        for up, down in _varied(pairs, calibration, binning, pt, weight, trigger_pt)
    ]
    slope = log_ratio(high, nominal) - log_ratio(low, nominal)
    smooth = smooth_in_mass(np.array(rows).reshape(-1, nominal.size), nominal, slope, np.array(binning.edges[0]))
    templates = Templates(
        channel="dilepton", axes=binning.axes, edges=binning.edges, processes=(PROCESS,), nominal=nominal[None],
        sumw2=pair_counts(binning, muons, pt, weight**2)[None], nuisances=calibration.names,
        groups=calibration.groups, kappa=smooth[None], boson="z", mass_shifts=np.array([-UNIT, 0.0, UNIT]),
        shifted=np.array([low, nominal, high])[:, None], helicity=np.zeros((1, 0, 9, nominal.size)),
    )  # fmt: skip
    return mass_model(templates, rates={"rate": [PROCESS]}, luminosity_error=0.0), binning


def fit_z(model: Model, counts: FloatArray, *, nuisances: bool = True) -> FittedZ:
    """The mass of pairs that were counted.

    model     : of `pair_model`
    nuisances : False: those of the calibration are held, for momenta without it
    """
    held = () if nuisances else tuple(name for members in model.groups.values() for name in members)
    missing = FittedZ(value=np.nan, statistics=np.nan, calibration=np.nan, groups={})
    template = model.nominal.sum(axis=1)
    if template.sum() < FEWEST:
        return missing
    counts = np.where(template > SMALLEST, counts, template)  # nothing is known where nothing was simulated
    result = fit(model, counts, FitConfig(frozen=held))
    if result.status != Status.OK:
        return missing
    groups, value = {}, UNIT * result.value(MASS)
    if nuisances and model.groups:
        every = tuple(name for members in model.groups.values() for name in members)
        joined = replace(model, groups={**model.groups, CALIBRATION: every})
        found = nominal_impacts(joined, counts, result, MASS)
        groups = {name: UNIT * impact for name, impact in found.groups.items()}
    calibration = groups.pop(CALIBRATION, 0.0)
    error = UNIT * result.error(MASS)
    return FittedZ(
        value=value, statistics=float(np.sqrt(max(0.0, error**2 - calibration**2))), calibration=calibration,
        groups=groups,
    )  # fmt: skip


def charge_difference(
    pairs: SimulatedPairs, calibration: Calibration, trigger_pt: float, data: Dimuons, pt: FloatArray
) -> tuple[float, float]:
    """Mass of the pairs whose mu+ is the harder muon less that of the others, and its statistical error, GeV.

    What is odd in charge shows here, and in the mass of all pairs not at all.  A bias M of the curvature of data moves
    it by M m <|pT+ - pT-|> in halves that are given, and by a sixth more as they are: pairs of like momenta change
    halves.  Nuisances are held; NaN where a fit has none.

    pairs, calibration, trigger_pt : as for `pair_model`
    data                           : pairs, with the momenta pt (C, 2) GeV
    """
    fits = []
    for harder in (True, False):
        there = _positive_is_harder(pairs.muons, pairs.muons.pt) == harder
        simulated = SimulatedPairs(
            muons=pairs.muons.select(there), n_pixel=pairs.n_pixel[there], boson_mass=pairs.boson_mass[there]
        )
        model, binning = pair_model(simulated, calibration, trigger_pt)
        chosen = _positive_is_harder(data, pt) == harder
        fits.append(fit_z(model, pair_counts(binning, data.select(chosen), pt[chosen]), nuisances=False))
    plus, minus = fits
    return plus.value - minus.value, float(np.hypot(plus.statistics, minus.statistics))


def _positive_is_harder(muons: Dimuons, pt: FloatArray) -> BoolArray:
    """(C,)"""
    harder: BoolArray = ((pt[:, 0] - pt[:, 1]) * (muons.charge[:, 0] - muons.charge[:, 1])) > 0
    return harder


def _as_in_data(muons: Dimuons, calibration: Calibration) -> FloatArray:
    """(C, 2) GeV, momenta with the resolution of data, if the calibration knows it."""
    if calibration.resolution_data is None or calibration.resolution_mc is None:
        return muons.pt
    smeared: FloatArray = calibration.smear(muons.pt, muons.eta, muons.phi, *_events(muons), outside="nan")
    return smeared


def _events(muons: Dimuons) -> tuple[IntArray, IntArray, IntArray]:
    """Run, lumi and event of each muon, (C, 2)."""
    run, lumi, event = (np.repeat(x[:, None], 2, axis=1) for x in (muons.run, muons.lumi, muons.event))
    return run, lumi, event


def _pixel_weight(pairs: SimulatedPairs, calibration: Calibration, trigger_pt: float) -> FloatArray:
    if calibration.pixels is None:
        return np.ones(pairs.boson_mass.size)
    m = pairs.muons
    weight = calibration.pixel_weight(m.eta, m.charge, m.pt > trigger_pt, pairs.n_pixel, outside="nan")
    return _product(weight)


def _product(weight: FloatArray) -> FloatArray:
    """(C,) of both muons; 0 where one is outside the calibration."""
    both: FloatArray = np.nan_to_num(weight.prod(axis=1))
    return both


def _varied(
    pairs: SimulatedPairs, calibration: Calibration, binning: Binning, pt: FloatArray, weight: FloatArray,
    trigger_pt: float,
) -> Iterator[tuple[FloatArray, FloatArray]]:  # fmt: skip
    """Counts with each nuisance up and down."""
    m = pairs.muons
    for name, kind in zip(calibration.names, calibration.kinds, strict=True):
        if kind == "pixel":
            triggered = m.pt > trigger_pt
            weights = calibration.vary_pixel_weight(m.eta, m.charge, triggered, pairs.n_pixel, name, outside="nan")
            up, down = (pair_counts(binning, m, pt, _product(one)) for one in weights)
        elif kind == "scale":
            moved = calibration.vary(pt, m.eta, m.phi, m.charge, name, "mc", outside="nan")
            up, down = (pair_counts(binning, m, one, weight) for one in moved)
        else:
            moved = calibration.vary_smearing(m.pt, m.eta, m.phi, *_events(m), name, outside="nan")
            up, down = (pair_counts(binning, m, one, weight) for one in moved)
        yield up, down
