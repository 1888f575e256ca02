"""Generated muons through a detector: the hits that it records, and what became of every muon."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector import Detector, NavigationStatus, cross
from mucal.detector.field import MagneticField, evaluate
from mucal.detector.material import scattering_variance
from mucal.errors import InputError
from mucal.ledger import Ledger
from mucal.numerics import start_word
from mucal.propagation import Terrain, TrackStatus, free_states, terrain
from mucal.simulation import hit_kernels as kernels
from mucal.simulation.muons import GeneratedMuons
from mucal.track.hits import Hits, HitsTruth
from mucal.units import CURVATURE

THICKEST: Final = 1.5
"""Radiation lengths, of what a muon may cross; enters the width of the search for modules alone."""

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
    mirrored         : every Gaussian number with the opposite sign: of a muon and its mirror image, the sum shows
                           what noise does in the second order, without the noise; not for "landau"
    least_hits       : muons with fewer are rejected
    slack            : cm  by which modules are widened for the helix that finds candidates
    reach            :     and by this many standard deviations of what scattering may do until there, if all that it
                           crosses is THICKEST
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
    mirrored: bool = False
    least_hits: int = 3
    slack: float = 0.1
    reach: float = 6.0

    def __post_init__(self) -> None:
        if self.straggling not in STRAGGLING:
            raise ValueError(f"straggling is {self.straggling!r}, expected one of {sorted(STRAGGLING)}")
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha = {self.alpha}, expected a fraction of collisions kept, 0 < alpha <= 1")
        for name in ("tail_share", "efficiency", "outlier_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} = {getattr(self, name)}, expected a share, 0 to 1")
        for name in ("tail_width", "resolution_scale", "outlier_range", "slack", "reach"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} = {getattr(self, name)}, expected a number of at least 0")
        if self.mirrored and self.straggling == "landau":
            raise ValueError('mirrored with straggling "landau", expected "gaussian" or "none": it is not symmetric')
        if self.least_hits < 1 or min(self.seed_errors) < 0:
            raise ValueError(
                f"least_hits = {self.least_hits}, seed_errors = {self.seed_errors}; expected >= 1 and >= 0"
            )

    @property
    def sign(self) -> float:
        """Of all Gaussian numbers."""
        return -1.0 if self.mirrored else 1.0

    @property
    def settings(self) -> FloatArray:
        """(SETTINGS,) what the kernels read"""
        return np.array([
            STRAGGLING[self.straggling], self.alpha, self.truncated, self.scattering, self.tail_share, self.tail_width,
            self.resolution_scale, self.efficiency, self.outlier_share, self.outlier_range, self.sign,
        ], dtype=np.float64)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedHits:
    """Hits of the muons that were recorded, and what became of the others.

    hits   : with their truth
    ledger : muons read = used + looper, ranged_out, outside_field, too_forward, few_hits ...
    passed : elements that a muon turned out to be behind already, and that it therefore did not meet
    """

    hits: Hits
    ledger: Ledger
    passed: int


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
    order = _neighbours(muons)
    blocks = [muons.select(order[a : a + BLOCK]) for a in range(0, len(muons), BLOCK)]
    with ThreadPoolExecutor(n_threads) as pool:
        walks = list(pool.map(_Walks(detector, magnet, ground, config), blocks)) or [_NO_WALK]
    module, values, n_hits, status, passed = (np.concatenate(parts) for parts in zip(*walks, strict=True))
    back = np.argsort(order)
    rows = _rows_of(np.cumsum(n_hits) - n_hits, n_hits, back)
    module, values, n_hits, status = module[rows], values[rows], n_hits[back], status[back]
    kept = n_hits > 0
    return SimulatedHits(
        hits=_to_hits(muons.select(kept), detector, config, n_hits[kept], module, values),
        ledger=_ledger(muons, kept, status),
        passed=int(passed.sum()),
    )


def _neighbours(muons: GeneratedMuons) -> IntArray:
    """(N,) the muons in an order in which those that meet the same modules follow each other.

    Strips of pseudorapidity, there and back again in azimuth.  No result depends on it; caches like it.
    """
    lam, phi = np.nan_to_num(muons.state[:, 1]), muons.state[:, 2]
    strip = np.floor(np.clip(np.arctanh(np.clip(np.sin(lam), -0.9999, 0.9999)), -5.0, 5.0) / STRIP).astype(np.int64)
    order: IntArray = np.lexsort((np.where(strip % 2, -phi, phi), strip))
    return order


def _rows_of(first: IntArray, count: IntArray, chosen: IntArray) -> IntArray:
    """Rows first .. first + count of the chosen, one after the other."""
    count = count[chosen]
    rows: IntArray = np.repeat(first[chosen] - np.cumsum(count) + count, count) + np.arange(count.sum())
    return rows


STRIP: Final = 0.25
"""Of pseudorapidity."""

BLOCK: Final = 512
"""Muons that are followed at a time: what is known of their candidates then stays in the processor's cache."""

