"""How the fit of one efficiency ended."""

from mucal.errors import StatusEnum


class Status(StatusEnum):
    """The end of one fit; every member carries a sentence."""

    OK = 0, "the fit converged: EDM below tolerance, covariance finite and positive definite"
    EMPTY = 1, "the bin holds no probes"
    LOW_STATS = 2, "the bin holds fewer probes than the configured minimum; widen the bin or merge it"
    NOT_CONVERGED = 3, "the EDM stayed above tolerance within the allowed steps; look at the spectra"
    HESSIAN_NOT_PD = 4, "the second derivatives were not positive definite at the minimum; constrain a shape"
    AT_BOUNDARY = 5, "the best efficiency is 0 or 1: it has an interval but no standard error"
    BAD_GOF = 6, "the fit converged but its goodness-of-fit probability is below the configured minimum"
    TEMPLATE_EMPTY = 7, "the signal template of the bin is empty inside the window"
    NON_FINITE = 8, "the contents or the template of the bin are not finite, or negative"
    OUTSIDE = 9, "a given efficiency lies outside [0, 1] or its error is not a positive number"
