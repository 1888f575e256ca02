"""Sums of hit files: chunk by chunk, taken up again, and the same as in one go."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import barrel, displaced
from mucal.errors import ConfigError, InputError, Interrupted
from mucal.globalcor import AccumulateConfig, Chunk, Family, Refit, build_registry
from mucal.io import HitsInput, open_hits, write_hits
from mucal.refit import MassReference, PairSelection, RefitConfig
from mucal.simulation import HitSimulation, MuonGeneration, generate_muons, simulate_hits
from mucal.workflow.globalcor import REPRODUCED, GlobalcorConfig, derive_reference
from mucal.workflow.hit_sums import FileBlocks, HitBlocks, accumulate_hits, digest_of, reference_of_hits

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
        muons = generate_muons(MuonGeneration(process="jpsi", seed=5 + i, eta_max=0.75), 2_000)
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


def test_reference_mass_needs_the_truth(files, refit, tmp_path):
    found = reference_of_hits(files, refit, columns=COLUMNS)
    assert found.n_pairs[0] > 100
    assert abs(found.m_ref[0] - 3.092) < 0.01
    hits = open_hits(files[:1], COLUMNS).read()
    write_hits(tmp_path / "recorded.parquet", replace(hits, truth=None))
    with pytest.raises(InputError, match="do not say what was generated"):
        reference_of_hits([tmp_path / "recorded.parquet"], refit, columns=COLUMNS)


def test_the_reference_mass_reproduces_itself(files, refit):
    # the cut on chi2 of the constrained fit depends on the mass: one selection with a wide one is not the fit's own
    config = GlobalcorConfig(detector="barrel", selection=refit.selection, refit=refit.config)
    found = derive_reference(files, config)
    again = reference_of_hits(files, replace(refit, mass=found), columns=COLUMNS)
    wide = reference_of_hits(files, replace(refit, mass=MassReference.constant(3.1, 0.04)), columns=COLUMNS)
    assert abs(again.m_ref[0] - found.m_ref[0]) < REPRODUCED * found.error[0]
    assert again.n_pairs[0] < wide.n_pairs[0]
    assert wide.m_ref[0] < found.m_ref[0]  # those that a wide one lets pass have radiated
