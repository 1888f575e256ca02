"""Whether a mass window suits its peak."""

from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.massfit.bins import MassHistograms
from mucal.theory import resonance

EDGE: Final = 0.15
"""Part of the window at either end in which a peak is cut off: three widths of 2 % in the usual J/psi window."""

ASYMMETRY: Final = 1.5
"""Largest ratio of the two sides of the window about the reference mass."""

SMOOTHING: Final = 5
"""Mass bins added before the highest is sought, so that no single fluctuation is taken for the peak."""


def window_warnings(histograms: MassHistograms, name: str) -> tuple[str, ...]:
    """Sentences about a window that is asymmetric about the reference mass, or whose peak lies at an edge.

    histograms : all bins are added
    name       : resonance in the table of `theory.pdg`

    Returns nothing if the window suits; otherwise each sentence suggests a window.
    """
    edges, mass = histograms.mass_edges, resonance(name).mass
    low, high = float(edges[0]), float(edges[-1])
    window = f"{low:g} to {high:g} GeV"
    found = []
    below, above = mass - low, high - mass
    if min(below, above) <= 0:
        half = 0.5 * (high - low)
        found.append(f"the mass window {window} does not hold {name} at {mass:g} GeV; use {_suggest(mass, half)}")
    elif max(below, above) > ASYMMETRY * min(below, above):
        found.append(
            f"the mass window {window} reaches {below:.3g} GeV below {name} and {above:.3g} GeV above: the background "
            f"is measured on one side; use {_suggest(mass, max(below, above))}"
        )
    total = histograms.counts.sum(axis=0)
    if np.all(np.isfinite(total)) and total.sum() > 0:
        peak = _peak(total, edges)
        if min(peak - low, high - peak) < EDGE * (high - low):
            side = "lower" if peak - low < high - peak else "upper"
            found.append(
                f"the highest point of all spectra together, {peak:.4g} GeV, lies at the {side} edge of the mass "
                f"window {window}; use {_suggest(peak, 0.5 * (high - low))} or look for a wrong unit or selection"
            )
    return tuple(found)


def _peak(counts: FloatArray, edges: FloatArray) -> float:
    """Centre of the densest SMOOTHING neighbouring bins."""
    n = min(SMOOTHING, counts.size)
    content = np.convolve(counts, np.ones(n), mode="valid")
    width = edges[n:] - edges[:-n]
    best = int(np.argmax(content / width))
    return float(0.5 * (edges[best] + edges[best + n]))


def _suggest(centre: float, half: float) -> str:
    half = min(half, 0.5 * centre)
    return f"{centre - half:.3f} to {centre + half:.3f} GeV"
