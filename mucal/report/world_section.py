"""The W mass with which a run closes, beside those of the experiments."""

from mucal.plot.closing import WShift
from mucal.plot.world import world_figure
from mucal.report.page import Picture, Section, Table
from mucal.report.run_results import RunResults
from mucal.theory import resonance
from mucal.units import MeV
from mucal.wmass.world import EXPECTED, MEASURED, WorldMass


def world_section(run: RunResults) -> Section:
    """Figure and sources; empty without muons of W."""
    if run.tracks is None or run.tracks.w is None:
        return Section(title="W mass")
    own = closure_masses(run.tracks.w)
    rows = [[row.name, f"{row.mass:.1f} ± {row.error:.1f}", row.source] for row in (*MEASURED, EXPECTED)]
    return Section(
        title="W mass",
        items=(
            Picture(
                figure=world_figure(own, note="published, and the closure of this run"),
                caption="A closure, not a measurement: the generated mass plus the shift that muon momenta of this "
                "run give, with the errors of its calibration and of its muons. The published errors hold statistics "
                "and theory as well.",
            ),
            Table(
                head=["", "m_W [MeV]", "Source"], rows=rows, words=(0, 2), caption="Published masses", fold=True
            ),
        ),
    )  # fmt: skip


def closure_masses(found: WShift) -> list[WorldMass]:
    """Generated mass plus shift, with the global corrections and with the scale table as well."""
    generated = resonance("w").mass / MeV
    names = ("closure, global corrections", "closure, calibrated")
    return [
        WorldMass(
            name=name,
            mass=generated + float(found.shift[0, i]),
            error=float(found.total_error[0, i]),
            source="this run",
        )
        for i, name in zip((1, 2), names, strict=True)
    ]
