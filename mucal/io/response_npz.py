"""A response map as plain numpy arrays (.npz), for programs without mucal.

pt_edges, eta_edges   of the generated muon, GeV and -
coefficients          (2, P, E, 6): charge -1, +1; r(z) = sum_j c_j z^j of the normal score z, r = pt_gen / pt
n_muons               (2, P, E)
"""

import io
import zlib
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np

from mucal.calibration.response_map import ResponseMap
from mucal.errors import InputError
from mucal.store import write_bytes

RESPONSE: Final = "response_map.npz"
ARRAYS: Final = ("pt_edges", "eta_edges", "coefficients", "n_muons")
MAX_BYTES: Final = 64 * 2**20


def response_bytes(response: ResponseMap) -> bytes:
    """The bytes of the file; the same map gives the same bytes."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: getattr(response, name) for name in ARRAYS})
    return buffer.getvalue()


def write_response(response: ResponseMap, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a map, as to attach it to a release: `write_bundle(..., attachments={RESPONSE: response_bytes(map)})`.

    Raises FileExistsError unless `overwrite`.
    """
    return write_bytes(path, response_bytes(response), overwrite=overwrite)


def read_response(path: str | Path) -> ResponseMap:
    """The map of a file; raises InputError for what is none, or is damaged."""
    try:
        _check(path)
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in ARRAYS if name not in file]
            if missing:
                raise ValueError(f"'{missing[0]}' is missing")
            pt_edges, eta_edges, coefficients, n_muons = (np.asarray(file[name], dtype=np.float64) for name in ARRAYS)
            return ResponseMap(
                pt_edges=pt_edges, eta_edges=eta_edges, coefficients=coefficients, n_muons=n_muons
            )  # fmt: skip
    except (ValueError, OSError, EOFError, RuntimeError, MemoryError, BadZipFile, zlib.error) as error:
        raise InputError(
            f"{Path(path).name} is not a response map: {error}", kind="input.response_map", where={"file": path}
        ) from error


def _check(path: str | Path) -> None:
    """Raises what `zipfile` raises, or ValueError, for an archive that no map has or whose checksums are wrong.

    numpy looks at the checksum of an array only if it reads it to its end.
    """
    with ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise ValueError(f"it holds more than {MAX_BYTES} bytes")
        if any(entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) for entry in entries):
            raise ValueError("it is compressed as no .npz is")
        if damaged := archive.testzip():
            raise ValueError(f"'{damaged}' is damaged")
