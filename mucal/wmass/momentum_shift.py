"""What every muon's momentum does to a fitted W mass, to first order: the moment of the pT spectrum's score.

With u = d ln f / d m of an event (of its boson mass m*, which is generated) and s(pT) = <u | pT> a smooth curve, the
mean of s over muons moves by cov(s, u) for a mass higher by 1.  So a change of momenta pT -> pT' is taken for

    dm = [<s(pT')> - <s(pT)>] / cov(s, u),

which is what a maximum-likelihood fit of the spectrum's shape gives to first order in the change, its rate left free
and muons outside `RANGE`, where s is constant, counted.  Errors of a calibration are propagated with its derivative;
the mass itself is fitted (`muon_spectrum`).  Derived in docs/physics/wmass.md.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.interpolate import BSpline, make_lsq_spline

from mucal.arrays import FloatArray, check_shapes
from mucal.numerics import normal
from mucal.store import Result
from mucal.theory.lineshape import breit_wigner_running

RANGE: Final = (26.0, 56.0)
"""GeV"""
KNOTS: Final = np.linspace(30.0, 52.0, 12)
STEP: Final = 0.01
"""GeV, of the difference quotient in the mass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PtScore(Result):
    """s(pT) as a cubic spline, and how its mean moves with the mass.

    knots, coefficients : of the spline, 1/GeV against GeV
    response            : cov(s, u), 1/GeV^2
    """

    knots: FloatArray
    coefficients: FloatArray
    response: float

    def __post_init__(self) -> None:
        check_shapes(self, coefficients=(self.knots.size - 4,))

    def at(self, pt: FloatArray, derivative: int = 0) -> FloatArray:
        """s or its derivative by pT, (N,) for (N,) GeV; constant outside `RANGE`."""
        curve = BSpline(self.knots, self.coefficients, 3)
        inside = np.clip(pt, *RANGE)
        found: FloatArray = curve(inside, derivative)
        return np.where(pt == inside, found, 0.0) if derivative else found


def pt_score(pt: FloatArray, boson_mass: FloatArray, peak: float, width: float, *, resolution: float = 0.0) -> PtScore:
    """The score of a spectrum.

    pt, boson_mass : (N,) GeV  generated, after radiation and before
    peak, width    : GeV  of the running-width shape that the masses were drawn from
    resolution     : relative, of 1/pT: the spectrum is smeared with it
    """
    line = [np.log(breit_wigner_running(boson_mass, peak + step, width)) for step in (STEP, -STEP)]
    u = (line[0] - line[1]) / (2.0 * STEP)
    u = u - u.mean()
    keys = np.arange(pt.size, dtype=np.int64)
    seen = pt / (1.0 + resolution * normal(1, "momentum_shift", keys))
    use = (seen > RANGE[0]) & (seen < RANGE[1])
    order = np.argsort(seen[use], kind="stable")
    knots = np.concatenate([np.full(4, RANGE[0]), KNOTS, np.full(4, RANGE[1])])
    curve = make_lsq_spline(seen[use][order], u[use][order], knots, 3)
    bare = PtScore(knots=knots, coefficients=np.asarray(curve.c), response=1.0)
    s = bare.at(seen)
    return PtScore(knots=knots, coefficients=bare.coefficients, response=float(np.mean((s - s.mean()) * u)))


def curvature_weights(score: PtScore, pt: FloatArray) -> FloatArray:
    """(N,) GeV: d dm / d (delta k / k) of each muon; their sum is the shift by a common relative change."""
    weights: FloatArray = -pt * score.at(pt, 1) / (score.response * pt.size)
    return weights
