"""A run from hits: stages, bias of momenta before and after, its page, taken up again."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from mucal.detector import barrel
from mucal.errors import ConfigError, InputError, Interrupted
from mucal.globalcor import EVEN, GlobalCorrections, InjectedParameters, ProbeBias, recovery_of_kind
from mucal.io import write_detector
from mucal.io.response_npz import RESPONSE, read_response
from mucal.refit import MassReference
from mucal.store import Provenance
from mucal.workflow import load_analysis, load_run, recorded_pairs, run, tracked
from mucal.workflow.hit_sums import HitBlocks
from mucal.workflow.progress import silent
from mucal.workflow.refitted_pairs import RefittedPairs, curvature_bias
from mucal.workflow.stages import Folder
from mucal.workflow.threads import at_most

CONFIG = """[analysis]
name = "barrel_hits"
derive_fraction = 0.5
passes = 1
[tracks]
detector = "barrel"
data = 3_000
simulation = 3_000
seed = 3
eta_max = 0.75
l_max = 2
m_max = 1
misalignment = 3e-4
w_muons = 150
[tracks.distortion.field]
bias = 2e-3
[[tracks.closing]]
resonance = "upsilon1s"
data = 700
simulation = 700
[tracks.closing.bins]
eta_edges = [-0.75, 0.75]
pt_edges = [3.5, 60.0]
mass_window = [8.9, 10.0]
[tracks.closing.massfit]
fixed = { logit_f = -12.0, slope = 0.0 }
[bins]
eta_edges = [-0.75, 0.75]
pt_edges = [3.5, 25.0]
mass_window = [2.9, 3.3]
mass_bins = 80
[massfit]
resonance = "jpsi"
[scale]
free = ["A"]
[calibration]
pt_definition = "refitted"
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked")
    (folder / "c.toml").write_text(CONFIG)
    out = folder / "out"
    return run(load_analysis(folder / "c.toml"), out), out, folder / "c.toml"


def test_the_field_is_recovered_and_momenta_are_unbiased(finished):
    outcome, out, _ = finished
    assert outcome.status == "ok"
    probes = ProbeBias.load(out / "probes.h5")
    mean, error = probes.common(0, EVEN)
    assert probes.mean_before[0, EVEN].mean() == pytest.approx(2e-3, rel=0.05)
    # 1.4e-4 of statistics; the reference mass adds 3e-5
    assert error < 3e-4
    assert abs(mean) < 4 * error
    found = GlobalCorrections.load(out / "corrections.h5")
    i = found.registry.index("bfield/l1m0c")
    assert abs(found.theta[i] - 2e-3 * 3.8) < 4 * found.error[i]


def test_pairs_before_and_after(finished):
    _, out, _ = finished
    before, after = (RefittedPairs.load(out / f"stages/pairs_{name}.h5") for name in ("before", "after"))
    assert before.run.size > 2_900
    assert np.median(curvature_bias(before)) > 1.5e-3
    # the median of 6000 muons, 1.25 times the error of a mean of their core, and the scale of the corrections
    left = curvature_bias(after)
    spread = np.diff(np.percentile(left, [15.87, 84.13]))[0] / 2
    _, scale = ProbeBias.load(out / "probes.h5").common(0, EVEN)
    assert abs(np.median(left)) < 4 * np.hypot(1.25 * spread / np.sqrt(left.size), scale)
    assert np.all(before.charge == [1, -1])


def test_the_reference_mass_is_that_of_many_generated_pairs(finished):
    # 4.8 MeV of mean loss below the mass, and what the muons' own cuts leave of it; 0.4 MeV from these pairs alone
    _, out, _ = finished
    assert abs(MassReference.load(out / "reference.h5").m_ref[0] - 3.0924) < 3e-4


def test_the_page_begins_with_what_was_injected_and_recovered(finished):
    outcome, out, _ = finished
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.index("Momentum scale at 10 GeV") < page.index("Injected against recovered")
    assert page.index("Injected against recovered") < page.index("Bias of momenta") < page.index("Global corrections")
    for line in ("field: 6 modes", "alignment:", "Υ(1S) mass", "W mass", "Weak modes", "Phys. Rept. 532 (2013) 119"):
        assert line in page
    assert any(line.startswith("field: 6 modes [1e-4 T]") for line in outcome.lines)
    assert any(line.startswith("W mass - input [MeV]") for line in outcome.lines)


