"""Templates from tables of a user's events: one table a process, one row a selected muon (or pair).

Weights that the rows carry become nuisances (`theory.weight_columns`), weights of another mass the shifted templates.
Calibration, efficiencies, recoil and running conditions act on each row by its own columns, as they do on generated
events.  For recoil the rows must not be selected in mT: the cut is made here, after the recoil is carried to data.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np

from mucal.arrays import BoolArray, FloatArray
from mucal.calibration import Calibration
from mucal.calibration.response import moments
from mucal.errors import ConfigError, InputError, nearest
from mucal.templates.binning import CHANNELS, Binning
from mucal.templates.config import PAIRS
from mucal.templates.efficiency_effects import efficiency_columns, efficiency_kappas
from mucal.templates.filling import Chunk, Sums, accumulate
from mucal.templates.ingredients import Ingredients
from mucal.templates.recoil_effects import RECOIL_DEGREES, RECOIL_GROUP, mt_weights
from mucal.templates.recoil_vectors import (
    project,
    recoil_of_met,
    transverse_mass,
    transverse_mass_slopes,
    unproject,
)
from mucal.templates.reconstruction import MT_MIN
from mucal.templates.response import MOMENTS, bin_shifts, relative_resolution
from mucal.templates.smoothing import ETA_DEGREE, PT_DEGREE, polynomials, smooth_rows
from mucal.templates.table import Templates
from mucal.templates.user_tables import user_chunk, user_effects
from mucal.templates.variations import Effects, column_effects, response_effects
from mucal.theory.variation import log_ratio
from mucal.theory.weight_columns import WeightFamily

Rows = Mapping[str, np.ndarray]

MUONS: Final = ("charge", "eta", "pt")
PAIR_BINS: Final[Mapping[str, tuple[str, ...]]] = {"dilepton": ("mass", "max_eta"), "kinematics": ("pair_pt", "pair_y")}
"""GeV: mass and the larger |eta| of the two muons, with its sign; transverse momentum and rapidity."""
OPTIONAL: Final = ("phi", "pt_gen", "met", "met_phi", "boson_pt", "boson_phi", "ut")
"""GeV and rad: phi, met and boson for recoil; pt_gen for a calibration; ut for efficiencies that depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MassWeight:
    """The relative weight of an event if the boson were heavier by `shift`.

    shift  : GeV
    column : (N,) or (N, K)
    index  : in it
    """

    shift: float
    column: str
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TableConfig:
    """Section ``[table]``: what the columns of own events mean.

    channel : bins: "w" or "wlike", one row a muon; "dilepton" or "kinematics", one row a pair
    columns : what -> column; what is not named has its own name.  Of muons "charge", "eta", "pt" and "weight", and
              where they are asked for "phi", "pt_gen", "met", "met_phi", "boson_pt", "boson_phi", "ut"; of pairs
              "weight" with "mass" and "max_eta", or with "pair_pt" and "pair_y"
    weights : ``[[table.weights]]``, families of variations
    mass    : ``[[table.mass]]``, weights of other masses; -0.1 and +0.1 GeV among them
    measured : processes whose boson's mass is measured; they carry the columns of `mass`
    scale   : process -> factor that normalises its weights to events; 1 without
    """

    channel: Literal["w", "wlike", "dilepton", "kinematics"] = "w"
    columns: Mapping[str, str] = field(default_factory=dict)
    weights: tuple[WeightFamily, ...] = ()
    mass: tuple[MassWeight, ...] = ()
    measured: tuple[str, ...] = ()
    scale: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = tuple(self.names)
        for name in self.columns:
            if name not in known:
                raise ConfigError(
                    f"table.columns.{name} is not known in the channel '{self.channel}'; expected "
                    f"{', '.join(nearest(name, known) or known)}",
                    kind="config.unknown_choice",
                )
        shifts = [one.shift for one in self.mass]
        if self.mass and (len(set(shifts)) < len(shifts) or not {-0.1, 0.1} <= set(shifts) or 0.0 in shifts):
            raise ConfigError(
                f"table.mass holds shifts {shifts}; expected different ones without 0, -0.1 and +0.1 GeV among them",
                kind="config.table",
            )

    @property
    def names(self) -> dict[str, str]:
        """What -> column, of everything that a row may hold."""
        return {name: self.columns.get(name, name) for name in (*self.needed, *self.optional)}

    @property
    def needed(self) -> tuple[str, ...]:
        """What every row holds."""
        return (*PAIR_BINS.get(self.channel, MUONS), "weight")

    @property
    def optional(self) -> tuple[str, ...]:
        """What corrections of muons ask for besides."""
        return () if self.channel in PAIRS else OPTIONAL

    @property
    def boson(self) -> Literal["w", "z"]:
        """Whose mass is measured."""
        return "z" if self.channel in ("wlike", "dilepton") else "w"

    def check(self, calibration: Calibration | None, given: Ingredients) -> None:
        """Raises ConfigError for what cannot act on rows of the channel."""
        given.check(self.channel)
        if calibration is not None and self.channel in PAIRS:
            raise ConfigError(
                f"rows of channel '{self.channel}' hold no muons, on which a calibration acts",
                kind="config.ingredients", where={"channel": self.channel},
                do="put its variations into weights of the rows (table.weights), or leave the calibration out",
            )  # fmt: skip


