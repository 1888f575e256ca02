"""One self-contained page: what was found first, then how, then with what.

`page` knows headings, facts, tables and figures and turns them into HTML that needs no network; `run_page` knows what
a run leaves behind and what a reader wants to see of it, in which order; the sections stand in modules of their own.
"""

from mucal.report.page import Facts, Picture, Section, Table, Text, render
from mucal.report.run_page import run_page
from mucal.report.run_results import RunResults, SpectrumFits, TrackResults, p_text
from mucal.report.uncertainty_section import UncertaintyModel, uncertainty_section

__all__ = [
    "Facts", "Picture", "RunResults", "Section", "SpectrumFits", "Table", "Text", "TrackResults",
    "UncertaintyModel", "p_text", "render", "run_page", "uncertainty_section",
]  # fmt: skip
