"""Two measurements that share events: how correlated their counts make them.

An estimate answers to the counts of its bins as x = sum_b a_b n_b.  An event of bin b in one histogram and of bin c in
the other moves both, so that for Poisson events

    cov(x1, x2) = sum over shared events of w1 w2 a1_b a2_c,

w being the event's weights in the two histograms.  A bootstrap, in which each event gets one Poisson(1) number for all
histograms, finds the same.  Source: docs/physics/wmass.md.
"""

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.likelihood import FitResult, Model, Observation
from mucal.likelihood.impacts import scores
from mucal.likelihood.profile_fit import function_of


def responses(model: Model, data: Observation | FloatArray, result: FitResult, parameter: str) -> FloatArray:
    """(B,) change of one estimate by one more event in each bin.

    data : what `result` was fitted to
    """
    function = function_of(model, data, result)
    by_counts, _, _ = scores(function, result.values, function.expand(result.values))
    response: FloatArray = by_counts @ result.cov[result.place(parameter)]
    return response


def shared_covariance(
    first: tuple[FloatArray, IntArray, FloatArray], second: tuple[FloatArray, IntArray, FloatArray]
) -> float:
    """Covariance of two estimates by the events that both count.

    first, second : responses (B,), the bin of each event (N,) with -1 for none, and its weight (N,), event by event in
                    the same order
    """
    (a, bins_a, weight_a), (b, bins_b, weight_b) = first, second
    shared = (bins_a >= 0) & (bins_b >= 0)
    return float(np.sum((weight_a * a[bins_a] * weight_b * b[bins_b])[shared]))


def bootstrap_covariance(
    parts: list[tuple[FloatArray, IntArray, FloatArray]], n: int, rng: np.random.Generator
) -> FloatArray:
    """(M, M) covariance of M estimates over n bootstraps of their common events, by their linear responses.

    parts : of each estimate as for `shared_covariance`
    """
    events = [np.where(bins >= 0, weight * a[bins], 0.0) for a, bins, weight in parts]
    columns = np.stack(events, axis=1)
    drawn = np.array([rng.poisson(1.0, columns.shape[0]) @ columns for _ in range(n)])
    result: FloatArray = np.cov(drawn, rowvar=False)
    return result
