"""What looks wrong in a model and stops no fit: variations that do nothing, one-sided, huge, or twice the same."""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import numpy as np

from mucal.likelihood.blocks import Block
from mucal.likelihood.model import Model

HUGE: Final = 0.7
"""A log-ratio above this doubles or halves a template: rarely a one-sigma effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One warning.

    kind      : "no effect", "one-sided", "huge" or "identical"
    parameter : name
    process   : where it is worst, or ""
    place     : channel and bin where it is worst
    n_bins    : bins concerned, over all processes
    text      : a sentence with numbers
    """

    kind: str
    parameter: str
    process: str
    place: dict[str, str]
    n_bins: int
    text: str

    def __str__(self) -> str:
        where = ", ".join(self.place.values())
        return f"{self.text} ({self.process}, {where})" if self.process else self.text


def look_for_trouble(model: Model) -> tuple[Finding, ...]:
    """Every finding, parameter by parameter."""
    found = list(_without_effect(model))
    for kind in ("one-sided", "huge"):
        worst: dict[int, tuple[int, float, Block, int]] = {}
        for block in model.effects.blocks():
            for column, size, row, count in _measured(model, block, kind):
                seen = worst.get(column, (0, 0.0, block, 0))
                better = size > seen[1]
                worst[column] = (seen[0] + count, *((size, block, row) if better else seen[1:]))
        for column in sorted(worst):
            found.append(_finding(model, kind, column, *worst[column]))
    return (*found, *_identical(model))


def _measured(model: Model, block: Block, kind: str) -> Iterator[tuple[int, float, int, int]]:
    """Columns of a block with the trouble: column, how bad at worst, its row, number of rows."""
    kappa = block.kappa
    if kind == "one-sided":
        if not block.eta.size:
            return
        bad, size = np.abs(block.eta) > np.abs(kappa), np.abs(block.eta)
    else:
        size = np.abs(kappa) + (np.abs(block.eta) if block.eta.size else 0.0)
        if block.additive:
            size = size / np.maximum(model.nominal[block.bins, block.process], 1e-300)[:, None]
        bad = size > HUGE
    for j in np.flatnonzero(bad.any(axis=0)):
        row = int(np.argmax(np.where(bad[:, j], size[:, j], -1.0)))
        yield int(block.columns[j]), float(size[row, j]), row, int(bad[:, j].sum())


def _finding(model: Model, kind: str, column: int, n_bins: int, size: float, block: Block, row: int) -> Finding:
    name = model.parameters[column]
    what = "moves up and down to the same side" if kind == "one-sided" else "changes a template by more than twice"
    unit = "relative change" if block.additive and kind == "huge" else "events" if block.additive else "log-ratio"
    return Finding(
        kind=kind,
        parameter=name,
        process=model.processes[block.process],
        place=model.place(int(block.bins[row])),
        n_bins=n_bins,
        text=f"'{name}' {what} in {n_bins} bins, at worst by a {unit} of {size:.3g}",
    )


def _without_effect(model: Model) -> Iterator[Finding]:
    acts = np.zeros(len(model.parameters), dtype=bool)
    acts[model.rates[model.rates >= 0]] = True
    for block in model.effects.blocks():
        acts[block.columns] |= block.kappa.any(axis=0)
        if block.eta.size:
            acts[block.columns] |= block.eta.any(axis=0)
    for term in model.external:
        acts[model.index(term.parameters)] = True
    for j in np.flatnonzero(~acts):
        name = model.parameters[j]
        text = f"'{name}' changes no template: it keeps its prior, and a free one makes the fit fail"
        yield Finding(kind="no effect", parameter=name, process="", place={}, n_bins=0, text=text)


def _identical(model: Model) -> Iterator[Finding]:
    """Parameters with the same effects, bit for bit, as one before: one finding however many they are."""
    prints: dict[int, list[tuple[int, bytes]]] = {}
    for block in model.effects.blocks():
        for j, column in enumerate(block.columns.tolist()):
            eta = block.eta[:, j].tobytes() if block.eta.size else b""
            digest = sha256(block.bins.tobytes() + block.kappa[:, j].tobytes() + eta).digest()
            prints.setdefault(column, []).append((block.process, digest))
    first: dict[tuple[tuple[int, bytes], ...], int] = {}
    pairs = []
    for column in sorted(prints):
        other = first.setdefault(tuple(sorted(prints[column])), column)
        if other != column:
            pairs.append((model.parameters[column], model.parameters[other]))
    if not pairs:
        return
    name, other_name = pairs[0]
    text = f"'{name}' has the same effects as '{other_name}': only their sum is measured"
    if len(pairs) > 1:
        text = (
            f"{len(pairs)} parameters have the same effects as one before them, as '{name}' and '{other_name}': only "
            "sums are measured"
        )
    yield Finding(kind="identical", parameter=name, process="", place={}, n_bins=0, text=text)
