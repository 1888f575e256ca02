"""Tables as HEPData takes them: YAML data files beside one submission file.

The subset of YAML written here is plain: texts in double quotes, numbers that YAML 1.1 knows as numbers, no tags and
no anchors.  Source of the format: the HEPData submission documentation (hepdata-submission.readthedocs.io).
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.likelihood import FitResult, Impacts
from mucal.store import write_bytes

Value = str | float | None
MATRIX: Final = 150
"""Parameters of a matrix that is written in full; of more, those with the largest impacts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """name, units if any, values (None is written as "-"); qualifiers, as the parameter of interest meant"""

    name: str
    values: Sequence[Value]
    units: str = ""
    qualifiers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class HepdataTable:
    """name and description; independent and dependent columns of one length; file, without its ending"""

    name: str
    description: str
    file: str
    independent: tuple[Column, ...]
    dependent: tuple[Column, ...]

    def __post_init__(self) -> None:
        lengths = {column.name: len(column.values) for column in (*self.independent, *self.dependent)}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"the columns of table '{self.name}' have lengths {lengths}")
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", self.file):
            raise ValueError(f"table file '{self.file}' is no plain name")


def write_hepdata(
    folder: str | Path, tables: Sequence[HepdataTable], *, comment: str = "", overwrite: bool = False
) -> list[Path]:
    """Write tables and `submission.yaml` into a folder; the paths written, the submission last.

    Raises FileExistsError unless `overwrite`.
    """
    folder = Path(folder)
    written = [
        write_bytes(folder / f"{table.file}.yaml", "\n".join([*_data(table), ""]).encode(), overwrite=overwrite)
        for table in tables
    ]
    documents = [f"comment: {_text(comment)}", *("\n".join(_entry(table)) for table in tables)]
    content = "".join(f"---\n{document}\n" for document in documents)
    return [*written, write_bytes(folder / "submission.yaml", content.encode(), overwrite=overwrite)]


def nuisance_table(
    result: FitResult,
    pulls: FloatArray,
    constraints: FloatArray,
    nominal: Sequence[Impacts],
    response: Sequence[Impacts],
) -> HepdataTable:
    """Pull, constraint, and impacts of both kinds on each parameter of interest, one row a parameter.

    pulls, constraints : (S,)  NaN for parameters without a constraint
    """
    columns = [
        Column(name="pull", values=_values(pulls), units="prior standard errors"),
        Column(name="constraint", values=_values(constraints), units="prior standard errors"),
    ]
    for one, other in zip(nominal, response, strict=True):
        of = {"parameter of interest": one.poi}
        columns.append(Column(name="nominal impact", values=_values(one.single), qualifiers=of))
        columns.append(Column(name="global impact", values=_values(other.single), qualifiers=of))
    return HepdataTable(
        name="Nuisance parameters",
        description="Pulls, constraints and impacts. A nominal impact is the change of the parameter of interest when "
        "the nuisance goes up by its error after the fit, a global one when the centre of its constraint does.",
        file="nuisance_parameters",
        independent=(Column(name="parameter", values=result.parameters),),
        dependent=tuple(columns),
    )


def breakdown_table(nominal: Impacts, response: Impacts) -> HepdataTable:
    """Impacts of groups, of the data and of the simulation on one parameter of interest."""
    names = [*nominal.groups, "data size", "simulation size", "total"]
    sides = [
        [*(one.groups[group] for group in nominal.groups), one.data_stat, one.mc_stat, one.total]
        for one in (nominal, response)
    ]
    return HepdataTable(
        name=f"Uncertainty breakdown of {nominal.poi}",
        description="Global impacts add in quadrature to the total, nominal ones need not.",
        file=f"breakdown_{_plain_name(nominal.poi)}",
        independent=(Column(name="source", values=names),),
        dependent=(Column(name="nominal impact", values=sides[0]), Column(name="global impact", values=sides[1])),
    )


def matrix_table(result: FitResult, names: Sequence[str], kind: str = "covariance") -> HepdataTable:
    """Covariance or correlation of some parameters, one row an element.

    Raises ValueError for another kind.
    """
    if kind not in ("covariance", "correlation"):
        raise ValueError(f"kind is '{kind}', expected covariance or correlation")
    place = [result.place(name) for name in names]
    matrix = result.cov[np.ix_(place, place)]
    if kind == "correlation":
        errors = np.sqrt(np.diag(matrix))
        both = np.outer(errors, errors)
        matrix = np.divide(matrix, both, out=np.zeros_like(matrix), where=both > 0)
    n = len(names)
    some = "" if n == len(result.parameters) else f" of {n} of {len(result.parameters)} parameters"
    return HepdataTable(
        name=kind.capitalize(),
        description=f"{kind.capitalize()} of the estimates{some}, each in its own unit.",
        file=kind,
        independent=(
            Column(name="first parameter", values=[a for a in names for _ in range(n)]),
            Column(name="second parameter", values=list(names) * n),
        ),
        dependent=(Column(name=kind, values=_values(matrix.ravel())),),
    )


def matrix_parameters(result: FitResult, nominal: Sequence[Impacts], most: int = MATRIX) -> list[str]:
    """Names for a matrix: all that vary, or the parameters of interest and those with the largest impacts on them."""
    varying = [name for name, frozen in zip(result.parameters, result.frozen, strict=True) if not frozen]
    if len(varying) <= most:
        return varying
    size = sum(np.abs(one.single) for one in nominal) if nominal else np.sqrt(np.diag(result.cov))
    order = [result.parameters[j] for j in np.argsort(-np.asarray(size), kind="stable")]
    chosen = list(dict.fromkeys([*result.pois, *order]))
    return [name for name in chosen if name in set(varying)][:most]


def _values(values: FloatArray) -> list[Value]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _plain_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def _entry(table: HepdataTable) -> Iterator[str]:
    yield f"name: {_text(table.name)}"
    yield f"description: {_text(table.description)}"
    yield "keywords: []"
    yield f"data_file: {table.file}.yaml"


def _data(table: HepdataTable) -> Iterator[str]:
    for kind, columns in (("independent", table.independent), ("dependent", table.dependent)):
        yield f"{kind}_variables:"
        for column in columns:
            units = f", units: {_text(column.units)}" if column.units else ""
            yield f"- header: {{name: {_text(column.name)}{units}}}"
            if column.qualifiers:
                yield "  qualifiers:"
                yield from (f"  - {{name: {_text(k)}, value: {_text(v)}}}" for k, v in column.qualifiers.items())
            yield "  values:"
            yield from (f"  - value: {_scalar(value)}" for value in column.values)


def _scalar(value: Value) -> str:
    if value is None:
        return '"-"'
    return _text(value) if isinstance(value, str) else _number(float(value))


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _number(value: float) -> str:
    """With a point before any exponent: without one, YAML 1.1 takes it for text."""
    mantissa, e, exponent = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}" if e else mantissa
