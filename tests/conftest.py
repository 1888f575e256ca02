"""What several test files need: the folder of recorded data, if there is one, and a small calibration."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from mucal.calibration import Calibration, CalibrationConfig, assemble
from mucal.scale import Closure, PixelMultiplicity, ResolutionTable, ScaleTable

settings.register_profile("mucal", deadline=None)  # a busy machine is no counterexample
settings.load_profile("mucal")


@pytest.fixture(scope="session")
def recorded() -> Path:
    """Folder of the recorded samples, named by MUCAL_DATA; tests that need it skip without it."""
    folder = Path(os.environ.get("MUCAL_DATA", ""))
    if not os.environ.get("MUCAL_DATA") or not folder.is_dir():
        pytest.skip("MUCAL_DATA does not name the folder of recorded dimuon samples")
    return folder


def random_covariance(errors: np.ndarray, seed: int) -> np.ndarray:
    """A full-rank covariance with the given standard errors and correlations of some tens of percent."""
    n = errors.size
    mix = np.eye(n) + np.random.default_rng(seed).normal(0, 0.5 / np.sqrt(n), (n, n))
    cov = mix @ mix.T
    scale = errors / np.sqrt(np.diag(cov))
    cov *= np.outer(scale, scale)
    return 0.5 * (cov + cov.T)


@pytest.fixture(scope="session")
def scale_table() -> ScaleTable:
    rng = np.random.default_rng(1)
    return ScaleTable(
        eta_edges=np.linspace(-2.4, 2.4, 7),
        A=rng.normal(0, 4e-4, 6),
        e=rng.normal(1e-3, 1e-3, 6),
        M=rng.normal(0, 1.5e-5, 6),
        cov=random_covariance(np.repeat([1e-4, 6e-4, 5e-6], 6), 2),
        pt_range=(4.0, 70.0),
        resonance="jpsi",
    )


@pytest.fixture(scope="session")
def resolution_data() -> ResolutionTable:
    return resolution(3, 1.2)


@pytest.fixture(scope="session")
def resolution_mc() -> ResolutionTable:
    return resolution(4, 1.0)


def resolution(seed: int, worse: float) -> ResolutionTable:
    rng = np.random.default_rng(seed)
    return ResolutionTable(
        eta_edges=np.linspace(-2.4, 2.4, 5),
        a=worse * rng.uniform(8e-5, 1.2e-4, 4),
        b=worse * rng.uniform(1e-5, 2e-5, 4),
        c=worse * rng.uniform(1e-8, 3e-8, 4),
        d=np.full(4, 370.0),
        cov=random_covariance(np.repeat([1e-6, 1e-6, 1e-9], 4), seed),
    )


@pytest.fixture(scope="session")
def calibration(
    scale_table: ScaleTable, resolution_data: ResolutionTable, resolution_mc: ResolutionTable
) -> Calibration:
    config = CalibrationConfig(pt_definition="refit", scale_factor=2.1, resolution_factor=10.0, era="test")
    return assemble(scale_table, resolution_data, resolution_mc, config)


@pytest.fixture(scope="session")
def cms_like() -> Calibration:
    """48 and 24 bins of eta, all groups of nuisances: the 314 of the CMS model."""
    edges, coarse = np.round(np.linspace(-2.4, 2.4, 49), 10), np.round(np.linspace(-2.4, 2.4, 25), 10)
    rng = np.random.default_rng(48)
    scale = ScaleTable(
        eta_edges=edges, A=rng.normal(0, 4e-4, 48), e=rng.normal(1e-3, 5e-4, 48), M=rng.normal(0, 1e-5, 48),
        cov=random_covariance(np.repeat([3.6e-5, 2.1e-4, 1.8e-6], 48), 5), pt_range=(4.0, 100.0), resonance="jpsi",
    )  # fmt: skip
    closure = Closure(
        eta_edges=coarse, A=rng.normal(0, 3e-5, 24), M=rng.normal(0, 1e-6, 24), mean_k=np.full(24, 1 / 42),
        cov=random_covariance(np.repeat([3e-5, 7e-7], 24), 6), resonance="z", reference_mass=91.188,
        reference_mass_error=0.0021,
    )  # fmt: skip
    resolutions = [
        ResolutionTable(
            eta_edges=coarse, a=np.linspace(6e-5, 2e-4, 24) * worse, b=np.full(24, 1e-5) * worse,
            c=np.full(24, 2.5e-8) * worse, d=np.full(24, 370.0),
            cov=random_covariance(np.repeat([3e-7, 3e-7, 3e-10], 24), seed),
        )
        for seed, worse in ((7, 1.1), (8, 1.0))
    ]  # fmt: skip
    muons = np.full((2, 2, 48), 1e5)
    pixels = PixelMultiplicity(
        eta_edges=edges, data=muons, data_zero=rng.uniform(0.02, 0.04, (2, 2, 48)) * muons, mc=muons,
        mc_zero=np.full((2, 2, 48), 0.025) * muons,
    )  # fmt: skip
    config = CalibrationConfig(pt_definition="refit", scale_factor=2.1, resolution_factor=10.0, era="test")
    return assemble(scale, *resolutions, config, closures=[closure], pixels=pixels)
