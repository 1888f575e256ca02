"""The base class of all results: a frozen dataclass becomes arrays and a header, and comes back."""

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

import h5py
import numpy as np

from mucal import __version__
from mucal.errors import InputError, VerificationError
from mucal.ledger import Ledger
from mucal.store.display import field_lines, html
from mucal.store.files import replace_file
from mucal.store.integrity import open_result
from mucal.store.layout import describe, write_arrays
from mucal.store.plain import from_plain, plain_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a result comes from.

    mucal         : version of mucal that made it
    configuration : the stage's configuration as plain values
    seed          : of the random numbers drawn, if any
    inputs        : input file as the user named it -> SHA-256
    ledgers       : stage -> what was read, used and rejected
    """

    mucal: str = __version__
    configuration: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "mucal": self.mucal,
            "configuration": dict(self.configuration),
            "seed": self.seed,
            "inputs": dict(self.inputs),
            "ledgers": {stage: ledger.to_dict() for stage, ledger in self.ledgers.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; keys this version does not know are left out."""
        return cls(
            mucal=plain["mucal"],
            configuration=plain["configuration"],
            seed=plain["seed"],
            inputs=plain["inputs"],
            ledgers={stage: Ledger(**ledger) for stage, ledger in plain["ledgers"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a stage returns: a frozen dataclass that saves and loads bit for bit.

    Fields may be numeric arrays, other results, None, bool, int, float, str, mappings of plain values, and tuples of
    these.  A class raises `SCHEMA` when the meaning of its fields changes.  A result inside a result shares the outer
    one's provenance: only the outer one is saved.
    """

    SCHEMA: ClassVar[int] = 1
    provenance: Provenance = field(default_factory=Provenance)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the result to `path`, atomically and verified.

        Raises FileExistsError unless `overwrite`; ResourceError if the disk is full.
        """
        return replace_file(
            path,
            lambda temporary: _write(self, temporary),
            check=lambda temporary: _compare(self, temporary),
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a result of this type.

        Raises InputError for a missing, foreign or truncated file or another type, VerificationError for damage.
        """
        with open_result(path) as (file, header):
            if header["type"] != cls.__name__:
                raise InputError(
                    f"{path} holds a {header['type']}, expected a {cls.__name__}",
                    kind="input.wrong_type",
                    where={"file": path},
                )
            try:
                return _unpack(cls, header, file, "", Path(path))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise InputError(
                    f"{path} does not hold a valid {cls.__name__}: {error}",
                    kind="input.invalid_result",
                    where={"file": path},
                ) from error

    def summary(self) -> list[str]:
        """A few lines for people; of most types what was found, of the others their fields."""
        return field_lines(self)

    def plot(self) -> "Figure":
        """The usual figure of this type; raises TypeError for a type that has none.

        Drawing knows every result and is imported when asked for: the one place where a room looks down the list.
        """
        figure: Figure = import_module("mucal.plot.figures").figure_of(self)
        return figure

    def _repr_html_(self) -> str:
        return html(self, self.summary())

    def with_provenance(self, provenance: Provenance) -> Self:
        """The same result with its provenance filled in."""
        return replace(self, provenance=provenance)


R = typing.TypeVar("R", bound=Result)


def _write(result: Result, path: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    header = _pack(result, arrays, "")
    header["arrays"] = describe(arrays)
    header["provenance"] = result.provenance.to_dict()
    write_arrays(path, header, arrays)


def _pack(result: Result, arrays: dict[str, np.ndarray], prefix: str) -> dict[str, Any]:
    """The header of one result; its arrays are added to `arrays` under their paths."""
    plain: dict[str, Any] = {}
    for f in fields(result):
        if f.name == "provenance":
            continue
        value = getattr(result, f.name)
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in "biuf":
                raise TypeError(f"{type(result).__name__}.{f.name} has dtype {value.dtype}; save numbers or booleans")
            arrays[f"{prefix}{f.name}"] = np.ascontiguousarray(value).reshape(value.shape)
        elif isinstance(value, Result):
            plain[f.name] = _pack(value, arrays, f"{prefix}{f.name}/")
        elif isinstance(value, tuple) and value and all(isinstance(item, Result) for item in value):
            plain[f.name] = [_pack(item, arrays, f"{prefix}{f.name}/{i}/") for i, item in enumerate(value)]
        else:
            plain[f.name] = plain_values(value, f"{type(result).__name__}.{f.name}")
    return {"type": type(result).__name__, "schema": result.SCHEMA, "mucal": __version__, "fields": plain}


def _unpack(cls: type[R], header: Mapping[str, Any], file: h5py.File, prefix: str, path: Path) -> R:
    if header["schema"] > cls.SCHEMA:
        raise InputError(
            f"{cls.__name__} of schema {header['schema']} (mucal {header['mucal']}); this is mucal {__version__}, "
            f"which reads up to schema {cls.SCHEMA}",
            kind="input.newer_schema",
            where={"file": path},
            do="use the newer version",
        )
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for f in fields(cls):
        name = f"{prefix}{f.name}"
        inner = _result_type(hints[f.name])
        stored = header["fields"].get(f.name)
        if f.name == "provenance":
            if "provenance" in header:
                values["provenance"] = Provenance.from_dict(header["provenance"])
        elif isinstance(file.get(name), h5py.Dataset):
            values[f.name] = np.asarray(file[name][()], dtype=file[name].dtype)  # a number would come back native
        elif inner is not None and isinstance(stored, Mapping):
            values[f.name] = _unpack(inner, stored, file, f"{name}/", path)
        elif inner is not None and isinstance(stored, list):
            values[f.name] = tuple(_unpack(inner, item, file, f"{name}/{i}/", path) for i, item in enumerate(stored))
        elif f.name in header["fields"]:
            values[f.name] = from_plain(stored)
    return cls(**values)


def _result_type(hint: Any) -> type[Result] | None:
    """The Result subclass inside `R`, `R | None` or `tuple[R, ...]`, if there is one."""
    if isinstance(hint, type) and issubclass(hint, Result):
        return hint
    if typing.get_origin(hint) in (tuple, typing.Union, types.UnionType):
        return next((t for t in map(_result_type, typing.get_args(hint)) if t is not None), None)
    return None


SLAB: Final = 2**22
"""Bytes compared at a time."""


def _compare(written: Result, path: Path) -> None:
    """Every array in the file equals the one in memory, bit for bit."""
    with open_result(path) as (file, _):
        for name, array in _arrays(written, ""):
            found = file.get(name)
            same = isinstance(found, h5py.Dataset) and (array.dtype, array.shape) == (found.dtype, found.shape)
            if not same or not _same(array, found):
                raise VerificationError(f"array '{name}' reads back differently", kind="verify.read_back")


def _same(array: np.ndarray, found: h5py.Dataset) -> bool:
    """Whether a dataset of the same shape and type holds the same bytes."""
    if array.ndim == 0 or array.size == 0:
        return np.array_equal(_bytes(array), _bytes(np.asarray(found[()], dtype=array.dtype)))
    rows = max(1, SLAB // max(1, array.nbytes // array.shape[0]))
    starts = range(0, array.shape[0], rows)
    return all(np.array_equal(_bytes(array[i : i + rows]), _bytes(found[i : i + rows])) for i in starts)


def _arrays(result: Result, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    arrays: dict[str, np.ndarray] = {}
    _pack(result, arrays, prefix)
    yield from arrays.items()


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)
