"""One thin command per stage: parse, load, call, save, print the summary.

The rooms are reached as ``mucal.workflow`` and so on, which imports them on first use: ``mucal --help`` and the help
of every command stay light.
"""

from mucal.cli.program import main

__all__ = ["main"]
