"""Which elements a helix crosses, in order."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.detector.navigation.index import NavigationIndex
from mucal.detector.navigation.kernels import crossings as kernels
from mucal.errors import StatusEnum
from mucal.store import Result
from mucal.units import CURVATURE


class NavigationStatus(StatusEnum):
    """How the way of one track ended; every member carries a sentence."""

    OK = 0, "the track left the tracker"
    LOOPER = 1, "the track made half a turn inside the tracker; what it crossed until then is kept"
    NON_FINITE = 2, "start, direction or momentum are not finite; nothing was crossed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossings(Result):
    """The K crossings of N tracks with modules and passive surfaces, ordered along each track.

    offsets : (N+1,)     crossings offsets[i] .. offsets[i+1] belong to track i
    element : (K,)       0 .. M-1 modules, M .. M+P-1 passive surfaces
    path    : (K,) cm    from the start of the track
    u, v    : (K,) cm    where on the module; NaN on passive surfaces
    cosine  : (K,)       of the angle to the normal; the material crossed is that at normal incidence over it
    status  : (N,)       `NavigationStatus`
    """

    offsets: IntArray
    element: IntArray
    path: FloatArray
    u: FloatArray
    v: FloatArray
    cosine: FloatArray
    status: IntArray

    def __post_init__(self) -> None:
        k, n = self.element.size, self.offsets.size - 1
        check_shapes(self, path=(k,), u=(k,), v=(k,), cosine=(k,), status=(n,))

    @property
    def n_tracks(self) -> int:
        """N."""
        return int(self.offsets.size) - 1

    @property
    def track(self) -> IntArray:
        """(K,) number of the track that each crossing belongs to"""
        return np.repeat(np.arange(self.n_tracks), np.diff(self.offsets))

    @property
    def on_module(self) -> BoolArray:
        """(K,) whether the crossing is one of a module"""
        return np.isfinite(self.u)

    def sum_over_tracks(self, values: FloatArray) -> FloatArray:
        """(N,) sum of one number per crossing over each track: (K,) -> (N,)"""
        return np.bincount(self.track, weights=values, minlength=self.n_tracks).astype(np.float64)


def cross(
    index: NavigationIndex,
    position: FloatArray,
    direction: FloatArray,
    qop: FloatArray,
    bz: float,
    *,
    slack: float = 0.0,
    spread: FloatArray | None = None,
) -> Crossings:
    """Everything that helices cross within their first half turn, in order.

    A helix is exact in the uniform field (0, 0, bz).  For a track in the true field it is a guess: `slack` and `spread`
    widen modules and passive surfaces so that none is missed; the crossing is then confirmed by whoever follows the
    track exactly.

    index     :                   of the detector
    position  : (N, 3) cm         where the tracks start
    direction : (N, 3)            of any length but zero
    qop       : (N,) e/GeV        signed inverse momentum; 0 is a straight line
    bz        : T
    slack     : cm                added to the half widths of every module
    spread    : (N,)              how far the true path may leave the helix, across it, over the path: that is added
                                  too, over the cosine of the slant; None: 0

    Raises ValueError for shapes that do not fit, a negative slack or spread; a track that is not finite has its own
    status.
    """
    position, direction = (np.ascontiguousarray(a, dtype=np.float64) for a in (position, direction))
    qop = np.ascontiguousarray(qop, dtype=np.float64)
    n = qop.size
    wider = np.zeros(n) if spread is None else np.ascontiguousarray(spread, dtype=np.float64)
    for name, array, shape in (
        ("position", position, (n, 3)),
        ("direction", direction, (n, 3)),
        ("qop", qop, (n,)),
        ("spread", wider, (n,)),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} has shape {array.shape}, expected {shape}")
    if not slack >= 0.0 or np.any(wider < 0.0):
        raise ValueError(f"slack = {slack} cm, spread from {wider.min(initial=0.0)}; expected 0 or more")
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    offsets, element, values, status = kernels.cross(
        np.concatenate([position, unit], axis=1), CURVATURE * bz * qop, float(slack), wider, index.envelope,
        index.boxes, index.grids, index.spans, index.bins, index.entries, index.modules, index.sheets, index.ranges,
        index.rows,
    )  # fmt: skip
    path, u, v, cosine = np.ascontiguousarray(values.T)
    return Crossings(offsets=offsets, element=element, path=path, u=u, v=v, cosine=cosine, status=status)
