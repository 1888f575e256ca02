"""The front of a closure from hits: what was injected beside what was recovered, and the momenta that result."""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.globalcor import recovery_of_kind
from mucal.plot.closing import MOMENTUM, STAGES, ClosingMass, closure_figure, table_closure_figure
from mucal.plot.globalcor import bias_profiles
from mucal.report.page import Item, Picture, Section, Table, Text
from mucal.report.run_results import TrackResults, probability, resonance_name
from mucal.report.scale_sections import prior_driven, prior_line
from mucal.scale import ScaleTable
from mucal.scale.recovery import Recovery

KINDS: Final = (
    ("modes", "field: {} modes [10⁻⁴ T]", 1e4),
    ("bfield", "field: {} offsets [10⁻⁴ T]", 1e4),
    ("eloss", "material: ln of the loss of {} parts [10⁻²]", 1e2),
    ("alignment", "alignment: {} shifts or turns [µm or 10⁻⁴ rad]", 1e4),
)
"""Kind, name and factor of the global parameters that a distortion changes."""
PARAMETERS: Final = (("A", "A [10⁻⁵]", 1e5), ("e", "e [MeV]", 1e3), ("M", "M [10⁻⁵/GeV]", 1e5))
HEAD: Final = ("", "injected", "recovered − injected", "error", "largest |pull|", "χ² / parameters", "p")
MASS_HEAD: Final = ("", "events", *STAGES, "pull")


def parameter_rows(tracks: TrackResults, recovery: Recovery | None, table: ScaleTable) -> list[list[str]]:
    """One row a family of parameters: r.m.s. injected, r.m.s. of what is missing, median error, pulls.

    table : the one recovered, with the configuration that derived it; what its priors drive has a star
    """
    rows = []
    for kind, name, factor in KINDS:
        found = recovery_of_kind(tracks.corrections, tracks.injected, kind)
        if found is not None:
            rows.append(
                _row(
                    name.format(len(found.names)),
                    factor,
                    found.injected,
                    found.recovered - found.injected,
                    found.error,
                    f"{found.chi2:.1f} / {found.ndf}",
                    found.p_value,
                )
            )
    return rows + ([] if recovery is None else _scale_rows(recovery, prior_driven(table)))


def _scale_rows(recovery: Recovery, starred: Collection[str]) -> list[list[str]]:
    """The scale table against what the corrections left; its probability is of all three together."""
    sigma = np.sqrt(np.diag(recovery.recovered.cov)).reshape(3, -1)
    rows: list[list[str]] = []
    for (name, title, factor), error in zip(PARAMETERS, sigma, strict=True):
        if np.any(error > 0):
            injected, found = getattr(recovery.injected, name), getattr(recovery.recovered, name)
            first = not rows
            rows.append(
                _row(
                    f"{title} *" if name in starred else title,
                    factor,
                    injected,
                    found - injected,
                    error,
                    f"{recovery.chi2:.1f} / {recovery.ndf} (all)" if first else "",
                    recovery.p_value if first else None,
                )
            )
    return rows


def _row(
    name: str, factor: float, injected: FloatArray, difference: FloatArray, error: FloatArray, chi2: str,
    p_value: float | None,
) -> list[str]:  # fmt: skip
    def rms(values: FloatArray) -> str:
        return _three_digits(factor * float(np.sqrt(np.mean(values**2))))

    use = error > 0
    return [
        name, rms(injected), rms(difference), _three_digits(factor * float(np.median(error[use]))),
        f"{np.max(np.abs(difference[use] / error[use])):.1f}", chi2, "" if p_value is None else probability(p_value),
    ]  # fmt: skip


def _three_digits(value: float) -> str:
    """Three digits, zeros at the end as well: columns of errors stay comparable."""
    return "0" if value == 0.0 else f"{value:#.3g}".rstrip(".")


