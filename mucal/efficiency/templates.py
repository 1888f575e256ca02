"""Signal spectra of passing and failing probes before smearing."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.efficiency.histograms import ProbeHistograms
from mucal.theory import fsr

PAD: Final = 10.0
"""GeV of spectrum kept on either side of the window: what smearing may bring in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MassTemplates:
    """Signal on a grid that refines the mass bins and reaches beyond the window.

    edges   : (G+1,) GeV, uniform
    content : (R, 2, G)  passing and failing; R rows, or 1 for all bins
    sumw2   : (R, 2, G)  variances of the content, 0 if it is known exactly; they count in the goodness of fit alone
    per_bin : grid steps in one mass bin
    pad     : grid steps below the window
    """

    edges: FloatArray
    content: FloatArray
    sumw2: FloatArray
    per_bin: int
    pad: int

    def for_window(self, histograms: ProbeHistograms) -> FloatArray:
        """The content, checked against the bins it is to describe.  Raises ValueError if it does not fit them."""
        mass = histograms.mass_edges
        expected = self.edges[self.pad :: self.per_bin][: mass.size]
        if expected.size != mass.size or np.max(np.abs(expected - mass)) > 1e-6:
            raise ValueError(f"templates on {self.edges[0]:g} to {self.edges[-1]:g} GeV do not refine the mass bins")
        if self.content.shape[0] not in (1, histograms.n_bins):
            raise ValueError(f"templates have {self.content.shape[0]} rows for {histograms.n_bins} bins")
        return np.ascontiguousarray(self.content, dtype=np.float64)

    def spread(self, n_mass: int) -> FloatArray:
        """(R, 2, M) variance of the share of the signal in each mass bin."""
        window = slice(self.pad, self.pad + n_mass * self.per_bin)
        shape = (*self.content.shape[:2], n_mass, self.per_bin)
        norm = self.content[:, :, window].sum(axis=2)
        safe = np.where(norm > 0, norm, 1.0)[:, :, None]
        result: FloatArray = self.sumw2[:, :, window].reshape(shape).sum(axis=3) / safe**2
        return result


def wide_edges(mass_edges: FloatArray, per_bin: int = 2, pad: float = PAD) -> tuple[FloatArray, int]:
    """Uniform edges that refine the mass bins `per_bin` times and reach `pad` GeV beyond; steps below the window."""
    step = (mass_edges[-1] - mass_edges[0]) / (mass_edges.size - 1) / per_bin
    n_pad = int(np.ceil(pad / step))
    n = (mass_edges.size - 1) * per_bin + 2 * n_pad
    return mass_edges[0] + step * (np.arange(n + 1) - n_pad), n_pad


def simulated_templates(wide: ProbeHistograms, mass_edges: FloatArray, *, pass_for_fail: float = 0.0) -> MassTemplates:
    """Templates from simulated probes matched to truth, filled in `wide_edges`.

    wide          : spectra on wide edges that refine `mass_edges`
    mass_edges    : GeV, of the fit
    pass_for_fail : fraction of the passing spectrum that stands in for failing probes, where few fail

    Raises ValueError if the wide edges do not refine the mass bins.
    """
    step = wide.mass_edges[1] - wide.mass_edges[0]
    per_bin = round((mass_edges[1] - mass_edges[0]) / step)
    pad = round((mass_edges[0] - wide.mass_edges[0]) / step)
    content, sumw2 = np.array(wide.counts, dtype=float), np.array(wide.sumw2, dtype=float)
    if pass_for_fail > 0.0:
        n_pass, n_fail = content[:, :1].sum(axis=2), content[:, 1:].sum(axis=2)
        borrowed = content[:, 0] / np.maximum(n_pass, 1e-300) * np.maximum(n_fail, 1.0)
        content[:, 1] = (1.0 - pass_for_fail) * content[:, 1] + pass_for_fail * borrowed
    found = MassTemplates(edges=wide.mass_edges, content=content, sumw2=sumw2, per_bin=per_bin, pad=pad)
    if per_bin < 1 or pad < 0:
        raise ValueError("the wide edges do not refine the mass bins")
    return found


def line_templates(mass_edges: FloatArray, per_bin: int = 2) -> MassTemplates:
    """The Z line (Drell-Yan with final-state radiation, `theory.fsr`) for passing and failing probes alike."""
    edges, pad = wide_edges(mass_edges, per_bin)
    content = fsr.spectrum("z", edges)
    both = np.stack([content, content])[None]
    return MassTemplates(edges=edges, content=both, sumw2=np.zeros_like(both), per_bin=per_bin, pad=pad)
