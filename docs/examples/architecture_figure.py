"""The picture of docs/architecture.md: rooms, and what travels between them.

python docs/examples/architecture_figure.py docs/figures/architecture.svg
"""

import sys
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

# room: (x, y, what it says); x and y count places of a grid
ROOMS = {
    "simulation": (0, 3, "hits of known truth"),
    "io": (0, 2, "your own files"),
    "refit": (1, 2.5, "hits → tracks, pairs"),
    "globalcor": (2, 3.4, "field, material,\nalignment"),
    "massfit": (2, 1.6, "J/ψ, Υ, Z\nin 10⁴ bins"),
    "scale": (3, 1.6, "A, e, M and a, b, c, d"),
    "efficiency": (3, 3.4, "tag and probe"),
    "calibration": (4, 1.6, "tables, nuisances"),
    "templates": (4, 3.4, "histograms,\nvariations"),
    "likelihood": (5, 3.4, "estimates, impacts"),
    "wmass": (5, 1.6, "m_W, m_Z, helicities"),
}
ARROWS = [
    ("simulation", "refit", "Hits"), ("io", "refit", ""), ("io", "massfit", "Dimuons"),
    ("refit", "globalcor", "derivatives"), ("globalcor", "refit", ""),
    ("refit", "massfit", "Dimuons"), ("massfit", "scale", "MassFits"),
    ("scale", "calibration", "tables"), ("calibration", "templates", "nuisances"),
    ("efficiency", "templates", "factors"), ("templates", "likelihood", "Model"), ("likelihood", "wmass", "FitResult"),
]  # fmt: skip
BELOW = [
    ("track · detector · theory · propagation", "what a muon is, what it meets, where it comes from"),
    ("units · errors · arrays · ledger · store · numerics", "one result file, one kind of error, one ledger"),
]
ABOVE = "cli · workflow · report · plot", "one command a stage, joined, drawn, with provenance"
WIDTH, HEIGHT, STEP_X, STEP_Y = 1.52, 0.74, 2.1, 0.92


def main(path: Path) -> None:
    figure = Figure(figsize=(12.6, 5.2))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.95, 11.45), ylim=(-0.75, 4.55))
    axes.set_axis_off()
    for name, (x, y, says) in ROOMS.items():
        _box(axes, STEP_X * x, STEP_Y * y, WIDTH, HEIGHT, name, says, "#e8eefb")
    for start, end, label in ARROWS:
        _arrow(axes, start, end, label)
    for i, (names, says) in enumerate(BELOW):
        _box(axes, 5.25, 0.55 - 0.75 * i, 12.0, 0.6, names, says, "#f1f1ee")
    _box(axes, 5.25, 4.15, 12.0, 0.6, *ABOVE, "#f1f1ee")
    with matplotlib.rc_context({"svg.hashsalt": "mucal", "svg.fonttype": "path"}):
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _box(axes: Axes, x: float, y: float, width: float, height: float, name: str, says: str, colour: str) -> None:
    corner = (x - width / 2, y - height / 2)
    axes.add_patch(
        FancyBboxPatch(corner, width, height, boxstyle="round,pad=0.02,rounding_size=0.08", fc=colour, ec="#3f5d9e")
    )
    axes.text(x, y + 0.14, name, ha="center", va="center", fontsize=11, weight="bold", color="#1d2f57")
    axes.text(x, y - 0.14, says, ha="center", va="center", fontsize=8.2, color="#333333", linespacing=0.95)


def _arrow(axes: Axes, start: str, end: str, label: str) -> None:
    (x0, y0, _), (x1, y1, _) = ROOMS[start], ROOMS[end]
    x0, x1, y0, y1 = STEP_X * x0, STEP_X * x1, STEP_Y * y0, STEP_Y * y1
    if x0 == x1:
        sign = 1 if y1 > y0 else -1
        tail, head = (x0, y0 + sign * HEIGHT / 2), (x1, y1 - sign * HEIGHT / 2)
    else:
        sign = 1 if x1 > x0 else -1
        shift = 0.08 * (sign if {start, end} == {"refit", "globalcor"} else 0)
        tail, head = (x0 + sign * WIDTH / 2, y0 + shift), (x1 - sign * WIDTH / 2, y1 + shift)
    axes.annotate(
        "", xy=head, xytext=tail, arrowprops={"arrowstyle": "-|>", "color": "#3f5d9e", "shrinkA": 1, "shrinkB": 2}
    )
    raised = 0.12 if y0 == y1 else 0.0  # beside a short arrow, on a long one
    middle = (tail[0] + head[0]) / 2 - (0.3 if label == "derivatives" else 0), (tail[1] + head[1]) / 2 + raised
    box = {"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.85}
    axes.text(*middle, label, ha="center", va="center", fontsize=7.6, style="italic", color="#3f5d9e", bbox=box)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
