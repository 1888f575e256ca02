"""Sums taken up again."""

import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mucal.errors import ConfigError, Interrupted, ResourceError
from mucal.globalcor import AccumulateConfig, accumulate, divide
from mucal.globalcor.checkpoints import GENERATIONS, LOCK

from .conftest import CHUNKS, FEW, Sample, content

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


def test_a_sum_of_another_version_is_refused(registry, tmp_path, monkeypatch):
    accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=tmp_path)
    monkeypatch.setattr("mucal.globalcor.checkpoints.__version__", "0.0.7")
    with pytest.raises(ConfigError, match="mucal changed") as error:
        accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=tmp_path)
    assert 'now "0.0.7"' in error.value.where["change"]


def test_a_folder_in_use_is_refused(registry, tmp_path):
    (tmp_path / LOCK).write_text(str(os.getppid()))
    with pytest.raises(ConfigError, match=f"process {os.getppid()} is accumulating into .*, for [0-9]+ s"):
        accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=tmp_path)


def test_a_full_disk_leaves_the_older_generations(registry, tmp_path, monkeypatch):
    """The N-th write fails, for every N of a sum."""
    import mucal.store.files as files

    fsync, writes, fails_at = files.os.fsync, 0, 0

    def full(descriptor):
        nonlocal writes
        writes += 1
        if writes == fails_at:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(files.os, "fsync", full)
    plain = accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=tmp_path / "kept")
    most = writes
    assert most >= 5
    for fails_at in range(1, most + 1):
        kept, writes = tmp_path / str(fails_at), 0
        with pytest.raises(ResourceError, match="disk is full") as error:
            accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=kept)
        assert error.value.exit_code == 6
        found = accumulate(Sample(registry), CHUNKS, registry, FEW, checkpoints=kept)
        assert content(found, tmp_path) == content(plain, tmp_path)


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


def test_a_long_sum_keeps_memory_and_file_handles_flat(registry, tmp_path):
    config, chunks = AccumulateConfig(every=5), divide(200, 4)
    seen = []

    def watch(made):
        if made.chunk.number % 10 == 9:
            seen.append((len(list(Path("/proc/self/fd").iterdir())), tracemalloc.get_traced_memory()[0]))

    tracemalloc.start()
    accumulate(Sample(registry), chunks, registry, config, checkpoints=tmp_path, tell=watch)
    tracemalloc.stop()
    handles, memory = zip(*seen, strict=True)
    assert len(set(handles)) == 1
    # after the first chunks every block of 67 parameters is there
    assert memory[-1] < 1.2 * memory[1]


def test_saving_a_sum_holds_it_once(registry, tmp_path):
    sums = accumulate(Sample(registry), CHUNKS, registry, FEW)
    (part,) = sums.partials
    keys = np.arange(50_000)
    large = replace(sums, partials=(replace(part, keys=keys, values=np.ones((keys.size, 8, 8))),))
    tracemalloc.start()
    large.save(tmp_path / "large.h5")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.5 * large.partials[0].values.nbytes  # some slabs of 4 MB; a copy would be 25.6 MB
