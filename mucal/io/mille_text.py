"""The text files around Mille binaries: steering, parameters, constraints, measurements, results and labels."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.errors import InputError
from mucal.globalcor import Constraint, Measurement, Registry
from mucal.io.mille import FLAVOURS
from mucal.store import write_bytes

COMMENTS: Final = ("!", "%")
FILE_KINDS: Final = {"c": "Cfiles", "fortran": "fortranfiles"}
MOST_BYTES: Final = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class MilleText:
    """What text files say of the parameters, which are numbered from 0 here and from 1 in the files.

    initial      : parameter -> value at the start
    presigma     : parameter -> width; negative: fixed, 0: the program's default
    constraints  :
    measurements :
    """

    initial: Mapping[int, float] = field(default_factory=dict)
    presigma: Mapping[int, float] = field(default_factory=dict)
    constraints: tuple[Constraint, ...] = ()
    measurements: tuple[Measurement, ...] = ()


def write_text(path: str | Path, text: MilleText, *, overwrite: bool = False) -> Path:
    """Write the parameters, constraints and measurements as blocks of a text file."""
    lines: list[str] = []
    if text.initial or text.presigma:
        lines.append("Parameter  ! label  initial  presigma")
        for i in sorted({*text.initial, *text.presigma}):
            lines.append(f"{i + 1:>10} {float(text.initial.get(i, 0.0))!r} {float(text.presigma.get(i, 0.0))!r}")
    for c in text.constraints:
        lines += [f"Constraint {float(c.value)!r}  ! {c.name}", *_factors(c)]
    for m in text.measurements:
        lines += [f"Measurement {float(m.value)!r} {float(m.sigma)!r}  ! {m.name}", *_factors(m)]
    return write_bytes(path, ("\n".join(lines) + "\n").encode(), overwrite=overwrite)


def _factors(row: Constraint) -> list[str]:
    pairs = zip(row.index.tolist(), row.factor.tolist(), strict=True)
    return [f"{i + 1:>10} {factor!r}" for i, factor in pairs]


def priors_as_measurements(registry: Registry) -> tuple[Measurement, ...]:
    """The priors of a registry as measurements of 0: a pre-sigma alone only damps the step."""
    return tuple(
        Measurement(name=f"prior of {registry.names[i]}", index=np.array([i]), factor=np.ones(1), sigma=float(width))
        for i, width in enumerate(registry.prior.tolist())
        if np.isfinite(width)
    )


def read_text(path: str | Path) -> MilleText:
    """The parameters, constraints and measurements of a text file.

    Raises InputError, with the line, for a block that is none of these or a line that does not fit.
    """
    path = Path(path)
    initial: dict[int, float] = {}
    presigma: dict[int, float] = {}
    rows: list[tuple[str, int, list[float], list[tuple[int, float]]]] = []
    block = ""
    for number, words, comment in _lines(path):
        if _is_number(words[0]):
            label = _whole(path, number, words[0])
            values = _numbers(path, number, words[1:])
            if block == "parameter" and 1 <= len(values) <= 4:
                initial[label], presigma[label] = values[0], values[1] if len(values) > 1 else 0.0
            elif block in ("constraint", "measurement") and len(values) == 1:
                rows[-1][3].append((label, values[0]))
            else:
                raise _wrong(path, number, f"{len(values)} numbers after a label outside a block that has them")
            continue
        block = words[0].lower()
        head = _numbers(path, number, words[1:])
        if block not in ("parameter", "constraint", "measurement"):
            raise _wrong(path, number, f"a block '{words[0]}'; expected Parameter, Constraint or Measurement")
        if block != "parameter":
            wanted = (1, 2) if block == "constraint" else (2,)
            if len(head) not in wanted:
                raise _wrong(path, number, f"{len(head)} numbers after {words[0]}, expected {wanted[-1]}")
            rows.append((comment or f"{block} of line {number}", number, [*head, float(block == "measurement")], []))
    constraints, measurements = [], []
    for name, number, head, factors in rows:
        if not factors:
            raise _wrong(path, number, "a constraint or measurement without factors")
        index, factor = np.array([f[0] for f in factors]), np.array([f[1] for f in factors])
        if head[-1]:
            measurements.append(Measurement(name=name, index=index, factor=factor, value=head[0], sigma=head[1]))
        else:
            constraints.append(Constraint(name=name, index=index, factor=factor, value=head[0]))
    return MilleText(
        initial=initial, presigma=presigma, constraints=tuple(constraints), measurements=tuple(measurements)
    )


# ------------------------------------------------------------------------------------------------ steering


@dataclass(frozen=True, slots=True, kw_only=True)
class Steering:
    """What Millepede is told to do.

    binaries : (name, flavour, weight)
    texts    : further text files
    options  : lines as "method inversion 3 0.1", "entries 25", "regularisation 1.0"
    """

    binaries: tuple[tuple[str, str, float], ...]
    texts: tuple[str, ...] = ()
    options: tuple[str, ...] = ("method inversion 3 0.1",)

    def __post_init__(self) -> None:
        unknown = [flavour for _, flavour, _ in self.binaries if flavour not in FLAVOURS]
        if unknown:
            raise ValueError(f"no flavour {unknown[0]!r}; there are {', '.join(FLAVOURS)}")


def write_steering(path: str | Path, steering: Steering, *, overwrite: bool = False) -> Path:
    """Write a steering file."""
    lines = list(steering.texts)
    current = ""
    for name, flavour, weight in steering.binaries:
        if flavour != current:
            current = flavour
            lines.append(FILE_KINDS[flavour])
        lines.append(name if weight == 1.0 else f"{name} -- {weight!r}")
    lines += [*steering.options, "end"]
    return write_bytes(path, ("\n".join(lines) + "\n").encode(), overwrite=overwrite)


def read_steering(path: str | Path) -> Steering:
    """The files and options of a steering file.

    A line of one word is a file: a binary after `Cfiles` or `fortranfiles`, unless its name ends with `.txt`; other
    lines are options.  Raises InputError for a weight that is no number.
    """
    path = Path(path)
    binaries: list[tuple[str, str, float]] = []
    texts: list[str] = []
    options: list[str] = []
    flavour = ""
    for number, words, _ in _lines(path):
        keyword = words[0].lower()
        if keyword == "end":
            break
        kind = next((f for f, name in FILE_KINDS.items() if name.lower() == keyword), None)
        if kind is not None:
            flavour = kind
        elif len(words) == 1 and (not flavour or keyword.endswith(".txt")) and "." in keyword:
            texts.append(words[0])
        elif flavour and len(words) == 1 and "." in keyword:
            binaries.append((words[0], flavour, 1.0))
        elif flavour and len(words) == 3 and words[1] == "--":
            binaries.append((words[0], flavour, _numbers(path, number, words[2:])[0]))
        else:
            options.append(" ".join(words))
    return Steering(binaries=tuple(binaries), texts=tuple(texts), options=tuple(options))


# ------------------------------------------------------------------------------------------------ results and labels


@dataclass(frozen=True, slots=True, kw_only=True)
class MilleResult:
    """A `millepede.res`: parameters from 0, in the order of the file; NaN where a column is missing.

    index      : (n,)
    value      : (n,)
    presigma   : (n,)
    difference : (n,)  from the start value; NaN for fixed parameters
    error      : (n,)  NaN for methods that compute none
    """

    index: IntArray
    value: FloatArray
    presigma: FloatArray
    difference: FloatArray
    error: FloatArray

    def __post_init__(self) -> None:
        n = self.index.size
        check_shapes(self, value=(n,), presigma=(n,), difference=(n,), error=(n,))

    @property
    def fixed(self) -> np.ndarray:
        """(n,) whether a parameter was not fitted"""
        return np.isnan(self.difference)


def read_result(path: str | Path) -> MilleResult:
    """A result file of Millepede-II: a header, then label, value, presigma and, if fitted, difference and error.

    Raises InputError, with the line, for a file without that shape.
    """
    path = Path(path)
    rows: list[list[float]] = []
    index: list[int] = []
    for i, (number, words, _) in enumerate(_lines(path)):
        if i == 0 and not _is_number(words[0]):
            continue
        label = _whole(path, number, words[0])
        counted = len(words) > 3 and words[-1].isdigit()  # `printcounts` adds entries; other numbers have a point
        values = _numbers(path, number, words[1:-1] if counted else words[1:])
        if not 2 <= len(values) <= 5:
            raise _wrong(path, number, f"{len(values) + 1} columns, expected 3 to 6")
        index.append(label)
        rows.append([*values[:4], *[np.nan] * (4 - len(values[:4]))])
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return MilleResult(
        index=np.array(index, dtype=np.int64), value=table[:, 0], presigma=table[:, 1], difference=table[:, 2],
        error=table[:, 3],
    )  # fmt: skip


def write_labels(path: str | Path, registry: Registry, *, overwrite: bool = False) -> Path:
    """The sidecar table: label, name, unit and prior of every parameter."""
    lines = ["label,name,unit,prior"]
    lines += [
        f'{i + 1},"{name}",{unit},{prior!r}'
        for i, (name, unit, prior) in enumerate(
            zip(registry.names, registry.units, registry.prior.tolist(), strict=True)
        )
    ]
    return write_bytes(path, ("\n".join(lines) + "\n").encode(), overwrite=overwrite)


def read_labels(path: str | Path) -> dict[int, str]:
    """Parameter (from 0) -> name, from a sidecar table.  Raises InputError for another table."""
    path = Path(path)
    with open(path, newline="") as file:
        table = csv.DictReader(file)
        if table.fieldnames is None or not {"label", "name"} <= set(table.fieldnames):
            raise _wrong(path, 1, f"the columns {table.fieldnames}; expected label and name")
        return {_whole(path, number, row["label"]): row["name"] for number, row in enumerate(table, start=2)}


# ------------------------------------------------------------------------------------------------ lines


def _lines(path: Path) -> Iterable[tuple[int, list[str], str]]:
    """Number, words and comment of every line with words."""
    if not path.is_file():
        raise InputError(f"there is no file {path}", kind="input.missing_file", where={"file": path})
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path.name} has {path.stat().st_size} bytes; a text file of labels has less",
                         kind="input.too_large", where={"file": path})  # fmt: skip
    with open(path, errors="replace") as file:
        for number, line in enumerate(file, start=1):
            if line.startswith("*"):
                continue
            at = min((i for i in map(line.find, COMMENTS) if i >= 0), default=len(line))
            words = line[:at].replace(",", " ").split()
            if words:
                yield number, words, line[at + 1 :].strip()


def _is_number(word: str) -> bool:
    return word.lstrip("+-").replace(".", "", 1)[:1].isdigit()


def _whole(path: Path, line: int, word: str) -> int:
    """A label of a file as a parameter from 0."""
    if not word.isascii() or not word.isdigit() or int(word) < 1:
        raise _wrong(path, line, f"the label '{word}'; expected a number from 1")
    return int(word) - 1


def _numbers(path: Path, line: int, words: Sequence[str]) -> list[float]:
    try:
        found = [float(word.replace("D", "E").replace("d", "e")) for word in words]
    except ValueError as error:
        raise _wrong(path, line, f"'{' '.join(words)}'; expected numbers") from error
    if not np.all(np.isfinite(found)):
        raise _wrong(path, line, "a number that is not finite")
    return found


def _wrong(path: Path, line: int, found: str) -> InputError:
    return InputError(
        f"line {line} of {path.name} holds {found}", kind="input.mille_text", where={"file": f"{path}:{line}"}
    )