def fill_process(
    process: str, rows: Iterable[Rows], config: TableConfig, calibration: Calibration | None, given: Ingredients
) -> Sums:
    """Sums of one process from chunks of its table, whose columns have the names of `TableConfig.names`' keys.

    Raises InputError without rows, or if a column that is needed is missing or not finite.
    """
    sums: Sums | None = None
    for columns in rows:
        sums = accumulate(CHANNELS[config.channel], _chunk(process, columns, config, calibration, given), sums)
    if sums is None or not sums.n_events:
        raise InputError(f"no events of process '{process}'", kind="input.empty")
    return sums.scaled(config.scale.get(process, 1.0))


def user_templates(
    sums: Mapping[str, Sums], config: TableConfig, calibration: Calibration | None = None,
    ingredients: Ingredients | None = None,
) -> Templates:  # fmt: skip
    """Templates of processes from their sums; a nuisance that a process does not have leaves it as it is."""
    binning, given = CHANNELS[config.channel], ingredients or Ingredients()
    config.check(calibration, given)
    found = {name: _effects(name, one, config, calibration, given, binning) for name, one in sums.items()}
    groups: dict[str, str] = {}
    for one in found.values():
        groups |= dict(zip(one.names, one.groups, strict=True))
    names = tuple(groups)
    kappa = np.zeros((len(sums), len(names), binning.n_bins))
    for p, one in enumerate(found.values()):
        kappa[p, [names.index(name) for name in one.names]] = one.kappa
    shifts = np.array(sorted({0.0, *(m.shift for m in config.mass)})) if config.mass else np.array([-0.1, 0.0, 0.1])
    return Templates(
        channel=config.channel, axes=binning.axes, edges=binning.edges, processes=tuple(sums),
        nominal=np.array([one.nominal for one in sums.values()]), sumw2=np.array([one.sumw2 for one in sums.values()]),
        nuisances=names, groups=tuple(groups.values()), kappa=kappa, boson=config.boson,
        mass_shifts=shifts, shifted=np.array([[_at_mass(one, s) for one in sums.values()] for s in shifts]),
        helicity=np.zeros((len(sums), 0, 9, binning.n_bins)),
    )  # fmt: skip


def _mass_name(shift: float) -> str:
    return f"mass:{shift!r}"


def _at_mass(sums: Sums, shift: float) -> FloatArray:
    name = _mass_name(float(shift))
    return sums.columns[:, sums.names.index(name)] if name in sums.names else sums.nominal


def _families(process: str, config: TableConfig) -> tuple[WeightFamily, ...]:
    return tuple(f for f in config.weights if not f.processes or process in f.processes)


