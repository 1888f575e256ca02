import numpy as np

from mucal.massfit import BatchConfig, Binning, fill
from mucal.scale import ScaleTable, correct_pt
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.workflow.shifts import BY_MUON, mass_shifts, project, table_response

EDGES = np.array([-2.4, -0.8, 0.8, 2.4])
BINNING = Binning(eta_edges=EDGES, pt_edges=np.array([4.0, 8.0, 60.0]), mass_edges=np.linspace(2.9, 3.3, 41))
PAIRS = generate_dimuons(DimuonSimulation(seed=2), 300_000).dimuons
HISTOGRAMS = fill(PAIRS, BINNING)


def table(A: float = 0.0, e: float = 0.0, M: float = 0.0) -> ScaleTable:
    full = np.full(3, 1.0)
    return ScaleTable(eta_edges=EDGES, A=A * full, e=e * full, M=M * full, cov=np.diag(np.full(9, 1e-8)))


def test_projecting_keeps_every_event_in_its_category():
    _, category = BY_MUON["eta_plus"]
    found = project(HISTOGRAMS, category)
    inside = np.all((PAIRS.pt >= 4) & (PAIRS.pt < 60), axis=1) & (PAIRS.mass >= 2.9) & (PAIRS.mass < 3.3)
    expected, _ = np.histogram(PAIRS.eta[inside, 0], EDGES)
    np.testing.assert_array_equal(found.n_events, expected)
    np.testing.assert_allclose(found.sums.sum(axis=0), HISTOGRAMS.sums.sum(axis=0), rtol=1e-12)


def test_the_response_predicts_how_the_mean_log_mass_moves():
    # corrected masses of the same events against X p; the product form leaves the square of the correction, 1e-6
    for name, size in (("A", 1e-3), ("e", 4e-3), ("M", 3e-5)):
        change = table(**{name: size})
        _, category = BY_MUON["eta_minus"]
        response = table_response(HISTOGRAMS, category, change)
        inside = np.all((PAIRS.pt >= 4) & (PAIRS.pt < 60), axis=1) & (PAIRS.mass >= 2.9) & (PAIRS.mass < 3.3)
        pairs = PAIRS.select(inside)
        moved = pairs.with_pt(correct_pt(change, pairs.pt, pairs.eta, pairs.charge)).mass
        place = np.searchsorted(EDGES, pairs.eta[:, 1], side="right") - 1
        found = np.array([np.mean(np.log(pairs.mass / moved)[place == i]) for i in range(3)])
        np.testing.assert_allclose(response @ change.parameters, found, atol=3e-6)


def test_a_uniform_scale_shifts_every_category_by_it():
    moved = PAIRS.with_pt(PAIRS.pt * 1.001)
    wide = Binning(eta_edges=EDGES, pt_edges=np.array([3.0, 80.0]), mass_edges=BINNING.mass_edges)
    shifts = mass_shifts(
        fill(moved, wide), fill(PAIRS, wide), table(), BatchConfig(), fill(PAIRS, wide), add_background=False
    )
    for points in shifts.series:
        # pT times 1.001 at fixed directions: ln m moves by 2 w ln 1.001 = 0.995e-3; the same events on both sides
        np.testing.assert_allclose(points.before, 0.995e-3, atol=2e-5)
        np.testing.assert_allclose(points.after, 0.0, atol=1e-12)
        assert points.p_before < 1e-6 < points.p_after
