"""Parton densities on a grid in x and Q, interpolated as the LHAPDF library does, and sets of them with errors.

Between knots the momentum density is a bicubic Hermite polynomial in ln x and ln Q^2.  Its slope at a knot is the mean
of those of the chords on both sides, at the ends that of the one chord; the same in ln Q^2, within a subgrid, since
densities kink where a heavy quark sets in.  Source: A. Buckley et al., LHAPDF6, arXiv:1412.7420, section 3.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_edges, check_shapes
from mucal.errors import InputError
from mucal.store import Result
from mucal.theory.pdf_variations import GROUP, density_ratios
from mucal.theory.production import POLES, Density
from mucal.theory.variation import UP, Symmetrise, Variation, all_terms

ErrorType = Literal["hessian", "symmhessian", "replicas"]

FLAVOURS: Final = {
    "d": 1, "u": 2, "s": 3, "c": 4, "dbar": -1, "ubar": -2, "sbar": -3, "cbar": -4,
}  # fmt: skip
"""Our names and the numbers of the Particle Data Group."""
TO_68: Final = {68: 1.0, 90: 1 / 1.645, 95: 1 / 1.96}
"""Confidence level (%) of the members -> factor on their shifts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgrid(Result):
    """Momentum densities x f between two thresholds.

    x        : (K,)  strictly increasing
    q        : (L,) GeV  strictly increasing
    flavours : (F,)  numbers of the Particle Data Group
    values   : (K, L, F)
    """

    x: FloatArray
    q: FloatArray
    flavours: IntArray
    values: FloatArray

    def __post_init__(self) -> None:
        check_edges("Subgrid.x", self.x)
        check_edges("Subgrid.q", self.q)
        check_shapes(self, values=(self.x.size, self.q.size, self.flavours.size))


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfGrid(Result):
    """One member of a set: subgrids in rising Q that share their edges."""

    subgrids: tuple[Subgrid, ...]

    def momentum_density(self, flavour: str, x: FloatArray, q: float) -> FloatArray:
        """x f(x, Q) of one flavour ("u", "dbar", ...), any shape; 0 at and beyond x = 1.

        q : GeV

        Raises KeyError for an unknown flavour, InputError for an x or Q outside the grid: no extrapolation.
        """
        grid = self._at(q)
        at = np.flatnonzero(grid.flavours == FLAVOURS[flavour])
        x = np.asarray(x, dtype=float)
        if not at.size:
            return np.zeros(x.shape)
        below = x < grid.x[0] * (1 - 1e-12)
        if below.any():
            raise InputError(
                f"x = {float(x[below].min()):.3g} lies below the grid, which starts at {grid.x[0]:.3g}",
                kind="theory.pdf_range",
            )
        table = _in_q(grid.values[:, :, at[0]], np.log(grid.q**2), float(np.log(q * q)))
        inside = x < 1.0
        return np.where(inside, _in_x(table, np.log(grid.x), np.log(np.where(inside, x, grid.x[-1]))), 0.0)

    def density(self, q: float) -> Density:
        """The densities at one scale (GeV), as `theory.production` takes them."""
        return lambda flavour, x: self.momentum_density(flavour, x, q)

    def _at(self, q: float) -> Subgrid:
        for grid in self.subgrids:
            if grid.q[0] <= q <= grid.q[-1]:
                return grid
        low, high = self.subgrids[0].q[0], self.subgrids[-1].q[-1]
        raise InputError(f"Q = {q:g} GeV lies outside the grid, {low:g} to {high:g} GeV", kind="theory.pdf_range")


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfSet(Result):
    """A central member and those that span the uncertainty.

    name       : of the set
    members    : the central one first
    error_type : "hessian": pairs up, down; "symmhessian": one an eigenvector; "replicas": draws
    confidence : % of the members' shifts: 68, 90 or 95
    """

    name: str
    members: tuple[PdfGrid, ...]
    error_type: ErrorType
    confidence: int

    def __post_init__(self) -> None:
        n = len(self.members) - 1
        if self.confidence not in TO_68 or n < 0 or (self.error_type == "hessian" and n % 2):
            raise InputError(
                f"the set '{self.name}' has {n} members beside the central one, of type {self.error_type} at "
                f"{self.confidence} %; expected pairs for hessian, and 68, 90 or 95 %",
                kind="theory.pdf_set",
            )

    def density(self, sample: str) -> Density:
        """The central densities at the mass of a boson."""
        return self.members[0].density(POLES[sample][0])

    def variations(self) -> tuple[Variation, ...]:
        """The uncertainties of the set as theory nuisances.

        Raises InputError for replicas, whose mean square is no list of nuisances.
        """
        if self.error_type == "replicas":
            raise InputError(
                f"the set '{self.name}' consists of replicas, which are draws and no directions",
                kind="theory.pdf_replicas",
                do="use the Hessian version of the set",
            )
        pairs = self.error_type == "hessian"
        step = 2 if pairs else 1
        n = (len(self.members) - 1) // step
        return tuple(self._variation(k, 1 + step * k, pairs) for k in range(n))

    def _variation(self, k: int, first: int, pairs: bool) -> Variation:
        kind: Symmetrise = "pair" if pairs else "mirror"
        cache: dict[tuple[str, int], tuple[FloatArray, FloatArray, FloatArray]] = {}

        def terms(sample: str, pt: FloatArray, y: FloatArray, side: int) -> FloatArray:
            """Factors of rate and asymmetry of a member of the set, kept by sample."""
            member = first if side == UP or not pairs else first + 1
            if (sample, member) not in cache:
                q = POLES[sample][0]
                cache[sample, member] = density_ratios(sample, self.members[member].density(q), self.density(sample))
            at, rate, forward = cache[sample, member]
            result = all_terms(np.interp(y, at, rate))
            result[:, 5] *= np.interp(y, at, forward)
            return result

        return Variation(name=f"pdf_{k:02d}", group=GROUP, terms=terms, symmetrise=kind, scale=TO_68[self.confidence])


