"""Efficiencies, as the commands call them: probes simulated or read, measured, smoothed, exported, drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np

from mucal.efficiency import (
    Efficiencies,
    EfficiencyModel,
    FitConfig,
    ProbeBinning,
    ScaleFactors,
    SmoothConfig,
    count_efficiencies,
    fill,
    measure,
    probes_of,
    scale_factors,
    step,
)
from mucal.efficiency.histograms import ProbeHistograms, total
from mucal.efficiency.templates import MassTemplates, simulated_templates, wide_edges
from mucal.errors import ConfigError, InputError
from mucal.io.efficiency_json import write_efficiency_json
from mucal.io.efficiency_root import write_efficiency_root
from mucal.io.probe_files import ProbeInput, stream_probes, write_probes
from mucal.numerics.weight_sums import WeightSums
from mucal.plot.efficiency import pass_fail_figure, scale_factor_figure
from mucal.plot.style import save
from mucal.simulation.dimuons import DimuonSimulation
from mucal.simulation.tag_and_probe import TagAndProbeSimulation, generate_tag_and_probe
from mucal.store import Provenance, sha256
from mucal.workflow.toml_text import overlay, parse_toml, read_toml
from mucal.workflow.validate import build

SECTION: Final = "efficiency"
CHUNK: Final = 1_000_000


def _uniform(low: float, high: float, n: int) -> tuple[float, ...]:
    return tuple(round(float(x), 10) for x in np.linspace(low, high, n + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class EfficiencyConfig:
    """Section ``[efficiency]``.

    eta_edges, pt_edges, ut_edges, mass_edges : of the bins; GeV; u_T counts in the steps trigger and iso
    pass_for_fail : fraction of the passing template that stands in for failing probes, where few fail
    fit      : ``[efficiency.fit]``
    smooth   : ``[efficiency.smooth]``
    input    : ``[efficiency.input]``, the column map
    """

    eta_edges: tuple[float, ...] = _uniform(-2.4, 2.4, 48)
    pt_edges: tuple[float, ...] = (24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 47, 50, 55, 60, 65)
    ut_edges: tuple[float, ...] = (-30, -15, -5, 5, 15, 30, 60, 100)
    mass_edges: tuple[float, ...] = _uniform(60, 120, 60)
    pass_for_fail: float = 0.0
    fit: FitConfig = field(default_factory=FitConfig)
    smooth: SmoothConfig = field(default_factory=SmoothConfig)
    input: ProbeInput = field(default_factory=ProbeInput)

    def binning(self, name: str) -> ProbeBinning:
        """The bins of one step."""
        one = step(name)
        return ProbeBinning(
            eta_edges=self.eta_edges, pt_edges=self.pt_edges, mass_edges=self.mass_edges, by_charge=one.by_charge,
            ut_edges=self.ut_edges if one.in_ut else None,
        )  # fmt: skip


def load_efficiency(path: str | Path | None, settings: tuple[str, ...] = ()) -> EfficiencyConfig:
    """The section ``[efficiency]`` of a configuration file, the defaults without one.

    Raises ConfigError with file and line for whatever is wrong in it.
    """
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    return build(EfficiencyConfig, document.values.get(SECTION, {}), document, SECTION)


def simulate_probes(name: str, n: int, seed: int, background: float, out: str | Path, *, overwrite: bool) -> int:
    """Write the probes of one step of n generated pairs; returns how many there are."""
    config = TagAndProbeSimulation(
        dimuons=DimuonSimulation(
            resonance="z", seed=seed, pt_min=15.0, background_fraction=background, background_slope=0.03
        )
    )
    probes = probes_of(generate_tag_and_probe(config, n).muons, step(name))
    write_probes(probes, out, overwrite=overwrite)
    return len(probes)


def spectra(
    files: Sequence[str], name: str, config: EfficiencyConfig, tell: Callable[[str], None], *, wide: bool = False
) -> ProbeHistograms:  # fmt: skip
    """Spectra of the probes in the files; on wide mass bins if they are to become templates.

    `tell` hears of a probe whose weight dominates.  Raises InputError if all weights are zero.
    """
    binning = config.binning(name)
    if wide:
        edges, _ = wide_edges(np.array(config.mass_edges))
        binning = ProbeBinning(
            eta_edges=binning.eta_edges, pt_edges=binning.pt_edges, mass_edges=tuple(edges.tolist()),
            by_charge=binning.by_charge, ut_edges=binning.ut_edges,
        )  # fmt: skip
    weights, parts = WeightSums(), []
    for probes in stream_probes(files, config.input):
        weights += WeightSums.of(probes.weight)
        parts.append(fill(probes, name, binning))
    if not parts:
        raise ConfigError("no files of probes were given", kind="usage.no_input")
    if not weights.squares:
        raise InputError(
            f"all {weights.n} weights of probes of '{name}' are zero", kind="input.weight",
            where={"files": ", ".join(files)}, do="name the column of weights by efficiency.input.columns.weight",
        )  # fmt: skip
    if warning := weights.warning(f"the probes of '{name}' in {', '.join(files)}"):
        tell(f"warning: {warning}")
    return total(parts).with_provenance(Provenance(inputs={str(path): sha256(path) for path in files}))


def measure_files(
    files: Sequence[str], name: str, config: EfficiencyConfig, *, simulation: Sequence[str] = (),
    method: Literal["fit", "count"] = "fit", tell: Callable[[str], None],
) -> Efficiencies:  # fmt: skip
    """Efficiencies of one step: by fits to data, with templates from simulation; by counting in simulation."""
    histograms = spectra(files, name, config, tell)
    if method == "count":
        return count_efficiencies(histograms)
    templates: MassTemplates | None = None
    if config.fit.signal == "template":
        if not simulation:
            raise ConfigError(
                "the signal 'template' needs simulated probes",
                kind="config.efficiency",
                do="give --simulation FILE, or set efficiency.fit.signal = 'analytic'",
            )
        wide = spectra(simulation, name, config, tell, wide=True)
        templates = simulated_templates(wide, np.array(config.mass_edges), pass_for_fail=config.pass_for_fail)
    found = measure(histograms, config.fit, templates)
    inputs = {**histograms.provenance.inputs, **{str(path): sha256(path) for path in simulation}}
    return found.with_provenance(Provenance(configuration=found.provenance.configuration, inputs=inputs))


def smooth_files(data: str, mc: str, config: EfficiencyConfig, alternatives: Mapping[str, str]) -> ScaleFactors:
    """Scale factors from measured efficiencies; inputs are those of `measure_files`."""
    others = {name: Efficiencies.load(path) for name, path in alternatives.items()}
    found = scale_factors(Efficiencies.load(data), Efficiencies.load(mc), config.smooth, others)
    inputs = {path: sha256(path) for path in (data, mc, *alternatives.values())}
    return found.with_provenance(Provenance(inputs=inputs))


def export_model(files: Sequence[str], veto: str | None, out: str | Path, *, overwrite: bool) -> EfficiencyModel:
    """The scale factors of several steps in one file: .json, .json.gz (correctionlib), .root, or .h5 (mucal)."""
    model = EfficiencyModel(
        steps=tuple(ScaleFactors.load(path) for path in files), veto=None if veto is None else ScaleFactors.load(veto)
    )
    name = str(out)
    if name.endswith((".json", ".json.gz")):
        write_efficiency_json(model, out, overwrite=overwrite)
    elif name.endswith(".root"):
        write_efficiency_root(model, out, overwrite=overwrite)
    elif name.endswith(".h5"):
        model.save(out, overwrite=overwrite)
    else:
        raise ConfigError(
            f"no format for '{name}'; expected .json, .json.gz, .root or .h5",
            kind="usage.format",
            where={"output": out},
        )
    return model


def draw_spectra(found: Efficiencies, folder: str | Path, *, most: int = 20, worst: int = 4) -> list[Path]:
    """Spectra of the bins that failed, at most `most`, and of the `worst` fits among the others."""
    tried = found.histograms.counts.sum(axis=(1, 2)) > 0
    failed = np.flatnonzero(tried & ~found.usable)[:most]
    good = np.flatnonzero(found.usable)
    chosen = [*failed, *good[np.argsort(np.nan_to_num(found.p_value[good], nan=1.0), kind="stable")][:worst]]
    Path(folder).mkdir(parents=True, exist_ok=True)
    made = [Path(folder) / f"{found.histograms.step}_{row:05d}.png" for row in chosen]
    for row, path in zip(chosen, made, strict=True):
        save(pass_fail_figure(found, int(row)), path)
    return made


def draw_scale_factors(found: ScaleFactors, data: Efficiencies, mc: Efficiencies, path: str | Path) -> None:
    """The scale factor against pT in some slices of eta."""
    save(scale_factor_figure(found, data, mc), path)
