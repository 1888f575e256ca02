"""A run's resolution says how far it goes with the d that is fixed in it."""

import numpy as np

from mucal.massfit import BatchConfig, Binning, MassFits, fill, fit_bins
from mucal.scale import ResolutionConfig, derive_resolution
from mucal.simulation import DimuonSimulation, generate_dimuons
from mucal.workflow.progress import Event
from mucal.workflow.resolutions import resolution_of

EDGES = np.array([-2.4, 0.0, 2.4])


def both() -> list[tuple[MassFits, BatchConfig]]:
    found = []
    for name, n, pt, mass in (("jpsi", 300_000, [4.0, 6.0, 9.0, 25.0], (2.9, 3.3)), ("z", 40_000, [26, 70], (75, 107))):
        binning = Binning(eta_edges=EDGES, pt_edges=np.array(pt, dtype=float), mass_edges=np.linspace(*mass, 81))
        config = BatchConfig(resonance=name, min_events=100, fixed={"logit_f": -12.0, "slope": 0.0})
        pairs = generate_dimuons(DimuonSimulation(resonance=name, seed=3), n).dimuons
        found.append((fit_bins(fill(pairs, binning), config), config))
    return found


def test_with_a_free_b_the_table_has_a_scan_of_d_and_its_spread_is_told():
    fits, config, told = both(), ResolutionConfig(free=("a", "b", "c")), []
    table = resolution_of(fits, EDGES, config, "data", [], told.append)
    plain = derive_resolution([one for one, _ in fits], config)
    np.testing.assert_array_equal(np.stack([table.a, table.b, table.c]), np.stack([plain.a, plain.b, plain.c]))
    assert table.by_d.d.tolist() == [10.0, 100.0, 370.0]
    assert table.by_d.chi2[2] == table.chi2
    assert told[-1] == Event(stage="resolution", text=f"of data: {table.by_d.line}")


def test_without_b_there_is_no_d_to_scan():
    told: list[Event] = []
    assert resolution_of(both(), EDGES, ResolutionConfig(), "data", [], told.append).by_d is None
    assert not told
