"""What is said about files of hits before they are fitted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mucal.detector import barrel
from mucal.errors import InputError
from mucal.io import HitsInput, write_hits
from mucal.simulation import MuonGun, fire, simulate_hits
from mucal.track.hits import Hits
from mucal.workflow import describe
from mucal.workflow.hits_description import are_hits, check_hits


@pytest.fixture(scope="module")
def hits() -> Hits:
    return simulate_hits(fire(MuonGun(pt=(5.0, 10.0), eta=(-0.5, 0.5)), 30), barrel()).hits


@pytest.fixture(scope="module")
def path(hits: Hits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hits(tmp_path_factory.mktemp("hits") / "h.parquet", hits)


def test_show_counts_tracks_hits_and_modules(hits, path):
    plain, lines = describe(path)
    assert plain["hits"]["tracks"] == 30
    assert plain["hits"]["hits"] == hits.u.size
    assert plain["hits"]["modules_hit"] == np.unique(hits.module_id).size
    text = "\n".join(lines)
    assert f"{hits.n_hits.min()} to {hits.n_hits.max()} a track" in text
    assert "30 tracks: 0 in pairs, 30 single; the truth is there" in text


def test_show_tells_the_columns_of_hits_in_other_units_too(hits, tmp_path):
    wrong = write_hits(tmp_path / "w.parquet", replace(hits, seed=hits.seed * [1e-3, 1, 1, 1, 1]))
    text = "\n".join(describe(wrong)[1])
    assert "module_id" in text
    assert "a refit would not read these hits: the median pT of the seeds" in text


def test_show_describes_saved_hits_and_detectors(hits, tmp_path):
    hits.save(tmp_path / "h.h5")
    assert "30 tracks: 0 in pairs" in "\n".join(describe(tmp_path / "h.h5")[1])
    barrel().save(tmp_path / "d.h5")
    assert "1288 modules (pixel" in "\n".join(describe(tmp_path / "d.h5")[1])


def test_check_counts_what_a_refit_would_read(hits, path):
    plain, lines = check_hits([path], HitsInput(), "barrel")
    assert plain["ledger"]["used"] == 30
    assert sum(plain["hits_by_subdetector"].values()) == hits.u.size
    assert plain["modules_without_hits"] == 1288 - np.unique(hits.module_id).size
    assert any("modules without a hit" in line and "ladder" in line for line in lines)


def test_check_refuses_hits_of_another_detector(hits, tmp_path):
    wrong = write_hits(tmp_path / "w.parquet", replace(hits, module_id=hits.module_id + 5000))
    with pytest.raises(InputError, match="unknown_module"):
        check_hits([wrong], HitsInput(), "barrel")


def test_files_of_hits_are_told_from_files_of_pairs(path, tmp_path):
    assert are_hits(path, None)
    (tmp_path / "pairs.csv").write_text("pt1,pt2\n1,2\n")
    assert not are_hits(tmp_path / "pairs.csv", None)
    (tmp_path / "a.toml").write_text('[refit.input.columns]\nmodule_id = "det"\n')
    assert not are_hits(tmp_path / "pairs.csv", tmp_path / "a.toml")
    assert not are_hits(path, tmp_path / "a.toml")
    table = pq.read_table(path)
    names = ["det" if name == "module_id" else name for name in table.column_names]
    pq.write_table(table.rename_columns(names), tmp_path / "det.parquet")
    assert are_hits(tmp_path / "det.parquet", tmp_path / "a.toml")
    assert not are_hits(tmp_path / "det.parquet", None)
