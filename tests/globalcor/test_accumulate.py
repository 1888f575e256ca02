import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import ConfigError, InputError, Interrupted, ResourceError
from mucal.globalcor import AccumulateConfig, GuardConfig, accumulate, divide
from mucal.globalcor.checkpoints import GENERATIONS, LOCK

from .conftest import Sample, blocks_of, dense_sums

CHUNKS = divide(300, 30)
FEW = AccumulateConfig(every=2)


def content(equations, folder: Path) -> str:
    """Digest of all bytes of a saved sum."""
    path = equations.save(folder / f"{time.monotonic_ns()}.h5")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_sum_is_that_of_a_loop_over_dense_matrices(registry):
    total = accumulate(Sample(registry), CHUNKS, registry)
    g, h = dense_sums(blocks_of(registry, np.arange(300)), len(registry))
    found = total.matrix().dense_lower()[np.ix_(registry.slot, registry.slot)]
    assert_allclose(found, np.tril(h), rtol=1e-12, atol=1e-12 * np.abs(h).max())
    part = total.total()
    assert_allclose(part.gradient + part.lost, g, rtol=1e-12, atol=1e-10)
    assert_allclose(part.jackknife.sum(axis=0), g, rtol=1e-12, atol=1e-10)
    assert total.ledger.used == 300


def test_entries_count_candidates_with_information(registry):
    blocks = blocks_of(registry, np.arange(300))
    part = accumulate(Sample(registry), CHUNKS, registry).total()
    assert np.array_equal(part.entries, np.bincount(blocks.label, minlength=len(registry)))


@pytest.mark.parametrize("workers", [None, 1, 2])
def test_any_number_of_workers_and_order_of_chunks_gives_the_same_bytes(registry, tmp_path, workers):
    plain = content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)
    shuffled = [CHUNKS[i] for i in np.random.default_rng(3).permutation(len(CHUNKS))]
    make = None if workers is None else partial(ProcessPoolExecutor, workers)
    config = AccumulateConfig(n_threads=2 if workers else 1)
    assert content(accumulate(Sample(registry), shuffled, registry, config, workers=make), tmp_path) == plain


def test_dask_gives_the_same_bytes(registry, tmp_path):
    distributed = pytest.importorskip("distributed")
    plain = content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)
    with distributed.Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=None) as client:
        found = accumulate(Sample(registry), CHUNKS, registry, workers=client.get_executor)
    assert content(found, tmp_path) == plain


def test_leaves_made_apart_and_added_in_any_order_give_the_same_bytes(registry, tmp_path):
    config = AccumulateConfig(chunks_per_leaf=2)
    sample = Sample(registry)
    whole = accumulate(sample, CHUNKS, registry, config)
    a, b, c = (accumulate(sample, CHUNKS[i:j], registry, config) for i, j in ((0, 4), (4, 6), (6, 10)))
    plain = {**whole.provenance.configuration, "chunks": ()}
    assert plain["sample"] == ""
    for added in ((a + b) + c, a + (b + c), (c + a) + b, c + (b + a)):
        for name in ("gradient", "values", "keys", "jackknife", "largest_chunk"):
            assert getattr(added.total(), name).tobytes() == getattr(whole.total(), name).tobytes()


def test_a_chunk_in_both_sums_is_refused(registry):
    a = accumulate(Sample(registry), CHUNKS[:3], registry)
    with pytest.raises(InputError, match=r"chunk 2 of sample '' is in both sums"):
        a + accumulate(Sample(registry), CHUNKS[2:4], registry)


def test_sums_of_different_maps_are_refused(registry, tracker):
    from mucal.globalcor import Family, build_registry

    other = build_registry(tracker, (Family(kind="alignment", by="layer"),))
    with pytest.raises(InputError, match="different parameters"):
        accumulate(Sample(registry), CHUNKS[:1], registry) + accumulate(Sample(other), CHUNKS[1:2], other)
    with pytest.raises(InputError, match="derivatives by the parameters of registry"):
        accumulate(Sample(other), CHUNKS[:1], registry)


def test_samples_add(registry):
    a = accumulate(Sample(registry, seed=1), CHUNKS, registry, sample="jpsi")
    b = accumulate(Sample(registry, seed=2), CHUNKS, registry, sample="z")
    both = (a + b).total()
    assert both.entries.sum() == a.total().entries.sum() + b.total().entries.sum()
    assert (b + a).total().gradient.tobytes() == both.gradient.tobytes()


# ------------------------------------------------------------------------------------------------ guards


