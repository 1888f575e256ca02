"""Chunks of generated events as the pass wants them: bins, weights, and what each nuisance needs of an event."""

from dataclasses import dataclass, field, replace

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.calibration import Calibration
from mucal.calibration.response import moments
from mucal.scale.table import ResolutionTable
from mucal.templates.binning import CELLS, Binning
from mucal.templates.config import BOSON_Y, GENERATED, PAIRS, TemplatesConfig, parent
from mucal.templates.efficiency_effects import efficiency_columns
from mucal.templates.filling import Chunk
from mucal.templates.ingredients import Ingredients
from mucal.templates.recoil_effects import mt_weights
from mucal.templates.reconstruction import (
    ETA_MAX,
    MT_MIN,
    Measured,
    MeasuredRecoil,
    chosen_muon,
    measure,
    measure_recoil,
    pair_momentum,
    selected_pair,
    unvetoed,
)
from mucal.templates.response import MOMENTS, muon_shifts
from mucal.templates.variations import column_name
from mucal.theory import reweighting
from mucal.theory.generator import BosonEvents, generate
from mucal.theory.pdf_grid import PdfSet
from mucal.theory.production import Production, production
from mucal.theory.pythia import generate_with_pythia
from mucal.theory.tau import through_tau
from mucal.theory.variation import Variation

