"""Nonprompt muons and recoil from files, as the commands call them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import ConfigError, nearest
from mucal.io.named_columns import stream_columns
from mucal.plot.nonprompt import nonprompt_figure
from mucal.plot.recoil import recoil_figure
from mucal.plot.style import save
from mucal.simulation.nonprompt import NonpromptSimulation, generate_nonprompt
from mucal.simulation.recoil import BUILT_IN, RecoilTruth, generate_z_recoil
from mucal.store import Provenance, sha256
from mucal.templates.event_weights import LUMINOSITY
from mucal.templates.nonprompt import (
    Nonprompt,
    NonpromptConfig,
    RegionCounts,
    closure,
    curvature_bias,
    estimate,
    propagate,
)
from mucal.templates.nonprompt_fits import basis
from mucal.templates.nonprompt_regions import (
    COLUMNS,
    VERTEX_COLUMNS,
    RegionConfig,
    empty_regions,
    fill_regions,
    of_secondary_vertices,
)
from mucal.templates.recoil import (
    RecoilCalibration,
    RecoilConfig,
    RecoilSample,
    calibrate,
)
from mucal.templates.recoil_vectors import project, recoil_of_met
from mucal.workflow.toml_text import overlay, parse_toml, read_toml
from mucal.workflow.validate import build

RECOIL_COLUMNS: Final = ("met", "met_phi", "pt1", "phi1", "pt2", "phi2", "weight")


def _same(names: Sequence[str]) -> dict[str, str]:
    return {name: name for name in names}


def _check(columns: Mapping[str, str], known: Sequence[str]) -> None:
    for name in columns:
        if name not in known:
            raise ValueError(f"columns.{name} is not known; expected {', '.join(nearest(name, known) or known)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NonpromptInput:
    """Section ``[nonprompt]``.

    columns  : what ("pt", "eta", "charge", "mt", "isolation", "weight", and for the control region "sip3d",
               "flight_significance") -> column; one row a muon; GeV
    tree     : of ROOT files that hold several
    regions  : ``[nonprompt.regions]``
    estimate : ``[nonprompt.estimate]``
    generate : ``[nonprompt.generate]``, the truth of generated regions
    luminosity : relative error, carried over through the prompt events that are subtracted; 0 for none
    """

    columns: Mapping[str, str] = field(default_factory=lambda: _same((*COLUMNS, "weight", *VERTEX_COLUMNS)))
    tree: str | None = None
    regions: RegionConfig = field(default_factory=RegionConfig)
    estimate: NonpromptConfig = field(default_factory=NonpromptConfig)
    generate: NonpromptSimulation = field(default_factory=NonpromptSimulation)
    luminosity: float = LUMINOSITY

    def __post_init__(self) -> None:
        _check(self.columns, (*COLUMNS, "weight", *VERTEX_COLUMNS))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoilInput:
    """Section ``[recoil]``.

    columns   : what ("met", "met_phi", "pt1", "phi1", "pt2", "phi2", "weight") -> column, of any missing momentum; one
                row a pair; GeV, rad
    tree      : of ROOT files that hold several
    calibrate : ``[recoil.calibrate]``
    generate  : ``[recoil.generate]``, the recoil of generated data; simulation has that of the built-in detector
    """

    columns: Mapping[str, str] = field(default_factory=lambda: _same(RECOIL_COLUMNS))
    tree: str | None = None
    calibrate: RecoilConfig = field(default_factory=RecoilConfig)
    generate: RecoilTruth = field(default_factory=lambda: replace(BUILT_IN, response=0.92, sigma=12.0, tail=0.05))

    def __post_init__(self) -> None:
        _check(self.columns, RECOIL_COLUMNS)


def load_nonprompt(path: str | Path | None, settings: tuple[str, ...] = ()) -> NonpromptInput:
    """The section ``[nonprompt]`` of a configuration file, the defaults without one."""
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    return build(NonpromptInput, document.values.get("nonprompt", {}), document, "nonprompt")


def load_recoil(path: str | Path | None, settings: tuple[str, ...] = ()) -> RecoilInput:
    """The section ``[recoil]`` of a configuration file, the defaults without one."""
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    return build(RecoilInput, document.values.get("recoil", {}), document, "recoil")


def count_regions(
    data: Sequence[str], prompt: Sequence[str], config: NonpromptInput, *, control: bool = False
) -> tuple[RegionCounts, dict[str, dict[str, int]]]:
    """The six regions from files of data and of prompt simulation; what was rejected, by sample and reason.

    control : muons of secondary vertices only, to test the estimate in region D
    """
    wanted = {n: c for n, c in config.columns.items() if control or n not in VERTEX_COLUMNS}
    counts = empty_regions(config.regions)
    rejected: dict[str, dict[str, int]] = {}
    for sample, files in (("data", data), ("prompt", prompt)):
        total: dict[str, int] = {}
        streamed = stream_columns(files, wanted, optional=("weight",), tree=config.tree, asked="nonprompt.columns")
        for columns, _ in streamed:
            chosen: Mapping[str, FloatArray] = columns
            if control:
                chosen, without = of_secondary_vertices(columns, config.regions)
                total["no secondary vertex"] = total.get("no secondary vertex", 0) + without
            counts, lost = fill_regions(counts, chosen, config.regions, prompt=sample == "prompt")
            total |= {key: total.get(key, 0) + n for key, n in lost.items()}
        rejected[sample] = {key: n for key, n in total.items() if n}
    inputs = {str(path): sha256(path) for path in (*data, *prompt)}
    return counts.with_provenance(Provenance(inputs=inputs)), rejected


def generate_regions(config: NonpromptInput, seed: int) -> tuple[RegionCounts, FloatArray]:
    """Regions of a known truth, with Poisson counts; and the true nonprompt events in D."""
    counts, truth = generate_nonprompt(config.generate, np.random.default_rng(seed))
    configuration = {"nonprompt": {"generate": asdict(config.generate)}}
    return counts.with_provenance(Provenance(configuration=configuration, seed=seed)), truth


def truth_line(found: Nonprompt, truth: FloatArray, config: NonpromptInput) -> str:
    """The estimate against the truth, beside the bias that the fake factor's curvature is known to bring."""
    generated = config.generate
    i = np.arange(3)
    bias = float(curvature_bias(generated.growth * i + generated.curvature * i**2))
    seen = float(np.log(found.nominal.sum() / truth.sum()))
    rows = basis(found.pt_edges, found.coefficients.shape[-1] - 1)
    slope = np.einsum("qet,tk->qek", found.nominal, rows)
    error = float(np.sqrt(np.einsum("qek,qekl,qel->", slope, found.cov, slope))) / float(found.nominal.sum())
    return f"truth: ln(predicted/true) = {seen:+.4f} +- {error:.4f}, expected {bias:+.4f} by curvature"


