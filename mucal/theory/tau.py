"""W -> tau nu with tau -> mu nu nu: the muon of a W event with what the tau's decay leaves of its momentum.

A tau- of a W- is left-handed, a tau+ of a W+ right-handed: by CP both decay like a tau- of polarisation P = -1.  At
energies far above its mass the muon is collinear and takes the share z of the tau's momentum with the density

    f(z) = (1 - z) [5 + 5 z - 4 z^2 + P (1 + z - 8 z^2)]/3 = 4 (1 - z^3)/3 for P = -1,      <z> = 2/5,

muon mass and radiation in the decay left out.  Source: Y.S. Tsai, Phys. Rev. D 4 (1971) 2821; docs/physics/theory.md.
"""

from dataclasses import replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.numerics import uniform
from mucal.theory.generator import FIRST, PT, BosonEvents

BRANCHING: Final = 0.1739
"""tau -> mu nu nu; Review of Particle Physics."""
NEWTON_STEPS: Final = 6


def through_tau(events: BosonEvents, seed: int) -> BosonEvents:
    """W events whose muon comes from a tau: same bosons, angles and weights; the rate is `BRANCHING` times theirs.

    events : of a W
    seed   : of the decays, keyed by the number of the event

    Raises ValueError for a Z, whose taus are not polarised like this.
    """
    if events.sample == "z":
        raise ValueError("taus of a Z have another polarisation; give events of a W")
    leptons = events.leptons.copy()
    leptons[:, FIRST, PT] *= momentum_share(uniform(seed, "theory.tau", events.event))
    return replace(events, leptons=leptons)


def momentum_share(u: FloatArray) -> FloatArray:
    """(N,) the share below which a fraction u of the decays lie: (4 z - z^4)/3 = u, by Newton's method."""
    # exact to second order at the end, where the slope vanishes; the function is concave: after the first step no
    # other one passes the root
    z = 1.0 - np.sqrt(0.5 * (1.0 - u))
    for _ in range(NEWTON_STEPS):
        slope = np.maximum(4.0 * (1.0 - z**3), 1e-12)
        z = np.clip(z - (4.0 * z - z**4 - 3.0 * u) / slope, 0.0, 1.0)
    result: FloatArray = z
    return result
