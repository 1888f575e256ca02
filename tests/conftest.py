"""What several test files need: the folder of recorded data, if there is one."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def recorded() -> Path:
    """Folder of the recorded samples, named by MUCAL_DATA; tests that need it skip without it."""
    folder = Path(os.environ.get("MUCAL_DATA", ""))
    if not os.environ.get("MUCAL_DATA") or not folder.is_dir():
        pytest.skip("MUCAL_DATA does not name the folder of recorded dimuon samples")
    return folder
