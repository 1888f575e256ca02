"""Global corrections: summing blocks, their product with a vector, and the solves, against what the machine can do.

Run with `OMP_NUM_THREADS=2 pytest -m benchmark -s tests/benchmarks/test_globalcor.py` for the dense solve on two cores.
The last one sums J/psi pairs of a simple track model through the cms-like tracker: it takes minutes and 6 GB.
"""

import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from numba import njit
from scipy.linalg import lapack

from mucal.detector import barrel
from mucal.globalcor import (
    AccumulateConfig,
    Family,
    GuardConfig,
    SolveConfig,
    accumulate,
    build_registry,
    divide,
    solve,
)
from mucal.io.mille import MilleRecords, concatenate, read_mille, write_mille
from mucal.io.mille_blocks import blocks_of
from mucal.io.mille_text import (
    MilleText,
    Steering,
    priors_as_measurements,
    read_result,
    write_steering,
    write_text,
)
from mucal.numerics.blocks import BLOCK, BlockSum, Factors, joined_factors, symmetric_blocks

pytestmark = pytest.mark.benchmark

JPSI = Path(__file__).parents[1] / "globalcor" / "jpsi.py"
MODULES, CROSSED, ROWS = 1250, 34, 29
N = 10_000


def factors(n: int, seed: int = 1) -> Factors:
    rng = np.random.default_rng(seed)
    modules = np.stack([np.sort(rng.choice(MODULES, CROSSED, replace=False)) for _ in range(n)])
    label = (modules[:, :, None] * BLOCK + np.arange(BLOCK)).reshape(n, -1)
    size = label.shape[1]
    return Factors(
        label_offsets=np.arange(n + 1) * size, label=label.ravel(), n_rows=np.full(n, ROWS),
        factor_offsets=np.arange(n + 1) * size * ROWS, factor=rng.normal(size=n * size * ROWS), weight=np.ones(n),
    )  # fmt: skip


