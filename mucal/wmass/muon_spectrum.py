"""The W mass of muons seen through two detectors: a fit of templates from which the spectrum's statistics cancels.

Templates in charge, eta and pT are the muons as the assumed detector shows them, with the mass moved by the exact
weights of generated events; the data are the same muons with other momenta.  The fit is that of `tensor.mass_model`
with a free rate of each charge, so identical momenta give the simulation's mass exactly, and the error is that of what
happened to each muon.  Most of that would come from muons that cross an edge between bins: each is shared between bins
as if its momentum were measured once more, on both sides.  Derived in docs/physics/wmass.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import ndtr

from mucal.arrays import FloatArray, check_shapes
from mucal.likelihood import FitConfig, Model, Status, fit
from mucal.numerics import normal
from mucal.templates import Templates
from mucal.templates.smoothing import polynomials, smooth_rows
from mucal.theory.lineshape import breit_wigner_running
from mucal.theory.variation import log_ratio
from mucal.wmass.overlap import responses
from mucal.wmass.slices import compare, split_mass
from mucal.wmass.tensor import MASS, UNIT, mass_model

CHARGES: Final = (-1, 1)
"""In the order of the histogram."""
ETA_EDGES: Final = np.linspace(-2.4, 2.4, 7)
PT_EDGES: Final = np.linspace(26.0, 56.0, 31)
"""GeV"""
SHAPE: Final = (ETA_EDGES.size - 1, PT_EDGES.size - 1)
SHIFTS: Final = (-UNIT, UNIT)
"""GeV, of the mass."""

BLUR: Final = 0.015
"""Relative width with which a muon is shared between bins of pT: about the resolution."""
ETA_DEGREE, PT_DEGREE = 2, 8
"""Of the polynomials that the change by the mass is smoothed with."""
SMALLEST: Final = 1e-3
"""Muons: bins with fewer in the template have as many, in the data as well."""
FEWEST: Final = 5.0
"""Muons of a charge inside the histogram: with fewer there is no fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MuonSample:
    """Muons of one charge: eta (N,) and pT (N,) GeV."""

    eta: FloatArray
    pt: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, pt=(self.eta.size,))