def _chunk(
    process: str, columns: Rows, config: TableConfig, calibration: Calibration | None, given: Ingredients
) -> Chunk:
    """The rows of a table with everything that acts on them."""
    chunk, _ = user_chunk(CHANNELS[config.channel], columns, _families(process, config))
    more: dict[str, FloatArray] = {}
    factor, inside = np.ones(chunk.n_read), chunk.bins >= 0
    if process in config.measured:
        more |= {_mass_name(m.shift): _weight(columns, m) for m in config.mass}
    ut = columns.get("ut")
    if given.recoil is not None:
        found, keep, ut = _recoil(columns, config, given)
        more |= found
        inside &= keep
    if calibration is not None:
        more |= _moments(columns, calibration)
    if given.efficiencies is not None:
        found, weight = _efficiencies(columns, given, inside, ut)
        more |= found
        factor = factor * weight
    if given.weights is not None:
        events = {name: np.asarray(values, dtype=float) for name, values in columns.items() if values.ndim == 1}
        factor = factor * given.weights.weight(events)
        more |= {n: np.expm1(given.weights.log_change(n, events)) for n in given.weights.nuisances}
    extra = np.concatenate([chunk.extra, *(column[:, None] for column in more.values())], axis=1)
    return replace(
        chunk, bins=np.where(inside, chunk.bins, -1), weight=chunk.weight * factor, names=(*chunk.names, *more),
        extra=np.ascontiguousarray(extra),
    )  # fmt: skip


def _needed(columns: Rows, names: Sequence[str], why: str) -> tuple[FloatArray, ...]:
    """Columns as numbers.  Raises InputError for one that is missing or not finite."""
    for name in names:
        if name not in columns:
            raise InputError(
                f"{why} need the column '{name}'", kind="input.missing_branch", do=f"map it by table.columns.{name}"
            )
        bad = np.flatnonzero(~np.isfinite(columns[name].astype(float)))
        if bad.size:
            raise InputError(
                f"{bad.size} values of '{name}' are not finite, the first in row {int(bad[0])}", kind="input.not_finite"
            )
    return tuple(columns[name].astype(float) for name in names)


def _weight(columns: Rows, mass: MassWeight) -> FloatArray:
    """(N,) relative weights of another mass."""
    if mass.column not in columns:
        raise InputError(
            f"there is no column '{mass.column}' for weights of the mass", kind="input.missing_branch",
            where={"near": ", ".join(nearest(mass.column, columns))},
        )  # fmt: skip
    values = np.asarray(columns[mass.column])
    values = values.reshape(values.shape[0], -1)
    if mass.index >= values.shape[1]:
        raise InputError(
            f"column '{mass.column}' holds {values.shape[1]} weights, table.mass asks for number {mass.index}",
            kind="input.short_column",
        )
    (found,) = _needed({mass.column: values[:, mass.index]}, [mass.column], "weights of the mass")
    return found


def _recoil(
    columns: Rows, config: TableConfig, given: Ingredients
) -> tuple[dict[str, FloatArray], BoolArray, FloatArray]:
    """Columns of the recoil's nuisances, what passes mT after the correction, and u_T."""
    assert given.recoil is not None
    names = ("pt", "phi", "met", "met_phi", "boson_pt", "boson_phi")
    pt, phi, met, met_phi, q, q_phi = _needed(columns, names, "recoil corrections")
    qx, qy = q * np.cos(q_phi), q * np.sin(q_phi)
    u = recoil_of_met(met, met_phi, pt * np.cos(phi), pt * np.sin(phi))
    _, par, perp = project(*u, qx, qy)
    places = (given.recoil.place(0, q, par - q), given.recoil.place(1, q, perp))
    ux, uy = unproject(*given.recoil.correct(q, par, perp), qx, qy)
    mt, cut = transverse_mass(pt, phi, ux, uy), MT_MIN[config.channel]
    by_x, by_y = transverse_mass_slopes(pt, phi, ux, uy)
    cos, sin = np.cos(q_phi), np.sin(q_phi)
    slopes = (-(by_x * cos + by_y * sin), by_y * cos - by_x * sin)
    found = mt_weights(given.recoil, places, slopes, mt, cut)
    return dict(zip(given.recoil.nuisances(), found.T, strict=True)), mt > cut, ux * np.cos(phi) + uy * np.sin(phi)