def mass_rows(tracks: TrackResults) -> list[list[str]]:
    """One row a closing resonance: its mass less the input at each stage, MeV, and the pull of the last."""
    rows = []
    for found in tracks.closing:
        unit = 1e3 * found.mass
        cells = [
            f"{unit * shift:+.2f} ± {unit * error:.2f}"
            for shift, error in zip(found.shift, found.total_error, strict=True)
        ]
        pull = found.shift[-1] / found.total_error[-1]
        rows.append([f"{resonance_name(found.resonance)} mass − input [MeV]", str(found.pairs), *cells, f"{pull:+.1f}"])
    if tracks.z is not None:
        z = tracks.z
        cells = [f"{s:+.2f} ± {e:.2f}" for s, e in zip(z.shift, z.total_error, strict=True)]
        pull = z.shift[-1] / z.total_error[-1]
        rows.append(["Z mass − input, template fit [MeV]", str(z.pairs), *cells, f"{pull:+.1f}"])
    if tracks.w is not None:
        for name, shift, error in zip(
            ("W mass − input [MeV]", "W⁺ − W⁻ [MeV]"), tracks.w.shift, tracks.w.total_error, strict=True
        ):
            cells = [f"{s:+.2f} ± {e:.2f}" for s, e in zip(shift, error, strict=True)]
            rows.append([name, str(tracks.w.muons), *cells, f"{shift[-1] / error[-1]:+.1f}"])
    return rows


def split_lines(tracks: TrackResults) -> list[str]:
    """Calibrated masses with their error split: what the samples' statistics and what the calibration leave open."""
    found = [
        (f"{resonance_name(one.resonance)} mass − input", *(1e3 * one.mass * part[-1] for part in _parts(one)))
        for one in tracks.closing
    ]
    if tracks.z is not None:
        z = tracks.z
        found.append(("Z mass − input, template fit", z.shift[-1], z.error[-1], z.calibration_error[-1]))
    if tracks.w is not None:
        w = tracks.w
        found.append(("W mass − input", w.shift[0, -1], w.error[0, -1], w.calibration_error[0, -1]))
    return [
        f"{name}, calibrated: {shift:+.1f} ± {statistics:.1f} (statistics) ± {calibration:.1f} (calibration) MeV"
        for name, shift, statistics, calibration in found
    ]


def _parts(one: ClosingMass) -> tuple[FloatArray, FloatArray, FloatArray]:
    return one.shift, one.error, one.calibration_error


def _about_fits(tracks: TrackResults) -> str:
    """How the masses that are template fits were fitted."""
    text = "" if tracks.w is None else W_TEXT
    if tracks.z is not None:
        text += Z_TEXT + ", ".join(f"{name} {impact:.2g} MeV" for name, impact in tracks.z.groups.items()) + "."
    return text


def prior_note(table: ScaleTable) -> list[str]:
    """What the star of `parameter_rows` means; empty where there is none."""
    return [f"*: {line}." for line in prior_line(table)]


def front_section(tracks: TrackResults, recovery: Recovery | None, table: ScaleTable, factor: float = 1.0) -> Section:
    """Injected against recovered, the bias of momenta, and the closure of other resonances.

    factor : on the errors of the table in the release
    """
    items: list[Item] = [
        Table(
            head=HEAD,
            rows=parameter_rows(tracks, recovery, table),
            caption=" ".join((PARAMETER_TEXT, *prior_note(table))),
        ),
        Picture(
            figure=bias_profiles(tracks.probes, table),
            caption="Fitted over true curvature, minus 1, of muons without noise through the true detector, against η, "
            "φ and pT: fitted on the assumed detector, with the global corrections, and with the scale table as well. "
            "Full lines μ⁺, broken lines μ⁻.",
        ),
    ]
    if rows := mass_rows(tracks):
        items.append(Table(head=MASS_HEAD, rows=rows, caption=MASS_TEXT + _about_fits(tracks)))
        items.append(Text(text=". ".join(split_lines(tracks)) + "."))
    if tracks.closing:
        items += _closure_pictures(tracks, recovery, table, factor)
    return Section(title="Injected against recovered", items=tuple(items))


