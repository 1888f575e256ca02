"""How the fit of one track ended."""

import numpy as np

from mucal.arrays import IntArray
from mucal.errors import StatusEnum
from mucal.ledger import Ledger
from mucal.refit.kernels import fit as kernels


class FitStatus(StatusEnum):
    """Every member carries a sentence.  A track that is not OK has NaN for its results."""

    OK = kernels.OK, "the predicted change of chi2 fell below the tolerance"
    PROPAGATION = kernels.PROPAGATION, "the reference track did not reach every surface; see `propagation`"
    TOO_FEW_HITS = kernels.TOO_FEW_HITS, "the track has fewer measurements than parameters plus one"
    NOT_POSITIVE = kernels.NOT_POSITIVE, "the covariance of the residuals is not positive definite"
    UNCONSTRAINED = kernels.UNCONSTRAINED, "the measurements do not determine every parameter of the track"
    ITERATION_CAP = kernels.ITERATION_CAP, "the largest number of iterations was reached before the tolerance"
    NO_DESCENT = kernels.NO_DESCENT, "chi2 rose along the step however short it was made"
    LARGE_STEP = kernels.LARGE_STEP, "a step turned the dip angle by more than 0.2; the seed is not of this track"
    BAD_HIT = kernels.BAD_HIT, "a hit is not finite, has no positive error or lies on an unknown module"
    BAD_SEED = kernels.BAD_SEED, "the seed is not finite or its charge is not that of q/p"
    DOUBLE_HIT = kernels.DOUBLE_HIT, "two hits lie on one module"


def ledger_of_tracks(status: IntArray, run: IntArray, lumi: IntArray, event: IntArray) -> Ledger:
    """read = used + rejected, by `FitStatus`; the first five of each reason by run:lumi:event."""
    wrong = {s: np.flatnonzero(status == s) for s in FitStatus if s != FitStatus.OK}
    return Ledger(
        unit="tracks",
        read=status.size,
        used=int((status == FitStatus.OK).sum()),
        rejected={s.name.lower(): rows.size for s, rows in wrong.items()},
        examples={
            s.name.lower(): tuple(f"{run[i]}:{lumi[i]}:{event[i]}" for i in rows[:5]) for s, rows in wrong.items()
        },
    )
