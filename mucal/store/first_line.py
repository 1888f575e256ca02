"""The first 512 bytes of a result file: what it is, how long, and the digest of the rest."""

import hashlib
from io import BufferedReader
from pathlib import Path

from mucal.errors import InputError, VerificationError

BLOCK = 512
MAGIC = b"mucal-result 1"
AGAIN = "make it again, or copy it again from its source"


def first_block(digest: str, size: int) -> bytes:
    """The block of a file of `size` bytes whose bytes after the block have this SHA-256."""
    return f"{MAGIC.decode()} sha256 {digest} bytes {size}\n".encode().ljust(BLOCK, b"\0")


def is_result(path: str | Path) -> bool:
    """Whether a file starts as a result of ours does."""
    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def intact(file: BufferedReader, path: Path) -> bool:
    """Whether the bytes of an open result file have the digest that its first line states.

    Raises InputError for a foreign or truncated file, VerificationError if the first line cannot be read.
    """
    file.seek(0)
    block = file.read(BLOCK)
    if not block.startswith(MAGIC):
        raise InputError(
            f"not a mucal result: starts with {block[:12]!r}", kind="input.foreign_file", where={"file": path}
        )
    try:
        digest, size = _parse(block)
    except ValueError as error:
        raise VerificationError(
            f"the first line of {path.name} is damaged", kind="verify.damaged", where={"file": path}
        ) from error
    found = file.seek(0, 2)
    if found != size:
        raise InputError(
            f"{path.name} is {'truncated' if found < size else 'too long'}: {found} bytes, expected {size}",
            kind="input.truncated",
            where={"file": path},
            do=AGAIN,
        )
    file.seek(BLOCK)
    return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _parse(block: bytes) -> tuple[str, int]:
    line, _, padding = block.partition(b"\n")
    words = line.decode("ascii").split(" ")
    if len(words) != 6 or words[2] != "sha256" or words[4] != "bytes" or len(block) != BLOCK or padding.strip(b"\0"):
        raise ValueError("malformed first line")
    return words[3], int(words[5])
