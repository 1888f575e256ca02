"""What tracks say of the variances: of hits, of scattering, of straggling.

What is minimised is the marginal likelihood, with the start of each track integrated out:

    -2 ln L = r^T P r + ln det Sigma + ln det(A^T Sigma^-1 A)

The parameters v are ln of scales of variances, Sigma = sum_v e^v Sigma_v.  At v = 0, in the convention of chi2 (factors
of 2 inside), g_v = Tr(P Sigma_v) - r^T P Sigma_v P r, and the information Tr(P Sigma_v P Sigma_v') stands for the
second derivative: its expectation.  Derived in docs/physics/refit.md.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mucal.arrays import FloatArray, IntArray
from mucal.detector import Detector
from mucal.detector.field import MagneticField
from mucal.errors import InputError
from mucal.propagation import Surfaces, surfaces_of
from mucal.refit.batches import Batch, leading
from mucal.refit.fitted import fitted_legs, loss_of_legs, most_rows
from mucal.refit.kernels.variances import float_variances
from mucal.refit.parameters import ParameterMap, ProfiledBlocks
from mucal.refit.tracks import RefitConfig, TrackFits, check_sizes, routes_of_hits
from mucal.track import Hits

NumberArray = npt.NDArray[Any]


def variance_blocks(
    detector: Detector,
    magnet: MagneticField,
    hits: Hits,
    fits: TrackFits,
    parameters: ParameterMap,
    routes: IntArray | None = None,
    config: RefitConfig = RefitConfig(),
    *,
    surfaces: Surfaces | None = None,
    offsets: FloatArray | None = None,
    ln_loss: FloatArray | None = None,
) -> ProfiledBlocks:
    """Gradient and information of every track that is OK on the variances that the map floats.

    Means come first: a wrong mean looks like a wide variance.  The other arguments are those of the fits.

    Returns blocks as those of `fit_tracks`, for the same sums and solver.  Raises InputError if no
    variance floats, or a mean does.
    """
    check_sizes(parameters, detector, magnet)
    if not parameters.floats_variances or parameters.floats_means:
        raise InputError(
            "the parameter map floats " + ("means as well" if parameters.floats_means else "no variance")
            + "; the information on variances needs a map of variances alone",
            kind="input.variance_parameters",
        )  # fmt: skip
    routes = routes_of_hits(detector, magnet, hits) if routes is None else routes
    surfaces = surfaces or surfaces_of(detector)
    batch = Batch.of(detector, magnet, surfaces, hits, None, offsets, ln_loss)
    maps = (
        np.ascontiguousarray(parameters.hit_variance, dtype=np.int64),
        np.ascontiguousarray(parameters.scattering, dtype=np.int64),
        np.ascontiguousarray(parameters.straggling, dtype=np.int64),
    )
    pieces: list[tuple[NumberArray, ...]] = []
    for rows, own, places, legs in fitted_legs(magnet, surfaces, hits, fits, routes, config, offsets, ln_loss):
        bound, n_max = _bounds(batch, own, places, maps)
        n_rows, n_labels = np.zeros(rows.size, dtype=np.int64), np.zeros(rows.size, dtype=np.int64)
        capacity = np.concatenate([[0], np.cumsum(bound)]).astype(np.int64)
        factor_capacity = np.concatenate([[0], np.cumsum(bound * bound)]).astype(np.int64)
        label, gradient = np.empty(capacity[-1], dtype=np.int64), np.empty(capacity[-1])
        factor = np.empty(factor_capacity[-1], dtype=np.float32)
        float_variances(
            surfaces.packed, surfaces.media, config.alpha, batch.modules, own, places, batch.hits,
            np.zeros((0, 0, 2)) if ln_loss is None else loss_of_legs(ln_loss, own), legs.thickness, legs.local,
            legs.transport, legs.noise, legs.n_reached, n_max, maps, capacity, factor_capacity, n_rows, n_labels,
            label, gradient, factor,
        )  # fmt: skip
        kept = leading(capacity[:-1], n_labels)
        pieces.append((
            rows, n_rows, n_labels, label[kept], gradient[kept],
            factor[leading(factor_capacity[:-1], n_rows * n_labels)],
        ))  # fmt: skip
    return _joined(pieces, parameters, fits)


def _bounds(batch: Batch, routes: IntArray, places: IntArray, maps: tuple[IntArray, ...]) -> tuple[IntArray, int]:
    """(N,) how many labels a track can have at most, and the most measurements of any."""
    hit_variance, scattering, straggling = maps
    module = np.where(places >= 0, routes, 0)
    element = np.where(routes >= 0, routes, 0)
    on = routes >= 0
    labels = ((hit_variance >= 0).sum(axis=1)[module] * (places >= 0)).sum(axis=1)
    labels += (((scattering >= 0)[element].astype(np.int64) + (straggling >= 0)[element]) * on).sum(axis=1)
    return labels, most_rows(places)


def _joined(pieces: list[tuple[NumberArray, ...]], parameters: ParameterMap, fits: TrackFits) -> ProfiledBlocks:
    """Blocks of all tracks that touch any variance."""
    rows, n_rows, n_labels, label, gradient, factor = (np.concatenate(column) for column in zip(*pieces, strict=True))
    used = n_labels > 0
    rows, n_rows, n_labels = rows[used], n_rows[used], n_labels[used]
    return ProfiledBlocks(
        digest=parameters.digest,
        candidate=rows,
        label_offsets=np.concatenate([[0], np.cumsum(n_labels)]).astype(np.int64),
        label=label,
        gradient=gradient.astype(np.float64),
        n_rows=n_rows,
        factor_offsets=np.concatenate([[0], np.cumsum(n_labels * n_rows)]).astype(np.int64),
        factor=factor,
        chi2=fits.chi2[rows],
        weight=np.ones(rows.size),
        ndof=fits.ndof[rows],
    )


def scaled_hits(hits: Hits, parameters: ParameterMap, values: FloatArray) -> Hits:
    """Hits whose errors hold the scales of their variances: sigma e^(v/2).

    values : (P,)  of all global parameters; those that are not hit variances do nothing
    """
    half = np.exp(0.5 * _of_map(parameters.hit_variance, values)[hits.module_id])
    return replace(hits, sigma_u=hits.sigma_u * half[:, 0], sigma_v=hits.sigma_v * half[:, 1])


def scaled_scattering(surfaces: Surfaces, parameters: ParameterMap, values: FloatArray) -> Surfaces:
    """Surfaces whose radiation lengths hold the scales of the variance of scattering; the mean loss stays as it is.

    Highland's logarithm is of the scaled lengths: at 0.4 X0 the variance moves by v^1.08 if all of the track's lengths
    are scaled by v.

    values : (P,)  of all global parameters; those that are not of scattering do nothing
    """
    x_over_x0 = surfaces.x_over_x0 * np.exp(_of_map(parameters.scattering, values))
    return replace(surfaces, x_over_x0=x_over_x0)


def _of_map(index: IntArray, values: FloatArray) -> FloatArray:
    chosen: FloatArray = np.where(index >= 0, values[index], 0.0)
    return chosen
