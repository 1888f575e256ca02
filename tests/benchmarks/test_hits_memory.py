"""Peak memory of simulating, writing and reading tracks with hits: flat when the file is several times larger."""

import subprocess
import sys
from pathlib import Path

import pytest

from mucal.workflow.hits import CHUNK as CHUNK_OF_EVENTS

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc"),
]

SMALL, TIMES, CHUNK = 40_000, 5, 10_000
ALLOWED = 40.0
"""MB, for allocators that keep what they were given back."""

MEASURE = r"""
import re, sys, time
from pathlib import Path
import numpy as np
from mucal.io import HitsInput, open_hits, write_hits
from mucal.track.hits import Hits

def chunks(n, rows):
    random = np.random.default_rng(1)
    for start in range(0, n, rows):
        m, k = rows, 18 * rows
        charge = np.tile([1, -1], m // 2)
        seed = random.normal(0, 0.1, (m, 5))
        seed[:, 0] = charge / random.uniform(3, 50, m)
        event = (start + np.arange(m)) // 2
        yield Hits(run=np.ones(m, dtype=np.int64), lumi=event // 1000, event=event, pair=event, charge=charge,
                   seed=seed, seed_ref=random.normal(0, 1, (m, 3)), offsets=np.arange(m + 1) * 18,
                   module_id=np.tile(np.arange(18), m) + random.integers(0, 900, k) * 18, u=random.normal(0, 1, k),
                   v=np.full(k, np.nan), sigma_u=np.full(k, 2e-3), sigma_v=np.full(k, np.nan))

what, path, n, rows = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
start = time.process_time()
if what == "simulate":
    from mucal.workflow.hits import load_hit_run, simulate_hit_files
    given = ('muons.process="gun"', 'hits.detector="barrel"', f"muons.events={n}")
    assert simulate_hit_files(load_hit_run(settings=given), path, jobs=2)["generate"].used == n
elif what == "write":
    write_hits(path, chunks(n, rows))
else:
    source = open_hits(path, HitsInput(chunk_rows=rows))
    assert sum(len(hits) for hits in source) == n
peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
print(peak / 1024, time.process_time() - start)
"""


def measure(what: str, path: Path, n: int) -> tuple[float, float]:
    """Peak MB and processor seconds of a fresh process."""
    command = [sys.executable, "-c", MEASURE, what, str(path), str(n), str(CHUNK)]
    peak, seconds = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(peak), float(seconds)


@pytest.mark.parametrize("suffix", [".parquet", ".root"])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
    paths = {n: tmp_path / f"{n}{suffix}" for n in (SMALL, TIMES * SMALL)}
    for what in ("write", "read"):
        (small, _), (large, seconds) = (measure(what, path, n) for n, path in paths.items())
        print(
            f"\n{suffix} {what}: {small:.0f} and {large:.0f} MB peak for {SMALL} and {TIMES * SMALL} tracks of 18 "
            f"hits; {TIMES * SMALL / seconds:.3g} tracks/s/core"
        )
        assert large < small + ALLOWED


def test_memory_of_the_simulation_does_not_grow_with_the_sample(tmp_path):
    sizes = (4 * CHUNK_OF_EVENTS, 16 * CHUNK_OF_EVENTS)
    (small, _), (large, seconds) = (measure("simulate", tmp_path / f"s{n}.parquet", n) for n in sizes)
    print(f"\nsimulated by two threads: {small:.0f} and {large:.0f} MB peak for {sizes} muons; {seconds:.0f} s")
    assert large < small + ALLOWED