def test_the_release_has_the_response_of_the_simulated_muons(finished):
    _, out, _ = finished
    found = read_response(out / "calibration" / RESPONSE)
    assert found.pt_edges.tolist() == [3.5, 25.0, 60.0]
    simulated = RefittedPairs.load(out / "stages/simulation_pairs.h5")
    assert found.n_muons.sum() > 1.9 * simulated.run.size
    # the width of the core beside that of the muons themselves, in the one cell that the J/psi fill
    narrow = np.diff(np.percentile(1.0 / (simulated.pt * simulated.k_gen), [15.87, 84.13]))[0] / 2
    np.testing.assert_allclose(found.coefficients[:, 0, 0, 1], narrow, rtol=0.1)


def test_every_family_is_recovered_within_its_covariance(finished):
    _, out, _ = finished
    corrections, injected = (
        kind.load(out / name)
        for kind, name in ((GlobalCorrections, "corrections.h5"), (InjectedParameters, "injected.h5"))
    )
    for kind in ("modes", "alignment", "eloss"):
        assert recovery_of_kind(corrections, injected, kind).p_value > 1e-4


def test_chi2_of_a_family_has_its_degrees_of_freedom_as_mean(finished):
    _, out, _ = finished
    corrections = GlobalCorrections.load(out / "corrections.h5")
    injected = InjectedParameters.load(out / "injected.h5")
    root = np.linalg.cholesky(corrections.covariance)
    draws = np.random.default_rng(2).normal(size=(400, root.shape[0])) @ root.T
    found = []
    for draw in draws:
        theta = injected.theta.copy()
        theta[corrections.free] = np.nan_to_num(theta[corrections.free]) + draw
        found.append(recovery_of_kind(replace(corrections, theta=theta), injected, "alignment"))
    ndf = found[0].ndf
    assert abs(np.mean([one.chi2 for one in found]) - ndf) < 4 * np.sqrt(2 * ndf / 400)


def test_masses_that_took_no_part_close_and_were_off_before(finished):
    _, out, _ = finished
    closing = load_run(out).tracks.closing[0]
    # a field stronger by 2e-3 than assumed bends more: momenta and masses come out low by as much
    assert abs(closing.shift[0] + 2e-3) < 4 * closing.error[0]
    assert closing.error[0] < 1.2e-3
    for i in (1, 2):
        assert abs(closing.shift[i]) < 4 * closing.total_error[i]
    assert closing.calibration_error[2] >= closing.calibration_error[1] > 0 == closing.calibration_error[0]


def test_the_mass_of_the_w_is_off_before_and_right_after(finished):
    _, out, _ = finished
    w = load_run(out).tracks.w
    # 0.8 MeV for every 1e-5 of momentum (arXiv:2412.13872, tests/wmass/test_muon_spectrum.py)
    assert abs(w.shift[0, 0] + 2e-3 * 0.80e5) < 4 * w.error[0, 0]
    assert w.shift[0, 0] < -4 * w.error[0, 0]
    for i in (1, 2):
        assert np.all(np.abs(w.shift[:, i]) < 4 * w.total_error[:, i])


TINY = CONFIG
for _usual, _few in (
    ("3_000", "400"), ("misalignment", "probes = 400\nmisalignment"), ("= 700", "= 150"),
    ("w_muons = 150", "w_muons = 40"), ("[scale]", "min_events = 100\n[scale]"),
    ("slope = 0.0 }", "slope = 0.0 }\nmin_events = 50"),
):  # fmt: skip
    assert _usual in TINY
    TINY = TINY.replace(_usual, _few)

