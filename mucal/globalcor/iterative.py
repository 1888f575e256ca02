"""The system solved without a dense matrix: a sparse factor, or conjugate gradients of two levels."""

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import SuperLU, splu

from mucal.arrays import FloatArray, IntArray
from mucal.errors import NotCertified
from mucal.globalcor.dense import PIVOT
from mucal.globalcor.system import System
from mucal.numerics.blocks import BLOCK
from mucal.numerics.conjugate_gradients import Iterated, conjugate_gradients
from mucal.numerics.two_level import TwoLevel, two_level


@dataclass(frozen=True, slots=True, kw_only=True)
class IterativeSolver:
    """Conjugate gradients on the blocks, in the rows of the matrix; rows that are not free are kept at 0.

    tolerance    : on the relative error in the A-norm
    most         : iterations
    """

    system: System
    precondition: TwoLevel
    tolerance: float
    most: int
    n_threads: int
    log: list[Iterated] = field(default_factory=list)

    def solve(self, right: FloatArray) -> FloatArray:
        """Inside the constraints: (F,) or (F, m).  Raises NotCertified if the iterations do not converge."""
        s = self.system
        columns = right.reshape(s.n, -1)

        def product(y: FloatArray) -> FloatArray:
            return s.inner(y, self.n_threads)

        def precondition(r: FloatArray) -> FloatArray:
            whole = np.zeros((s.matrix.n, r.shape[1]))
            whole[s.slot] = r
            return s.inside.project(self.precondition(whole)[s.slot])

        found = conjugate_gradients(
            product, s.inside.project(columns), precondition, tolerance=self.tolerance, most=self.most
        )
        self.log.append(found)
        if not found.positive or found.iterations >= self.most:
            why = (
                f"after {found.iterations} iterations" if found.positive else "along a direction of negative curvature"
            )
            raise NotCertified(
                f"the conjugate gradients for {s.n} parameters ended {why}, largest relative residual "
                f"{found.residual.max():.2g}",
                kind="globalcor.not_converged",
                do="allow more iterations, or give priors to what no track determines",
            )
        return found.x.reshape(right.shape)


def iterative_solver(
    system: System, *, parts: IntArray, templates: FloatArray, tolerance: float, most: int, n_threads: int
) -> IterativeSolver:
    """The solver of a system.

    parts     : (P,)    the part of the detector and component of each parameter, for the coarse level; -1 is none
    templates : (P, k)  known weak modes, in the units of the parameters
    """
    s = system
    whole_scale = np.zeros(s.matrix.n)
    whole_scale[s.slot] = s.scale
    blocks = _diagonal_blocks(s, whole_scale)
    part = np.full(s.matrix.n, -1, dtype=np.int64)
    kinds, number = np.unique(parts[s.free], return_inverse=True)
    number = number.ravel() - int(kinds.size > 0 and kinds[0] < 0)
    part[s.slot] = number
    n_parts = int(number.max(initial=-1)) + 1
    coarse = s.matrix.aggregate(whole_scale, part, n_parts)
    inside = number >= 0
    coarse[np.diag_indices_from(coarse)] += np.bincount(number[inside], s.ridge[inside], minlength=n_parts)
    z = sp.csr_array((np.ones(inside.sum()), (number[inside], np.flatnonzero(inside))), shape=(n_parts, s.n))
    sums = np.asarray(z @ s.rows.T)
    coarse += sums @ sums.T
    white = templates[s.free] / s.scale[:, None]
    length = np.linalg.norm(white, axis=0)
    white = white[:, length > 0] / length[length > 0]
    columns, image = np.zeros((s.matrix.n, white.shape[1])), np.zeros((s.matrix.n, white.shape[1]))
    if white.size:
        columns[s.slot], image[s.slot] = white, s.product(white, n_threads)
    level = two_level(blocks, part, coarse, columns, image)
    return IterativeSolver(system=s, precondition=level, tolerance=tolerance, most=most, n_threads=n_threads)


