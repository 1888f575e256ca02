"""Impacts of a fit of the W or Z mass by published source, beside the published numbers."""

from typing import Final

import numpy as np

from mucal.likelihood import Impacts
from mucal.report.page import Section, Table
from mucal.units import MeV
from mucal.wmass import published
from mucal.wmass.sources import by_source
from mucal.wmass.tensor import MASS, UNIT

COLUMNS: Final = ("m_W", "m_Z W-like")


def published_impacts_section(name: str, nominal: Impacts, response: Impacts) -> Section:
    """Nominal and global impacts on a mass by source; empty for another parameter of interest.

    Global impacts of joined groups add in quadrature; nominal ones do not, and are shown where a source is one group.

    name : of the file
    """
    title = f"Impacts beside the published, {name}"
    if nominal.poi != MASS:
        return Section(title=title)
    unit = UNIT / MeV
    rows = []
    for source, groups in by_source({group: (group,) for group in nominal.groups}).items():
        own = unit * nominal.groups[groups[0]] if len(groups) == 1 else np.nan
        joined = unit * float(np.linalg.norm([response.groups[group] for group in groups]))
        rows.append([source, str(len(groups)), _mev(own), _mev(joined), *_published(source)])
    rows.append(["MC size", "", _mev(unit * nominal.mc_stat), _mev(unit * response.mc_stat), *_published("MC size")])
    size = [_mev(unit * nominal.data_stat), _mev(unit * response.data_stat)]
    rows.append(["data size", "", *size, *_published("data size")])
    totals = [f"{published.TOTALS[f'{column} {kind}']:.1f}" for column in COLUMNS for kind in ("nominal", "global")]
    rows.append(["total", "", _mev(unit * nominal.total), _mev(unit * response.total), *totals])
    head = ["Source [MeV]", "Groups", "Nominal", "Global"]
    head += [f"{column} {kind}" for column in COLUMNS for kind in ("nominal", "global")]
    caption = (
        "Last four columns: arXiv:2412.13872. Nominal impacts of several groups do not add; global ones do, in squares."
    )
    return Section(title=title, items=(Table(head=head, rows=rows, caption=caption),))


def _published(source: str) -> list[str]:
    place = published.SOURCES.index(source) if source in published.SOURCES else -1
    return [
        _mev(published.BREAKDOWN[f"{column} {kind}"][place]) if place >= 0 else "–"
        for column in COLUMNS
        for kind in ("nominal", "global")
    ]


def _mev(value: float) -> str:
    return f"{value:.2g}" if np.isfinite(value) else "–"
