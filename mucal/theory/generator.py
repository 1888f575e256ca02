"""W and Z events from low-discrepancy points: smooth templates from few events, and variations from the same points.

Points are one scrambled Sobol sequence; a boson may be used for several decays in a row, its coordinates then being
those of an earlier point.  (Two sequences scrambled apart would not do: scipy scrambles linearly, and their leading
digits stay functions of each other.)  Event i is a function of (seed, i) alone, so that pieces of a sample are those of
the whole.  Sums over points converge faster than those over random events, and their Poisson errors (the root of the
sum of squared weights) overstate the noise.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Final, Self

import numpy as np
from scipy.stats import qmc

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.numerics.keyed import start_word
from mucal.theory import kernels
from mucal.theory.fsr import ALPHA
from mucal.theory.production import Production
from mucal.units import MUON_MASS

FIRST, SECOND = 0, 1
"""Leptons of an event: mu and nu of a W, mu+ and mu- of a Z."""
PT, ETA, PHI = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BosonEvents:
    """N events of one sample.

    sample     :               name
    event      : (N,)          number of the event in the sample
    mass       : (N,) GeV      of the boson, before radiation
    rapidity   : (N,)
    pt         : (N,) GeV
    cosine     : (N,)          polar angle of the particle in the Collins-Soper frame
    angle      : (N,) rad      its azimuth
    weight     : (N,)          mean 1 over the sample
    kept       : (N,)          what radiation leaves: of the muon's momentum (W), of the pair's mass^2 (Z)
    luminosity : (N, 4)        see `production.luminosities`
    shares     : (N, 9)        helicity shares, see `harmonics`
    leptons    : (N, 2, 3)     pT (GeV), eta and azimuth (rad, from the boson's) of the bare leptons
    spare      : (N, 4)        unused coordinates in (0, 1), for what a detector adds
    """

    sample: str
    event: IntArray
    mass: FloatArray
    rapidity: FloatArray
    pt: FloatArray
    cosine: FloatArray
    angle: FloatArray
    weight: FloatArray
    kept: FloatArray
    luminosity: FloatArray
    shares: FloatArray
    leptons: FloatArray
    spare: FloatArray

    def __post_init__(self) -> None:
        n = self.event.size
        flat = ("mass", "rapidity", "pt", "cosine", "angle", "weight", "kept")
        check_shapes(self, **dict.fromkeys(flat, (n,)))
        check_shapes(self, luminosity=(n, 4), shares=(n, 9), leptons=(n, 2, 3), spare=(n, 4))

    def __len__(self) -> int:
        return int(self.event.size)

    def select(self, keep: BoolArray | IntArray | slice) -> Self:
        """The events chosen by a mask, indices or a slice."""
        chosen: dict[str, Any] = {f.name: getattr(self, f.name)[keep] for f in fields(self) if f.name != "sample"}
        return replace(self, **chosen)


def generate(
    made: Production, first: int, count: int, *, seed: int, reuse: int = 1, radiation: bool = True
) -> BosonEvents:
    """Events first ... first + count - 1 of a sample.

    made      : tables of the boson
    first     : number of the first event, a multiple of `reuse`
    count     : of events; sums are most even for powers of 2
    seed      : of the points
    reuse     : decays in a row of each boson
    radiation : off, muons keep their momentum

    Raises ValueError if `first` or `count` is not a multiple of `reuse`.
    """
    if first % reuse or count % reuse:
        raise ValueError(f"first = {first} and count = {count} must be multiples of reuse = {reuse}")
    all_points = points(DIMENSIONS, made.sample, first, count, seed)
    decays = all_points[:, kernels.BOSON_DIMENSIONS :]
    bosons = all_points if reuse == 1 else points(DIMENSIONS, made.sample, first // reuse, count // reuse, seed)
    columns, shares, leptons = kernels.generate(
        bosons, decays, reuse, made.charge == 0, float(made.charge), made.coupling, made.masses, made.grid,
        made.luminosities, made.rapidities, made.pts, made.norm, ALPHA if radiation else 0.0, MUON_MASS,
    )  # fmt: skip
    mass, rapidity, pt, cosine, angle, weight, kept = columns[:, :7].T.copy()
    return BosonEvents(
        sample=made.sample, event=np.arange(first, first + count, dtype=np.int64), mass=mass, rapidity=rapidity, pt=pt,
        cosine=cosine, angle=angle, weight=weight, kept=kept, luminosity=np.ascontiguousarray(columns[:, 7:]),
        shares=shares, leptons=leptons, spare=decays[:, kernels.DECAY_DIMENSIONS :],
    )  # fmt: skip


DIMENSIONS: Final = kernels.BOSON_DIMENSIONS + kernels.DECAY_DIMENSIONS + 4

BITS: Final = 30
"""Of each coordinate; also the logarithm of the longest sequence."""


def points(dimensions: int, purpose: str, first: int, count: int, seed: int) -> FloatArray:
    """Rows first ... first + count - 1 of a scrambled Sobol sequence of one seed and purpose, inside (0, 1)."""
    word = int(start_word(seed, f"sobol.{purpose}"))
    engine = qmc.Sobol(dimensions, scramble=True, bits=BITS, rng=np.random.default_rng(word))
    if first:
        engine.fast_forward(first)
    # one by one: scipy warns of counts that are no powers of 2 when the sequence starts
    head = engine.random(1)
    result = np.concatenate([head, engine.random(count - 1)]) if count > 1 else head
    return result + 2.0 ** -(BITS + 1)  # the middle of each interval: neither 0 nor 1
