"""Closures, weights by pixel hits and resolutions become the named uncertainties that they stand for."""

from dataclasses import replace

import numpy as np
import pytest

from mucal.calibration import CalibrationConfig, assemble
from mucal.massfit import BatchConfig, Binning, fill, fit_bins
from mucal.plot.closing import ClosingMass
from mucal.scale import (
    Closure,
    ResolutionConfig,
    ResolutionTable,
    ScaleConfig,
    ScaleTable,
    derive_resolution,
    relative_variance,
)
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.track import Dimuons
from mucal.workflow.bins import Bins
from mucal.workflow.closing import ClosedResonance
from mucal.workflow.closing_pairs import ClosingPairs, MassSlope
from mucal.workflow.passes import smeared
from mucal.workflow.progress import silent
from mucal.workflow.refitted_pairs import RefittedPairs
from mucal.workflow.resolutions import coarser, resolution_of
from mucal.workflow.tracks_config import ClosingSample, Tracked
from mucal.workflow.uncertainties import closures_of, model_of, pixels_of

EDGES = (-2.4, 0.0, 2.4)


def pairs_with_pixels(n: int, lost: float, seed: int) -> RefittedPairs:
    rng = np.random.default_rng(seed)
    ids = np.arange(n)
    return RefittedPairs(
        run=ids, lumi=ids, event=ids, pt=rng.uniform(20.0, 50.0, (n, 2)), eta=rng.uniform(-2.4, 2.4, (n, 2)),
        phi=rng.uniform(-3.0, 3.0, (n, 2)), charge=np.tile([1, -1], (n, 1)), mass_gen=np.full(n, 91.0),
        sigma=np.full(n, 0.01), k_gen=np.ones((n, 2)), selected=ids,
        n_pixel=np.where(rng.uniform(size=(n, 2)) < lost, 0, 4),
    )  # fmt: skip


def closing_z(n: int) -> ClosingPairs:
    data, simulation = pairs_with_pixels(n, 0.06, 1), pairs_with_pixels(n, 0.03, 2)
    slope = MassSlope(slope=np.zeros(1), error=0.0)
    return ClosingPairs(resonance="z", before=data, after=data, simulation=simulation, mass=slope)


def test_muons_without_pixel_hits_are_weighed_by_their_ratio():
    found = pixels_of(Tracked(pixel_loss=(0.06, 0.03)), [closing_z(40_000)], Bins(eta_edges=EDGES), [])
    # each of the 8 cells counts 10 000 muons: 6 % +- 0.24 % over 3 % +- 0.17 %, a ratio known to 7 %
    assert np.all(np.abs(found.ln_weights[0] - np.log(2.0)) < 4 * 0.07)
    assert found.data.sum() == 80_000


def test_too_few_muons_for_a_weight_are_a_note_and_none_lost_is_none():
    notes = []
    assert pixels_of(Tracked(pixel_loss=(0.06, 0.03)), [closing_z(20)], Bins(eta_edges=EDGES), notes) is None
    assert "use wider bins" in notes[0]
    assert pixels_of(Tracked(), [closing_z(20)], Bins(eta_edges=EDGES), notes) is None
    assert len(notes) == 1


def closed(pairs: Dimuons, *, abs_eta: bool) -> ClosedResonance:
    """A closing resonance in two bins of eta; its mass as a whole is not looked at."""
    bins = Bins(eta_edges=(0.0, 1.2, 2.4) if abs_eta else EDGES, pt_edges=(4.0, 7.0, 25.0), abs_eta=abs_eta)
    sample = ClosingSample(resonance="jpsi", bins=bins, scale=ScaleConfig(free=("A", "M"), max_lost=0.5))
    fits = fit_bins(fill(pairs, bins.binning()), BatchConfig(resonance="jpsi", min_events=100))
    mass = ClosingMass(
        resonance="jpsi", pairs=len(pairs), mass=3.0969, shift=np.zeros(3), error=np.zeros(3),
        calibration_error=np.zeros(3), tables=(),
    )  # fmt: skip
    return ClosedResonance(sample=sample, mass=mass, data=fits, simulation=fits)


def test_a_closure_in_bins_of_abs_eta_has_no_covariance_to_compare_and_is_a_note(jpsi: Dimuons):
    # what a table in the same bins is worth is asked of its inverse
    notes: list[str] = []
    assert len(closures_of([closed(jpsi, abs_eta=False)], Bins(eta_edges=EDGES), notes)) == 1
    assert not notes
    both = closed(jpsi, abs_eta=True)
    assert closures_of([both], both.sample.bins, notes) == ()
    assert "no closure of jpsi: in bins of |eta|" in notes[0]


def test_a_closure_of_z_that_does_not_reach_the_ends_of_the_table_is_a_note(jpsi: Dimuons):
    one = closed(jpsi, abs_eta=False)
    wide = Bins(eta_edges=(-3.0, *EDGES, 3.0))
    notes: list[str] = []
    assert len(closures_of([one], wide, notes)) == 1  # it serves the factor alone
    of_z = replace(one, sample=replace(one.sample, resonance="z"))
    assert closures_of([of_z], wide, notes) == ()
    assert notes == [
        "no closure of z: its eta_edges do not reach from -3 to 3 as those of [bins], and a nuisance of the closure "
        "covers the whole table"
    ]


