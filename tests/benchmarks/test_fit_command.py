"""`mucal fit` from the command line: a ten-bin fit as a user waits for it, and a tensor of thousands of bins read."""

import resource
import subprocess
import sys
import time

import numpy as np
import pytest

from mucal.io import FitInput, read_rabbit, write_rabbit
from mucal.likelihood import expected_events, from_arrays, observe

pytestmark = pytest.mark.benchmark


def random_input(n_bins, n_processes, n_shapes):
    rng = np.random.default_rng(1)
    nominal = rng.uniform(500, 5000, (n_bins, n_processes))
    model = from_arrays(
        nominal, rng.normal(0, 0.01, (n_bins, n_processes, n_shapes)), sumw2=nominal,
        parameters=tuple(f"n{j}" for j in range(n_shapes)), processes=tuple(f"p{i}" for i in range(n_processes)),
        free=("n0",), pois=("n0",),
    )  # fmt: skip
    return FitInput(model=model, observation=observe(model, rng.poisson(expected_events(model)).astype(float)))


def test_ten_bins_from_the_command_line(tmp_path):
    path = random_input(10, 2, 6).save(tmp_path / "model.h5")
    program = "import sys; from mucal.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "fit", str(path), "--unblind", "n0"]
    walls, cpus = [], []
    for _ in range(4):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        walls.append(time.perf_counter() - start)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpus.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    bare = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import numba, scipy.linalg"], check=True)
    bare = time.perf_counter() - bare
    print(
        f"\nmucal fit, 10 bins: first {walls[0]:.2f} s, then {min(walls[1:]):.2f} s (CPU {min(cpus[1:]):.2f} s); "
        f"importing numba and scipy.linalg alone {bare:.2f} s, ratio {min(walls[1:]) / bare:.1f}"
    )
    assert min(cpus) < 2.0


@pytest.mark.parametrize("sparse", [False, True])
def test_a_tensor_is_read(tmp_path, sparse):
    path = write_rabbit(tmp_path / "t.hdf5", random_input(2880, 9, 200), sparse=sparse)
    size = path.stat().st_size
    start = time.process_time()
    found = read_rabbit(path)
    seconds = time.process_time() - start
    start = time.process_time()
    path.read_bytes()
    plain = time.process_time() - start
    print(
        f"\n{'sparse' if sparse else 'dense'} tensor, {size / 1e6:.0f} MB: {seconds:.2f} s, its bytes {plain:.3f} s, "
        f"ratio {seconds / max(plain, 1e-3):.0f}"
    )
    assert found.model.n_bins == 2880
