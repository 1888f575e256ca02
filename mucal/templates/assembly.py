"""The stage: generated events in, templates with all variations out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration import Calibration
from mucal.errors import ConfigError
from mucal.ledger import Ledger
from mucal.scale.table import ResolutionTable
from mucal.store import Provenance
from mucal.templates.additions import with_efficiencies, with_nonprompt, with_running_conditions
from mucal.templates.binning import CHANNELS
from mucal.templates.chunks import Recipe, chunks_of, mass_column
from mucal.templates.config import GENERATED, HELICITY_PT, HELICITY_Y, PAIRS, TemplatesConfig, parent
from mucal.templates.efficiency_effects import efficiency_kappas
from mucal.templates.filling import Sums, accumulate
from mucal.templates.ingredients import Ingredients
from mucal.templates.recoil_effects import RECOIL_DEGREES, RECOIL_GROUP
from mucal.templates.response import bin_shifts, default_resolution
from mucal.templates.smoothing import ETA_DEGREE, PT_DEGREE, polynomials, smooth_in_mass, smooth_rows
from mucal.templates.table import Templates
from mucal.templates.variations import Effects, by_pt_and_y, column_effects, response_effects, theory_effects, total
from mucal.theory import nuisances, reweighting
from mucal.theory.pdf_grid import PdfSet
from mucal.theory.tau import BRANCHING
from mucal.theory.variation import log_ratio

PARTS: Final = 4
"""Into which the chunks of a sample are divided, whatever the number of workers: so that sums do not depend on it."""

MASS_STEP: Final = 0.1
"""GeV, up and down: for the derivative of a spectrum of masses."""

MakeExecutor = Callable[[], Executor]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What a worker on another machine makes a recipe of."""

    config: TemplatesConfig
    calibration: Calibration | None
    resolution: ResolutionTable | None
    partons: PdfSet | None
    ingredients: Ingredients

    def recipe(self) -> Recipe:
        """Checked, with the variations that act on the channel's samples.

        Raises ConfigError for what has nothing to act on.
        """
        config, calibration = self.config, self.calibration
        if calibration is not None and config.channel in GENERATED:
            raise ConfigError(
                f"channel '{config.channel}' holds no muons, a calibration has nothing to act on",
                kind="config.templates",
            )
        self.ingredients.check(config.channel)
        boson = "w" if config.channel in ("w", "kinematics", "boson_w") else "z"
        left_out = ("mass_z",) if boson == "z" else ()
        resolution = self.resolution
        if resolution is None and calibration is not None:
            resolution = calibration.resolution_mc or calibration.resolution_data
        chosen = nuisances.select(samples={parent(s) for s in _samples(config)}, without=left_out, partons=self.partons)
        return Recipe(
            config=config, binning=CHANNELS[config.channel], resolution=resolution or default_resolution(),
            calibration=calibration, ingredients=self.ingredients, variations=chosen if config.theory else (),
            boson=boson, partons=self.partons,
        )  # fmt: skip


def build(
    config: TemplatesConfig | None = None,
    *,
    calibration: Calibration | None = None,
    resolution: ResolutionTable | None = None,
    partons: PdfSet | None = None,
    ingredients: Ingredients | None = None,
    n_threads: int = 1,
    workers: MakeExecutor | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Templates:
    """Templates of the built-in generator and its simple detector.

    calibration : whose nuisances are added
    resolution  : of the muons; None: that of the calibration's simulation, or `response.default_resolution`
    partons     : a set that takes the place of the built-in densities, in events and nuisances; None: those
    ingredients : recoil, efficiencies, nonprompt muons, running conditions
    n_threads   : that fill, in this process
    workers     : makes an executor, as `lambda: ProcessPoolExecutor(2)` or `client.get_executor` of dask.distributed,
                  which fills instead; the result depends on neither
    tell        : called with a line a sample

    Raises ConfigError for ingredients that have nothing to act on in the channel.
    Source: arXiv:2412.13872; docs/physics/templates.md.
    """
    order = _Order(
        config=config or TemplatesConfig(), calibration=calibration, resolution=resolution, partons=partons,
        ingredients=ingredients or Ingredients(),
    )  # fmt: skip
    recipe = order.recipe()
    sums: dict[str, Sums] = {}
    filled = _by_threads(recipe, n_threads) if workers is None else _by_workers(order, workers)
    for sample, parts in filled:
        sums[sample] = _normalised(recipe, sample, parts)
        tell(f"{sample}: {sums[sample].n_filled} of {sums[sample].n_events} events in {recipe.binning.n_bins} bins")
    return _completed(recipe, assemble(recipe, sums))


def _samples(config: TemplatesConfig) -> tuple[str, ...]:
    return tuple(dict.fromkeys(s for samples in config.processes.values() for s in samples))


def _parts(config: TemplatesConfig) -> list[range]:
    starts = range(0, config.events, config.chunk)
    return [starts[i::PARTS] for i in range(PARTS) if starts[i::PARTS]]


def part_sums(recipe: Recipe, sample: str, part: Sequence[int]) -> Sums:
    """Sums of the chunks that start at some events of a sample."""
    sums: Sums | None = None
    for first in part:
        for chunk in chunks_of(recipe, sample, first):
            sums = accumulate(recipe.binning, chunk, sums)
    assert sums is not None
    return sums


def _remote_sums(order: _Order, sample: str, part: Sequence[int]) -> Sums:
    return part_sums(order.recipe(), sample, part)


def _by_threads(recipe: Recipe, n_threads: int) -> Iterator[tuple[str, Iterator[Sums]]]:
    """One sample after the other, so that few sums are held at once."""
    with ThreadPoolExecutor(n_threads) as pool:
        for sample in _samples(recipe.config):
            recipe.production(sample)  # before threads ask for it
            asked = [pool.submit(part_sums, recipe, sample, part) for part in _parts(recipe.config)]
            yield sample, (one.result() for one in asked)


def _by_workers(order: _Order, workers: MakeExecutor) -> Iterator[tuple[str, Iterator[Sums]]]:
    """Everything asked for at once: as many workers are busy as there are parts of all samples."""
    with workers() as pool:
        asked: dict[str, list[Future[Sums]]] = {
            sample: [pool.submit(_remote_sums, order, sample, part) for part in _parts(order.config)]
            for sample in _samples(order.config)
        }
        for sample, waiting in asked.items():
            yield sample, (one.result() for one in waiting)


def _normalised(recipe: Recipe, sample: str, parts: Iterator[Sums]) -> Sums:
    """All parts of a sample in their order, normalised to events."""
    config = recipe.config
    summed = next(parts)
    for one in parts:
        summed = summed + one
    muons = 0 if config.channel in GENERATED else 1 if config.channel == "w" else 2
    produced = recipe.production(sample).events * (1.0 if sample == parent(sample) else BRANCHING)
    return summed.scaled(produced * config.efficiency**muons / config.events)


def assemble(recipe: Recipe, sums: Mapping[str, Sums]) -> Templates:
    """Templates of a channel from the sums of its samples."""
    config, binning = recipe.config, recipe.binning
    processes = config.processes
    found = [_effects(recipe, {parent(s): sums[s] for s in samples}) for samples in processes.values()]
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
        nuisances=found[0].names, groups=found[0].groups, kappa=np.array([one.kappa for one in found]),
        boson=recipe.boson, mass_shifts=np.array(reweighting.MASS_SHIFTS),
        shifted=np.array([[total([_at_mass(s, shift) for s in parts]) for parts in totals.values()]
                          for shift in reweighting.MASS_SHIFTS]),
        helicity=helicity, pt_y_shape=shape,
        provenance=_provenance(config, sums),
    )  # fmt: skip


