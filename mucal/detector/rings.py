"""Rings of modules, the bricks of which the built-in trackers are made."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector.material import SILICON
from mucal.detector.table import Modules
from mucal.units import GeV, MeV

SILICON_X0: Final = SILICON.radiation_length / SILICON.density
"""cm, radiation length of silicon."""

XI_SILICON: Final = SILICON.xi_per_radiation_length * GeV / MeV
"""MeV of xi in a radiation length of silicon."""

XI_SERVICES: Final = 1.60
"""MeV of xi in a radiation length of hybrids, supports and cables: a mixture of carbon (3.3), plastics and copper
(0.9), chosen so that a central muon of a few GeV loses 15 to 20 MeV in the built-in tracker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """What all modules of a ring have in common.

    half_u           : cm  half widths at -half_v and +half_v
    half_v           : cm
    thickness        : cm  of silicon
    sigma_u, sigma_v : cm  resolution; sigma_v NaN for strips
    wedge            :     strips run towards the beam line
    gap              : cm  distance of the stereo sister behind the sensor, along w; 0 for a single sensor
    stereo_angle     : rad by which the sister is turned about w
    """

    half_u: tuple[float, float]
    half_v: float
    thickness: float
    sigma_u: float
    sigma_v: float = float("nan")
    wedge: bool = False
    gap: float = 0.0
    stereo_angle: float = 0.1

    @property
    def n_sensors(self) -> int:
        """1, or 2 with a stereo sister."""
        return 2 if self.gap else 1

    @property
    def area(self) -> float:
        """cm^2"""
        return 2.0 * self.half_v * (self.half_u[0] + self.half_u[1])

    @property
    def silicon(self) -> float:
        """Thickness of one sensor in radiation lengths."""
        return self.thickness / SILICON_X0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """n modules at equal steps in azimuth, all of one sensor.

    subdet, layer, side : as in `Modules`; side 0 for a barrel ring
    ladder              :        of the first module of a barrel ring (counted on), or of all in a disc
    n                   :        modules in azimuth
    r, z                : cm     of the module centres
    stagger             : cm     modules stand at +- this by turns: in r in the barrel, in z on a disc
    tilt                : rad    about v
    extra               :        material per sensor beyond its silicon, in radiation lengths
    """

    subdet: int
    layer: int
    side: int
    ladder: int
    n: int
    r: float
    z: float
    sensor: Sensor
    stagger: float = 0.0
    tilt: float = 0.0
    extra: float = 0.0

    def with_material(self, total: float, cell: float, *, kept: float = 0.5) -> "Ring":
        """The ring with its share of the material of its layer.

        total : x/X0 of the layer, at normal incidence and averaged over its surface
        cell  : cm^2 of the layer that the ring stands for
        kept  : fraction of the material beyond silicon that sits on the modules; the rest is for passive surfaces
        """
        crossed = self.n * self.sensor.area * self.sensor.n_sensors / cell
        return replace(self, extra=max(0.0, kept * (total - crossed * self.sensor.silicon)) / crossed)


def modules_of(rings: Sequence[Ring]) -> Modules:
    """The module table of all rings, in their order; a stereo sister follows its ring."""
    parts = [part for ring in rings for part in _ring_columns(ring)]
    columns: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Modules(module_id=np.arange(columns["subdet"].size, dtype=np.int64), **columns)


def _ring_columns(ring: Ring) -> list[dict[str, np.ndarray]]:
    number = np.arange(ring.n)
    phi = 2.0 * np.pi * (number + 0.5) / ring.n
    offset = np.where(number % 2 == 0, ring.stagger, -ring.stagger)
    zero, one = np.zeros(ring.n), np.ones(ring.n)
    radial = np.stack([np.cos(phi), np.sin(phi), zero], axis=1)
    around = np.stack([-np.sin(phi), np.cos(phi), zero], axis=1)
    beam = np.stack([zero, zero, one], axis=1)
    if ring.side:
        rotation = np.stack([around, radial, -beam], axis=1)
        centre = ring.r * radial + (ring.z + offset)[:, None] * beam
    else:
        rotation = np.stack([around, beam, radial], axis=1)
        centre = (ring.r + offset)[:, None] * radial + ring.z * beam
    u, v, w = np.moveaxis(rotation, 1, 0)
    rotation = np.stack(
        [u * np.cos(ring.tilt) - w * np.sin(ring.tilt), v, w * np.cos(ring.tilt) + u * np.sin(ring.tilt)], axis=1
    )
    first = _columns(ring, centre, rotation, number, stereo=False)
    if not ring.sensor.gap:
        return [first]
    return [first, _columns(ring, *_sister(ring.sensor, centre, rotation), number, stereo=True)]


def _sister(sensor: Sensor, centre: FloatArray, rotation: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Centre and axes of the stereo sensors that stand behind."""
    c, s = np.cos(sensor.stereo_angle), np.sin(sensor.stereo_angle)
    turn = np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])
    return centre + sensor.gap * rotation[:, 2], turn @ rotation


def _columns(
    ring: Ring, centre: FloatArray, rotation: FloatArray, number: IntArray, *, stereo: bool
) -> dict[str, np.ndarray]:
    sensor = ring.sensor
    whole = {
        "subdet": ring.subdet,
        "layer": ring.layer,
        "side": ring.side,
        "n_meas": 1 if np.isnan(sensor.sigma_v) else 2,
    }
    real = {
        "half_v": sensor.half_v,
        "sigma_u": sensor.sigma_u,
        "sigma_v": sensor.sigma_v,
        "strip_angle": 0.0,
        "focus": ring.r if sensor.wedge else 0.0,
        "x_over_x0": sensor.silicon + ring.extra,
        "xi_mev": XI_SILICON * sensor.silicon + XI_SERVICES * ring.extra,
    }
    return {
        "ladder": np.full(ring.n, ring.ladder) if ring.side else ring.ladder + number,
        "stereo": np.full(ring.n, stereo),
        "centre": centre,
        "rotation": rotation,
        "half_u": np.tile(np.array(sensor.half_u), (ring.n, 1)),
        **{name: np.full(ring.n, value, dtype=np.int64) for name, value in whole.items()},
        **{name: np.full(ring.n, value, dtype=np.float64) for name, value in real.items()},
    }
