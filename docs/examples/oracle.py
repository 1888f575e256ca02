"""The functions of a test in `tests/oracles`, for the scripts here that draw what it compares."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "tests" / "oracles"


def oracle(name: str) -> ModuleType:
    """The module `tests/oracles/NAME.py`."""
    spec = spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
