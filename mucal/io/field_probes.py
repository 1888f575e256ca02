"""Tables of field probes: where the size of the field was measured, as text with commas."""

import csv
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError

COLUMNS: Final = ("x_cm", "y_cm", "z_cm", "b_tesla", "sigma_tesla")


def read_field_probes(path: str | Path) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Points (N, 3) cm, |B| (N,) T and its error (N,) T of a table whose first line names `COLUMNS`.

    Raises InputError for a missing file or column, or a line that does not hold numbers, with its number.
    """
    if not Path(path).is_file():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    rows: list[list[float]] = []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        table = csv.DictReader(file)
        missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
        if missing:
            raise InputError(
                f"{path} has no column '{missing[0]}'; expected {', '.join(COLUMNS)}",
                kind="input.field_column",
                where={"file": path},
            )
        for line in table:
            try:
                row = [float(line[name]) for name in COLUMNS]
            except (TypeError, ValueError) as error:
                raise InputError(
                    f"{path} line {table.line_num} does not hold five numbers",
                    kind="input.measurement",
                    where={"file": path},
                ) from error
            if not (np.all(np.isfinite(row)) and row[4] > 0 and row[3] > 0):
                raise InputError(
                    f"{path} line {table.line_num}: |B| = {row[3]} T +- {row[4]} T; expected positive numbers",
                    kind="input.measurement",
                    where={"file": path},
                )
            rows.append(row)
    values = np.array(rows).reshape(-1, len(COLUMNS))
    return values[:, :3], values[:, 3], values[:, 4]