def _moments(columns: Rows, calibration: Calibration) -> dict[str, FloatArray]:
    """The six moments of the response of each muon, whose pull its generated pT tells."""
    pt_gen, pt, eta, charge = _needed(columns, ("pt_gen", "pt", "eta", "charge"), "nuisances of a calibration")
    table = calibration.resolution_mc or calibration.resolution_data
    if table is None:
        raise ConfigError(
            "this calibration holds no resolution, which weights of the response need", kind="config.no_resolution"
        )
    sigma = relative_resolution(table, pt_gen, eta)
    at = np.clip(np.searchsorted(table.eta_edges, eta, side="right") - 1, 0, table.n_bins - 1)
    pull = (pt_gen / pt - 1.0) / sigma
    return dict(zip(MOMENTS, moments(pt_gen, charge, pull, sigma, table.d[at]).T, strict=True))


def _efficiencies(
    columns: Rows, given: Ingredients, inside: BoolArray, ut: FloatArray | None
) -> tuple[dict[str, FloatArray], FloatArray]:
    assert given.efficiencies is not None
    eta, pt, charge = _needed(columns, ("eta", "pt", "charge"), "efficiencies")
    if ut is None and any(one.nominal.degree_ut for one in given.efficiencies.steps):
        raise InputError(
            "these efficiencies depend on u_T: the rows need the column 'ut'", kind="input.missing_branch",
            do="map it by table.columns.ut, or give the recoil",
        )  # fmt: skip
    along = np.zeros(eta.size) if ut is None else ut
    found, weight = efficiency_columns(
        given.efficiencies, eta[inside], pt[inside], np.sign(charge[inside]).astype(np.int64), along[inside]
    )
    whole = {name: np.zeros(eta.size) for name in found}
    factor = np.ones(eta.size)
    factor[inside] = weight
    for name, values in found.items():
        whole[name][inside] = values
    return whole, factor


def _effects(
    process: str, sums: Sums, config: TableConfig, calibration: Calibration | None, given: Ingredients,
    binning: Binning,
) -> Effects:  # fmt: skip
    parts: list[tuple[Sequence[str], Sequence[str], FloatArray]] = []
    own = user_effects(sums, _families(process, config))
    parts.append((own.names, own.groups, own.kappa))
    if calibration is not None:
        smooth = polynomials(binning.shape[1], binning.shape[2], ETA_DEGREE, PT_DEGREE)
        kappa = response_effects([sums], bin_shifts(calibration, binning), smooth)
        parts.append((calibration.names, calibration.groups, kappa))
    if given.recoil is not None:
        names = given.recoil.nuisances()
        smooth = polynomials(binning.shape[1], binning.shape[2], *RECOIL_DEGREES)
        kappa = smooth_rows(column_effects([sums], names), sums.nominal, smooth)
        parts.append((names, [RECOIL_GROUP] * len(names), kappa))
    if given.efficiencies is not None:
        parts.append(efficiency_kappas(given.efficiencies, binning, [sums]))
    if given.weights is not None:
        change = sums.columns[:, [sums.names.index(n) for n in given.weights.nuisances]].T
        nominal = np.broadcast_to(sums.nominal, change.shape)
        parts.append((given.weights.nuisances, given.weights.groups, log_ratio(nominal + change, nominal)))
    merged: dict[str, Any] = {
        "names": tuple(n for names, _, _ in parts for n in names),
        "groups": tuple(g for _, groups, _ in parts for g in groups),
        "kappa": np.concatenate([kappa for _, _, kappa in parts]),
    }
    return Effects(**merged)
