"""How the propagation of one track ended."""

from mucal.errors import StatusEnum
from mucal.propagation.kernels import legs as kernels


class TrackStatus(StatusEnum):
    """The end of one track; every member carries a sentence.  What a track did not reach is NaN."""

    OK = kernels.OK, "the track reached every surface of its route"
    LOOPER = kernels.LOOPER, "the track turned by more than half a circle before its last surface"
    RANGED_OUT = kernels.RANGED_OUT, "the muon lost its momentum in the material before its last surface"
    OUTSIDE_FIELD = kernels.OUTSIDE_FIELD, "the track left the region where the field is known; nothing is extrapolated"
    MISSED = kernels.MISSED, "the next surface lies behind the track, runs along it or is never reached"
    STEP_CAP = kernels.STEP_CAP, "the track took the largest number of steps allowed; lengthen the steps or the cap"
    BAD_START = kernels.BAD_START, "the start state is not finite or has no momentum"
    TOO_FORWARD = kernels.TOO_FORWARD, "the track starts at |eta| > 4, where no tracker of ours measures"
