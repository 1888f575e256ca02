"""What a textbook has a name for: keyed random numbers, small batched solves."""

from mucal.numerics.keyed import normal, uniform

__all__ = ["normal", "uniform"]