def _slopes(values: FloatArray, at: FloatArray) -> FloatArray:
    """(K, ...) slopes at knots (K,): the mean of both chords, the one chord at an end."""
    chord = np.diff(values, axis=0) / np.diff(at).reshape(-1, *[1] * (values.ndim - 1))
    return np.concatenate([chord[:1], 0.5 * (chord[1:] + chord[:-1]), chord[-1:]])


def _hermite(
    t: FloatArray, width: FloatArray, low: FloatArray, high: FloatArray, slope_low: FloatArray, slope_high: FloatArray
) -> FloatArray:
    """The cubic through two values with two slopes, at the share t of the interval."""
    square, cube = t * t, t * t * t
    result: FloatArray = (
        (2 * cube - 3 * square + 1) * low + (cube - 2 * square + t) * width * slope_low
        + (3 * square - 2 * cube) * high + (cube - square) * width * slope_high
    )  # fmt: skip
    return result


def _in_q(values: FloatArray, knots: FloatArray, at: float) -> FloatArray:
    """(K,) values (K, L) taken to one ln Q^2; as interpolation is linear in the values, this may be done first."""
    if knots.size == 1:
        return np.ascontiguousarray(values[:, 0])
    slopes = _slopes(values.T, knots)
    i = int(np.clip(np.searchsorted(knots, at, side="right") - 1, 0, knots.size - 2))
    width = np.array(knots[i + 1] - knots[i])
    return _hermite(np.array((at - knots[i]) / width), width, values[:, i], values[:, i + 1], slopes[i], slopes[i + 1])


def _in_x(values: FloatArray, knots: FloatArray, at: FloatArray) -> FloatArray:
    """The table (K,) at any ln x."""
    slopes = _slopes(values, knots)
    i = np.clip(np.searchsorted(knots, at, side="right") - 1, 0, knots.size - 2)
    width = knots[i + 1] - knots[i]
    return _hermite((at - knots[i]) / width, width, values[i], values[i + 1], slopes[i], slopes[i + 1])
