"""A page of headings, facts, tables and figures as one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal

import jinja2
from matplotlib.figure import Figure

from mucal import __version__
from mucal.plot.style import to_svg

Tone = Literal["good", "bad", "plain"]

TEMPLATE: Final = "page.html.j2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and values; `small` sets them as the fine print of a page."""

    facts: Mapping[str, str]
    small: bool = False
    kind: str = "facts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; cells are text, numbers already formatted.

    head    : column titles
    rows    : one sequence of cells each
    caption :
    words   : columns that hold words, set flush left; the others are numbers, set flush right
    fold    : closed until asked for
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    words: Sequence[int] = (0,)
    fold: bool = False
    kind: str = "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure with its caption, and what it shows in a sentence for those who cannot see it.

    fold : closed until asked for
    """

    figure: Figure
    caption: str
    alt: str = ""
    fold: bool = False
    kind: str = "picture"

    @property
    def source(self) -> str:
        """The figure as a data address."""
        return "data:image/svg+xml;base64," + base64.b64encode(to_svg(self.figure).encode()).decode()

    @property
    def width(self) -> int:
        """Natural width, pixels."""
        return round(96 * float(self.figure.get_size_inches()[0]))


Item = Text | Facts | Table | Picture


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading and what stands under it."""

    title: str
    items: Sequence[Item] = field(default_factory=tuple)

    @property
    def anchor(self) -> str:
        """Name of the place, for links."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mucal.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(title: str, verdict: str, tone: Tone, sections: Sequence[Section], *, headline: Sequence[str] = ()) -> str:
    """The page as HTML.

    title    : of the page
    verdict  : what came out, in one sentence
    tone     : "good", "bad" or "plain", the colour of the verdict
    sections : in reading order; empty ones are left out
    headline : a few lines under the verdict
    """
    return (
        _environment()
        .get_template(TEMPLATE)
        .render(
            title=title,
            verdict=verdict,
            tone=tone,
            headline=headline,
            sections=[section for section in sections if section.items],
            version=__version__,
        )
    )
