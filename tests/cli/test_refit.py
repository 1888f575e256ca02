"""`mucal refit`: hits to files of tracks and pairs."""

import json
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import barrel
from mucal.io import DimuonInput, MuonColumns, open_dimuons, read_hits, write_hits
from mucal.refit import (
    BeamLine,
    FitStatus,
    MassReference,
    PairFits,
    PairSelection,
    TrackFits,
    fit_pairs,
    fit_tracks,
)
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits
from mucal.workflow import refit_job

CONFIG = """[refit]
detector = "barrel"
chunk = 50
"""


@pytest.fixture(scope="module")
def recorded():
    """Hits of 60 muons of J/psi in a barrel."""
    muons = generate_muons(MuonGeneration(process="jpsi", seed=3), 120)
    hits = simulate_hits(muons, barrel(), HitSimulation(straggling="gaussian", least_hits=6)).hits
    return replace(hits, truth=None)


@pytest.fixture
def work(recorded, tmp_path):
    """A folder with a configuration and hits."""
    (tmp_path / "c.toml").write_text(CONFIG)
    write_hits(tmp_path / "hits.parquet", recorded)
    return tmp_path


def test_tracks_are_those_of_the_stage_whatever_chunks_and_jobs(mucal, work, recorded):
    config = work / "c.toml"
    ended = mucal("refit", work / "hits.parquet", "--config", config, "--jobs", 1, "-o", work / "one.parquet")
    assert ended.code == 0, ended.err
    again = mucal(
        "refit", work / "hits.parquet", "--config", config, "--set", "refit.chunk=17", "--jobs", 2,
        "-o", work / "two.parquet",
    )  # fmt: skip
    assert again.code == 0, again.err
    table, other = pq.read_table(work / "one.parquet"), pq.read_table(work / "two.parquet")
    assert table.equals(other)
    fits, _ = fit_tracks(barrel(), barrel().field, read_hits(work / "hits.parquet"))
    assert f"read {len(recorded)} tracks = used {int(fits.ok.sum())}" in ended.out
    assert "chi2/ndof" in ended.out
    assert_array_equal(table["qop"].to_numpy(), fits.state[fits.ok, 0])
    assert_array_equal(table["cov_lam_dsz"].to_numpy(), fits.cov[fits.ok, 1, 4])
    pt = np.cos(fits.state[fits.ok, 1]) / np.abs(fits.state[fits.ok, 0])
    assert_allclose(table["pt"].to_numpy(), pt, rtol=1e-15)
    assert_array_equal(table["charge"].to_numpy(), recorded.charge[fits.ok])


def test_pairs_are_read_by_the_mass_fits(mucal, work):
    ended = mucal(
        "refit", work / "hits.parquet", "--pairs", "--config", work / "c.toml", "-o", work / "pairs.root", "--json"
    )
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    fits, _ = fit_pairs(barrel(), barrel().field, read_hits(work / "hits.parquet"))
    assert found["ledgers"]["fitted"]["used"] == found["written"] == int(fits.vertex.ok.sum())
    columns = MuonColumns(
        run="run", lumi="lumi", event="event", pt=("pt1", "pt2"), eta=("eta1", "eta2"), phi=("phi1", "phi2"),
        charge=("charge1", "charge2"),
    )  # fmt: skip
    dimuons = open_dimuons(work / "pairs.root", DimuonInput(columns=columns)).read()
    assert_allclose(dimuons.mass, fits.vertex.mass[fits.vertex.ok], rtol=1e-12)


