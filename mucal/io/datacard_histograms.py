"""The histograms that a datacard names, from ROOT files beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from mucal.arrays import FloatArray
from mucal.errors import InputError, nearest
from mucal.io.datacard_text import Card
from mucal.io.event_table import first_line
from mucal.likelihood import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """values and variances (bins,), the last axis running fastest; axes as names with their edges"""

    values: FloatArray
    variances: FloatArray
    axes: tuple[tuple[str, tuple[float, ...]], ...]

    def channel(self, name: str) -> Channel:
        """A channel with these axes."""
        return Channel(name=name, axes=tuple(n for n, _ in self.axes), edges=tuple(edges for _, edges in self.axes))


class Histograms:
    """Histograms of a card by what they are for; files are opened once."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.files: dict[Path, Any] = {}

    def __enter__(self) -> "Histograms":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self.files.values():
            file.close()

    def pattern(self, process: str, channel: str) -> tuple[str, ...]:
        """File, nominal and varied pattern of a process in a channel; ("FAKE",) or nothing for a counting one."""
        shapes = self.card.shapes
        keys = [(process, channel), ("*", channel), (process, "*"), ("*", "*")]
        return next((shapes[key] for key in keys if key in shapes), ())

    def has(self, process: str, channel: str) -> bool:
        """Whether a process has a histogram in a channel."""
        return self.pattern(process, channel) not in ((), ("FAKE",))

    def get(self, process: str, channel: str, variation: str = "", line: int | str = "shapes") -> Histogram:
        """The nominal histogram, or a varied one, as variation = "jesUp".

        Raises InputError for a file or histogram that is not there, with the nearest names.
        """
        pattern = self.pattern(process, channel)
        if variation and len(pattern) < 3:
            raise InputError(
                f"shapes of '{process}' in '{channel}' have no pattern for variations",
                kind="datacard.shapes",
                where=self.card.where(line),
            )
        name = pattern[2] if variation else pattern[1]
        for key, text in (("$CHANNEL", channel), ("$PROCESS", process), ("$SYSTEMATIC", variation)):
            name = name.replace(key, text)
        if "$" in name:
            raise InputError(
                f"the name '{name}' has a '$' that is not known; expected $CHANNEL, $PROCESS, $SYSTEMATIC",
                kind="datacard.shapes",
                where=self.card.where(line),
            )
        return self._read(self.card.path.parent / pattern[0], name, line)

    def _read(self, path: Path, name: str, line: int | str) -> Histogram:
        where = {**self.card.where(line), "root": str(path), "histogram": name}
        file = self._open(path, where)
        if name not in file:
            known = [key.split(";")[0] for key in file.keys()]  # noqa: SIM118  a directory of uproot
            raise InputError(
                f"there is no histogram '{name}'",
                kind="datacard.shapes",
                where={**where, "near": ", ".join(nearest(name, known))},
            )
        found = file[name]
        if not hasattr(found, "values") or not hasattr(found, "variances"):
            raise InputError(f"'{name}' is a {type(found).__name__}, no histogram", kind="datacard.shapes", where=where)
        values = np.asarray(found.values(), dtype=float)
        variances = np.asarray(found.variances(), dtype=float)
        if not (np.all(np.isfinite(values)) and np.all(np.isfinite(variances))):
            raise InputError(f"histogram '{name}' is not finite", kind="datacard.shapes", where=where)
        axes = tuple(
            (axis.member("fTitle") or f"axis{i}", tuple(map(float, axis.edges()))) for i, axis in enumerate(found.axes)
        )
        return Histogram(values=values.ravel(), variances=variances.ravel(), axes=axes)

    def _open(self, path: Path, where: dict[str, str]) -> Any:
        if path not in self.files:
            try:
                self.files[path] = uproot.open(path)
            except Exception as error:  # damaged bytes surface as whatever the parser raises
                raise InputError(
                    f"{path.name} cannot be read: {first_line(error)}", kind="datacard.shapes", where=where
                ) from error
        return self.files[path]
