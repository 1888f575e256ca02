"""Events that derive a calibration and events that show it: chosen by their identity, never by their order."""

from mucal.arrays import BoolArray
from mucal.numerics.keyed import uniform
from mucal.track import Dimuons


def derives(dimuons: Dimuons, seed: int, fraction: float) -> BoolArray:
    """(N,) whether a pair belongs to the events that derive the calibration.

    The choice is a function of the seed and of (run, lumi, event), the same in any chunk and any order.

    fraction : of the events that derive
    """
    if not len(dimuons):
        return dimuons.run.astype(bool)
    chosen: BoolArray = uniform(seed, "workflow.halves", dimuons.run, dimuons.lumi, dimuons.event) < fraction
    return chosen
