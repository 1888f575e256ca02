"""Dimuons to Parquet or ROOT, one row a pair: streamed, verified by reading back, and renamed into place."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import uproot

from mucal.errors import ConfigError, VerificationError
from mucal.io.dimuon_input import IDS, DimuonInput, MuonColumns
from mucal.io.event_files import open_table
from mucal.io.event_table import Jagged
from mucal.store import replace_file
from mucal.track import Dimuons

WRITTEN: Final = MuonColumns(
    run="run",
    lumi="lumi",
    event="event",
    pt=("pt1", "pt2"),
    eta=("eta1", "eta2"),
    phi=("phi1", "phi2"),
    charge=("charge1", "charge2"),
    mass="mass",
)
"""The names that `write_dimuons` gives unless told otherwise; 1 is the mu+, 2 the mu-."""
_CHECKED_ROWS: Final = 200_000


def write_dimuons(
    path: str | Path,
    dimuons: Dimuons | Iterable[Dimuons],
    *,
    columns: MuonColumns = WRITTEN,
    tree: str = "Events",
    overwrite: bool = False,
) -> Path:
    """Write pairs to a .parquet (zstd, page checksums) or .root (TTree) file.

    dimuons : all pairs, or chunks of them; never more than one chunk is held
    columns : names, two each for pt, eta, phi and charge; run, lumi, event and mass are written if named
    tree    : name of the TTree

    The file is read back and compared column by column before it gets its name.  `open_dimuons` with the layout
    "pair" and the same columns returns what was written.  Raises ConfigError for another suffix, FileExistsError
    unless `overwrite`, ResourceError if the disk is full.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in (".parquet", ".root"):
        raise ConfigError(
            f"dimuons are written to .parquet or .root, not '{suffix}'", kind="config.suffix", where={"file": path}
        )
    config = DimuonInput(columns=columns, tree=tree if suffix == ".root" else None)
    kinds = {name: values.dtype for name, values in _columns(Dimuons.concatenate([]), columns).items()}
    chunks = [dimuons] if isinstance(dimuons, Dimuons) else dimuons
    digests = {name: hashlib.sha256() for name in kinds}

    def rows() -> Iterator[dict[str, np.ndarray]]:
        for chunk in chunks:
            values = _columns(chunk, columns)
            for name in values:
                digests[name].update(values[name].tobytes())
            yield values

    write = _write_parquet if suffix == ".parquet" else _write_root
    return replace_file(
        path,
        lambda temporary: write(temporary, kinds, rows(), tree),
        check=lambda temporary: _compare(temporary, config, kinds, digests),
        overwrite=overwrite,
    )


def _columns(dimuons: Dimuons, columns: MuonColumns) -> dict[str, np.ndarray]:
    values: dict[str, np.ndarray] = {}
    for key in IDS:
        name = getattr(columns, key)
        if name is not None:
            values[name] = np.ascontiguousarray(getattr(dimuons, key), dtype=np.int64)
    for key in ("pt", "eta", "phi", "charge"):
        names = getattr(columns, key)
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            raise ConfigError(f"columns.{key} is {names!r}; a written file needs two names", kind="config.columns")
        kind = np.int64 if key == "charge" else np.float64
        for i, name in enumerate(names):
            values[name] = np.ascontiguousarray(getattr(dimuons, key)[:, i], dtype=kind)
    if columns.mass is not None:
        values[columns.mass] = np.ascontiguousarray(dimuons.mass, dtype=np.float64)
    return values


def _write_parquet(path: Path, kinds: dict[str, np.dtype], rows: Iterator[dict[str, np.ndarray]], tree: str) -> None:
    schema = pa.schema([(name, pa.from_numpy_dtype(kind)) for name, kind in kinds.items()])
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for values in rows:
            writer.write_table(pa.table({name: pa.array(v) for name, v in values.items()}, schema=schema))


def _write_root(path: Path, kinds: dict[str, np.dtype], rows: Iterator[dict[str, np.ndarray]], tree: str) -> None:
    with uproot.recreate(path) as file:
        written = file.mktree(tree, kinds)
        for values in rows:
            if next(iter(values.values())).size:
                written.extend(values)


def _compare(path: Path, config: DimuonInput, kinds: dict[str, np.dtype], digests: dict[str, Any]) -> None:
    found = {name: hashlib.sha256() for name in kinds}
    for chunk in open_table(path, config).chunks(list(kinds), _CHECKED_ROWS):
        for name, kind in kinds.items():
            values = chunk.columns[name]
            assert not isinstance(values, Jagged)
            found[name].update(np.ascontiguousarray(values, dtype=kind).tobytes())
    for name, digest in digests.items():
        if found[name].digest() != digest.digest():
            raise VerificationError(f"column '{name}' reads back differently", kind="verify.read_back")