def estimate_nonprompt(counts: RegionCounts, config: NonpromptInput, figure: str | None) -> Nonprompt:
    """The estimate, drawn if a figure is asked for."""
    found = estimate(counts, config.estimate)
    if config.luminosity and counts.prompt.any():
        varied = {"luminosity": (1.0 + config.luminosity) * counts.prompt}
        names, kappa = propagate(counts, config.estimate, varied)
        found = replace(found, carried=names, carried_kappa=kappa)
    if figure is not None:
        save(nonprompt_figure(found, counts), figure)
    return found


def closure_line(found: Nonprompt, counts: RegionCounts) -> str:
    """The estimate against region D of a control region."""
    closed = closure(found, counts)
    return (
        f"closure in D: ln(observed/predicted) = {closed.ratio:+.3f} +- {closed.error:.3f}, chi2/ndf "
        f"{closed.chi2:.0f}/{closed.ndf}, p = {closed.p_value:.3g}"
    )


def read_recoil(files: Sequence[str], config: RecoilInput) -> RecoilSample:
    """Recoil against the pairs in files.  Raises ConfigError without files."""
    parts: list[tuple[FloatArray, ...]] = []
    for c, _ in stream_columns(files, config.columns, optional=("weight",), tree=config.tree, asked="recoil.columns"):
        qx, qy = (
            c["pt1"].astype(float) * f(c["phi1"].astype(float)) + c["pt2"].astype(float) * f(c["phi2"].astype(float))
            for f in (np.cos, np.sin)
        )
        ux, uy = recoil_of_met(c["met"].astype(float), c["met_phi"].astype(float), qx, qy)
        parts.append((*project(ux, uy, qx, qy), c.get("weight", np.ones(qx.size)).astype(float)))
    if not parts:
        raise ConfigError("no files of pairs were given", kind="usage.no_input")
    pt, par, perp, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return RecoilSample(pt=pt, u_par=par, u_perp=perp, weight=weight)


def calibrate_generated_recoil(n: int, config: RecoilInput, seed: int, figure: str | None) -> RecoilCalibration:
    """The calibration of n generated Z of each sample, data with a recoil of [recoil.generate]."""
    data, simulation = (
        generate_z_recoil(truth, n, one) for truth, one in ((config.generate, seed), (BUILT_IN, seed + 1))
    )
    found = calibrate(data, simulation, config.calibrate)
    if figure is not None:
        save(recoil_figure(found), figure)
    configuration = {"recoil": {"generate": asdict(config.generate), "pairs": n}}
    return found.with_provenance(Provenance(configuration=configuration, seed=seed))


def calibrate_recoil(
    data: Sequence[str], simulation: Sequence[str], config: RecoilInput, figure: str | None,
    background: Sequence[str] = (),
) -> RecoilCalibration:  # fmt: skip
    """The calibration of files of data and simulation, drawn if a figure is asked for.

    background : files of simulated pairs that are no Z, weighted to the data; subtracted from them
    """
    seen = read_recoil(data, config)
    if background:
        seen = seen.without(read_recoil(background, config))
    found = calibrate(seen, read_recoil(simulation, config), config.calibrate)
    if figure is not None:
        save(recoil_figure(found), figure)
    inputs = {str(path): sha256(path) for path in (*data, *simulation, *background)}
    return found.with_provenance(Provenance(inputs=inputs))
