"""Muons sorted into the regions of isolation and transverse mass, from columns."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.errors import ConfigError, InputError
from mucal.templates.nonprompt import RegionCounts

COLUMNS: Final = ("pt", "eta", "charge", "mt", "isolation")
VERTEX_COLUMNS: Final = ("sip3d", "flight_significance")
"""Of a muon matched to a secondary vertex; 0 or NaN where there is none."""


def _uniform(low: float, high: float, n: int) -> tuple[float, ...]:
    return tuple(round(float(x), 10) for x in np.linspace(low, high, n + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionConfig:
    """Where the regions lie.

    eta_edges, pt_edges : of the muon; GeV
    mt_edges            : GeV: 0, between Ax and A, between A and C; C and D have no upper end
    isolation           : muons below pass
    sip3d, flight       : a muon is of the control region of secondary vertices if the significance of its impact
                          parameter, and that of the flight of its vertex, lie above
    """

    eta_edges: tuple[float, ...] = _uniform(-2.4, 2.4, 48)
    pt_edges: tuple[float, ...] = _uniform(26.0, 56.0, 30)
    mt_edges: tuple[float, float, float] = (0.0, 20.0, 40.0)
    isolation: float = 0.15
    sip3d: float = 4.0
    flight: float = 4.0

    def __post_init__(self) -> None:
        if not (self.mt_edges[0] < self.mt_edges[1] < self.mt_edges[2] and self.isolation > 0):
            raise ConfigError(
                f"nonprompt.regions: mt_edges {self.mt_edges}, isolation {self.isolation}; expected increasing edges "
                "and a cut above 0",
                kind="config.nonprompt",
            )


def empty_regions(config: RegionConfig) -> RegionCounts:
    """Regions without events."""
    shape = (6, 2, len(config.eta_edges) - 1, len(config.pt_edges) - 1)
    return RegionCounts(
        eta_edges=np.array(config.eta_edges), pt_edges=np.array(config.pt_edges), data=np.zeros(shape),
        prompt=np.zeros(shape), prompt_sumw2=np.zeros(shape),
    )  # fmt: skip


def fill_regions(
    onto: RegionCounts, columns: Mapping[str, FloatArray], config: RegionConfig, *, prompt: bool
) -> tuple[RegionCounts, dict[str, int]]:
    """The counts with more muons, and how many were rejected for which reason.

    columns : pt, eta, charge, mt, isolation, and for prompt simulation weight; (N,) each
    prompt  : simulation of prompt muons, or data

    Raises InputError for data with weights that are not 1: the fits are of counts.
    """
    n = np.asarray(columns["pt"]).size
    weight = np.asarray(columns.get("weight", np.ones(n)), dtype=float)
    if not prompt and not np.all(weight == 1.0):
        raise InputError("data of the nonprompt regions have weights other than 1", kind="nonprompt.weighted_data")
    index, keep, rejected = _places(columns, weight, config)
    shape = onto.data.shape
    counts = np.bincount(index, weight[keep], minlength=int(np.prod(shape))).reshape(shape)
    if not prompt:
        return replace(onto, data=onto.data + counts), rejected
    squares = np.bincount(index, weight[keep] ** 2, minlength=int(np.prod(shape))).reshape(shape)
    return replace(onto, prompt=onto.prompt + counts, prompt_sumw2=onto.prompt_sumw2 + squares), rejected


def of_secondary_vertices(
    columns: Mapping[str, FloatArray], config: RegionConfig
) -> tuple[dict[str, FloatArray], int]:  # fmt: skip
    """The muons of decays in flight that a secondary vertex shows, and how many are none.

    Hardly any prompt muon is left, so that region D may be looked at.

    columns : as for `fill_regions`, and "sip3d", "flight_significance"

    Source: the control region of arXiv:2412.13872.
    """
    with np.errstate(invalid="ignore"):
        keep = (columns["sip3d"] > config.sip3d) & (columns["flight_significance"] > config.flight)
    return {name: np.asarray(values)[keep] for name, values in columns.items()}, int((~keep).sum())


def _places(
    columns: Mapping[str, FloatArray], weight: FloatArray, config: RegionConfig
) -> tuple[IntArray, BoolArray, dict[str, int]]:
    values = {name: np.asarray(columns[name], dtype=float) for name in COLUMNS}
    keep = np.isfinite(weight)
    for array in values.values():
        keep = keep & np.isfinite(array)
    rejected = {"nonfinite": int((~keep).sum())}
    wrong = keep & (np.abs(values["charge"]) != 1)
    rejected["charge"], keep = int(wrong.sum()), keep & ~wrong
    at: dict[str, IntArray] = {}
    for name, edges in (("eta", config.eta_edges), ("pt", config.pt_edges)):
        at[name] = np.searchsorted(edges, values[name], side="right") - 1
        outside = keep & ((at[name] < 0) | (at[name] >= len(edges) - 1))
        rejected[f"range:{name}"], keep = int(outside.sum()), keep & ~outside
    mt = np.searchsorted(config.mt_edges, values["mt"], side="right") - 1
    below = keep & (mt < 0)
    rejected["range:mt"], keep = int(below.sum()), keep & ~below
    passes = values["isolation"] < config.isolation
    # Ax, Bx, A, B, C, D: two for each range of mT, failing then passing
    region = 2 * mt + passes
    shape = (6, 2, len(config.eta_edges) - 1, len(config.pt_edges) - 1)
    index = np.ravel_multi_index(
        (region[keep], (values["charge"][keep] > 0).astype(np.int64), at["eta"][keep], at["pt"][keep]), shape
    )
    return np.asarray(index, dtype=np.int64), keep, rejected
