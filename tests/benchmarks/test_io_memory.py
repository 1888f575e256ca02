"""Peak memory of reading and writing dimuons: flat when the file is ten times larger, in every format."""

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest

from mucal.io import write_dimuons
from mucal.io.dimuon_writer import WRITTEN
from mucal.track import Dimuons

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="peak memory is read from /proc"),
]

CHUNK = 50_000
SMALL = 200_000
FIELDS = {"run": "run", "lumi": "lumi", "event": "event"}
READ = r"""
import re, sys, time
from pathlib import Path
from mucal.io import DimuonInput, open_dimuons
from mucal.io.dimuon_writer import WRITTEN
tree = "pairs" if sys.argv[1].endswith(".h5") else None
source = open_dimuons(sys.argv[1], DimuonInput(columns=WRITTEN, tree=tree, chunk_rows=50_000))
start = time.process_time()
pairs = sum(len(chunk) for chunk in source)
# not getrusage: after a fork its maximum is at first the parent's
peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
print(pairs, peak / 1024, time.process_time() - start)
"""


def chunks(n: int):
    random = np.random.default_rng(1)
    for start in range(0, n, CHUNK):
        event = np.arange(start, min(start + CHUNK, n))
        shape = (event.size, 2)
        yield Dimuons(
            run=np.full(event.size, 1), lumi=event // 1000, event=event, pt=random.uniform(3, 50, shape),
            eta=random.uniform(-2.4, 2.4, shape), phi=random.uniform(-np.pi, np.pi, shape),
            charge=np.tile([1, -1], (event.size, 1)),
        )  # fmt: skip


def columns(dimuons: Dimuons) -> dict[str, np.ndarray]:
    names = {key: getattr(WRITTEN, key) for key in ("pt", "eta", "phi", "charge")}
    per_muon = {name[i]: getattr(dimuons, key)[:, i] for key, name in names.items() for i in (0, 1)}
    return {**{key: getattr(dimuons, key) for key in FIELDS}, **per_muon, "mass": dimuons.mass}


def make(path: Path, n: int) -> None:
    if path.suffix in (".parquet", ".root"):
        write_dimuons(path, chunks(n))
    elif path.suffix == ".csv":
        writer = None
        for chunk in chunks(n):
            table = pa.table({k: np.ascontiguousarray(v) for k, v in columns(chunk).items()})
            writer = writer or pc.CSVWriter(path, table.schema, write_options=pc.WriteOptions(quoting_style="none"))
            writer.write(table)
        writer.close()
    else:
        with h5py.File(path, "w") as file:
            group = file.create_group("pairs")
            for i, chunk in enumerate(chunks(n)):
                for name, values in columns(chunk).items():
                    if name not in group:
                        group.create_dataset(name, (n,), values.dtype, chunks=(CHUNK,))
                    group[name][i * CHUNK : i * CHUNK + values.size] = values


def measure(path: Path) -> tuple[int, float, float]:
    result = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True)
    pairs, peak, seconds = result.stdout.split()
    return int(pairs), float(peak), float(seconds)


@pytest.mark.parametrize("suffix", [".root", ".parquet", ".csv", ".h5"])
def test_peak_memory_is_flat_when_the_file_is_ten_times_larger(tmp_path: Path, suffix: str, capsys):
    small, large = tmp_path / f"small{suffix}", tmp_path / f"large{suffix}"
    make(small, SMALL)
    make(large, 10 * SMALL)
    n_small, peak_small, _ = measure(small)
    n_large, peak_large, seconds = measure(large)
    with capsys.disabled():
        print(
            f"\n{suffix:<9} {small.stat().st_size / 2**20:6.1f} MB {peak_small:6.0f} MB peak; "
            f"{large.stat().st_size / 2**20:6.1f} MB {peak_large:6.0f} MB peak; {n_large / seconds / 1e6:.2f} M pairs/s"
        )
    assert (n_small, n_large) == (SMALL, 10 * SMALL)
    # 1.8 million more pairs are 150 MB as arrays; allow the noise of an allocator
    assert peak_large - peak_small < 30
