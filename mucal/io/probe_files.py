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
from mucal.io.named_columns import stream_columns
from mucal.store import replace_file

NAMES: Final = ("mass", "pt", "eta", "charge", "passing", "ut", "weight")
OPTIONAL: Final = ("ut", "weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeInput:
    """How to read probes of one step.

    columns : what ("mass", "pt", "eta", "charge", "passing", "ut", "weight") -> column; GeV; u_T and weight need not be
    tree    : of a ROOT file that holds several
    """

    columns: Mapping[str, str] = field(default_factory=lambda: {name: name for name in NAMES})
    tree: str | None = None

    def __post_init__(self) -> None:
        for name in self.columns:
            if name not in NAMES:
                raise ValueError(f"columns.{name} is not known; expected {', '.join(nearest(name, NAMES) or NAMES)}")


def stream_probes(files: Sequence[str | Path], config: ProbeInput) -> Iterator[Probes]:
    """Probes of all files in pieces.

    Raises InputError for files that cannot be read, columns that are missing or no numbers, and a passing column with
    values that are neither 0 nor 1.
    """
    asked = "efficiency.input.columns"
    for columns, where in stream_columns(files, config.columns, optional=OPTIONAL, tree=config.tree, asked=asked):
        yield _probes(columns, where, config)


def _probes(columns: Mapping[str, np.ndarray], where: Mapping[str, object], config: ProbeInput) -> Probes:
    passing = columns["passing"].astype(float)
    wrong = ~np.isin(passing, (0.0, 1.0))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise InputError(
            f"{int(wrong.sum())} of {passing.size} values of '{config.columns['passing']}' are neither 0 nor 1, "
            f"first {passing[first]:g}",
            kind="efficiency.passing",
            where={**where, "row": f"{first} after that"},
        )
    charge = np.nan_to_num(columns["charge"].astype(float))
    n = passing.size
    return Probes(
        mass=columns["mass"].astype(float), pt=columns["pt"].astype(float), eta=columns["eta"].astype(float),
        charge=np.where(charge == np.rint(charge), charge, 0.0).astype(np.int64), passing=passing > 0,
        ut=columns.get("ut", np.full(n, np.nan)).astype(float), weight=columns.get("weight", np.ones(n)).astype(float),
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
