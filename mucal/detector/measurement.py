"""What a module measures of a track, and how that changes with the track and with the module's own position.

A track crosses a module at (u, v) with the slopes u' = t_u / t_w and v' = t_v / t_w in the module's frame.  Measured is

    strip             m = u cos a + v sin a        a = `strip_angle`, 0 where u itself is measured
    wedge strip       m = f atan(u / (v + f))      f = `focus`: the angle about the point where the strips meet, times
                                                   the distance of the module from it, so that m = u on the line v = 0
    pixel             u and v

The length of a strip is no measurement: there is no second coordinate on strip modules.
"""

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector.kernels import alignment_rows, all_measured
from mucal.detector.table import PIXEL, Modules

ALIGNMENT: tuple[str, ...] = ("u", "v", "w", "a", "b", "c")
"""Displacement of the true module along u, v, w (cm), then its rotation about u, v, w (rad)."""


def to_local(modules: Modules, module_id: IntArray, position: FloatArray) -> FloatArray:
    """Points in the frame of their module: u, v, and w above the plane.

    module_id : (N,)
    position  : (N, 3) cm  in the global frame

    Returns (N, 3) cm.
    """
    local: FloatArray = np.einsum("nij,nj->ni", modules.rotation[module_id], position - modules.centre[module_id])
    return local


def to_global(modules: Modules, module_id: IntArray, local: FloatArray) -> FloatArray:
    """The inverse of `to_local`: (N, 3) cm -> (N, 3) cm."""
    point: FloatArray = modules.centre[module_id] + np.einsum("nji,nj->ni", modules.rotation[module_id], local)
    return point


def local_slopes(modules: Modules, module_id: IntArray, direction: FloatArray) -> tuple[FloatArray, FloatArray]:
    """u' = t_u / t_w and v' = t_v / t_w of directions (N, 3) in the global frame; infinite along the plane."""
    t = np.einsum("nij,nj->ni", modules.rotation[module_id], direction)
    with np.errstate(divide="ignore", invalid="ignore"):
        return t[:, 0] / t[:, 2], t[:, 1] / t[:, 2]


def predict(modules: Modules, module_id: IntArray, u: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What modules measure of tracks that cross them at (u, v), and its derivatives.

    module_id : (N,)
    u, v      : (N,) cm

    Returns the measurements (N, 2) cm, the second NaN on strips, and their derivatives by u and v (N, 2, 2), zero
    where nothing is measured.
    """
    value = np.full((u.size, 2), np.nan)
    slope = np.zeros((u.size, 2, 2))
    precise = all_measured(u, v, modules.strip_angle[module_id], modules.focus[module_id])
    value[:, 0], slope[:, 0] = precise[:, 0], precise[:, 1:]
    pixel = modules.n_meas[module_id] == PIXEL
    value[pixel, 1] = v[pixel]
    slope[pixel, 1, 1] = 1.0
    return value, slope


def alignment_derivatives(
    modules: Modules, module_id: IntArray, u: FloatArray, v: FloatArray, slope_u: FloatArray, slope_v: FloatArray
) -> FloatArray:
    """How a measurement changes when the true module stands elsewhere than assumed.

    The six parameters are `ALIGNMENT`: the displacement and rotation, in its own frame, of the true module relative
    to the assumed one.  A displacement along +u lowers the measured u.  For a track straight over the displacement
        dm_u = (-1, 0, u', u' v, -u' u, v),   dm_v = (0, -1, v', v' v, -v' u, -u)
    and dm = dm/du dm_u + dm/dv dm_v.

    u, v             : (N,) cm  where the track crosses the assumed plane
    slope_u, slope_v : (N,)     u' and v'

    Returns (N, 2, 6), the second row zero on strips.
    """
    _, dm = predict(modules, module_id, u, v)
    rows: FloatArray = alignment_rows(u, v, slope_u, slope_v, dm)
    return rows
