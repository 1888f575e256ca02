"""Sums of hit files: chunk by chunk, taken up again, and the same as in one go."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import barrel, displaced
from mucal.errors import ConfigError, InputError, Interrupted
from mucal.globalcor import AccumulateConfig, Chunk, Family, Refit, accumulate, build_registry
from mucal.io import HitsInput, open_hits, write_hits
from mucal.refit import MassReference, PairSelection, RefitConfig
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits
from mucal.workflow.globalcor import GlobalcorConfig
from mucal.workflow.globalcor_sums import REPRODUCED, derive_reference, refit_of
from mucal.workflow.hit_sums import (
    FileBlocks,
    HitBlocks,
    accumulate_hits,
    digest_of,
    pair_masses,
    reference_of_hits,
    same_at_all_momenta,
)

COLUMNS = HitsInput(chunk_rows=60)
CONFIG = AccumulateConfig(every=1)


@pytest.fixture(scope="module")
def refit():
    registry = build_registry(barrel(), [Family(kind="alignment", by="layer", components=("u",), min_entries=1)])
    return Refit(
        detector=barrel(), registry=registry, mass=MassReference.constant(3.0924, 0.02),
        selection=PairSelection(min_hits=8), config=RefitConfig(n_threads=2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two files of pairs, and some single tracks among them."""
    folder = tmp_path_factory.mktemp("hits")
    for i in range(2):
        muons = generate_muons(MuonGeneration(process="jpsi", seed=5 + i, eta_max=0.75), 4_000)
        hits = simulate_hits(muons, barrel(), HitSimulation(seed=2, straggling="gaussian")).hits
        run = np.full(len(hits), 1 + i)
        write_hits(folder / f"hits{i}.parquet", replace(hits, run=run))
    return [folder / f"hits{i}.parquet" for i in range(2)]


def test_the_sum_does_not_depend_on_the_chunks(files, refit):
    small = accumulate_hits(files, refit, CONFIG, columns=COLUMNS)
    large = accumulate_hits(files, refit, CONFIG, columns=replace(COLUMNS, chunk_rows=100_000))
    assert small.ledger.read == large.ledger.read > 100
    assert_allclose(small.total().gradient, large.total().gradient, rtol=1e-9, atol=1e-6)
    assert small.total().chi2 == pytest.approx(large.total().chi2, rel=1e-12)