def _diagonal_blocks(s: System, whole_scale: FloatArray) -> FloatArray:
    """(G, BLOCK, BLOCK) of A; 1 on the diagonal of rows that are not free"""
    scale = whole_scale.reshape(-1, BLOCK)
    blocks = s.matrix.diagonal_blocks() + s.total.kept.diagonal_blocks(s.matrix.n // BLOCK)
    blocks *= scale[:, :, None] * scale[:, None, :]
    ridge = np.ones(s.matrix.n)
    ridge[s.slot] = s.ridge
    rows = np.zeros((s.rows.shape[0], s.matrix.n))
    rows[:, s.slot] = s.rows
    each = rows.reshape(-1, scale.shape[0], BLOCK)
    blocks += np.einsum("rga,rgb->gab", each, each)
    blocks[:, np.arange(BLOCK), np.arange(BLOCK)] += ridge.reshape(-1, BLOCK)
    result: FloatArray = blocks
    return result


def conditional_errors(system: System) -> FloatArray:
    """(F,) the errors if the parameters of other blocks were known: at most the true errors, in whitened units"""
    whole_scale = np.zeros(system.matrix.n)
    whole_scale[system.slot] = system.scale
    inverse = np.linalg.inv(_diagonal_blocks(system, whole_scale))
    errors: FloatArray = np.sqrt(2.0 * np.einsum("gaa->ga", inverse).ravel()[system.slot])
    return errors


def detector_parts(system: System) -> IntArray:
    """(P,) for the coarse level: parameters of one kind and component whose names share the first place, as TOB-L3

    Parameters of a whole subdetector and modes of the field are parts of their own.
    """
    registry = system.registry
    keys: dict[tuple[int, int, str], int] = {}
    parts = np.empty(len(registry), dtype=np.int64)
    for i, name in enumerate(registry.names):
        place = name.split("/")
        region = place[1] if len(place) > 3 else name
        key = (int(registry.kind[i]), int(registry.component[i]), region)
        parts[i] = keys.setdefault(key, len(keys))
    return parts


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseFactor:
    """L U of A, for matrices with few blocks; without constraints or measurements."""

    system: System
    lu: SuperLU

    def solve(self, right: FloatArray) -> FloatArray:
        """(F,) or (F, m)."""
        x: FloatArray = self.lu.solve(np.ascontiguousarray(right))
        return x


def sparse_factor(system: System) -> SparseFactor:
    """The factor of a system.  Raises NotCertified if A is not positive definite."""
    a = sparse_matrix(system)
    lu = splu(a, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    column = np.argsort(lu.perm_c)  # of A, for each column of U
    pivots = lu.U.diagonal() / a.diagonal()[column]
    if not np.all(pivots > PIVOT):
        first = int(np.argmin(pivots > PIVOT))  # what comes after a failed pivot means nothing
        at = int(column[first])
        raise NotCertified(
            f"the Hessian of {system.n} parameters is not positive definite: relative pivot {pivots[first]:.2g} at "
            f"{system.names[at]}",
            kind="globalcor.singular",
            do="give a prior, a constraint or a measurement to what no track determines, or fix it",
        )
    return SparseFactor(system=system, lu=lu)


def sparse_matrix(system: System) -> sp.csc_array:
    """A as a sparse matrix."""
    m, g = system.matrix, system.matrix.n // BLOCK
    upper = sp.bsr_array((m.values, m.col, m.row_offsets), shape=(g * BLOCK, g * BLOCK)).tocsr()
    diagonal = sp.triu(upper, 0)
    whole = (diagonal + sp.triu(upper, 1).T).tocsr()[system.slot][:, system.slot]
    scale = sp.diags_array(system.scale)
    return sp.csc_array(scale @ whole @ scale + sp.diags_array(system.ridge))


def share_of_blocks(system: System) -> float:
    """Stored blocks over those of a full matrix."""
    g = system.matrix.n // BLOCK
    return system.matrix.n_blocks / max(1.0, 0.5 * g * (g + 1))
