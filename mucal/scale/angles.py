"""Biases of the measured directions, watched beside A, e and M: seven parameters in each bin of eta.

    k'   = k (1 + A - e k) + q M          as in `scale`
    lambda' = lambda + M_lambda                                       at fixed k and phi
    phi' = phi + q (A_phi k - e_phi k^2) + M_phi

A pair mass answers to lambda through sinh(eta1 - eta2) and to phi through sin(phi1 - phi2), which is as often positive
as negative: pairs are therefore split by the sign of phi+ - phi-.  A rotation of everything by one angle, and M_phi
within one bin, move no mass; wide priors keep such combinations at zero.  A and e of a J/psi that has an angular bias
are wrong and do not carry over to a Z: the fit says whether there is one, it is not applied.
Derived in docs/physics/scale.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from scipy.special import chdtrc

from mucal.arrays import FloatArray, check_shapes, same_edges
from mucal.massfit.bins import Binning, MassHistograms, fill, matching_rows, place
from mucal.massfit.fits import MassFits
from mucal.scale.least_squares import normal_equations, parameter_names, solve_certified
from mucal.scale.system import ScaleSystem, build_system
from mucal.store import Result
from mucal.track import Dimuons, angular_response

PARAMETERS: Final = ("A", "e", "M", "M_lambda", "A_phi", "e_phi", "M_phi")
PRIORS: Final[Mapping[str, float]] = MappingProxyType({"M_lambda": 1e-3, "A_phi": 1e-2, "e_phi": 5e-2, "M_phi": 1e-3})
"""Widths in rad, rad GeV, rad GeV^2, rad: far above any bias, so that only what no mass sees is held by them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AngularHistograms:
    """Mass histograms of pairs with one sign of phi+ - phi-, and what the angular terms average over.

    histograms : B bins
    slopes     : (B, 2, 4)  mean over events, for PLUS and MINUS, of d ln m/d lambda and of d ln m/d phi times
                            q k, q k^2 and 1
    """

    histograms: MassHistograms
    slopes: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, slopes=(self.histograms.n_bins, 2, 4))

    def __add__(self, other: "AngularHistograms") -> "AngularHistograms":
        """Of both samples together."""
        total = self.histograms + other.histograms
        sums = np.zeros((total.n_bins, 2, 4))
        for part in (self, other):
            sums[matching_rows(part.histograms, total)] += part.slopes * part.histograms.n_events[:, None, None]
        return AngularHistograms(histograms=total, slopes=sums / total.n_events[:, None, None])


@dataclass(frozen=True, slots=True, kw_only=True)
class AngularBiases(Result):
    """Seven parameters in B bins of eta.

    eta_edges : (B+1,)
    values    : (7, B)    in the order of `PARAMETERS`: -, GeV, 1/GeV, rad, rad GeV, rad GeV^2, rad
    cov       : (7B, 7B)  each parameter over all bins
    chi2, ndf :           of the seven-parameter fit
    drop      :           by how much chi2 falls against A, e and M alone
    n_angular :           independent angular combinations that the masses know
    p_value   :           of a fall as large without any angular bias
    plain     : (3, B)    A, e and M without angular terms
    """

    eta_edges: FloatArray
    values: FloatArray
    cov: FloatArray
    chi2: float
    ndf: int
    drop: float
    n_angular: int
    p_value: float
    plain: FloatArray

    def __post_init__(self) -> None:
        b = self.eta_edges.size - 1
        check_shapes(self, values=(7, b), cov=(7 * b, 7 * b), plain=(3, b))

    @property
    def error(self) -> FloatArray:
        """(7, B) standard errors; close to the prior's width where the masses say nothing"""
        result: FloatArray = np.sqrt(np.diag(self.cov)).reshape(7, -1)
        return result

    def summary(self) -> list[str]:
        """Whether there is an angular bias, and what it does to A, e and M."""
        moved = np.max(np.abs(self.values[:3] - self.plain) / self.error[:3])
        return [
            f"angular biases: chi2 falls by {self.drop:.1f} for {self.n_angular} combinations "
            f"(p = {self.p_value:.3g}); with them A, e, M move by up to {moved:.2f} errors"
        ]


def fill_by_side(pairs: Dimuons, binning: Binning) -> tuple[AngularHistograms, AngularHistograms]:
    """Histograms of the pairs with phi+ - phi- above zero and below it, angles wrapped to (-pi, pi]."""
    side = np.sin(pairs.phi[:, 0] - pairs.phi[:, 1]) > 0
    above, below = (_filled(pairs.select(keep), binning) for keep in (side, ~side))
    return above, below


