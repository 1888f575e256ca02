"""Which global parameter each derivative of a track belongs to, and the derivatives of many tracks, profiled."""

from dataclasses import dataclass, field

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.store import Result

UNUSED = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterMap(Result):
    """Where the derivatives of a track go among P global parameters; -1 where nothing is floated.

    Several entries may name one parameter: their derivatives are added.  E = M + P_passive elements of the detector.

    n_parameters :          P
    digest       :          of the registry that made the map; sums of other maps are refused
    alignment    : (M, 6)   displacement and rotation of a module, in the order of `detector.ALIGNMENT`
    bfield       : (E, 3)   offset of B_x, B_y, B_z on the leg that ends on the element (from the vertex on the first)
    eloss        : (E,)     ln of the mean ionisation loss in the element's thin material
    modes        : (F,)     amplitude of each harmonic mode of the field
    hit_variance : (M, 2)   ln of the variance of the element's u and v measurement
    scattering   : (E,)     ln of the variance of multiple scattering in the element
    straggling   : (E,)     ln of the variance of the energy loss in the element
    mass         : (1,)     GeV, true less assumed mean mass of constrained pairs; above all others
    """

    n_parameters: int
    digest: str
    alignment: IntArray
    bfield: IntArray
    eloss: IntArray
    modes: IntArray
    hit_variance: IntArray
    scattering: IntArray
    straggling: IntArray
    mass: IntArray = field(default_factory=lambda: np.full(1, UNUSED, dtype=np.int64))

    def __post_init__(self) -> None:
        m, e, f = self.alignment.shape[0], self.eloss.size, self.modes.size
        check_shapes(self, alignment=(m, 6), bfield=(e, 3), eloss=(e,), modes=(f,), hit_variance=(m, 2))
        check_shapes(self, scattering=(e,), straggling=(e,), mass=(1,))
        for name in ("alignment", "bfield", "eloss", "modes", "hit_variance", "scattering", "straggling", "mass"):
            index = getattr(self, name)
            if index.size and not (index.min() >= UNUSED and index.max() < self.n_parameters):
                raise ValueError(
                    f"ParameterMap.{name} names parameter {index.max() if index.max() > 0 else index.min()}; "
                    f"there are {self.n_parameters}, and -1 is none"
                )
            if self.mass[0] >= 0 and name != "mass" and index.size and index.max() >= self.mass[0]:
                raise ValueError(f"ParameterMap.{name} names parameter {index.max()}, above that of the mean mass")

    @property
    def floats_variances(self) -> bool:
        """Whether any variance floats."""
        return any(bool(np.any(part >= 0)) for part in (self.hit_variance, self.scattering, self.straggling))

    @property
    def floats_means(self) -> bool:
        """Whether any mean floats."""
        return any(bool(np.any(part >= 0)) for part in (self.alignment, self.bfield, self.eloss, self.modes, self.mass))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledBlocks(Result):
    """What C candidates (tracks or pairs) say of the global parameters, with their own parameters profiled out.

    With chi2(theta) = chi2 + g.theta + theta.H theta / 2 of each candidate, H = B^T B.  Factors of 2 are inside:
    g = -2 J^T P r, B = sqrt(2) L^T J with P = L L^T, so that the solution is -H^-1 g and its covariance 2 H^-1.

    digest         :        of the `ParameterMap`
    candidate      : (C,)   number of the candidate in its file, for the ledger
    label_offsets  : (C+1,) labels label_offsets[i] .. label_offsets[i+1] belong to candidate i
    label          : (T,)   global parameters, sorted and unique in each candidate
    gradient       : (T,)   g
    n_rows         : (C,)   rows of B
    factor_offsets : (C+1,) where the rows of each B begin
    factor         : (S,)   float32 or float64, B of each candidate, row by row: n_rows x n_labels numbers
    chi2, weight   : (C,)   both g and H are to be multiplied by the weight
    ndof           : (C,)
    """

    digest: str
    candidate: IntArray
    label_offsets: IntArray
    label: IntArray
    gradient: FloatArray
    n_rows: IntArray
    factor_offsets: IntArray
    factor: FloatArray
    chi2: FloatArray
    weight: FloatArray
    ndof: IntArray

    def __post_init__(self) -> None:
        c, t = self.candidate.size, self.label.size
        check_shapes(self, label_offsets=(c + 1,), gradient=(t,), n_rows=(c,), factor_offsets=(c + 1,))
        check_shapes(self, chi2=(c,), weight=(c,), ndof=(c,))
        sizes = self.n_rows * np.diff(self.label_offsets)
        if not np.array_equal(np.diff(self.factor_offsets), sizes) or self.factor.size != self.factor_offsets[-1]:
            raise ValueError("ProfiledBlocks.factor does not hold n_rows x n_labels numbers for every candidate")

    def __len__(self) -> int:
        return int(self.candidate.size)

    def dense_factor(self, i: int) -> FloatArray:
        """B of candidate i: (n_rows, n_labels)."""
        rows = self.factor[self.factor_offsets[i] : self.factor_offsets[i + 1]]
        return rows.reshape(int(self.n_rows[i]), -1).astype(np.float64)
