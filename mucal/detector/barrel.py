"""A small built-in tracker for demonstrations and quick tests: nine barrel layers, 1288 modules."""

from typing import Final

from mucal.detector.field import uniform_field
from mucal.detector.layers import Surface, barrel_layer, cylinder, passive_of
from mucal.detector.rings import Ring, Sensor, modules_of
from mucal.detector.table import Detector

SUBDETECTORS: Final = ("services", "pixel", "strips")
SERVICES, PIXEL_LAYERS, STRIP_LAYERS = range(3)

PIXELS: Final = Sensor(half_u=(1.62, 1.62), half_v=4.5, thickness=0.0285, sigma_u=0.0010, sigma_v=0.0028)
STRIPS: Final = Sensor(half_u=(9.4, 9.4), half_v=18.5, thickness=0.05, sigma_u=0.0030)
STEREO: Final = Sensor(half_u=(9.4, 9.4), half_v=18.5, thickness=0.05, sigma_u=0.0030, gap=0.4)
# subdetector, layer, radius (cm), ladders, rows along the beam, their distance (cm), sensor, stagger (cm)
LAYERS: Final = (
    (PIXEL_LAYERS, 1, 4.4, 10, 6, 9.02, PIXELS, 0.35),
    (PIXEL_LAYERS, 2, 7.3, 16, 6, 9.02, PIXELS, 0.35),
    (PIXEL_LAYERS, 3, 10.2, 22, 6, 9.02, PIXELS, 0.35),
    (STRIP_LAYERS, 1, 30.0, 12, 4, 36.0, STEREO, 2.6),
    (STRIP_LAYERS, 2, 45.0, 16, 4, 36.0, STRIPS, 2.0),
    (STRIP_LAYERS, 3, 60.0, 22, 6, 36.0, STEREO, 2.0),
    (STRIP_LAYERS, 4, 75.0, 26, 6, 36.0, STRIPS, 2.0),
    (STRIP_LAYERS, 5, 92.0, 32, 6, 36.0, STRIPS, 2.0),
    (STRIP_LAYERS, 6, 108.0, 38, 6, 36.0, STRIPS, 2.0),
)
LAYER_MATERIAL: Final = 0.025
"""Radiation lengths of a layer; half of what is not silicon stands between the layers."""

BEAM_PIPE: Final = (3.0, ((110.0, 0.0024),))
OUTER_RADIUS: Final = 116.0


def barrel() -> Detector:
    """A tracker of barrel layers in a uniform field of 3.8 T, for abs(eta) < 0.8; the same bytes every time."""
    rings: list[Ring] = []
    surfaces: list[Surface] = cylinder(SERVICES, *BEAM_PIPE)
    for i, (subdet, layer, radius, ladders, rows, pitch, sensor, stagger) in enumerate(LAYERS):
        ring = [
            Ring(subdet=subdet, layer=layer, side=0, ladder=1, n=ladders, r=radius + (0.5 if k % 2 else -0.5) * (i > 2),
                 z=pitch * (k - 0.5 * (rows - 1)), sensor=sensor, stagger=stagger)
            for k in range(rows)
        ]  # fmt: skip
        following = LAYERS[i + 1][2] if i + 1 < len(LAYERS) else OUTER_RADIUS
        extent = ring[-1].z + sensor.half_v
        loaded, rest = barrel_layer(ring, radius, following, ((extent, LAYER_MATERIAL),), 2.0 * extent)
        rings += loaded
        surfaces += rest
    return Detector(
        name="barrel",
        subdet_names=SUBDETECTORS,
        modules=modules_of(rings),
        passive=passive_of(surfaces),
        field=uniform_field(3.8),
    )
