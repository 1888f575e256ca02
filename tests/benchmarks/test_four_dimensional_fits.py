"""Mass fits in (eta+, pT+, eta-, pT-): filling, fitting and solving 10^7 J/psi pairs in 48 bins of eta and 5 of pT.

pytest -m benchmark -s tests/benchmarks/test_four_dimensional_fits.py
"""

import time

import numpy as np
import pytest

from mucal.massfit import BatchConfig, Binning, MassHistograms, fill, fit_with_retries, merge_thin
from mucal.scale import coherent_shift, derive
from mucal.simulation import DimuonSimulation, stream_dimuons

pytestmark = pytest.mark.benchmark
PAIRS = 10_000_000
BINNING = Binning(
    eta_edges=np.linspace(-2.4, 2.4, 49), pt_edges=np.array([4.0, 5.2, 6.3, 8.7, 12.0, 25.0]),
    mass_edges=np.linspace(2.9, 3.3, 81),
)  # fmt: skip


def test_ten_million_pairs_in_five_minutes_on_two_cores():
    total: MassHistograms | None = None
    filling = 0.0
    for part in stream_dimuons(DimuonSimulation(seed=1), 50 * PAIRS):
        start = time.process_time()
        filled = fill(part.dimuons, BINNING)
        total = filled if total is None else total + filled
        filling += time.process_time() - start
        if total.n_events.sum() >= PAIRS:
            break
    assert total is not None
    start = time.process_time()
    merged = merge_thin(total).apply(total)
    merging = time.process_time() - start
    start = time.process_time()
    found = fit_with_retries(merged, BatchConfig(min_events=500))
    fitting = time.process_time() - start
    start = time.process_time()
    table = derive(found)
    solving = time.process_time() - start
    shift = coherent_shift(table)
    print(
        f"\n{total.n_events.sum():.3g} pairs in {total.n_bins} bins, {merged.n_bins} after merging, "
        f"{int(found.good.sum())} good fits; {', '.join(found.remedy_lines()) or 'none tried again'}\n"
        f"processor seconds: fill {filling:.1f}, merge {merging:.1f}, fit {fitting:.1f}, solve {solving:.1f}\n"
        f"coherent shift at {shift.pt} GeV: even {shift.even} +- {shift.even_error}"
    )
    assert filling + merging + fitting + solving < 2 * 300