def test_a_failed_fit_is_counted_with_its_sentence_and_kept_on_request(mucal, work):
    tight = ["--set", "refit.fit.most_iterations=1", "--config", work / "c.toml"]
    ended = mucal("refit", work / "hits.parquet", *tight, "--keep-failed", "-o", work / "all.root")
    assert ended.code == 0, ended.err
    assert "iteration_cap" in ended.out
    assert FitStatus.ITERATION_CAP.sentence in ended.out
    with uproot.open(work / "all.root") as file:
        tree = file["Events"].arrays(["status", "qop", "charge"], library="np")
    assert np.isnan(tree["qop"][tree["status"] == FitStatus.ITERATION_CAP]).all()
    assert tree["status"].size == len(read_hits(work / "hits.parquet"))
    ended = mucal("refit", work / "hits.parquet", *tight, "-o", work / "none.parquet", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["written"] == 0
    assert pq.read_table(work / "none.parquet").num_rows == 0


def test_all_fits_as_one_result(mucal, work, recorded):
    ended = mucal("refit", work / "hits.parquet", "--config", work / "c.toml", "-o", work / "fits.h5")
    assert ended.code == 0, ended.err
    fits = TrackFits.load(work / "fits.h5")
    plain, _ = fit_tracks(barrel(), barrel().field, recorded)
    assert_array_equal(fits.state, plain.state)
    assert_array_equal(fits.event, recorded.event)
    assert str(work / "hits.parquet") in fits.provenance.inputs


def test_outliers_are_counted(mucal, work, recorded):
    number, count = np.unique(recorded.pair, return_counts=True)
    row = int(np.flatnonzero(recorded.pair == number[count == 2][0])[1])
    u = recorded.u.copy()
    u[recorded.offsets[row] + 4] += 0.5
    write_hits(work / "wrong.parquet", replace(recorded, u=u))
    robust = ["--set", "refit.robust.outlier_pull=6.0", "--config", work / "c.toml"]
    ended = mucal("refit", work / "wrong.parquet", *robust, "-o", work / "fits.parquet", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["ledgers"]["hits"]["rejected"] == {"outlier": 1}
    assert pq.read_table(work / "fits.parquet")["n_outliers"].to_pylist()[row] == 1
    ended = mucal("refit", work / "wrong.parquet", *robust, "--pairs", "-o", work / "pairs.parquet", "--json")
    assert ended.code == 0, ended.err
    ledgers = json.loads(ended.out)["ledgers"]
    assert ledgers["hits"]["rejected"] == {"outlier": 1}
    assert sum(pq.read_table(work / "pairs.parquet")["n_outliers"].to_pylist()) == 1


def test_pairs_with_mass_and_beam_line(mucal, work):
    (work / "mass.toml").write_text(
        CONFIG
        + """mass = 3.09
width = 0.03
[refit.selection]
window = [2.5, 3.6]
[refit.beam]
centre = [0.0, 0.0, 0.0]
sigma = [0.3, 0.2, 9.0]
slope = [1e-4, 0.0]
"""
    )
    hits, config = read_hits(work / "hits.parquet"), work / "mass.toml"
    ended = mucal("refit", work / "hits.parquet", "--pairs", "--config", config, "-o", work / "pairs.parquet", "--json")
    assert ended.code == 0, ended.err
    fits, _ = fit_pairs(
        barrel(), barrel().field, hits, mass=MassReference.constant(3.09, 0.03),
        selection=PairSelection(window=(2.5, 3.6)),
        beam=BeamLine.of((0.0, 0.0, 0.0), (0.3, 0.2, 9.0), (1e-4, 0.0)),
    )  # fmt: skip
    table, ok = pq.read_table(work / "pairs.parquet"), fits.vertex.ok
    assert json.loads(ended.out)["ledgers"]["constrained"]["used"] == int(fits.constrained.ok.sum()) > 0
    assert_array_equal(table["mass"].to_numpy(), fits.vertex.mass[ok])
    assert_array_equal(table["constrained_mass"].to_numpy(), fits.constrained.mass[ok])
    assert_array_equal(table["constrained_cov_qop1_qop2"].to_numpy(), fits.constrained.cov[ok, 0, 3])
    assert_array_equal(table["constrained_status"].to_numpy(), fits.constrained.status[ok])
    assert_array_equal(table["ndof"].to_numpy(), fits.vertex.ndof[ok])
    ended = mucal("refit", work / "hits.parquet", "--config", config, "-o", work / "tracks.parquet")
    assert ended.code == 2
    assert "belong to pairs" in ended.err


def test_pairs_as_one_result_from_hits_in_hdf5(mucal, work, recorded):
    recorded.save(work / "hits.h5")
    ended = mucal(
        "refit", work / "hits.h5", "--pairs", "--config", work / "c.toml", "--set", "refit.chunk=4",
        "-o", work / "pairs.h5",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    fits = PairFits.load(work / "pairs.h5")
    plain, _ = fit_pairs(barrel(), barrel().field, recorded.select(recorded.pair >= 0))
    assert_array_equal(fits.vertex.state, plain.vertex.state)
    assert_array_equal(fits.tracks, plain.tracks)
    assert_array_equal(fits.constrained.status, plain.constrained.status)


def test_a_stopped_run_goes_on_and_gives_the_same(mucal, work, monkeypatch):
    command = ("refit", work / "hits.parquet", "--config", work / "c.toml", "--set", "refit.chunk=5")
    assert mucal(*command, "-o", work / "whole.parquet").code == 0
    assert not (work / "whole.parquet.parts").exists()
    columns, fitted = refit_job.Job.columns, []

    def stopped(job, hits):
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append(len(hits))
        return columns(job, hits)

    monkeypatch.setattr(refit_job.Job, "columns", stopped)
    ended = mucal(*command, "-o", work / "out.parquet")
    assert ended.code == 5
    assert "--resume" in ended.err
    assert not (work / "out.parquet").exists()
    monkeypatch.setattr(refit_job.Job, "columns", columns)
    other = mucal(*command, "--set", "refit.fit.tolerance=1e-6", "--resume", "-o", work / "out.parquet")
    assert other.code == 2
    assert "another configuration" in other.err
    ended = mucal(*command, "--resume", "-o", work / "out.parquet")
    assert ended.code == 0, ended.err
    assert "2 chunks were finished already" in ended.out
    assert (work / "out.parquet").read_bytes() == (work / "whole.parquet").read_bytes()
    assert not (work / "out.parquet.parts").exists()


def test_errors_say_what_to_do(mucal, work):
    hits, config = work / "hits.parquet", work / "c.toml"
    ended = mucal("refit", hits, "--config", config, "-o", work / "fits.csv")
    assert ended.code == 2
    assert "choose .parquet or .root, or .h5" in ended.err
    ended = mucal("refit", hits, "--set", "refit.fit.tolerence=1", "-o", work / "fits.parquet")
    assert ended.code == 2
    assert "did you mean 'tolerance'" in ended.err
    (work / "there.parquet").write_bytes(b"")
    ended = mucal("refit", hits, "--config", config, "-o", work / "there.parquet")
    assert ended.code == 2
    assert "exists" in ended.err
    assert mucal("refit", work / "no.parquet", "--config", config, "-o", work / "fits.parquet").code == 3
    (work / "mine.parquet.parts").mkdir()
    (work / "mine.parquet.parts" / "thesis.txt").write_text("x")
    ended = mucal("refit", hits, "--config", config, "-o", work / "mine.parquet")
    assert ended.code == 2
    assert "holds no finished chunks" in ended.err
    assert (work / "mine.parquet.parts" / "thesis.txt").exists()
