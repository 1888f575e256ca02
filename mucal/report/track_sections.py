"""Sections about tracks: the bias of their momenta before and after the global corrections."""

from itertools import pairwise
from typing import Final

import numpy as np

from mucal.globalcor import EVEN, ODD
from mucal.globalcor.families import KINDS
from mucal.globalcor.templates import FIELDS, LENGTH, MATERIAL, RADIUS
from mucal.plot.globalcor import bias_figure, error_figure, probe_figure
from mucal.report.page import Item, Picture, Section, Table, Text
from mucal.report.run_results import TrackResults, p_text


def bias_section(tracks: TrackResults) -> Section:
    """Momenta before and after the global corrections: the front of a closure from hits."""
    probes = tracks.probes
    rows = []
    for i, pt in enumerate(probes.momenta):
        for parity, name in ((EVEN, "charge-even"), (ODD, "charge-odd")):
            mean, error = probes.common(i, parity)
            before = probes.mean_before[i, parity].mean()
            rows.append([
                f"{name}, {pt:g} GeV", f"{1e5 * before:+.1f}", f"{1e5 * mean:+.2f} ± {1e5 * error:.2f}",
                f"{np.abs(1e5 * probes.mean_before[i, parity]).max():.1f}",
                f"{np.abs(1e5 * probes.mean[i, parity]).max():.1f}", p_text(probes.p_value(i, parity)),
            ])  # fmt: skip
    header = ["", "mean before", "mean after", "largest before", "largest after", "χ² over η bins"]
    return Section(
        title="Bias of momenta",
        items=(
            Text(
                text="Muons without scattering, straggling or resolution were sent through the true detector and "
                "fitted on the assumed one, before and after the global corrections. What is left should be explained "
                "by the covariance of the corrections alone; its points move together. Units of 10⁻⁵."
            ),
            Table(head=header, rows=rows),
            Picture(figure=probe_figure(probes), caption="Fitted over true curvature, minus 1, in bins of η."),
        ),
    )


def corrections_section(tracks: TrackResults) -> Section:
    """The solve in numbers: how many parameters of each kind, how well known, what was frozen."""
    found = tracks.corrections
    rows = []
    for k, kind in enumerate(KINDS):
        here = found.registry.kind == k
        if not here.any():
            continue
        free = here & found.free
        ratio = found.error_over_prior[free]
        rows.append([
            kind, f"{int(free.sum())} of {int(here.sum())}",
            f"{np.median(ratio):.2f}" if ratio.size else "–", f"{int((here & found.prior_driven).sum())}",
        ])  # fmt: skip
    items: tuple[Item, ...] = (
        Text(text=" ".join(f"{line[:1].upper()}{line[1:]}." for line in found.summary())),
        Table(head=["kind", "fitted", "error / prior (median)", "prior-driven"], rows=rows),
        Text(
            text=f"The constraint assumed a mean mass of {tracks.reference.m_ref[0]:.5f} GeV and a width of "
            f"{1e3 * tracks.reference.gamma[0]:.2f} MeV, those of the simulated pairs after the same selection."
        ),
        Picture(figure=error_figure(found), caption="1 where the tracks add nothing to the prior."),
    )
    return Section(title="Global corrections", items=items)


SHOWN: Final = 3
"""Soft modes that get a figure: those that move momenta most."""


def weak_section(tracks: TrackResults) -> Section:
    """The directions that the tracks know least, and what one standard deviation of each does to momenta."""
    modes, bias = tracks.modes, tracks.mode_bias
    if modes is None or bias is None:
        return Section(title="Weak modes")
    k, names = modes.eigenvalues.size, modes.names()
    worst = np.nanmax(np.abs(bias.bias), axis=(1, 2, 3))
    cells = [[f"{1e5 * x:.2g}" for x in row] for row in worst]
    ranges = [f"{a:.3g} to {b:.3g} GeV" for a, b in pairwise(bias.pt_edges)]
    soft = [
        [str(i + 1), names[i], f"{modes.eigenvalues[i]:.4g}", f"{100 * modes.prior_share[i]:.0f} %", *cells[i]]
        for i in range(k)
    ]
    known = [
        [*_amplitude(name, modes.alone[i], modes.error[i], modes.prior_error[i]), *cells[k + i]]
        for i, name in enumerate(modes.templates)
    ]
    items: list[Item] = [
        Table(
            head=["Known pattern", "alone", "all floating", "from priors", *ranges], rows=known,
            caption=f"Errors of the amplitudes of known weak modes, {RADIUS:g} cm from the beam or {LENGTH:g} cm along "
            "it: if nothing else floated, with all parameters floating, and before any track. Last columns: largest "
            "bias of the curvature that one standard deviation gives, in 10⁻⁵, in bins of η and φ.",
        ),
        Table(
            head=["Mode", "Mostly like", "Eigenvalue", "From priors", *ranges], rows=soft, words=(1,), fold=True,
            caption=f"The {k} softest directions of the sums, with the priors as the metric: 2 where priors speak "
            "alone; their bias in 10⁻⁵",
        ),
    ]  # fmt: skip
    for i in np.argsort(-worst[:k].max(axis=1), kind="stable")[:SHOWN].tolist():
        short = names[i].partition(",")[0]
        figure = bias_figure(bias, i, note=f"mode {i + 1}: {short}")
        caption = f"Mode {i + 1}, of the soft ones that move momenta most, one standard deviation: {names[i]}."
        items.append(Picture(figure=figure, caption=caption))
    return Section(title="Weak modes", items=tuple(items))


def track_lines(tracks: TrackResults) -> list[str]:
    """For the head of the page: the momentum scale at the lowest and the highest momentum."""
    lines = []
    for i, pt in enumerate(tracks.probes.momenta):
        if 0 < i < tracks.probes.momenta.size - 1:
            continue
        mean, error = tracks.probes.common(i, EVEN)
        before = tracks.probes.mean_before[i, EVEN].mean()
        lines.append(
            f"Momentum scale at {pt:g} GeV: {1e5 * before:+.1f}·10⁻⁵ before the global corrections, "
            f"({1e5 * mean:+.1f} ± {1e5 * error:.1f})·10⁻⁵ after."
        )
    return lines


def _amplitude(name: str, *errors: float) -> list[str]:
    """Name and unit of a known pattern, and errors of its amplitude in it."""
    unit, factor = ("10⁻⁴ T", 1e4) if name in FIELDS else ("10⁻²", 1e2) if name == MATERIAL else ("µm", 1e4)
    return [f"{name} [{unit}]", *(f"{factor * error:.3g}" for error in errors)]