_Walk = tuple[IntArray, FloatArray, IntArray, IntArray, IntArray]
_NONE: Final = np.zeros(0, dtype=np.int64)
_NO_WALK: Final[_Walk] = (_NONE, np.zeros((0, 4)), _NONE, _NONE, _NONE)


class _Walks:
    """What a block of muons leaves in a detector."""

    def __init__(self, detector: Detector, magnet: MagneticField, ground: Terrain, config: HitSimulation) -> None:
        m = detector.modules
        self.sensors = np.column_stack([m.sigma_u, m.sigma_v, m.strip_angle, m.focus])
        self.words = np.array([start_word(config.seed, f"hits/{purpose}") for purpose in kernels.PURPOSES])
        self.bz = float(evaluate(magnet, np.zeros((1, 3))).bfield[0, 2])
        self.field, self.ground, self.config, self.settings = magnet.packed, ground, config, config.settings

    def __call__(self, muons: GeneratedMuons) -> _Walk:
        """Module (K,) and columns (K, 4) of the hits of recorded muons; hits, status and elements passed of every muon.

        A muon that is not recorded has 0 hits.
        """
        ground, config = self.ground, self.config
        start = free_states(muons.state, muons.vertex)
        found = cross(
            ground.index, start[:, :3], start[:, 3:6], start[:, 6], self.bz, slack=config.slack,
            spread=_spread(start, config),
        )  # fmt: skip
        n, c = start.shape[0], found.element.size
        modules, values = np.empty(c, dtype=np.int64), np.empty((c, 4))
        n_hits, status, passed = (np.zeros(n, dtype=np.int64) for _ in range(3))
        kernels.simulate_all(
            self.field, ground.surfaces.packed, ground.surfaces.media, ground.outlines, ground.envelope, self.sensors,
            start, _keys(muons), found.offsets, found.element, found.path, found.u, found.v, found.cosine,
            self.settings, self.words, CURVATURE * self.bz, 10.0, 1000, modules, values, n_hits, status, passed,
        )  # fmt: skip
        status[(status == TrackStatus.OK) & (found.status == NavigationStatus.LOOPER)] = TrackStatus.LOOPER
        n_hits[(status != TrackStatus.OK) | (n_hits < config.least_hits)] = 0
        rows = _rows_of(found.offsets[:-1], n_hits, np.arange(n))
        return modules[rows], values[rows], n_hits, status, passed


def _spread(start: FloatArray, config: HitSimulation) -> FloatArray:
    """How far scattering may take a muon from its helix, over the path: (N,).

    Of material spread evenly a muon is off by theta s / sqrt(3) across its direction, theta the angle of all of it.
    What the helix itself has wrong, by the field's shape and the loss, is a tenth of that at any momentum.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        variance = scattering_variance(1.0 / np.abs(start[:, 6]), np.array(THICKEST), THICKEST)
    variance *= 1.0 + config.tail_share * (config.tail_width**2 - 1.0)
    spread: FloatArray = np.nan_to_num(config.reach * np.sqrt(variance / 3.0), posinf=0.0)
    return spread


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
    words = np.array([start_word(config.seed, f"hits/seed {j}") for j in range(5)])
    seed: FloatArray = muons.state + config.sign * width * kernels.normals(words, _keys(muons))
    return seed


def _keys(muons: GeneratedMuons) -> IntArray:
    """(N, 4) the numbers that name a muon."""
    return np.column_stack([muons.run, muons.event, muons.parent, muons.charge]).astype(np.int64)


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
