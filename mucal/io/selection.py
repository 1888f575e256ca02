"""Selections such as ``abs(eta1) < 2.4``: COLUMN or abs(COLUMN), one comparison, one literal; nothing is evaluated."""

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mucal.arrays import BoolArray

_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_COLUMN = r"[A-Za-z_][\w./]*"
_FORM: Final = re.compile(
    rf"\s*(?:abs\(\s*(?P<inner>{_COLUMN})\s*\)|(?P<plain>{_COLUMN}))\s*(?P<op>==|!=|<=|>=|<|>)\s*(?P<literal>\S.*?)\s*"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """One comparison of a column with a literal.

    text     : as the user wrote it
    column   : name in the file
    absolute : whether the absolute value is compared
    op       : ==, !=, <, <=, > or >=
    literal  : a number, or text in quotes (== and != only)
    """

    text: str
    column: str
    absolute: bool
    op: str
    literal: float | str

    def passes(self, values: np.ndarray) -> BoolArray:
        """Which values pass; NaN passes nothing, not even ``!=``."""
        if isinstance(self.literal, str):
            return np.asarray(_OPERATORS[self.op](values.astype(str), self.literal), dtype=bool)
        compared = np.abs(values) if self.absolute else values
        passed: BoolArray = np.asarray(_OPERATORS[self.op](compared, self.literal), dtype=bool)
        return passed & ~np.isnan(values) if values.dtype.kind == "f" else passed


def parse_selection(text: str) -> Selection:
    """The selection a text states: ``COLUMN OP LITERAL`` or ``abs(COLUMN) OP LITERAL``.

    Raises ValueError that quotes the text.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(
            f"cannot read the selection {text!r}; write COLUMN OP LITERAL or abs(COLUMN) OP LITERAL with one of "
            f'{" ".join(_OPERATORS)}, as Type == "GG" or abs(eta1) < 2.4'
        )
    column, absolute = match["plain"] or match["inner"], match["inner"] is not None
    literal = _literal(match["literal"], text)
    if isinstance(literal, str) and (absolute or match["op"] not in ("==", "!=")):
        raise ValueError(f"the selection {text!r} compares text; only == and != do")
    return Selection(text=text, column=column, absolute=absolute, op=match["op"], literal=literal)


def _literal(word: str, text: str) -> float | str:
    if len(word) >= 2 and word[0] == word[-1] and word[0] in "\"'" and word[0] not in word[1:-1]:
        return word[1:-1]
    if word.lower() in ("true", "false"):
        return float(word.lower() == "true")
    if re.fullmatch(r"[+-]?\d{1,18}", word):
        return int(word)  # event numbers beyond 2^53 are compared exactly
    try:
        number = float(word)
    except ValueError:
        raise ValueError(
            f"the selection {text!r} ends in {word!r}; write a number, true, false or text in quotes"
        ) from None
    if not np.isfinite(number):
        raise ValueError(f"the selection {text!r} compares with {word}; write a finite number")
    return number
