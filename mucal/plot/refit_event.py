"""An event display: fitted tracks and their hits across and along the beam, and the pulls hit by hit."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mucal.arrays import FloatArray, IntArray
from mucal.detector import Detector, to_global
from mucal.detector.field import MagneticField
from mucal.plot.style import AFTER, BACKGROUND, BEFORE, label, panels, style
from mucal.propagation import free_states, propagate, surfaces_of
from mucal.refit import HitResiduals, TrackFits
from mucal.refit.tracks import routes_of_hits
from mucal.track import LAM, QOP, Hits

FAINT: Final = "#d3d7da"
STEEP: Final = 0.7
"""|w_z| of a module's normal above which it belongs to a disc."""


def event_figure(
    detector: Detector, magnet: MagneticField, hits: Hits, fits: TrackFits, residuals: HitResiduals,
    rows: Sequence[int], *, note: str = "",
) -> Figure:  # fmt: skip
    """Tracks `rows` of `hits`, as fitted: the plane across the beam, r against z, and the pulls of their hits.

    Modules that were hit are drawn bold.  Raises ValueError if a track was not fitted.
    """
    wrong = [row for row in rows if not fits.ok[row]]
    if wrong:
        raise ValueError(f"track {wrong[0]} was not fitted; choose tracks whose status is OK")
    chosen = hits.select(np.array(rows))
    routes = routes_of_hits(detector, magnet, chosen)
    start = free_states(fits.state[list(rows)], fits.reference[list(rows)])
    legs = propagate(magnet, surfaces_of(detector), start, routes)
    with style():
        figure, axes = panels(2, 2, width=10.4, height=6.6, width_ratios=[1, 1.25], height_ratios=[2.6, 1])
        _background(axes[0, 0], axes[0, 1], detector)
        for i, row in enumerate(rows):
            colour = BEFORE if fits.state[row, QOP] < 0 else AFTER
            reached = legs.n_reached[i]
            line = np.vstack([start[i, :3], legs.free[i, :reached, :3]])
            axes[0, 0].plot(line[:, 0], line[:, 1], color=colour, linewidth=1.1)
            axes[0, 1].plot(
                line[:, 2], np.hypot(line[:, 0], line[:, 1]), color=colour, linewidth=1.1, label=_name(fits, row)
            )
            module = chosen.module_id[chosen.offsets[i] : chosen.offsets[i + 1]]
            _modules(axes[0, 0], axes[0, 1], detector, module, colour)
            numbers = np.arange(hits.offsets[row], hits.offsets[row + 1])
            _residuals(axes[1, 0], axes[1, 1], legs.free[i, :reached, :3], routes[i], residuals, numbers,
                       module, colour)  # fmt: skip
        _frame(axes, detector)
        label(axes[0, 0], note or f"run {chosen.run[0]}, event {chosen.event[0]}")
    return figure


def _name(fits: TrackFits, row: int) -> str:
    state = fits.state[row]
    pt = np.cos(state[LAM]) / abs(state[QOP])
    error = np.sqrt(fits.cov[row, QOP, QOP]) / abs(state[QOP])
    sign = "+" if state[QOP] > 0 else "-"
    return (
        rf"$\mu^{sign}$  $p_T$ = {pt:.2f} GeV ({100 * error:.1f} %), $\chi^2$ = {fits.chi2[row]:.1f}/{fits.ndof[row]}"
    )


def _ends(detector: Detector, module: IntArray) -> tuple[FloatArray, FloatArray]:
    """Both ends of modules across the beam (M, 2, 2) and along it (M, 2, 2), by the extent that is seen there."""
    m = detector.modules
    ends = []
    for axis, half in enumerate((m.half_u.mean(axis=1), m.half_v)):
        local = np.zeros((module.size, 3))
        local[:, axis] = half[module]
        ends.append(np.stack([to_global(m, module, -local), to_global(m, module, local)], axis=1))
    across, along = ends[0][..., :2], ends[1]
    return across, np.stack([along[..., 2], np.hypot(along[..., 0], along[..., 1])], axis=-1)


def _background(xy: Axes, rz: Axes, detector: Detector) -> None:
    """All modules, faint: those of the barrel across the beam, all of them along it."""
    module = np.arange(detector.n_modules)
    across, along = _ends(detector, module)
    barrel = np.abs(detector.modules.rotation[:, 2, 2]) < STEEP
    xy.add_collection(LineCollection(list(across[barrel]), colors=FAINT, linewidths=0.3, rasterized=True, zorder=0))
    rz.add_collection(LineCollection(list(along), colors=FAINT, linewidths=0.3, rasterized=True, zorder=0))


def _modules(xy: Axes, rz: Axes, detector: Detector, module: IntArray, colour: str) -> None:
    across, along = _ends(detector, module)
    xy.add_collection(LineCollection(list(across), colors=colour, linewidths=2.0, alpha=0.55))
    rz.add_collection(LineCollection(list(along), colors=colour, linewidths=2.0, alpha=0.55))


def _residuals(
    left: Axes, right: Axes, points: FloatArray, route: IntArray, residuals: HitResiduals,
    numbers: IntArray, module: IntArray, colour: str,
) -> None:  # fmt: skip
    """Pulls of the hits against r and against z: filled for u, open for v."""
    place = np.array([int(np.flatnonzero(route == one)[0]) for one in module], dtype=np.int64)
    at = points[place]
    pull = residuals.pull[numbers]
    for part, marker in ((0, "o"), (1, "^")):
        shown = np.isfinite(pull[:, part])
        fill = colour if part == 0 else "none"
        left.plot(np.hypot(at[shown, 0], at[shown, 1]), pull[shown, part], marker, color=colour, mfc=fill)
        right.plot(at[shown, 2], pull[shown, part], marker, color=colour, mfc=fill)


def _frame(axes: Any, detector: Detector) -> None:
    across, along = _ends(detector, np.arange(detector.n_modules))
    reach = 1.05 * float(np.abs(across).max())
    axes[0, 0].set_xlim(-reach, reach)
    axes[0, 0].set_ylim(-reach, reach)
    axes[0, 0].set_aspect("equal")
    axes[0, 0].set_xlabel("x  [cm]")
    axes[0, 0].set_ylabel("y  [cm]")
    length = 1.03 * float(np.abs(along[..., 0]).max())
    axes[0, 1].set_xlim(-length, length)
    axes[0, 1].set_ylim(0.0, 1.25 * float(along[..., 1].max()))
    axes[0, 1].set_xlabel("z  [cm]")
    axes[0, 1].set_ylabel("r  [cm]")
    axes[0, 1].legend(loc="upper left")
    for axis, name in ((axes[1, 0], "r  [cm]"), (axes[1, 1], "z  [cm]")):
        axis.axhline(0.0, color=BACKGROUND, linewidth=0.8)
        axis.axhspan(-1.0, 1.0, color="#eef0f2", zorder=0)
        axis.set_ylim(-4.5, 4.5)
        axis.set_xlabel(name)
        axis.set_ylabel("pull")
    axes[1, 0].set_title("filled u, open v", loc="right", fontsize=8.5, color=BACKGROUND)