def _closure_pictures(
    tracks: TrackResults, recovery: Recovery | None, table: ScaleTable, factor: float
) -> list[Picture]:
    """What other resonances ask for in bins of η, with the global corrections and with the table as well."""
    applied = "" if factor == 1.0 else f", alone and times the {factor:.3g} that the release applies"
    line = "" if recovery is None else " Line: what the table leaves of what muons without noise ask for."
    return [
        Picture(
            figure=closure_figure(tracks.closing, tracks.probes),
            caption="What resonances that derived nothing still ask for after the global corrections: points with "
            "statistical errors of data and simulation. Band: what the covariance of the corrections from J/ψ "
            "allows. Line: what muons without noise ask for." + _without_odd(tracks.closing, 1),
        ),
        Picture(
            figure=table_closure_figure(tracks.closing, table, factor, None if recovery is None else recovery.injected),
            caption="The same with the scale table as well. Band: statistical errors of the table, of A − e/pT above "
            f"and of M pT below, at {MOMENTUM:g} GeV{applied}.{line}" + _without_odd(tracks.closing, 2),
        ),
    ]


def _without_odd(closing: Sequence[ClosingMass], stage: int) -> str:
    """Which resonances say nothing of M."""
    errors = {one.resonance: np.diag(one.tables[stage].cov).reshape(3, -1) for one in closing}
    names = [resonance_name(name) for name, (_, _, of_M) in errors.items() if not np.any(of_M > 0)]
    return f" Not in the lower panel, for want of M: {', '.join(names)}." if names else ""


PARAMETER_TEXT: Final = (
    "Injected: r.m.s. over the parameters. Recovered − injected: r.m.s.; error: median, priors included. χ² takes the "
    "covariance between the parameters into account. For A, e and M, which correct what the global corrections leave, "
    "injected is what muons without noise still ask for."
)
MASS_TEXT: Final = (
    "Fitted mass against its simulation: momenta fitted on the assumed detector, with the global corrections, and with "
    "the scale table as well. Errors: statistics of both samples and covariance of the calibration."
)
Z_TEXT: Final = (
    " Z, template fit: pairs in bins of mass and larger |η|, both muons between 26 and 60 GeV, with a free rate; "
    "calibrated, with every nuisance of the calibration in the fit. Impacts of their groups: "
)
W_TEXT: Final = (
    " W: a template fit of muons of W → μν in bins of charge, η and pT between 26 and 56 GeV, with a free rate of each "
    "charge. The templates are the same muons with the same random numbers in the assumed detector, so that the "
    "statistics of the spectrum cancels."
)


def front_lines(tracks: TrackResults) -> list[str]:
    """For the head of the page: what other masses are after the calibration, before it."""
    lines = []
    for name, _, before, *_, after, pull in mass_rows(tracks):
        lines.append(f"{name}: {before} on the assumed detector, {after} calibrated, pull {pull}.")
    return lines


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows in columns for a terminal, in letters that any of them has."""
    if not rows:
        return []
    cells = [[plain_text(cell) for cell in row] for row in (head, *rows)]
    wide = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, wide, strict=True)))
        for row in cells
    ]


LETTERS: Final = {
    "±": "+-", "χ²": "chi2", "−": "-", "µ": "u", "⁻": "-", "⁴": "4", "⁵": "5", "²": "2", "³": "3", "·": " ",
    "⁺": "+", "10-": "1e-", "J/ψ": "J/psi", "Υ": "Upsilon",
}  # fmt: skip


def plain_text(text: str) -> str:
    """The text in letters that any terminal has."""
    for letter, plain in LETTERS.items():
        text = text.replace(letter, plain)
    return text
