"""Exit codes are true, and an error says what, where and what to do."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from mucal.cli import program
from mucal.errors import ConfigError, InputError, Interrupted, NotCertified, ResourceError, VerificationError


def test_help_and_version_are_0(mucal):
    assert mucal("--help").code == 0
    assert mucal("--version").out.startswith("mucal ")


@pytest.mark.parametrize("command", program.COMMANDS)
def test_every_command_has_help(mucal, command):
    ended = mucal(command, "--help")
    assert ended.code == 0
    assert "Usage: mucal" in ended.out


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("a"), 2), (InputError("a"), 3), (NotCertified("a"), 4), (Interrupted("a"), 5),
        (ResourceError("a"), 6), (VerificationError("a"), 7), (ValueError("a"), 1), (KeyboardInterrupt(), 5),
        (click.UsageError("a"), 2), (FileExistsError(errno.EEXIST, "exists", "f"), 2), (MemoryError(), 6),
        (OSError(errno.ENOSPC, "no space", "f"), 6), (PermissionError(errno.EACCES, "denied", "f"), 2),
    ],
)  # fmt: skip
def test_an_error_ends_with_its_exit_code(mucal, monkeypatch, error, code):
    @click.command("check")
    def failing() -> None:
        raise error

    monkeypatch.setattr(program.Program, "get_command", lambda self, context, name: failing)
    ended = mucal("check")
    assert ended.code == code
    assert f"[exit {code}" in ended.err
    assert ("Traceback" in ended.err) == (code == 1)


@pytest.fixture
def at_work():
    """SIGINT is heeded, as in a shell at work; what such a shell starts in the background is told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_compiled_code_turned_into_another_error_is_5(mucal, monkeypatch, at_work, stop):
    @click.command("check")
    def failing() -> None:
        try:
            os.kill(os.getpid(), stop)
            time.sleep(5.0)
        except KeyboardInterrupt as interrupt:
            raise SystemError("CPUDispatcher(...) returned a result with an exception set") from interrupt

    monkeypatch.setattr(program.Program, "get_command", lambda self, context, name: failing)
    ended = mucal("check")
    assert ended.code == 5
    assert "bug" not in ended.err


def test_an_error_after_an_earlier_command_was_stopped_is_itself(mucal, monkeypatch):
    def command_raising(error: BaseException) -> click.Command:
        @click.command("check")
        def failing() -> None:
            if isinstance(error, KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGTERM)
            raise error

        return failing

    codes = []
    for error in (KeyboardInterrupt(), ValueError("a")):
        monkeypatch.setattr(program.Program, "get_command", lambda *_, error=error: command_raising(error))
        codes.append(mucal("check").code)
    assert codes == [5, 1]


def test_an_unknown_command_names_the_nearest(mucal):
    ended = mucal("mssfit")
    assert ended.code == 2
    assert "did you mean 'massfit'" in ended.err


@pytest.mark.parametrize("words", [("run", "--colour"), ("massfit",), ("show",), ("run", "-o", "x", "--jobs", "0")])
def test_a_wrong_option_is_2_and_names_the_help_of_its_command(mucal, words):
    ended = mucal(*words)
    assert ended.code == 2
    assert f"see mucal {words[0]} --help" in ended.err


def test_files_without_a_configuration_are_2(mucal, tmp_path: Path):
    assert mucal("run", "a.root", "-o", tmp_path / "out").code == 2


def test_with_json_an_error_is_an_object_on_standard_output(mucal, tmp_path: Path):
    ended = mucal("show", tmp_path / "absent.h5", "--json")
    assert ended.code == 3
    assert json.loads(ended.out)["kind"] == "input.missing_file"


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_with_5_says_how_to_go_on_and_leaves_no_lock(tmp_path: Path, signal_number: int):
    out = tmp_path / "out"
    command = [sys.executable, "-c", "import sys; from mucal.cli import main; sys.exit(main())", "run", "-o", str(out)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # as in a shell at work
    )
    deadline = time.monotonic() + 60
    while not (out / ".running").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal_number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 5
    assert f"go on with: mucal run -o {out} --resume" in error
    assert json.loads((out / "result.json").read_text())["status"] == "interrupted"
    assert not (out / ".running").exists()
