"""Every notebook runs from its first cell to its last, and is stored without output."""

import os
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
RECORDED = {"resonances"}
"""Those that read the recorded samples."""


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= RECORDED | {"closure", "mw_fit", "weak_modes"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_output(path):
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


@pytest.mark.filterwarnings("default")  # the kernel client's own
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_figures(path, tmp_path, monkeypatch):
    if path.stem in RECORDED and not Path(os.environ.get("MUCAL_DATA", "none")).is_dir():
        pytest.skip("MUCAL_DATA does not name the folder of recorded dimuon samples")
    book = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(book, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    figures = [output for output in outputs if "image/png" in output.get("data", {})]
    said = [output.text for output in outputs if output.get("name") == "stderr"]
    complaints = [line for text in said for line in text.splitlines() if not line.startswith("findfont")]
    assert len(figures) >= 2
    assert complaints == []
