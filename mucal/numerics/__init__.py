"""What a textbook has a name for: keyed random numbers, small batched solves."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mucal.numerics.keyed import normal, start_word, uniform

__all__ = ["normal", "start_word", "uniform"]


def __getattr__(name: str) -> Any:
    # compiled: who only wants a part that is not must not wait for it
    if name in __all__:
        return getattr(import_module("mucal.numerics.keyed"), name)
    raise AttributeError(f"module 'mucal.numerics' has no attribute {name!r}")
