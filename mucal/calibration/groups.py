"""The groups of nuisances of a calibration: each takes a table, a closure or a count and gives named variations.

    <resonance>_stat    modes of the covariance of A, e, M                       times `scale_factor`
    detector            modes of field, material and alignment, in its place     (`scale.DetectorModes`)
    zclosure_stat       modes of the covariance of A, M of the Z closure         as they are
    zclosure_lep        A = sigma(m_Z) / m_Z everywhere, and `adhoc_A`           one
    zclosure_M          M = `adhoc_M` everywhere                                 one, if asked for
    reference_mass      A = sigma_m / m of the resonance that set the scale      one
    alternative         another calibration less this one, in A, e, M            one each, if given
    resolution_stat     modes of the covariance of a, b, c                       times `resolution_factor`
    pixel_mult          the weight by pixel hits in one bin of eta, and in all   one a bin, and one

With 48, 24, 24 and 48 bins, without the reference mass, these are the 144 + 48 + 1 + 72 + 49 = 314 of arXiv:2412.13872.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from mucal.arrays import FloatArray, same_edges
from mucal.calibration.covariance import modes
from mucal.errors import ConfigError, InputError
from mucal.scale.closure import Closure
from mucal.scale.detector_modes import DetectorModes
from mucal.scale.inflation import pattern_factor
from mucal.scale.pixels import PixelMultiplicity
from mucal.scale.table import ResolutionTable, ScaleTable

Basis = Literal["scaled", "plain"]
ALTERNATIVE: Final = r"\w+"
"""What the name of an alternative calibration looks like: it becomes part of the name of its nuisance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Nuisances of one group: n of one kind.

    names      : n
    sources    : n               what each stands for
    factor     :                 by which the standard deviations were multiplied
    variations : (n, 3, B)       of A, e, M or a, b, c; (n, B) exponents of the pixel weight
    """

    name: str
    kind: Literal["scale", "resolution", "pixel"]
    names: tuple[str, ...]
    sources: tuple[str, ...]
    factor: float
    variations: FloatArray = field(repr=False)


def statistical(scale: ScaleTable, name: str, factor: float, basis: Basis, file: str, note: str = "") -> Group:
    """The modes of the covariance of a scale table.

    name : of the resonance
    note : what the closures say of the factor
    """
    variations = factor * modes(scale.cov, dataset="ScaleTable.cov", file=file, scaled=basis == "scaled")
    source = f"statistical covariance of A, e, M from {name}, standard deviations times {factor:g}"
    return _numbered(f"{name}_stat", "scale", f"{source}; {note}" if note else source, factor, variations)


def detector(found: DetectorModes, scale: ScaleTable) -> Group:
    """The modes of field, material and alignment as nuisances of the scale.

    Raises ValueError for other bins of eta.
    """
    if not same_edges(found.eta_edges, scale.eta_edges):
        raise ValueError("the modes of the detector were propagated to other bins of eta than those of the scale table")
    group = _numbered("detector", "scale", "", 1.0, found.variations)
    sources = tuple(f"mode of the global corrections: {leading}" for leading in found.leading)
    return Group(
        name=group.name, kind="scale", names=group.names, sources=sources, factor=1.0, variations=group.variations
    )


def closure_statistics(closure: Closure, scale: ScaleTable, basis: Basis, file: str) -> Group:
    """The modes of the covariance of a closure's A and M, in the bins of the scale table that each covers.

    Raises ValueError if a bin of the table lies in two bins of the closure, or in none.
    """
    found = modes(closure.cov, dataset="Closure.cov", file=file, scaled=basis == "scaled", n_blocks=2)
    at = _containing(closure, scale)
    variations = np.zeros((len(found), 3, scale.n_bins))
    variations[:, 0], variations[:, 2] = found[:, 0][:, at], found[:, 1][:, at]
    return _numbered(
        f"{closure.resonance}closure_stat", "scale",
        f"statistical covariance of the closure's A, M from {closure.resonance}; central values are not applied",
        1.0, variations,
    )  # fmt: skip


def closure_mass(closure: Closure, scale: ScaleTable, adhoc: float = 0.0) -> Group:
    """The reference mass of a closure: A = sigma_m / m in every bin.

    adhoc : added to it in squares
    """
    mass, error = closure.reference_mass, closure.reference_mass_error
    if not (mass > 0 and error > 0):
        raise InputError(
            f"the closure with {closure.resonance} states no mass with an uncertainty: {mass:g} +- {error:g} GeV",
            kind="input.closure_mass",
            do="set reference_mass and reference_mass_error of the closure, in GeV",
        )
    name = f"{closure.resonance}closure_lep" if closure.resonance == "z" else f"{closure.resonance}closure_mass"
    return _uniform(name, name, f"mass of {closure.resonance} in its closure", mass, error, scale.n_bins, adhoc)


def adhoc_sagitta(scale: ScaleTable, size: float) -> Group:
    """The same M in every bin, of a size (1/GeV) that nothing but the configuration knows."""
    variation = np.zeros((1, 3, scale.n_bins))
    variation[0, 2] = size
    return Group(
        name="zclosure_M", kind="scale", names=("zclosure_M",), sources=(f"ad hoc M = {size:.3g}/GeV everywhere",),
        factor=1.0, variations=variation,
    )  # fmt: skip


def alternatives(found: Mapping[str, ScaleTable], scale: ScaleTable) -> Group:
    """What other choices of the same calibration change: each table less this one is a nuisance.

    found : name -> table of the same eta bins, of other radiation, background, window, line or runs

    Raises ConfigError for a name that is not made of letters, digits and _, ValueError for other bins of eta.
    Source: docs/physics/calibration.md.
    """
    sources = []
    for name, table in found.items():
        if not re.fullmatch(ALTERNATIVE, name):
            raise ConfigError(
                f"an alternative calibration is named '{name}', expected letters, digits and _",
                kind="config.alternative",
                do="it becomes part of the name of its nuisance; rename it",
            )
        if not same_edges(table.eta_edges, scale.eta_edges):
            raise ValueError(
                f"the alternative calibration '{name}' has other bins of eta than the scale table; derive both in the "
                "same bins"
            )
        sources.append(
            f"alternative calibration '{name}' less this one; as a pattern of bias it asks for a factor "
            f"{pattern_factor(scale, table):.2f} on the errors of the scale"
        )
    differences = [(table.parameters - scale.parameters).reshape(3, scale.n_bins) for table in found.values()]
    return Group(
        name="alternative", kind="scale", names=tuple(f"alternative_{name}" for name in found), sources=tuple(sources),
        factor=1.0, variations=np.array(differences),
    )  # fmt: skip


def reference_mass(scale: ScaleTable, name: str, mass: float, error: float) -> Group:
    """The mass that set the scale: A = sigma_m / m in every bin."""
    return _uniform("reference_mass", f"reference_mass_{name}", f"mass of {name}", mass, error, scale.n_bins)


def resolution(
    data: ResolutionTable, mc: ResolutionTable | None, factor: float, basis: Basis, files: Mapping[str, str]
) -> Group:
    """The modes of the summed covariances of a, b, c of data and simulation.

    Raises ValueError for different bins of eta, InputError if one of them is no covariance.
    """
    parts = {"resolution_data": data} | ({} if mc is None else {"resolution_mc": mc})
    if mc is not None and not same_edges(data.eta_edges, mc.eta_edges):
        raise ValueError("the resolutions of data and simulation must be given in the same eta bins")
    for part, table in parts.items():
        # each by itself: a sum could hide that one of them is no covariance
        modes(table.cov, dataset=f"{part}.cov", file=files.get(part, ""))
    total = sum((table.cov for table in parts.values()), np.zeros_like(data.cov))
    variations = factor * modes(total, dataset="sum of resolution covariances", scaled=basis == "scaled")
    source = f"statistical covariance of a, b, c, {' plus '.join(parts)}, standard deviations times {factor:g}"
    return _numbered("resolution_stat", "resolution", source, factor, variations)


def pixel(table: PixelMultiplicity, *, in_nominal: bool) -> Group:
    """The whole weight by pixel hits as an uncertainty, in each bin of eta alone and in all of them.

    in_nominal : the nominal muons carry the weight already; +1 then takes it away
    """
    b = table.n_bins
    exponents = np.concatenate([np.eye(b), np.ones((1, b))])
    edges = table.eta_edges
    places = [f"{edges[i]:g} <= eta < {edges[i + 1]:g}" for i in range(b)] + ["all eta"]
    change = "taken away" if in_nominal else "applied"
    return Group(
        name="pixel_mult", kind="pixel", names=names_of("pixel_mult", b + 1),
        sources=tuple(f"weight by pixel hits {change} in {place}" for place in places),
        factor=1.0, variations=-exponents if in_nominal else exponents,
    )  # fmt: skip


def names_of(stem: str, count: int) -> tuple[str, ...]:
    """ "jpsi_stat_000" and so on."""
    digits = max(3, len(str(count - 1)))
    return tuple(f"{stem}_{i:0{digits}d}" for i in range(count))


def _numbered(
    stem: str, kind: Literal["scale", "resolution"], source: str, factor: float, variations: FloatArray
) -> Group:
    names = names_of(stem, len(variations))
    return Group(
        name=stem, kind=kind, names=names, sources=(source,) * len(names), factor=factor, variations=variations
    )


def _uniform(group: str, name: str, what: str, mass: float, error: float, n_bins: int, adhoc: float = 0.0) -> Group:
    size = float(np.hypot(error / mass, adhoc))
    variation = np.zeros((1, 3, n_bins))
    variation[0, 0] = size
    beside = f" and {adhoc:.3g} ad hoc" if adhoc else ""
    source = f"{what}, {mass:.7g} +- {error:.2g} GeV{beside}: A = {size:.3g} everywhere"
    return Group(name=group, kind="scale", names=(name,), sources=(source,), factor=1.0, variations=variation)


def _containing(closure: Closure, scale: ScaleTable) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The closure's bin that each bin of the scale table lies in."""
    low, high, edges = scale.eta_edges[:-1] + 1e-9, scale.eta_edges[1:] - 1e-9, closure.eta_edges
    first, last = (np.searchsorted(edges, at, side="right") - 1 for at in (low, high))
    wrong = (first < 0) | (first != last) | (first >= closure.n_bins)
    if np.any(wrong):
        i = int(np.argmax(wrong))
        raise ValueError(
            f"the bin {scale.eta_edges[i]:g} <= eta < {scale.eta_edges[i + 1]:g} of the scale table does not lie in "
            f"one bin of the closure with {closure.resonance}; choose closure bins that are unions of the table's"
        )
    return first.astype(np.int64)
