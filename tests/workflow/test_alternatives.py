"""Runs that stand as alternatives to another one: their tables become nuisances, or the run says why not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import load
from mucal.errors import ConfigError, InputError
from mucal.report import UncertaintyModel
from mucal.scale import ScaleTable
from mucal.store import sha256
from mucal.workflow import load_analysis, run
from mucal.workflow.alternatives import read_alternatives
from mucal.workflow.config import analysis_of
from mucal.workflow.progress import Event
from mucal.workflow.toml_text import parse_toml

from .conftest import small


def named(folder: Path, name: str = "wider") -> str:
    return f"calibration.alternatives.{name}={json.dumps(str(folder))}"


@pytest.fixture(scope="module")
def wider(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small run with another mass window."""
    out = tmp_path_factory.mktemp("wider") / "out"
    run(small("bins.mass_window=[2.85, 3.35]"), out)
    return out


@pytest.fixture(scope="module")
def both(small_run: Path, wider: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """The small run with the other one as an alternative, taken up from its finished stages."""
    out = tmp_path_factory.mktemp("both") / "out"
    shutil.copytree(small_run, out)
    told: list[Event] = []
    run(small(named(wider)), out, resume=True, tell=told.append)
    return out, told


def test_the_difference_of_the_tables_is_a_nuisance_of_the_release(both: tuple[Path, list[Event]], wider: Path):
    out, _ = both
    calibration = load(out / "calibration")
    own, other = (ScaleTable.load(folder / "scale.h5") for folder in (out, wider))
    assert np.any(own.A != other.A)
    shift = calibration.variation("alternative_wider")
    assert_allclose(shift, np.stack([other.A - own.A, other.e - own.e, other.M - own.M]), atol=1e-18)
    assert calibration.provenance.inputs[str(wider / "scale.h5")] == sha256(wider / "scale.h5")


def test_it_changes_nothing_else(both: tuple[Path, list[Event]], small_run: Path):
    out, told = both
    calibration, before = load(out / "calibration"), load(small_run / "calibration")
    assert tuple(name for name in calibration.names if name != "alternative_wider") == before.names
    assert all(np.array_equal(calibration.variation(name), before.variation(name)) for name in before.names)
    assert np.array_equal(ScaleTable.load(out / "scale.h5").cov, ScaleTable.load(small_run / "scale.h5").cov)
    stages = {path.relative_to(out).as_posix() for path in (out / "stages").glob("*.h5")}
    assert {event.stage for event in told if "taken up" in event.text} == stages


def test_the_page_says_what_its_pattern_asks_for(both: tuple[Path, list[Event]]):
    out, _ = both
    model = UncertaintyModel.load(out / "uncertainties.h5")
    source = model.sources[model.groups.index("alternative")]
    assert "alternative calibration 'wider' less this one" in source
    assert "asks for a factor" in (out / "report.html").read_text(encoding="utf-8")


def test_several_alternatives_are_all_named_in_the_model(small_run: Path, wider: Path, tmp_path: Path):
    out = tmp_path / "out"
    shutil.copytree(small_run, out)
    run(small(named(wider), named(wider, "again")), out, resume=True)
    model = UncertaintyModel.load(out / "uncertainties.h5")
    i = model.groups.index("alternative")
    assert model.counts[i] == 2
    assert "'wider'" in model.sources[i]
    assert "'again'" in model.sources[i]


def test_a_relative_folder_is_relative_to_the_file_that_names_it(tmp_path: Path):
    text = '[calibration]\npt_definition = "refit"\nalternatives = { off = "other" }\n'
    analysis = analysis_of(parse_toml(text, "c.toml", tmp_path / "folder"))
    assert analysis.calibration.alternatives == {"off": str(tmp_path / "folder/other")}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("bins.eta_edges=[-2.4, 0.5, 2.4]",), r"eta_edges = \[-2.4, 0.0, 2.4\], that of this run will have"),
        (("bins.eta_edges=[0.0, 1.2, 2.4]", "bins.abs_eta=true"), r"will have \[-2.4, -1.2, 0.0, 1.2, 2.4\]"),
        (("calibration.pt_definition=\"mine\"",), "corrects momenta '.*', this run 'mine'"),
        (("massfit.resonance=\"psi2s\"",), "its table is of jpsi, that of this run will be of psi2s"),
    ],
)  # fmt: skip
def test_a_run_that_cannot_be_compared_is_refused_before_anything_is_done(
    wider: Path, settings: tuple[str, ...], message: str
):
    with pytest.raises(ConfigError, match=f"alternative 'wider': .*{message}"):
        read_alternatives(small(named(wider), *settings), Path("out"))


def test_a_run_is_no_alternative_to_itself(wider: Path):
    with pytest.raises(ConfigError, match="alternative 'wider': its folder is that of this run"):
        run(small(named(wider)), wider, resume=True)
    assert (wider / "calibration").is_dir()


def test_a_name_that_cannot_be_that_of_a_nuisance_is_refused_before_anything_is_done(wider: Path):
    with pytest.raises(ConfigError, match="an alternative is named 'a-b', expected letters, digits and _"):
        small(named(wider, "a-b"))


def test_bins_of_abs_eta_stand_for_both_sides(wider: Path):
    # the table of the other run has the edges -2.4, 0, 2.4
    found = read_alternatives(small(named(wider), "bins.eta_edges=[0.0, 2.4]", "bins.abs_eta=true"), Path("out"))
    assert set(found.tables) == {"wider"}


def test_a_run_that_was_not_certified_is_refused(wider: Path, tmp_path: Path):
    shutil.copytree(wider, tmp_path / "bad")
    path = tmp_path / "bad/result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "not_certified", "reason": "few fits"}))
    with pytest.raises(ConfigError, match="'wider': its run was not certified: few fits"):
        read_alternatives(small(named(tmp_path / "bad")), Path("out"))


def test_a_folder_that_holds_no_run_is_refused_and_leaves_the_output_as_it_is(small_run: Path, tmp_path: Path):
    out = tmp_path / "out"
    shutil.copytree(small_run, out)
    with pytest.raises(InputError, match="not the folder of a run") as caught:
        run(small(named(tmp_path / "none")), out, overwrite=True)
    assert caught.value.where["asked"] == "calibration.alternatives.wider"
    assert sha256(out / "scale.h5") == sha256(small_run / "scale.h5")


def test_pairs_that_are_read_are_no_alternative_to_pairs_from_hits(wider: Path):
    from_hits = load_analysis(settings=("bins.eta_edges=[-2.4, 0.0, 2.4]", named(wider)), preset="quick")
    same = replace(from_hits.calibration, pt_definition=small().calibration.pt_definition)
    with pytest.raises(ConfigError, match="one of the two runs begins with hits"):
        read_alternatives(replace(from_hits, calibration=same), Path("out"))
