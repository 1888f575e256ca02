"""Mass fits made by hand: bins with the averages of generated pairs, and a scale shift that is known exactly."""

from collections.abc import Callable

import numpy as np
import pytest

from mucal.massfit.bins import Binning, MassHistograms, fill
from mucal.massfit.fits import MassFits
from mucal.massfit.status import Status
from mucal.simulation import DimuonSimulation, generate_dimuons

JPSI = 3.0969


def fits_of(histograms: MassHistograms, ln_s: np.ndarray, error: np.ndarray, ln_sigma: np.ndarray | None = None):
    b = histograms.n_bins
    ln_sigma = np.full(b, np.log(0.012)) if ln_sigma is None else ln_sigma
    cov = np.zeros((b, 2, 2))
    cov[:, 0, 0] = error**2
    cov[:, 1, 1] = 0.7 / histograms.n_events
    return MassFits(
        resonance="jpsi", reference_mass=JPSI, reference_mass_error=6e-6, model="by hand",
        parameters=("ln_s", "ln_sigma"), histograms=histograms, values=np.stack([ln_s, ln_sigma], axis=1), cov=cov,
        deviance=np.zeros(b), ndf=np.full(b, 75), p_value=np.ones(b), edm=np.zeros(b),
        n_steps=np.zeros(b, dtype=np.int64), status=np.full(b, Status.OK, dtype=np.int64),
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_fits() -> Callable[..., MassFits]:
    return fits_of


def _histograms(abs_eta: bool) -> MassHistograms:
    edges = np.linspace(0.0, 2.4, 7) if abs_eta else np.linspace(-2.4, 2.4, 13)
    binning = Binning(
        eta_edges=edges, pt_edges=np.array([4.0, 5.2, 6.3, 8.7, 25.0]), mass_edges=np.linspace(2.9, 3.3, 11),
        abs_eta=abs_eta,
    )  # fmt: skip
    return fill(generate_dimuons(DimuonSimulation(seed=5), 400_000).dimuons, binning)


@pytest.fixture(scope="session")
def jpsi_histograms() -> MassHistograms:
    """12 eta bins and 4 pT bins of 80 000 J/psi pairs."""
    return _histograms(abs_eta=False)


@pytest.fixture(scope="session")
def jpsi_histograms_abs_eta() -> MassHistograms:
    """6 bins of |eta| and 4 pT bins of the same pairs."""
    return _histograms(abs_eta=True)
