"""Families of global parameters: what floats, how finely, and how well it is known beforehand."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.detector import ALIGNMENT

INFINITE: Final = float("inf")

COMPONENTS: Final[dict[str, tuple[str, ...]]] = {
    "alignment": ALIGNMENT,
    "bfield": ("x", "y", "z"),
    "eloss": ("scale",),
    "modes": ("amplitude",),
    "hit_variance": ("u", "v"),
    "scattering": ("variance",),
    "straggling": ("variance",),
    "mass": ("reference",),
}
"""Kind -> its components, in the order of the columns of `refit.ParameterMap`."""

KINDS: Final = tuple(COMPONENTS)

UNITS: Final[dict[str, tuple[str, ...]]] = {
    "alignment": ("cm", "cm", "cm", "rad", "rad", "rad"),
    "bfield": ("T", "T", "T"),
    "eloss": ("1",),
    "modes": ("T",),
    "hit_variance": ("1", "1"),
    "scattering": ("1",),
    "straggling": ("1",),
    "mass": ("GeV",),
}

PRIORS: Final[dict[str, tuple[float, ...]]] = {
    "alignment": (5e-3, 5e-3, 0.5, 5e-3, 5e-3, 5e-3),
    "bfield": (0.038, 0.038, 0.038),
    "eloss": (float(np.log(2.0)),),
    "modes": (4e-3,),
    "hit_variance": (float(np.log(3.0)), float(np.log(3.0))),
    "scattering": (float(np.log(3.0)),),
    "straggling": (float(np.log(100.0)),),
    "mass": (1e-4,),
}
"""Widths of the CMS solver, in the units above; a field mode 1e-3 of the field; the mean mass, ours, what 4e4
simulated J/psi pairs leave open: give the error of the reference that is used."""

PRIOR_V_STRIP: Final = 2.0
"""cm, along the strips of a module, which they do not measure."""

GROUP_PRIORS: Final = {"sensors": 0.02, "supports": 0.05, "services": 0.10, "beam pipe": 0.01}
"""ln of the loss of a group of material."""

GRANULARITIES: Final = ("module", "ladder", "layer", "half barrel", "subdet", "whole", "group", "mode")
"""`module`: stereo sisters share all but their alignment and hit variance; `group`: the sensors, and the passive
material, of each subdetector; `mode`: harmonic modes of the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Parameters of one kind.

    kind        :  alignment, bfield, eloss, modes, hit_variance, scattering, straggling or mass: how far the true mean
                   mass of constrained pairs is from the assumed one.  Its prior is the error of that assumption, which
                   so enters the covariance of everything else as one more column
    by          :  one of `GRANULARITIES`
    components  :  those that float; empty: all.  An alignment parameter of a structure moves each of its modules by
                   the same amount in the module's own frame
    prior       :  width of the Gaussian prior of each of them, `inf` for none; empty: `PRIORS`, for groups
                   `GROUP_PRIORS`
    measured_v  :  alignment along v only where the module measures it: pixels and wedges
    passive     :  bfield, eloss, scattering, straggling: passive surfaces have parameters as well
    subdets     :  names of the subdetectors that take part; empty: all
    min_entries :  candidates that must have crossed the region; with fewer the parameter is frozen
    """

    kind: str
    by: str = "module"
    components: tuple[str, ...] = ()
    prior: tuple[float, ...] = ()
    measured_v: bool = True
    passive: bool = True
    subdets: tuple[str, ...] = ()
    min_entries: int = 25

    def __post_init__(self) -> None:
        if self.kind not in COMPONENTS:
            raise ValueError(f"no family of kind {self.kind!r}; there are {', '.join(COMPONENTS)}")
        if self.by not in GRANULARITIES:
            raise ValueError(f"no granularity {self.by!r}; there are {', '.join(GRANULARITIES)}")
        if (self.kind == "modes") != (self.by == "mode") or (self.by == "group" and self.kind != "eloss"):
            raise ValueError(f"a family of kind {self.kind!r} cannot go by {self.by!r}")
        if self.kind == "mass" and self.by != "whole":
            raise ValueError(f"there is one mean mass: a family of kind 'mass' goes by 'whole', not by {self.by!r}")
        unknown = [c for c in self.components if c not in COMPONENTS[self.kind]]
        if unknown:
            raise ValueError(f"{self.kind} has no component {unknown[0]!r}; it has {', '.join(COMPONENTS[self.kind])}")
        if self.prior and len(self.prior) != len(self.floating):
            raise ValueError(f"{len(self.prior)} priors for {len(self.floating)} components of {self.kind}")
        if any(not width > 0 for width in self.prior):
            raise ValueError(f"priors of {self.kind} are {self.prior}; each must be positive, or inf for none")

    @property
    def floating(self) -> tuple[str, ...]:
        """Names of the components that float."""
        return self.components or COMPONENTS[self.kind]

    @property
    def widths(self) -> tuple[float, ...]:
        """Prior width of each floating component."""
        if self.prior:
            return self.prior
        return tuple(PRIORS[self.kind][COMPONENTS[self.kind].index(c)] for c in self.floating)


CMS_2016: Final = (
    Family(kind="alignment", by="module"),
    Family(kind="bfield", by="module", components=("z",), passive=False),
    Family(kind="eloss", by="module", passive=False),
)
"""The choice of the CMS solver: 118 196 parameters on its tracker of 2016."""

REDUCED: Final = (
    Family(kind="alignment", by="module"),
    Family(kind="modes", by="mode"),
    Family(kind="eloss", by="group"),
)
"""Harmonic modes of the field and groups of material instead of parameters for every leg."""
