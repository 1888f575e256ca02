"""Measured inputs of a fit of m_W whose sizes are an ansatz and whose numbers are the published ones.

    calibration   314    J/psi statistics 144, closure with the Z 48 + 1, resolution 72, pixel hits 49
    efficiency    3658   statistical 2784, systematic 343, veto on a second muon 531
    nonprompt     387    smoothing 384, common 3
    prefiring     14     luminosity 1
    prompt        3      top, dibosons, photon-induced

So a fit has the structure of the measurement before anybody has measured anything.  Impacts say nothing about a
detector.
Source of the numbers: arXiv:2412.13872; of the sizes: docs/studies/toy_mw.md.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration import Calibration, CalibrationConfig, assemble
from mucal.efficiency import STEPS, EfficiencyModel, ScaleFactors, Surface
from mucal.scale import Closure, PixelMultiplicity, ResolutionTable, ScaleTable
from mucal.simulation.nonprompt import NonpromptSimulation, generate_nonprompt
from mucal.templates.binning import Binning
from mucal.templates.event_weights import EventWeights, Luminosity, Prefiring
from mucal.templates.nonprompt import Nonprompt, NonpromptConfig, estimate
from mucal.units import MeV

N_ETA: Final = 48
ERRORS: Final = {"A": 1.5e-4, "e": 9e-4, "M": 5e-6}
"""Statistical errors of a bin of eta by J/psi: relative; GeV; 1/GeV."""
A_E_CORRELATION: Final = 0.9
CLOSURE_ERRORS: Final = (6e-5, 3e-6)
"""Of A and M (1/GeV) of the Z closure in a bin."""
SCALE_FACTOR, RESOLUTION_FACTOR = 2.1, 10.0
"""As published."""
RESOLUTION_ERROR: Final = 5e-3
"""Relative, of a and c in a bin."""
PIXEL_SHARES: Final = (0.030, 0.025)
"""Of muons without a pixel hit in data and in simulation."""

EFFICIENCY_MODES: Final = (1.5e-3, 1.2e-3, 0.9e-3, 0.75e-3)
"""Standard errors of the coefficients of a scale factor in pT; half as large for each degree in u_T."""
EFFICIENCY_SYSTEMATIC: Final = 1e-3
PROMPT: Final[Mapping[str, tuple[float, float]]] = {
    "Top": (0.004, 0.06), "Diboson": (0.001, 0.16), "PhotonInduced": (0.001, 1.0)
}  # fmt: skip
"""Share of the signal, relative error."""
NONPROMPT_SHARE: Final = 0.04
PASSING_SHARE: Final = 0.45
"""Nonprompt muons in the signal region over those failing isolation in one range of mT."""
EFFECTIVE_LUMINOSITY: Final = 4.0
"""Simulated events over those of data, in the publication."""


def published_calibration() -> Calibration:
    """A calibration of 48 bins of eta with 314 nuisances and no shift."""
    fine, coarse = (np.round(np.linspace(-2.4, 2.4, n + 1), 10) for n in (N_ETA, N_ETA // 2))
    worse, worse_coarse = (1.0 + (0.5 * (e[1:] + e[:-1]) / 2.4) ** 2 for e in (fine, coarse))
    sigma = np.concatenate([ERRORS[name] * worse for name in ("A", "e", "M")])
    correlation = np.eye(3 * N_ETA)
    pairs = np.arange(N_ETA)
    correlation[pairs, N_ETA + pairs] = correlation[N_ETA + pairs, pairs] = A_E_CORRELATION
    zero = np.zeros(N_ETA)
    scale = ScaleTable(
        eta_edges=fine, A=zero, e=zero, M=zero, cov=correlation * np.outer(sigma, sigma), pt_range=(4.0, 100.0),
        resonance="jpsi",
    )  # fmt: skip
    n = coarse.size - 1
    closure = Closure(
        eta_edges=coarse, A=np.zeros(n), M=np.zeros(n), mean_k=np.full(n, 1 / 42),
        cov=np.diag(np.concatenate([error * worse_coarse for error in CLOSURE_ERRORS]) ** 2), resonance="z",
        reference_mass=91.188, reference_mass_error=2.1 * MeV,
    )  # fmt: skip
    a, b, c = 6.0e-5 * worse_coarse**2, np.full(n, 1e-6), 2.5e-8 * worse_coarse**2
    error = RESOLUTION_ERROR * np.concatenate([a, b, c])
    data, mc = (
        ResolutionTable(eta_edges=coarse, a=a, b=b, c=c, d=np.full(n, 370.0), cov=np.diag(error**2)) for _ in range(2)
    )
    muons = np.full((2, 2, N_ETA), 1e6)
    pixels = PixelMultiplicity(
        eta_edges=fine, data=muons, data_zero=PIXEL_SHARES[0] * muons, mc=muons, mc_zero=PIXEL_SHARES[1] * muons
    )
    config = CalibrationConfig(
        pt_definition="refit", scale_factor=SCALE_FACTOR, resolution_factor=RESOLUTION_FACTOR,
        description="an ansatz in the published grouping",
    )  # fmt: skip
    return assemble(scale, data, mc, config, closures=[closure], pixels=pixels)


def published_efficiencies() -> EfficiencyModel:
    """Scale factors of 1 with 3658 nuisances."""
    steps = []
    for step in STEPS:
        degrees = (3, 2) if step.in_ut else (step.n_variations - 1, 0)
        names = ("signal", "background") if step.alt_background else ("signal",)
        steps.append(_factors(step.name, 1 + step.by_charge, degrees, names))
    return EfficiencyModel(steps=tuple(steps), veto=_factors("veto", 2, (3, 0), ("reco", "tracking", "idip")))


def _factors(name: str, n_charge: int, degrees: tuple[int, int], alternatives: tuple[str, ...]) -> ScaleFactors:
    one = _surface(n_charge, degrees, 0.0)
    others = tuple(_surface(n_charge, degrees, EFFICIENCY_SYSTEMATIC) for _ in alternatives)
    return ScaleFactors(step=name, nominal=one, eff_data=one, eff_mc=one, alternatives=alternatives, alternative=others)


def _surface(n_charge: int, degrees: tuple[int, int], shift: float) -> Surface:
    """Scale factors of 1 + shift (1 + x), with errors that grow as 1 + eta^2 / 4."""
    edges = np.linspace(-2.4, 2.4, N_ETA + 1)
    eta = 0.5 * (edges[1:] + edges[:-1])
    degree_pt, degree_ut = degrees
    sigma = np.outer(EFFICIENCY_MODES[: degree_pt + 1], 0.5 ** np.arange(degree_ut + 1)).ravel()
    c = np.zeros((N_ETA, n_charge, sigma.size))
    c[..., 0] = 1.0 + shift
    c[..., degree_ut + 1] = shift
    cov = np.zeros((N_ETA, n_charge, sigma.size, sigma.size))
    cov[...] = np.diag(sigma**2)
    cov *= ((1.0 + eta**2 / 4.0) ** 2)[:, None, None, None]
    return Surface(
        eta_edges=edges, by_charge=n_charge == 2, pt_range=(26.0, 56.0),
        ut_range=(-30.0, 100.0) if degree_ut else (-np.inf, np.inf), degree_pt=degree_pt, degree_ut=degree_ut,
        coefficients=c, cov=cov, chi2=np.zeros((N_ETA, n_charge)), ndf=np.zeros((N_ETA, n_charge)),
    )  # fmt: skip


def published_nonprompt(signal: float) -> Nonprompt:
    """Nonprompt muons, 4 % of the signal's events, estimated from the regions that one expects; 387 nuisances."""
    n = NONPROMPT_SHARE * signal / (2 * N_ETA) / PASSING_SHARE
    regions, _ = generate_nonprompt(NonpromptSimulation(n=n, n_eta=N_ETA), None)
    return estimate(regions, NonpromptConfig())


