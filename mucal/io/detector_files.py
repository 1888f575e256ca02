"""Columns of detector tables in their files: HDF5 groups, and directories of Parquet or CSV files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from mucal.errors import InputError, MucalError
from mucal.io.column_writer import write_columns
from mucal.io.csv_events import open_csv
from mucal.io.event_table import EventTable, first_line
from mucal.io.file_magic import check_length, identify
from mucal.io.json_file import read_json, write_json
from mucal.io.parquet_events import open_parquet
from mucal.store import replace_file

Columns = dict[str, np.ndarray]
ABOUT: Final = "detector.json"
TABLES: Final = ("modules", "passive", "field")
FIELD: Final = "field.h5"
MAX_ROWS: Final = 5_000_000
"""Of a table; no tracker has more sensors, and a file that claims more is not believed."""

MAX_WIDTH: Final = 9


def read_hdf5(path: Path) -> tuple[dict[str, Columns], dict[str, Any]]:
    """The tables of an HDF5 file, and what its attributes say about the detector.

    Raises InputError for a foreign or damaged file, links out of it, objects, or sizes beyond belief.
    """
    identify(path, "hdf5")
    check_length(path, "hdf5")
    try:
        with h5py.File(path, "r") as file:
            about = {key: _text(file.attrs[key]) for key in ("name", "subdet_names") if key in file.attrs}
            groups = (
                {"modules": file} if "modules" not in file else {name: file[name] for name in TABLES if name in file}
            )
            return {name: _datasets(path, group) for name, group in groups.items()}, about
    except MucalError:
        raise
    except Exception as error:  # damaged bytes surface as whatever the library raises
        raise InputError(
            f"{path.name} cannot be read as an HDF5 file: {first_line(error)}",
            kind="input.damaged",
            where={"file": path},
            do="copy the file again from its source",
        ) from error


def _text(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_text(item) for item in value]
    return value.decode() if isinstance(value, bytes) else str(value)


def _datasets(path: Path, group: Any) -> Columns:
    columns: Columns = {}
    for name in group:
        refused = _refusal(group, name)
        if refused is not None:
            raise InputError(
                f"object '{name}' is {refused}; it is not read",
                kind="input.refused",
                where={"file": path, "object": f"{group.name}/{name}"},
                do="keep plain arrays of numbers only, one a column",
            )
        columns[name] = np.asarray(group[name][()])
    _require_equal_lengths(path, group.name, columns)
    return columns


def _refusal(group: Any, name: str) -> str | None:
    """Why a dataset is not read, or None."""
    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        return "a link out of its place"
    item = group[name]
    if not isinstance(item, h5py.Dataset):
        return f"a {type(item).__name__.lower()}, not a dataset"
    if item.external or item.is_virtual:
        return "stored in another file"
    if item.dtype.kind not in "biuf":
        return f"of type {item.dtype}"
    if item.ndim < 1 or item.shape[0] > MAX_ROWS or item.size > MAX_WIDTH * item.shape[0]:
        return f"declared as {item.shape}"
    return None


def read_directory(path: Path) -> tuple[dict[str, Columns], dict[str, Any]]:
    """The tables of a directory, and its `detector.json`.  Raises InputError if there is no table of modules."""
    tables = {}
    for name in TABLES:
        found = [
            path / f"{name}{ending}"
            for ending in (".parquet", ".csv", ".csv.gz")
            if (path / f"{name}{ending}").is_file()
        ]
        if len(found) > 1:
            raise InputError(
                f"{path} holds {found[0].name} and {found[1].name}; which one is meant?",
                kind="input.same_file",
                where={"file": path},
                do="keep one of them",
            )
        if found:
            tables[name] = _columns(open_parquet(found[0]) if found[0].suffix == ".parquet" else open_csv(found[0]))
    if "modules" not in tables:
        raise InputError(
            f"{path} holds neither modules.parquet nor modules.csv",
            kind="input.missing_file",
            where={"file": path},
            do="give a directory of detector tables, or a .h5 file",
        )
    about = read_json(path / ABOUT) if (path / ABOUT).is_file() else {}
    if not isinstance(about, dict):
        raise InputError(f"{ABOUT} holds no object", kind="input.json", where={"file": path / ABOUT})
    return tables, about


def _columns(table: EventTable) -> Columns:
    names = [name for name, column in table.columns.items() if column.kind == "number"]
    chunks = list(table.chunks(names, MAX_ROWS))
    return {
        name: np.concatenate([np.asarray(chunk.columns[name]) for chunk in chunks] or [np.zeros(0)]) for name in names
    }


def _require_equal_lengths(path: Path, table: str, columns: Mapping[str, np.ndarray]) -> None:
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        short, long = min(lengths, key=lambda n: lengths[n]), max(lengths, key=lambda n: lengths[n])
        raise InputError(
            f"columns '{short}' and '{long}' have {lengths[short]} and {lengths[long]} rows",
            kind="input.lengths_differ",
            where={"file": path, "table": table},
        )


def write_directory(
    path: Path, tables: Mapping[str, Columns], about: Mapping[str, Any], format: str, *, overwrite: bool = False
) -> Path:
    """Write tables as `name.parquet` or `name.csv` into a directory, with `detector.json` last."""
    path.mkdir(parents=True, exist_ok=True)
    for name, columns in tables.items():
        if format == "parquet":
            write_columns(path / f"{name}.parquet", [columns], overwrite=overwrite)
        else:
            _write_csv(path / f"{name}.csv", columns, overwrite=overwrite)
    write_json(path / ABOUT, dict(about), overwrite=overwrite)
    return path


def _write_csv(path: Path, columns: Columns, *, overwrite: bool) -> None:
    numbers = {name: values.astype(np.int64) if values.dtype == bool else values for name, values in columns.items()}
    table = pa.table({name: pa.array(values) for name, values in numbers.items()})
    replace_file(path, lambda temporary: pc.write_csv(table, temporary), overwrite=overwrite)
