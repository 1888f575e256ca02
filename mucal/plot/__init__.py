"""Results as figures, in the field's style: each function takes a result and returns a `matplotlib.figure.Figure`."""

from mucal.plot.spectrum import spectrum

__all__ = ["spectrum"]
