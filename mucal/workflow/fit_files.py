"""The file of a template fit, recognised by what it holds: ours, a pyhf workspace, a rabbit tensor, a datacard."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal

from mucal.errors import InputError
from mucal.io.fit_input import FitInput
from mucal.likelihood import Model
from mucal.store import is_result, read_header

HEAD: Final = 4096
"""Bytes by which a format is recognised."""
HDF5: Final = b"\x89HDF\r\n\x1a\n"
FORMATS: Final = (
    "a result of mucal (Model, FitInput, Templates), a pyhf workspace (JSON), a rabbit tensor (HDF5), a datacard (text)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """What a reader cannot know from the file.

    measurement        : of a pyhf workspace; the first by default
    systematic_type    : of a rabbit tensor
    per                : factors of the simulation that a rabbit tensor is to be fitted with; None for "bin"
    largest_difference : of expected events, relative, that our interpolation may make; None for the readers' own
    """

    measurement: str | None = None
    systematic_type: Literal["auto", "log_normal", "normal"] = "auto"
    per: Literal["bin", "process"] | None = None
    largest_difference: float | None = None


def load_fit_input(path: str | Path, options: ReadOptions | None = None) -> FitInput:
    """The model and data of a file of any known format.

    Raises InputError for a missing or unknown file, and what the format's own reader raises.
    """
    path, options = Path(path), options or ReadOptions()
    if not path.is_file():
        what = f"{path} is a folder, expected a file" if path.is_dir() else f"there is no file {path}"
        raise InputError(what, kind="input.missing_file", where={"file": path})
    if is_result(path):
        return _own(path)
    with open(path, "rb") as file:
        head = file.read(HEAD)
    if not head.strip():
        raise InputError(f"{path.name} is empty", kind="input.empty_file", where={"file": path})
    return _reader(path, head, options)(path)


def _own(path: Path) -> FitInput:
    kind = read_header(path)["type"]
    if kind == "Model":
        return FitInput(model=Model.load(path), format="mucal")
    if kind == "FitInput":
        return FitInput.load(path)
    if kind == "Templates":
        stage = import_module("mucal.workflow.templates")
        return FitInput(model=stage.measurement(stage.Templates.load(path)), format="mucal templates")
    raise InputError(
        f"{path.name} holds a {kind}, expected a Model, a FitInput or Templates",
        kind="input.wrong_type",
        where={"file": path},
    )


def _reader(path: Path, head: bytes, options: ReadOptions) -> Callable[[Path], FitInput]:
    """The reader by content; each is imported when it is used, for the libraries behind them are slow to load."""
    allowed = {} if options.largest_difference is None else {"largest_difference": options.largest_difference}
    if head.startswith(HDF5):
        return _bound("rabbit", "read_rabbit", systematic_type=options.systematic_type, per=options.per or "bin")
    if head.startswith(b"\x1f\x8b") or head.lstrip().startswith((b"{", b"\xef\xbb\xbf{")):
        return _bound("pyhf", "read_pyhf", measurement=options.measurement, **allowed)
    text = head.decode("utf-8", "replace")
    is_text = "\ufffd" not in text[:-4] and "\0" not in text
    if is_text and import_module("mucal.io.datacard_text").looks_like_card(text):
        return _bound("datacard", "read_datacard", **allowed)
    raise InputError(
        f"{path.name} is none of the formats of a fit: it starts with {head[:12]!r}",
        kind="input.foreign_file",
        where={"file": path, "known": FORMATS},
    )


def _bound(module: str, name: str, **options: Any) -> Callable[[Path], FitInput]:
    def read(path: Path) -> FitInput:
        found: FitInput = getattr(import_module(f"mucal.io.{module}"), name)(path, **options)
        return found

    return read
