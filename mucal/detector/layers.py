"""Layers of the built-in trackers: rings that share the material of a layer with a passive surface next to it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import pi
from typing import Any

import numpy as np

from mucal.detector.rings import XI_SERVICES, Ring
from mucal.detector.table import CYLINDER, DISC, Passive

Steps = tuple[tuple[float, float], ...]
SLIVER = 0.2  # cm; narrower steps of a disc are joined to their neighbour


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One passive surface at positive z or about z = 0.

    kind      :    CYLINDER or DISC
    position  : cm radius or abs(z)
    low, high : cm range in radius of a disc; abs(z) range of a cylinder
    x_over_x0 :    at normal incidence
    """

    subdet: int
    kind: int
    position: float
    low: float
    high: float
    x_over_x0: float


def cylinder(subdet: int, radius: float, steps: Sequence[tuple[float, float]]) -> list[Surface]:
    """A cylinder whose thickness changes in steps of abs(z): ((z end, x/X0), ...) from z = 0 outwards."""
    starts = [0.0, *(end for end, _ in steps)]
    return [
        Surface(subdet=subdet, kind=CYLINDER, position=radius, low=start, high=end, x_over_x0=x)
        for start, (end, x) in zip(starts, steps, strict=False)
        if x > 0
    ]


def disc(subdet: int, z: float, inner: float, steps: Sequence[tuple[float, float]]) -> list[Surface]:
    """A disc whose thickness changes in steps of the radius: ((r end, x/X0), ...) from `inner` outwards."""
    starts = [inner, *(end for end, _ in steps)]
    return [
        Surface(subdet=subdet, kind=DISC, position=z, low=start, high=end, x_over_x0=x)
        for start, (end, x) in zip(starts, steps, strict=False)
        if x > 0
    ]


def passive_of(surfaces: Sequence[Surface]) -> Passive:
    """The passive table: discs on both sides, cylinders from z = 0 as one piece, the others on both sides."""
    both = [twin for surface in surfaces for twin in _mirrored(surface)]
    rest: dict[str, Any] = {name: np.array([getattr(s, name) for s in both], dtype=np.float64) for name in _REAL}
    return Passive(
        subdet=np.array([s.subdet for s in both], dtype=np.int64),
        kind=np.array([s.kind for s in both], dtype=np.int64),
        xi_mev=XI_SERVICES * rest["x_over_x0"],
        **rest,
    )


_REAL = ("position", "low", "high", "x_over_x0")


def _mirrored(surface: Surface) -> list[Surface]:
    if surface.kind == DISC:
        return [surface, replace(surface, position=-surface.position)]
    if surface.low == 0.0:
        return [replace(surface, low=-surface.high)]
    return [surface, replace(surface, low=-surface.high, high=-surface.low)]


# ------------------------------------------------------------------------------------------------ layers

Part = tuple[list[Ring], list[Surface]]


def barrel_layer(rings: Sequence[Ring], radius: float, next_radius: float, steps: Steps, limit: float) -> Part:
    """The rings of a barrel layer with their material, and the cylinder that carries the rest of it.

    The steps on the cylinder are stretched by its radius, so that tracks from the origin find them where the layer
    has them.

    radius, next_radius : cm  of the layer, and of what comes next; the cylinder stands half-way
    steps               :     x/X0 of the layer in steps of abs(z)
    limit               : cm  abs(z) that the cylinder must not pass
    """
    length = sum(2.0 * ring.sensor.half_v for ring in rings)
    extent = max(ring.z + ring.sensor.half_v for ring in rings)
    cells = [2.0 * pi * radius * 2.0 * extent * (2.0 * ring.sensor.half_v) / length for ring in rings]
    loaded = [ring.with_material(_mean(steps, ring), cell) for ring, cell in zip(rings, cells, strict=True)]
    crossed = sum(ring.n * ring.sensor.area * ring.sensor.n_sensors for ring in rings) / sum(cells)
    silicon = crossed * rings[0].sensor.silicon
    at = 0.5 * (radius + next_radius)
    rest = [(min(end * at / radius, limit), max(0.0, 0.5 * (total - silicon))) for end, total in steps]
    return loaded, cylinder(rings[0].subdet, at, rest)


def _mean(steps: Steps, ring: Ring) -> float:
    """x/X0 of a layer averaged over the length of a ring; beyond the last step it stays the same."""
    ends = np.array([end for end, _ in steps[:-1]])
    z = np.abs(ring.z + ring.sensor.half_v * np.linspace(-1.0, 1.0, 201))
    return float(np.mean(np.array([x for _, x in steps])[np.searchsorted(ends, z)]))


def disc_layer(rings: Sequence[Ring], z: float, inner: float, behind: float, steps: Steps) -> Part:
    """The rings of a disc at positive z with their material, and the disc behind that carries the rest of it.

    The steps on the disc behind are stretched by its distance, so that tracks from the origin find them where the
    rings have them.

    z      : cm  of the rings
    inner  : cm  radius where the material begins
    behind : cm  abs(z) of the passive disc
    steps  :     x/X0 of the disc in steps of the radius
    """
    edges = [rings[0].r - rings[0].sensor.half_v]
    for ring, following in pairwise(rings):
        edges.append(0.5 * (ring.r + ring.sensor.half_v + following.r - following.sensor.half_v))
    edges.append(rings[-1].r + rings[-1].sensor.half_v)
    loaded: list[Ring] = []
    carried: list[tuple[float, float, float]] = []  # from, to, x/X0 on the modules
    for ring, low, high in zip(rings, edges[:-1], edges[1:], strict=True):
        cell = pi * (high**2 - low**2)
        total = min(x for x, start, end in _pieces(inner, steps) if start < high and end > low)
        ring = ring.with_material(total, cell)
        sensor = ring.sensor
        crossed = ring.n * sensor.area * sensor.n_sensors / cell
        loaded.append(ring)
        carried.append((low, high, crossed * (sensor.silicon + ring.extra)))
    breaks = _without_slivers(sorted({inner, *edges, *(end for end, _ in steps)}))
    rest = [
        (high * behind / z, max(0.0, _value_at(inner, steps, 0.5 * (low + high)) - on_modules))
        for low, high in pairwise(breaks)
        for on_modules in [sum(x for start, end, x in carried if start < 0.5 * (low + high) < end)]
    ]
    return loaded, disc(rings[0].subdet, behind, breaks[0] * behind / z, rest)


def _without_slivers(breaks: list[float]) -> list[float]:
    kept = breaks[:1]
    for end in breaks[1:]:
        if end - kept[-1] > SLIVER:
            kept.append(end)
    kept[-1] = breaks[-1]
    return kept


def _pieces(inner: float, steps: Steps) -> list[tuple[float, float, float]]:
    starts = [inner, *(end for end, _ in steps[:-1])]
    return [(x, start, end) for start, (end, x) in zip(starts, steps, strict=True)]


def _value_at(inner: float, steps: Steps, radius: float) -> float:
    return next((x for x, start, end in _pieces(inner, steps) if start <= radius < end), 0.0)
