"""A result for people: its fields in a few lines, and as a table where a notebook shows it."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from html import escape
from typing import Any, Final

import numpy as np

LONGEST: Final = 60
"""Characters of a value that are shown."""


def field_rows(result: Any) -> list[tuple[str, str]]:
    """Name and content of every field, the provenance left out; of an array its shape and range."""
    return [(f.name, _content(getattr(result, f.name))) for f in fields(result) if f.name != "provenance"]


def field_lines(result: Any) -> list[str]:
    """The type of a result, its fields and its ledgers, a line each."""
    rows = field_rows(result)
    width = max((len(name) for name, _ in rows), default=0)
    ledgers = result.provenance.ledgers
    return [
        type(result).__name__,
        *(f"  {name:<{width}}  {content}" for name, content in rows),
        *(f"  {stage}: {ledger.line()}" for stage, ledger in ledgers.items()),
    ]


def html(result: Any, lines: list[str]) -> str:
    """What a notebook shows: the summary's lines, the fields as a table below, folded away."""
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td style='text-align:left'>{escape(content)}</td></tr>"
        for name, content in field_rows(result)
    )
    return (
        f"<div><b>{type(result).__name__}</b><pre style='margin:0.3em 0'>{escape(chr(10).join(lines))}</pre>"
        f"<details><summary>fields</summary><table>{rows}</table></details></div>"
    )


def _content(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return _array(value)
    if is_dataclass(value):
        return type(value).__name__
    if isinstance(value, tuple) and value and is_dataclass(value[0]):
        return f"{len(value)} x {type(value[0]).__name__}"
    if isinstance(value, tuple | Mapping) and len(value) > 6:
        return f"{len(value)} entries, first {_cut(str(next(iter(value))))}"
    return _cut(f"{value:.6g}" if isinstance(value, float) else str(value))


def _array(values: np.ndarray) -> str:
    shape = "x".join(map(str, values.shape)) or "number"
    finite = values[np.isfinite(values)]
    if not finite.size:
        return f"({shape})" + (", all NaN" if values.size else "")
    missing = values.size - finite.size
    lost = f", {missing} not finite" if missing else ""
    return f"({shape})  {finite.min():.6g} .. {finite.max():.6g}{lost}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
