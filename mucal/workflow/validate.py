"""Plain TOML values to the frozen dataclasses of the stages: strict types, no unknown keys, errors with their line."""

import json
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Final, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from mucal.errors import ConfigError, nearest
from mucal.workflow.toml_text import TomlText

T = TypeVar("T")

_EXPECTED: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "dataclass_type": "a table",
    "none_required": "nothing",
}


def build(kind: type[T], values: object, document: TomlText, path: str) -> T:
    """The dataclass `kind` from the values that stand under `path` in `document`.

    Raises ConfigError for an unknown key (naming the nearest known one), a missing key, a wrong type or a value that
    the dataclass refuses, each with its file and line.
    """
    for key_path, key, known in unknown_keys(kind, values, path):
        near = nearest(key, known)
        raise ConfigError(
            f"{document.place(key_path)} unknown key '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""),
            kind="config.unknown_key",
            where={"key": key_path, "known": ", ".join(known)},
        )
    try:
        result = TypeAdapter(kind).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise _explain(error, values, document, path) from error
    except ConfigError as error:
        full = f"{path}.{error.where['key']}" if "key" in error.where else path
        error.where = {**error.where, "asked": f"{document.place(full)} {full}"}
        raise
    return result


def unknown_keys(kind: object, values: object, path: str) -> Iterator[tuple[str, str, list[str]]]:
    """(path, key, known keys) of every key that no dataclass inside `kind` has."""
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(values, Mapping):
        hints = typing.get_type_hints(kind)
        known = [f.name for f in fields(kind) if f.init]
        for key, value in values.items():
            inner = f"{path}.{key}" if path else key
            if key in known:
                yield from unknown_keys(hints[key], value, inner)
            else:
                yield inner, key, known
    elif isinstance(values, Mapping) and issubclass(_origin(kind), Mapping):
        for key, value in values.items():
            yield from unknown_keys(typing.get_args(kind)[1], value, f"{path}.{key}")
    elif isinstance(values, list):
        for i, value in enumerate(values):
            for item in typing.get_args(kind)[:1]:
                yield from unknown_keys(item, value, f"{path}.{i}")
    else:
        for choice in typing.get_args(kind):
            if isinstance(values, Mapping) and (is_dataclass(choice) or issubclass(_origin(choice), Mapping)):
                yield from unknown_keys(choice, values, path)
                return


def _origin(kind: object) -> type:
    origin = typing.get_origin(kind)
    return origin if isinstance(origin, type) else object


def _explain(error: ValidationError, values: object, document: TomlText, path: str) -> ConfigError:
    problems = error.errors(include_url=False)
    first = problems[0]
    where, found = _follow(first, values, path)
    what, kind = _sentence(first, where, found, path)
    others = [f"{document.place(_follow(p, values, path)[0])}" for p in problems[1:4]]
    return ConfigError(
        f"{document.place(where)} {what}", kind=kind, where={"key": where, "also": ", ".join(dict.fromkeys(others))}
    )


def _sentence(problem: ErrorDetails, where: str, found: object, path: str) -> tuple[str, str]:
    key = where.rpartition(".")[2] if not where.rpartition(".")[2].isdigit() else where
    match problem["type"]:
        case "missing":
            return f"key '{problem['loc'][-1]}' is missing in [{where or path}]", "config.missing_key"
        case "literal_error" | "enum":
            expected = f"one of {problem['ctx']['expected']}"
        case "value_error" | "assertion_error":
            return f"[{where}] {problem['ctx']['error']}", "config.bad_value"
        case name if name in _EXPECTED:
            expected = _EXPECTED[name]
        case _:
            message = problem["msg"][:1].lower() + problem["msg"][1:]
            return f"{key} = {json.dumps(found, default=str)}: {message}", "config.bad_value"
    return f"{key} = {json.dumps(found, default=str)} is {_noun(found)}, expected {expected}", "config.wrong_type"


def _noun(value: object) -> str:
    for kinds, noun in (
        (bool, "true or false"),
        (int | float, "a number"),
        (str, "text"),
        (list, "a list"),
        (Mapping, "a table"),
    ):
        if isinstance(value, kinds):
            return noun
    return "something else"


def _follow(problem: ErrorDetails, values: object, path: str) -> tuple[str, object]:
    """The path and the value a problem is about; parts of its location that name a type are passed over."""
    here = values
    for part in problem["loc"]:
        if isinstance(here, Mapping) and part in here:  # noqa: SIM114 - one index is a key, the other a number
            here = here[part]
        elif isinstance(part, int) and isinstance(here, list) and part < len(here):
            here = here[part]
        else:
            continue
        path = f"{path}.{part}" if path else str(part)
    return path, here


def required(kind: type) -> list[str]:
    """Names of the fields of a dataclass that have no default."""
    return [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
