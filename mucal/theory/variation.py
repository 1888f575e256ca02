"""One theory uncertainty: the weights of its two sides, and the nuisances that they become.

A variation of helicity terms multiplies each of `harmonics.TERMS` by a function of the boson's pT and |y|; its event
weight is sum_i h_i R_i(pT, |y|).  Any other is a function of whole events.  From u = ln(up/nominal) and
d = ln(down/nominal) of a template come

    pair    : (u - d)/2 and sqrt(3)/2 (u + d), two independent nuisances ("quadratic")
    average : (u - d)/2
    mirror  : u, the other side being its opposite
    larger  : the larger of |u| and |d| in each bin, with the sign of u - d ("conservative")

all times `scale`.  Source: the symmetrisation of arXiv:2412.13872, as in its public code.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from mucal.arrays import FloatArray
from mucal.theory.generator import BosonEvents
from mucal.theory.harmonics import TERMS
from mucal.theory.production import SAMPLES

UP, DOWN = 1, -1

Symmetrise = Literal["pair", "average", "mirror", "larger"]
TermWeights = Callable[[str, FloatArray, FloatArray, int], FloatArray]
"""sample, pT (GeV), |y| and side (`UP` or `DOWN`) -> (N, 9) factors on the helicity terms."""
EventWeights = Callable[[BosonEvents, int], FloatArray]
"""events and side -> (N,)."""

SMALLEST_RATIO: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One uncertainty, before symmetrisation.

    name       : of the nuisance, or the stem of a pair's names
    group      : in which its impact is counted
    terms      : factors on helicity terms, or None
    events     : weights of whole events, or None; exactly one of the two is given
    samples    : those it acts on
    symmetrise : how its sides become nuisances
    scale      : factor on the log-ratios, as 1/1.645 for sides at 90 %
    """

    name: str
    group: str
    terms: TermWeights | None = None
    events: EventWeights | None = None
    samples: tuple[str, ...] = SAMPLES
    symmetrise: Symmetrise = "mirror"
    scale: float = 1.0

    def __post_init__(self) -> None:
        if (self.terms is None) == (self.events is None):
            raise ValueError(f"variation '{self.name}' needs either weights of terms or weights of events")
        if self.symmetrise not in get_args(Symmetrise):
            raise ValueError(f"variation '{self.name}' has symmetrise = '{self.symmetrise}'")

    @property
    def nuisances(self) -> tuple[str, ...]:
        """Names of what it becomes."""
        return nuisance_names(self.name, self.symmetrise)

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides that must be filled."""
        return (UP,) if self.symmetrise == "mirror" else (UP, DOWN)

    def weight(self, events: BosonEvents, side: int) -> FloatArray:
        """Weight of each event, (N,); 1 for samples that it does not act on."""
        if events.sample not in self.samples:
            return np.ones(len(events))
        if self.events is not None:
            return self.events(events, side)
        assert self.terms is not None
        factors = self.terms(events.sample, events.pt, np.abs(events.rapidity), side)
        result: FloatArray = (events.shares * factors).sum(axis=1)
        return result


def nuisance_names(name: str, symmetrise: Symmetrise) -> tuple[str, ...]:
    """Names of the nuisances of a variation."""
    return (f"{name}_avg", f"{name}_diff") if symmetrise == "pair" else (name,)


def symmetrised(up: FloatArray, down: FloatArray, symmetrise: Symmetrise, scale: float = 1.0) -> tuple[FloatArray, ...]:
    """Symmetric log-ratios of the nuisances, from those of the sides.

    up, down : any shape, ln(varied/nominal); `down` is not looked at for "mirror"
    """
    if symmetrise == "mirror":
        return (scale * up,)
    average = 0.5 * scale * (up - down)
    if symmetrise == "pair":
        return average, 0.5 * np.sqrt(3.0) * scale * (up + down)
    if symmetrise == "larger":
        return (np.sign(average) * scale * np.maximum(np.abs(up), np.abs(down)),)
    return (average,)


def log_ratio(varied: FloatArray, nominal: FloatArray) -> FloatArray:
    """ln(varied/nominal), 0 where the nominal is not above 0, and at least ln(1e-3)."""
    ratio = np.divide(varied, nominal, out=np.ones_like(varied), where=nominal > 0)
    result: FloatArray = np.log(np.maximum(ratio, SMALLEST_RATIO))
    return result


def all_terms(factor: FloatArray) -> FloatArray:
    """(N, 9): the same factor (N,) on every helicity term, a change of the cross section."""
    return np.repeat(factor[:, None], len(TERMS), axis=1)


def one_term(index: int, factor: FloatArray) -> FloatArray:
    """(N, 9): a factor (N,) on A_index, 1 on the other terms."""
    result = np.ones((factor.size, len(TERMS)))
    result[:, 1 + index] = factor
    return result
