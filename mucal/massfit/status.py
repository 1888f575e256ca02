"""How the fit of one bin ended, and what it took."""

from mucal.errors import StatusEnum


class Status(StatusEnum):
    """The end of one fit; every member carries a sentence."""

    OK = 0, "the fit converged: EDM below tolerance, covariance finite and positive definite"
    EMPTY = 1, "the bin holds no events"
    LOW_STATS = 2, "the bin holds fewer events than the configured minimum; widen the bin or merge it"
    NOT_CONVERGED = 3, "the EDM stayed above tolerance within the allowed steps; look at the spectrum"
    HESSIAN_NOT_PD = 4, "the Hessian was not positive definite at the last step; widen the bin or fix the width"
    AT_BOUNDARY = 5, "a parameter ran to the edge of its domain; fix it or constrain it"
    BAD_GOF = 6, "the fit converged but its goodness-of-fit probability is below the configured minimum"
    TEMPLATE_EMPTY = 7, "the signal template of the bin is empty inside the window"
    NON_FINITE = 8, "the contents or the template of the bin are not finite"


class Remedy(StatusEnum):
    """The last step of the ladder that a fit took (`massfit.retries`); every member carries a sentence."""

    NONE = 0, "the first fit is the result, good or not"
    NEIGHBOURS = 1, "started from the values of neighbouring bins"
    FIXED_SLOPE = 2, "with the slope of the background fixed to that of the neighbours"
    FIXED_WIDTH = 3, "with slope and width fixed to those of the neighbours"
    MERGED = 4, "of a bin that failed and was merged with its neighbour in pT"
    DROPPED = 5, "failed at every step: dropped, and counted"
