"""The result: templates of one channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.errors import nearest
from mucal.store import Result
from mucal.templates.binning import Binning


@dataclass(frozen=True, slots=True, kw_only=True)
class Templates(Result):
    """P processes, S nuisances and B bins of one channel.

    channel     :              name
    axes, edges :              of the histogram
    processes   : (P,)         names
    nominal     : (P, B)       expected events
    sumw2       : (P, B)       sums of squared weights
    nuisances   : (S,)         names
    groups      : (S,)         group of each
    kappa       : (P, S, B)    ln(varied/nominal) at +1; 0 where a nuisance does not act
    boson       :              whose mass is measured, "w" or "z"
    mass_shifts : (Q,) GeV     increasing, 0 among them
    shifted     : (Q, P, B)    expected events of other masses
    helicity    : (P, H, 9, B) expected events by bin of the boson's pT and |y| (`pt_y_shape`) and helicity term; H = 0
                               if they were not kept
    pt_y_shape  :              bins of pT and of |y|, H of them in all
    """

    SCHEMA = 1

    channel: str
    axes: tuple[str, ...]
    edges: tuple[tuple[float, ...], ...]
    processes: tuple[str, ...]
    nominal: FloatArray
    sumw2: FloatArray
    nuisances: tuple[str, ...]
    groups: tuple[str, ...]
    kappa: FloatArray
    boson: str
    mass_shifts: FloatArray
    shifted: FloatArray
    helicity: FloatArray
    pt_y_shape: tuple[int, ...] = (0, 0)

    def __post_init__(self) -> None:
        p, s, b, q = len(self.processes), len(self.nuisances), self.binning.n_bins, self.mass_shifts.size
        check_shapes(self, nominal=(p, b), sumw2=(p, b), groups=(s,), kappa=(p, s, b), shifted=(q, p, b))
        check_shapes(self, helicity=(p, int(np.prod(self.pt_y_shape)), 9, b))
        if len(set(self.nuisances)) != s:
            twice = next(name for name in self.nuisances if self.nuisances.count(name) > 1)
            raise ValueError(f"nuisance '{twice}' is defined {self.nuisances.count(twice)} times")

    @property
    def binning(self) -> Binning:
        """Its bins."""
        return Binning(axes=tuple(self.axes), edges=tuple(tuple(e) for e in self.edges))

    def at_mass(self, shift: float) -> FloatArray:
        """(P, B) expected events with the boson's mass higher by `shift` (GeV), one of `mass_shifts`.

        Raises ValueError for another shift: no interpolation.
        """
        found = np.flatnonzero(np.abs(self.mass_shifts - shift) < 1e-9)
        if not found.size:
            raise ValueError(f"no template at a mass shift of {shift} GeV; there are {self.mass_shifts.tolist()}")
        result: FloatArray = self.shifted[int(found[0])]
        return result

    def index(self, names: Sequence[str]) -> IntArray:
        """Positions of nuisances.  Raises ValueError that names the nearest for an unknown one."""
        place = {name: i for i, name in enumerate(self.nuisances)}
        for name in names:
            if name not in place:
                raise ValueError(f"no nuisance '{name}' in these templates; the nearest are {nearest(name, place)}")
        return np.array([place[name] for name in names], dtype=np.int64)

    def histogram(self, process: str) -> Any:
        """The nominal template of a process as a `hist.Hist` with named axes and variances."""
        import hist  # half a second

        p = self.processes.index(process)
        made = hist.Hist(
            *(hist.axis.Variable(e, name=a) for a, e in zip(self.axes, self.edges, strict=True)),
            storage=hist.storage.Weight(),
        )
        shape = self.binning.shape
        made.values()[...] = self.nominal[p].reshape(shape)
        made.variances()[...] = self.sumw2[p].reshape(shape)
        return made
