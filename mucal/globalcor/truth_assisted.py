"""Simulated muons held at their generated state: what hits say of the detector when the momentum is known.

Nothing of a track is profiled, so that P = Sigma^-1: the sums measure the simulated detector less the assumed one
directly, the common scale of momenta included, without a mass.  Derived in docs/physics/globalcor.md.
"""

from dataclasses import replace
from typing import Final, Literal

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector import predict
from mucal.errors import InputError
from mucal.globalcor.refits import Refit
from mucal.globalcor.truth_kernels import FILLED, NO_ROWS, freeze
from mucal.ledger import Ledger
from mucal.refit import ProfiledBlocks
from mucal.refit.batches import Batch, label_bounds, leading
from mucal.refit.fitted import legs_from, most_rows
from mucal.refit.placed import placed_status
from mucal.refit.status import FitStatus, ledger_of_tracks
from mucal.refit.tracks import check_map
from mucal.track import QOP, Hits

Positions = Literal["recorded", "simulated"]

FLOOR: Final = 3e-4
"""cm, the error given to simulated positions: a tenth of that of strips.  It keeps Sigma invertible before the first
material, covers what kinks do to second order, and keeps the Hessian of a hit below the guard."""


def truth_blocks(
    refit: Refit, hits: Hits, positions: Positions = "recorded"
) -> tuple[ProfiledBlocks, Ledger]:  # fmt: skip
    """What every track, from its generated state, says of the global parameters; and the tracks by what became of them.

    refit     : its detector, field and corrections; mass and selection are not asked
    positions : "recorded" hits with their errors, or "simulated", where the muon crossed the module, with `FLOOR` for
                an error: chi2 is then below its degrees of freedom, and errors are upper bounds

    A track is a candidate with as many rows as it has measurements.  Raises InputError for hits without truth.
    """
    if hits.truth is None:
        raise InputError(
            "tracks are held at their generated state, and these hits do not say what was generated",
            kind="input.no_truth",
            do="give simulated hits, or sum pairs with their mass",
        )
    check_map(refit.registry.map, refit.model, refit.magnet)
    hits = from_truth(refit, hits, positions)
    routes = refit.routes(hits)
    status, _ = placed_status(refit.model, hits, routes)
    parts = _parts(refit, hits, routes, status)
    return _joined(refit, parts), ledger_of_tracks(status, hits.run, hits.lumi, hits.event)


def from_truth(refit: Refit, hits: Hits, positions: Positions) -> Hits:
    """The hits with their generated states as seeds, and with the simulated positions if these are wanted."""
    truth = hits.truth
    assert truth is not None
    seeded = replace(
        hits, seed=truth.state, seed_ref=truth.vertex, charge=np.sign(truth.state[:, QOP]).astype(np.int64)
    )
    if positions == "recorded":
        return seeded
    known = np.isfinite(truth.hit_u) & (hits.module_id >= 0) & (hits.module_id < refit.detector.n_modules)
    module = np.where(known, hits.module_id, 0)
    value, _ = predict(
        refit.model.modules, module, np.where(known, truth.hit_u, 0.0), np.where(known, truth.hit_v, 0.0)
    )
    strip = ~np.isfinite(hits.v)
    return replace(
        seeded, u=np.where(known, value[:, 0], np.nan), v=np.where(strip, np.nan, value[:, 1]),
        sigma_u=np.full(hits.u.size, FLOOR), sigma_v=np.where(strip, np.nan, FLOOR),
    )  # fmt: skip


_Part = tuple[IntArray, IntArray, IntArray, IntArray, FloatArray, FloatArray, FloatArray]


def _parts(refit: Refit, hits: Hits, routes: IntArray, status: IntArray) -> list[_Part]:
    """Rows, counts and blocks piece by piece; `status` is amended where a track cannot be used."""
    assert hits.truth is not None
    parameters = refit.registry.map
    batch = Batch.of(refit.model, refit.magnet, refit.surfaces, hits, parameters, refit.offsets, refit.ln_loss)
    parts: list[_Part] = []
    for rows, own, places, legs in legs_from(
        refit.magnet, refit.surfaces, hits, status == FitStatus.OK, hits.seed, hits.seed_ref, routes, refit.config,
        refit.offsets, refit.ln_loss,
    ):  # fmt: skip
        bound, n_max = label_bounds(batch, own, places), most_rows(places)
        capacity = np.concatenate([[0], np.cumsum(bound)]).astype(np.int64)
        cells = np.concatenate([[0], np.cumsum(bound * n_max)]).astype(np.int64)
        reached = np.where(legs.status == 0, legs.n_reached, 0)
        ended, chi2 = np.zeros(rows.size, dtype=np.int64), np.zeros(rows.size)
        n_rows, n_labels = np.zeros(rows.size, dtype=np.int64), np.zeros(rows.size, dtype=np.int64)
        label, gradient = np.empty(capacity[-1], dtype=np.int64), np.empty(capacity[-1])
        factor = np.empty(cells[-1])
        freeze(
            batch.modules, own, places, batch.hits, legs.local, legs.transport, legs.by_parameters, legs.noise, reached,
            n_max, int(bound.max(initial=0)), batch.maps, capacity, cells, ended, chi2, n_rows, n_labels, label,
            gradient, factor,
        )  # fmt: skip
        failed = np.where(legs.status != 0, FitStatus.PROPAGATION, FitStatus.TOO_FEW_HITS)
        status[rows] = np.where(ended == FILLED, FitStatus.OK, np.where(ended == NO_ROWS, failed,
                                                                        FitStatus.NOT_POSITIVE))  # fmt: skip
        good = ended == FILLED
        n_labels, n_rows = np.where(good, n_labels, 0), np.where(good, n_rows, 0)
        kept, filled = leading(capacity[:-1], n_labels), leading(cells[:-1], n_rows * n_labels)
        parts.append((rows[good], n_rows[good], n_labels[good], label[kept], gradient[kept], factor[filled],
                      chi2[good]))  # fmt: skip
    return parts


def _joined(refit: Refit, parts: list[_Part]) -> ProfiledBlocks:
    rows, n_rows, n_labels, label, gradient, factor, chi2 = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return ProfiledBlocks(
        digest=refit.registry.map.digest, candidate=rows.astype(np.int64),
        label_offsets=np.concatenate([[0], np.cumsum(n_labels)]).astype(np.int64), label=label, gradient=gradient,
        n_rows=n_rows, factor_offsets=np.concatenate([[0], np.cumsum(n_labels * n_rows)]).astype(np.int64),
        factor=factor, chi2=chi2, weight=np.ones(rows.size), ndof=n_rows.copy(),
    )  # fmt: skip
