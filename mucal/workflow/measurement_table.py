"""A measurement as tables of text: one form for the terminal and for the page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from mucal.units import MeV
from mucal.wmass import UNIT, published
from mucal.wmass.measurement import Measurement, difference_of
from mucal.wmass.slices import DIFFERENCES, Compatibility
from mucal.wmass.sources import Breakdown

NAMES: Final = {"w": "m_W", "wlike": "m_Z, W-like", "dilepton": "m_Z", "kinematics": "m_Z"}
PUBLISHED: Final = {
    ("w", "charge"): "m_W+ - m_W-", ("w", "eta_sign"): "eta sign", ("w", "central"): "central - forward",
    ("wlike", "charge"): "W-like charge",
}  # fmt: skip
"""Channel and split -> row of `published.DIFFERENCES`."""
SMALL: Final = 1e-6
"""p-values below it are not told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table: column titles, rows of cells, and what it shows; the first column holds words, the others numbers."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""


def measurement_grids(found: Measurement, *, blinded: bool = False) -> Iterator[Grid]:
    """All tables of a measurement.

    blinded : the mass is: means are not shown, differences are
    """
    unit = f"the parameter counts {UNIT / MeV:g} MeV from the simulated {found.simulated / MeV:.1f} MeV"
    yield _sources(found.sources, f"Error of {NAMES.get(found.channel, 'the mass')} by source; {unit}")
    if found.parts:
        yield _splits(found, blinded)
    if found.difference is not None:
        yield _sources(found.difference, "Error of the difference of charges by source")
    for name, parts in zip(found.splits, found.parts, strict=True):
        if name not in DIFFERENCES:
            yield _each_part(name, parts)
    if found.priors.size:
        yield _helicities(found)
    if found.tests:
        yield _goodness(found)
    if found.partons is not None:
        yield _partons(found)


def grid_lines(grid: Grid) -> list[str]:
    """A table in columns of text."""
    rows = [grid.head, *grid.rows]
    wide = [max(len(row[i]) for row in rows) for i in range(len(grid.head))]
    lines = [
        "  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, wide, strict=True)))
        for row in rows
    ]
    return ["", grid.title, *(line.rstrip() for line in lines)]


def measurement_plain(found: Measurement) -> dict[str, Any]:
    """Numbers for scripts, in MeV."""
    return {
        "mode": found.mode,
        "channel": found.channel,
        "simulated_mass": found.simulated / MeV,
        "sources": _plain_sources(found.sources),
        "splits": {name: _plain_parts(parts) for name, parts in zip(found.splits, found.parts, strict=True)},
        "charge_difference": None if found.difference is None else _plain_sources(found.difference),
        "helicity": {"priors": found.priors.tolist(), "errors": found.errors.tolist(),
                     "without": _or_none(found.nominal_error)},
        "goodness": {name: {"q": one.q, "ndof": one.ndof, "p_value": one.p_value}
                     for name, one in zip(found.tests, found.goodness, strict=True)},
        "partons": None if found.partons is None else {
            name: {"factor": f, "before": b / MeV, "after": a / MeV}
            for name, f, b, a in zip(found.partons.names, found.partons.factors.tolist(),
                                     found.partons.before.tolist(), found.partons.after.tolist(), strict=True)
        },
    }  # fmt: skip


def _plain_sources(found: Breakdown) -> dict[str, Any]:
    rows = zip(found.sources, found.numbers, found.nominal.tolist(), found.response.tolist(), strict=True)
    return {
        "total": found.total,
        "rows": {name: {"number": n, "nominal": a, "global": b} for name, n, a, b in rows},
    }


def _plain_parts(parts: Compatibility) -> dict[str, Any]:
    errors = np.sqrt(np.diag(parts.cov))
    return {
        "chi2": parts.chi2,
        "ndof": len(parts.names) - 1,
        "p_value": parts.p_value,
        "error_of_mean": parts.error / MeV,
        "less_mean": {
            name: {"value": float(v - parts.mean) / MeV, "error": float(e) / MeV}
            for name, v, e in zip(parts.names, parts.values, errors, strict=True)
        },
    }


def _sources(found: Breakdown, title: str) -> Grid:
    rows = [
        (name, str(n) if n else "", *(_mev(x) for x in numbers))
        for name, n, *numbers in zip(
            found.sources, found.numbers, found.nominal, found.response, found.published_nominal,
            found.published_response, strict=True,
        )
    ]  # fmt: skip
    total = ("total", "", *(_mev(x) for x in (found.total, found.total, found.published_total, found.published_total)))
    return Grid(
        title=title,
        head=("source [MeV]", "number", "nominal", "global", "published nominal", "published global"),
        rows=(*rows, total),
        caption="Impacts by published source. Global ones add in quadrature to the total, nominal ones count twice "
        "what is correlated. Published: arXiv:2412.13872.",
    )


