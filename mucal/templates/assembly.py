"""The stage: generated events in, templates with all variations out."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal, get_args

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.calibration import Calibration
from mucal.calibration.response import moments
from mucal.errors import ConfigError
from mucal.ledger import Ledger
from mucal.scale.table import ResolutionTable
from mucal.store import Provenance
from mucal.templates.binning import CELLS, CHANNELS, Binning
from mucal.templates.filling import Chunk, Sums, accumulate
from mucal.templates.reconstruction import (
    ETA_MAX,
    MT_MIN,
    Measured,
    chosen_muon,
    measure,
    pair_momentum,
    selected_pair,
    selected_w,
    transverse_mass,
)  # fmt: skip
from mucal.templates.response import MOMENTS, bin_shifts, default_resolution, muon_shifts
from mucal.templates.smoothing import ETA_DEGREE, PT_DEGREE, polynomials
from mucal.templates.table import Templates
from mucal.templates.variations import (
    by_pt_and_y,
    column_effects,
    column_name,
    response_effects,
    theory_effects,
    total,
)  # fmt: skip
from mucal.theory import nuisances, reweighting
from mucal.theory.generator import BosonEvents, generate
from mucal.theory.pdf_grid import PdfSet
from mucal.theory.production import Production, production
from mucal.theory.variation import Variation

ChannelName = Literal["w", "wlike", "dilepton", "kinematics", "boson_w", "boson_z"]
GENERATED: Final = ("boson_w", "boson_z")
"""Channels of generated bosons with |y| below `BOSON_Y`: no muon is looked at."""
BOSON_Y: Final = 2.4
PAIRS: Final = ("dilepton", "kinematics")
"""Channels of pairs, which count both muons at once."""
Pairing = Literal["both", "even", "odd"]

PROCESSES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "w": {"Wmunu": ("w_plus", "w_minus"), "Zmumu": ("z",)},
    "wlike": {"Zmumu": ("z",)},
    "dilepton": {"Zmumu": ("z",)},
    "kinematics": {"Zmumu": ("z",)},
    "boson_w": {"Wmunu": ("w_plus", "w_minus")},
    "boson_z": {"Zmumu": ("z",)},
}
"""Channel -> process -> the samples it is the sum of."""

HELICITY_PT: Final = (0.0, 3.0, 6.0, 9.7, 12.4, 16.0, 21.4, 29.5, 60.0)
HELICITY_Y: Final = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 3.0)
"""Lower edges (pT in GeV) of the bins of the helicity fit of arXiv:2412.13872; the last ones are open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatesConfig:
    """What is filled.

    channel    : "w", "wlike", "dilepton" (mass), or "kinematics": pairs beside a measurement of the W, m_Z a nuisance;
                 "boson_w", "boson_z": generated bosons, into whose pT a fit of muons is carried
    events     : generated for each sample; sums are most even for powers of 2
    seed       : of the points and of the pairing
    reuse      : decays in a row of each boson
    chunk      : events in memory at once, for each thread
    efficiency : of what is not simulated, for each muon
    pairing    : W-like muon: of all events with half their weight each, or mu- of even (odd) events and mu+ of the rest
    theory     : with the theory nuisances
    helicity   : keep the sums by helicity that a fit of the cross sections needs
    radiation  : off, muons keep their momentum
    smooth_response : the moments of the response that calibration nuisances multiply are polynomials in eta and pT, so
                 that the noise of few events does not look like information; not for pairs
    """

    channel: ChannelName = "w"
    events: int = 1 << 20
    seed: int = 1
    reuse: int = 1
    chunk: int = 1 << 16
    efficiency: float = 0.85
    pairing: Pairing = "both"
    theory: bool = True
    helicity: bool = False
    radiation: bool = True
    smooth_response: bool = True

    def __post_init__(self) -> None:
        if self.channel not in get_args(ChannelName) or self.pairing not in get_args(Pairing):
            raise ConfigError(f"channel '{self.channel}' with pairing '{self.pairing}' is none of the known ones")
        if self.events < self.chunk or self.events % self.chunk or self.chunk % self.reuse:
            raise ConfigError(
                f"events = {self.events} must be a multiple of chunk = {self.chunk}, "
                f"and that one of reuse = {self.reuse}"
            )
        if not 0 < self.efficiency <= 1:
            raise ConfigError(f"efficiency = {self.efficiency}, expected a number above 0 and at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recipe:
    """What one chunk needs to know."""

    config: TemplatesConfig
    binning: Binning
    resolution: ResolutionTable
    calibration: Calibration | None
    variations: tuple[Variation, ...]
    boson: str
    partons: PdfSet | None = None
    made: dict[str, Production] = field(default_factory=dict)

    def production(self, sample: str) -> Production:
        """The tables of one boson, with the densities asked for."""
        made = self.made.get(sample)
        if made is None:
            given = {} if self.partons is None else {"density": self.partons.density(sample)}
            made = self.made[sample] = production(sample, **given)
        return made


def build(
    config: TemplatesConfig | None = None,
    *,
    calibration: Calibration | None = None,
    resolution: ResolutionTable | None = None,
    partons: PdfSet | None = None,
    n_threads: int = 1,
    tell: Callable[[str], None] = lambda line: None,
) -> Templates:
    """Templates of the built-in generator and its simple detector.

    calibration : whose nuisances are added
    resolution  : of the muons; None: that of the calibration's simulation, or `response.default_resolution`
    partons     : a set that takes the place of the built-in densities, in events and nuisances; None: those
    n_threads   : that fill; the result does not depend on it
    tell        : called with a line a sample

    Source: arXiv:2412.13872; docs/physics/templates.md.
    """
    config = config or TemplatesConfig()
    recipe = _recipe(config, calibration, resolution, partons)
    sums: dict[str, Sums] = {}
    for sample in dict.fromkeys(s for samples in PROCESSES[config.channel].values() for s in samples):
        sums[sample] = _sample_sums(recipe, sample, n_threads)
        tell(f"{sample}: {sums[sample].n_filled} of {sums[sample].n_events} events in {recipe.binning.n_bins} bins")
    return assemble(recipe, sums)


def _recipe(
    config: TemplatesConfig, calibration: Calibration | None, resolution: ResolutionTable | None,
    partons: PdfSet | None,
) -> _Recipe:  # fmt: skip
    if calibration is not None and config.channel in GENERATED:
        raise ConfigError(f"channel '{config.channel}' holds no muons, a calibration has nothing to act on")
    boson = "w" if config.channel in ("w", "kinematics", "boson_w") else "z"
    samples = {s for group in PROCESSES[config.channel].values() for s in group}
    left_out = ("mass_z",) if boson == "z" else ()
    if resolution is None and calibration is not None:
        resolution = calibration.resolution_mc or calibration.resolution_data
    return _Recipe(
        config=config,
        binning=CHANNELS[config.channel],
        resolution=resolution or default_resolution(),
        calibration=calibration,
        variations=nuisances.select(samples=samples, without=left_out, partons=partons) if config.theory else (),
        boson=boson,
        partons=partons,
    )


PARTS: Final = 4
"""Into which the chunks of a sample are divided, whatever the number of threads: so that sums do not depend on it."""


def _sample_sums(recipe: _Recipe, sample: str, n_threads: int) -> Sums:
    """All chunks of a sample, normalised to events."""
    config = recipe.config
    starts = range(0, config.events, config.chunk)
    parts = [starts[i::PARTS] for i in range(PARTS) if starts[i::PARTS]]
    made = recipe.production(sample)  # before threads ask for it

    def run(part: Sequence[int]) -> Sums:
        sums: Sums | None = None
        for first in part:
            for chunk in _chunks(recipe, sample, first):
                sums = accumulate(recipe.binning, chunk, sums)
        assert sums is not None
        return sums

    with ThreadPoolExecutor(n_threads) as pool:
        first_part, *rest = pool.map(run, parts)
    summed = first_part
    for one in rest:
        summed = summed + one
    muons = 0 if config.channel in GENERATED else 1 if config.channel == "w" else 2
    return summed.scaled(made.events * config.efficiency**muons / config.events)


def _chunks(recipe: _Recipe, sample: str, first: int) -> list[Chunk]:
    """The chunk of some events, once for every muon that may be the one measured."""
    config = recipe.config
    made = recipe.production(sample)
    events = generate(
        made, first, config.chunk, seed=config.seed, reuse=config.reuse, radiation=config.radiation
    )  # fmt: skip
    if config.channel in GENERATED:
        return [_boson_chunk(recipe, events)]
    measured = measure(events, recipe.resolution)
    if config.channel in PAIRS:
        return [_pair_chunk(recipe, events, measured)]
    if sample != "z":
        return [_muon_chunk(recipe, events, measured, 0, np.ones(len(events)))]
    share = np.full((len(events), 2), 0.5)
    if config.channel == "w":
        share[:] = 1.0
    elif config.pairing != "both":
        share = np.eye(2)[chosen_muon(events, config.seed, config.pairing == "odd")]
    return [_muon_chunk(recipe, events, measured, muon, share[:, muon]) for muon in (0, 1)]


def _muon_chunk(recipe: _Recipe, events: BosonEvents, measured: Measured, muon: int, share: FloatArray) -> Chunk:
    """One muon of each event, in bins of its charge, eta and pT."""
    if recipe.config.channel == "w":
        keep = selected_w(events, measured, muon)
    else:
        keep = selected_pair(events, measured)[0]
        keep = keep & (transverse_mass(events, measured, muon) > MT_MIN["wlike"])
    keep = keep & (np.abs(measured.eta[:, muon]) < ETA_MAX) & (share > 0)
    values = (measured.charge[:, muon], measured.eta[:, muon], measured.pt[:, muon])
    bins = np.where(keep, recipe.binning.index(values), -1)
    inside = np.flatnonzero(bins >= 0)
    extra: FloatArray | None = None
    if recipe.calibration is not None:
        picked = (
            a[inside, muon] for a in (measured.pt_true, measured.charge, measured.pull, measured.sigma, measured.d)
        )
        extra = moments(*picked)
    return _chunk(recipe, events, bins, inside, share, MOMENTS if extra is not None else (), extra)


def _pair_chunk(recipe: _Recipe, events: BosonEvents, measured: Measured) -> Chunk:
    """Both muons of each event, in bins of their mass and of the larger |eta| with its sign, or of their pT and y."""
    keep, mass = selected_pair(events, measured)
    forward = np.argmax(np.abs(measured.eta), axis=1)
    values = (mass, measured.eta[np.arange(len(events)), forward])
    if recipe.config.channel == "kinematics":
        values = pair_momentum(events, measured)
    bins = np.where(keep, recipe.binning.index(values), -1)
    inside = np.flatnonzero(bins >= 0)
    extra: FloatArray | None = None
    names: tuple[str, ...] = ()
    if recipe.calibration is not None:
        names = recipe.calibration.names
        extra = sum(
            (muon_shifts(recipe.calibration, *(a[inside, m] for a in (
                measured.pt_true, measured.eta, measured.charge, measured.pull, measured.sigma, measured.d)))
             for m in (0, 1)), np.zeros((inside.size, len(names))),
        )  # fmt: skip
    return _chunk(recipe, events, bins, inside, np.ones(len(events)), names, extra)


def _boson_chunk(recipe: _Recipe, events: BosonEvents) -> Chunk:
    """Each generated boson once, in bins of its pT, and of its charge for a W; over all angles only U+L is left."""
    keep = np.abs(events.rapidity) < BOSON_Y
    charge = np.full(len(events), {"w_plus": 1.0, "w_minus": -1.0}.get(events.sample, 0.0))
    values = (charge, events.pt) if recipe.config.channel == "boson_w" else (events.pt,)
    bins = np.where(keep, recipe.binning.index(values), -1)
    alone = np.zeros_like(events.shares)
    alone[:, 0] = 1.0
    whole = replace(events, shares=alone)
    return _chunk(recipe, whole, bins, np.flatnonzero(bins >= 0), np.ones(len(events)), (), None)


def _chunk(
    recipe: _Recipe, events: BosonEvents, bins: IntArray, inside: IntArray, share: FloatArray,
    names: tuple[str, ...], extra: FloatArray | None,
) -> Chunk:  # fmt: skip
    """The events inside, with their relative weights."""
    kept = events.select(inside)
    columns: dict[str, FloatArray] = {}
    if events.sample.startswith(recipe.boson):
        columns |= {mass_column(s): reweighting.mass_weight(kept, s) for s in reweighting.MASS_SHIFTS if s}
    else:
        columns |= {mass_column(s): np.ones(inside.size) for s in reweighting.MASS_SHIFTS if s}
    for v in recipe.variations:
        if v.events:
            columns |= {column_name(v, side): v.weight(kept, side) for side in v.sides}
    weights = np.stack(list(columns.values()), axis=1)
    return Chunk(
        n_read=bins.size,
        bins=bins[inside],
        weight=kept.weight * share[inside],
        cell=CELLS.index((kept.pt, np.abs(kept.rapidity))),
        shares=kept.shares,
        names=(*columns, *names),
        extra=weights if extra is None else np.concatenate([weights, extra], axis=1),
    )


def mass_column(shift: float) -> str:
    """Name of the relative weight of a mass shift (GeV)."""
    return f"mass:{round(1000 * shift):+d}MeV"


def assemble(recipe: _Recipe, sums: Mapping[str, Sums]) -> Templates:
    """Templates of a channel from the sums of its samples."""
    config, binning = recipe.config, recipe.binning
    processes = PROCESSES[config.channel]
    kappa, names, groups = _all_effects(recipe, sums)
    totals = {p: [sums[s] for s in samples] for p, samples in processes.items()}
    shape = (len(HELICITY_PT), len(HELICITY_Y)) if config.helicity else (0, 0)
    helicity = np.zeros((len(processes), shape[0] * shape[1], 9, binning.n_bins))
    if config.helicity:
        for i, parts in enumerate(totals.values()):
            helicity[i] = total([by_pt_and_y(s, HELICITY_PT, HELICITY_Y) for s in parts])
    return Templates(
        channel=config.channel, axes=binning.axes, edges=binning.edges, processes=tuple(processes),
        nominal=np.array([total([s.nominal for s in parts]) for parts in totals.values()]),
        sumw2=np.array([total([s.sumw2 for s in parts]) for parts in totals.values()]),
        nuisances=names, groups=groups, kappa=kappa, boson=recipe.boson,
        mass_shifts=np.array(reweighting.MASS_SHIFTS),
        shifted=np.array([[total([_at_mass(s, shift) for s in parts]) for parts in totals.values()]
                          for shift in reweighting.MASS_SHIFTS]),
        helicity=helicity, pt_y_shape=shape,
        provenance=_provenance(config, sums),
    )  # fmt: skip


def _at_mass(sums: Sums, shift: float) -> FloatArray:
    return sums.columns[:, sums.names.index(mass_column(shift))] if shift else sums.nominal


def _all_effects(recipe: _Recipe, sums: Mapping[str, Sums]) -> tuple[FloatArray, tuple[str, ...], tuple[str, ...]]:
    """kappa (P, S, B), names and groups: theory first, then the calibration."""
    rows: list[FloatArray] = []
    names: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    for samples in PROCESSES[recipe.config.channel].values():
        found = theory_effects({s: sums[s] for s in samples}, recipe.variations)
        names, groups, kappa = found.names, found.groups, found.kappa
        if recipe.calibration is not None:
            parts = [sums[s] for s in samples]
            more, more_groups = recipe.calibration.names, recipe.calibration.groups
            if recipe.config.channel in PAIRS:
                extra = column_effects(parts, more)
            else:
                basis = _response_basis(recipe)
                extra = response_effects(parts, bin_shifts(recipe.calibration, recipe.binning), basis)
            names, groups, kappa = (*names, *more), (*groups, *more_groups), np.concatenate([kappa, extra])
        rows.append(kappa)
    return np.array(rows), names, groups


def _response_basis(recipe: _Recipe) -> FloatArray | None:
    """Polynomials for the moments of the response, if they are to be smooth."""
    if not recipe.config.smooth_response:
        return None
    _, n_eta, n_pt = recipe.binning.shape
    return polynomials(n_eta, n_pt, ETA_DEGREE, PT_DEGREE)


def _provenance(config: TemplatesConfig, sums: Mapping[str, Sums]) -> Provenance:
    configuration: dict[str, Any] = {"templates": asdict(config)}
    unit = "bosons" if config.channel in GENERATED else "pairs" if config.channel in PAIRS else "muons"
    ledgers = {
        f"templates {sample}": Ledger(
            unit=unit, read=s.n_events, used=s.n_filled,
            rejected={"selection": s.n_events - s.n_filled},
        )
        for sample, s in sums.items()
    }  # fmt: skip
    return Provenance(configuration=configuration, seed=config.seed, ledgers=ledgers)
