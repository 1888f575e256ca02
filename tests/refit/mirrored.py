"""Hits drawn from the model of the refit, in numpy over all tracks at once, with their noise and with it mirrored."""

from dataclasses import replace

import numpy as np

from mucal.detector import predict
from mucal.propagation import free_states, propagate
from mucal.refit.fitted import hits_of
from mucal.refit.placed import hit_places
from mucal.refit.tracks import routes_of_hits

PIECE = 4096


def mirrored(detector, magnet, hits, surfaces, ground, rng):
    """Tracks of `hits` with the hits of a linear Gaussian noise about their mean trajectory: (+, -, routes).

    Modules and truth are those of `hits`, whose own positions are not used; seeds are the truth, so that two fits of
    one track differ by the noise alone.  Tracks that do not reach all modules are left out.
    """
    hits = replace(hits, seed=hits.truth.state, seed_ref=hits.truth.vertex)
    routes = routes_of_hits(detector, magnet, hits, ground=ground)
    value = np.full((hits.u.size, 2), np.nan)
    noise, good = value.copy(), np.zeros(len(hits), dtype=bool)
    for begin in range(0, len(hits), PIECE):
        rows = np.arange(begin, min(begin + PIECE, len(hits)))
        own = hits.select(rows)
        legs = propagate(magnet, surfaces, free_states(own.seed, own.seed_ref), routes[rows])
        places = hit_places(routes[rows], own, np.arange(rows.size))
        good[rows] = (legs.status == 0) & ((places >= 0).sum(axis=1) == own.n_hits)
        numbers = hits_of(hits, rows)
        deviation = np.zeros((rows.size, 5))
        for leg in range(routes.shape[1]):
            reached = (legs.n_reached > leg) & good[rows]
            if not reached.any():
                break
            values, vectors = np.linalg.eigh(legs.noise[reached, leg])
            kick = np.sqrt(np.clip(values, 0.0, None)) * rng.normal(size=values.shape)
            moved = np.einsum("nij,nj->ni", legs.transport[reached, leg], deviation[reached]) if leg else 0.0
            deviation[reached] = moved + np.einsum("nij,nj->ni", vectors, kick)
            at = np.flatnonzero(reached & (places[:, leg] >= 0))
            k = numbers[places[at, leg]]
            value[k], slope = predict(detector.modules, hits.module_id[k], *legs.local[at, leg, 3:].T)
            sigma = np.column_stack([hits.sigma_u[k], hits.sigma_v[k]])
            noise[k] = np.einsum("nij,nj->ni", slope, deviation[at, 3:]) + sigma * rng.normal(size=sigma.shape)
    strips = np.isnan(hits.v)
    noise[strips, 1] = np.nan
    both = []
    for sign in (1.0, -1.0):
        measured = value + sign * noise
        both.append(replace(hits, u=measured[:, 0], v=measured[:, 1]).select(good))
    return both[0], both[1], routes[good]
