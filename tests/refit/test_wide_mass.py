"""What pairs say of global parameters with a mass row of full width, about a point that is held while they move."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.propagation import surfaces_of
from mucal.refit import MassReference, PairSelection, ParameterMap, RefitConfig, fit_pairs
from mucal.refit.pairs import pairs_of
from mucal.refit.tracks import routes_of_hits
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits


@pytest.fixture(scope="module")
def jpsi(tracker, magnet):
    """Simulated pairs, with all that a detector does to them, and their routes."""
    muons = generate_muons(MuonGeneration(process="jpsi", seed=31), 60)
    hits = simulate_hits(muons, tracker, HitSimulation(seed=6, straggling="gaussian"), magnet=magnet).hits
    _, tracks, status = pairs_of(hits)
    hits = hits.select(tracks[status == 0].ravel())
    return hits, routes_of_hits(tracker, magnet, hits)


def everything(detector, magnet):
    """Every mean parameter floats, each with a label of its own; and the first label and the step of each kind."""
    m, e, f = detector.n_modules, detector.n_elements, magnet.modes.index.shape[0]
    none = np.full(e, -1)
    first = {"alignment": 0, "bfield": 6 * m, "eloss": 6 * m + 3 * e, "modes": 6 * m + 4 * e, "end": 6 * m + 4 * e + f}
    return first, ParameterMap(
        n_parameters=first["end"], digest="all", alignment=np.arange(6 * m).reshape(m, 6),
        bfield=6 * m + np.arange(3 * e).reshape(e, 3), eloss=6 * m + 3 * e + np.arange(e),
        modes=6 * m + 4 * e + np.arange(f), hit_variance=np.full((m, 2), -1), scattering=none, straggling=none,
    )  # fmt: skip


@pytest.mark.parametrize("width", [0.0203, 0.056])
def test_gradient_of_chi2_with_a_wide_mass(tracker, magnet, jpsi, dense_pair, width):
    # 0.66 % of the mass, as radiation has it for J/psi, and 1.8 %, as for Z
    hits, routes = jpsi
    first, parameters = everything(tracker, magnet)
    mass = MassReference.constant(3.0924, width)
    config = RefitConfig(tolerance=1e-13, most_iterations=25)
    fits, blocks = fit_pairs(
        tracker, magnet, hits, routes, config, mass=mass, selection=PairSelection(min_hits=8), parameters=parameters
    )
    shapes = {
        "alignment": (tracker.n_modules, 6), "bfield": (tracker.n_elements, 3), "eloss": tracker.n_elements,
        "modes": magnet.modes.index.shape[0],
    }  # fmt: skip
    steps = {"alignment": 1e-4, "bfield": 1e-3, "eloss": 1e-2, "modes": 1e-3}
    kinds = [kind for kind in first if kind != "end"]
    rng = np.random.default_rng(9)
    for i in range(4):
        c = int(blocks.candidate[i])
        rows = fits.tracks[c]
        pair = dense_pair(
            detector=tracker, surfaces=surfaces_of(tracker), magnet=magnet, hits=hits.select(rows), routes=routes[rows],
            m_ref=3.0924, gamma=width,
        )  # fmt: skip
        x, at = pair.walked(fits.constrained.state[c])
        assert_allclose(fits.constrained.chi2[c], pair.chi2(x, at, {}), rtol=1e-6)
        own = slice(blocks.label_offsets[i], blocks.label_offsets[i + 1])
        label, gradient, factor = blocks.label[own], blocks.gradient[own], blocks.dense_factor(i)
        for kind, after in zip(kinds, [*kinds[1:], "end"], strict=True):
            places = np.flatnonzero((label >= first[kind]) & (label < first[after]))
            assert places.size
            for place in rng.choice(places, 3, replace=False):
                chi2 = []
                for size in steps[kind] * np.array([-2.0, -1.0, 1.0, 2.0]):
                    moved = np.zeros(shapes[kind])
                    moved.flat[label[place] - first[kind]] = size
                    chi2.append(pair.chi2(x, at, {kind: moved}))
                slope = (chi2[0] - 8 * chi2[1] + 8 * chi2[2] - chi2[3]) / (12 * steps[kind])
                size = np.sqrt(2 * fits.constrained.chi2[c]) * np.linalg.norm(factor[:, place])
                assert abs(slope - gradient[place]) <= 1e-5 * size + 1e-12 / steps[kind]