def watch_angles(
    sides: Sequence[tuple[MassFits, MassFits | None, FloatArray]], *, min_events: float = 0.0,
    priors: Mapping[str, float] = PRIORS,
) -> AngularBiases:  # fmt: skip
    """The seven parameters from mass fits of both sides.

    sides      : for each, fits of data, of simulation in the same bins (or None), `AngularHistograms.slopes` of data
    min_events : data events below which a bin is left out
    priors     : parameter -> width of its Gaussian prior about 0

    Raises ValueError for sides in different eta bins, or bins of |eta|, where the sign of an angle has no meaning.
    """
    first = sides[0][0].histograms
    for fits, _, _ in sides:
        if fits.histograms.abs_eta or not same_edges(fits.histograms.eta_edges, first.eta_edges):
            raise ValueError("the sides are binned in |eta| or differently; fill both with one binning in signed eta")
    systems = [build_system(data, simulation, min_events=min_events, smoothed=True)[0] for data, simulation, _ in sides]
    slopes = [side[2][system.rows] for side, system in zip(sides, systems, strict=True)]
    n = first.eta_edges.size - 1
    seven, cov, chi2 = _solved(systems, slopes, n, 7, priors, first.eta_edges)
    plain, _, chi2_plain = _solved(systems, slopes, n, 3, priors, first.eta_edges)
    known = _known(cov, n, priors)
    drop = chi2_plain - chi2
    return AngularBiases(
        eta_edges=first.eta_edges, values=seven.reshape(7, n), cov=cov, chi2=chi2,
        ndf=sum(system.y.size for system in systems) - 3 * n - known, drop=drop, n_angular=known,
        p_value=float(chdtrc(known, max(drop, 0.0))), plain=plain.reshape(3, n),
    )  # fmt: skip


def _filled(pairs: Dimuons, binning: Binning) -> AngularHistograms:
    placed = place(pairs, binning)
    by_lambda, by_phi = angular_response(pairs.pt, pairs.eta, pairs.phi)
    k = 1.0 / pairs.pt
    terms = np.stack([by_lambda, pairs.charge * k * by_phi, pairs.charge * k**2 * by_phi, by_phi], axis=2)
    flat = terms[placed.inside].reshape(placed.row.size, 8)
    b = placed.index.shape[0]
    sums = np.stack([np.bincount(placed.row, weights=column, minlength=b) for column in flat.T], axis=1)
    events = np.bincount(placed.row, minlength=b)[:, None]
    return AngularHistograms(histograms=fill(pairs, binning), slopes=(sums / events).reshape(b, 2, 4))


def _solved(
    systems: Sequence[ScaleSystem], slopes: Sequence[FloatArray], n: int, n_symbols: int, priors: Mapping[str, float],
    edges: FloatArray,
) -> tuple[FloatArray, FloatArray, float]:  # fmt: skip
    """Parameters (n_symbols n,), covariance and chi2, from the linear equations."""
    x, columns = [], []
    for system, slope in zip(systems, slopes, strict=True):
        curvature = system.weight[:, :, None] * system.terms
        angular = -2.0 * slope * np.array([1.0, 1.0, -1.0, 1.0])
        both = np.concatenate([curvature, angular], axis=2)[:, :, :n_symbols]
        x.append(both.reshape(-1, 2 * n_symbols))
        columns.append((system.eta_bin[:, :, None] + n * np.arange(n_symbols)).reshape(-1, 2 * n_symbols))
    y, variance = (np.concatenate([getattr(system, name) for system in systems]) for name in ("y", "variance"))
    names = PARAMETERS[:n_symbols]
    matrix, moment = normal_equations(np.concatenate(x), np.concatenate(columns), 1.0 / variance, y, n_symbols * n)
    matrix += np.diag(np.repeat([priors.get(name, np.inf) ** -2.0 for name in names], n))
    found, cov = solve_certified(matrix, moment, parameter_names(names, edges))
    predicted = (np.concatenate(x) * found[np.concatenate(columns)]).sum(axis=1)
    return found, cov, float(np.sum((y - predicted) ** 2 / variance))


def _known(cov: FloatArray, n: int, priors: Mapping[str, float]) -> int:
    """Angular combinations whose variance is less than half that of the priors."""
    width = np.repeat([priors[name] for name in PARAMETERS[3:]], n)
    scaled = cov[3 * n :, 3 * n :] / np.outer(width, width)
    return int(np.sum(np.linalg.eigvalsh(scaled) < 0.5))