@njit
def packed_triangle(label, size, factor, rows, packed):
    """H of each candidate by a dense product, added to a packed lower triangle."""
    for c in range(label.size // size):
        b = factor[c * size * rows : (c + 1) * size * rows].reshape(rows, size)
        h = b.T @ b
        for i in range(size):
            row = label[c * size + i]
            start = row * (row + 1) // 2
            for j in range(i + 1):
                packed[start + label[c * size + j]] += h[i, j]


def fastest(work, rounds: int = 5) -> float:
    work()
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def test_summing_blocks_against_a_packed_triangle():
    n = 400
    f, used = factors(n), np.ones(n, dtype=bool)
    size = CROSSED * BLOCK
    entries = n * size * (size + 1) / 2
    blocks = BlockSum(MODULES, np.arange(N))
    packed = np.zeros(N * (N + 1) // 2)
    mine, theirs = [], []
    for _ in range(3):
        mine.append(fastest(lambda: blocks.add(f, used), 3) / entries)
        theirs.append(fastest(lambda: packed_triangle(f.label, size, f.factor, ROWS, packed), 3) / entries)
    lower = blocks.matrix().dense_lower()
    calls = lower[0, 0] / packed[0]
    np.testing.assert_allclose(lower[50, :51], calls * packed[50 * 51 // 2 : 51 * 52 // 2], rtol=1e-9)
    a, b = 1e9 * np.median(mine), 1e9 * np.median(theirs)
    print(f"\nsum with B^T B: {a:.1f} ns an entry, packed triangle {b:.1f} ns: {b / a:.1f} times")
    assert a < 15.0  # the goal is 10 on a quiet machine


def test_product_against_scipy_bsr():
    g = 6000
    rng = np.random.default_rng(2)
    row, col = np.triu_indices(g)
    kept = (rng.uniform(size=row.size) < 0.05) | (row == col)
    row, col = row[kept], col[kept]
    values = rng.normal(size=(row.size, BLOCK, BLOCK))
    on = row == col
    values[on] += np.swapaxes(values[on], 1, 2)
    matrix = symmetric_blocks(g, row * g + col, values)
    both = [np.concatenate([row, col[~on]]), np.concatenate([col, row[~on]])]
    order = np.lexsort((both[1], both[0]))
    data = np.concatenate([values, np.swapaxes(values[~on], 1, 2)])[order]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(both[0], minlength=g))])
    bsr = sp.bsr_array((data, both[1][order], indptr), shape=(matrix.n, matrix.n))
    x = rng.normal(size=matrix.n)
    np.testing.assert_allclose(matrix.product(x), bsr @ x, rtol=1e-9, atol=1e-9)
    mine, theirs = [], []
    for _ in range(3):
        mine.append(fastest(lambda: matrix.product(x)))
        theirs.append(fastest(lambda: bsr @ x))
    a, b = np.median(mine), np.median(theirs)
    size = matrix.n_blocks * 512 / 1e9
    print(f"\nproduct of {size:.2f} GB: {1e3 * a:.0f} ms, {size / a:.1f} GB/s; "
          f"scipy BSR (both halves) {1e3 * b:.0f} ms: {b / a:.1f} times")  # fmt: skip
    assert b > a


def test_dense_solve_of_ten_thousand_parameters_with_its_covariance():
    from mucal.globalcor.constraints import eliminate
    from mucal.globalcor.dense import dense_factor
    from mucal.globalcor.system import System

    n = 4000
    f = factors(n)
    blocks = BlockSum(MODULES, np.arange(N))
    blocks.add(f, np.ones(n, dtype=bool))

    class Total:
        kept = joined_factors(())

    class Registry:
        slot = np.arange(N)
        names = tuple(map(str, range(N)))

    ones = np.ones(N)
    system = System(
        registry=Registry(), total=Total(), matrix=blocks.matrix(), free=ones.astype(bool), scale=ones,
        ridge=2.0 * ones, status=np.zeros(N, dtype=np.int64), rows=np.zeros((0, N)), b=ones,
        inside=eliminate(np.zeros((0, N)), np.zeros(0), []),
    )  # fmt: skip
    symmetric_blocks(1, np.zeros(1, dtype=np.int64), np.eye(BLOCK)[None]).dense_lower()  # compile
    start = time.perf_counter()
    factor = dense_factor(system)
    y = factor.solve(ones)
    solved = time.perf_counter() - start
    cov = factor.covariance()
    whole = time.perf_counter() - start
    residual = np.linalg.norm(system.product(y) - ones) / np.linalg.norm(ones)
    np.testing.assert_allclose(system.product(cov[:, :3])[:5, :3], 2.0 * np.eye(N)[:5, :3], atol=1e-8)
    a = np.random.default_rng(1).normal(size=(N, N))
    a[np.diag_indices(N)] += 4 * N
    start = time.perf_counter()
    lapack.dpotrf(a.T, lower=0, overwrite_a=1)
    peer = time.perf_counter() - start
    print(f"\n{N} parameters: solution {solved:.1f} s, with full covariance {whole:.1f} s; dpotrf alone {peer:.1f} s; "
          f"residual {residual:.1e}")  # fmt: skip
    assert residual < 1e-10
    assert whole < 40.0  # the goal is 20 s on two quiet cores


FULL_PAIRS = 100_000


def say(*words: object) -> None:
    print(*words, flush=True)


def run_full() -> None:
    """In a process of its own, for its peak memory: sum, solve, print."""
    spec = importlib.util.spec_from_file_location("jpsi", JPSI)
    jpsi = importlib.util.module_from_spec(spec)
    sys.modules["jpsi"] = jpsi  # its compiled functions look their module up in a filled cache
    spec.loader.exec_module(jpsi)
    from mucal.detector import cms_like
    from mucal.globalcor import (
        CMS_2016,
        AccumulateConfig,
        SolveConfig,
        accumulate,
        build_registry,
        divide,
        solve,
        templates,
    )

    detector = cms_like()
    registry = build_registry(detector, CMS_2016)
    truth = np.random.default_rng(1).normal(size=len(registry)) * np.minimum(registry.prior, 1e-3)
    pairs = jpsi.JpsiPairs(detector, registry, FULL_PAIRS, truth=truth)
    start = time.perf_counter()
    config = AccumulateConfig(guards=_open_guards(), n_threads=2)
    sums = accumulate(pairs, divide(FULL_PAIRS, 1000), registry, config)
    assert not sums.failed, sums.failed[:3]
    say(f"{sums.ledger.used} pairs made and summed in {time.perf_counter() - start:.0f} s, peak {peak():.2f} GB")
    total = sums.total()
    say(f"{total.keys.size} blocks, {total.values.nbytes / 1e9:.2f} GB")
    patterns = templates(registry, detector)
    start = time.perf_counter()
    found = solve(sums, registry, SolveConfig(n_threads=2), templates=patterns.vectors)
    solved = time.perf_counter() - start
    say(f"{found.free.sum()} of {len(registry)} parameters free; solved in {solved:.0f} s, {found.iterations} "
        f"iterations, residual {found.residual:.1e}, peak {peak():.2f} GB")  # fmt: skip
    say(f"chi2/ndof {found.chi2 / found.ndof:.3f}, predicted drop {found.chi2_drop:.4g}")
    start = time.perf_counter()
    some = tuple(registry.names[i] for i in np.flatnonzero(found.free)[::30_000])
    # parameters with few entries float here: frozen at 0 they would pull their neighbours away from the truth
    everything = SolveConfig(n_threads=2, errors=some, min_entries=1)
    errors = solve(sums, registry, everything, templates=patterns.vectors)
    pulls = ((errors.theta - truth) / errors.error)[errors.free & np.isfinite(errors.error)]
    again = time.perf_counter() - start
    largest = np.abs(pulls).max()
    say(f"{pulls.size} errors in {again - solved:.0f} s more, largest pull {largest:.2f}, peak {peak():.2f} GB")
    assert solved < 180.0
    assert peak() < 8.0
    assert np.abs(pulls).max() < 4.5


def peak() -> float:
    """GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _open_guards():
    from mucal.globalcor import GuardConfig

    return GuardConfig(chi2_per_ndof=1e9, gradient=1e12, hessian=1e12)


def test_118196_parameters_from_jpsi_pairs():
    # products of small matrices are slower on two threads than on one
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False, env=alone)
    print(f"\n{done.stdout}")
    assert done.returncode == 0, done.stderr


PEDE = shutil.which("pede")


@pytest.mark.skipif(PEDE is None, reason="there is no program pede of Millepede-II on the path")
@pytest.mark.parametrize("components", [("u",), ("u", "v"), ("u", "w", "c")])
def test_sums_and_solve_beside_pede(components, tmp_path):
    """Records of 34 rows, 5 local parameters and 108 labels: read, summed and solved with all errors by both."""
    rng, n_records, k = np.random.default_rng(3), 2000, len(components)
    registry = build_registry(
        barrel(), (Family(kind="alignment", by="module", components=components, prior=(1.0,) * k, min_entries=1),)
    )
    n, rows, labels = len(registry), 34, 108
    label = np.stack([np.sort(rng.choice(n, labels, replace=False)) for _ in range(n_records)])
    b = rng.normal(size=(n_records, rows, labels))
    value = rng.normal(size=(n_records, rows)) + np.einsum("crl,cl->cr", b, 0.1 * np.cos(label))
    records = MilleRecords(
        offsets=rows * np.arange(n_records + 1), value=value.ravel(), sigma=np.ones(n_records * rows),
        local_offsets=5 * np.arange(n_records * rows + 1), local_index=np.tile(np.arange(1, 6), n_records * rows),
        local=rng.normal(size=n_records * rows * 5), global_offsets=labels * np.arange(n_records * rows + 1),
        label=np.repeat(label, rows, axis=0).ravel() + 1, derivative=b.ravel(),
        errors=np.zeros(n_records, dtype=np.int64),
    )  # fmt: skip
    write_mille(tmp_path / "a.bin", [records], flavour="c", double=True)
    write_text(tmp_path / "par.txt", MilleText(measurements=priors_as_measurements(registry)))
    write_steering(tmp_path / "steer.txt", Steering(
        binaries=(("a.bin", "c", 1.0),), texts=("par.txt",), options=("method inversion 1 0.001", "entries 1")
    ))  # fmt: skip

    def theirs():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([PEDE, "steer.txt"], cwd=tmp_path, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    def ours():
        start = time.process_time()
        read = concatenate(list(read_mille(tmp_path / "a.bin")))
        middle = time.process_time()
        blocks = blocks_of(read, registry.digest, n)
        how = AccumulateConfig(guards=GuardConfig(chi2_per_ndof=1e9))
        profiled = time.process_time()
        sums = accumulate(lambda chunk: blocks, divide(1, 1), registry, how)
        found = solve(sums, registry, SolveConfig(method="dense"))
        return found, middle - start, profiled - middle, time.process_time() - profiled

    ours()  # compile
    pede = float(np.median([theirs() for _ in range(3)]))
    found, reading, profiling, solving = ours()
    result = read_result(tmp_path / "millepede.res")
    order = np.argsort(result.index)
    print(f"\n{n} parameters, {n_records} records: pede {pede:.2f} s of processor, sum and solve {solving:.2f} s "
          f"({pede / solving:.1f} times), with reading and profiling in numpy {reading + profiling + solving:.2f} s "
          f"({pede / (reading + profiling + solving):.1f} times)")  # fmt: skip
    np.testing.assert_allclose(result.value[order], found.theta, rtol=5e-5, atol=1e-3 * found.error.min())
    np.testing.assert_allclose(result.error[order], found.error, rtol=2e-4)


if __name__ == "__main__":
    run_full()
