"""From the detector's tables to surfaces, and from crossings to routes."""

from dataclasses import replace

import numpy as np

from mucal.arrays import IntArray
from mucal.detector import CYLINDER, Crossings, Detector
from mucal.propagation.surfaces import Surfaces, cylinders, join, planes
from mucal.units import MeV


def surfaces_of(detector: Detector) -> Surfaces:
    """Every element of a detector as a surface: rows 0 .. M-1 its modules, M .. M+P-1 its passive surfaces.

    Modules and discs are planes without edges, cylinders have no ends: the route says what is crossed.
    """
    modules, passive = detector.modules, detector.passive
    sensitive = planes(modules.centre, modules.rotation, x_over_x0=modules.x_over_x0, xi=modules.xi_mev * MeV)
    is_cylinder = passive.kind == CYLINDER
    # one row per passive surface whatever its kind, so that element numbers stay row numbers
    radius = np.where(is_cylinder, passive.position, 1.0)
    rest = cylinders(radius, x_over_x0=passive.x_over_x0, xi=passive.xi_mev * MeV)
    centre = np.zeros((radius.size, 3))
    centre[:, 2] = np.where(is_cylinder, 0.0, passive.position)
    rest = replace(rest, is_cylinder=is_cylinder, centre=centre)
    return join(sensitive, rest)


def routes_of(crossings: Crossings) -> IntArray:
    """The elements that each track crosses, in order, as rows of `surfaces_of`: (N, L), -1 after a track's last."""
    lengths = np.diff(crossings.offsets)
    routes = np.full((crossings.n_tracks, int(lengths.max(initial=0))), -1, dtype=np.int64)
    routes[np.arange(routes.shape[1]) < lengths[:, None]] = crossings.element
    return routes
