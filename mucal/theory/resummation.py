"""Uncertainty of the boson's pT: nuisance parameters of the resummation, nonperturbative model, turn-off and scales.

Weights are exp(theta eps phi(pT, y)) on the cross section.  With L = ln[Q^2/(pT^2 + p0^2)], x = pT/Q, and T(x) falling
from 1 at x = 0.2 to 0 at x = 1, the shapes phi are those of the table in docs/physics/theory.md, less their mean over
the production, so that they keep the rate (except h_qqV).  They stand in for a resummed calculation: names, counts,
correlations and sizes are those of arXiv:2412.13872 and arXiv:2411.18606, the shapes are an ansatz.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.theory.production import POLES, SAMPLES, production
from mucal.theory.variation import UP, Symmetrise, Variation, all_terms

P0: Final = 3.0
"""GeV."""
GROUP: Final = "pt_model"

Shape = Callable[[FloatArray, FloatArray, float], FloatArray]
"""pT (GeV), |y| and Q (GeV) -> phi."""


def turn_off(pt: FloatArray, q: float) -> FloatArray:
    """T: 1 below x = 0.2, 0 above x = 1, a smooth step between."""
    u = np.clip((pt / q - 0.2) / 0.8, 0.0, 1.0)
    result: FloatArray = 1.0 - u * u * (3.0 - 2.0 * u)
    return result


def logarithm(pt: FloatArray, q: float) -> FloatArray:
    """L."""
    result: FloatArray = np.log(q * q / (pt * pt + P0 * P0))
    return result


def _power(n: float) -> Shape:
    return lambda pt, y, q: np.maximum(logarithm(pt, q), 0.0) ** n * turn_off(pt, q)


def _rapidity_log(pt: FloatArray, y: FloatArray, q: float) -> FloatArray:
    # 3.8 is the mean of L over the pT of the W
    result: FloatArray = (logarithm(pt, q) - 3.8) * turn_off(pt, q) * np.exp(-((pt / 15.0) ** 2))
    return result


def _boundary(a: float, b: float, c: float) -> Shape:
    def shape(pt: FloatArray, y: FloatArray, q: float) -> FloatArray:
        result: FloatArray = (pt / 8.0) ** a * np.exp(-pt / b) * turn_off(pt, q) * (1.0 + c * (y * y / 4.0 - 1.0))
        return result

    return shape


def _laguerre(order: int, width: float = 12.0) -> Shape:
    def shape(pt: FloatArray, y: FloatArray, q: float) -> FloatArray:
        u = pt * pt / width
        result: FloatArray = (1.0 - u if order == 1 else 1.0 - 2.0 * u + 0.5 * u * u) * np.exp(-0.5 * u)
        return result

    return shape


_LAMBDA_2: Final = _laguerre(1)
# A kernel of the same width would be the sum of the three Lambda_2; that of the rapidity evolution is narrower in b.
_KERNEL: Final = _laguerre(1, 18.0)

SHAPES: Final[dict[str, tuple[Shape, float]]] = {
    "gamma_cusp": (_power(2.0), 0.002),
    "gamma_mu_q": (_power(1.0), 0.010),
    "gamma_nu": (_rapidity_log, 0.010),
    "h_qqV": (lambda pt, y, q: turn_off(pt, q), 0.010),
    "s": (_power(0.5), 0.006),
    "b_qqV": (_boundary(0.5, 6.0, 0.0), 0.008),
    "b_qqbarV": (_boundary(0.8, 10.0, 0.3), 0.008),
    "b_qqS": (_boundary(1.0, 16.0, -0.3), 0.008),
    "b_qqDS": (_boundary(1.2, 26.0, 0.2), 0.008),
    "b_qg": (_boundary(1.5, 40.0, -0.4), 0.008),
}
"""Name -> shape and size of the ten parameters that W and Z share."""

NONPERTURBATIVE: Final[dict[str, tuple[Shape, float]]] = {
    "lambda2": (_LAMBDA_2, 0.03),
    "lambda4": (_laguerre(2), 0.015),
    "delta_lambda2": (lambda pt, y, q: _LAMBDA_2(pt, y, q) * (0.5 * y * y - 1.0), 0.01),
}
"""Name -> shape and size of what W+, W- and Z have each."""


def pt_variations() -> tuple[Variation, ...]:
    """10 of the resummation, 10 nonperturbative, 4 pairs of transition and scale: 28 nuisances."""
    shared = [_shared(f"resum_{name}", *shape, keep=name == "h_qqV") for name, shape in SHAPES.items()]
    kernel = _shared("np_cs_kernel", lambda pt, y, q: _KERNEL(pt, y, q) * np.log(q / 2) / np.log(91.1876 / 2), 0.03)
    single = [
        _shared(f"np_{name}_{sample}", *shape, samples=(sample,))
        for name, shape in NONPERTURBATIVE.items()
        for sample in SAMPLES
    ]
    pairs = [
        _shared(f"{name}_{boson}", shape, size, samples=samples, symmetrise="pair")
        for name, shape, size in (("transition", _transition, 0.02), ("fixed_order_scale", _fixed_order, 0.03))
        for boson, samples in (("w", ("w_plus", "w_minus")), ("z", ("z",)))
    ]
    return (*shared, kernel, *single, *pairs)


def _transition(pt: FloatArray, y: FloatArray, q: float) -> FloatArray:
    result: FloatArray = np.exp(-(((pt / q - 0.4) / 0.15) ** 2))
    return result


def _fixed_order(pt: FloatArray, y: FloatArray, q: float) -> FloatArray:
    result: FloatArray = np.tanh(np.maximum(pt - 20.0, 0.0) / 10.0) * np.clip((pt - 20.0) / 20.0, 0.0, 1.0)
    return result


def _shared(
    name: str, shape: Shape, size: float, *, samples: tuple[str, ...] = SAMPLES, keep: bool = False,
    symmetrise: Symmetrise = "average",
) -> Variation:  # fmt: skip
    """A variation exp(+-size phi); the lower side of a pair is smaller by a fifth."""
    mean = lru_cache(lambda sample: 0.0 if keep else _mean(shape, sample))

    def terms(sample: str, pt: FloatArray, y: FloatArray, side: int) -> FloatArray:
        step = size * (1.0 if side == UP else -0.8 if symmetrise == "pair" else -1.0)
        return all_terms(np.exp(step * (shape(pt, y, POLES[sample][0]) - mean(sample))))

    return Variation(name=name, group=GROUP, terms=terms, samples=samples, symmetrise=symmetrise)


def _mean(shape: Shape, sample: str) -> float:
    """Of phi over the production: the middles of 64 x 32 equally probable cells of pT and |y|."""
    made = production(sample)
    cells = np.linspace(0, made.pts.size - 1, 129).astype(int)[1::2]
    pt, y = (a.ravel() for a in np.meshgrid(made.pts[cells], made.rapidities[cells[::2]]))
    return float(np.mean(shape(pt * (1.0 - 0.02 * (y * y - 1.5)), y, POLES[sample][0])))