def test_an_interrupted_sum_goes_on_to_the_same_numbers(files, refit, tmp_path, monkeypatch):
    whole = accumulate_hits(files, refit, CONFIG, columns=COLUMNS)
    called = HitBlocks.__call__

    def stops(self, chunk):
        if chunk.number == 2:
            raise KeyboardInterrupt
        return called(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(HitBlocks, "__call__", stops)
        with pytest.raises(Interrupted):
            accumulate_hits(files, refit, CONFIG, columns=COLUMNS, checkpoints=tmp_path / "kept")
    done = accumulate_hits(files, refit, CONFIG, columns=COLUMNS, checkpoints=tmp_path / "kept")
    assert_array_equal(done.total().gradient, whole.total().gradient)
    assert done.ledger == whole.ledger


def test_another_refit_does_not_go_on_from_the_same_folder(files, refit, tmp_path):
    accumulate_hits(files, refit, CONFIG, columns=COLUMNS, checkpoints=tmp_path / "kept")
    other = replace(refit, mass=MassReference.constant(3.0930, 0.02))
    assert digest_of(other) != digest_of(refit)
    assert digest_of(replace(refit, config=RefitConfig(n_threads=1))) == digest_of(refit)
    moved = np.zeros((refit.detector.n_modules, 6))
    moved[3, 0] = 1e-4
    true = replace(refit.detector, modules=displaced(refit.detector.modules, moved))
    assert digest_of(replace(refit, detector=true)) != digest_of(refit)
    with pytest.raises(ConfigError, match="refit"):
        accumulate_hits(files, other, CONFIG, columns=COLUMNS, checkpoints=tmp_path / "kept")


def test_halves_of_a_chunk_are_the_whole(files, refit):
    made = HitBlocks.of_files(open_hits(files, COLUMNS, detector=refit.detector), refit)
    rows = COLUMNS.chunk_rows
    whole = made(Chunk(number=1, start=rows, stop=2 * rows))
    one = made(Chunk(number=1, start=rows, stop=rows + rows // 2))
    other = made(Chunk(number=1, start=rows + rows // 2, stop=2 * rows))
    assert len(one) > 0
    assert len(one) + len(other) == len(whole)
    assert_array_equal(np.concatenate([one.gradient, other.gradient]), whole.gradient)


def test_whole_files_by_workers_are_the_same_candidates(files, refit):
    source = open_hits(files, COLUMNS, detector=refit.detector)
    whole = FileBlocks(paths=tuple(map(str, files)), config=COLUMNS, refit=refit)(Chunk(number=0, start=0, stop=1))
    made = HitBlocks.of_files(open_hits(files[:1], COLUMNS, detector=refit.detector), refit)
    parts = [made(chunk) for chunk in made.chunks()]
    assert sum(len(part) for part in parts) == len(whole)
    assert_array_equal(np.concatenate([part.gradient for part in parts]), whole.gradient)
    assert np.all(np.diff(whole.candidate) > 0)
    assert source.entries > 0


def test_what_is_wrong_with_the_whole_input_ends_the_sum(files, refit, tmp_path):
    # it is said at the end of the stream, after all chunks: as repeated tracks, or too many bad ones
    again = tmp_path / "again.parquet"
    write_hits(again, open_hits(files[:1], COLUMNS).read().select(slice(0, 100)))
    with pytest.raises(InputError, match="twice") as caught:
        accumulate_hits([*files, again], refit, CONFIG, columns=COLUMNS, checkpoints=tmp_path / "kept")
    assert caught.value.kind == "input.duplicates"
    with pytest.raises(InputError, match="twice"):  # not forgotten when it goes on
        accumulate_hits([*files, again], refit, CONFIG, columns=COLUMNS, checkpoints=tmp_path / "kept")


def test_a_stream_that_breaks_makes_no_more_chunks(files, refit):
    hits = open_hits(files[:1], COLUMNS).read()

    def breaks():
        yield hits.select(slice(0, 60))
        raise OSError("a page cannot be read")

    made = HitBlocks(stream=breaks, n_chunks=3, rows=60, refit=refit)
    sums = accumulate(made, made.chunks(), refit.registry, replace(CONFIG, retries=2))
    assert sums.failed == ("chunk/1", "chunk/2")
    assert sums.ledger.read == 30
    assert "cannot be read" in str(made.broken)


def failing_pairs(monkeypatch, event):
    """Refits raise for chunks that hold this event."""
    called = Refit.pairs

    def pairs(self, hits, **kwargs):
        if event in hits.event:
            raise ArithmeticError("no luck")
        return called(self, hits, **kwargs)

    monkeypatch.setattr(Refit, "pairs", pairs)


@pytest.mark.parametrize("workers", [None, lambda: ThreadPoolExecutor(1)], ids=["here", "workers"])
def test_what_cannot_be_summed_is_named_by_file_and_entries(files, refit, monkeypatch, workers):
    second = open_hits(files[1:], COLUMNS).read()
    failing_pairs(monkeypatch, second.event[70])
    told = []
    some = replace(CONFIG, most_failed=0.6)
    sums = accumulate_hits(files, refit, some, columns=COLUMNS, workers=workers, tell=lambda e: told.append(e.text))
    named = [text for text in told if "could not be summed" in text]
    assert len(named) == len(sums.failed) == 1
    assert str(files[1]) in named[0]
    assert str(files[0]) not in named[0]
    assert "ArithmeticError: no luck" in named[0]
    if workers is None:
        first, last = map(int, re.search(r"entries (\d+) to (\d+)", named[0]).groups())
        assert first <= 70 <= last < first + 62
    with pytest.raises(InputError, match=re.escape(str(files[1])) + ".*no luck"):
        accumulate_hits(files, refit, CONFIG, columns=COLUMNS, workers=workers)


def test_reference_mass_needs_the_truth(files, refit, tmp_path):
    found = reference_of_hits(files, refit, columns=COLUMNS)
    assert found.n_pairs[0] > 100
    assert abs(found.m_ref[0] - 3.092) < 0.01
    hits = open_hits(files[:1], COLUMNS).read()
    write_hits(tmp_path / "recorded.parquet", replace(hits, truth=None))
    with pytest.raises(InputError, match="do not say what was generated"):
        reference_of_hits([tmp_path / "recorded.parquet"], refit, columns=COLUMNS)


@pytest.mark.parametrize("from_below", [False, True])
def test_a_mean_mass_that_changes_with_momentum_is_told(from_below):
    selection = PairSelection(pt_min=3.5)
    pt_min = selection.lowest_pt(3.0969) if from_below else selection.pt_min
    state = generate_muons(MuonGeneration(process="jpsi", seed=3, pt_min=pt_min), 1_200_000).state.reshape(-1, 2, 5)
    mass, curvature = pair_masses(state), np.abs(state[..., 0]) / np.cos(state[..., 1])
    low, high = selection.window
    cut = (curvature.max(axis=1) * mass / 3.0927 < 1.0 / selection.pt_min) if from_below else np.ones(mass.size, bool)
    kept = (mass > low) & (mass < high) & cut
    line = same_at_all_momenta(mass[kept], curvature[kept])
    slope, error = map(float, re.search(r"by ([+-][\d.]+) \+- ([\d.]+) MeV GeV", line).groups())
    assert error < 2.5
    assert abs(slope - (0.0 if from_below else 15.1)) < 4.0 * error
    assert ("it should not" in line) == (not from_below)
    assert "too few" in same_at_all_momenta(mass[:2], curvature[:2])


def test_a_reference_mass_of_another_window_is_a_wrong_configuration(files, refit, tmp_path):
    reference_of_hits(files, refit, columns=COLUMNS).save(tmp_path / "reference.h5")
    selection = replace(refit.selection, window=(2.8, 3.4))
    config = GlobalcorConfig(detector="barrel", selection=selection, refit=refit.config)
    with pytest.raises(ConfigError, match=r"globalcor\.selection\.window is \[2\.8, 3\.4\]"):
        refit_of(config, refit.registry, reference=tmp_path / "reference.h5")


def test_the_reference_mass_reproduces_itself(files, refit):
    # the cut on chi2 of the constrained fit depends on the mass: one selection with a wide one is not the fit's own
    config = GlobalcorConfig(detector="barrel", selection=refit.selection, refit=refit.config)
    found = derive_reference(files, config)
    again = reference_of_hits(files, replace(refit, mass=found), columns=COLUMNS)
    wide = reference_of_hits(files, replace(refit, mass=MassReference.constant(3.1, 0.04)), columns=COLUMNS)
    assert abs(again.m_ref[0] - found.m_ref[0]) < REPRODUCED * found.error[0]
    assert again.n_pairs[0] < wide.n_pairs[0]
    assert wide.m_ref[0] < found.m_ref[0]  # those that a wide one lets pass have radiated
