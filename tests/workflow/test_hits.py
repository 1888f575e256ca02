"""Simulated hits from a configuration: the same bytes for any number of jobs, and what they were made from beside."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mucal.detector import Detector, barrel, displaced
from mucal.errors import ConfigError
from mucal.io import open_hits, read_hits, write_detector
from mucal.simulation import GeneratedMuons, HitSimulation, MuonGun, SimulatedHits, distorted, misalignment
from mucal.store import sha256
from mucal.workflow import hits as stage
from mucal.workflow.progress import Event

SMALL = """[muons]
process = "upsilon1s"
events = 400
seed = 3
eta_max = 1.0
[hits]
detector = "barrel"
seed = 4
straggling = "gaussian"
[distortion]
seed = 7
random = [{ shift = [0.001, 0.002, 0.005], turn = [5e-5, 5e-5, 5e-5] }]
coherent = [{ pattern = "curl", amplitude = 0.002 }]
field = { bias = 1e-3 }
"""
GUN = """[muons]
process = "gun"
events = 30
pt = [5.0, 10.0]
eta = [-0.5, 0.5]
[hits]
detector = "barrel"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "hits.toml"
    path.write_text(SMALL)
    return path


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "CHUNK", 300)


def test_any_number_of_jobs_gives_the_same_bytes(config, tmp_path, short_chunks):
    run = stage.load_hit_run(config)
    written = []
    for jobs in (1, 3):
        stage.simulate_hit_files(run, tmp_path / f"{jobs}.parquet", jobs=jobs)
        written.append((tmp_path / f"{jobs}.parquet").read_bytes())
    assert written[0] == written[1]


def test_another_seed_gives_others_in_the_same_true_detector(config, tmp_path):
    run = stage.load_hit_run(config, settings=("muons.events=20",))
    other = stage.load_hit_run(config, settings=("muons.events=20",), seed=9)
    a, b = tmp_path / "a.parquet", tmp_path / "b.parquet"
    stage.simulate_hit_files(run, a)
    stage.simulate_hit_files(other, b)
    assert not np.intersect1d(read_hits(a).u, read_hits(b).u).size
    modules = [Detector.load(tmp_path / f"{name}_detector.h5").modules for name in "ab"]
    assert np.array_equal(modules[0].centre, modules[1].centre)


def test_chunks_do_not_change_the_sample(config, tmp_path, monkeypatch):
    run = stage.load_hit_run(config, settings=("muons.events=60",))
    found = []
    for chunk in (100, 1000):
        monkeypatch.setattr(stage, "CHUNK", chunk)
        ledgers = stage.simulate_hit_files(run, tmp_path / f"{chunk}.parquet")
        found.append((read_hits(tmp_path / f"{chunk}.parquet"), ledgers))
    for name in ("event", "seed", "module_id", "u"):
        assert np.array_equal(getattr(found[0][0], name), getattr(found[1][0], name))
    assert {k: v.to_dict() for k, v in found[0][1].items()} == {k: v.to_dict() for k, v in found[1][1].items()}


def test_ledgers_add_up_and_everything_is_written_beside(config, tmp_path, short_chunks):
    run = stage.load_hit_run(config)
    ledgers = stage.simulate_hit_files(run, tmp_path / "h.parquet")
    assert ledgers["generate"].used == 400
    assert ledgers["generate"].read > 800  # |eta| < 1 is passed by one in several
    assert ledgers["simulate"].read == 800
    about = json.loads((tmp_path / "h.json").read_text())
    assert about["ledgers"]["simulate"] == ledgers["simulate"].to_dict()
    assert about["configuration"]["distortion"]["field"] == {"bias": 1e-3}
    assert about["files"] == {name: sha256(tmp_path / name) for name in ("h.parquet", "h_detector.h5")}


def test_hits_are_those_of_the_true_detector_beside(config, tmp_path):
    run = stage.load_hit_run(config, settings=("muons.events=50", "hits.resolution_scale=0"))
    stage.simulate_hit_files(run, tmp_path / "h.parquet")
    true = Detector.load(tmp_path / "h_detector.h5")
    assumed = barrel()
    expected = displaced(assumed.modules, misalignment(assumed, run.distortion))
    assert np.array_equal(true.modules.centre, expected.centre)
    assert true.field.amplitudes[0] > 0
    source = open_hits(tmp_path / "h.parquet", detector=assumed)
    hits = source.read()
    assert source.ledger.read == source.ledger.used == len(hits)
    assert np.allclose(hits.u[~true.modules.is_wedge[hits.module_id] & (true.modules.strip_angle[hits.module_id] == 0)],
                       hits.truth.hit_u[~true.modules.is_wedge[hits.module_id]
                                        & (true.modules.strip_angle[hits.module_id] == 0)])  # fmt: skip


def test_the_gun_is_a_process_like_others(tmp_path):
    (tmp_path / "gun.toml").write_text(GUN)
    run = stage.load_hit_run(tmp_path / "gun.toml")
    assert isinstance(run.muons, MuonGun)
    ledgers = stage.simulate_hit_files(run, tmp_path / "g.root")
    hits = read_hits(tmp_path / "g.root")
    assert ledgers["generate"].read == 30
    assert np.all(hits.pair == -1)
    pt = np.cos(hits.truth.state[:, 1]) / np.abs(hits.truth.state[:, 0])
    assert np.all((pt >= 5) & (pt <= 10))


