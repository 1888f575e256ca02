"""A detector as tables that other tools read and write: HDF5, or a directory of Parquet or CSV files.

One `.h5` file holds the groups `modules` and `passive` with one dataset a column (`centre` (M, 3), `rotation`
(M, 3, 3), `half_u` (M, 2)); a file with the columns of the modules at its root is read too.  A directory holds
`modules.parquet` or `modules.csv`, the same for `passive` if there is any, and `detector.json` with `name` and
`subdet_names`; there a vector is spread over columns: `centre_x ...`, `u_x ... w_z`, `half_u_low`, `half_u_high`.
A table `field` with one row a grid point (`r, z, br, bz` or `x, y, z, bx, by, bz`) gives the field; in a directory it
may be `field.h5` instead, a `MagneticField` that was saved.
The columns and their units are those of `detector.Modules` and `detector.Passive`.  What a table of modules may leave
out, and what then takes its place, is listed in `MAY_LACK`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.detector import BUILT_IN, PIXEL, SILICON, STRIP, Detector, Modules, Passive, require_no_overlaps
from mucal.detector.field import MagneticField, field_from_rows
from mucal.detector.table import ORTHONORMAL
from mucal.errors import ConfigError, InputError, nearest
from mucal.io.detector_files import FIELD, Columns, read_directory, read_hdf5, write_directory
from mucal.store import is_result
from mucal.units import GeV, MeV

ROUNDING: Final = 1e-5
"""Axes that are orthonormal to this are made so exactly; beyond it they are refused."""

MAY_LACK: Final = {
    "module_id": "the number of the row",
    "layer": "0",
    "side": "0 where the normal is nearer to the radius than to the beam, else the sign of z",
    "ladder": "0",
    "stereo": "False",
    "strip_angle": "0",
    "focus": "of a trapezoid of strips: where its sides meet; else 0",
    "n_meas": "from `measures`: 1 for one resolution, 2 for two",
    "sigma_u": "from `measures`",
    "sigma_v": "from `measures`; NaN on strips",
    "x_over_x0": "that of `thickness` cm of silicon",
    "xi_mev": "that of `thickness` cm of silicon",
}
"""Column of `Modules` -> what it is when the table lacks it."""

_SIZES: Final = (0.05, 40.0)  # cm, median half length of modules that is believed
_FAR: Final = (3.0, 1500.0)  # cm, farthest coordinate of a module that is believed


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorInput:
    """How a table of a detector is read.

    name         : of the detector, if the file gives none
    subdet_names : indexed by the column `subdet`, if the file gives none
    columns      : our name of a column -> the file's, where they differ
    measures     : name of a subdetector -> (sigma_u,) of its strips or (sigma_u, sigma_v) of its pixels, cm, for
                   tables without resolutions
    probes       : tracks that look for overlapping modules; 0 to trust the table
    places       : configuration key -> "file.toml:14", for messages
    """

    name: str = ""
    subdet_names: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    probes: int = 6000
    places: Mapping[str, str] = field(default_factory=dict)


def open_detector(name: str) -> Detector:
    """A built-in detector by name, or one read from a file or folder of tables; raises as `read_detector` does."""
    return BUILT_IN[name]() if name in BUILT_IN else read_detector(name)


def read_detector(path: str | Path, config: DetectorInput | None = None) -> Detector:
    """A detector from a result file of ours, or from tables as the module's docstring describes them.

    path   : a .h5 file, or a directory
    config : `DetectorInput`

    Raises InputError naming the file, table and rows for anything missing, damaged or impossible: lengths that are
    not in cm, axes that are a reflection or not orthonormal, zero thickness, ids with gaps, overlapping modules.
    """
    path, config = Path(path), config or DetectorInput()
    if not path.exists():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    if path.is_file() and is_result(path):
        return Detector.load(path)
    tables, about = read_directory(path) if path.is_dir() else read_hdf5(path)
    names = tuple(about.get("subdet_names") or config.subdet_names)
    try:
        modules = _modules(_renamed(tables["modules"], path, config), names, path, config)
        passive = _passive(tables.get("passive"), path)
        names = names or tuple(f"subdetector {i}" for i in range(int(modules.subdet.max(initial=0)) + 1))
        field = _field(tables.get("field"), path)
        detector = Detector(
            field=field,
            name=str(about.get("name") or config.name or path.stem),
            subdet_names=names,
            modules=modules,
            passive=passive,
        )
        if config.probes:
            require_no_overlaps(detector, n_tracks=config.probes)
    except ValueError as error:
        raise InputError(
            str(error),
            kind="input.detector",
            where={"file": path},
            do="mend the rows that are named and read the tables again",
        ) from error
    return detector


def write_detector(detector: Detector, path: str | Path, *, format: str = "parquet", overwrite: bool = False) -> Path:
    """Write a detector: a checksummed `.h5` file if `path` ends so, else a directory of tables.

    format : of the tables in a directory, "parquet" or "csv"

    Raises ConfigError for another format, FileExistsError unless `overwrite`, ResourceError if the disk is full.
    """
    path = Path(path)
    if path.suffix == ".h5":
        return detector.save(path, overwrite=overwrite)
    if path.suffix or format not in ("parquet", "csv"):
        raise ConfigError(
            f"a detector is written to a .h5 file or to a directory of parquet or csv, not '{path.name}' as {format}",
            kind="config.format",
            where={"file": path},
        )
    m, p = detector.modules, detector.passive
    flat: Columns = {name: getattr(m, name) for name in ("module_id", *_WHOLE, "stereo", "n_meas", *_REAL)}
    flat |= {f"centre_{x}": m.centre[:, i] for i, x in enumerate("xyz")}
    flat |= {f"{axis}_{x}": m.rotation[:, j, i] for j, axis in enumerate("uvw") for i, x in enumerate("xyz")}
    flat |= {"half_u_low": m.half_u[:, 0], "half_u_high": m.half_u[:, 1]}
    tables = {"modules": flat, "passive": {name: getattr(p, name) for name in _PASSIVE}}
    about = {"name": detector.name, "subdet_names": list(detector.subdet_names)}
    write_directory(path, tables, about, format, overwrite=overwrite)
    if detector.field is not None:
        detector.field.save(path / FIELD, overwrite=overwrite)
    return path


# ------------------------------------------------------------------------------------------------ modules

_WHOLE: Final = ("subdet", "layer", "side", "ladder")
_REAL: Final = ("half_v", "sigma_u", "sigma_v", "strip_angle", "focus", "x_over_x0", "xi_mev")
_PASSIVE: Final = ("subdet", "kind", "position", "low", "high", "x_over_x0", "xi_mev")


def _renamed(columns: Columns, path: Path, config: DetectorInput) -> Columns:
    for ours, theirs in config.columns.items():
        if theirs not in columns:
            raise _missing(theirs, columns, path, asked=f"{config.places.get('columns', '')} columns.{ours}".strip())
    return {**columns, **{ours: columns[theirs] for ours, theirs in config.columns.items()}}


def _missing(name: str, columns: Columns, path: Path, *, asked: str = "", table: str = "modules") -> InputError:
    return InputError(
        f"column '{name}' of {table} is missing",
        kind="input.missing_branch",
        where={"file": path, "asked": asked, "near": ", ".join(nearest(name, columns))},
        do="add the column, or name the one that holds it under columns",
    )


def _modules(columns: Columns, names: tuple[str, ...], path: Path, config: DetectorInput) -> Modules:
    for name in ("subdet", "half_v"):
        if name not in columns:
            raise _missing(name, columns, path)
    n = columns["subdet"].size
    rotation = _orthonormal(_vectors(columns, path, "rotation", ("u", "v", "w"), n))
    centre = _vectors(columns, path, "centre", ("centre",), n).reshape(n, 3)
    half_u, half_v = _half_u(columns, path, n), _real(columns, "half_v")
    _require_cm(half_v, centre, path)
    columns = {**_resolutions(columns, names, path, config), **columns}
    columns = {**_silicon(columns, path), **columns}
    endcap = np.abs(rotation[:, 2, 2]) > np.sqrt(0.5)
    instead: dict[str, Any] = {
        "module_id": np.arange(n), "layer": np.zeros(n), "ladder": np.zeros(n), "stereo": np.zeros(n),
        "strip_angle": np.zeros(n), "side": np.where(endcap, np.sign(centre[:, 2]), 0),
        "focus": _meeting_point(half_u, half_v) * (columns["n_meas"] == STRIP),
    }  # fmt: skip
    columns = {**instead, **columns}
    return Modules(
        centre=centre,
        rotation=rotation,
        half_u=half_u,
        stereo=columns["stereo"].astype(bool),
        **_all(_whole, columns, ("module_id", "n_meas", *_WHOLE)),
        **_all(_real, columns, _REAL),
    )


def _vectors(columns: Columns, path: Path, name: str, parts: tuple[str, ...], n: int) -> FloatArray:
    """(n, len(parts), 3) from one array, or from columns part_x, part_y, part_z; w may be missing: w = u x v."""
    if name in columns:
        return np.asarray(columns[name], dtype=np.float64).reshape(n, len(parts), 3).copy()
    result = np.empty((n, len(parts), 3))
    for j, part in enumerate(parts):
        given = [f"{part}_{x}" in columns for x in "xyz"]
        if part == "w" and not any(given):
            result[:, j] = np.cross(result[:, 0], result[:, 1])
            continue
        for i, x in enumerate("xyz"):
            if not given[i]:
                raise _missing(f"{part}_{x}", columns, path)
            result[:, j, i] = columns[f"{part}_{x}"]
    return result


def _orthonormal(rotation: FloatArray) -> FloatArray:
    """Axes freed of rounding; those that are far from orthonormal, or mirrored, are left for the table to refuse."""
    gram = np.einsum("mik,mjk->mij", rotation, rotation)
    with np.errstate(invalid="ignore"):
        skew = np.abs(gram - np.eye(3)).max(axis=(1, 2), initial=0.0)
        near = (skew > ORTHONORMAL) & (skew < ROUNDING) & (np.linalg.det(rotation) > 0)
    u, v = rotation[near, 0], rotation[near, 1]
    u = u / np.linalg.norm(u, axis=1, keepdims=True)
    v = v - np.sum(u * v, axis=1, keepdims=True) * u
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    rotation[near] = np.stack([u, v, np.cross(u, v)], axis=1)
    return rotation


def _half_u(columns: Columns, path: Path, n: int) -> FloatArray:
    if "half_u_low" in columns and "half_u_high" in columns:
        return np.stack([_real(columns, "half_u_low"), _real(columns, "half_u_high")], axis=1)
    if "half_u" not in columns:
        raise _missing("half_u", columns, path)
    half_u = np.asarray(columns["half_u"], dtype=np.float64)
    return half_u.copy() if half_u.shape == (n, 2) else np.stack([half_u, half_u], axis=1)


def _meeting_point(half_u: FloatArray, half_v: FloatArray) -> FloatArray:
    """Focus of trapezoids: width(v) = (low + high)/2 + (high - low) v / (2 half_v) vanishes at v = -focus."""
    wider = half_u[:, 1] - half_u[:, 0]
    trapezoid = np.abs(wider) > 1e-3 * half_u.sum(axis=1)
    focus: FloatArray = np.where(trapezoid, half_v * half_u.sum(axis=1) / np.where(trapezoid, wider, 1.0), 0.0)
    return focus


def _resolutions(columns: Columns, names: tuple[str, ...], path: Path, config: DetectorInput) -> Columns:
    """n_meas, sigma_u and sigma_v from `measures`, where the table has none."""
    subdet = _whole(columns, "subdet")
    if "sigma_u" in columns:
        strips = (
            np.full(subdet.size, STRIP)
            if "sigma_v" not in columns
            else np.where(np.isnan(columns["sigma_v"]), STRIP, PIXEL)
        )
        return {"n_meas": strips, "sigma_v": np.full(subdet.size, np.nan)}
    n_meas, sigma_u, sigma_v = np.zeros(subdet.size), np.full(subdet.size, np.nan), np.full(subdet.size, np.nan)
    for i in np.unique(subdet):
        name = names[i] if 0 <= i < len(names) else f"subdetector {i}"
        if name not in config.measures:
            raise InputError(
                f"neither the table nor measures gives the resolution of '{name}' ({(subdet == i).sum()} modules)",
                kind="input.missing_branch",
                where={"file": path, "asked": f"{config.places.get('measures', '')} measures".strip()},
                do=f"add a column sigma_u, or measures.'{name}' = [sigma_u] for strips, [sigma_u, sigma_v] for pixels",
            )
        given = config.measures[name]
        n_meas[subdet == i], sigma_u[subdet == i] = len(given), given[0]
        sigma_v[subdet == i] = given[1] if len(given) == PIXEL else np.nan
    return {"n_meas": n_meas, "sigma_u": sigma_u, "sigma_v": sigma_v}


def _silicon(columns: Columns, path: Path) -> Columns:
    """x_over_x0 and xi_mev of `thickness` cm of silicon, where the table has neither."""
    if "x_over_x0" in columns and "xi_mev" in columns:
        return {}
    if "thickness" not in columns:
        raise _missing("x_over_x0" if "xi_mev" in columns else "xi_mev", columns, path)
    x_over_x0 = _real(columns, "thickness") * SILICON.density / SILICON.radiation_length
    return {"x_over_x0": x_over_x0, "xi_mev": x_over_x0 * (SILICON.xi_per_radiation_length * GeV / MeV)}


def _require_cm(half_v: FloatArray, centre: FloatArray, path: Path) -> None:
    median, far = float(np.median(half_v)), float(np.abs(centre).max(initial=0.0))
    if not (_SIZES[0] <= median <= _SIZES[1] and _FAR[0] <= far <= _FAR[1]):
        raise InputError(
            f"these lengths do not look like cm: median half_v {median:g}, farthest coordinate {far:g}; expected "
            f"{_SIZES[0]:g} to {_SIZES[1]:g} and {_FAR[0]:g} to {_FAR[1]:g}",
            kind="input.units",
            where={"file": path, "table": "modules"},
            do="convert all lengths to cm",
        )


def _passive(columns: Columns | None, path: Path) -> Passive:
    if columns is None:
        columns = {name: np.zeros(0) for name in _PASSIVE}
    for name in _PASSIVE:
        if name not in columns:
            raise _missing(name, columns, path, table="passive")
    return Passive(**_all(_whole, columns, _PASSIVE[:2]), **_all(_real, columns, _PASSIVE[2:]))


def _all(read: Callable[[Columns, str], Any], columns: Columns, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: read(columns, name) for name in names}


def _field(columns: Columns | None, path: Path) -> MagneticField | None:
    saved = path / FIELD
    if path.is_dir() and saved.is_file():
        return MagneticField.load(saved)
    if columns is None:
        return None
    try:
        return field_from_rows(columns)
    except InputError as error:
        error.where = {"file": str(path), **error.where}
        raise


def _real(columns: Columns, name: str) -> Any:
    return np.ascontiguousarray(columns[name], dtype=np.float64)


def _whole(columns: Columns, name: str) -> Any:
    values = np.asarray(columns[name], dtype=np.float64)
    wrong = ~(np.isfinite(values) & (values == np.round(values)))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"{wrong.sum()} of {wrong.size} rows of {name} are not whole numbers: {name}[{row}] = {values[row]}"
        )
    return values.astype(np.int64)
