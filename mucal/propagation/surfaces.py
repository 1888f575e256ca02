"""What tracks cross: planes and cylinders, the material on them, and the material between them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.detector.material import SILICON
from mucal.propagation.kernels import crossings
from mucal.store import Result


@dataclass(frozen=True, kw_only=True)
class Surfaces(Result):
    """S surfaces in a fixed order; a track's route names them by row.

    is_cylinder    : (S,)       a cylinder about the z axis, else a plane
    radius         : (S,) cm    of cylinders
    centre         : (S, 3) cm  of planes
    rotation       : (S, 3, 3)  of planes: rows are the local axes u, v, w in the global frame, w the normal
    x_over_x0      : (S,)       thickness at normal incidence, in radiation lengths
    xi             : (S,) GeV   Landau scale at normal incidence and beta = 1
    medium         : (S,)       row of `media` that gives the loss its shape
    gap_x_over_x0  : (S,) 1/cm  of the homogeneous material on the way to this surface
    gap_xi         : (S,) GeV/cm
    gap_cut        : (S,) GeV   collisions with a larger transfer are left out of the loss in the gap; inf keeps all
    gap_medium     : (S,)       row of `media`
    media          : (K, 12)    constants of media, `detector.material.Medium.constants`
    """

    SCHEMA: ClassVar[int] = 1

    is_cylinder: BoolArray
    radius: FloatArray
    centre: FloatArray
    rotation: FloatArray
    x_over_x0: FloatArray
    xi: FloatArray
    medium: IntArray
    gap_x_over_x0: FloatArray
    gap_xi: FloatArray
    gap_cut: FloatArray
    gap_medium: IntArray
    media: FloatArray

    def __post_init__(self) -> None:
        s = self.radius.size
        check_shapes(self, is_cylinder=(s,), radius=(s,), centre=(s, 3), rotation=(s, 3, 3), x_over_x0=(s,), xi=(s,))
        check_shapes(self, medium=(s,), gap_x_over_x0=(s,), gap_xi=(s,), gap_cut=(s,), gap_medium=(s,))
        _check_geometry(self)
        _check_material(self)

    @property
    def n_surfaces(self) -> int:
        """S"""
        return int(self.radius.size)

    @property
    def has_gaps(self) -> bool:
        """Whether there is material between surfaces."""
        return bool(np.any(self.gap_xi > 0) or np.any(self.gap_x_over_x0 > 0))

    @cached_property
    def packed(self) -> FloatArray:
        """(S, SURFACE) what the kernels read, in the order of `kernels.crossings`"""
        table = np.zeros((self.n_surfaces, crossings.SURFACE))
        table[:, crossings.SHAPE] = np.where(self.is_cylinder, crossings.CYLINDER, crossings.PLANE)
        table[:, crossings.RADIUS] = self.radius
        table[:, crossings.CENTRE : crossings.CENTRE + 3] = self.centre
        table[:, crossings.AXES : crossings.AXES + 9] = self.rotation.reshape(-1, 9)
        for column, values in (
            (crossings.X_OVER_X0, self.x_over_x0),
            (crossings.XI, self.xi),
            (crossings.MEDIUM, self.medium),
            (crossings.GAP_X_OVER_X0, self.gap_x_over_x0),
            (crossings.GAP_XI, self.gap_xi),
            (crossings.GAP_CUT, self.gap_cut),
            (crossings.GAP_MEDIUM, self.gap_medium),
        ):
            table[:, column] = values
        return table


def planes(
    centre: FloatArray, rotation: FloatArray, *, x_over_x0: FloatArray | float = 0.0, xi: FloatArray | float = 0.0
) -> Surfaces:
    """Planar surfaces, by default without material; the medium is silicon.

    centre    : (S, 3) cm
    rotation  : (S, 3, 3)  rows u, v, w
    x_over_x0 : (S,)       at normal incidence
    xi        : (S,) GeV   at normal incidence and beta = 1
    """
    centre = np.atleast_2d(np.asarray(centre, dtype=np.float64))
    rotation = np.asarray(rotation, dtype=np.float64).reshape(-1, 3, 3)
    return _surfaces(np.zeros(len(centre), dtype=bool), np.zeros(len(centre)), centre, rotation, x_over_x0, xi)


def cylinders(radius: FloatArray, *, x_over_x0: FloatArray | float = 0.0, xi: FloatArray | float = 0.0) -> Surfaces:
    """Cylinders about the z axis, by default without material; the medium is silicon.

    radius    : (S,) cm
    x_over_x0 : (S,)       at normal incidence
    xi        : (S,) GeV   at normal incidence and beta = 1
    """
    radius = np.atleast_1d(np.asarray(radius, dtype=np.float64))
    s = radius.size
    rotation = np.broadcast_to(np.eye(3), (s, 3, 3)).copy()
    return _surfaces(np.ones(s, dtype=bool), radius, np.zeros((s, 3)), rotation, x_over_x0, xi)


def with_gaps(
    surfaces: Surfaces,
    *,
    x_over_x0: FloatArray | float,
    xi: FloatArray | float,
    cut: FloatArray | float = float("inf"),
) -> Surfaces:
    """The same surfaces with homogeneous material on the way to each.

    x_over_x0 : (S,) 1/cm
    xi        : (S,) GeV/cm  at beta = 1
    cut       : (S,) GeV     largest transfer kept in mean and variance of the loss
    """
    s = surfaces.n_surfaces
    return replace(surfaces, gap_x_over_x0=_column(x_over_x0, s), gap_xi=_column(xi, s), gap_cut=_column(cut, s))


def join(first: Surfaces, second: Surfaces) -> Surfaces:
    """Both lists of surfaces, one after the other."""
    shift = first.media.shape[0]
    pairs: dict[str, Any] = {
        name: np.concatenate([getattr(first, name), getattr(second, name)])
        for name in (
            "is_cylinder", "radius", "centre", "rotation", "x_over_x0", "xi", "gap_x_over_x0", "gap_xi", "gap_cut",
            "media",
        )
    }  # fmt: skip
    return Surfaces(
        medium=np.concatenate([first.medium, second.medium + shift]),
        gap_medium=np.concatenate([first.gap_medium, second.gap_medium + shift]),
        **pairs,
    )


def _column(values: FloatArray | float, s: int) -> FloatArray:
    return np.array(np.broadcast_to(np.asarray(values, dtype=np.float64), (s,)))


def _surfaces(
    is_cylinder: BoolArray, radius: FloatArray, centre: FloatArray, rotation: FloatArray,
    x_over_x0: FloatArray | float, xi: FloatArray | float,
) -> Surfaces:  # fmt: skip
    s = radius.size
    return Surfaces(
        is_cylinder=is_cylinder,
        radius=radius,
        centre=centre,
        rotation=rotation,
        x_over_x0=_column(x_over_x0, s),
        xi=_column(xi, s),
        medium=np.zeros(s, dtype=np.int64),
        gap_x_over_x0=np.zeros(s),
        gap_xi=np.zeros(s),
        gap_cut=np.full(s, np.inf),
        gap_medium=np.zeros(s, dtype=np.int64),
        media=SILICON.constants[None, :],
    )


def _check_geometry(surfaces: Surfaces) -> None:
    bad = np.flatnonzero(surfaces.is_cylinder & ~(surfaces.radius > 0))
    if bad.size:
        raise ValueError(f"cylinder {bad[0]} has radius {surfaces.radius[bad[0]]} cm, expected a positive one")
    product = surfaces.rotation @ np.swapaxes(surfaces.rotation, 1, 2)
    off = np.abs(product - np.eye(3)).max(axis=(1, 2), initial=0.0)
    bad = np.flatnonzero(~(off < 1e-9))
    if bad.size:
        raise ValueError(
            f"{bad.size} of {surfaces.n_surfaces} rotations are not orthonormal to 1e-9, first rotation[{bad[0]}], "
            f"off by {off[bad[0]]:.3g}"
        )


def _check_material(surfaces: Surfaces) -> None:
    for name in ("x_over_x0", "xi", "gap_x_over_x0", "gap_xi"):
        values = getattr(surfaces, name)
        bad = np.flatnonzero(~(values >= 0) | ~np.isfinite(values))
        if bad.size:
            raise ValueError(f"Surfaces.{name}[{bad[0]}] = {values[bad[0]]}, expected a thickness of at least 0")
    bad = np.flatnonzero(~(surfaces.gap_cut > 0))
    if bad.size:
        raise ValueError(f"Surfaces.gap_cut[{bad[0]}] = {surfaces.gap_cut[bad[0]]}, expected a positive energy")
    if surfaces.media.ndim != 2 or surfaces.media.shape[1] != SILICON.constants.size:
        raise ValueError(f"Surfaces.media has shape {surfaces.media.shape}, expected (K, {SILICON.constants.size})")
    for name in ("medium", "gap_medium"):
        rows = getattr(surfaces, name)
        if rows.size and not (rows.min() >= 0 and rows.max() < surfaces.media.shape[0]):
            raise ValueError(f"Surfaces.{name} names row {rows.max()} of {surfaces.media.shape[0]} media")
