"""Section ``[bins]``: kinematic bins of both muons, and the mass axis."""

from dataclasses import dataclass

import numpy as np

from mucal.massfit import Binning, fewest_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Section ``[bins]``: kinematic bins of both muons, and the mass axis.

    eta_edges   :      of each muon; of |eta| if `abs_eta`
    pt_edges    : GeV  of each muon
    mass_window : GeV
    mass_bins   :      equal steps in the window
    abs_eta     :      bin in |eta|
    min_data, min_simulation : events that a kinematic bin needs; thinner ones are merged with a neighbour in pT (0:
                  none is).  None: by resonance, 500 and 1000 for quarkonia, 750 and 750 for the Z
    resolution_eta_edges     : of the resolution table, some of `eta_edges`; empty: all of them
    """

    eta_edges: tuple[float, ...] = tuple(round(-2.4 + 0.2 * i, 10) for i in range(25))
    pt_edges: tuple[float, ...] = (4.0, 5.2, 6.3, 8.7, 12.0, 25.0)
    mass_window: tuple[float, float] = (2.9, 3.3)
    mass_bins: int = 80
    abs_eta: bool = False
    min_data: float | None = None
    min_simulation: float | None = None
    resolution_eta_edges: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.mass_window[0] < self.mass_window[1] or self.mass_bins < 10:
            raise ValueError(
                f"mass_window = {list(self.mass_window)} in {self.mass_bins} bins, expected low < high and at least 10"
            )
        for name in ("min_data", "min_simulation"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} = {value}, expected 0 or more events")
        foreign = [edge for edge in self.resolution_eta_edges if edge not in self.eta_edges]
        if foreign or len(self.resolution_eta_edges) == 1:
            raise ValueError(
                f"resolution_eta_edges = {list(self.resolution_eta_edges)}, expected two or more of the eta_edges"
            )
        self.binning()

    @property
    def table_edges(self) -> tuple[float, ...]:
        """Edges of the table that these bins give: bins of |eta| stand on both sides."""
        return (*(-edge for edge in self.eta_edges[:0:-1]), *self.eta_edges) if self.abs_eta else self.eta_edges

    def fewest_events(self, resonance: str) -> tuple[float, float]:
        """Events of data and of simulation that a kinematic bin needs, for the mass fits of a resonance."""
        data, simulation = fewest_events(resonance)
        return (
            data if self.min_data is None else self.min_data,
            simulation if self.min_simulation is None else self.min_simulation,
        )

    def binning(self) -> Binning:
        """The edges as arrays."""
        return Binning(
            eta_edges=np.array(self.eta_edges),
            pt_edges=np.array(self.pt_edges),
            mass_edges=np.linspace(*self.mass_window, self.mass_bins + 1),
            abs_eta=self.abs_eta,
        )
