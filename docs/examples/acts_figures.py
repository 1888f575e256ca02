"""Draws where muons and their covariances arrive, by ACTS and here.

    python docs/examples/acts_figures.py docs/figures [muons]

Needs pyacts.  A uniform field of 3.8 T, from the origin to the plane x = 1 m, as in
`tests/oracles/test_propagation_acts.py`, whose functions it takes.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.ticker import NullFormatter
from oracle import oracle

from mucal.plot.style import label, panels, save, style

TESLA = 3.8
TICKS = (3, 5, 10, 20, 40, 60)
FLOOR = 1e-12
"""What is less is drawn here."""
NAMES = ("u", "v", r"$\varphi$", r"$\theta$", "q/p")


def muons(n: int) -> np.ndarray:
    """(N, 3) phi, theta, q/p of muons of 3 to 60 GeV, which reach the plane."""
    rng = np.random.default_rng(3)
    charge, p = rng.choice([-1, 1], n), np.exp(rng.uniform(np.log(3.0), np.log(60.0), n))
    return np.column_stack([rng.uniform(-0.3, 0.3, n), rng.uniform(0.9, 2.2, n), charge / p])


def compared(starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the muons that ACTS brings onto the plane: momentum (M,), here - ACTS in um (M, 2), ratios of errors (M, 5).

    ACTS gives up some: after its last step they are further from the plane than it tolerates.
    """
    found = oracle("test_propagation_acts")
    momenta, points, errors = [], [], []
    for phi, theta, qop in starts:
        try:
            theirs, their_covariance = found.by_acts(phi, theta, qop, TESLA)
        except RuntimeError:
            continue
        ours, our_covariance = found.by_mucal(phi, theta, qop, TESLA)
        momenta.append(1.0 / abs(qop))
        points.append(1e4 * (ours - theirs)[:2])
        errors.append(np.sqrt(np.diag(our_covariance) / np.diag(their_covariance)) - 1.0)
    return np.array(momenta), np.array(points), np.array(errors)


def main(directory: Path, n: int) -> None:
    p, points, errors = compared(muons(n))
    with style():
        figure, (left, right) = panels(1, 2, width=8.8, height=3.6)
        for values, name, marker in zip(np.abs(points).T, NAMES, "ox", strict=False):
            left.plot(p, np.maximum(values, FLOOR), marker, ms=3, label=name)
        left.axhline(0.1, color="black", ls=":", label="tolerance of ACTS")
        left.set_ylabel(r"|here $-$ ACTS| after 1 m  [$\mu$m]")
        label(left, "where muons arrive")
        for values, name in zip(np.abs(errors).T, NAMES, strict=True):
            right.plot(p, np.maximum(values, FLOOR), ".", ms=4, label=name)
        right.set_ylabel("|error here / error of ACTS $-$ 1|")
        label(right, "errors, from a unit covariance")
        for axis in (left, right):
            axis.set(xscale="log", yscale="log", xlabel="p  [GeV]", xticks=TICKS, xticklabels=[f"{t}" for t in TICKS])
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.legend(ncols=2)
        left.set_ylim(0.1 * FLOOR, 10.0)
        right.set_ylim(0.1 * FLOOR, 1e-4)
    directory.mkdir(parents=True, exist_ok=True)
    save(figure, directory / "propagation_acts.png")
    print(
        f"{p.size} of {n} muons of 3 to 60 GeV: places differ by {np.abs(points).max():.2g} um at most (rms "
        f"{points.std():.2g}), errors by {np.abs(errors).max():.2g}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 400)
