"""Section ``[bins]``: kinematic bins of both muons, and the mass axis."""

from dataclasses import dataclass

import numpy as np

from mucal.massfit import Binning


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Section ``[bins]``: kinematic bins of both muons, and the mass axis.

    eta_edges   :      of each muon; of |eta| if `abs_eta`
    pt_edges    : GeV  of each muon
    mass_window : GeV
    mass_bins   :      equal steps in the window
    abs_eta     :      bin in |eta|
    """

    eta_edges: tuple[float, ...] = tuple(round(-2.4 + 0.2 * i, 10) for i in range(25))
    pt_edges: tuple[float, ...] = (4.0, 5.2, 6.3, 8.7, 12.0, 25.0)
    mass_window: tuple[float, float] = (2.9, 3.3)
    mass_bins: int = 80
    abs_eta: bool = False

    def __post_init__(self) -> None:
        if not self.mass_window[0] < self.mass_window[1] or self.mass_bins < 10:
            raise ValueError(
                f"mass_window = {list(self.mass_window)} in {self.mass_bins} bins, expected low < high and at least 10"
            )
        self.binning()

    def binning(self) -> Binning:
        """The edges as arrays."""
        return Binning(
            eta_edges=np.array(self.eta_edges),
            pt_edges=np.array(self.pt_edges),
            mass_edges=np.linspace(*self.mass_window, self.mass_bins + 1),
            abs_eta=self.abs_eta,
        )