STAGES = (
    "simulation_pairs", "reference", "sums_0", "pairs_before", "corrections_0", "sums_1", "corrections_1",
    "weak_modes", "mode_bias", "pairs_after", "probes", "upsilon1s_simulation",
    "upsilon1s_before", "upsilon1s_after", "upsilon1s_slope",
    "w_muons", "simulation", "pass_0", "scale_0", "pass_1",
)  # fmt: skip
"""In the order in which they are made."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "c.toml").write_text(TINY)
    with at_most(1):
        run(load_analysis(folder / "c.toml"), folder / "out")
    return folder


def bytes_of(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_two_threads_give_the_bytes_of_one(tiny, tmp_path):
    with at_most(2):
        run(load_analysis(tiny / "c.toml"), tmp_path / "out")
    assert bytes_of(tmp_path / "out") == bytes_of(tiny / "out")


@pytest.mark.parametrize(
    "stopped_at",
    [
        "pairs_before",
        "w_muons",
        *(pytest.param(s, marks=pytest.mark.slow) for s in STAGES if s not in ("pairs_before", "w_muons")),
    ],
)
def test_a_run_stopped_at_any_stage_goes_on_to_the_same_bytes(tiny, tmp_path, stopped_at):
    out = tmp_path / "out"
    shutil.copytree(tiny / "out", out)
    kept = [f"stages/{name}.h5" for name in STAGES[: STAGES.index(stopped_at)]]
    assert {path.stem for path in (out / "stages").iterdir()} == set(STAGES)
    for path in [*out.rglob("*.h5"), *out.glob("*.json"), out / "report.html"]:
        if path.relative_to(out).as_posix() not in kept:
            path.unlink()
    told = []
    run(load_analysis(tiny / "c.toml"), out, resume=True, tell=told.append)
    assert [event.stage for event in told if "taken up" in (event.text or "")] == kept
    assert bytes_of(out) == bytes_of(tiny / "out")


SUMS_ONLY = TINY[: TINY.index("[[tracks.closing]]")] + TINY[TINY.index("[bins]") :]
SUMS_ONLY = SUMS_ONLY.replace("w_muons = 40", "w_muons = 0\niterations = 2\nweak_modes = 0\nmomenta = [10.0]")


def test_a_sum_stopped_between_two_chunks_is_not_begun_again(tmp_path, monkeypatch):
    (tmp_path / "c.toml").write_text(SUMS_ONLY)
    analysis = load_analysis(tmp_path / "c.toml")
    monkeypatch.setattr(recorded_pairs, "CHUNK", 2_000)  # several chunks of so few pairs
    monkeypatch.setattr(tracked, "CHUNK", 2_000)

    def hits_to_pairs(name, tell, resume=False):
        folder = Folder(tmp_path / name, resume=resume, base=Provenance(), tell=tell)
        tracked.track(analysis.tracks, folder, barrel(), analysis.plain["tracks"], tell)

    def stop(event):
        if event.stage == "refit 2" and event.done == 1:
            raise KeyboardInterrupt

    told = []
    hits_to_pairs("whole", silent)
    with pytest.raises(Interrupted):
        hits_to_pairs("stopped", stop)
    assert len(list((tmp_path / "stopped/stages/partial").rglob("sum-*.h5"))) == 1
    hits_to_pairs("stopped", told.append, resume=True)
    chunks = [event.done for event in told if event.stage == "refit 2"]
    assert chunks[0] == 2
    assert bytes_of(tmp_path / "stopped") == bytes_of(tmp_path / "whole")


def test_what_only_shows_the_corrections_does_not_make_them_again(tiny, tmp_path):
    shutil.copytree(tiny / "out", tmp_path / "out")
    (tmp_path / "c.toml").write_text(TINY.replace("w_muons = 40", "w_muons = 0"))
    told = []
    run(load_analysis(tmp_path / "c.toml"), tmp_path / "out", resume=True, tell=told.append)
    assert "stages/corrections_1.h5" in {event.stage for event in told if "taken up" in (event.text or "")}
    assert not (tmp_path / "out/w_shift.h5").exists()


def test_a_run_taken_up_with_another_true_field_ends_as_a_fresh_one(tiny, tmp_path):
    shutil.copytree(tiny / "out", tmp_path / "out")
    assert "bias = 2e-3" in TINY
    (tmp_path / "c.toml").write_text(TINY.replace("bias = 2e-3", "bias = -4e-3"))
    changed = load_analysis(tmp_path / "c.toml")
    run(changed, tmp_path / "out", resume=True)
    run(changed, tmp_path / "fresh")
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "fresh")


@pytest.mark.parametrize("tables", ["detector.h5", "detector"])
def test_an_edited_detector_is_another_detector(tmp_path, tables):
    thin = barrel()
    thick = replace(thin, modules=replace(thin.modules, xi_mev=2.0 * thin.modules.xi_mev))
    (tmp_path / "c.toml").write_text(SUMS_ONLY.replace('detector = "barrel"', f'detector = "{tmp_path / tables}"'))
    told = []
    for detector in (thin, thick):
        write_detector(detector, tmp_path / tables, overwrite=True)
        told.clear()
        run(load_analysis(tmp_path / "c.toml"), tmp_path / "out", resume=True, tell=told.append)
    assert [event.stage for event in told if "taken up" in (event.text or "")] == []


def test_two_makers_of_events_are_refused(tmp_path):
    (tmp_path / "c.toml").write_text(CONFIG + '[generate]\nresonance = "jpsi"\n')
    with pytest.raises(ConfigError, match=r"\[tracks\] and \[generate\] both make events"):
        load_analysis(tmp_path / "c.toml")


def test_a_chunk_that_cannot_be_fitted_ends_the_run(tmp_path, monkeypatch):
    (tmp_path / "c.toml").write_text(CONFIG.replace("3_000", "300"))

    def fails(self, chunk):
        raise ValueError("no such luck")

    monkeypatch.setattr(HitBlocks, "__call__", fails)
    with pytest.raises(InputError, match="chunks of refit 1 failed"):
        run(load_analysis(tmp_path / "c.toml"), tmp_path / "out")
