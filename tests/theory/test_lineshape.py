"""Line shapes and their smearing against quadrature, helicity amplitudes and scipy's densities."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import ndtr
from scipy.stats import crystalball

from mucal.theory import DrellYan, fsr, lineshape, resonance
from mucal.theory.lineshape import crystal_ball_kernel, double_gaussian_kernel, gaussian_kernel, smear

Z = resonance("z")
JPSI = resonance("jpsi").mass


def test_fixed_width_pole_of_the_z_lies_34_1_mev_lower():
    mass, width = lineshape.fixed_width_pole(Z.mass, Z.width)
    assert_allclose(mass - Z.mass, -0.0341, atol=5e-5)
    assert_allclose(width, 2.4946, atol=5e-5)


def test_running_and_fixed_width_shapes_are_proportional_at_translated_parameters():
    m = np.linspace(40, 140, 101)
    running = lineshape.breit_wigner_running(m, Z.mass, Z.width)
    ratio = running / lineshape.breit_wigner_fixed(m, *lineshape.fixed_width_pole(Z.mass, Z.width))
    assert_allclose(ratio, ratio[0], rtol=1e-12)


def test_drell_yan_equals_the_sum_of_helicity_amplitudes():
    m, s2 = np.linspace(30, 200, 35), lineshape.SIN2_THETA
    model = DrellYan(up_fraction=0.4, luminosity_power=3.0)
    propagator = m**2 / (m**2 - Z.mass**2 + 1j * m**2 * Z.width / Z.mass)
    total = np.zeros(m.size)
    for share, charge, isospin in ((0.4, 2 / 3, 0.5), (0.6, -1 / 3, -0.5)):
        for quark in (isospin - charge * s2, -charge * s2):
            for lepton in (-0.5 + s2, s2):
                amplitude = -charge + quark * lepton / (s2 * (1 - s2)) * propagator
                total += 0.25 * share * np.abs(amplitude) ** 2
    expected = total / m**2 * 2 * m * m**-3.0
    assert_allclose(lineshape.drell_yan(m, model), expected, rtol=1e-12)


@pytest.mark.oracle
def test_drell_yan_describes_pythia_and_returns_its_z_mass():
    pythia8mc = pytest.importorskip("pythia8mc")
    pythia = pythia8mc.Pythia("", False)
    for line in (
        "Print:quiet = on", "Beams:eCM = 7000", "WeakSingleBoson:ffbar2gmZ = on", "23:onMode = off", "23:onIfAny = 13",
        "PhaseSpace:mHatMin = 55", "PhaseSpace:mHatMax = 130", "PartonLevel:all = off", "HadronLevel:all = off",
        "Random:setSeed = on", "Random:seed = 7", f"23:m0 = {Z.mass}", f"23:mWidth = {Z.width}",
    ):  # fmt: skip
        pythia.readString(line)
    pythia.init()
    masses = np.array([pythia.infoPython().mHat() for _ in range(300_000) if pythia.next()])
    edges = np.linspace(60, 120, 61)
    counts = np.histogram(masses, edges)[0]

    def deviation(shift):
        grid = np.linspace(60, 120, 6001)
        density = lineshape.drell_yan(0.5 * (grid[1:] + grid[:-1]), DrellYan(peak=Z.mass + shift))
        expected = density.reshape(60, 100).sum(axis=1)
        expected *= counts.sum() / expected.sum()
        return np.sum((counts - expected) ** 2 / expected)

    assert deviation(0.0) < 59 + 4 * np.sqrt(2 * 59)
    shifts = np.array([-0.02, 0.0, 0.02])
    parabola = np.polyfit(shifts, [deviation(x) for x in shifts], 2)
    best, error = -parabola[1] / (2 * parabola[0]), 1 / np.sqrt(parabola[0])
    # 7.6 million events gave -1.5 +- 0.6 MeV: a parton luminosity is not quite a power
    assert abs(best) < 4 * error + 0.0015


def test_voigt_equals_the_convolution():
    sigma, width, peak = 1.1, 2.5, 91.2
    for m in (88.0, 91.2, 97.0):
        expected = quad(
            lambda x, m=m: (
                width / (2 * np.pi) / ((x - peak) ** 2 + width**2 / 4)
                * np.exp(-0.5 * ((m - x) / sigma) ** 2) / np.sqrt(2 * np.pi) / sigma
            ), m - 12, m + 12, epsabs=1e-13, limit=200,
        )[0]  # fmt: skip
        assert_allclose(lineshape.voigt(np.array([m]), peak, width, sigma), expected, rtol=1e-9)


def tailed_kernel(u):
    return crystal_ball_kernel(np.asarray(u), 1.2, 3.0, 1.7, 8.0)


@pytest.mark.parametrize("kernel", [gaussian_kernel, tailed_kernel])
@pytest.mark.parametrize("sigma", [0.006, 0.012, 0.02])
def test_smeared_radiation_equals_quadrature(kernel, sigma):
    scale, edges = 1.002, np.array([2.95, 3.0, 3.08, 3.1, 3.25])
    beta, t_max = fsr.beta(JPSI), 1 - (2.0 / JPSI) ** 2

    def in_bin(t, low, high):
        m = scale * JPSI * np.sqrt(1 - t)
        return beta * (1 + (1 - t) ** 2) / 2 * float(kernel((high - m) / (sigma * m)) - kernel((low - m) / (sigma * m)))

    norm = quad(lambda t: beta * (1 + (1 - t) ** 2) / 2, 0, 1 - (0.2113167510 / JPSI) ** 2, weight="alg",
                wvar=(beta - 1, 0))[0]  # fmt: skip
    expected = [
        quad(in_bin, 0, 0.02, args=(a, b), weight="alg", wvar=(beta - 1, 0), epsabs=1e-13, limit=400)[0]
        + quad(lambda t, a=a, b=b: t ** (beta - 1) * in_bin(t, a, b), 0.02, t_max, epsabs=1e-13, limit=400)[0]
        for a, b in pairwise(edges)
    ]
    found = smear(fsr.line("jpsi", 2.0, 3.4, 0.01 * JPSI), edges, scale, sigma, kernel)
    # four Gauss points on 1.7 sigma; the tails' second derivative jumps, which costs the most
    assert_allclose(found, np.array(expected) / norm, atol=2e-7)


def test_smeared_z_equals_quadrature():
    sigma, edges = 0.012, np.array([80.0, 90.0, 91.0, 93.0])
    line = fsr.line("z", 50.0, 150.0, 1.0)

    def in_bin(m, low, high):
        return float(fsr.radiated_density(np.array([m]), DrellYan())[0]) * float(
            ndtr((high - m) / (sigma * m)) - ndtr((low - m) / (sigma * m))
        )

    found = smear(line, edges, 1.0, sigma, gaussian_kernel)
    expected = np.array(
        [
            quad(in_bin, 65, 112, args=(a, b), epsabs=0, epsrel=1e-9, limit=200, points=(88.0, 91.0, 94.0))[0]
            for a, b in pairwise(edges)
        ]
    )
    assert_allclose(found / found.sum(), expected / expected.sum(), rtol=1e-7)


def test_smearing_without_width_is_the_line():
    edges = np.array([2.9, 3.0, 3.05, 3.2])
    found = smear(fsr.line("jpsi", 2.5, 3.4, 1e-3), edges, 1.0, 1e-5, gaussian_kernel)
    # the edge at 3.05 blurs by 31 keV where the density is 0.7 per GeV; nodes stand 1 MeV apart
    assert_allclose(found, fsr.spectrum("jpsi", edges), atol=1e-3)


def test_left_tail_equals_scipy_crystalball():
    u = np.linspace(-20, 4, 49)
    # a right tail beyond 30 sigma holds nothing
    assert_allclose(crystal_ball_kernel(u, 1.3, 2.5, 30.0, 5.0), crystalball.cdf(u, 1.3, 2.5), rtol=1e-12)


def test_crystal_ball_mirrors_with_its_tails_exchanged():
    u = np.linspace(-15, 15, 61)
    assert_allclose(
        crystal_ball_kernel(u, 1.1, 3.0, 2.0, 7.0), 1 - crystal_ball_kernel(-u, 2.0, 7.0, 1.1, 3.0), atol=1e-15
    )


def test_crystal_ball_with_far_tails_is_normal():
    u = np.linspace(-5, 5, 21)
    assert_allclose(crystal_ball_kernel(u, 8.0, 3.0, 8.0, 3.0), ndtr(u), atol=1e-13)


def test_crystal_ball_stays_finite_at_any_exponent():
    u = np.array([-1e6, -50.0, 0.0, 50.0, 1e6])
    found = crystal_ball_kernel(u, 0.5, 1e6, 5.0, 1.01)
    assert np.all(np.isfinite(found))
    assert np.all(np.diff(found) >= 0)


def test_double_gaussian_of_equal_widths_is_normal():
    u = np.linspace(-5, 5, 21)
    assert_allclose(double_gaussian_kernel(u, 1.0, 0.3), ndtr(u), atol=1e-15)


def test_a_line_whose_arrays_differ_in_length_is_refused():
    with pytest.raises(ValueError, match=r"Line\.weight has shape \(1,\), expected \(2,\)"):
        lineshape.Line(mass=np.array([1.0, 2.0]), weight=np.array([1.0]))
