"""Draws the figure of docs/physics/generators.md and prints its table; with pythia8mc, Pythia's beside ours.

python docs/examples/generator_figures.py docs/figures [events]
"""

import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mucal.plot.style import save
from mucal.simulation import GeneratedMuons, MuonGeneration, generate_muons
from mucal.simulation.production import SPECTRA
from mucal.simulation.pythia import generate_with_pythia
from mucal.theory import resonance
from mucal.track import LAM, PHI, QOP
from mucal.units import MUON_MASS

WINDOWS = {"jpsi": (2.9, 3.3), "upsilon1s": (8.9, 9.9), "z": (80.0, 102.0)}
LABELS = {"jpsi": r"J/$\psi$", "upsilon1s": r"$\Upsilon$(1S)", "z": "Z"}


def pair_masses(muons: GeneratedMuons) -> np.ndarray:
    p = 1 / np.abs(muons.state[:, QOP])
    lam, phi = muons.state[:, LAM], muons.state[:, PHI]
    four = np.column_stack(
        [p * np.cos(lam) * np.cos(phi), p * np.cos(lam) * np.sin(phi), p * np.sin(lam), np.hypot(p, MUON_MASS)]
    )
    total = four.reshape(-1, 2, 4).sum(axis=1)
    return np.sqrt(total[:, 3] ** 2 - (total[:, :3] ** 2).sum(axis=1))


def transverse(muons: GeneratedMuons) -> np.ndarray:
    return np.cos(muons.state[:, LAM]) / np.abs(muons.state[:, QOP])


def samples(name: str, n: int) -> dict[str, GeneratedMuons]:
    if name == "z":
        config = MuonGeneration(process=name, pt_min=25.0)
    else:  # any pair
        config = MuonGeneration(process=name, parent=replace(SPECTRA[name], pt_low=0.0), pt_min=0.0, eta_max=20.0)
    found = {"mucal": generate_muons(config, 20 * n)}
    if find_spec("pythia8mc"):
        found["Pythia 8"] = generate_with_pythia(config, n)
    return found


def density_of(values: np.ndarray, edges: np.ndarray, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of all values per unit of `widths` in each bin, and its error."""
    counts = np.histogram(values, edges)[0]
    return counts / values.size / widths, np.sqrt(counts) / values.size / widths


def draw(axis: Axes, label: str, values: np.ndarray, edges: np.ndarray, widths: np.ndarray, colour: str = "k") -> None:
    """Ours as a line, Pythia's as points."""
    density, error = density_of(values, edges, widths)
    if "mucal" in label:
        axis.stairs(density, edges, label=label, color="C0" if colour == "k" else colour, lw=1.2)
    else:
        axis.errorbar(0.5 * (edges[1:] + edges[:-1]), density, error, fmt=".", ms=3, color=colour, label=label)


def draw_pair(above: Axes, below: Axes, name: str, n: int) -> None:
    """The mass after radiation, and the share of it that is lost."""
    peak, (low, high) = resonance(name).mass, WINDOWS[name]
    masses, losses = np.linspace(low, high, 41), np.geomspace(1e-3, 0.6, 25)
    for label, muons in samples(name, n).items():
        mass = pair_masses(muons)
        loss = 1 - mass / muons.mass[::2]
        draw(above, label, mass, masses, np.diff(masses))
        draw(below, label, loss, losses, np.diff(np.log(losses)))
        kept = mass[(mass > low) & (mass < high)]
        shift, error = kept.mean() - peak, kept.std() / np.sqrt(kept.size)
        lost = [np.mean(loss > x) for x in (0.003, 0.01, 0.03, 0.1)]
        print(
            f"{name:10} {label:9} in {low}-{high} GeV: {kept.size / mass.size:.4f}, shift {1e3 * shift:8.2f} +- "
            f"{1e3 * error:.2f} MeV, rms {1e3 * kept.std():7.1f} MeV; lose more than 0.3, 1, 3, 10 %: "
            + " ".join(f"{100 * x:.2f}" for x in lost)
        )
    above.set(xlabel=r"$m_{\mu\mu}$ after radiation (GeV)", ylabel="share per GeV", title=LABELS[name], yscale="log")
    below.set(xscale="log", xlabel="lost share of the mass", ylabel="share per unit of ln")
    above.legend(fontsize=8)


def draw_w(above: Axes, below: Axes, n: int) -> None:
    """pT and abs(eta) of the muons of the W."""
    momenta, directions = np.arange(25.0, 61.0, 1.0), np.linspace(0.0, 2.4, 13)
    for charge, sign, colour in (("w_plus", "+", "C0"), ("w_minus", "-", "C3")):
        for label, muons in samples(charge, n).items():
            pt, eta = transverse(muons), np.abs(np.arcsinh(np.tan(muons.state[:, LAM])))
            draw(above, f"W$^{sign}$, {label}", pt, momenta, np.diff(momenta), colour)
            draw(below, f"W$^{sign}$, {label}", eta, directions, np.diff(directions), colour)
            print(f"{charge:10} {label:9} pT 25-60: mean {pt[pt < 60].mean():.3f} GeV, mean |eta| {eta.mean():.3f}")
    above.set(xlabel=r"muon $p_T$ (GeV)", ylabel="share per GeV", title=r"W $\to\mu\nu$")
    below.set(xlabel=r"muon $|\eta|$", ylabel="share per unit", ylim=(0, None))
    above.legend(fontsize=7)


def main(directory: Path, n: int) -> None:
    figure = Figure(figsize=(14, 6.5), layout="constrained")
    axes = figure.subplots(2, 4)
    for i, name in enumerate(WINDOWS):
        draw_pair(axes[0, i], axes[1, i], name, n)
    draw_w(axes[0, 3], axes[1, 3], n)
    save(figure, directory / "generators.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40_000)
