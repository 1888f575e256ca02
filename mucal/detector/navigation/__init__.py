"""Navigation: the elements that a helix crosses, in the order in which it crosses them.

A helix turns about z as in a uniform axial field, for half a turn at most; a charge q > 0 in B_z > 0 turns towards
decreasing phi.  Crossings of modules are exact intersections with their planes, inside their outlines; crossings of
passive surfaces are exact too.  Cost: about 40 boxes and a few candidate planes per layer, whatever the number of
modules.
"""

from mucal.detector.navigation.crossings import Crossings, NavigationStatus, cross
from mucal.detector.navigation.index import NavigationIndex, navigation_index

__all__ = ["Crossings", "NavigationIndex", "NavigationStatus", "cross", "navigation_index"]
