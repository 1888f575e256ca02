"""How the fit of one pair ended."""

from mucal.errors import StatusEnum
from mucal.refit.kernels import fit as kernels


class PairStatus(StatusEnum):
    """Every member carries a sentence.  A pass that is not OK has NaN for its results."""

    OK = kernels.OK, "the predicted change of chi2 fell below the tolerance"
    PROPAGATION = kernels.PROPAGATION, "a reference track did not reach every surface"
    TOO_FEW_HITS = kernels.TOO_FEW_HITS, "a track has fewer measurements than parameters plus one"
    NOT_POSITIVE = kernels.NOT_POSITIVE, "the covariance of a track's residuals is not positive definite"
    UNCONSTRAINED = kernels.UNCONSTRAINED, "the measurements do not determine every parameter of the pair"
    ITERATION_CAP = kernels.ITERATION_CAP, "the largest number of iterations was reached before the tolerance"
    NO_DESCENT = kernels.NO_DESCENT, "chi2 rose along the step however short it was made"
    LARGE_STEP = kernels.LARGE_STEP, "a step turned a dip angle by more than 0.2; a seed is not of this track"
    BAD_HIT = kernels.BAD_HIT, "a hit is not finite, has no positive error or lies on an unknown module"
    BAD_SEED = kernels.BAD_SEED, "a seed is not finite or its charge is not that of q/p"
    DOUBLE_HIT = kernels.DOUBLE_HIT, "two hits of one track lie on one module"
    LONE = 20, "the pair has one track only"
    CROWDED = 21, "more than two tracks share the number of the pair"
    SHARED_HIT = 22, "both tracks hold the same hit"
    PARALLEL = 23, "the tracks open by less than 1 mrad: their common vertex is undefined"
    NOT_TRIED = 24, "no mass was given, or the fit of the vertex failed"
    OUTSIDE_WINDOW = 25, "the mass of the vertex fit lies outside the window"
    OUTSIDE_TABLE = 26, "the softer muon's pT lies outside the table of reference masses"
    LARGE_CHI2 = 27, "chi2 per degree of freedom is larger than the selection allows"
    LARGE_EDM = 28, "the last step predicted a larger change of chi2 than the selection allows"
    SOFT = 29, "a muon's pT on the surface of the mass is smaller than the selection allows"
    FORWARD = 30, "a muon's |eta| on the surface of the mass is larger than the selection allows"
