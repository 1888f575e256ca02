"""What can go wrong, with the exit code a command ends with and a sentence a user can act on.

An error says what was found, where, what asked for it and what to do:

    error: branch 'Muon_cvhPt' is missing                               [exit 3, input.missing_branch]
      file   data/run2016G_017.root   tree Events
      asked  config.toml:14 columns.pt      near  Muon_cvhidealPt, Muon_pt
      do     set columns.pt to one of the names above
"""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from enum import IntEnum
from typing import ClassVar, Self


class MucalError(Exception):
    """An error with a kind (a stable dotted name), places, and a remedy.

    what  : the finding, with numbers
    kind  : dotted name for scripts, as ``input.missing_branch``
    where : label -> text, printed one line each (file, tree, branch, entry; table, axis, bin; config, key)
    do    : what the user can do about it
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, kind: str = "", where: Mapping[str, object] | None = None, do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.kind = kind
        self.where = {key: str(value) for key, value in (where or {}).items() if value is not None and str(value)}
        self.do = do

    def __str__(self) -> str:
        head = f"{self.what}   [exit {self.exit_code}{', ' + self.kind if self.kind else ''}]"
        lines = [f"  {label:<6} {text}" for label, text in self.where.items()]
        if self.do:
            lines.append(f"  {'do':<6} {self.do}")
        return "\n".join([head, *lines])


class ConfigError(MucalError):
    """The command line or the configuration is wrong (exit 2)."""

    exit_code = 2


class InputError(MucalError):
    """An input cannot be used as it is (exit 3)."""

    exit_code = 3


class NotCertified(MucalError):
    """A result did not converge, or is not fit to be exported (exit 4)."""

    exit_code = 4


class Interrupted(MucalError):
    """The run was interrupted and can be resumed (exit 5)."""

    exit_code = 5


class ResourceError(MucalError):
    """Disk, memory or time ran out (exit 6)."""

    exit_code = 6


class VerificationError(MucalError):
    """A file is not what its digest says (exit 7)."""

    exit_code = 7


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like `name`, best first; matching ignores case."""
    by_lower = {k.lower(): k for k in known}
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=count, cutoff=0.4)]


class StatusEnum(IntEnum):
    """How one of many fits, tracks or parameters ended: members are (number, sentence), and are the number.

    A batch does not stop where one of its entries fails: the entry gets a status, whose sentence people read.
    """

    sentence: str

    def __new__(cls, value: int, sentence: str = "") -> Self:
        """The member of this number."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.sentence = sentence
        return member
