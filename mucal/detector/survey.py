"""A survey of a detector: what tracks meet in it on average, against pseudorapidity."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, check_edges, check_shapes
from mucal.detector.navigation import NavigationIndex, cross, navigation_index
from mucal.detector.table import Detector
from mucal.store import Result

GOLDEN = 0.5 * (5.0**0.5 - 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey(Result):
    """Averages over the tracks in B bins of eta, apart for the S subdetectors.

    detector     :            name of the detector
    subdet_names : S
    eta_edges    : (B+1,)
    x_over_x0    : (B, S)     radiation lengths crossed
    xi_mev       : (B, S) MeV Landau scale at beta = 1 of what is crossed
    modules      : (B, S)     modules crossed, overlaps and stereo sisters counted each
    layers       : (B, S)     layers and discs with at least one module crossed
    lever_arm    : (B,) cm    distance across the beam from the first to the last module crossed
    """

    detector: str
    subdet_names: tuple[str, ...]
    eta_edges: FloatArray
    x_over_x0: FloatArray
    xi_mev: FloatArray
    modules: FloatArray
    layers: FloatArray
    lever_arm: FloatArray

    def __post_init__(self) -> None:
        check_edges("Survey.eta_edges", self.eta_edges)
        b, s = self.eta_edges.size - 1, len(self.subdet_names)
        check_shapes(self, **dict.fromkeys(("x_over_x0", "xi_mev", "modules", "layers"), (b, s)), lever_arm=(b,))


def survey(
    detector: Detector,
    eta_edges: FloatArray,
    index: NavigationIndex | None = None,
    *,
    n_per_bin: int = 400,
    sigma_z: float = 3.6,
    qop_transverse: float = 0.1,
    bz: float = 3.8,
) -> Survey:
    """What tracks of a fixed set cross: evenly spread in azimuth and in each bin of eta, both charges by turns.

    eta_edges      : (B+1,)
    index          :          of the detector, if it is at hand
    n_per_bin      :          tracks
    sigma_z        : cm       spread of their start along the beam
    qop_transverse : 1/GeV    1/pT of the tracks; 0 for straight ones
    bz             : T

    Returns `Survey`.
    """
    check_edges("eta_edges", eta_edges)
    index = navigation_index(detector) if index is None else index
    n_bins = eta_edges.size - 1
    number = np.arange(n_per_bin)
    within = (number + 0.5) / n_per_bin
    eta = (eta_edges[:-1, None] + np.diff(eta_edges)[:, None] * within).ravel()
    turn = (np.arange(eta.size) * GOLDEN) % 1.0
    start = np.zeros((eta.size, 3))
    start[:, 2] = sigma_z * np.sqrt(12.0) * ((np.arange(eta.size) * np.sqrt(2.0)) % 1.0 - 0.5)
    direction = np.stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn), np.sinh(eta)], axis=1)
    qop = np.where(np.arange(eta.size) % 2, -qop_transverse, qop_transverse) / np.cosh(eta)
    crossings = cross(index, start, direction, qop, bz)
    element, track = crossings.element, crossings.track
    row = track // n_per_bin

    def averages(weights: FloatArray, which: np.ndarray) -> FloatArray:
        cell = row[which] * len(detector.subdet_names) + detector.element_subdet[element[which]]
        sums = np.bincount(cell, weights[which], minlength=n_bins * len(detector.subdet_names))
        return sums.reshape(n_bins, -1).astype(np.float64) / n_per_bin

    on_module = np.flatnonzero(crossings.on_module)
    layer = detector.layer_number()[element[on_module]]
    _, first = np.unique(track[on_module] * (layer.max(initial=0) + 1) + layer, return_index=True)
    every = np.arange(element.size)
    return Survey(
        detector=detector.name,
        subdet_names=detector.subdet_names,
        eta_edges=eta_edges,
        x_over_x0=averages(detector.element_x_over_x0[element] / crossings.cosine, every),
        xi_mev=averages(detector.element_xi_mev[element] / crossings.cosine, every),
        modules=averages(np.ones(element.size), on_module),
        layers=averages(np.ones(element.size), on_module[first]),
        lever_arm=_lever_arm(detector, element[on_module], track[on_module], eta.size).reshape(n_bins, -1).mean(axis=1),
    )


def _lever_arm(detector: Detector, module: np.ndarray, track: np.ndarray, n_tracks: int) -> FloatArray:
    """(N,) cm, 0 for tracks that cross no module."""
    radius = np.hypot(detector.modules.centre[module, 0], detector.modules.centre[module, 1])
    low, high = np.full(n_tracks, np.inf), np.full(n_tracks, -np.inf)
    np.minimum.at(low, track, radius)
    np.maximum.at(high, track, radius)
    return np.where(np.isfinite(low), high - low, 0.0)
