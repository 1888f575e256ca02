"""The pT of the Z from a fit that sees only single muons, against the fit of the pairs themselves.

    python docs/examples/pt_z_validation.py [--events 2097152] [--toys 20] [--figure pt_z.png]

Pseudo-data are drawn with three nuisances of the pT model moved; both fits have counts of their own and the same
centres of the constraints.
"""

import argparse
from dataclasses import replace

import numpy as np

from mucal.likelihood import FitConfig, Model, expected_events, fit, observe, toy
from mucal.plot.style import AFTER, BAND, BEFORE, DATA, panels, save, style
from mucal.templates import CHANNELS, Templates, TemplatesConfig, build
from mucal.templates.smoothing import smoothed
from mucal.wmass import MASS, mass_model
from mucal.wmass.boson_spectrum import Spectrum, compare_spectra, propagate

EXACT = FitConfig(mc_stat="none", n_threads=2)
MOVED = {"resum_gamma_cusp": 1.0, "np_lambda2_z": -1.0, "transition_z_avg": 1.0}


def models(events: int) -> tuple[list[Model], Model]:
    """The W-like fit, the fit of pairs, and generated bosons."""
    made: dict[str, Templates] = {
        name: build(TemplatesConfig(channel=name, events=events), n_threads=2, tell=print)
        for name in ("wlike", "kinematics", "boson_z")
    }
    pairs = mass_model(made["kinematics"], without=("mass_z",))
    return [mass_model(smoothed(made["wlike"])), replace(pairs, frozen=(MASS,))], mass_model(made["boson_z"])


def moved(model: Model) -> np.ndarray:
    values = model.centre.copy()
    values[model.index(MOVED)] = list(MOVED.values())
    return values


def spectra(fitted: list[Model], generated: Model, seed: int) -> list[Spectrum]:
    rng, centres, found = np.random.default_rng(seed), {}, []
    for model in fitted:
        counts = toy(model, rng, moved(model), mc_stat="none", centres=False).counts
        own = [centres.setdefault(name, rng.normal()) for name in model.parameters]
        data = observe(model, counts, centre=np.where(model.precision > 0, moved(model) + own, model.centre))
        found.append(propagate(generated, model, fit(model, data, EXACT)))
    return found


def draw(both: list[Spectrum], exact: np.ndarray, path: str) -> None:
    edges = np.array(CHANNELS["boson_z"].edges[0])
    middle = 0.5 * (edges[1:] + edges[:-1])
    prior = np.sqrt(np.diag(both[0].prior)) / exact
    with style():
        figure, axes = panels(width=6.4, height=4.2)
        axes.fill_between(middle, 1 - prior, 1 + prior, step="mid", color=BAND, lw=0, label="before the fit")
        axes.step(middle, both[0].before / exact, where="mid", color=DATA, lw=0.8, ls=":", label="prediction before")
        for one, colour, name, side in zip(both, (AFTER, BEFORE), ("W-like muons", "pairs"), (-1, 1), strict=True):
            axes.errorbar(middle * (1 + 0.02 * side), one.shares / exact, one.errors / exact, fmt="o", color=colour,
                          label=name)  # fmt: skip
        axes.axhline(1.0, color=DATA, lw=0.6)
        axes.set_xscale("log")
        axes.set_xlabel(r"$p_T^Z$ [GeV]")
        axes.set_ylabel("share of the bin / truth")
        axes.legend()
    save(figure, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1 << 21, help="for each sample, a power of 2")
    parser.add_argument("--toys", type=int, default=20)
    parser.add_argument("--figure")
    asked = parser.parse_args()
    fitted, generated = models(asked.events)
    exact = expected_events(generated, moved(generated))
    exact /= exact.sum()
    tests, pulls = [], []
    for seed in range(asked.toys):
        both = spectra(fitted, generated, seed)
        tests.append(compare_spectra(*both))
        pulls.append([(one.shares - exact) / one.errors for one in both])
        if seed == 0:
            for name, one in zip(("W-like", "pairs"), both, strict=True):
                print(f"{name:<7} off by {np.round(1e3 * (one.shares / exact - 1), 1)} per mille")
                print(f"        errors {np.round(1e3 * one.errors / exact, 1)}")
            print(f"before the fit {np.round(1e3 * np.sqrt(np.diag(both[0].prior)) / exact, 1)}")
            if asked.figure:
                draw(both, exact, asked.figure)
    chi2 = np.array([one.chi2 for one in tests])
    print(f"chi2 between the two: {chi2.mean():.1f} +- {chi2.std(ddof=1) / np.sqrt(chi2.size):.1f} in the mean of "
          f"{chi2.size} toys, {tests[0].ndof} degrees of freedom")  # fmt: skip
    print(f"pulls from the truth, W-like and pairs: width {np.std(pulls, axis=(0, 2)).round(2)}, "
          f"mean {np.mean(pulls, axis=(0, 2)).round(2)}")  # fmt: skip


if __name__ == "__main__":
    main()
