"""How HistFactory goes between the templates at -1, 0 and +1, and how far that is from what our likelihood does.

Ours is exp(kappa x + eta x alpha(x)) for factors and kappa x + eta x alpha(x) for events, where alpha goes smoothly
from -1 to 1 over |x| < 1/2.  Code 1 has a kink at 0 instead; codes 4 and 4p are polynomials over |x| < 1.  All agree
for effects with eta = 0 (code 4 to seventh order in kappa), and outside the smooth region for any.  combine's lnN is
ours, and its vertical morphing of templates is code 4p.

Source: Cranmer et al., HistFactory, CERN-OPEN-2012-016; codes as numbered by pyhf.
"""

from typing import Final, Literal

import numpy as np

from mucal.arrays import FloatArray

NormCode = Literal["code1", "code4", "lnN"]
HistoCode = Literal["code0", "code4p"]

OUR_WIDTH: Final = 0.5
"""Of the smooth region of our likelihood."""
_X: Final = np.linspace(-1.0, 1.0, 401)


def bent(x: FloatArray, width: float) -> FloatArray:
    """x alpha(x): |x| outside (-width, width), inside a polynomial with two continuous derivatives."""
    u = np.clip(x / width, -1.0, 1.0)
    result: FloatArray = x * u * (3 * u**4 - 10 * u**2 + 15) / 8
    return result


def norm_factor(x: FloatArray, high: float, low: float, code: NormCode) -> FloatArray:
    """The factor of a normalisation by code 1 or 4, from its values at +1 and -1."""
    outside: FloatArray = np.where(x >= 0, high ** np.abs(x), low ** np.abs(x))
    if code == "code1":
        return outside
    powers = np.arange(1, 7)
    rows, right = [], []
    for side, value in ((1.0, high), (-1.0, low)):
        rows += [side**powers, powers * side ** (powers - 1.0), powers * (powers - 1) * side ** (powers - 2.0)]
        right += [value - 1.0, side * value * np.log(value), value * np.log(value) ** 2]
    inside = 1.0 + (np.abs(x)[:, None] < 1) * x[:, None] ** powers @ np.linalg.solve(np.array(rows), np.array(right))
    result: FloatArray = np.where(np.abs(x) < 1, inside, outside)
    return result


def norm_difference(high: float, low: float, code: NormCode) -> float:
    """The largest relative difference between the code's factor and ours, over all values of the parameter."""
    if code == "lnN":
        return 0.0
    up, down = np.log(high), np.log(low)
    ours = np.exp(0.5 * (up - down) * _X + 0.5 * (up + down) * bent(_X, OUR_WIDTH))
    return float(np.abs(norm_factor(_X, high, low, code) / ours - 1.0).max())


def histo_difference(eta: FloatArray, nominal: FloatArray, code: HistoCode) -> float:
    """The largest difference between the code's events and ours, relative to the nominal events of the bin.

    eta, nominal : (B,)  half the sum of the events up and down less the nominal; nominal events
    """
    if not np.any(eta):
        return 0.0
    other = np.abs(_X) if code == "code0" else bent(_X, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(eta == 0, 0.0, np.abs(eta) / nominal)
    return float(np.abs(other - bent(_X, OUR_WIDTH)).max() * relative.max())