def _splits(found: Measurement, blinded: bool) -> Grid:
    rows = []
    for name, parts in zip(found.splits, found.parts, strict=True):
        difference = "–"
        if name in DIFFERENCES:
            value, error = difference_of(parts, name)
            difference = _pair(value / MeV, error / MeV)
        beside = published.DIFFERENCES.get(PUBLISHED.get((found.channel, name), ""))
        rows.append((
            name.replace("_", " "), str(len(parts.names)),
            "blinded" if blinded else _pair(parts.mean / MeV, parts.error / MeV), difference,
            _pair(*beside) if beside else "–", f"{parts.chi2:.1f} / {len(parts.names) - 1}", _percent(parts.p_value),
        ))  # fmt: skip
    return Grid(
        title=f"{NAMES.get(found.channel, 'mass')} in parts of the sample",
        head=("split by", "parts", "mean - simulated [MeV]", "difference [MeV]", "published", "chi2 / ndof", "p [%]"),
        rows=tuple(rows),
        caption="Each part has its own mass, everything else is shared. Differences: plus less minus, η > 0 less "
        "η < 0, |η| < 0.9 less the rest.",
    )


def _each_part(name: str, parts: Compatibility) -> Grid:
    errors = np.sqrt(np.diag(parts.cov))
    rows = [
        (part.replace("_", " "), f"{(value - parts.mean) / MeV:+.1f}", f"{error / MeV:.1f}")
        for part, value, error in zip(parts.names, parts.values, errors, strict=True)
    ]
    return Grid(
        title=f"Masses by {name}, less their weighted mean",
        head=("part", "mass - mean [MeV]", "error [MeV]"),
        rows=tuple(rows),
        caption=f"{len(rows)} masses of one fit; χ² around the mean {parts.chi2:.1f} for {len(rows) - 1} degrees of "
        f"freedom, p = {100 * parts.p_value:.1f} %.",
    )


def _helicities(found: Measurement) -> Grid:
    value = published.HELICITY[1] / MeV
    total = published.TOTALS["m_W nominal"]
    rows = [("theory of the W", _mev(found.nominal_error), "1.00", _mev(total), "1.00")]
    for factor, error in zip(found.priors, found.errors, strict=True):
        beside = (_mev(value), f"{value / total:.2f}") if factor == 1.0 else ("–", "–")
        rows.append(
            (f"free helicities, priors × {factor:g}", _mev(error), f"{error / found.nominal_error:.2f}", *beside)
        )
    return Grid(
        title="Free cross sections of helicities",
        head=("fit", "error [MeV]", "ratio", "published [MeV]", "ratio "),
        rows=tuple(rows),
        caption=f"{published.HELICITY_PARAMETERS} scales of U+L, A0 … A4 in charge, pT and |y| of the W take the place "
        "of its partons, pT model and angular coefficients.",
    )


def _goodness(found: Measurement) -> Grid:
    first = published.PDF_SETS[0]
    rows = [
        (name, f"{one.q:.1f} / {one.ndof}", _percent(one.p_value), f"{chi2:g} / {published.PDF_BINS}", f"{percent:g}")
        for name, one, chi2, percent in zip(found.tests, found.goodness, first.chi2, first.percent, strict=True)
    ]
    return Grid(
        title="Goodness of fit where partons decide",
        head=("uncertainties", "chi2 / ndof", "p [%]", f"published, {first.name}", "p [%] "),
        rows=tuple(rows),
        caption="Projections: 48 bins of the muon's η for each charge, 20 of the pair's rapidity.",
    )


def _partons(found: Measurement) -> Grid:
    assert found.partons is not None
    beside = {f"like {one.name}": one for one in published.PDF_SETS}
    rows = []
    for i, name in enumerate(found.partons.names):
        one = beside.get(name)
        theirs = (f"{one.factor:g}", f"{one.error:g}", f"{one.scaled:g}") if one else ("–",) * 3
        largest = float(np.max(np.abs(found.partons.shifts[i]))) / MeV
        rows.append((
            name, f"{found.partons.factors[i]:g}", _mev(found.partons.before[i] / MeV),
            _mev(found.partons.after[i] / MeV), _mev(largest), *theirs,
        ))  # fmt: skip
    return Grid(
        title="Sets of partons and the factors on their errors",
        head=("set", "factor", "error [MeV]", "scaled", "largest shift", "published factor", "error ", "scaled "),
        rows=tuple(rows),
        caption="The smallest factor, in steps of ½, with which the partons of a set cover the mass that it finds in "
        "the prediction of every other. The sets here are drawn from the model's own partons, with the published "
        "ratios of errors: the method can be compared, not the numbers.",
    )


def table_lines(grids: Sequence[Grid]) -> list[str]:
    """All tables one after the other."""
    return [line for grid in grids for line in grid_lines(grid)]


def _mev(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "–"


def _pair(value: float, error: float) -> str:
    return f"{value:+.1f} ± {error:.1f}"


def _percent(p: float) -> str:
    return f"{100 * p:.3g}" if p > SMALL else f"< {100 * SMALL:g}"


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
