"""Probes of tag and probe from own files: one row a probe, in ROOT, Parquet or CSV, through a column map."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mucal.efficiency import Probes
from mucal.errors import InputError, nearest
from mucal.io.csv_events import open_csv
from mucal.io.event_table import Chunk, EventTable, Jagged, place
from mucal.io.file_magic import check_length, identify
from mucal.io.parquet_events import open_parquet
from mucal.io.root_events import open_root
from mucal.store import replace_file

CHUNK: Final = 500_000
OPTIONAL: Final = ("ut", "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeInput:
    """How to read probes of one step.

    columns : what ("mass", "pt", "eta", "charge", "passing", "ut", "weight") -> column; GeV; u_T and weight need not be
    tree    : of a ROOT file that holds several
    """

    columns: Mapping[str, str] = field(
        default_factory=lambda: {name: name for name in ("mass", "pt", "eta", "charge", "passing", "ut", "weight")}
    )
    tree: str | None = None

    def __post_init__(self) -> None:
        known = ("mass", "pt", "eta", "charge", "passing", "ut", "weight")
        for name in self.columns:
            if name not in known:
                raise ValueError(f"columns.{name} is not known; expected {', '.join(nearest(name, known) or known)}")


def stream_probes(files: Sequence[str | Path], config: ProbeInput) -> Iterator[Probes]:
    """Probes of all files in pieces.

    Raises InputError for files that cannot be read, columns that are missing or no numbers, and a passing column with
    values that are neither 0 nor 1.
    """
    for path in files:
        table = _open(Path(path), config)
        names = _columns(table, config)
        for chunk in table.chunks(list(dict.fromkeys(names.values())), CHUNK):
            yield _probes(table, chunk, names)


def _open(path: Path, config: ProbeInput) -> EventTable:
    kind = identify(path, "auto")
    if kind == "csv":
        return open_csv(path)
    check_length(path, kind)
    if kind == "root":
        return open_root(path, config.tree)
    if kind == "parquet":
        return open_parquet(path)
    raise InputError(
        f"{path.name} is a file of {kind}; probes are read from ROOT, Parquet and CSV",
        kind="input.wrong_format",
        where={"file": path},
    )


def _columns(table: EventTable, config: ProbeInput) -> dict[str, str]:
    found = {}
    for name, column in config.columns.items():
        if column in table.columns:
            found[name] = column
        elif name not in OPTIONAL:
            raise InputError(
                f"column '{column}' is missing",
                kind="input.missing_branch",
                where={**place(table), "asked": f"columns.{name}", "near": ", ".join(nearest(column, table.columns))},
                do=f"set columns.{name} to one of the file's names",
            )
    return found


def _probes(table: EventTable, chunk: Chunk, names: Mapping[str, str]) -> Probes:
    columns: dict[str, np.ndarray] = {}
    for name, column in names.items():
        values = chunk.columns[column]
        if isinstance(values, Jagged) or values.dtype.kind not in "biuf":
            raise InputError(
                f"column '{column}' holds no plain numbers, one a probe",
                kind="input.column_kind",
                where={**place(table, chunk.start), "asked": f"columns.{name}"},
            )
        columns[name] = values
    passing = columns["passing"].astype(float)
    wrong = ~np.isin(passing, (0.0, 1.0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"{int(wrong.sum())} of {passing.size} values of '{names['passing']}' are neither 0 nor 1, "
            f"first {passing[first]:g}",
            kind="efficiency.passing",
            where=place(table, chunk.start + first),
        )
    charge = np.nan_to_num(columns["charge"].astype(float))
    whole = np.where(charge == np.rint(charge), charge, 0.0).astype(np.int64)
    n = passing.size
    return Probes(
        mass=columns["mass"].astype(float), pt=columns["pt"].astype(float), eta=columns["eta"].astype(float),
        charge=whole, passing=passing > 0, ut=columns.get("ut", np.full(n, np.nan)).astype(float),
        weight=columns.get("weight", np.ones(n)).astype(float),
    )  # fmt: skip


def write_probes(probes: Probes, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write probes as Parquet with page checksums, under the names that `ProbeInput` expects by default."""
    table = pa.table({name: getattr(probes, name) for name in Probes.__slots__})
    return replace_file(
        path,
        lambda temporary: pq.write_table(table, temporary, write_page_checksum=True),
        check=lambda temporary: pq.read_metadata(temporary),
        overwrite=overwrite,
    )