def test_groups_are_counted_and_their_impact_is_that_of_their_modes():
    b = 2
    table = ScaleTable(
        eta_edges=np.array(EDGES), A=np.zeros(b), e=np.zeros(b), M=np.zeros(b), resonance="jpsi",
        cov=np.diag(np.repeat([1e-8, 1e-6, 1e-10], b)), pt_range=(4.0, 25.0),
    )  # fmt: skip
    calibration = assemble(table, None, None, CalibrationConfig(pt_definition="refit", scale_factor=2.0))
    slope = np.array([3e4, 5e4, 0.0, 0.0, 0.0, 0.0])  # MeV for A
    found = model_of(calibration, (), slope)
    assert dict(zip(found.groups, found.counts.tolist(), strict=True)) == {"jpsi_stat": 3 * b, "reference_mass": 1}
    # the modes together have the covariance: 2 x 1e-4 x |slope|
    assert found.w_impact[0] == pytest.approx(2.0 * 1e-4 * np.hypot(3e4, 5e4), rel=1e-9)
    assert found.w_impact[1] == pytest.approx(8e4 * 6e-6 / 3.0969, rel=0.01)
    assert np.all(np.isnan(model_of(calibration, (), None).w_impact))
    assert found.inflation is None
    assert found.uncovered == ""


def test_a_factor_below_what_the_closures_ask_for_is_a_note():
    b = 2
    zero = np.zeros(b)
    table = ScaleTable(
        eta_edges=np.array(EDGES), A=zero, e=zero, M=zero, resonance="jpsi", pt_range=(4.0, 25.0),
        cov=np.diag(np.repeat([1e-8, 1e-10, 1e-10], b)),
    )  # fmt: skip
    z = Closure(
        eta_edges=np.array(EDGES), A=np.array([4e-4, -5e-4]), M=zero, mean_k=np.full(b, 1 / 42), resonance="z",
        cov=np.diag(np.repeat([1e-10, 1e-12], b)), reference_mass=91.188, reference_mass_error=0.002,
    )  # fmt: skip
    config = CalibrationConfig(pt_definition="refit", scale_factor=2.0)
    found = model_of(assemble(table, None, None, config, closures=[z]), [z], None)
    assert found.inflation is not None
    # two residuals of 4 and 5 errors: of A alone s^2 is their mean square
    assert found.inflation.even.factor == pytest.approx(np.sqrt(20.5), rel=0.02)
    assert found.uncovered.startswith("the errors of the scale are multiplied by 2; what z find asks for up to 4.5")
    config = CalibrationConfig(pt_definition="refit", scale_factor=5.0)
    assert model_of(assemble(table, None, None, config, closures=[z]), [z], None).uncovered == ""


@pytest.fixture(scope="module")
def jpsi() -> Dimuons:
    return generate_dimuons(DimuonSimulation(resonance="jpsi", seed=5), 200_000).dimuons


def histograms(pairs: Dimuons, n_eta: int):
    edges = np.linspace(-2.4, 2.4, n_eta + 1)
    binning = Binning(eta_edges=edges, pt_edges=np.array([4.0, 7.0, 25.0]), mass_edges=np.linspace(2.9, 3.3, 81))
    return fill(pairs, binning)


def test_wider_bins_hold_the_same_events(jpsi):
    narrow, wide = histograms(jpsi, 8), histograms(jpsi, 4)
    found = coarser(narrow, wide.eta_edges)
    np.testing.assert_array_equal(found.index, wide.index)
    np.testing.assert_array_equal(found.counts, wide.counts)
    np.testing.assert_allclose(found.sums, wide.sums, rtol=1e-12)
    with pytest.raises(ValueError, match="not a choice of"):
        coarser(narrow, np.array([-2.4, 0.1, 2.4]))


def test_the_table_of_wider_bins_is_the_one_filled_in_them(jpsi):
    config = BatchConfig(resonance="jpsi", min_events=100)
    narrow, wide = (fit_bins(histograms(jpsi, n), config) for n in (8, 4))
    notes: list[str] = []
    found = resolution_of(
        [(narrow, config)], wide.histograms.eta_edges, ResolutionConfig(free=("a",)), "data", notes, silent
    )
    assert found is not None
    assert not notes
    np.testing.assert_allclose(found.a, derive_resolution([wide], ResolutionConfig(free=("a",))).a, rtol=1e-9)


def test_smearing_adds_its_variance_in_squares_and_never_takes_any(jpsi):
    b = 2
    extra = ResolutionTable(
        eta_edges=np.array(EDGES), a=np.array([4e-4, -4e-4]), b=np.zeros(b), c=np.zeros(b), d=np.full(b, 370.0),
        cov=np.zeros((3 * b, 3 * b)), pt_range=(4.0, 25.0),
    )  # fmt: skip
    found = smeared(jpsi, extra)
    z = jpsi.pt / found.pt - 1.0
    backward = (jpsi.eta < 0) & (jpsi.eta >= -2.4)
    spread = z[backward].std()
    assert abs(spread - 0.02) < 4 * 0.02 / np.sqrt(2 * backward.sum())
    assert relative_variance(extra, np.array([9.0]), np.array([-1.0]))[0] == pytest.approx(4e-4)
    np.testing.assert_array_equal(found.pt[jpsi.eta >= 0], jpsi.pt[jpsi.eta >= 0])
    # the same numbers in any chunk
    np.testing.assert_array_equal(smeared(jpsi.select(slice(100, 200)), extra).pt, found.pt[100:200])


def test_edges_of_the_resolution_are_some_of_those_of_the_scale():
    with pytest.raises(ValueError, match="resolution_eta_edges"):
        Bins(eta_edges=EDGES, resolution_eta_edges=(-2.4, 0.1, 2.4))
