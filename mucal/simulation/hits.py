"""Generated muons through a detector: the hits that it records, and what became of every muon."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector import Crossings, Detector, NavigationStatus, cross
from mucal.detector.field import MagneticField, evaluate
from mucal.errors import InputError
from mucal.ledger import Ledger
from mucal.numerics import normal, start_word
from mucal.propagation import Terrain, TrackStatus, free_states, terrain
from mucal.simulation import hit_kernels as kernels
from mucal.simulation.muons import GeneratedMuons
from mucal.track.hits import Hits, HitsTruth

STRAGGLING: Final = {"none": kernels.NONE, "gaussian": kernels.GAUSSIAN, "landau": kernels.LANDAU}


@dataclass(frozen=True, slots=True, kw_only=True)
class HitSimulation:
    """What happens to muons in a detector, and how it records them.

    seed             : of all random numbers
    straggling       : "none", the mean loss; "gaussian", mean and variance as `propagation` has them; "landau"
    alpha            : fraction of collisions kept in mean and variance of a layer's loss, as in `StepConfig`
    truncated        : leaves transfers above that cut out of "landau" too
    scattering       : on or off
    tail_share       : share of layers in which the scattering angle is wider, by
    tail_width       : this factor
    resolution_scale : true resolution over the one that hits are recorded with; 0 records what was crossed
    efficiency       : that a module crossed has a hit
    outlier_share    : share of hits that are something else's, evenly within
    outlier_range    : cm  of the muon
    seed_errors      : of the seed: relative of q/p, rad of lambda and phi, cm of dxy and dsz
    least_hits       : muons with fewer are rejected
    slack            : cm  by which the true path may leave the helix that finds candidates; above 4 GeV 1 cm is enough
    """

    seed: int = 1
    straggling: str = "landau"
    alpha: float = 0.999
    truncated: bool = False
    scattering: bool = True
    tail_share: float = 0.0
    tail_width: float = 3.0
    resolution_scale: float = 1.0
    efficiency: float = 1.0
    outlier_share: float = 0.0
    outlier_range: float = 0.2
    seed_errors: tuple[float, float, float] = (0.01, 1e-3, 0.01)
    least_hits: int = 3
    slack: float = 1.0

    def __post_init__(self) -> None:
        if self.straggling not in STRAGGLING:
            raise ValueError(f"straggling is {self.straggling!r}, expected one of {sorted(STRAGGLING)}")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha = {self.alpha}, expected a fraction of collisions kept, 0 < alpha <= 1")
        for name in ("tail_share", "efficiency", "outlier_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}, expected a share, 0 to 1")
        for name in ("tail_width", "resolution_scale", "outlier_range", "slack"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} = {getattr(self, name)}, expected a number of at least 0")
        if self.least_hits < 1 or min(self.seed_errors) < 0:
            raise ValueError(
                f"least_hits = {self.least_hits}, seed_errors = {self.seed_errors}; expected >= 1 and >= 0"
            )

    @property
    def settings(self) -> FloatArray:
        """(SETTINGS,) what the kernels read"""
        return np.array([
            STRAGGLING[self.straggling], self.alpha, self.truncated, self.scattering, self.tail_share, self.tail_width,
            self.resolution_scale, self.efficiency, self.outlier_share, self.outlier_range,
        ], dtype=np.float64)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedHits:
    """Hits of the muons that were recorded, and what became of the others.

    hits   : with their truth
    ledger : muons read = used + looper, ranged_out, outside_field, too_forward, few_hits ...
    """

    hits: Hits
    ledger: Ledger


def simulate_hits(
    muons: GeneratedMuons,
    detector: Detector,
    config: HitSimulation | None = None,
    *,
    magnet: MagneticField | None = None,
    ground: Terrain | None = None,
    n_threads: int = 1,
) -> SimulatedHits:
    """What a detector records of muons.

    Every element that a muon really crosses scatters and slows it; modules measure it as `detector.predict` says, with
    their resolution.  Every random number is a function of (seed, purpose, run, event, parent, charge, element): any
    division of the muons among calls and threads gives the same bytes.  A muon whose partner is rejected keeps its
    pair's number.

    muons     : where they are born
    detector  : as it truly is
    magnet    : the true field; None is the detector's own
    ground    : `terrain` of the detector, to make it once for many calls
    n_threads : muons are divided among them

    Raises InputError if no field is known.  Source: docs/physics/simulation.md.
    """
    config = config or HitSimulation()
    magnet = magnet or detector.field
    if magnet is None:
        raise InputError(f"{detector.name} stands in no field; give one as `magnet`", kind="input.no_field")
    ground = ground or terrain(detector)
    start = free_states(muons.state, muons.vertex)
    keys = np.column_stack([muons.run, muons.event, muons.parent, muons.charge]).astype(np.int64)
    bz = float(evaluate(magnet, np.zeros((1, 3))).bfield[0, 2])
    found = cross(ground.index, start[:, :3], start[:, 3:6], start[:, 6], bz, slack=config.slack)
    modules, values, n_hits, status = _follow(detector, magnet, ground, start, keys, found, config, n_threads)
    status[(status == TrackStatus.OK) & (found.status == NavigationStatus.LOOPER)] = TrackStatus.LOOPER
    kept = (status == TrackStatus.OK) & (n_hits >= config.least_hits)
    n_hits[~kept] = 0
    rows = np.repeat(found.offsets[:-1] - np.cumsum(n_hits) + n_hits, n_hits) + np.arange(n_hits.sum())
    return SimulatedHits(
        hits=_to_hits(muons.select(kept), detector, config, n_hits[kept], modules[rows], values[rows]),
        ledger=_ledger(muons, kept, status),
    )


def _follow(
    detector: Detector, magnet: MagneticField, ground: Terrain, start: FloatArray, keys: IntArray, found: Crossings,
    config: HitSimulation, n_threads: int,
) -> tuple[IntArray, FloatArray, IntArray, IntArray]:  # fmt: skip
    """Modules (C,) and hits (C, 4) in the place of each muon's candidates; number of hits and status of each muon."""
    n, c = start.shape[0], found.element.size
    modules, values = np.full(c, -1, dtype=np.int64), np.full((c, 4), np.nan)
    n_hits, status = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64)
    m = detector.modules
    sensors = np.column_stack([m.sigma_u, m.sigma_v, m.strip_angle, m.focus])
    words = np.array([start_word(config.seed, f"hits/{purpose}") for purpose in kernels.PURPOSES])
    packed, table, settings = magnet.packed, ground.surfaces.packed, config.settings

    def run(part: slice) -> None:
        kernels.simulate_all(
            packed, table, ground.surfaces.media, ground.outlines, sensors, start[part], keys[part],
            found.offsets[part.start : part.stop + 1], found.element, found.path, settings, words, 10.0, 1000,
            modules, values, n_hits[part], status[part],
        )  # fmt: skip

    edges = np.linspace(0, n, min(n_threads, max(n, 1)) + 1).astype(int)
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(run, [slice(int(a), int(b)) for a, b in pairwise(edges) if b > a]))
    return modules, values, n_hits, status


