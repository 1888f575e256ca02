"""Draws the loss and the scattering angle in slabs, by Geant4 and as the formulas have them.

    python docs/examples/material_figures.py docs/figures [muons]

Needs geant4-pybind.  The curve of the loss is the exact spectrum (Vavilov's) of the collisions that `detector` takes
moments of: characteristic function exp(int dT xi/(beta^2 T^2) (1 - beta^2 T/T_max) (exp(ikT) - 1 - ikT)), moved to the
mean loss.  The curve of the angle is Highland's Gaussian.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mucal.detector import CARBON, SILICON, Medium, mean_loss, scattering_variance, straggling
from mucal.detector import kernels as detector
from mucal.plot.style import save
from mucal.units import MUON_MASS, MeV

SLABS = ((SILICON, "G4_Si", 0.03, 10.0), (SILICON, "G4_Si", 0.562, 5.0), (CARBON, "G4_GRAPHITE", 2.0, 3.0))
SCRIPT = Path(__file__).parents[2] / "tests" / "oracles" / "geant4_slab.py"


def geant4(material: str, thickness: float, p: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses (GeV) and projected angles (2N,)."""
    command = [sys.executable, str(SCRIPT), material, str(thickness), str(p), str(n), "11"]
    run = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True)
    result = json.loads(run.stdout[run.stdout.index("RESULT") + 6 :].splitlines()[0])
    return np.array(result["losses"]) * MeV, np.array(result["angles"]).ravel()


def loss_spectrum(p: float, xi: float, medium: Medium) -> tuple[np.ndarray, np.ndarray]:
    """Losses (GeV) and their density (1/GeV), by Fourier transform of the characteristic function."""
    beta2, t_max = p * p / (p * p + MUON_MASS**2), detector.max_transfer(p)
    thickness, mean = xi / beta2, mean_loss(np.array([p]), np.array([xi]), medium)[0]
    n = 2**14
    step = 0.02 * thickness
    k = 2 * np.pi * np.fft.rfftfreq(n, step)
    # the integral over T in logarithmic panels: below 1e-6 thickness the bracket is -(kT)^2/2
    t = np.geomspace(1e-6 * thickness, t_max, 4000)
    weight = thickness / t**2 * (1 - beta2 * t / t_max)
    kt = k[:, None] * t[None, :]
    real, imaginary = np.trapezoid(weight * (np.cos(kt) - 1), t), np.trapezoid(weight * (np.sin(kt) - kt), t)
    begin = mean - 30 * thickness
    phi = np.exp(real + 1j * (imaginary + k * (mean - begin)))
    density = np.fft.irfft(np.conj(phi), n) / step
    return begin + step * np.arange(n), density


def main(directory: Path, n: int) -> None:
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.subplots(2, len(SLABS))
    for (medium, material, thickness, p), (above, below) in zip(SLABS, axes.T, strict=True):
        losses, angles = geant4(material, thickness, p, n)
        x = thickness * medium.density / medium.radiation_length
        xi = medium.xi_per_radiation_length * x
        grid, density = loss_spectrum(p, xi, medium)
        mode = grid[np.argmax(density)]
        edges = np.linspace(0.5 * mode, 3.0 * mode, 61)
        counts = np.histogram(losses, edges)[0]
        above.step(edges[:-1] / MeV, counts / n / np.diff(edges) * MeV, where="post", color="k", lw=0.9, label="Geant4")
        inside = (grid > edges[0]) & (grid < edges[-1])
        above.plot(grid[inside] / MeV, density[inside] * MeV, label="collision spectrum")
        cut_mean, _ = straggling(np.array([p]), np.array([xi]), medium)
        above.axvline(cut_mean[0] / MeV, ls=":", color="C1", label=r"mean, $\alpha$ = 0.999")
        above.set(xlabel="loss (MeV)", ylabel="per MeV", title=f"{medium.name}, {thickness} cm, {p:g} GeV")
        above.legend(fontsize=7)
        theta = np.sqrt(scattering_variance(np.array([p]), np.array([x]), x))[0]
        edges = np.linspace(-5, 5, 81)
        counts = np.histogram(angles / theta, edges)[0]
        centre = 0.5 * (edges[1:] + edges[:-1])
        below.step(edges[:-1], counts / angles.size / np.diff(edges), where="post", color="k", lw=0.9, label="Geant4")
        below.plot(centre, np.exp(-0.5 * centre**2) / np.sqrt(2 * np.pi), label="Highland")
        below.set(yscale="log", xlabel=r"projected angle / $\theta_0$", ylabel="density", ylim=(1e-5, 1))
        below.legend(fontsize=7)
        expected = np.interp(np.quantile(losses, [0.1, 0.5, 0.9]), grid, np.cumsum(density) * (grid[1] - grid[0]))
        core, rms = np.quantile(np.abs(angles), 0.6827) / theta, angles.std() / theta
        print(
            f"{medium.name}, {thickness} cm, {p:g} GeV: most probable {mode / MeV:.3f} MeV; probability at Geant4's "
            f"10, 50, 90 % loss {expected.round(3)}; angle over theta_0: core {core:.3f}, rms {rms:.3f}"
        )
    save(figure, directory / "material_geant4.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
