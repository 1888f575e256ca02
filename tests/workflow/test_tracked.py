"""A run from hits: stages, bias of momenta before and after, its page, taken up again."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal.errors import ConfigError, InputError
from mucal.globalcor import EVEN, GlobalCorrections, ProbeBias
from mucal.refit import MassReference
from mucal.workflow import load_analysis, run
from mucal.workflow.calibration_run import load_run
from mucal.workflow.hit_sums import HitBlocks
from mucal.workflow.refitted_pairs import RefittedPairs, curvature_bias
from mucal.workflow.stages import TRACK_TABLES

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
[tracks.distortion.field]
bias = 2e-3
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


def test_the_page_begins_with_the_bias_of_momenta(finished):
    _, out, _ = finished
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "Momentum scale at 10 GeV" in page
    assert "Bias of momenta" in page
    assert "Global corrections" in page
    assert load_run(out).tracks is not None


def test_a_finished_run_is_taken_up_with_the_same_numbers(finished):
    _, out, config = finished
    before = [(out / name).read_bytes() for name in TRACK_TABLES]
    (out / "stages/sums_1.h5").unlink()
    told = []
    run(load_analysis(config), out, resume=True, tell=told.append)
    taken = [event.stage for event in told if "taken up" in (event.text or "")]
    assert "stages/sums_0.h5" in taken
    assert "stages/sums_1.h5" not in taken
    found = GlobalCorrections.load(out / "corrections.h5")
    assert [(out / name).read_bytes() for name in TRACK_TABLES] == before
    assert_array_equal(found.theta, GlobalCorrections.load(out / "stages/corrections_1.h5").theta)


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
