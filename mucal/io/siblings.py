"""Files that seem to have been forgotten: of a numbered series most are given and some are not."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

NUMBER: Final = re.compile(r"\d+(?!.*\d)", re.DOTALL)
"""The last number in a file's name, its suffix left out."""
LISTED: Final = 5


def missing_siblings(paths: Iterable[Path]) -> list[str]:
    """A sentence for each numbered series of which at least two files are given and others lie beside them.

    The series of `part_7.root` are the files of its folder whose names differ in the last number alone.
    """
    series: dict[tuple[Path, str], set[str]] = defaultdict(set)
    for path in paths:
        if NUMBER.search(path.stem):
            series[path.parent, _pattern(path)].add(path.name)
    notes = []
    for (folder, pattern), given in series.items():
        beside = sorted(p.name for p in folder.iterdir() if p.is_file() and _pattern(p) == pattern)
        missing = [name for name in beside if name not in given]
        if len(given) > 1 and missing:
            more = f" and {len(missing) - LISTED} more" if len(missing) > LISTED else ""
            notes.append(
                f"{len(given)} of {len(given) + len(missing)} files {pattern} in {folder} are given; "
                f"not among them: {', '.join(missing[:LISTED])}{more}"
            )
    return notes


def _pattern(path: Path) -> str:
    return NUMBER.sub("#", path.stem) + path.suffix