def published_weights() -> EventWeights:
    """Prefiring with its 14 nuisances, and the luminosity."""
    edges = np.linspace(0.0, 2.4, 12)
    prefiring = Prefiring(
        abs_eta_edges=edges, probability=np.linspace(0.002, 0.02, 11), stat=np.full(11, 5e-4), hot_probability=0.01,
        hot_stat=1e-3, ecal="ecal", ecal_up="ecal_up",
    )  # fmt: skip
    return EventWeights(entries={"prefiring": prefiring, "luminosity": Luminosity()})


def columns_of_bins(binning: Binning) -> dict[str, FloatArray]:
    """What the weights read, in the middle of bins: phi in the hot spot, which is a fifteenth of the circle there."""
    eta = binning.centres("eta")
    forward = np.clip((np.abs(eta) - 1.5) / 0.9, 0.0, 1.0)
    return {"eta": eta, "phi": np.full(eta.size, 2.6), "ecal": 1.0 - 0.01 * forward, "ecal_up": 1.0 - 0.012 * forward}


def prompt_spectra(signal: FloatArray, binning: Binning) -> dict[str, FloatArray]:
    """Expected events of the prompt backgrounds by bin: harder than the signal, more central.

    signal : (B,)  expected events of the signal
    """
    pt, eta = binning.centres("pt"), binning.centres("eta")
    shape = np.exp(-(pt - 26.0) / 40.0) * (1.0 - 0.08 * eta**2)
    return {name: share * signal.sum() * shape / shape.sum() for name, (share, _) in PROMPT.items()}
