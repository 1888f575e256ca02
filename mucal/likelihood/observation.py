"""What was observed: counts, and the centres of the constraints."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import InputError
from mucal.likelihood.model import Model
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation(Result):
    """Data of one experiment, real, Asimov or toy: the global observables fluctuate too.

    counts : (B,)  events; any number of at least 0
    centre : (S,)  centres of the constraints
    beta   : (B,) or (B, P)  centres of the factors of the finite simulation, 1 unless a toy; above 0
    """

    counts: FloatArray
    centre: FloatArray
    beta: FloatArray


def observe(
    model: Model, counts: FloatArray, *, centre: FloatArray | None = None, beta: FloatArray | None = None
) -> Observation:
    """Counts (B,) with the centres of the model, or others.

    Raises InputError for counts that are negative or not finite, with channel and bin.
    """
    found = Observation(
        counts=np.ascontiguousarray(counts, dtype=float),
        centre=model.centre if centre is None else np.asarray(centre, dtype=float),
        beta=np.ones(model.n_bins) if beta is None else np.asarray(beta, dtype=float),
    )
    b, s = model.n_bins, len(model.parameters)
    check_shapes(found, counts=(b,), centre=(s,), beta=(b, len(model.processes))[: max(1, found.beta.ndim)])
    bad = np.flatnonzero(~np.isfinite(found.counts) | (found.counts < 0))
    if bad.size:
        raise InputError(
            f"{bad.size} counts are negative or not finite, the first is {found.counts[bad[0]]:g}",
            kind="likelihood.counts",
            where=model.place(int(bad[0])),
        )
    if not (np.all(np.isfinite(found.centre)) and np.all(found.beta > 0)):
        raise ValueError("the centres of an observation are finite, and those of beta above 0")
    return found


def carry(data: Observation, model: Model, other: Model) -> Observation:
    """The same data for another model of the same bins: centres go by name, parameters that are new have their own."""
    place = {name: j for j, name in enumerate(model.parameters)}
    centre = [
        float(data.centre[place[name]]) if name in place else float(own)
        for name, own in zip(other.parameters, other.centre, strict=True)
    ]
    return observe(other, data.counts, centre=np.array(centre), beta=data.beta)
