"""JSON files, plain or gzipped, read within limits and written so that equal content gives equal bytes.

Size, expansion and nesting are bounded before the parser sees anything: a file of brackets or a gzip bomb ends in an
error that names the file, never in a crash.
"""

import gzip
import io
import json
import re
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.errors import InputError, VerificationError
from mucal.io.file_magic import GZIP
from mucal.store import replace_file

MAX_BYTES: Final = 2**29
"""Of the text, after expansion."""
MAX_RATIO: Final = 200
"""Of text to compressed bytes, once the text is larger than `FREE_BYTES`; real tables reach about 30."""
FREE_BYTES: Final = 2**24
MAX_DEPTH: Final = 200
"""Nested arrays and objects; a correction with a dozen axes needs about 40."""
_PIECE: Final = 2**20
# possessive, so that no text can make the search go back
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_DO: Final = "make the file again, or copy it again from its source"


def read_json(path: str | Path, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> Any:
    """The content of a .json or .json.gz file.

    max_bytes : of the text, after expansion
    max_depth : of nested arrays and objects

    Raises InputError naming the file and, where it applies, line:column or byte.
    """
    path = Path(path)
    return _parse(path, _read_text(path, max_bytes, max_depth))


def read_json_text(path: str | Path, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> str:
    """The text of a .json or .json.gz file within the limits of `read_json`, for a parser of its own: it is not parsed.

    Where that parser fails, `read_json` says at which line and column.
    """
    return _read_text(Path(path), max_bytes, max_depth)


def write_json(
    path: str | Path, content: Any, *, sort_keys: bool = False, indent: int | None = 1, overwrite: bool = False
) -> Path:
    """Write plain values as JSON, gzipped if the name ends in .gz; atomic, read back, and without any time stamp.

    content   : dicts, lists, text, finite numbers, booleans, None
    sort_keys : otherwise keys keep their order
    indent    : spaces a level; None for one line

    Raises ValueError for NaN or infinity, which JSON does not know; FileExistsError unless `overwrite`.
    """
    text = json.dumps(content, sort_keys=sort_keys, indent=indent, ensure_ascii=False, allow_nan=False) + "\n"
    data = text.encode()
    zipped = str(path).endswith(".gz")

    def check(temporary: Path) -> None:
        found = temporary.read_bytes()
        if (gzip.decompress(found) if zipped else found) != data:
            raise VerificationError(f"{Path(path).name} reads back differently", kind="verify.read_back")

    stored = _zipped(data) if zipped else data
    return replace_file(path, lambda temporary: temporary.write_bytes(stored), check=check, overwrite=overwrite)


def _read_text(path: Path, max_bytes: int, max_depth: int) -> str:
    if not path.is_file():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    data = _read_bytes(path, max_bytes)
    _check_depth(path, data, max_depth)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path.name} is not UTF-8 text at byte {error.start}",
            kind="input.json",
            where={"file": path, "byte": error.start},
            do=_DO,
        ) from error


def _parse(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        ended = "ends too early" if error.pos >= len(text.rstrip()) else "is not JSON"
        raise InputError(
            f"{path.name} {ended} at {error.lineno}:{error.colno}: {error.msg}",
            kind="input.json",
            where={"file": f"{path}:{error.lineno}:{error.colno}"},
            do=_DO,
        ) from error
    except ValueError as error:  # numbers of thousands of digits
        raise InputError(f"{path.name}: {error}", kind="input.json", where={"file": path}) from error


def _zipped(data: bytes) -> bytes:
    # GzipFile rather than gzip.compress: its header holds no time, name or operating system
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    stored = path.stat().st_size
    pieces: list[bytes] = []
    with open(path, "rb") as file:
        zipped = file.read(2) == GZIP
        file.seek(0)
        source = gzip.GzipFile(fileobj=file) if zipped else file
        size = 0
        while True:
            try:
                piece = source.read(_PIECE)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise InputError(
                    f"{path.name} is truncated or damaged near byte {file.tell()} of {stored}: {error}",
                    kind="input.json",
                    where={"file": path, "byte": file.tell()},
                    do=_DO,
                ) from error
            if not piece:
                return b"".join(pieces)
            size += len(piece)
            pieces.append(piece)
            _check_size(path, size, stored, max_bytes)


def _check_size(path: Path, size: int, stored: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise InputError(
            f"{path.name} holds more than {max_bytes} bytes of text",
            kind="input.json_size",
            where={"file": path, "stored": f"{stored} bytes"},
            do="no correction file is that large; check where it comes from",
        )
    if size > FREE_BYTES and size > MAX_RATIO * stored:
        raise InputError(
            f"{path.name} expands {size // stored} times, more than {MAX_RATIO}: reading stopped at {size} bytes",
            kind="input.json_size",
            where={"file": path, "stored": f"{stored} bytes"},
            do="no correction file compresses that well; check where it comes from",
        )


def _check_depth(path: Path, data: bytes, max_depth: int) -> None:
    bare = np.frombuffer(_STRING.sub(b"", data), dtype=np.uint8)
    brackets = bare[np.isin(bare, np.frombuffer(b"[]{}", dtype=np.uint8))]
    opens = (brackets == ord("[")) | (brackets == ord("{"))
    depth = int(np.cumsum(np.where(opens, 1, -1)).max(initial=0))
    if depth > max_depth:
        raise InputError(
            f"{path.name} nests {depth} deep, more than {max_depth}",
            kind="input.json_depth",
            where={"file": path},
            do="no correction file nests that deep; check where it comes from",
        )