Columns = dict[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What one chunk needs to know."""

    config: TemplatesConfig
    binning: Binning
    resolution: ResolutionTable
    calibration: Calibration | None
    ingredients: Ingredients
    variations: tuple[Variation, ...]
    boson: str
    partons: PdfSet | None = None
    made: dict[str, Production] = field(default_factory=dict)

    def production(self, sample: str) -> Production:
        """The tables of one boson, with the densities asked for."""
        boson = parent(sample)
        made = self.made.get(boson)
        if made is None:
            given = {} if self.partons is None else {"density": self.partons.density(boson)}
            made = self.made[boson] = production(boson, **given)
        return made


def chunks_of(recipe: Recipe, sample: str, first: int) -> list[Chunk]:
    """The chunk of some events, once for every muon that may be the one measured."""
    config = recipe.config
    made = recipe.production(sample)
    if config.generator == "pythia8":
        events = generate_with_pythia(made, first, config.chunk, seed=config.seed, radiation=config.radiation)
    else:
        events = generate(
            made, first, config.chunk, seed=config.seed, reuse=config.reuse, radiation=config.radiation
        )  # fmt: skip
    if config.channel in GENERATED:
        return [_boson_chunk(recipe, events)]
    if sample != parent(sample):
        events = through_tau(events, config.seed)
    measured = measure(events, recipe.resolution)
    if config.channel in PAIRS:
        return [_pair_chunk(recipe, events, measured)]
    recoil = measure_recoil(events, recipe.ingredients.recoil)
    if sample != "z":
        return [_muon_chunk(recipe, events, measured, recoil, 0, np.ones(len(events)))]
    share = np.full((len(events), 2), 0.5)
    if config.channel == "w":
        share[:] = 1.0
    elif config.pairing != "both":
        share = np.eye(2)[chosen_muon(events, config.seed, config.pairing == "odd")]
    return [_muon_chunk(recipe, events, measured, recoil, muon, share[:, muon]) for muon in (0, 1)]


def _muon_chunk(
    recipe: Recipe, events: BosonEvents, measured: Measured, recoil: MeasuredRecoil, muon: int, share: FloatArray
) -> Chunk:
    """One muon of each event, in bins of its charge, eta and pT."""
    channel = recipe.config.channel
    mt = recoil.transverse_mass(events, measured, muon)
    keep = unvetoed(events, measured, muon) if channel == "w" else selected_pair(events, measured)[0]
    keep = keep & (mt > MT_MIN[channel]) & (np.abs(measured.eta[:, muon]) < ETA_MAX) & (share > 0)
    values = (measured.charge[:, muon], measured.eta[:, muon], measured.pt[:, muon])
    bins = np.where(keep, recipe.binning.index(values), -1)
    inside = np.flatnonzero(bins >= 0)
    columns, factor = _muon_columns(recipe, events, measured, recoil, muon, mt, inside)
    weighted = share.copy()
    weighted[inside] *= factor
    return _chunk(recipe, events, bins, inside, weighted, columns)


def _muon_columns(
    recipe: Recipe, events: BosonEvents, measured: Measured, recoil: MeasuredRecoil, muon: int, mt: FloatArray,
    inside: IntArray,
) -> tuple[Columns, FloatArray]:  # fmt: skip
    """What calibration, recoil and efficiencies need of the muons inside, and the product of their scale factors."""
    given = recipe.ingredients
    columns: Columns = {}
    factor = np.ones(inside.size)
    if recipe.calibration is not None:
        picked = (
            a[inside, muon] for a in (measured.pt_true, measured.charge, measured.pull, measured.sigma, measured.d)
        )
        columns |= dict(zip(MOMENTS, moments(*picked).T, strict=True))
    if given.recoil is not None:
        slopes = [slope[inside] for slope in recoil.mt_slopes(events, measured, muon)]
        places = [place.select(inside) for place in recoil.places]
        found = mt_weights(given.recoil, places, slopes, mt[inside], MT_MIN[recipe.config.channel])
        columns |= dict(zip(given.recoil.nuisances(), found.T, strict=True))
    if given.efficiencies is not None:
        ut = recoil.along(events, muon)[inside]
        more, factor = efficiency_columns(
            given.efficiencies, measured.eta[inside, muon], measured.pt[inside, muon],
            np.sign(measured.charge[inside, muon]).astype(np.int64), ut,
        )  # fmt: skip
        columns |= more
    return columns, factor


def _pair_chunk(recipe: Recipe, events: BosonEvents, measured: Measured) -> Chunk:
    """Both muons of each event, in bins of their mass and of the larger |eta| with its sign, or of their pT and y."""
    keep, mass = selected_pair(events, measured)
    forward = np.argmax(np.abs(measured.eta), axis=1)
    values = (mass, measured.eta[np.arange(len(events)), forward])
    if recipe.config.channel == "kinematics":
        values = pair_momentum(events, measured)
    bins = np.where(keep, recipe.binning.index(values), -1)
    inside = np.flatnonzero(bins >= 0)
    columns: Columns = {}
    if recipe.calibration is not None:
        names = recipe.calibration.names
        shifts = sum(
            (muon_shifts(recipe.calibration, *(a[inside, m] for a in (
                measured.pt_true, measured.eta, measured.charge, measured.pull, measured.sigma, measured.d)))
             for m in (0, 1)), np.zeros((inside.size, len(names))),
        )  # fmt: skip
        columns = dict(zip(names, shifts.T, strict=True))
    return _chunk(recipe, events, bins, inside, np.ones(len(events)), columns)


def _boson_chunk(recipe: Recipe, events: BosonEvents) -> Chunk:
    """Each generated boson once, in bins of its pT, and of its charge for a W; over all angles only U+L is left."""
    keep = np.abs(events.rapidity) < BOSON_Y
    charge = np.full(len(events), {"w_plus": 1.0, "w_minus": -1.0}.get(events.sample, 0.0))
    values = (charge, events.pt) if recipe.config.channel == "boson_w" else (events.pt,)
    bins = np.where(keep, recipe.binning.index(values), -1)
    alone = np.zeros_like(events.shares)
    alone[:, 0] = 1.0
    whole = replace(events, shares=alone)
    return _chunk(recipe, whole, bins, np.flatnonzero(bins >= 0), np.ones(len(events)), {})


def _chunk(
    recipe: Recipe, events: BosonEvents, bins: IntArray, inside: IntArray, share: FloatArray, more: Columns
) -> Chunk:
    """The events inside, with their relative weights: of the mass, of theory, and `more`."""
    kept = events.select(inside)
    columns: Columns = {}
    if events.sample.startswith(recipe.boson):
        columns |= {mass_column(s): reweighting.mass_weight(kept, s) for s in reweighting.MASS_SHIFTS if s}
    else:
        columns |= {mass_column(s): np.ones(inside.size) for s in reweighting.MASS_SHIFTS if s}
    for v in recipe.variations:
        if v.events:
            columns |= {column_name(v, side): v.weight(kept, side) for side in v.sides}
    columns |= more
    return Chunk(
        n_read=bins.size,
        bins=bins[inside],
        weight=kept.weight * share[inside],
        cell=CELLS.index((kept.pt, np.abs(kept.rapidity))),
        shares=kept.shares,
        names=tuple(columns),
        extra=np.stack(list(columns.values()), axis=1),
    )


def mass_column(shift: float) -> str:
    """Name of the relative weight of a mass shift (GeV)."""
    return f"mass:{round(1000 * shift):+d}MeV"
