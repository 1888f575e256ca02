"""How a fit ended."""

from mucal.errors import StatusEnum


class Status(StatusEnum):
    """The end of a fit; every member carries a sentence."""

    OK = 0, "the fit converged: EDM below tolerance, exact Hessian finite and positive definite"
    NOT_CONVERGED = 1, "the EDM stayed above tolerance within the allowed steps; allow more, or start elsewhere"
    HESSIAN_NOT_PD = 2, "the Hessian was not positive definite; constrain or freeze what the data do not determine"
    OUTSIDE = 3, "an expected number of events is not above 0 at the start; start with larger rates"