def test_candidates_beyond_the_guards_are_named_and_counted(registry):
    blocks = blocks_of(registry, np.arange(30))
    gradient, factor, chi2 = blocks.gradient.copy(), blocks.factor.copy(), np.full(30, 7.0)
    chi2[3] = 100.0
    gradient[blocks.label_offsets[5]] = 2e9
    factor[blocks.factor_offsets[7]] = np.nan
    factor[blocks.factor_offsets[9]] = 1e6
    bad = replace(blocks, gradient=gradient, factor=factor, chi2=chi2)
    config = AccumulateConfig(guards=GuardConfig(gradient=1e9, hessian=1e11), exclude={0: (11,)})
    found = accumulate(lambda chunk: bad, CHUNKS[:1], registry, config)
    assert found.ledger.rejected == {"nonfinite": 1, "chi2": 1, "gradient": 1, "hessian": 1, "excluded": 1}
    assert found.ledger.used == 25
    assert found.ledger.examples["gradient"] == ("chunk 0 candidate 5",)
    kept = np.setdiff1d(np.arange(30), [3, 5, 7, 9, 11])
    g, _ = dense_sums(blocks_of(registry, kept), len(registry))
    part = found.total()
    assert_allclose(part.gradient + part.lost, g, rtol=1e-12, atol=1e-9)


# ------------------------------------------------------------------------------------------------ failures


class Fails(Sample):
    """Fails for some rows: always, or until a file exists."""

    def __init__(self, registry, row: int, until: Path | None = None, kill: bool = False) -> None:
        super().__init__(registry)
        self.row, self.until, self.kill = row, until, kill

    def __call__(self, chunk):
        if chunk.start <= self.row < chunk.stop and (self.until is None or not self.until.exists()):
            if self.until is not None:
                self.until.touch()
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise MemoryError(f"row {self.row}")
        return super().__call__(chunk)


def test_a_chunk_that_fails_once_is_tried_again(registry, tmp_path):
    told = []
    found = accumulate(Fails(registry, 40, tmp_path / "once"), CHUNKS, registry, tell=told.append)
    assert found.failed == ()
    assert told[1].attempts == ("MemoryError: row 40",)
    assert content(found, tmp_path) == content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)


def test_a_killed_worker_costs_nothing(registry, tmp_path):
    produce = Fails(registry, 40, tmp_path / "once", kill=True)
    found = accumulate(produce, CHUNKS, registry, workers=partial(ProcessPoolExecutor, 2))
    assert content(found, tmp_path) == content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)


def test_a_chunk_that_always_fails_is_named_and_the_others_are_kept(registry):
    found = accumulate(Fails(registry, 40), CHUNKS, registry)
    assert found.failed == ("chunk/1",)
    assert found.ledger.used == 270


class OnlySmall(Sample):
    def __call__(self, chunk):
        if chunk.number == 2 and chunk.stop - chunk.start > 15:
            raise MemoryError
        return super().__call__(chunk)


def test_a_chunk_too_large_for_a_worker_is_halved_to_the_same_bytes(registry, tmp_path):
    found = accumulate(OnlySmall(registry), CHUNKS, registry)
    assert content(found, tmp_path) == content(accumulate(Sample(registry), CHUNKS, registry), tmp_path)


# ------------------------------------------------------------------------------------------------ checkpoints


class Stops(Sample):
    def __call__(self, chunk):
        if chunk.number == 5:
            raise KeyboardInterrupt
        return super().__call__(chunk)


@pytest.mark.parametrize("keep", [False, True])
def test_an_interrupted_sum_goes_on_to_the_same_bytes(registry, tmp_path, keep):
    config = replace(FEW, keep_factors=keep)
    with pytest.raises(Interrupted, match="interrupted"):
        accumulate(Stops(registry), CHUNKS, registry, config, checkpoints=tmp_path / "kept")
    told = []
    found = accumulate(Sample(registry), CHUNKS, registry, config, checkpoints=tmp_path / "kept", tell=told.append)
    assert [made.chunk.number for made in told] == [5, 6, 7, 8, 9]
    assert content(found, tmp_path) == content(accumulate(Sample(registry), CHUNKS, registry, config), tmp_path)


