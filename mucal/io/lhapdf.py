"""Sets of parton densities in the text format of LHAPDF 6: SET/SET.info and SET/SET_0000.dat, ...

Only what the densities need is read of the info file (flat `key: value` lines of YAML); a member is blocks between
`---` lines: a header, then for each subgrid the knots of x, those of Q (GeV), the flavours, and one line a knot, x
outermost.  Source: A. Buckley et al., LHAPDF6, arXiv:1412.7420, appendix.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from mucal.errors import InputError
from mucal.store import Provenance, sha256
from mucal.theory.pdf_grid import FLAVOURS, ErrorType, PdfGrid, PdfSet, Subgrid

ERROR_TYPES: Final[dict[str, ErrorType]] = {
    "hessian": "hessian", "symmhessian": "symmhessian", "replicas": "replicas"
}  # fmt: skip


def read_lhapdf(path: str | Path, members: Sequence[int] | None = None) -> PdfSet:
    """A set from its folder or its info file.

    members : to read, the central one (0) first; None: all

    Raises InputError for missing files, an unknown type of errors, and a member that is not a grid, with its line.
    """
    path = Path(path)
    info_path = path / f"{path.name}.info" if path.is_dir() else path
    if not info_path.is_file():
        raise InputError(f"there is no file {info_path}", kind="input.missing_file", where={"file": info_path})
    info = _info(info_path)
    kind = info.get("ErrorType", "replicas").lower()
    if kind not in ERROR_TYPES:
        raise InputError(
            f"errors of type '{kind}'", kind="input.pdf_errors",
            where={"file": info_path, "known": ", ".join(ERROR_TYPES)},
        )  # fmt: skip
    wanted = range(int(info.get("NumMembers", "1"))) if members is None else members
    files = [info_path.with_name(f"{info_path.stem}_{i:04d}.dat") for i in wanted]
    return PdfSet(
        name=info_path.stem,
        members=tuple(read_member(file) for file in files),
        error_type=ERROR_TYPES[kind],
        confidence=round(float(info.get("ErrorConfLevel", "68"))),
        provenance=Provenance(inputs={str(file): sha256(file) for file in (info_path, *files[:1])}),
    )


def read_member(path: str | Path) -> PdfGrid:
    """One member of a set.  Raises InputError for a missing file, or one that is not a grid."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    blocks: list[tuple[int, list[str]]] = []
    block: list[str] = []
    first = 1
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip() == "---":
            blocks.append((first, block))
            block, first = [], number + 1
        else:
            block.append(line)
    grids = tuple(_subgrid(path, start, lines) for start, lines in blocks[1:] if any(map(str.strip, lines)))
    if not grids or not any("lhagrid1" in line for line in blocks[0][1]):
        raise InputError(
            f"{path.name} is no grid of the format lhagrid1", kind="input.pdf_format", where={"file": path}
        )
    return PdfGrid(subgrids=grids)


def write_member(path: str | Path, grid: PdfGrid, *, kind: str = "central") -> Path:
    """The member as LHAPDF reads it; numbers have 8 digits after the point."""
    lines = [f"PdfType: {kind}", "Format: lhagrid1", "---"]
    for one in grid.subgrids:
        lines += [_numbers(one.x), _numbers(one.q), " ".join(map(str, one.flavours.tolist()))]
        lines += [_numbers(row) for row in one.values.reshape(-1, one.flavours.size)]
        lines.append("---")
    path = Path(path)
    path.write_text("\n".join(lines) + "\n")
    return path


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.8e}" for value in values)


def _info(path: Path) -> dict[str, str]:
    """Key -> value of the flat lines; quotes taken off."""
    found = {}
    for line in path.read_text().splitlines():
        key, separator, value = line.partition(":")
        if separator and not line.startswith((" ", "#", "-")):
            found[key.strip()] = value.strip().strip("\"'")
    return found


def _subgrid(path: Path, first: int, lines: Sequence[str]) -> Subgrid:
    try:
        x, q = (np.array([float(word) for word in line.split()]) for line in lines[:2])
        flavours = np.array([int(word) for word in lines[2].split()], dtype=np.int64)
        values = np.array([float(word) for line in lines[3:] for word in line.split()])
        if values.size != x.size * q.size * flavours.size:
            raise ValueError(f"{values.size} values for {x.size} x {q.size} knots and {flavours.size} flavours")
        if not set(FLAVOURS.values()) & set(flavours.tolist()):
            raise ValueError(f"no quark among the flavours {flavours.tolist()}")
        return Subgrid(x=x, q=q, flavours=flavours, values=values.reshape(x.size, q.size, flavours.size))
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path.name} holds no grid where one is expected: {error}", kind="input.pdf_format",
            where={"file": path, "line": first},
        ) from error  # fmt: skip
