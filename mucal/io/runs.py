"""Which runs and luminosity sections may be used: certified ones, and the eras that an analysis names."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, IntArray
from mucal.errors import InputError
from mucal.io.json_file import read_json
from mucal.ledger import Ledger

NO_ERA: Final = "no_era"
"""Reason of events in a run that belongs to no era of the configuration."""
UNCERTIFIED: Final = "uncertified"
_RUN: Final = 2**32
"""Larger than any luminosity section: run * _RUN + lumi orders both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedRuns:
    """Luminosity sections that are certified, as ranges that do not overlap, in order.

    first, last : (R,) run * 2^32 + luminosity section, both ends included
    """

    first: IntArray
    last: IntArray

    def hold(self, run: IntArray, lumi: IntArray) -> BoolArray:
        """(N,) whether the luminosity section of each event is certified."""
        key = run * _RUN + lumi
        at = np.searchsorted(self.first, key, side="right") - 1
        inside: BoolArray = (at >= 0) & (key <= np.append(self.last, -1)[at])
        return inside


def read_certified(path: str | Path) -> CertifiedRuns:
    """Certified sections from JSON as CMS publishes it: {"273158": [[1, 1279]], …}, run -> ranges of sections.

    Raises InputError if it is something else, or ranges of a run overlap.
    """
    content = read_json(path)
    try:
        ranges = sorted(
            (int(run) * _RUN + int(low), int(run) * _RUN + int(high))
            for run, sections in content.items()
            for low, high in sections
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise _no_list(path, f"not run -> ranges of luminosity sections ({error})") from error
    first, last = (np.array([r[i] for r in ranges], dtype=np.int64) for i in (0, 1))
    wrong = np.flatnonzero((last < first) | (np.append(first[1:], np.iinfo(np.int64).max) <= last))
    if wrong.size:
        run, low = divmod(int(first[wrong[0]]), _RUN)
        raise _no_list(path, f"ranges of run {run} overlap or run backwards at section {low}")
    return CertifiedRuns(first=first, last=last)


def _no_list(path: str | Path, found: str) -> InputError:
    return InputError(
        f"{Path(path).name} is no list of certified runs: {found}",
        kind="input.certified",
        where={"file": path},
        do='write it as {"run": [[first section, last section], …], …}',
    )


def check_eras(eras: Mapping[str, tuple[int, int]]) -> None:
    """Eras are ranges of runs that do not overlap.  Raises ValueError that names two that do, or one that is none."""
    ordered = sorted(eras.items(), key=lambda item: item[1])
    for name, (first, last) in ordered:
        if not 0 <= first <= last:
            raise ValueError(f"eras.{name} is [{first}, {last}]; expected its first and its last run")
    for (name, (_, last)), (other, (first, _)) in pairwise(ordered):
        if first <= last:
            raise ValueError(f"eras.{name} and eras.{other} both hold run {first}")


def era_of(run: IntArray, eras: Mapping[str, tuple[int, int]]) -> IntArray:
    """(N,) number of each event's era, in the order of the mapping; -1 for none."""
    found = np.full(run.size, -1, dtype=np.int64)
    for i, (first, last) in enumerate(eras.values()):
        found[(run >= first) & (run <= last)] = i
    return found


def refuse_no_era(ledger: Ledger, eras: Mapping[str, tuple[int, int]]) -> None:
    """Raises InputError if events were rejected because their run belongs to no era."""
    if NO_ERA not in ledger.rejected:
        return
    raise InputError(
        f"{ledger.rejected[NO_ERA]} events are of runs outside all eras of the configuration ({', '.join(eras)})",
        kind="input.era",
        where={"first": "; ".join(ledger.examples[NO_ERA])},
        do="leave out the files of other eras, or name their era; [input.eras] holds first and last run of each",
    )
