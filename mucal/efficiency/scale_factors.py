"""Scale factors of one step: nominal, alternatives, and efficiencies of data and simulation."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.efficiency.fits import Efficiencies
from mucal.efficiency.smooth import SmoothConfig, Surface, smooth_efficiency, smooth_scale_factor
from mucal.store import Result

LARGEST_EFFICIENCY = 0.9995
"""Above it (1 - SF eff) / (1 - eff) would be a ratio of noise; the reference analysis clips there too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFactors(Result):
    """Efficiency in data over simulation for one step.

    step               : name
    nominal            : the scale factor
    eff_data, eff_mc   : the efficiencies themselves, for what fails
    alternatives       : names of the alternatives, as "signal" and "background"
    alternative        : the scale factor by each, smoothed in the same way
    """

    step: str
    nominal: Surface
    eff_data: Surface
    eff_mc: Surface
    alternatives: tuple[str, ...] = ()
    alternative: tuple[Surface, ...] = ()

    def __post_init__(self) -> None:
        if len(self.alternatives) != len(self.alternative):
            raise ValueError(f"{len(self.alternatives)} names for {len(self.alternative)} alternatives")

    def __call__(self, eta: FloatArray, pt: FloatArray, charge: IntArray, ut: FloatArray | None = None) -> FloatArray:
        """(N,) scale factors for muons that pass."""
        return self.nominal(eta, pt, charge, ut)

    def failing(self, eta: FloatArray, pt: FloatArray, charge: IntArray, ut: FloatArray | None = None) -> FloatArray:
        """(N,) scale factors for muons that fail, (1 - SF eff_mc) / (1 - eff_mc)."""
        eff = np.clip(self.eff_mc(eta, pt, charge, ut), 0.0, LARGEST_EFFICIENCY)
        passing = np.clip(self.nominal(eta, pt, charge, ut) * eff, 0.0, LARGEST_EFFICIENCY)
        result: FloatArray = (1.0 - passing) / (1.0 - eff)
        return result

    def ratio(self, name: str) -> "FloatArray":
        """(E, Q, P) coefficients of an alternative less those of the nominal one."""
        other = self.alternative[self.alternatives.index(name)]
        result: FloatArray = other.coefficients - self.nominal.coefficients
        return result

    def summary(self) -> list[str]:
        """Lines for people."""
        n = self.nominal
        some = np.isfinite(n.p_value)
        low = int((n.p_value[some] < 0.01).sum())
        lines = [
            f"{self.step}: degree {n.degree_pt} in pT"
            + (f", {n.degree_ut} in u_T" if n.degree_ut else "")
            + f"; chi2/ndf {n.chi2.sum():.0f}/{n.ndf.sum():.0f}, {low} of {int(some.sum())} slices below p = 1 %"
        ]
        return lines + [f"  left out: {text}" for text in n.left_out]


def scale_factors(
    data: Efficiencies,
    mc: Efficiencies,
    config: SmoothConfig,
    alternatives: Mapping[str, Efficiencies] | None = None,
) -> ScaleFactors:
    """Smoothed scale factors of one step.

    data, mc     : in the same bins
    config       : degrees; a tested degree is that of the nominal scale factor, for all
    alternatives : name -> efficiencies of data under another model of signal or background

    Raises as `smooth_scale_factor`.
    """
    nominal = smooth_scale_factor(data, mc, config)
    same = SmoothConfig(degree_pt=nominal.degree_pt, degree_ut=config.degree_ut, significance=config.significance)
    found = {name: smooth_scale_factor(other, mc, same) for name, other in (alternatives or {}).items()}
    return ScaleFactors(
        step=data.histograms.step,
        nominal=nominal,
        eff_data=smooth_efficiency(data, same),
        eff_mc=smooth_efficiency(mc, same),
        alternatives=tuple(found),
        alternative=tuple(found.values()),
    )
