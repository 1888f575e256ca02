"""What a textbook has a name for: keyed random numbers, small batched solves."""

from mucal.numerics.keyed import normal, start_word, uniform

__all__ = ["normal", "start_word", "uniform"]
