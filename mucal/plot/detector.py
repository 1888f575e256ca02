"""Figures of a detector: where its modules are, how much material it holds, and how many hits a track leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from mucal.arrays import FloatArray
from mucal.detector import Detector, Survey
from mucal.plot.style import label, panels, style

COLOURS: Final = ("#94a4a2", "#3f90da", "#92dadd", "#bd1f01", "#ffa90e", "#832db6", "#b9ac70", "#a96b59", "#e76300")
"""M. Petroff's palette, as the field uses it; one colour a subdetector, the first for what belongs to none."""

ETA_MARKS: Final = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4)


def material_figure(survey: Survey, *, note: str = "") -> Figure:
    """Radiation lengths against eta, stacked by subdetector."""
    with style():
        figure, axes = panels(width=6.4, height=4.0)
        _stack(axes, survey, survey.x_over_x0)
        axes.set_ylabel(r"material  [$X_0$]")
        _dress(axes, survey, note or survey.detector)
    return figure


def hits_figure(surveys: Sequence[Survey], *, note: str = "") -> Figure:
    """What a track crosses against eta; one detector stacked by subdetector, the others as lines.

    From above: modules, every sensor counted; layers, in which overlaps and stereo sisters count once; and the lever
    arm, the distance across the beam from the first module to the last.
    """
    with style():
        figure, axes = panels(3, 1, width=6.4, height=8.0, sharex=True)
        for axis, quantity in zip(axes, ("modules", "layers"), strict=False):
            _stack(axis, surveys[0], getattr(surveys[0], quantity))
            for other, line in zip(surveys[1:], ("-", "--", ":"), strict=False):
                values = getattr(other, quantity).sum(axis=1)
                axis.stairs(values, other.eta_edges, baseline=None, color="black", linestyle=line, label=other.detector)
            axis.set_ylabel(f"{quantity} crossed")
        _dress(axes[0], surveys[0], note or surveys[0].detector)
        first = surveys[0]
        axes[2].stairs(first.lever_arm, first.eta_edges, fill=True, color="#c8ccd0")
        for other, line in zip(surveys[1:], ("-", "--", ":"), strict=False):
            axes[2].stairs(other.lever_arm, other.eta_edges, baseline=None, color="black", linestyle=line)
        axes[2].set_ylabel("lever arm  [cm]")
        axes[0].set_xlabel("")
        axes[2].set_xlabel(r"$\eta$")
        for axis in axes[1:]:
            axis.margins(y=0.12)
            axis.set_ylim(bottom=0.0)
    return figure


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedCurve:
    """Numbers of others to draw beside ours.

    name     : who says so
    eta      : (N,)
    low, high : (N,)  the same where one number is given
    """

    name: str
    eta: FloatArray
    low: FloatArray
    high: FloatArray


def published_figure(
    survey: Survey,
    simulated: tuple[FloatArray, FloatArray],
    *,
    others: Sequence[Survey] = (),
    material: Sequence[PublishedCurve] = (),
    note: str = "",
) -> Figure:
    """Material and hits of a track against |eta|, ours stacked by subdetector, beside what others say.

    survey        : of straight tracks, for the material
    simulated     : |eta| edges (B+1,), and hits (B,) that simulated muons leave, sisters counted once
    others        : surveys of other detectors, drawn as layers crossed
    material      : published numbers
    """
    with style():
        figure, (above, below) = panels(2, 1, width=6.4, height=6.4, sharex=True)
        _stack(above, survey, survey.x_over_x0)
        below.stairs(simulated[1], simulated[0], baseline=None, color="black", linewidth=1.6, label="simulated hits")
        for other, line in zip(others, ("--", ":", "-."), strict=False):
            total = other.layers.sum(axis=1)
            below.stairs(total, other.eta_edges, baseline=None, color="#3f90da", linestyle=line, label=other.detector)
        for curve, marker in zip(material, "os^v", strict=False):
            middle, half = 0.5 * (curve.high + curve.low), 0.5 * (curve.high - curve.low)
            above.errorbar(
                curve.eta, middle, half, fmt=marker, color="black", mfc="white", markersize=4.5, capsize=2.0,
                label=curve.name, clip_on=False, zorder=5,
            )  # fmt: skip
        _dress(above, survey, note or survey.detector)
        above.set_xlim(0.0, simulated[0][-1])
        above.set_xlabel("")
        above.set_ylabel(r"material  [$X_0$]")
        below.set_ylabel("layers hit by a track")
        below.set_xlabel(r"$|\eta|$")
        below.set_ylim(bottom=0.0)
        below.legend(loc="lower left")
    return figure


