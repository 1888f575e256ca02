"""One pass over the events: corrected with the table so far, split in halves, filled into mass histograms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from mucal.arrays import BoolArray, FloatArray
from mucal.ledger import Ledger
from mucal.massfit import Binning, MassHistograms, fill
from mucal.numerics import normal
from mucal.scale import ResolutionTable, ScaleTable, correct_pt
from mucal.scale.iteration import extra_variance
from mucal.store import Result
from mucal.track import Dimuons
from mucal.workflow.halves import derives
from mucal.workflow.progress import Event, Tell


class Source(Protocol):
    """Pairs in chunks; every iteration starts anew, `ledger` tells what the last one counted."""

    @property
    def ledger(self) -> Ledger:
        """Counts of the last iteration."""
        ...

    def __iter__(self) -> Iterator[Dimuons]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Masses(Result):
    """The masses inside one window, of the events that do not derive the calibration.

    mass : (N,) GeV
    """

    mass: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass(Result):
    """What one pass over the events collected.

    derive   : mass histograms of the events that derive the calibration
    validate : and of the others; without a split, of all
    spectra  : masses for the spectra, of the validating events
    read     : pairs that came from the reader
    filled   : of these, pairs inside the bins
    """

    derive: MassHistograms
    validate: MassHistograms
    spectra: tuple[Masses, ...]
    read: int
    filled: int

    @property
    def ledger(self) -> Ledger:
        """Pairs that were read, and those inside the kinematic and mass bins."""
        return Ledger(
            unit="pairs", read=self.read, used=self.filled, rejected={"outside_bins": self.read - self.filled}
        )


def collect(
    source: Source,
    binning: Binning,
    *,
    table: ScaleTable | None = None,
    smearing: ResolutionTable | None = None,
    windows: Sequence[tuple[float, float]] = (),
    keep: Sequence[int] = (),
    seed: int = 1,
    fraction: float = 1.0,
    tell: Tell,
    stage: str,
) -> Pass:
    """Read all pairs once, correct them if there is a table, smear them if there is a resolution to add, and fill.

    smearing : a, b, c of what is added in squares; where it is negative nothing is
    windows  : GeV, of the spectra
    keep     : masses kept in each
    fraction : of the events that derive; 1 puts all into both halves
    """
    halves = [_empty(binning), _empty(binning)]
    masses: list[list[FloatArray]] = [[] for _ in windows]
    kept = [0] * len(windows)
    read = 0
    for chunk in source:
        read += len(chunk)
        pairs = chunk if table is None else corrected(chunk, table)
        pairs = pairs if smearing is None else smeared(pairs, smearing)
        chosen: BoolArray = derives(pairs, seed, fraction)
        for i, half in enumerate((pairs.select(chosen), pairs.select(~chosen if fraction < 1.0 else chosen))):
            halves[i] = halves[i] + fill(half, binning)
        mass = half.mass
        for i, (low, high) in enumerate(windows):
            inside = mass[(mass >= low) & (mass < high)][: keep[i] - kept[i]]
            kept[i] += inside.size
            masses[i].append(inside)
        tell(Event(stage=stage, done=read, unit="pairs"))
    filled = sum(int(h.counts.sum()) for h in halves[: 2 if fraction < 1.0 else 1])
    return Pass(
        derive=halves[0],
        validate=halves[1],
        spectra=tuple(Masses(mass=np.concatenate([np.zeros(0), *part])) for part in masses),
        read=read,
        filled=filled,
    )


def corrected(pairs: Dimuons, table: ScaleTable) -> Dimuons:
    """The pairs whose muons both lie inside the table, with corrected momenta."""
    eta = pairs.eta
    inside = np.all((eta >= table.eta_edges[0]) & (eta < table.eta_edges[-1]), axis=1)
    kept = pairs.select(inside)
    return kept.with_pt(correct_pt(table, kept.pt, kept.eta, kept.charge))


def smeared(pairs: Dimuons, extra: ResolutionTable) -> Dimuons:
    """The pairs with k -> k (1 + z sqrt(variance)); z is a function of (run, lumi, event, charge), the same every time.

    Muons outside the table stay as they are.
    """
    eta = pairs.eta
    inside = (eta >= extra.eta_edges[0]) & (eta < extra.eta_edges[-1])
    variance = np.zeros(pairs.pt.shape)
    variance[inside] = extra_variance(extra, pairs.pt[inside], eta[inside])
    event = (column[:, None] for column in (pairs.run, pairs.lumi, pairs.event))
    z = normal(SMEARING_SEED, "workflow.passes", *event, pairs.charge) if len(pairs) else np.zeros(pairs.pt.shape)
    return pairs.with_pt(pairs.pt / (1.0 + z * np.sqrt(variance)))


SMEARING_SEED: Final = 1


def _empty(binning: Binning) -> MassHistograms:
    return fill(Dimuons.concatenate([]), binning)
