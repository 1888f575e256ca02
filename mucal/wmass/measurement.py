"""One tensor seen as a measurement: the mass with its breakdown, its parts, its helicities, and what partons say.

Every mode is the same model and the same data; what differs is which parameters carry the mass and which of the
cross-checks of arXiv:2412.13872 are made beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import ConfigError
from mucal.likelihood import FitConfig, FitResult, Goodness, Model, Observation, carry, fit, rescale
from mucal.store import Result
from mucal.theory.production import POLES
from mucal.units import MeV
from mucal.wmass.goodness import AXES, parton_goodness
from mucal.wmass.helicity import GROUP
from mucal.wmass.pdf_sets import PdfScaling, alternative_sets, scale_factors
from mucal.wmass.slices import DIFFERENCES, SPLITS, Compatibility, Split, compare, possible_splits, split_mass
from mucal.wmass.sources import Breakdown, Column, breakdown
from mucal.wmass.tensor import UNIT

Mode = Literal["mw", "wlike", "dilepton", "helicity", "slices"]

CHANNEL: Final[Mapping[str, str]] = {
    "mw": "w", "wlike": "wlike", "dilepton": "dilepton", "helicity": "w", "slices": "",
}  # fmt: skip
"""Mode -> the channel it needs; "" for any whose axes allow a split."""
COLUMN: Final[Mapping[str, Column]] = {"w": "m_W", "wlike": "m_Z W-like"}
DIFFERENCE_COLUMN: Final[Mapping[str, Column]] = {"w": "m_W+ - m_W-", "wlike": "m_Z+ - m_Z-"}
PRIORS: Final = (0.5, 1.0, 2.0)
"""Factors on the priors of the helicity scales with which the fit is repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement(Result):
    """What a mode found beside the fit itself; a part that was not asked for is empty.

    mode            :
    channel         :           whose mass it is
    simulated       : GeV       mass of the simulation, from which the parameter counts
    sources         :           the error by source
    splits, parts   : (K,)      names of splits, and the masses of their parts
    difference      :           the error of the difference of charges by source
    priors, errors  : (H,), (H,) MeV   factors on the helicity priors, errors of the mass
    nominal_error   : MeV       of the fit without free helicities
    tests, goodness : (T,)      tests of partons
    partons         :           factors on sets of partons
    """

    mode: Mode
    channel: str
    simulated: float
    sources: Breakdown
    splits: tuple[str, ...] = ()
    parts: tuple[Compatibility, ...] = ()
    difference: Breakdown | None = None
    priors: FloatArray = field(default_factory=lambda: np.zeros(0))
    errors: FloatArray = field(default_factory=lambda: np.zeros(0))
    nominal_error: float = float("nan")
    tests: tuple[str, ...] = ()
    goodness: tuple[Goodness, ...] = ()
    partons: PdfScaling | None = None

    def __post_init__(self) -> None:
        check_shapes(self, parts=(len(self.splits),), errors=(self.priors.size,), goodness=(len(self.tests),))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A model, what it was fitted to, how, and what came out."""

    model: Model
    data: Observation
    config: FitConfig
    result: FitResult

    def of(self, model: Model) -> "Fit":
        """The same data fitted by another model of the same bins.  Raises NotCertified if it does not converge."""
        data = carry(self.data, self.model, model)
        config = replace(self.config, start={})
        result = fit(model, data, config)
        result.require_converged()
        return Fit(model=model, data=data, config=config, result=result)


def check_mode(model: Model, mode: Mode) -> None:
    """Raises ConfigError if a model is none of which a mode can be made."""
    names = [channel.name for channel in model.channels]
    wanted = CHANNEL[mode]
    if wanted and wanted not in names:
        raise ConfigError(
            f"mode '{mode}' needs the channel '{wanted}', the model has {', '.join(names)}",
            kind="config.mode",
            do="fill templates of that channel, or choose another mode",
        )
    if not model.pois:
        raise ConfigError(
            f"mode '{mode}' needs a parameter of interest, the mass in units of 100 MeV; there is none",
            kind="config.mode",
        )


def measure(
    made: Fit, mode: Mode, *, nominal: Model | None = None, by: Sequence[Split] = SPLITS, set_seed: int | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Measurement:  # fmt: skip
    """Everything that a mode shows beside the fit.

    made     : the fit; with free helicities in the mode "helicity"
    nominal  : in that mode, the model without them
    by       : splits of the mode "slices"; SPLITS, all of them, stands for what the axes allow
    set_seed : of alternative sets of partons, drawn from the nuisances of the model's own; None: no table of sets
    tell     : called with a line a step

    Raises ConfigError if the model is none of which the mode can be made, NotCertified for a fit that fails.
    """
    check_mode(made.model, mode)
    channel = made.model.channels[0].name
    poi = made.model.pois[0]
    found = Measurement(
        mode=mode,
        channel=channel,
        simulated=POLES["w_plus" if channel == "w" else "z"][0],
        sources=breakdown(made.model, made.data, made.result, column=COLUMN.get(channel, ""), poi=poi),
    )
    if mode == "helicity":
        found = _helicities(found, made, nominal, tell)
    elif mode == "slices":
        found = _splits(found, made, possible_splits(made.model) if tuple(by) == SPLITS else by, tell)
    elif mode in ("mw", "wlike") and len(made.model.channels) == 1:
        found = _splits(found, made, ("charge",), tell)
    if set(AXES) <= {one.name for one in made.model.channels}:
        tell("goodness of fit in the projections that partons decide")
        tests = parton_goodness(made.model, made.data, replace(made.config, start={}))
        found = replace(found, tests=tuple(tests), goodness=tuple(tests.values()))
    if set_seed is not None:
        tell("sets of partons")
        sets = alternative_sets(made.model, np.random.default_rng(set_seed))
        found = replace(found, partons=scale_factors(sets, config=replace(made.config, start={})))
    return found


def _splits(
    found: Measurement, made: Fit, by: Sequence[Split], tell: Callable[[str], None]
) -> Measurement:  # fmt: skip
    parts, difference, poi = [], None, made.model.pois[0]
    for one in by:
        tell(f"mass split by {one}")
        split = made.of(split_mass(made.model, one, poi))
        parts.append(compare(split.result, poi))
        if one == "charge":
            weights = {f"{poi}_plus": 1.0, f"{poi}_minus": -1.0}
            column = DIFFERENCE_COLUMN.get(found.channel, "")
            difference = breakdown(split.model, split.data, split.result, column=column, poi=weights)
    return replace(found, splits=tuple(by), parts=tuple(parts), difference=difference)


def _helicities(found: Measurement, made: Fit, nominal: Model | None, tell: Callable[[str], None]) -> Measurement:
    poi, names = made.model.pois[0], made.model.groups.get(GROUP, ())
    if nominal is None or not names:
        raise ConfigError(
            "the mode 'helicity' needs a model with free helicities, and the one without", kind="config.mode"
        )
    errors = []
    for factor in PRIORS:
        tell(f"free helicities, priors times {factor:g}")
        one = made if factor == 1.0 else made.of(rescale(made.model, dict.fromkeys(names, factor)))
        errors.append(UNIT / MeV * one.result.error(poi))
    tell("without free helicities")
    return replace(
        found, priors=np.array(PRIORS), errors=np.array(errors),
        nominal_error=UNIT / MeV * made.of(nominal).result.error(poi),
    )  # fmt: skip


def difference_of(parts: Compatibility, by: str) -> tuple[float, float]:
    """The difference of the two parts of a split, and its error (GeV).  Raises KeyError for a split into more."""
    return parts.difference(*DIFFERENCES[by])
