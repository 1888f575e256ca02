"""Draws the figure of docs/physics/theory.md: W and Z as generated, and what theory is uncertain of.

python docs/examples/theory_figures.py docs/figures [events]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mucal.plot.style import save, style
from mucal.theory import kernels, nuisances, production, reweighting
from mucal.theory.generator import generate
from mucal.theory.harmonics import TERMS
from mucal.theory.variation import DOWN, UP

LABELS = {"w_plus": "W$^+$", "w_minus": "W$^-$", "z": "Z"}


def draw_rapidity(axis) -> None:
    y = np.linspace(-4.8, 4.8, 193)
    for sample, label in LABELS.items():
        mass = np.full(y.size, production.POLES[sample][0])
        table = production.luminosities(sample, mass, y)
        rate, forward = kernels.rates(mass, production.couplings(sample), table)
        line = axis.plot(y, production.CROSS_SECTIONS[sample] * rate / rate.sum() / (y[1] - y[0]) / 1e3, label=label)[0]
        positive = y >= 0
        axis.plot(y[positive], 2 * np.abs(forward)[positive], ls=":", color=line.get_color())
    axis.set_xlabel("boson rapidity")
    axis.set_ylabel("dσ/dy (nb); dotted: 2 A$_4$ at p$_T$ = 0")
    axis.legend(loc="upper left")


def draw_coefficients(axis) -> None:
    pt = np.geomspace(0.5, 150, 200)
    one = np.ones(pt.size)
    made = production.production("w_plus")
    table = kernels.look_up_all(80.379 * one, one, made.grid, made.luminosities)
    forward = kernels.rates(80.379 * one, made.coupling, table)[1]
    a = kernels.all_coefficients(pt, 80.379 * one, one, forward)
    for i in range(5):
        axis.plot(pt, a[:, i], label=TERMS[1 + i])
    axis.set_xscale("log")
    axis.set_xlabel("boson p$_T$ (GeV), W$^+$ at y = 1")
    axis.set_ylabel("angular coefficient")
    axis.legend(ncols=2)


def draw_mass(axis, n: int) -> None:
    edges = np.linspace(26, 56, 31)
    for sample in ("w_plus", "w_minus"):
        e = generate(production.production(sample), 0, n, seed=1)
        pt = e.leptons[:, 0, 0]
        seen = np.abs(e.leptons[:, 0, 1]) < 2.4
        nominal = np.histogram(pt[seen], edges, weights=e.weight[seen])[0]
        for shift, shade in ((0.1, 1.0), (-0.1, 0.5)):
            w = (e.weight * reweighting.mass_weight(e, shift))[seen]
            ratio = np.histogram(pt[seen], edges, weights=w)[0] / nominal - 1
            axis.stairs(100 * ratio, edges, alpha=shade, baseline=None, color="C0" if sample == "w_plus" else "C1",
                        label=f"{LABELS[sample]}, {1000 * shift:+.0f} MeV")  # fmt: skip
    axis.axhline(0, lw=0.6, color="0.6")
    axis.set_xlabel("muon p$_T$ (GeV), before measurement")
    axis.set_ylabel("change of the spectrum (%)")
    axis.legend()


def draw_band(axis) -> None:
    pt = np.linspace(0.25, 80, 320)
    for sample in ("w_plus", "z"):
        band = np.zeros(pt.size)
        for v in nuisances.select(samples=[sample]):
            if v.group == "pt_model" and sample in v.samples and v.terms is not None:
                up, down = (np.log(v.terms(sample, pt, np.ones(pt.size), side)[:, 0]) for side in (UP, DOWN))
                band += (0.5 * (up - down)) ** 2
        axis.plot(pt, 100 * np.sqrt(band), label=LABELS[sample])
    axis.set_ylim(0)
    axis.set_xlabel("boson p$_T$ (GeV)")
    axis.set_ylabel("uncertainty of p$_T$ before the fit (%)")
    axis.legend()


def main(folder: str, n: int) -> None:
    with style():
        figure = Figure(figsize=(9, 7), layout="constrained")
        (one, two), (three, four) = figure.subplots(2, 2)
        draw_rapidity(one)
        draw_coefficients(two)
        draw_mass(three, n)
        draw_band(four)
        save(figure, Path(folder) / "w_and_z.png")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1 << 19)