Samples = Mapping[int, MuonSample]
"""By charge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedMass:
    """Of both charges together, and of plus less minus; NaN if muons were too few or the fit did not converge.

    values    : (2,) GeV    from the mass of the simulation
    responses : (2, B) GeV  to one more muon in a bin
    """

    values: FloatArray
    responses: FloatArray


def spectrum(samples: Samples) -> FloatArray:
    """(B,) muons in bins of charge, eta and pT."""
    return np.concatenate([_histogram(samples[charge]) for charge in CHARGES])


def mass_ratios(generated: MuonSample, boson_mass: FloatArray, peak: float, width: float) -> FloatArray:
    """(2, E T) log-ratios of the spectrum of one charge for the mass lower and higher by `UNIT`, smooth in eta and pT.

    generated   : with the resolution
    boson_mass  : (N,) GeV
    peak, width : GeV  of the running-width shape that the masses were drawn from
    """
    blurred = generated.pt / (1.0 + BLUR * normal(1, "muon_spectrum", np.arange(generated.pt.size, dtype=np.int64)))
    eta, pt = (np.searchsorted(e, x, side="right") - 1 for e, x in ((ETA_EDGES, generated.eta), (PT_EDGES, blurred)))
    use = (eta >= 0) & (eta < SHAPE[0]) & (pt >= 0) & (pt < SHAPE[1])
    place, mass = (eta * SHAPE[1] + pt)[use], boson_mass[use]
    weights = [np.ones(mass.size)]
    weights += [breit_wigner_running(mass, peak + s, width) / breit_wigner_running(mass, peak, width) for s in SHIFTS]
    at, *moved = (np.bincount(place, w, minlength=SHAPE[0] * SHAPE[1]).astype(np.float64) for w in weights)
    basis = polynomials(*SHAPE, ETA_DEGREE, PT_DEGREE)
    return smooth_rows(np.stack([log_ratio(one, at) for one in moved]), at, basis)


def spectrum_model(nominal: FloatArray, ratios: Mapping[int, FloatArray]) -> Model:
    """The mass and a rate of each charge, all free.

    nominal : (B,)  the template, `spectrum` of the assumed detector's muons
    ratios  : charge -> (2, E T), of `mass_ratios`
    """
    by_charge = np.maximum(nominal, SMALLEST).reshape(len(CHARGES), -1)
    templates = np.zeros((3, len(CHARGES), *by_charge.shape))
    for i, charge in enumerate(CHARGES):
        low, high = ratios[charge]
        templates[:, i, i] = by_charge[i] * np.exp([low, np.zeros_like(low), high])
    shifted = templates.reshape(3, len(CHARGES), -1)
    names = ("minus", "plus")
    made = Templates(
        channel="w", axes=("charge", "eta", "pt"), edges=((-2.0, 0.0, 2.0), tuple(ETA_EDGES), tuple(PT_EDGES)),
        processes=names, nominal=shifted[1], sumw2=np.zeros_like(shifted[1]), nuisances=(), groups=(),
        kappa=np.zeros((len(names), 0, nominal.size)), boson="w", mass_shifts=np.array([-UNIT, 0.0, UNIT]),
        shifted=shifted, helicity=np.zeros((len(names), 0, 9, nominal.size)),
    )  # fmt: skip
    return mass_model(made, rates={f"rate_{name}": [name] for name in names}, luminosity_error=0.0)


def fit_mass(model: Model, counts: FloatArray) -> FittedMass:
    """The mass of both charges together, and of each.

    model  : of `spectrum_model`
    counts : (B,)  `spectrum` of the muons with other momenta
    """
    missing = FittedMass(values=np.full(2, np.nan), responses=np.full((2, counts.size), np.nan))
    template = model.nominal.sum(axis=1)
    if min(template.reshape(len(CHARGES), -1).sum(axis=1)) < FEWEST:
        return missing
    counts, split = np.where(template > SMALLEST, counts, template), split_mass(model, "charge")
    one, two = (fit(m, counts, FitConfig(mc_stat="none")) for m in (model, split))
    if one.status != Status.OK or two.status != Status.OK:
        return missing
    plus, minus = (responses(split, counts, two, f"{MASS}_{name}") for name in ("plus", "minus"))
    return FittedMass(
        values=np.array([UNIT * one.value(MASS), compare(two).difference("plus", "minus")[0]]),
        responses=UNIT * np.array([responses(model, counts, one, MASS), plus - minus]),
    )


def scatter(found: FittedMass, first: Samples, second: Samples) -> FloatArray:
    """(2,) GeV: error of the values by how differently the momenta of single muons changed.

    first, second : the same muons, in the same order, of the template and of the data
    """
    by_charge = found.responses.reshape(2, len(CHARGES), *SHAPE)
    variance = np.zeros(2)
    for i, charge in enumerate(CHARGES):
        at = np.searchsorted(ETA_EDGES, first[charge].eta, side="right") - 1
        use = (at >= 0) & (at < SHAPE[0])
        moved = (_shares(second[charge].pt) - _shares(first[charge].pt))[use]
        each = np.einsum("nt,fnt->fn", moved, by_charge[:, i, at[use]])
        variance += each.shape[1] * each.var(axis=1)
    return np.sqrt(variance)


def _histogram(muons: MuonSample) -> FloatArray:
    at = np.searchsorted(ETA_EDGES, muons.eta, side="right") - 1
    shares = _shares(muons.pt)
    return np.concatenate([shares[at == i].sum(axis=0) for i in range(SHAPE[0])])


def _shares(pt: FloatArray) -> FloatArray:
    """(N, T) parts of each muon in bins of pT."""
    parts: FloatArray = np.diff(ndtr((PT_EDGES / pt[:, None] - 1.0) / BLUR), axis=1)
    return parts
