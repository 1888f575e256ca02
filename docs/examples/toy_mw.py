"""The fit of m_W on the built-in model with every group of nuisances of the measurement, about 4800.

    python docs/examples/toy_mw.py [--events 4194304] [--threads 2] [--figure toy_mw.png] [--model model.h5]

Sizes are an ansatz: structure, ordering and sum rules can be compared with the publication, absolute systematic impacts
cannot.  What is printed is explained in docs/studies/toy_mw.md.
"""

import argparse
import resource
import time
from dataclasses import replace

import numpy as np

from mucal.likelihood import FitConfig, FitResult, Model, expected_events, fit, nominal_impacts
from mucal.plot.style import AFTER, BACKGROUND, panels, save, style
from mucal.simulation.uncertainties import (
    EFFECTIVE_LUMINOSITY,
    PROMPT,
    columns_of_bins,
    prompt_spectra,
    published_calibration,
    published_efficiencies,
    published_nonprompt,
    published_weights,
)
from mucal.templates import Templates, TemplatesConfig, build
from mucal.templates.additions import with_efficiencies, with_event_weights, with_nonprompt
from mucal.templates.smoothing import smoothed
from mucal.wmass import Background, Breakdown, breakdown, compare, helicity_model, mass_model, published, split_mass

SIMULATED = ("Wmunu", "Zmumu")
START = time.perf_counter()


def say(text: str) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"[{time.perf_counter() - START:5.0f} s {time.process_time():5.0f} s of processors {peak:4.1f} GB] {text}")


def filled(events: int, threads: int) -> Templates:
    """Theory and calibration, smooth where nature is; as much simulation as the publication had."""
    config = TemplatesConfig(channel="w", events=events, helicity=True)
    made = smoothed(build(config, calibration=published_calibration(), n_threads=threads, tell=say))
    return replace(made, sumw2=made.nominal / EFFECTIVE_LUMINOSITY)


def measured(templates: Templates) -> Model:
    """The model with efficiencies, nonprompt muons, running conditions and prompt backgrounds."""
    signal = templates.nominal[0]
    grown = with_efficiencies(templates, published_efficiencies(), SIMULATED, vetoed=["Zmumu"])
    grown = with_event_weights(grown, published_weights(), SIMULATED, columns_of_bins(templates.binning))
    grown = with_nonprompt(grown, published_nonprompt(float(signal.sum())))
    backgrounds = [
        Background(name=name, events=n, variance=n / EFFECTIVE_LUMINOSITY, luminosity=True, group="prompt",
                   kappa={f"{name}_norm": np.full(n.size, np.log1p(PROMPT[name][1]))})
        for name, n in prompt_spectra(signal, templates.binning).items()
    ]  # fmt: skip
    return mass_model(grown, backgrounds)


def print_sources(found: Breakdown) -> None:
    print(f"{'MeV':<24}{'number':>7}{'nominal':>9}{'global':>8}   published nominal, global")
    rows = zip(found.sources, found.numbers, found.nominal, found.response, found.published_nominal,
               found.published_response, strict=True)  # fmt: skip
    for name, number, nominal, response, *beside in rows:
        print(f"{name:<24}{number or '':>7}{nominal:9.2f}{response:8.2f}   {beside[0]:9.1f}{beside[1]:8.1f}")
    print(f"{'total':<31}{found.total:9.2f}{found.quadrature:8.2f}   {found.published_total:9.1f}")


def print_calibration(model: Model, counts: np.ndarray, result: FitResult) -> None:
    """Nominal impacts of the groups of the calibration, beside the published ones."""
    names = {"jpsi_stat": "J/psi stat", "zclosure_stat": "Z closure stat", "zclosure_lep": "Z closure LEP",
             "resolution_stat": "resolution", "pixel_mult": "pixel multiplicity"}  # fmt: skip
    own = replace(model, groups={published_name: model.groups[g] for g, published_name in names.items()})
    for name, value in nominal_impacts(own, counts, result, "mass").groups.items():
        print(f"  {name:<20}{100 * value:6.2f}   published {published.CALIBRATION[name][0]:.1f}")


def print_checks(model: Model, templates: Templates, counts: np.ndarray, config: FitConfig, error: float) -> None:
    for by in ("charge", "eta_sign", "central", "slices"):
        split = split_mass(model, by)
        result = fit(split, counts, config)
        parts = compare(result)
        line = f"{by}: {len(parts.names)} masses, mean known to {1e3 * parts.error:.2f} MeV"
        if len(parts.names) == 2:
            line += f", difference to {1e3 * parts.difference(*parts.names)[1]:.1f} MeV"
        say(line)
        if by == "charge":
            weights = {"mass_plus": 1.0, "mass_minus": -1.0}
            print_sources(breakdown(split, counts, result, column="m_W+ - m_W-", poi=weights))
    for prior in (0.5, 1.0):
        free = fit(helicity_model(model, templates, prior=prior), counts, config).error("mass")
        say(f"free helicities, prior {prior:.0%}: {100 * free:.2f} MeV, {free / error:.2f} times the nominal fit")


def draw(found: Breakdown, path: str) -> None:
    rows = np.arange(len(found.sources))
    with style():
        figure, axes = panels(1, 2, width=8.6, height=0.9 + 0.3 * rows.size, sharey=True)
        both = ((found.nominal, found.published_nominal), (found.response, found.published_response))
        for one, (ours, theirs), name in zip(axes, both, ("nominal", "global"), strict=True):
            one.barh(rows - 0.2, ours, height=0.38, color=AFTER, label="toy model")
            one.barh(rows + 0.2, np.nan_to_num(theirs), height=0.38, color=BACKGROUND, label="arXiv:2412.13872")
            one.set_xlabel(f"{name} impact on $m_W$ [MeV]")
            one.tick_params(axis="y", which="both", length=0)
        axes[0].set_yticks(rows, found.sources)
        axes[0].set_ylim(rows.size - 0.4, -0.6)
        axes[1].legend(loc="center right", bbox_to_anchor=(1.0, 0.3))
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1 << 22, help="for each sample, a power of 2")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--figure")
    parser.add_argument("--model", help="where the model is kept, for mucal fit")
    parser.add_argument("--no-checks", action="store_true", help="only the fit and its impacts")
    asked = parser.parse_args()
    config = FitConfig(n_threads=asked.threads)
    templates = filled(asked.events, asked.threads)
    say("templates filled")
    model = measured(templates)
    say(f"{len(model.parameters)} parameters, {model.effects.kappa.nbytes / 1e6:.0f} MB of effects")
    if asked.model:
        model.save(asked.model, overwrite=True)
    counts = expected_events(model)
    result = fit(model, counts, config)
    result.require_converged()
    say(f"fitted: error of m_W {100 * result.error('mass'):.2f} MeV, {counts.sum():.4g} events")
    found = breakdown(model, counts, result, column="m_W")
    say("impacts")
    print_sources(found)
    print_calibration(model, counts, result)
    if asked.figure:
        draw(found, asked.figure)
    if not asked.no_checks:
        print_checks(model, templates, counts, config, result.error("mass"))


if __name__ == "__main__":
    main()
