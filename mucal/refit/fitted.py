"""Fitted tracks propagated once more: where each of them crosses its route, for whoever looks at the fit afterwards."""

from collections.abc import Iterator

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.detector.field import MagneticField
from mucal.propagation import Legs, StepConfig, Surfaces, free_states, propagate
from mucal.refit.placed import hit_places
from mucal.refit.tracks import PIECE, RefitConfig, TrackFits
from mucal.track import Hits


def fitted_legs(
    magnet: MagneticField,
    surfaces: Surfaces,
    hits: Hits,
    fits: TrackFits,
    routes: IntArray,
    config: RefitConfig,
    offsets: FloatArray | None,
    ln_loss: FloatArray | None,
) -> Iterator[tuple[IntArray, IntArray, IntArray, Legs]]:
    """Tracks that are OK, piece by piece: their rows, routes (T, L), hits on the routes (T, L), and legs."""
    if len(fits) != len(hits):
        raise ValueError(f"{len(fits)} fits of {len(hits)} tracks; expected as many")
    return legs_from(magnet, surfaces, hits, fits.ok, fits.state, fits.reference, routes, config, offsets, ln_loss)


def legs_from(
    magnet: MagneticField, surfaces: Surfaces, hits: Hits, chosen: BoolArray, state: FloatArray, reference: FloatArray,
    routes: IntArray, config: RefitConfig, offsets: FloatArray | None, ln_loss: FloatArray | None,
) -> Iterator[tuple[IntArray, IntArray, IntArray, Legs]]:  # fmt: skip
    """The chosen tracks from given states, piece by piece, as `fitted_legs` has them."""
    if routes.ndim != 2 or routes.shape[0] != len(hits):
        raise ValueError(f"routes of shape {routes.shape} for {len(hits)} tracks; expected as many rows")
    steps = StepConfig(longest_step=config.longest_step, most_steps=config.most_steps, alpha=config.alpha)
    ok = np.flatnonzero(chosen)
    for rows in np.split(ok, np.arange(PIECE, ok.size, PIECE)):
        width = int((routes[rows] >= 0).sum(axis=1).max(initial=1))
        own = np.ascontiguousarray(routes[rows, :width])
        places = hit_places(own, hits.select(rows), np.arange(rows.size))
        places = np.where(places >= 0, hits_of(hits, rows)[places], -1)
        start = free_states(state[rows], reference[rows])
        legs = propagate(
            magnet, surfaces, start, own, offsets=None if offsets is None else offsets[own],
            ln_loss=None if ln_loss is None else loss_of_legs(ln_loss, own), config=steps,
        )  # fmt: skip
        yield rows, own, places, legs


def loss_of_legs(ln_loss: FloatArray, routes: IntArray) -> FloatArray:
    """(N, L, 2) ln of the scale of the loss in the layer that each leg leaves and in its gap; ln_loss is by element."""
    by_leg = np.zeros((*routes.shape, 2))
    by_leg[:, 1:, 0] = np.where(routes[:, :-1] >= 0, ln_loss[routes[:, :-1]], 0.0)
    return by_leg


def most_rows(places: IntArray) -> int:
    """At least the measurements of any track of a piece."""
    return max(1, 2 * int((places >= 0).sum(axis=1).max(initial=0)))


def hits_of(hits: Hits, rows: IntArray) -> IntArray:
    """Numbers of the hits of some tracks, one after the other."""
    counts = hits.n_hits[rows]
    ends = np.cumsum(counts)
    total = int(ends[-1]) if ends.size else 0
    numbers: IntArray = np.repeat(hits.offsets[rows] - (ends - counts), counts) + np.arange(total)
    return numbers
