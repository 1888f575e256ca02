"""The built-in tracker: layers, module counts, resolutions and material of the CMS tracker of 2016, idealised.

1440 pixel and 15 148 strip modules, 3288 of them stereo sisters.  Radii, positions and counts follow the public
description (arXiv:1405.6569); the modules of a layer are all alike, stand at equal steps, and cover it without gaps
for tracks from the origin.  The material of each layer is that of public fast-simulation tables: the sensors carry
their silicon and half of the rest, the other half stands on cylinders and discs between the layers.
What was simplified is listed in docs/physics/detector.md.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import pi, tan
from typing import Final

from mucal.detector.field import harmonic_field
from mucal.detector.layers import Part, Steps, Surface, barrel_layer, cylinder, disc, disc_layer, passive_of
from mucal.detector.rings import Ring, Sensor, modules_of
from mucal.detector.table import Detector

SUBDETECTORS: Final = ("services", "BPIX", "FPIX", "TIB", "TID", "TOB", "TEC")
SERVICES, BPIX, FPIX, TIB, TID, TOB, TEC = range(7)

PIXEL_SENSOR: Final = Sensor(half_u=(0.81, 0.81), half_v=3.24, thickness=0.0285, sigma_u=0.0010, sigma_v=0.0028)
# layer: radius (cm), ladders
BPIX_LAYERS: Final = ((4.42, 20), (7.31, 32), (10.17, 44))
BPIX_MATERIAL: Final[Steps] = ((27.0, 0.0217),)
FPIX_DISCS: Final = (35.5, 48.5)
FPIX_MATERIAL: Final = 0.058
FPIX_RADII: Final = (5.7, 14.7)
BLADES: Final = 24
PLAQUETTES: Final = 7

# layer: inner and outer shell (radius in cm, strings), resolution (cm), stereo
TIB_LAYERS: Final = (
    ((23.9, 26), (27.3, 30), 0.0020, True),
    ((32.3, 34), (35.7, 38), 0.0020, True),
    ((40.2, 44), (43.4, 46), 0.0030, False),
    ((48.2, 52), (51.4, 56), 0.0030, False),
)
TIB_MATERIAL: Final[tuple[Steps, ...]] = (
    ((35.0, 0.053), (66.0, 0.077)),
    ((35.0, 0.053), (66.0, 0.077)),
    ((35.0, 0.035), (66.0, 0.051)),
    ((35.0, 0.040), (66.0, 0.058)),
)
# layer: radius (cm), rods, resolution (cm), stereo
TOB_LAYERS: Final = (
    (60.8, 42, 0.0045, True),
    (69.2, 48, 0.0045, True),
    (78.0, 54, 0.0045, False),
    (86.8, 60, 0.0045, False),
    (96.5, 66, 0.0030, False),
    (108.0, 74, 0.0030, False),
)
TOB_STEREO_MATERIAL: Final[Steps] = ((18, 0.021), (30, 0.06), (36, 0.03), (46, 0.06), (55, 0.03), (109, 0.06))
TOB_MATERIAL: Final[Steps] = ((18, 0.0154), (30, 0.044), (36, 0.022), (46, 0.044), (55, 0.022), (109, 0.044))
ROWS: Final = 12
"""Modules along the beam in a layer of TIB and TOB."""

TIB_LAST_ROW: Final = 60.0
"""cm, abs(z) of the last row of the outer shells."""

# ring: radius (cm), half length (cm), modules, resolution (cm), stereo; the first ring of TID differs from that of TEC
TID_RINGS: Final = ((28.7, 5.54, 24, 0.0030, True), (36.7, 4.41, 24, 0.0030, True), (44.7, 5.53, 40, 0.0030, False))
TEC_RINGS: Final = (
    (27.8, 4.26, 24, 0.0030, True),
    (36.7, 4.41, 24, 0.0030, True),
    (44.7, 5.53, 40, 0.0030, False),
    (56.2, 5.76, 56, 0.0030, False),
    (67.7, 7.36, 40, 0.0035, True),
    (81.9, 9.20, 56, 0.0040, False),
    (99.2, 10.24, 80, 0.0040, False),
)
WEDGE_OVERLAP: Final = 1.022
"""Width of a wedge over the width of its share of the circle."""

TID_DISCS: Final = (79.8, 92.6, 105.6)
TID_SHIFTS: Final = (-0.7, 2.9, -4.3)
"""cm, of the rings of a TID disc along the beam."""
TID_MATERIAL: Final[Steps] = ((34.0, 0.08), (42.0, 0.04), (51.0, 0.04))
TID_LAST: Final = 1.35
"""Material of the third TID disc over that of the others."""

# disc: abs(z) (cm), first ring
TEC_DISCS: Final = (
    (131.3, 1), (145.3, 1), (159.3, 1), (173.9, 2), (187.8, 2), (205.4, 2), (224.0, 3), (244.4, 3), (266.3, 4),
)  # fmt: skip
# first ring: inner radius (cm), material to each radius
TEC_MATERIAL: Final[dict[int, tuple[float, Steps]]] = {
    1: (21.0, ((24, 0.10), (34, 0.04), (39, 0.08), (111, 0.05))),
    2: (32.0, ((34, 0.12), (46, 0.03), (60, 0.05), (75, 0.07), (111, 0.05))),
    3: (39.0, ((41, 0.14), (75, 0.03), (111, 0.05))),
    4: (50.0, ((52, 0.14), (75, 0.03), (111, 0.05))),
}

# What belongs to no layer: subdetector, radius or abs(z), (inner radius), steps.
CYLINDERS: Final[tuple[tuple[int, float, Steps], ...]] = (
    (SERVICES, 3.0, ((300.0, 0.0024),)),
    (BPIX, 17.6, ((27.5, 0.0135), (32.0, 0.095), (65.0, 0.05))),
    (TOB, 55.0, ((70.0, 0.009), (110.0, 0.05))),
    (SERVICES, 120.0, ((120.0, 0.042), (270.0, 0.16), (300.0, 0.10))),
)
DISCS: Final[tuple[tuple[int, float, float, Steps], ...]] = (
    (BPIX, 28.8, 4.0, ((17.0, 0.10),)),
    (FPIX, 65.0, 4.0, ((13.5, 0.15), (18.0, 0.21))),
    (TIB, 74.0, 23.0, ((52.0, 0.13),)),
    (TID, 110.5, 17.6, ((40.0, 0.07), (53.0, 0.19))),
)


def cms_like() -> Detector:
    """A tracker with the layers, modules, material and field of the CMS tracker of 2016; the same bytes every time."""
    rings: list[Ring] = []
    surfaces: list[Surface] = [s for subdet, r, steps in CYLINDERS for s in cylinder(subdet, r, steps)]
    surfaces += [s for subdet, z, inner, steps in DISCS for s in disc(subdet, z, inner, steps)]
    for part in (_pixel_barrel, _pixel_discs, _inner_barrel, _inner_discs, _outer_barrel, _endcaps):
        more_rings, more_surfaces = part()
        rings += more_rings
        surfaces += more_surfaces
    return Detector(
        name="cms-like",
        subdet_names=SUBDETECTORS,
        modules=modules_of(rings),
        passive=passive_of(surfaces),
        field=harmonic_field(),
    )


def _pixel_barrel() -> Part:
    rings: list[Ring] = []
    surfaces: list[Surface] = []
    for layer, (radius, ladders) in enumerate(BPIX_LAYERS, start=1):
        ring = [
            Ring(subdet=BPIX, layer=layer, side=0, ladder=1, n=ladders, r=radius, z=6.70 * (k - 3.5),
                 sensor=PIXEL_SENSOR, stagger=0.17)
            for k in range(8)
        ]  # fmt: skip
        following = BPIX_LAYERS[layer][0] if layer < len(BPIX_LAYERS) else 17.0
        loaded, rest = barrel_layer(ring, radius, following, BPIX_MATERIAL, 28.0)
        rings += loaded
        surfaces += rest
    return rings, surfaces


def _inner_barrel() -> Part:
    rings: list[Ring] = []
    surfaces: list[Surface] = []
    mean = [0.5 * (inner[0] + outer[0]) for inner, outer, _, _ in TIB_LAYERS] + [54.0]
    for layer, (inner, outer, sigma, stereo) in enumerate(TIB_LAYERS, start=1):
        sensor = Sensor(half_u=(3.07, 3.07), half_v=5.84, thickness=0.032, sigma_u=sigma, gap=0.22 if stereo else 0.0)
        # rows of the two shells by turns, at equal steps of z / r: seen from the origin they leave no gap
        slope = TIB_LAST_ROW / (0.5 * (ROWS - 1)) / outer[0]
        ring = [
            Ring(subdet=TIB, layer=layer, side=0, ladder=1 if k % 2 == 0 else inner[1] + 1, n=n, r=r,
                 z=r * slope * (k - 0.5 * (ROWS - 1)), sensor=sensor, tilt=0.157)
            for k in range(ROWS)
            for r, n in [inner if k % 2 == 0 else outer]
        ]  # fmt: skip
        loaded, rest = barrel_layer(ring, mean[layer - 1], mean[layer], TIB_MATERIAL[layer - 1], 73.5)
        rings += loaded
        surfaces += rest
    return rings, surfaces


def _outer_barrel() -> Part:
    rings: list[Ring] = []
    surfaces: list[Surface] = []
    for layer, (radius, rods, sigma, stereo) in enumerate(TOB_LAYERS, start=1):
        sensor = Sensor(half_u=(4.68, 4.68), half_v=9.31, thickness=0.05, sigma_u=sigma, gap=0.40 if stereo else 0.0)
        ring = [
            Ring(subdet=TOB, layer=layer, side=0, ladder=1, n=rods, r=radius + (0.4 if k % 2 else -0.4),
                 z=18.1 * (k - 0.5 * (ROWS - 1)), sensor=sensor, stagger=1.6)
            for k in range(ROWS)
        ]  # fmt: skip
        following = TOB_LAYERS[layer][0] if layer < len(TOB_LAYERS) else 120.0
        loaded, rest = barrel_layer(ring, radius, following, TOB_STEREO_MATERIAL if stereo else TOB_MATERIAL, 120.0)
        rings += loaded
        surfaces += rest
    return rings, surfaces


def _wedge(r: float, half_v: float, n: int, thickness: float, sigma: float, gap: float) -> Sensor:
    low, high = (WEDGE_OVERLAP * at * tan(pi / n) for at in (r - half_v, r + half_v))
    return Sensor(half_u=(low, high), half_v=half_v, thickness=thickness, sigma_u=sigma, wedge=True, gap=gap)


def _both_sides(rings: Sequence[Ring]) -> list[Ring]:
    """The rings at negative z, then those at positive z."""
    return [replace(ring, side=-1, z=-ring.z) for ring in rings] + list(rings)


def _pixel_discs() -> Part:
    rings: list[Ring] = []
    surfaces: list[Surface] = []
    pitch = (FPIX_RADII[1] - FPIX_RADII[0]) / PLAQUETTES
    half_v = 0.5 * pitch + 0.03
    for layer, z in enumerate(FPIX_DISCS, start=1):
        ring = [
            Ring(subdet=FPIX, layer=layer, side=1, ladder=k + 1, n=BLADES, r=r, z=z + (0.2 if k % 2 else -0.2),
                 sensor=_plaquette(r, half_v), tilt=0.349)
            for k in range(PLAQUETTES)
            for r in [FPIX_RADII[0] + pitch * (k + 0.5)]
        ]  # fmt: skip
        loaded, rest = disc_layer(ring, z, FPIX_RADII[0], z + 6.5, ((FPIX_RADII[1], FPIX_MATERIAL),))
        rings += _both_sides(loaded)
        surfaces += rest
    return rings, surfaces


def _plaquette(r: float, half_v: float) -> Sensor:
    """A pixel wedge of a blade; the blades are turned by 20 degrees like those of a turbine, so they are wider."""
    low, high = (1.08 * at * tan(pi / BLADES) for at in (r - half_v, r + half_v))
    return Sensor(half_u=(low, high), half_v=half_v, thickness=0.0285, sigma_u=0.0012, sigma_v=0.0030)


def _inner_discs() -> Part:
    rings: list[Ring] = []
    surfaces: list[Surface] = []
    for layer, z in enumerate(TID_DISCS, start=1):
        ring = [
            Ring(subdet=TID, layer=layer, side=1, ladder=k + 1, n=n, r=r, z=z + TID_SHIFTS[k], stagger=1.2,
                 sensor=_wedge(r, half_v, n, 0.032, sigma, 0.24 if stereo else 0.0))
            for k, (r, half_v, n, sigma, stereo) in enumerate(TID_RINGS)
        ]  # fmt: skip
        more = TID_LAST if layer == len(TID_DISCS) else 1.0
        loaded, rest = disc_layer(ring, z, 23.0, z + 4.4, tuple((end, x * more) for end, x in TID_MATERIAL))
        rings += _both_sides(loaded)
        surfaces += rest
    return rings, surfaces


def _endcaps() -> Part:
    rings: list[Ring] = []
    surfaces: list[Surface] = []
    for layer, (z, first) in enumerate(TEC_DISCS, start=1):
        ring = [
            Ring(subdet=TEC, layer=layer, side=1, ladder=k, n=n, r=r, z=z + (1.8 if k % 2 else -1.8), stagger=0.6,
                 sensor=_wedge(r, half_v, n, 0.05 if k > 4 else 0.032, sigma, 0.30 if stereo else 0.0))
            for k, (r, half_v, n, sigma, stereo) in enumerate(TEC_RINGS, start=1)
            if k >= first
        ]  # fmt: skip
        inner, steps = TEC_MATERIAL[first]
        loaded, rest = disc_layer(ring, z, inner, z + 7.0, steps)
        rings += _both_sides(loaded)
        surfaces += rest
    return rings, surfaces
