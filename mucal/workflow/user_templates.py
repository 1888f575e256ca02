"""Templates from own files of events, as the command calls them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mucal.errors import ConfigError, InputError
from mucal.io.named_columns import stream_columns
from mucal.ledger import Ledger
from mucal.numerics.weight_sums import WeightSums
from mucal.store import Provenance, sha256
from mucal.templates import Templates
from mucal.templates.additions import with_efficiencies, with_nonprompt
from mucal.templates.event_weights import EventWeights
from mucal.templates.user_templates import TableConfig, fill_process, user_templates
from mucal.workflow.ingredients import IngredientFiles, load_ingredients
from mucal.workflow.toml_text import overlay, parse_toml, read_toml
from mucal.workflow.validate import build

SECTION: Final = "table"
ROWS: Final = 1 << 16
"""At a time: each may carry hundreds of weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFiles:
    """Own events: process -> its files; the tree of ROOT files that hold several."""

    files: Mapping[str, tuple[str, ...]]
    tree: str | None = None


def load_table(path: str | Path | None, settings: tuple[str, ...] = ()) -> TableConfig:
    """The section ``[table]`` of a configuration file, the defaults without one."""
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    return build(TableConfig, document.values.get(SECTION, {}), document, SECTION)


def processes_of(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """``NAME=FILE`` of the command line, joined by name.  Raises ConfigError for anything else."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equal, path = text.partition("=")
        if not (name and equal and path):
            raise ConfigError(f"--process '{text}'; expected NAME=FILE", kind="usage.process")
        found[name] = (*found.get(name, ()), path)
    return found


def fill_user_templates(
    events: ProcessFiles, config: TableConfig, files: IngredientFiles, tell: Callable[[str], None]
) -> Templates:
    """Templates of own files of events, one process after the other.

    Raises InputError for files and columns that cannot be used, ConfigError for a process that is only configured.
    """
    for name in (*config.measured, *config.scale):
        if name not in events.files:
            raise ConfigError(
                f"[table] names the process '{name}', of which no file was given", kind="usage.process",
                where={"given": ", ".join(events.files)},
            )  # fmt: skip
    found = load_ingredients(files)
    given = found.ingredients
    config.check(found.calibration, given)
    sums, ledgers = {}, {}
    for process, paths in events.files.items():
        rows = _Rows(_rows(paths, config, process, given.weights, events.tree))
        sums[process] = one = fill_process(process, rows, config, found.calibration, given)
        _tell_weights(process, rows.weights, tell)
        ledgers[f"templates {process}"] = Ledger(
            unit="rows", read=one.n_events, used=one.n_filled, rejected={"selection": one.n_events - one.n_filled}
        )
        tell(f"{process}: {one.n_filled} of {one.n_events} rows in {one.nominal.size} bins")
    made = user_templates(sums, config, found.calibration, given)
    if given.efficiencies is not None and given.efficiencies.veto is not None and config.channel == "w":
        pairs = [name for name in made.processes if name.startswith("Z")]
        made = with_efficiencies(made, given.efficiencies.only_veto(), [], vetoed=pairs)
    if given.nonprompt is not None:
        made = with_nonprompt(made, given.nonprompt)
    inputs = {path: sha256(path) for paths in events.files.values() for path in paths}
    return found.finish(made).with_provenance(Provenance(inputs={**found.inputs, **inputs}, ledgers=ledgers))


class _Rows:
    """Chunks of a table as they pass by, and the sums of their weights so far."""

    def __init__(self, chunks: Iterator[dict[str, np.ndarray]]) -> None:
        self.chunks = chunks
        self.weights = WeightSums()

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        for columns in self.chunks:
            self.weights += WeightSums.of(columns["weight"])
            yield columns


def _tell_weights(process: str, weights: WeightSums, tell: Callable[[str], None]) -> None:
    """The effective number of rows, and the row that dominates.  Raises InputError if all weights are zero."""
    if not weights.squares:
        raise InputError(
            f"all {weights.n} weights of the process '{process}' are zero", kind="input.weight",
            do="name the column of weights by table.columns.weight",
        )  # fmt: skip
    tell(f"{process}: effective number of rows {weights.effective:.1f} of {weights.n}")
    if warning := weights.warning(f"process '{process}'"):
        tell(f"warning: {warning}")


def _rows(
    paths: Sequence[str], config: TableConfig, process: str, weights: EventWeights | None, tree: str | None
) -> Iterator[dict[str, np.ndarray]]:
    """Chunks of the columns that may be needed, under the names that the stage knows."""
    read = () if weights is None else weights.columns
    mass = [m.column for m in config.mass] if process in config.measured else []
    vectors = [f.column for f in config.weights if not f.processes or process in f.processes] + mass
    names = config.names | {name: config.columns.get(name, name) for name in read} | {name: name for name in vectors}
    streamed = stream_columns(
        paths, names, optional=config.optional, tree=tree, asked=f"{SECTION}.columns", vectors=vectors, rows=ROWS
    )
    for columns, _ in streamed:
        yield columns
