"""The look of every figure: the field's style (mplhep) as a context, colours by meaning, SVG and PNG out.

Nothing global is touched and pyplot's state is never used; figures are `matplotlib.figure.Figure`.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import matplotlib
import mplhep
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DATA: Final = "#000000"
BEFORE: Final = "#e42536"
AFTER: Final = "#3f73e0"
TRUTH: Final = "#f89c20"
MODEL: Final = "#3f73e0"
SIGNAL: Final = "#e42536"
BACKGROUND: Final = "#717581"
BAND: Final = "#b9cbf5"

_SIZES: Final[dict[str, Any]] = {
    "font.size": 11.0,
    "axes.labelsize": 11.0,
    "axes.titlesize": 11.0,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.handlelength": 1.4,
    "axes.linewidth": 0.9,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.0,
    "errorbar.capsize": 0.0,
    "xtick.major.size": 6.0,
    "xtick.minor.size": 3.0,
    "ytick.major.size": 6.0,
    "ytick.minor.size": 3.0,
    "xtick.minor.visible": False,  # on linear axes; they are half of what a figure takes to draw, and half of its bytes
    "ytick.minor.visible": False,
    "svg.hashsalt": "mucal",  # the same figure gives the same bytes
    "svg.fonttype": "path",
    "figure.dpi": 100,
}


@contextmanager
def style() -> Iterator[None]:
    """The style, inside a `with` block only: figures made *and* saved there carry it."""
    with matplotlib.rc_context(dict[Any, Any](mplhep.style.ROOT) | _SIZES):
        yield


def panels(
    rows: int = 1, columns: int = 1, *, width: float = 6.4, height: float = 4.0, **options: Any
) -> tuple[Figure, Any]:
    """A figure with constrained layout and its axes, as `Figure.subplots` returns them.

    width, height : inches; `options` go to `Figure.subplots`
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def label(axes: Axes, text: str) -> None:
    """What the figure shows, above its left corner."""
    axes.set_title(text, loc="left", fontsize=10.5)


def to_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element, without XML prologue or date: ready to stand in a page."""
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def save(figure: Figure, path: str | Path) -> None:
    """Write the figure as SVG, PDF or PNG, by the name's ending."""
    with style():
        figure.savefig(path, dpi=150)