@pytest.mark.parametrize("per_leaf", [1, 5, 100])
def test_a_finished_sum_taken_up_again_is_the_same_bytes(registry, tmp_path, per_leaf):
    config = AccumulateConfig(every=1, chunks_per_leaf=per_leaf)
    first = accumulate(Sample(registry), CHUNKS, registry, config, checkpoints=tmp_path / "kept")
    for name in GENERATIONS:  # whichever generation is there
        told = []
        (tmp_path / "kept" / name).rename(tmp_path / "aside")
        again = accumulate(Sample(registry), CHUNKS, registry, config, checkpoints=tmp_path / "kept", tell=told.append)
        assert told == []
        assert content(again, tmp_path) == content(first, tmp_path)
        (tmp_path / "aside").rename(tmp_path / "kept" / name)


@pytest.mark.parametrize("per_leaf", [3, 100])
def test_a_damaged_generation_falls_back_to_the_older_one(registry, tmp_path, per_leaf):
    config = AccumulateConfig(every=2, chunks_per_leaf=per_leaf)
    with pytest.raises(Interrupted):
        accumulate(Stops(registry), CHUNKS, registry, config, checkpoints=tmp_path)
    newest = max((tmp_path / name for name in GENERATIONS), key=lambda path: path.stat().st_mtime_ns)
    raw = bytearray(newest.read_bytes())
    raw[len(raw) // 2] ^= 1
    newest.write_bytes(raw)
    told = []
    found = accumulate(Sample(registry), CHUNKS, registry, config, checkpoints=tmp_path, tell=told.append)
    assert told[0].chunk.number == 4
    assert content(found, tmp_path) == content(accumulate(Sample(registry), CHUNKS, registry, config), tmp_path)


def test_a_changed_configuration_or_input_is_refused_with_the_difference(registry, tmp_path):
    accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=tmp_path, inputs={"a.parquet": "12"})
    with pytest.raises(ConfigError, match="jackknife_parts changed") as error:
        accumulate(Sample(registry), CHUNKS, registry, AccumulateConfig(jackknife_parts=10), checkpoints=tmp_path,
                   inputs={"a.parquet": "12"})  # fmt: skip
    assert "was 20, now 10" in error.value.where["change"]
    with pytest.raises(ConfigError, match="inputs changed"):
        accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=tmp_path, inputs={"a.parquet": "13"})


def test_a_folder_in_use_is_refused(registry, tmp_path):
    (tmp_path / LOCK).write_text(str(os.getppid()))
    with pytest.raises(ConfigError, match=f"process {os.getppid()} is accumulating"):
        accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=tmp_path)


@pytest.mark.parametrize("fails_at", [1, 2, 3, 5, 8])
def test_a_full_disk_leaves_the_older_generations(registry, tmp_path, monkeypatch, fails_at):
    import mucal.store.files as files

    saves = 0
    fsync = files.os.fsync

    def full(descriptor):
        nonlocal saves
        saves += 1
        if saves == fails_at:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(ResourceError, match="disk is full"):
        accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=tmp_path)
    monkeypatch.setattr(files.os, "fsync", fsync)
    found = accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=tmp_path)
    assert content(found, tmp_path) == content(accumulate(Sample(registry), CHUNKS, registry, FEW), tmp_path)


RESUMED = """
import importlib.util
spec = importlib.util.spec_from_file_location("made_up", {conftest!r})
made_up = importlib.util.module_from_spec(spec)
spec.loader.exec_module(made_up)
from mucal.globalcor import AccumulateConfig, Registry, accumulate, divide

registry = Registry.load({registry!r})
done = accumulate(
    made_up.Sample(registry), divide(300, 30), registry, AccumulateConfig(every=1), checkpoints={kept!r},
    tell=lambda made: print(made.chunk.number, flush=True),
)
done.save({done!r}, overwrite=True)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_a_sum_killed_at_random_moments_goes_on_to_the_same_bytes(registry, tmp_path, kills):
    script = tmp_path / "sum.py"
    registry.save(tmp_path / "registry.h5")
    script.write_text(
        RESUMED.format(
            conftest=str(Path(__file__).with_name("conftest.py")), registry=str(tmp_path / "registry.h5"),
            kept=str(tmp_path / "kept"), done=str(tmp_path / "done.h5"),
        )
    )  # fmt: skip
    rng = np.random.default_rng(8)
    for _ in range(kills):
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
        for _ in range(rng.integers(1, 3)):  # chunks, until there are none left
            process.stdout.readline()
        time.sleep(rng.uniform(0.0, 0.03))
        process.kill()
        process.wait()
        process.stdout.close()
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True)
    plain = accumulate(Sample(registry), CHUNKS, registry, AccumulateConfig(every=1))
    assert (tmp_path / "done.h5").read_bytes() == plain.save(tmp_path / "plain.h5").read_bytes()