def layout_figure(detector: Detector, *, note: str = "") -> Figure:
    """The modules in the r-z plane, coloured by subdetector; passive surfaces in grey; rays of equal eta."""
    modules, passive = detector.modules, detector.passive
    corners = modules.corners()
    # along v for the endcap, along the beam for the barrel: the longer extent of a module in r-z
    ends = np.stack([0.5 * (corners[:, 0] + corners[:, 1]), 0.5 * (corners[:, 2] + corners[:, 3])], axis=1)
    lines = np.stack([ends[..., 2], np.hypot(ends[..., 0], ends[..., 1])], axis=-1)
    with style():
        figure, axes = panels(width=8.0, height=3.9)
        walls = [
            [(low, at), (high, at)] if kind == 0 else [(at, low), (at, high)]
            for kind, at, low, high in zip(passive.kind, passive.position, passive.low, passive.high, strict=True)
        ]
        axes.add_collection(LineCollection(walls, colors="#c8ccd0", linewidths=0.7))
        if walls:
            axes.plot([], [], color="#c8ccd0", linewidth=1.0, label="passive")
        for i in np.unique(modules.subdet):
            rows = modules.subdet == i
            axes.add_collection(LineCollection(list(lines[rows]), colors=_colour(int(i)), linewidths=1.0))
            axes.plot([], [], color=_colour(int(i)), linewidth=2.0, label=detector.subdet_names[i])
        length = 1.04 * max(
            np.abs(lines[..., 0]).max(), np.abs(passive.position * (passive.kind == 1)).max(initial=0.0)
        )
        height = 1.16 * float(lines[..., 1].max())
        _rays(axes, length, height)
        axes.set_xlim(-length, length)
        axes.set_ylim(0.0, height)
        axes.set_xlabel("z  [cm]")
        axes.set_ylabel("r  [cm]")
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.06), ncols=7, columnspacing=1.0, borderaxespad=0.0)
        label(axes, note or detector.name)
    return figure


def _rays(axes: Axes, length: float, height: float) -> None:
    for eta in ETA_MARKS:
        for side in (-1.0, 1.0) if eta else (1.0,):
            slope = np.sinh(eta)
            r = min(0.94 * height, 0.95 * length / slope if slope else np.inf)
            axes.plot(
                [0.0, side * r * slope], [0.0, r], color="#717581", linewidth=0.4, linestyle=(0, (4, 4)), zorder=0
            )
            axes.annotate(
                f"{side * eta:.1f}" if eta else r"$\eta = 0$", (side * r * slope, r), ha="center", va="bottom",
                fontsize=7.5, color="#717581",
            )  # fmt: skip


def _stack(axes: Axes, survey: Survey, values: FloatArray) -> None:
    below = np.zeros(values.shape[0])
    for i, name in enumerate(survey.subdet_names):
        if values[:, i].any():
            above = below + values[:, i]
            axes.stairs(above, survey.eta_edges, baseline=below, fill=True, color=_colour(i), label=name)
            below = above


def _colour(subdet: int) -> str:
    return COLOURS[subdet % len(COLOURS)]


def _dress(axes: Axes, survey: Survey, note: str) -> None:
    axes.set_xlim(survey.eta_edges[0], survey.eta_edges[-1])
    axes.set_xlabel(r"$\eta$")
    axes.margins(y=0.12)
    axes.set_ylim(bottom=0.0)
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, columnspacing=1.0, borderaxespad=0.2)
    label(axes, note)
