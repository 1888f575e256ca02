"""Track states in three coordinate systems, and the derivatives between them.

curvilinear  (q/p, lambda, phi, x_perp, y_perp) about a reference point r, with the axes of the muon's own direction
             T = (cos l cos f, cos l sin f, sin l), U = z x T / |z x T|, V = T x U: r + U x_perp + V y_perp.
             x_perp and y_perp are the impact parameters DXY and DSZ of `track`.
local        (q/p, u' = t_u/t_w, v' = t_v/t_w, u, v) on a surface with axes u, v, w
free         (x, y, z, t_x, t_y, t_z, q/p)

The axes are those of the reference trajectory and stay where they are when derivatives are taken: letting them turn
with a varied parameter would add a rotation of the whole position, as large as the tracker.
"""

from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.propagation.kernels import crossings, layout
from mucal.propagation.kernels.legs import curvature
from mucal.track import DSZ, DXY, LAM, PHI, QOP

U_SLOPE: Final = 1
"""u' = t_u / t_w of a local state; `QOP` comes first in every system."""
V_SLOPE: Final = 2
U_LOCAL: Final = 3
"""cm"""
V_LOCAL: Final = 4
"""cm"""


def curvilinear_axes(direction: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The transverse axes U (horizontal) and V of directions.

    direction : (N, 3)  unit vectors, not along z

    Returns U and V, (N, 3) each.
    """
    t = np.asarray(direction, dtype=np.float64)
    cos_lam = np.hypot(t[..., 0], t[..., 1])
    u = np.stack([-t[..., 1] / cos_lam, t[..., 0] / cos_lam, np.zeros_like(cos_lam)], axis=-1)
    return u, np.cross(t, u)


def free_states(state: FloatArray, reference: FloatArray) -> FloatArray:
    """Position, direction and q/p of curvilinear states.

    state     : (N, 5)  QOP, LAM, PHI, DXY, DSZ
    reference : (N, 3) or (3,) cm

    Returns (N, 7).
    """
    state = np.atleast_2d(np.asarray(state, dtype=np.float64))
    lam, phi = state[:, LAM], state[:, PHI]
    t = np.stack([np.cos(lam) * np.cos(phi), np.cos(lam) * np.sin(phi), np.sin(lam)], axis=-1)
    u, v = curvilinear_axes(t)
    r = np.asarray(reference, dtype=np.float64) + u * state[:, DXY, None] + v * state[:, DSZ, None]
    return np.concatenate([r, t, state[:, QOP, None]], axis=1)


def curvilinear_states(free: FloatArray) -> FloatArray:
    """Curvilinear states about the muons' own positions: (N, 7) -> (N, 5), with DXY = DSZ = 0."""
    free = np.atleast_2d(np.asarray(free, dtype=np.float64))
    t = free[:, 3:6]
    state = np.zeros((free.shape[0], 5))
    state[:, QOP] = free[:, 6]
    state[:, LAM] = np.arctan2(t[:, 2], np.hypot(t[:, 0], t[:, 1]))
    state[:, PHI] = np.arctan2(t[:, 1], t[:, 0])
    return state


def local_by_curvilinear(
    free: FloatArray, rotation: FloatArray, bfield: FloatArray, dqop_ds: FloatArray | float = 0.0
) -> FloatArray:
    """Derivatives H of local by curvilinear coordinates at points of tracks.

    free     : (N, 7)     muons on their surfaces
    rotation : (N, 3, 3)  rows u, v, w of the surfaces
    bfield   : (N, 3) T   there
    dqop_ds  : (N,)       d(q/p)/ds there, 1/(GeV cm), if the muon loses energy

    Returns (N, 5, 5): rows QOP, U_SLOPE, V_SLOPE, U_LOCAL, V_LOCAL.  It holds the bending (and the loss) between the
    surface and the plane across the track.  Source: docs/physics/propagation.md.
    """
    free = np.atleast_2d(np.asarray(free, dtype=np.float64))
    n = free.shape[0]
    rotation = np.broadcast_to(np.asarray(rotation, dtype=np.float64), (n, 3, 3))
    bfield = np.broadcast_to(np.asarray(bfield, dtype=np.float64), (n, 3))
    loss = np.broadcast_to(np.asarray(dqop_ds, dtype=np.float64), (n,))
    result, w = np.empty((n, 5, 5)), np.zeros(layout.SCRATCH)
    for i in range(n):
        w[layout.Y : layout.Y + 7] = free[i]
        w[layout.PLACE_1 : layout.PLACE_1 + 3] = bfield[i]
        w[layout.FRAME : layout.FRAME + 9] = rotation[i].ravel()
        curvature(w)
        crossings.local_from_curvilinear(w, float(loss[i]), result[i])
    return result
