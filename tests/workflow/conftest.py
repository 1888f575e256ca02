"""What tests of whole runs share: figures as their numbers instead of drawings, and one small finished run."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from mucal.workflow import load_analysis, run
from mucal.workflow.config import Analysis

SMALL = (
    "generate.data=40_000", "generate.simulation=40_000", "bins.eta_edges=[-2.4, 0.0, 2.4]",
    "bins.pt_edges=[4.0, 6.5, 25.0]", "spectra.0.events=2_000", "massfit.min_events=200", "analysis.passes=1",
    "scale.free=['A', 'M']",
)  # fmt: skip


def small(*settings: str) -> Analysis:
    """The smallest run of dimuons that is certified."""
    return load_analysis(settings=(*SMALL, *settings), preset="dimuons")


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished run, to be copied before it is changed."""
    out = tmp_path_factory.mktemp("small") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mucal.report.page.to_svg", numbers_of)
        run(small(), out)
    return out


@pytest.fixture(scope="module", autouse=True)
def figures_as_numbers() -> Iterator[None]:
    """Drawing takes half of a small run; tests/plot draws every figure, tests/cli the page of a run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mucal.report.page.to_svg", numbers_of)
        yield


def numbers_of(figure: Figure) -> str:
    """An <svg> with a digest of what a figure shows: its curves, markers, areas, images and texts."""
    digest = hashlib.sha256()
    for axes in figure.axes:
        words = [axes.get_title(loc="left"), axes.get_xlabel(), axes.get_ylabel(), *(t.get_text() for t in axes.texts)]
        digest.update("\n".join(words).encode())
        paths = [artist.get_path() for artist in (*axes.lines, *axes.patches)]
        paths += [path for collection in axes.collections for path in collection.get_paths()]
        shown = [path.vertices for path in paths]
        shown += [np.ma.filled(collection.get_offsets(), np.nan) for collection in axes.collections]
        shown += [np.ma.filled(image.get_array(), np.nan) for image in axes.images]
        for values in shown:
            digest.update(np.ascontiguousarray(values).tobytes())
    return f'<svg xmlns="http://www.w3.org/2000/svg"><title>{digest.hexdigest()}</title></svg>'
