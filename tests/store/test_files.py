"""A file is there whole or not at all, whatever fails and whoever else writes."""

import errno
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mucal import store
from mucal.errors import ResourceError, VerificationError
from mucal.store import Result, files, result


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner(Result):
    values: np.ndarray
    label: str = ""


def test_nothing_is_overwritten_silently(tmp_path: Path):
    path = Inner(values=np.zeros(3)).save(tmp_path / "r.h5")
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        Inner(values=np.ones(3)).save(path)
    assert path.read_bytes() == before


def slowly_while_another_writes(temporary: Path) -> None:
    temporary.write_bytes(b"slow")
    store.write_bytes(temporary.parent / "r", b"quick")


def no_hard_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("hard_links", [True, False])
def test_of_two_writers_of_a_new_name_the_slower_is_refused(tmp_path: Path, monkeypatch, hard_links: bool):
    if not hard_links:
        monkeypatch.setattr(Path, "hardlink_to", no_hard_links)
    with pytest.raises(FileExistsError, match="exists already"):
        store.replace_file(tmp_path / "r", slowly_while_another_writes)
    assert (tmp_path / "r").read_bytes() == b"quick"
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_of_two_writers_that_may_overwrite_the_last_one_stays(tmp_path: Path):
    store.replace_file(tmp_path / "r", slowly_while_another_writes, overwrite=True)
    assert (tmp_path / "r").read_bytes() == b"slow"


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(Path, "hardlink_to", no_hard_links)
    assert store.write_bytes(tmp_path / "r", b"x").read_bytes() == b"x"
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


@pytest.mark.parametrize("where", [(files, "_sync"), (result, "_write"), (result, "_compare")], ids=lambda w: w[1])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EDQUOT, "quota")])
def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch, where: tuple[ModuleType, str], error: OSError):
    path = Inner(values=np.zeros(3)).save(tmp_path / "r.h5")
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(*where, fail)
    with pytest.raises(ResourceError, match="disk is full") as caught:
        Inner(values=np.ones(3)).save(path, overwrite=True)
    assert caught.value.exit_code == 6
    assert [p.name for p in tmp_path.iterdir()] == ["r.h5"]
    assert path.read_bytes() == before


def test_the_failing_of_any_write_keeps_the_old_file(tmp_path: Path):
    """A process limited to n bytes per file, for n across the whole of it: each write in turn is the one that fails."""
    path = Inner(values=np.zeros(300)).save(tmp_path / "r.h5")
    before, size = path.read_bytes(), path.stat().st_size
    code = (
        "import resource, signal, sys, numpy as np\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_files import Inner\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"for limit in range(0, {size}, {max(1, size // 40)}):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))\n"
        "    try:\n"
        f"        Inner(values=np.ones(300)).save({str(path)!r}, overwrite=True)\n"
        "        print('saved', limit)\n"
        "    except OSError as error:\n"
        "        pass\n"
    )
    run = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    assert [p.name for p in tmp_path.iterdir()] == ["r.h5"]
    assert path.read_bytes() == before


def test_what_reads_back_differently_is_not_kept(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(result, "_write", lambda saved, path: WRITE(Inner(values=saved.values + 1), path))
    with pytest.raises(VerificationError, match="'values' reads back differently"):
        Inner(values=np.zeros(3)).save(tmp_path / "r.h5")
    assert list(tmp_path.iterdir()) == []


WRITE = result._write


def test_an_interrupt_leaves_nothing(tmp_path: Path):
    def interrupted(_: Path) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.replace_file(tmp_path / "r.h5", interrupted)
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_the_old_file_or_the_new_one(tmp_path: Path):
    path = Inner(values=np.zeros(20_000)).save(tmp_path / "r.h5")
    code = (
        "import sys, numpy as np\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from test_files import Inner\n"
        "print('ready', flush=True)\n"
        "for i in range(1, 100_000):\n"
        f"    Inner(values=np.full(20_000, float(i))).save({str(path)!r}, overwrite=True)\n"
    )
    rng = np.random.default_rng(0)
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-B", "-c", code], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.1))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        values = Inner.load(path).values
        assert values.size == 20_000
        assert np.all(values == values[0])


def test_bytes_are_written_like_results(tmp_path: Path):
    store.write_bytes(tmp_path / "x", b"one")
    with pytest.raises(FileExistsError):
        store.write_bytes(tmp_path / "x", b"two")
    store.write_bytes(tmp_path / "x", b"two", overwrite=True)
    assert (tmp_path / "x").read_bytes() == b"two"