def _to_hits(
    muons: GeneratedMuons, detector: Detector, config: HitSimulation, n_hits: IntArray, modules: IntArray,
    values: FloatArray,
) -> Hits:  # fmt: skip
    seed = _seeds(muons, config)
    return Hits(
        run=muons.run, lumi=muons.lumi, event=muons.event, pair=muons.pair,
        charge=np.sign(seed[:, 0]).astype(np.int64),
        seed=seed,
        seed_ref=muons.vertex,
        offsets=np.concatenate([[0], np.cumsum(n_hits)]).astype(np.int64),
        module_id=modules,
        u=values[:, kernels.U_MEAS], v=values[:, kernels.V_MEAS],
        sigma_u=detector.modules.sigma_u[modules], sigma_v=detector.modules.sigma_v[modules],
        truth=HitsTruth(
            state=muons.state, vertex=muons.vertex, parent=muons.parent, mass=muons.mass,
            hit_u=values[:, kernels.U_GEN], hit_v=values[:, kernels.V_GEN],
        ),
    )  # fmt: skip


def _seeds(muons: GeneratedMuons, config: HitSimulation) -> FloatArray:
    """The true states with errors: (N, 5)."""
    relative, angle, length = config.seed_errors
    width = np.array([0.0, angle, angle, length, length]) + np.abs(muons.state[:, :1]) * relative * np.eye(5)[0]
    error = [
        normal(config.seed, f"hits/seed {j}", muons.run, muons.event, muons.parent, muons.charge) for j in range(5)
    ]
    seed: FloatArray = muons.state + width * np.column_stack(error)
    return seed


def _ledger(muons: GeneratedMuons, kept: BoolArray, status: IntArray) -> Ledger:
    reasons = {s.name.lower(): ~kept & (status == s) for s in TrackStatus if s != TrackStatus.OK}
    reasons["few_hits"] = ~kept & (status == TrackStatus.OK)
    return Ledger(
        unit="muons",
        read=len(muons),
        used=int(kept.sum()),
        rejected={name: int(rows.sum()) for name, rows in reasons.items()},
        examples={
            name: tuple(f"event {muons.event[i]}, charge {muons.charge[i]:+d}" for i in np.flatnonzero(rows)[:5])
            for name, rows in reasons.items()
        },
    )
