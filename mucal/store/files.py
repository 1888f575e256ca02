"""Writing any file so that it is there whole or not at all."""

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from mucal.errors import ResourceError, VerificationError


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
        raise _exists(path)
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
        _give_name(temporary, path, overwrite=overwrite)
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


def _give_name(temporary: Path, path: Path, *, overwrite: bool) -> None:
    """Rename; without `overwrite` by a hard link, which fails if another writer took the name meanwhile."""
    if not overwrite:
        try:
            path.hardlink_to(temporary)
        except FileExistsError as error:
            raise _exists(path) from error
        except OSError:  # a file system without hard links: the name was free when we began
            if path.exists():
                raise _exists(path) from None
        else:
            temporary.unlink()
            return
    temporary.replace(path)


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "exists already; remove it or ask to overwrite", str(path))


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
