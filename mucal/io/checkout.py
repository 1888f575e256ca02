"""The commit that mucal itself runs from."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Final

import mucal

PATIENCE: Final = 5.0
"""Seconds that git may take."""


@cache
def commit() -> str | None:
    """The git hash of the checkout that mucal runs from, "-dirty" appended if it was changed; None without one."""
    return commit_of(Path(mucal.__file__).parents[1])


def commit_of(folder: Path) -> str | None:
    """The same of any folder that is the top of a checkout; None, never an error, if git cannot say."""
    command = ["git", "--no-optional-locks", f"--git-dir={folder / '.git'}", f"--work-tree={folder}"]
    try:
        found = subprocess.run(
            [*command, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"],
            cwd=folder, capture_output=True, text=True, check=True, timeout=PATIENCE,
        )  # fmt: skip
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
