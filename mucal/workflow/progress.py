"""What the stages tell while they run; who listens (a terminal, a log, nobody) is not their business."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing told: a line of text when there is `text`, else progress of a stage.

    stage : name of the stage
    text  : a line for people: a ledger, a headline number, a warning
    done  : amount finished, in the unit of the stage
    total : amount expected, if known
    unit  : what `done` counts
    """

    stage: str
    text: str = ""
    done: int = 0
    total: int | None = None
    unit: str = ""


Tell = Callable[[Event], None]


def silent(_event: Event) -> None:
    """Tell nobody."""
