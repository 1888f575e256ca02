"""Scans and contours that `mucal fit` was asked for, around a finished fit."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mucal.errors import ConfigError
from mucal.likelihood import Contour, Interval, Scan, contour, interval, scan
from mucal.workflow.fit import FitOptions, FitRun
from mucal.workflow.fit_table import rounded

REACH: Final = 3.0
POINTS: Final = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """The profile likelihood along parameters: scans with their intervals, and contours."""

    scans: tuple[tuple[Scan, Interval, float], ...] = ()
    contours: tuple[Contour, ...] = ()


def draw_likelihood(
    run: FitRun, scans: tuple[str, ...], contours: tuple[tuple[str, str], ...], options: FitOptions
) -> Drawn:  # fmt: skip
    """Scans over three errors to both sides of the estimate, and 68 and 95 % contours of pairs.

    Raises ConfigError for a parameter that does not vary, NotCertified where no minimum is found.
    """
    model, result = run.found.model, run.estimates
    about = (model, run.observation, result)
    n = options.n_threads
    for name in (*scans, *(name for pair in contours for name in pair)):
        if not result.error(name) > 0:
            raise ConfigError(f"parameter '{name}' is frozen, there is nothing to scan", kind="usage.parameter")
    found = []
    for name in scans:
        error = result.error(name)
        points = result.value(name) + error * np.linspace(-REACH, REACH, POINTS)
        found.append((scan(*about, name, points, n), interval(*about, name, n_threads=n), error))
    return Drawn(scans=tuple(found), contours=tuple(contour(*about, pair, n_threads=n) for pair in contours))


def drawn_lines(drawn: Drawn) -> list[str]:
    """Intervals and extents of contours, counted from the estimates."""
    lines = [
        f"  {one.parameter}: 68 % of the likelihood from -{ends.down:.4g} to +{ends.up:.4g} "
        f"around the estimate, error {rounded(0.0, error)[1]}"
        for one, ends, error in drawn.scans
    ]
    for one in drawn.contours:
        for level, points in zip(one.levels, one.points, strict=True):
            low, high = points.min(axis=0) - one.best, points.max(axis=0) - one.best
            spans = [f"{n} {a:+.4g} to {b:+.4g}" for n, a, b in zip(one.parameters, low, high, strict=True)]
            lines.append(f"  {100 * level:.4g} % contour: {', '.join(spans)} around the estimate")
    return ["", "profile likelihood", *lines] if lines else []


def drawn_plain(drawn: Drawn) -> dict[str, Any]:
    """Numbers for scripts; positions are counted from the estimate, so that nothing blinded is betrayed."""
    return {
        "scans": {
            one.parameter: {"offset": (one.points - one.best).tolist(), "q": one.q.tolist(), "down": ends.down,
                            "up": ends.up}
            for one, ends, _ in drawn.scans
        },
        "contours": [
            {"parameters": list(one.parameters), "levels": one.levels.tolist(),
             "offset": (one.points - one.best).tolist()}
            for one in drawn.contours
        ],
    }  # fmt: skip
