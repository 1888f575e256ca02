"""`import mucal` and the help of every command bring in nothing heavy: checked by content, not by clock."""

import json
import subprocess
import sys

import pytest

from mucal.cli.program import COMMANDS

HEAVY = (
    "tensorflow", "zfit", "jax", "matplotlib", "pandas", "dask", "numba", "uproot", "awkward", "scipy", "numpy",
    "h5py", "pyarrow", "correctionlib", "mplhep", "hist", "iminuit", "pydantic", "rich", "jinja2",
)  # fmt: skip


def heavy_modules(code: str) -> list[str]:
    """The heavy packages that a fresh interpreter holds after running `code`."""
    tail = f"\nimport sys, json\nprint('\\n' + json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    out = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True).stdout
    found: list[str] = json.loads(out.splitlines()[-1])
    return found


def test_import_mucal_is_light():
    assert heavy_modules("import mucal") == []


def test_help_is_light():
    assert heavy_modules("from mucal.cli import main\nassert main(['--help']) == 0") == []


def test_version_is_light():
    assert heavy_modules("from mucal.cli import main\nassert main(['--version']) == 0") == []


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_is_light(command: str):
    assert heavy_modules(f"from mucal.cli import main\nassert main(['{command}', '--help']) == 0") == []
