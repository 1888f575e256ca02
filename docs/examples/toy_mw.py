"""The fit of m_W on the built-in model: anchors, impacts beside the published ones, parts, helicities.

    python docs/examples/toy_mw.py [--events 4194304] [--calibration BUNDLE] [--threads 2]

The simple model has no efficiency or nonprompt nuisances and its theory sizes are an ansatz: structure, ordering and
sum rules can be compared with the publication, absolute systematic impacts cannot.
"""

import argparse

import numpy as np

import mucal
from mucal.likelihood import FitConfig, Model, expected_events, fit, global_impacts, nominal_impacts
from mucal.templates import Templates, TemplatesConfig, build
from mucal.templates.smoothing import smoothed
from mucal.wmass import MASS, Background, compare, helicity_model, mass_model, published, split_mass
from mucal.wmass.tensor import events_at_mass

ASIMOV = FitConfig(mc_stat="none", n_threads=2)
GROUPS = {
    "pdf": "PDF", "alpha_s": "PDF", "angular_coefficients": "angular coefficients", "electroweak": "higher-order EW",
    "pt_model": "pT model", "luminosity": "luminosity", "background": "nonprompt",
}  # fmt: skip


def background(templates: Templates) -> Background:
    """Flat, 11 % of all, known to 5 %."""
    signal = templates.nominal[0]
    n = np.full(signal.size, 0.11 / 0.89 * signal.mean())
    return Background(name="Flat", events=n, variance=0 * n, kappa={"flat_norm": np.full(n.size, np.log(1.05))})


def print_impacts(model: Model) -> None:
    counts = expected_events(model)
    result = fit(model, counts, ASIMOV)
    columns = [f(model, counts, result, MASS) for f in (nominal_impacts, global_impacts)]
    print(f"m_W: error {100 * result.error(MASS):.2f} MeV with {len(model.parameters)} parameters")
    print(f"{'source':<24}{'nominal':>9}{'global':>9}   published nominal, global (MeV)")
    for group in model.groups:
        row = published.SOURCES.index(GROUPS[group]) if group in GROUPS else None
        beside = [
            published.BREAKDOWN[f"m_W {kind}"][row] if row is not None else np.nan for kind in ("nominal", "global")
        ]
        print(f"{group:<24}{100 * columns[0].groups[group]:9.2f}{100 * columns[1].groups[group]:9.2f}   "
              f"{beside[0]:9.1f}{beside[1]:9.1f}")  # fmt: skip
    print(f"{'data':<24}{100 * columns[0].data_stat:9.2f}{100 * columns[1].data_stat:9.2f}   {2.4:9.1f}{6.0:9.1f}")
    squares = sum(v**2 for v in columns[1].groups.values()) + columns[1].data_stat ** 2
    print(f"global impacts in quadrature: {100 * np.sqrt(squares):.2f} MeV")


def print_parts(model: Model, templates: Templates, shift: float = 0.03) -> None:
    data = events_at_mass(model, templates, shift)
    whole = fit(model, data, ASIMOV)
    print(f"injected {1000 * shift:.0f} MeV: {100 * whole.value(MASS):.2f} MeV")
    for by in ("charge", "eta_sign", "central", "slices"):
        parts = compare(fit(split_mass(model, by), data, ASIMOV))
        line = f"  {by:<10}{len(parts.names):4d} parts, mean {1000 * parts.mean:.2f} MeV"
        if len(parts.names) == 2:
            line += f", difference known to {1000 * parts.difference(*parts.names)[1]:.1f} MeV"
        print(line)


def print_helicities(model: Model, templates: Templates) -> None:
    counts = expected_events(model)
    nominal = fit(model, counts, ASIMOV).error(MASS)
    for prior in (0.25, 0.5, 1.0):
        error = fit(helicity_model(model, templates, prior=prior), counts, ASIMOV).error(MASS)
        print(f"free helicities, prior {prior:.0%}: {100 * error:.2f} MeV, {error / nominal:.2f} times the nominal fit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1 << 22, help="for each sample, a power of 2")
    parser.add_argument("--calibration", help="bundle whose nuisances are added")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    calibration = mucal.load(asked.calibration) if asked.calibration else None
    config = TemplatesConfig(channel="w", events=asked.events, helicity=True)
    templates = build(config, calibration=calibration, n_threads=asked.threads, tell=print)
    model = mass_model(templates, [background(templates)])
    print(f"without smoothing: {100 * fit(model, expected_events(model), ASIMOV).error(MASS):.2f} MeV")
    templates = smoothed(templates)
    model = mass_model(templates, [background(templates)])
    print_impacts(model)
    print_parts(model, templates)
    print_helicities(model, templates)


if __name__ == "__main__":
    main()
