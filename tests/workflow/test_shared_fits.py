"""Step 4 of the ladder: a bin whose fit fails in data or in simulation is merged in both."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal.massfit import BatchConfig, Binning, MassHistograms, Merging, Remedy, fill, fit_with_retries, merge_thin
from mucal.scale import derive
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.workflow import load_analysis
from mucal.workflow.bins import Bins
from mucal.workflow.mass_fits import merging_of
from mucal.workflow.progress import Event
from mucal.workflow.shared_fits import SharedFits, fit_shared
from mucal.workflow.simulated_fits import SimulatedFits, fit_simulation

BINNING = Binning(
    eta_edges=np.linspace(-2.4, 2.4, 4), pt_edges=np.array([4.0, 4.8, 5.8, 7.5, 25.0]),
    mass_edges=np.linspace(2.9, 3.3, 81),
)  # fmt: skip
CONFIG = BatchConfig(min_events=300, min_p_value=0.0)  # a bin of no peak, merged, still leaves its events


def pairs(seed: int) -> MassHistograms:
    return fill(generate_dimuons(DimuonSimulation(seed=seed, background_fraction=0.1), 150_000).dimuons, BINNING)


@pytest.fixture(scope="module")
def data() -> MassHistograms:
    return pairs(4)


@pytest.fixture(scope="module")
def simulation() -> MassHistograms:
    """Whose fullest bin has no peak."""
    whole = pairs(5)
    counts = whole.counts.copy()
    row = int(np.argmax(whole.n_events))
    counts[row] = 0.0
    counts[row, [0, -1]] = 200.0
    return replace(whole, counts=counts)


@pytest.fixture(scope="module")
def shared(data: MassHistograms, simulation: MassHistograms) -> tuple[SharedFits, list[str], int]:
    """The fits, what was told, and how often all were made."""
    calls: list[Merging] = []

    def fit(merging: Merging, before: SharedFits | None) -> SharedFits:
        calls.append(merging)
        assert (before is None) == (len(calls) == 1)
        fits, theirs = (fit_with_retries(merging.apply(sample), CONFIG) for sample in (data, simulation))
        return SharedFits(
            merging=merging, widths=fits, simulated=SimulatedFits(plain=theirs, matched=theirs), fits=fits,
            simulation=theirs, notes=(),
        )  # fmt: skip

    told: list[Event] = []
    found = fit_shared(fit, merge_thin(data, simulation, min_data=300, min_simulation=300), data, told.append)
    return found, [event.text for event in told], len(calls)


def test_a_bin_that_fails_in_simulation_is_merged_in_data_too(shared, simulation: MassHistograms):
    found, _, calls = shared
    assert calls >= 2
    failed = found.merging.index[found.merging.failed].tolist()
    assert simulation.index[np.argmax(np.where(simulation.counts[:, 0] >= 200, 1, 0))].tolist() in failed
    assert_array_equal(found.fits.histograms.index, found.simulation.histograms.index)
    assert found.fits.failed_bins.size == found.simulation.failed_bins.size == 0


def test_what_was_merged_is_told_and_recorded(shared):
    found, told, _ = shared
    for name, fits in found.samples.items():
        assert np.sum(fits.remedies == Remedy.MERGED) == 1
        assert f"{name}: 1 mass fits of a bin that failed and was merged with its neighbour in pT" in told
    assert "1 bins whose mass fits failed are merged with a neighbour in pT" in told


def test_the_table_misses_no_event_of_a_merged_bin(shared):
    found, _, _ = shared
    table = derive(found.fits, found.simulation)
    assert not {"not_converged in simulation", "at_boundary in simulation"} & set(
        table.provenance.ledgers["scale"].rejected
    )


def test_fits_that_all_succeed_are_made_once(data: MassHistograms):
    calls = []

    def fit(merging: Merging, before: SharedFits | None) -> SharedFits:
        calls.append(before)
        fits = fit_with_retries(merging.apply(data), CONFIG)
        return SharedFits(merging=merging, widths=fits, simulated=None, fits=fits, simulation=None, notes=())

    merging = merge_thin(data, min_data=300)
    assert fit_shared(fit, merging, data, lambda event: None).merging is merging
    assert calls == [None]


def test_a_second_fit_of_simulation_takes_the_smearing_over(data: MassHistograms):
    analysis = load_analysis(settings=("massfit.min_events=300",), preset="dimuons")
    merging, fits = merge_thin(data, min_data=300), fit_with_retries(data, CONFIG)
    asked: list[object] = []

    def refill(extra: object) -> MassHistograms:
        asked.append(extra)
        return data

    plain = fit_with_retries(merging.apply(data), CONFIG)
    smearing = object()
    before = SimulatedFits(plain=plain, matched=plain, smearing=smearing)  # type: ignore[arg-type]
    notes: list[str] = []
    found = fit_simulation(analysis, fits, refill, merging, before, notes, lambda event: None)
    assert asked == [None, smearing]
    assert found.smearing is smearing
    assert notes == []


@pytest.mark.parametrize(
    ("resonance", "bins", "expected"),
    [
        ("jpsi", {}, (500.0, 1000.0)),
        ("upsilon1s", {}, (500.0, 1000.0)),
        ("z", {}, (750.0, 750.0)),
        ("z", {"min_data": 0.0}, (0.0, 750.0)),
        ("jpsi", {"min_data": 20.0, "min_simulation": 0.0}, (20.0, 0.0)),
    ],
)
def test_events_that_a_bin_needs_go_by_resonance_unless_stated(resonance: str, bins: dict[str, float], expected):
    assert Bins(**bins).fewest_events(resonance) == expected


def test_thin_bins_are_merged_unless_a_configuration_says_otherwise(data: MassHistograms):
    by_default, never = (
        merging_of(data, None, load_analysis(settings=settings, preset="dimuons"), lambda event: None)
        for settings in ((), ("bins.min_data=0",))
    )
    assert never.n_merged == 0
    assert by_default.n_merged > 0
    thin = by_default.apply(data)
    pairs_of_eta = {tuple(row) for row in thin.index[:, [0, 2]].tolist()}
    # a thin bin is left only where its whole pair of eta bins is one
    assert np.sum(thin.n_events < 500) <= len(pairs_of_eta)


def test_a_negative_number_of_events_is_refused():
    with pytest.raises(ValueError, match=r"min_simulation = -1\.0, expected 0 or more events"):
        Bins(min_simulation=-1.0)
