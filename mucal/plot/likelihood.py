"""Figures of a template fit: pulls with impacts of both kinds, correlations."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mucal.arrays import FloatArray
from mucal.likelihood import FitResult, Impacts
from mucal.plot.style import AFTER, BACKGROUND, BEFORE, DATA, label, panels, style

ROW: Final = 0.21
"""Inches of one parameter."""
UP, DOWN = AFTER, BEFORE
WIDEST: Final = 36


def pulls_and_impacts(
    result: FitResult,
    pulls: FloatArray,
    constraints: FloatArray,
    nominal: Impacts,
    response: Impacts,
    *,
    top: int = 30,
    note: str = "",
) -> Figure:
    """The parameters with the largest nominal impacts: pulls with constraints, nominal and global impacts beside them.

    pulls, constraints : (S,)  in prior standard errors; NaN for a parameter without a constraint
    """
    size = np.where(result.frozen, -1.0, np.abs(nominal.single))
    size[result.parameters.index(nominal.poi)] = -1.0
    order = [int(j) for j in np.argsort(-size, kind="stable")[:top] if size[j] >= 0]
    rows = np.arange(len(order))
    names = [_cut(result.parameters[j]) for j in order]
    with style():
        figure, axes = panels(
            1, 3, width=9.0, height=1.5 + ROW * max(len(order), 4), sharey=True, width_ratios=[1.1, 1, 1]
        )  # fmt: skip
        _draw_pulls(axes[0], rows, pulls[order], constraints[order])
        widest = 1.15 * max(float(np.abs(nominal.single[order]).max(initial=0.0)), 1e-300)
        by_centre = np.where(np.isfinite(pulls[order]), response.single[order], 0.0)
        _draw_impacts(axes[1], rows, nominal.single[order], widest, "nominal impact")
        _draw_impacts(axes[2], rows, by_centre, widest, "global impact")
        axes[0].set_yticks(rows, names, fontsize=8.5)
        axes[0].set_ylim(len(order) - 0.4, -0.6)
        for one in axes:
            one.tick_params(axis="y", which="both", length=0)
        for row in rows[~np.isfinite(pulls[order])]:
            axes[2].text(0, row, "no constraint", ha="center", va="center", fontsize=8.5, color=BACKGROUND)
        label(axes[0], note)
        label(axes[1], f"on {_cut(nominal.poi)}")
        axes[2].legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.2)
    return figure


def _draw_pulls(axes: Axes, rows: Any, pulls: FloatArray, constraints: FloatArray) -> None:
    limit = 1.25 * max(1.6, float(np.nanmax(np.abs(pulls) + constraints, initial=0.0)))
    axes.axvspan(-1, 1, color=BACKGROUND, alpha=0.15, linewidth=0)
    axes.axvline(0, color=BACKGROUND, linewidth=0.6)
    axes.errorbar(pulls, rows, xerr=constraints, fmt="o", color=DATA, markersize=3.5, linewidth=1.0)
    for row in np.asarray(rows)[~np.isfinite(pulls)]:
        axes.text(0, row, "free", ha="center", va="center", fontsize=8.5, color=BACKGROUND)
    axes.set_xlim(-limit, limit)
    axes.set_xlabel(r"$(\hat\theta - \theta_0)\,/\,\sigma_{\rm prior}$")


def _draw_impacts(axes: Axes, rows: Any, impacts: FloatArray, widest: float, text: str) -> None:
    axes.barh(rows, impacts, height=0.7, color=UP, label="up")
    axes.barh(rows, -impacts, height=0.7, facecolor="none", edgecolor=DOWN, linewidth=1.0, label="down")
    axes.axvline(0, color=BACKGROUND, linewidth=0.6)
    axes.set_xlim(-widest, widest)
    axes.set_xlabel(text)


def correlations(result: FitResult, names: Sequence[str], *, note: str = "") -> Figure:
    """Correlation matrix of the estimates of some parameters, with numbers if there is room for them."""
    place = [result.place(name) for name in names]
    cov = result.cov[np.ix_(place, place)]
    errors = np.sqrt(np.diag(cov))
    both = np.outer(errors, errors)
    matrix = np.divide(cov, both, out=np.zeros_like(cov), where=both > 0)
    n = len(names)
    side = max(3.6, 1.9 + 0.24 * n)
    with style():
        figure, axes = panels(width=side + 0.7, height=side)
        image = axes.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set_xticks(range(n), [_cut(name) for name in names], rotation=90, fontsize=8.5)
        axes.set_yticks(range(n), [_cut(name) for name in names], fontsize=8.5)
        axes.minorticks_off()
        axes.tick_params(which="both", length=0)
        if n <= 16:
            for i in range(n):
                for j in range(n):
                    colour = "white" if abs(matrix[i, j]) > 0.6 else DATA
                    axes.text(j, i, f"{round(100 * matrix[i, j])}", ha="center", va="center", fontsize=7, color=colour)
        figure.colorbar(image, ax=axes, label="correlation" + (" (numbers in %)" if n <= 16 else ""), shrink=0.85)
        label(axes, note)
    return figure


def most_correlated(result: FitResult, most: int = 40) -> list[str]:
    """Names for a correlation matrix: parameters of interest, then those most correlated with any of them."""
    errors = np.sqrt(np.diag(result.cov))
    varying = ~result.frozen & (errors > 0)
    pois = [result.place(name) for name in result.pois if varying[result.place(name)]]
    both = np.outer(errors[pois], errors)
    size = np.divide(np.abs(result.cov[pois]), both, out=np.zeros_like(both), where=both > 0)
    rank = size.max(axis=0, initial=0.0) if pois else _any_correlation(result, errors)
    rank[pois] = 2.0
    order = [int(j) for j in np.argsort(-rank, kind="stable") if varying[j]]
    return [result.parameters[j] for j in order[:most]]


def _any_correlation(result: FitResult, errors: FloatArray) -> FloatArray:
    both = np.outer(errors, errors)
    size = np.divide(np.abs(result.cov), both, out=np.zeros_like(both), where=both > 0)
    np.fill_diagonal(size, 0.0)
    largest: FloatArray = size.max(axis=0, initial=0.0)
    return largest


def _cut(name: str) -> str:
    return name if len(name) <= WIDEST else f"{name[: WIDEST - 1]}…"
