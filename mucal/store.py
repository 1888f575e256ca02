"""Saving and loading: the one `Result` base class, and the one way a file of ours comes into being.

A result file is HDF5 behind a 512-byte user block.  The block's first line holds the SHA-256 and the length of all
that follows, so a single flipped bit or a missing byte anywhere is detected before HDF5 parses anything.  Inside,
each array is one plain dataset (uncompressed: a declared shape can never exceed the file), and `header` is JSON:
type, schema, mucal version, scalar fields, each array's dtype, shape and SHA-256, and the provenance.  There are no
pickles; links out of the file, virtual and external datasets and object arrays are refused.

Files are written under a temporary name, synced, read back, compared, and renamed: at every instant there is the old
file or the new one, never a third state.
"""

import errno
import hashlib
import io
import json
import os
import tempfile
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import h5py
import numpy as np

from mucal import __version__
from mucal.errors import InputError, ResourceError, VerificationError
from mucal.ledger import Ledger

BLOCK = 512
MAGIC = b"mucal-result 1"
HEADER = "header"
MAX_HEADER_BYTES = 256 * 2**20


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
            check=lambda temporary: _compare(self, type(self).load(temporary)),
            overwrite=overwrite,
        )

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a result of this type.

        Raises InputError for a missing, foreign or truncated file or another type, VerificationError for damage.
        """
        verify(path)
        with h5py.File(path, "r") as file:
            header = _read_header(file, Path(path))
            _refuse_foreign(file, header, Path(path))
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

    def with_provenance(self, provenance: Provenance) -> Self:
        """The same result with its provenance filled in."""
        return replace(self, provenance=provenance)


R = typing.TypeVar("R", bound=Result)


# ------------------------------------------------------------------------------------------------ writing any file


def replace_file(
    path: str | Path,
    write: Callable[[Path], object],
    *,
    check: Callable[[Path], object] | None = None,
    overwrite: bool = False,
) -> Path:
    """Let `write` fill a temporary file beside `path`, sync it, let `check` read it back, and rename it to `path`.

    Raises FileExistsError if `path` exists and `overwrite` is False, ResourceError if the disk is full; after any
    error nothing stands under the final name that did not stand there before.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(errno.EEXIST, "exists already; remove it or ask to overwrite", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        _sync(temporary)
        if check is not None:
            check(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
            raise ResourceError(
                f"the disk is full while writing {path.name}",
                kind="resource.disk",
                where={"file": path},
                do="free some space and run the command again; nothing was changed",
            ) from error
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def write_bytes(path: str | Path, content: bytes, *, overwrite: bool = False) -> Path:
    """Write `content` as a file, as `replace_file` does.

    Raises FileExistsError unless `overwrite`; VerificationError if it reads back differently.
    """

    def check(temporary: Path) -> None:
        if temporary.read_bytes() != content:
            raise VerificationError(f"{Path(path).name} reads back differently", kind="verify.read_back")

    return replace_file(path, lambda temporary: temporary.write_bytes(content), check=check, overwrite=overwrite)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: str | Path, *, skip: int = 0) -> str:
    """Hexadecimal SHA-256 of a file's bytes from `skip` on."""
    with open(path, "rb") as file:
        file.seek(skip)
        return hashlib.file_digest(file, "sha256").hexdigest()


# ------------------------------------------------------------------------------------------------ verifying


def read_header(path: str | Path) -> dict[str, Any]:
    """The readable header of a result file of any type, after verification."""
    verify(path)
    with h5py.File(path, "r") as file:
        header = _read_header(file, Path(path))
        _refuse_foreign(file, header, Path(path))
        return header


def is_result(path: str | Path) -> bool:
    """Whether a file starts as a result of ours does."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def verify(path: str | Path) -> None:
    """A result file is whole: its bytes have the length and digest that its first line states.

    Raises InputError for a missing, foreign or truncated file; VerificationError, naming the damaged array, if any
    byte changed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    with open(path, "rb") as file:
        block = file.read(BLOCK)
    if not block.startswith(MAGIC):
        raise InputError(
            f"not a mucal result: starts with {block[:12]!r}", kind="input.foreign_file", where={"file": path}
        )
    try:
        digest, size = _parse_block(block)
    except ValueError as error:
        raise VerificationError(
            f"the first line of {path.name} is damaged", kind="verify.damaged", where={"file": path}
        ) from error
    found = path.stat().st_size
    if found != size:
        raise InputError(
            f"{path.name} is {'truncated' if found < size else 'too long'}: {found} bytes, expected {size}",
            kind="input.truncated",
            where={"file": path},
            do="make it again, or copy it again from its source",
        )
    if sha256(path, skip=BLOCK) != digest:
        raise VerificationError(
            f"{path.name} is damaged: {_damage(path)}",
            kind="verify.damaged",
            where={"file": path},
            do="make it again, or copy it again from its source",
        )


def _parse_block(block: bytes) -> tuple[str, int]:
    line, _, padding = block.partition(b"\n")
    words = line.decode("ascii").split(" ")
    if len(words) != 6 or words[2] != "sha256" or words[4] != "bytes" or len(block) != BLOCK or padding.strip(b"\0"):
        raise ValueError("malformed first line")
    return words[3], int(words[5])


def _damage(path: Path) -> str:
    """Which array of a damaged file differs from its own digest, if the file can still be parsed."""
    try:
        with h5py.File(path, "r") as file:
            header = _read_header(file, path)
            for name, entry in header["arrays"].items():
                if hashlib.sha256(np.asarray(file[name][()]).tobytes()).hexdigest() != entry["sha256"]:
                    return f"the digest of array '{name}' differs"
    except Exception as error:  # the file is known to be damaged: whatever HDF5 makes of it is only a description
        return f"its structure cannot be read ({type(error).__name__})"
    return "its header or structure changed, its arrays did not"


def _read_header(file: h5py.File, path: Path) -> dict[str, Any]:
    unreadable = InputError(f"{path.name} has no readable header", kind="input.foreign_file", where={"file": path})
    link = file.get(HEADER, getlink=True)
    dataset = file[HEADER] if isinstance(link, h5py.HardLink) else None
    if not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual or dataset.dtype != np.uint8:
        raise unreadable
    if dataset.size > min(MAX_HEADER_BYTES, path.stat().st_size):
        raise unreadable
    try:
        header: dict[str, Any] = json.loads(dataset[()].tobytes())
        known = isinstance(header["type"], str) and all(
            {"shape", "dtype"} <= e.keys() for e in header["arrays"].values()
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise unreadable from error
    if not known:
        raise unreadable
    return header


def _refuse_foreign(file: h5py.File, header: Mapping[str, Any], path: Path) -> None:
    """Only plain datasets that the header lists, none larger than the file, no link leading elsewhere."""
    seen = {HEADER}
    budget = path.stat().st_size

    def refuse(name: str, found: str) -> typing.NoReturn:
        raise InputError(
            f"object '{name}' is {found}; a result holds plain arrays only",
            kind="input.refused",
            where={"file": path, "object": name},
        )

    def walk(group: h5py.Group, prefix: str) -> None:
        for key in group:
            name = f"{prefix}{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                refuse(name, "a link out of its place")
            item = group[key]
            if isinstance(item, h5py.Group):
                walk(item, f"{name}/")
                continue
            if not isinstance(item, h5py.Dataset):
                refuse(name, f"a {type(item).__name__}")
            if item.external or item.is_virtual:
                refuse(name, "stored in another file")
            if item.dtype.kind not in "biuf":
                refuse(name, f"of type {item.dtype}")
            if item.size * item.dtype.itemsize > budget:
                refuse(name, f"declared as {item.shape} of {item.dtype}, more than the {budget} bytes of the file")
            if name != HEADER:
                entry = header["arrays"].get(name)
                if entry is None or (list(item.shape), item.dtype.str) != (entry["shape"], entry["dtype"]):
                    refuse(name, "not the array that the header describes")
            seen.add(name)

    walk(file, "")
    missing = sorted(set(header["arrays"]) - seen)
    if missing:
        raise InputError(
            f"array '{missing[0]}' is listed in the header but absent", kind="input.refused", where={"file": path}
        )


# ------------------------------------------------------------------------------------------------ packing


def _write(result: Result, path: Path) -> None:
    arrays: dict[str, np.ndarray] = {}
    header = _pack(result, arrays, "")
    header["arrays"] = {
        name: {"dtype": a.dtype.str, "shape": list(a.shape), "sha256": hashlib.sha256(a.tobytes()).hexdigest()}
        for name, a in arrays.items()
    }
    header["provenance"] = result.provenance.to_dict()
    text = json.dumps(plain_values(header, "header"), ensure_ascii=False).encode()
    buffer = io.BytesIO()
    with _create(buffer) as file:
        file.create_dataset(HEADER, data=np.frombuffer(text, dtype=np.uint8))
        for name, array in arrays.items():
            _make_groups(file, name.rpartition("/")[0])
            file.create_dataset(name, data=array)
    content = buffer.getbuffer()
    digest = hashlib.sha256(content[BLOCK:]).hexdigest()
    content[:BLOCK] = f"{MAGIC.decode()} sha256 {digest} bytes {len(content)}\n".encode().ljust(BLOCK, b"\0")
    path.write_bytes(content)


def _create(buffer: io.BytesIO) -> h5py.File:
    """A new HDF5 file in memory, behind a user block, in which no time stands: equal results give equal bytes.

    HDF5 does not write to the disk itself: when a write of its own fails (disk full), the library brings the process
    down later, while it closes the file.
    """
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_userblock(BLOCK)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, buffer)
    return h5py.File(h5py.h5f.create(b"in memory", h5py.h5f.ACC_TRUNC, creation, access))


def _make_groups(file: h5py.File, name: str) -> None:
    """The groups on the way to `name`, as far as they are missing, without a time."""
    if name and name not in file:
        outer, _, inner = name.rpartition("/")
        _make_groups(file, outer)
        creation = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
        creation.set_obj_track_times(False)
        h5py.h5g.create((file[outer] if outer else file).id, inner.encode(), gcpl=creation)


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


def plain_values(value: Any, name: str) -> Any:
    """JSON values; floats that JSON does not know are spelt out.  Raises TypeError for anything else."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if np.isfinite(number) else {"float": repr(number)}
    if isinstance(value, tuple | list):
        return [plain_values(item, f"{name}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: plain_values(item, f"{name}.{key}") for key, item in value.items()}
    raise TypeError(f"{name} is a {type(value).__name__}; a result holds arrays, results, text, numbers and mappings")


def _unplain(value: Any) -> Any:
    """The inverse of `_plain`; sequences come back as tuples."""
    if isinstance(value, dict):
        if list(value) == ["float"]:
            return float(value["float"])
        return {key: _unplain(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_unplain(item) for item in value)
    return value


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
            values[f.name] = _unplain(stored)
    return cls(**values)


def _result_type(hint: Any) -> type[Result] | None:
    """The Result subclass inside `R`, `R | None` or `tuple[R, ...]`, if there is one."""
    if isinstance(hint, type) and issubclass(hint, Result):
        return hint
    if typing.get_origin(hint) in (tuple, typing.Union, types.UnionType):
        return next((t for t in map(_result_type, typing.get_args(hint)) if t is not None), None)
    return None


def _compare(written: Result, found: Result) -> None:
    """Every array read back equals the one in memory, bit for bit."""
    read_back = dict(_arrays(found, ""))
    for name, array in _arrays(written, ""):
        other = read_back.get(name)
        if (
            other is None
            or (array.dtype, array.shape) != (other.dtype, other.shape)
            or array.tobytes() != other.tobytes()
        ):
            raise VerificationError(f"array '{name}' reads back differently", kind="verify.read_back")


def _arrays(result: Result, prefix: str) -> Iterator[tuple[str, np.ndarray]]:
    arrays: dict[str, np.ndarray] = {}
    _pack(result, arrays, prefix)
    yield from arrays.items()