def _at_mass(sums: Sums, shift: float) -> FloatArray:
    return sums.columns[:, sums.names.index(mass_column(shift))] if shift else sums.nominal


def _effects(recipe: Recipe, sums: Mapping[str, Sums]) -> Effects:
    """All nuisances of one process: theory, then calibration, recoil and efficiencies where they are given."""
    parts, given = list(sums.values()), recipe.ingredients
    found = [theory_effects(sums, recipe.variations)]
    if recipe.calibration is not None:
        names, groups = recipe.calibration.names, recipe.calibration.groups
        if recipe.config.channel in PAIRS:
            kappa = column_effects(parts, names)
            if recipe.config.channel == "dilepton" and recipe.config.smooth_response:
                kappa = _smooth_pairs(recipe, parts, kappa)
        else:
            kappa = response_effects(parts, bin_shifts(recipe.calibration, recipe.binning), _basis(recipe))
        found.append(Effects(names=names, groups=groups, kappa=kappa))
    if given.recoil is not None:
        names, basis = given.recoil.nuisances(), _basis(recipe, RECOIL_DEGREES)
        kappa = column_effects(parts, names)
        if basis is not None:
            kappa = smooth_rows(kappa, total([s.nominal for s in parts]), basis)
        found.append(Effects(names=names, groups=(RECOIL_GROUP,) * len(names), kappa=kappa))
    if given.efficiencies is not None:
        names, groups, kappa = efficiency_kappas(given.efficiencies, recipe.binning, parts)
        found.append(Effects(names=names, groups=groups, kappa=kappa))
    return Effects(
        names=tuple(name for one in found for name in one.names),
        groups=tuple(group for one in found for group in one.groups),
        kappa=np.concatenate([one.kappa for one in found]),
    )


def _smooth_pairs(recipe: Recipe, parts: Sequence[Sums], kappa: FloatArray) -> FloatArray:
    """Of pairs in bins of their mass: with the shape of the derivative by the boson's mass."""
    up, down = (total([_at_mass(s, shift) for s in parts]) for shift in (MASS_STEP, -MASS_STEP))
    nominal = total([s.nominal for s in parts])
    slope = 0.5 * (log_ratio(up, nominal) - log_ratio(down, nominal))
    return smooth_in_mass(kappa, nominal, slope, np.array(recipe.binning.edges[recipe.binning.axes.index("mass")]))


def _basis(recipe: Recipe, degrees: tuple[int, int] = (ETA_DEGREE, PT_DEGREE)) -> FloatArray | None:
    """Polynomials for what is smooth in eta and pT but noisy, if it is to be smoothed."""
    if not recipe.config.smooth_response:
        return None
    _, n_eta, n_pt = recipe.binning.shape
    return polynomials(n_eta, n_pt, *degrees)


def _completed(recipe: Recipe, templates: Templates) -> Templates:
    """With what acts bin by bin: the veto on a second muon, running conditions, nonprompt muons."""
    given, simulated = recipe.ingredients, templates.processes
    if given.efficiencies is not None and given.efficiencies.veto is not None and recipe.config.channel == "w":
        templates = with_efficiencies(
            templates, given.efficiencies.only_veto(), [], vetoed=[p for p in simulated if p.startswith("Z")]
        )
    if given.weights is not None:
        templates = with_running_conditions(templates, given.weights, simulated)
    if given.nonprompt is not None:
        templates = with_nonprompt(templates, given.nonprompt)
    return templates


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
