"""The error of the assumed mean mass: one more parameter with a prior, one more column of the covariance."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import barrel
from mucal.detector.field import harmonic_modes
from mucal.globalcor import Family, Refit, SolveConfig, accumulate, build_registry, divide, solve
from mucal.refit import MassReference, PairSelection
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits

FAMILIES = [
    Family(kind="alignment", by="layer", components=("u",), prior=(1e-3,), min_entries=1),
    Family(kind="modes", by="mode", min_entries=1),
]
MASS = Family(kind="mass", by="whole", min_entries=1)
M_REF, GAMMA = 3.0924, 0.02
OPEN = PairSelection(window=(2.0, 4.0), pt_min=0.0, chi2_per_ndof=1e3)
"""A window that does not move pairs in and out."""


@pytest.fixture(scope="module")
def solved():
    """Registries without and with the mean mass, and a function that refits, sums and solves some pairs."""
    detector = barrel()
    modes = harmonic_modes(2, 1)
    plain, floating = (build_registry(detector, [*FAMILIES, *more], modes) for more in ([], [MASS]))
    muons = generate_muons(MuonGeneration(process="jpsi", seed=3, eta_max=0.75), 1500)
    hits = simulate_hits(muons, detector, HitSimulation(seed=2, straggling="gaussian")).hits

    def work(registry, m_ref=M_REF, **kwargs):
        refit = Refit(
            detector=detector, registry=registry, mass=MassReference.constant(m_ref, GAMMA), selection=OPEN, **kwargs
        )
        sums = accumulate(lambda chunk: refit.pairs(hits)[1], divide(1, 1), registry)
        return sums, solve(sums, registry, SolveConfig(), applied=refit.theta if refit.theta.size else None)

    return plain, floating, work


def test_its_error_adds_one_column_to_the_covariance(solved):
    plain, floating, work = solved
    p = len(plain)
    assert floating.names == (*plain.names, "mass/reference")
    _, without = work(plain)
    shift = 1e-4
    column = (work(plain, M_REF + shift)[1].theta - work(plain, M_REF - shift)[1].theta) / (2 * shift)
    sums, _ = work(floating)
    error = 1e-4
    found = solve(sums, floating.with_mass_error(error), SolveConfig())
    added = found.covariance[:p, :p] - without.covariance
    expected = error**2 * np.outer(column, column)
    # a few per cent of what else is unknown; factors are float32, and derivatives taken at other momenta
    scale = np.sqrt(np.diag(without.covariance))
    largest = np.abs(expected / np.outer(scale, scale)).max()
    assert largest > 1e-4
    assert_allclose(added / np.outer(scale, scale), expected / np.outer(scale, scale), atol=0.02 * largest)
    assert_allclose(found.error[-1], error, rtol=1e-3)
    ours, theirs = found.covariance[:p, -1] / scale, error**2 * column / scale
    assert_allclose(ours, theirs, atol=0.02 * np.abs(theirs).max())
    assert "mean mass is known to 0.1 MeV" in "\n".join(found.summary())


def test_a_known_mass_moves_the_solution_as_another_reference_does(solved):
    # a mean mass applied as a correction is the same as a reference moved by it
    plain, floating, work = solved
    theta = np.zeros(len(floating))
    theta[-1] = 1e-3
    applied, _ = work(floating, theta=theta)
    moved, _ = work(plain, M_REF + 1e-3)
    assert_array_equal(applied.total().gradient[:-1], moved.total().gradient)


def test_gradient_by_the_mean_mass_moves_with_the_reference(solved):
    # (m_ref - m)^2 / s for each pair, about the fit without the mass
    _, floating, work = solved
    step = 1e-4
    up, down = (work(floating, M_REF + sign * step)[0] for sign in (1, -1))
    curved = (up.total().gradient[-1] - down.total().gradient[-1]) / (2 * step)
    assert_allclose(curved, 0.5 * (up.diagonal()[-1] + down.diagonal()[-1]), rtol=1e-3)


def test_a_mean_mass_above_all_other_parameters_is_asked_for(solved):
    _, floating, _ = solved
    with pytest.raises(ValueError, match="above that of the mean mass"):
        replace(floating.map, mass=np.zeros(1, dtype=np.int64))
    with pytest.raises(ValueError, match="goes by 'whole'"):
        Family(kind="mass", by="module")
