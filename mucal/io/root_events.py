"""Events in a ROOT file: a TTree or an RNTuple, flat or with lists of muons."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from mucal.errors import ConfigError, InputError, MucalError, nearest
from mucal.io.event_table import Chunk, Column, Jagged, Kind, first_line, unreadable

_TABLES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")


@dataclass(frozen=True, slots=True, kw_only=True)
class RootEvents:
    """A TTree or RNTuple of one file (an `EventTable`)."""

    path: Path
    tree: str
    entries: int
    columns: Mapping[str, Column]
    format: str = field(default="root", init=False)

    def chunks(self, names: Sequence[str], rows: int) -> Iterator[Chunk]:
        """The named columns, `rows` entries at a time."""
        wanted = list(names)
        start = 0
        try:
            with _open(self.path) as file:
                # a filter, not expressions: uproot would evaluate names that look like formulas
                for array in file[self.tree].iterate(filter_name=wanted, step_size=rows, library="ak"):
                    columns = {name: _values(array[name]) for name in wanted}
                    yield Chunk(start=start, rows=len(array), columns=columns)
                    start += len(array)
        except Exception as error:  # damaged bytes surface as whatever the parser or decompressor raises
            raise unreadable(self, error, start) from error
        if start != self.entries:
            raise unreadable(self, ValueError(f"{start} of {self.entries} entries came"), start)


def open_root(path: Path, tree: str | None) -> RootEvents:
    """The table `tree` of a ROOT file, or its only one.

    Raises InputError for a damaged file, a name that is not there or an object that holds no events.
    """
    try:
        with _open(path) as file:
            name = _choose(path, tree, file.classnames(cycle=False))
            table = file[name]
            columns = _ntuple_columns(table) if "RNTuple" in table.classname else _tree_columns(table)
            return RootEvents(path=path, tree=name, entries=int(table.num_entries), columns=columns)
    except MucalError:
        raise
    except Exception as error:  # damaged bytes surface as whatever the parser or decompressor raises
        raise InputError(
            f"{path.name} cannot be opened as a ROOT file: {first_line(error)}",
            kind="input.damaged",
            where={"file": path},
            do="copy the file again from its source",
        ) from error


def _open(path: Path) -> Any:
    # no caches: they would hold up to 100 MB of arrays that are read once
    return uproot.open({str(path): None}, array_cache=None, object_cache=None)


def _choose(path: Path, tree: str | None, classes: Mapping[str, str]) -> str:
    tables = [name for name, kind in classes.items() if kind in _TABLES]
    listed = ", ".join(f"{name} ({kind})" for name, kind in classes.items()) or "nothing"
    where = {"file": path, "tree": tree or "", "holds": listed}
    if tree is not None:
        if tree in tables:
            return tree
        found = "holds no events" if tree in classes else "is not in the file"
        near = ", ".join(nearest(tree, tables) or tables)
        raise InputError(
            f"object '{tree}' {found}; it holds {near or 'no TTree or RNTuple'}",
            kind="input.missing_tree",
            where=where,
            do="set tree to one of the names above",
        )
    if len(tables) == 1:
        return tables[0]
    if not tables:
        raise InputError(f"{path.name} holds no TTree or RNTuple", kind="input.missing_tree", where=where)
    raise ConfigError(
        f"{path.name} holds {len(tables)} trees: {', '.join(tables)}",
        kind="config.ambiguous_tree",
        where=where,
        do="set tree to one of these",
    )


def _tree_columns(table: Any) -> dict[str, Column]:
    columns = {}
    for branch in table.itervalues(recursive=True):
        interpretation = branch.interpretation
        kind: Kind = "other"
        if isinstance(interpretation, uproot.AsStrings):
            kind = "text"
        elif isinstance(interpretation, uproot.AsDtype):
            kind = _array_kind(interpretation)
        elif isinstance(interpretation, uproot.AsJagged) and isinstance(interpretation.content, uproot.AsDtype):
            plain = interpretation.content.to_dtype.names is None and not interpretation.content.inner_shape
            kind = "jagged" if plain else "other"
        columns[branch.name] = Column(kind=kind, type=str(branch.typename))
    return columns


def _array_kind(interpretation: Any) -> Kind:
    """Of a branch with the same shape in every row: a number, or as x[5] a list that is as long everywhere."""
    if interpretation.to_dtype.names is not None:
        return "other"
    kinds: tuple[Kind, ...] = ("number", "jagged")
    return kinds[len(interpretation.inner_shape)] if len(interpretation.inner_shape) < 2 else "other"


def _ntuple_columns(table: Any) -> dict[str, Column]:
    return {name: _ntuple_column(str(table[name].typename)) for name in table.keys() if "." not in name}  # noqa: SIM118


def _ntuple_column(type_name: str) -> Column:
    kind: Kind = "other"
    if type_name == "std::string":
        kind = "text"
    elif type_name.startswith(("std::vector<", "ROOT::VecOps::RVec<")):
        inner = type_name.partition("<")[2].removesuffix(">")
        kind = "jagged" if _is_number(inner) else "other"
    elif type_name.startswith("std::array<"):
        kind = "jagged" if _is_number(type_name.partition("<")[2].partition(",")[0]) else "other"
    elif _is_number(type_name):
        kind = "number"
    return Column(kind=kind, type=type_name)


def _is_number(type_name: str) -> bool:
    plain = type_name.removeprefix("std::").removesuffix("_t")
    return plain.startswith(("int", "uint", "float", "double", "bool", "ROOT::RNTupleCardinality<"))


def _values(array: Any) -> np.ndarray | Jagged:
    if array.ndim == 1:
        return np.asarray(ak.to_numpy(array))
    counts = np.asarray(ak.num(array, axis=1), dtype=np.int64)
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts)])
    return Jagged(offsets=offsets, content=np.asarray(ak.to_numpy(ak.flatten(array, axis=1))))
