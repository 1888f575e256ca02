"""The ledger of a stage: what was read is what was used plus what was rejected, by reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

EXAMPLES_KEPT = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Counts of one stage, addable over chunks.

    unit     : what is counted, as "events" or "muons"
    read     : everything seen
    used     : what went on
    rejected : reason -> count; read = used + the sum of these, always
    examples : reason -> where the first five were found
    """

    unit: str = "events"
    read: int = 0
    used: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        total = self.used + sum(self.rejected.values())
        if self.read != total:
            raise ValueError(
                f"the ledger does not add up: read {self.read} {self.unit}, but used {self.used} + rejected "
                f"{dict(self.rejected)} = {total}"
            )
        object.__setattr__(self, "rejected", MappingProxyType({k: int(v) for k, v in self.rejected.items() if v}))
        object.__setattr__(
            self, "examples", MappingProxyType({k: tuple(v)[:EXAMPLES_KEPT] for k, v in self.examples.items() if v})
        )

    def __add__(self, other: "Ledger") -> "Ledger":
        if self.unit != other.unit and self.read and other.read:
            raise ValueError(f"cannot add a ledger of {other.unit} to one of {self.unit}")
        reasons = [*self.rejected, *(r for r in other.rejected if r not in self.rejected)]
        return Ledger(
            unit=self.unit if self.read else other.unit,
            read=self.read + other.read,
            used=self.used + other.used,
            rejected={r: self.rejected.get(r, 0) + other.rejected.get(r, 0) for r in reasons},
            examples={r: (*self.examples.get(r, ()), *other.examples.get(r, ())) for r in reasons},
        )

    def line(self) -> str:
        """`read 20 000 events = used 19 929 + looper 38 + nonfinite:pt 33`, thousands set apart by spaces."""
        parts = [f"used {_spaced(self.used)}", *(f"{reason} {_spaced(n)}" for reason, n in self.rejected.items())]
        return f"read {_spaced(self.read)} {self.unit} = " + " + ".join(parts)

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {
            "unit": self.unit,
            "read": self.read,
            "used": self.used,
            "rejected": dict(self.rejected),
            "examples": {k: list(v) for k, v in self.examples.items()},
        }


def _spaced(n: int) -> str:
    return f"{n:,}".replace(",", " ")