def test_a_file_that_exists_is_kept(config, tmp_path):
    (tmp_path / "h_detector.h5").write_text("mine")
    with pytest.raises(FileExistsError, match=r"h_detector\.h5 exists"):
        stage.simulate_hit_files(stage.load_hit_run(config), tmp_path / "h.parquet")
    assert (tmp_path / "h_detector.h5").read_text() == "mine"
    assert not (tmp_path / "h.parquet").exists()


def test_a_detector_of_ones_own_is_found_beside_the_configuration(tmp_path):
    write_detector(replace(barrel(), name="mine"), tmp_path / "mine.h5")
    (tmp_path / "gun.toml").write_text(GUN.replace('"barrel"', '"mine.h5"'))
    run = stage.load_hit_run(tmp_path / "gun.toml")
    assert stage.assumed_detector(run).name == "mine"


@pytest.mark.parametrize(("line", "said"), [
    ("[muons]\nevets = 3", r":2 unknown key 'evets'"),
    ("[muons]\nprocess = 'gun'\npt_min = 3.0", r":3 unknown key 'pt_min'; did you mean"),
    ("[muons]\nevents = 0", r"events = 0, expected at least 1"),
    ("[hits]\nstraggling = 'vavilov'", r"straggling is 'vavilov'"),
    ("[hits]\nefficency = 0.9", r":2 unknown key 'efficency'; did you mean 'efficiency'"),
    ("[distortion]\nrandom = [{ shift = [1.0, 2.0] }]", r":2 "),
    ("[[distortion.coherent]]\npattern = 'twist'", r"'amplitude' is missing"),
    ("[hit]\n", r":1 unknown section 'hit'; did you mean 'hits'"),
])  # fmt: skip
def test_what_is_wrong_in_a_configuration_is_named_with_its_line(tmp_path, line, said):
    (tmp_path / "a.toml").write_text(line + "\n")
    with pytest.raises(ConfigError, match=said):
        stage.load_hit_run(tmp_path / "a.toml")


def test_names_in_a_distortion_are_checked_against_the_detector(config, tmp_path):
    for setting, said in (
        ("distortion.material={TOBB=1.1}", "no material 'TOBB'"),
        ("distortion.coherent=[{pattern='curls', amplitude=1.0}]", "no pattern 'curls'; the nearest are curl"),
        ("distortion.field={l1m3c=1.0}", "'l1m3c' is no mode"),
    ):
        run = stage.load_hit_run(config, settings=(setting,))
        with pytest.raises(ConfigError, match=said):
            distorted(barrel(), run.distortion)


def test_cuts_that_nothing_passes_are_an_error_of_the_configuration(config, tmp_path):
    for number, (setting, said) in enumerate((
        ("muons.eta_max=1e-5", "none of 16384 generated events is accepted"),
        ("muons.pt_min=140.0", r"need a parent above 279\.\d GeV, and those of upsilon1s end at 150 GeV"),
    )):  # fmt: skip
        run = stage.load_hit_run(config, settings=(setting, "muons.events=5"))
        with pytest.raises(ConfigError, match=said) as caught:
            stage.simulate_hit_files(run, tmp_path / f"{number}.parquet")
        assert caught.value.kind == "config.nothing_accepted"


def test_other_sections_are_left_to_other_commands(tmp_path):
    (tmp_path / "a.toml").write_text("[globalcor]\n[bins]\n[hits]\nefficiency = 0.9\n")
    assert stage.asks_for_hits(tmp_path / "a.toml")
    assert stage.load_hit_run(tmp_path / "a.toml").hits == HitSimulation(efficiency=0.9)
    (tmp_path / "b.toml").write_text("[globalcor]\n")
    assert not stage.asks_for_hits(tmp_path / "b.toml")


class Stop(Exception):
    """What interrupts a run here."""


def test_an_interrupted_run_goes_on_to_the_same_bytes(config, tmp_path, short_chunks, monkeypatch):
    run = stage.load_hit_run(config)
    stage.simulate_hit_files(run, tmp_path / "whole.parquet")
    made: list[int] = []
    simulate = stage.simulate_hits

    def counted(muons: GeneratedMuons, **keys: Any) -> SimulatedHits:
        made.append(int(muons.event[0]))
        return simulate(muons, **keys)

    def stop(event: Event) -> None:
        if event.done > 200:
            raise Stop

    monkeypatch.setattr(stage, "simulate_hits", counted)
    with pytest.raises(Stop):
        stage.simulate_hit_files(run, tmp_path / "again.parquet", tell=stop)
    assert not (tmp_path / "again.parquet").exists()
    before = set(made)
    made.clear()
    ledgers = stage.simulate_hit_files(run, tmp_path / "again.parquet", resume=True)
    assert min(len(before), len(made)) > 0
    assert not before & set(made)
    assert ledgers["generate"].used == 400
    for name in (".parquet", "_detector.h5"):
        assert (tmp_path / f"again{name}").read_bytes() == (tmp_path / f"whole{name}").read_bytes()
    tellings = [json.loads((tmp_path / f"{name}.json").read_text())["ledgers"] for name in ("whole", "again")]
    assert tellings[0] == tellings[1]
    assert sorted(p.name for p in tmp_path.glob("*.parts")) == []
