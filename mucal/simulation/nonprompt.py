"""Nonprompt muons in the regions of the extended ABCD method, with a fake factor that is known."""

from dataclasses import dataclass

import numpy as np

from mucal.arrays import FloatArray
from mucal.templates.nonprompt import RegionCounts


@dataclass(frozen=True, slots=True, kw_only=True)
class NonpromptSimulation:
    """dN/dpT ~ exp(-(pT - 26) / tau(eta)); ln f = a + b i + c i^2 in the range i = 0, 1, 2 of mT.

    n                   : nonprompt events failing isolation, of one (charge, eta) slice and range of mT
    tau, tau_slope      : GeV; tau (1 + tau_slope (eta / 2.4)^2)
    fake_factor, growth : f at low mT and b
    curvature           : c; the prediction is then off by exp(-2 c)
    prompt              : prompt over nonprompt events in a region that passes isolation; a tenth of it where it fails
    n_eta               : bins of |eta| < 2.4
    """

    n: float = 20_000.0
    tau: float = 7.0
    tau_slope: float = 0.1
    fake_factor: float = 0.3
    growth: float = 0.2
    curvature: float = 0.0
    prompt: float = 0.5
    n_eta: int = 48


def generate_nonprompt(config: NonpromptSimulation, rng: np.random.Generator | None) -> tuple[RegionCounts, FloatArray]:
    """Counts of the six regions (expectations if rng is None), and the true nonprompt events in D (2, E, 30)."""
    eta_edges, pt_edges = np.linspace(-2.4, 2.4, config.n_eta + 1), np.linspace(26.0, 56.0, 31)
    eta = 0.5 * (eta_edges[1:] + eta_edges[:-1])
    tau = config.tau * (1.0 + config.tau_slope * (eta / 2.4) ** 2)
    below = -np.exp(-(pt_edges - 26.0) / tau[:, None])
    share = np.diff(below, axis=1) / (below[:, -1:] - below[:, :1])
    i = np.arange(3)
    f = config.fake_factor * np.exp(config.growth * i + config.curvature * i**2)
    failing = config.n * np.broadcast_to(share, (2, *share.shape))
    # the order of RegionCounts: Ax, Bx, A, B, C, D
    nonprompt = np.stack([failing, f[0] * failing, failing, f[1] * failing, failing, f[2] * failing])
    fraction = config.prompt * np.array([0.1, 1.0, 0.1, 1.0, 0.1, 1.0])[:, None, None, None]
    bump = np.exp(-0.5 * ((0.5 * (pt_edges[1:] + pt_edges[:-1]) - 38.0) / 6.0) ** 2)
    prompt = fraction * nonprompt.sum(axis=-1, keepdims=True) * bump / bump.sum()
    expected = nonprompt + prompt
    data = expected if rng is None else rng.poisson(expected).astype(float)
    found = RegionCounts(
        eta_edges=eta_edges, pt_edges=pt_edges, data=data, prompt=prompt, prompt_sumw2=np.zeros_like(prompt)
    )
    return found, nonprompt[5]
