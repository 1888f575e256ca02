"""Recorded tracks from files: what was written is what is read, and whatever is wrong is named."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mucal.detector import PIXEL, Detector, barrel
from mucal.errors import ConfigError, InputError, VerificationError
from mucal.io import HitsInput, hits_writer, open_hits, read_hits, stream_hits, write_hits
from mucal.io.hits_rows import judge
from mucal.track.hits import Hits, HitsTruth

FIELDS = ("run", "lumi", "event", "pair", "charge", "seed", "seed_ref", "offsets", "module_id", "u", "v", "sigma_u",
          "sigma_v")  # fmt: skip
OF_TRUTH = ("state", "vertex", "parent", "mass", "hit_u", "hit_v")
SUFFIXES = [".parquet", ".root", ".h5"]


@pytest.fixture(scope="module")
def detector() -> Detector:
    return barrel()


@pytest.fixture(scope="module")
def made(detector: Detector) -> Hits:
    """40 tracks in pairs, with hits in the middle of modules that stand ever further out."""
    rng = np.random.default_rng(1)
    n, m = 40, detector.modules
    layers = [
        np.flatnonzero((m.subdet == s) & (m.layer == x))
        for s, x in np.unique(np.column_stack([m.subdet, m.layer]), axis=0)
    ]
    layers.sort(key=lambda rows: np.hypot(*m.centre[rows, :2].T).mean())
    counts = rng.integers(1, len(layers) + 1, n)
    module = np.concatenate([[_on_the_way(m, rows, phi) for rows in layers[:c]]
                             for c, phi in zip(counts, rng.uniform(-3, 3, n), strict=True)])  # fmt: skip
    pixel = m.n_meas[module] == PIXEL
    k, charge = module.size, np.tile([1, -1], n // 2)
    seed = rng.normal(0, 0.1, (n, 5))
    seed[:, 0] = charge / rng.uniform(3, 50, n)
    return Hits(
        run=np.ones(n, dtype=np.int64), lumi=np.arange(n) // 7, event=np.arange(n) // 2, pair=np.arange(n) // 2,
        charge=charge, seed=seed, seed_ref=rng.normal(0, 0.1, (n, 3)),
        offsets=np.concatenate([[0], np.cumsum(counts)]), module_id=module, u=rng.normal(0, 0.1, k),
        v=np.where(pixel, rng.normal(0, 0.1, k), np.nan), sigma_u=m.sigma_u[module], sigma_v=m.sigma_v[module],
        truth=HitsTruth(
            state=seed, vertex=np.zeros((n, 3)), parent=np.full(n, 443), mass=rng.normal(3.1, 0.1, n),
            hit_u=rng.normal(0, 1, k), hit_v=rng.normal(0, 1, k),
        ),
    )  # fmt: skip


def _on_the_way(modules, rows: np.ndarray, phi: float) -> int:
    x, y, z = modules.centre[rows].T
    return int(rows[np.argmin(np.hypot(x - np.hypot(x, y) * np.cos(phi), y - np.hypot(x, y) * np.sin(phi)) + abs(z))])


def assert_same(found: Hits, expected: Hits) -> None:
    for name in FIELDS:
        assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name in OF_TRUTH:
        assert_array_equal(getattr(found.truth, name), getattr(expected.truth, name), err_msg=name)


# ------------------------------------------------------------------------------------------------ there and back


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 40), max_size=3))
def test_what_is_written_in_any_chunks_reads_back_bit_for_bit(tmp_path, made, detector, suffix, cuts):
    edges = [0, *sorted(cuts), 40]
    path = write_hits(tmp_path / f"a{suffix}", (made.select(slice(a, b)) for a, b in pairwise(edges)), overwrite=True)
    assert_same(read_hits(path, detector=detector), made)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("rows", [1, 3, 7, 100])
def test_chunks_never_divide_a_pair(tmp_path, made, suffix, rows):
    path = write_hits(tmp_path / f"a{suffix}", made)
    parts = list(stream_hits(path, rows))
    assert_same(Hits.concatenate(parts), made)
    assert all(np.all(np.unique(part.pair, return_counts=True)[1] == 2) for part in parts)


def test_tracks_without_truth_read_back_without_it(tmp_path, made):
    path = write_hits(tmp_path / "a.parquet", replace(made, truth=None))
    assert read_hits(path).truth is None


def test_no_tracks_are_a_file_too(tmp_path, made):
    for suffix in SUFFIXES:
        assert len(read_hits(write_hits(tmp_path / f"a{suffix}", made.select(slice(0))))) == 0


def test_an_rntuple_reads_like_a_tree(tmp_path, made):
    table = {name: to_awkward(values) for name, values in plain(made).items()}
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mkrntuple("Tracks", table)
    assert_same(read_hits(tmp_path / "a.root"), made)


@pytest.mark.parametrize("kind", ["tree", "ntuple", "parquet"])
def test_vectors_may_be_arrays_of_fixed_size(tmp_path, made, kind):
    table = {name: to_awkward(values) for name, values in plain(made).items()}
    fixed = {name: np.array(table.pop(name)) for name in ("seed", "seed_ref", "gen_state", "gen_vertex")}
    path = tmp_path / ("a.parquet" if kind == "parquet" else "a.root")
    if kind == "parquet":
        columns = {name: ak.to_arrow(values, extensionarray=False) for name, values in table.items()}
        for name, values in fixed.items():
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        pq.write_table(pa.table(columns), path)
    else:
        with uproot.recreate(path) as file:
            if kind == "tree":
                types = {name: (str(values.dtype), values.shape[1:]) for name, values in fixed.items()}
                types |= {name: str(ak.type(values)).partition("* ")[2] for name, values in table.items()}
                file.mktree("Tracks", types).extend({**table, **fixed})
            else:
                file.mkrntuple("Tracks", {**table, **{name: ak.Array(values) for name, values in fixed.items()}})
    assert_same(read_hits(path), made)


def test_names_are_the_users_and_vectors_may_be_spread(tmp_path, made):
    table = plain(made)
    seed = np.array(table.pop("seed"))
    table |= {f"q{i}": seed[:, i] for i in range(5)}
    table["det"] = table.pop("module_id")
    path = write_plain(tmp_path / "a.parquet", table)
    config = HitsInput(columns={"module_id": "det", "seed": tuple(f"q{i}" for i in range(5))})
    assert_same(read_hits(path, config), made)


def test_what_may_be_missing_has_its_stand_in_and_is_noted(tmp_path, made):
    table = plain(replace(made, truth=None))
    for name in ("lumi", "pair", "charge", "v", "sigma_v"):
        del table[name]
    source = open_hits(write_plain(tmp_path / "a.parquet", table))
    found = source.read()
    assert_array_equal(found.charge, made.charge)
    assert np.all(found.pair == -1)
    assert np.all(np.isnan(found.v))
    assert "a.parquet lacks 'pair': -1, no pairs" in source.notes


def test_pairs_of_different_files_are_different(tmp_path, made):
    a = write_hits(tmp_path / "a.parquet", made)
    b = write_hits(tmp_path / "b.parquet", replace(made, run=made.run + 1))
    pair, counts = np.unique(read_hits([a, b]).pair, return_counts=True)
    assert pair.size == 40
    assert np.all(counts == 2)


def test_a_writer_that_wrote_something_else_is_noticed(tmp_path, made, monkeypatch):
    real = hits_writer._write_parquet

    def wrong(path, kinds, rows, tree):
        def spoilt():
            for columns in rows:
                columns["u"].content[3] += 1e-15
                yield columns

        real(path, kinds, spoilt(), tree)

    monkeypatch.setattr(hits_writer, "_write_parquet", wrong)
    with pytest.raises(VerificationError, match="column 'u' reads back differently"):
        write_hits(tmp_path / "a.parquet", replace(made, u=made.u.copy()))
    assert not list(tmp_path.iterdir())


def test_another_suffix_and_a_truth_of_some_chunks_are_refused(tmp_path, made):
    with pytest.raises(ConfigError, match=r"\.csv"):
        write_hits(tmp_path / "a.csv", made)
    with pytest.raises(ValueError, match="some chunks of hits have their truth"):
        write_hits(tmp_path / "a.parquet", [made, replace(made, truth=None)])


# ------------------------------------------------------------------------------------------------ bad rows


def _reverse(values: np.ndarray) -> None:
    values[:] = values[::-1].copy()


BAD_ROWS = {
    "nonfinite:seed": lambda h: h["seed"].__setitem__((4, 2), np.nan),
    "nonfinite:seed_ref": lambda h: h["seed_ref"].__setitem__((4, 0), np.inf),
    "range:seed": lambda h: h["seed"].__setitem__((4, 1), 1.6),
    "charge": lambda h: h["charge"].__setitem__(4, -h["charge"][4]),
    "nonfinite:u": lambda h: h["u"].__setitem__(h["first"], np.nan),
    "nonfinite:sigma": lambda h: h["sigma_u"].__setitem__(h["first"], np.nan),
    "range:sigma": lambda h: h["sigma_u"].__setitem__(h["first"], 0.0),
    "v_without_sigma": lambda h: h["sigma_v"].__setitem__(h["first"], np.nan),
    "double_hit": lambda h: h["module_id"].__setitem__(h["first"], h["module_id"][h["first"] + 1]),
    "unknown_module": lambda h: h["module_id"].__setitem__(h["first"], 10**6),
    "coordinates": lambda h: (h["v"].__setitem__(h["first"], np.nan), h["sigma_v"].__setitem__(h["first"], np.nan)),
    "range:u": lambda h: h["u"].__setitem__(h["first"], 60.0),
    "range:v": lambda h: h["v"].__setitem__(h["first"], 60.0),
    "unordered": lambda h: [_reverse(h[name][h["first"] : h["last"]]) for name in FIELDS[8:]],
}  # fmt: skip


@pytest.fixture(scope="module")
def longest_first(made: Hits) -> Hits:
    """Track 4 crosses everything."""
    order = np.arange(40)
    longest = int(np.argmax(made.n_hits))
    order[[4, longest]] = order[[longest, 4]]
    swapped = made.select(order)
    return replace(swapped, pair=np.full(40, -1), event=np.arange(40))


def spoilt(hits: Hits, spoil) -> Hits:
    columns = {name: getattr(hits, name).copy() for name in FIELDS}
    spoil({**columns, "first": hits.offsets[4], "last": hits.offsets[5]})
    return replace(hits, **columns)


@pytest.mark.parametrize("reason", BAD_ROWS)
def test_a_bad_track_is_rejected_by_its_reason(tmp_path, longest_first, detector, reason):
    path = write_hits(tmp_path / "a.parquet", spoilt(longest_first, BAD_ROWS[reason]))
    source = open_hits(path, HitsInput(max_bad_fraction=0.03), detector=detector)
    assert len(source.read()) == 39
    assert dict(source.ledger.rejected) == {reason: 1}
    event = longest_first.event[4]
    assert source.ledger.examples[reason][0].startswith(f"{path} entry 4 (1:")
    assert source.ledger.examples[reason][0].endswith(f":{event})")


def test_a_track_without_hits_and_a_pair_of_three_are_rejected(tmp_path, made):
    columns = {name: getattr(made, name) for name in FIELDS}
    columns["offsets"] = made.offsets.copy()
    columns["offsets"][1] = 0
    columns["pair"] = np.where(np.arange(40) < 33, made.pair, -1)
    columns["pair"][2:5] = 99
    path = write_hits(tmp_path / "a.parquet", Hits(**columns))
    source = open_hits(path, HitsInput(max_bad_fraction=0.2))
    source.read()
    assert dict(source.ledger.rejected) == {"pair": 3, "no_hits": 1}


def test_hits_of_another_detector_are_an_error(tmp_path, made, detector):
    path = write_hits(tmp_path / "a.parquet", replace(made, module_id=made.module_id + 10**6))
    with pytest.raises(InputError, match=r"40 of 40 tracks are bad.*unknown_module 40") as caught:
        read_hits(path, detector=detector)
    assert "name the detector" in caught.value.do


def test_a_good_sample_is_not_out_of_order_on_long_strips(detector, made):
    assert np.all(judge(made, detector)[1] == -1)


# ------------------------------------------------------------------------------------------------ bad files


def test_a_missing_column_names_the_nearest(tmp_path, made):
    table = plain(made)
    table["sigmaU"] = table.pop("sigma_u")
    with pytest.raises(InputError, match="column 'sigma_u' is missing") as caught:
        read_hits(write_plain(tmp_path / "a.parquet", table))
    assert "sigmaU" in caught.value.where["near"]


def test_a_flat_column_where_lists_belong_is_refused(tmp_path, made):
    table = plain(made) | {"u": np.zeros(40)}
    with pytest.raises(InputError, match="column 'u' is of type double; expected a list of numbers a track"):
        read_hits(write_plain(tmp_path / "a.parquet", table))


def test_lists_of_different_lengths_name_both_columns_and_the_track(tmp_path, made):
    table = plain(made)
    table["u"][7] = [*table["u"][7], 0.0]
    with pytest.raises(InputError, match="columns 'module_id' and 'u' have") as caught:
        read_hits(write_plain(tmp_path / "a.parquet", table))
    assert caught.value.where["entry"] == "7"


def test_a_seed_of_four_numbers_and_a_module_of_one_and_a_half_are_refused(tmp_path, made):
    table = plain(made)
    table["seed"][3] = table["seed"][3][:4]
    with pytest.raises(InputError, match="'seed' has 4 numbers in one track, expected 5"):
        read_hits(write_plain(tmp_path / "a.parquet", table))
    table = plain(made)
    table["module_id"] = [[float(i) for i in row] for row in table["module_id"]]
    table["module_id"][5][0] = 1.5
    with pytest.raises(InputError, match=r"'module_id' holds 1\.5, expected a whole number") as caught:
        read_hits(write_plain(tmp_path / "b.parquet", table))
    assert caught.value.where["entry"] == "5"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path, made, suffix, share):
    path = write_hits(tmp_path / f"a{suffix}", made)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError) as caught:
        read_hits(path)
    assert caught.value.exit_code == 3


def test_a_flipped_byte_of_parquet_is_found(tmp_path, made):
    path = write_hits(tmp_path / "a.parquet", made)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(bytes(content))
    with pytest.raises((InputError, VerificationError)):
        read_hits(path)


def test_megaelectronvolts_are_refused(tmp_path, made):
    seed = made.seed * np.array([1e-3, 1, 1, 1, 1])
    with pytest.raises(InputError, match=r"median pT of the seeds .* implausible in GeV"):
        read_hits(write_hits(tmp_path / "a.parquet", replace(made, seed=seed)))


def test_micrometres_are_refused(tmp_path, made):
    with pytest.raises(InputError, match=r"median sigma_u .* implausible in cm"):
        read_hits(write_hits(tmp_path / "a.parquet", replace(made, sigma_u=made.sigma_u * 1e4)))


def test_the_same_track_twice_is_refused_also_across_files(tmp_path, made):
    a = write_hits(tmp_path / "a.parquet", made)
    b = write_hits(tmp_path / "b.parquet", made.select(slice(10, 12)))
    with pytest.raises(InputError, match="2 of 42 tracks come twice") as caught:
        read_hits([a, b])
    assert caught.value.where["1"] == f"{b} entry 0 repeats {a} entry 10"
    assert len(read_hits([a, b], HitsInput(duplicates="ignore"))) == 42


def test_the_same_file_twice_is_refused(tmp_path, made):
    a = write_hits(tmp_path / "a.parquet", made)
    with pytest.raises(InputError, match="the same file is given twice"):
        read_hits([a, a])


def test_a_bad_file_may_be_skipped_and_is_in_the_ledger(tmp_path, made):
    good = write_hits(tmp_path / "a.parquet", made)
    bad = tmp_path / "b.parquet"
    bad.write_bytes(b"<html>not here</html>")
    source = open_hits([good, bad], HitsInput(on_bad_file="skip"))
    assert len(source.read()) == 40
    assert dict(source.file_ledger.rejected) == {"foreign_file": 1}
    with pytest.raises(InputError, match="none of the 1 files can be read"):
        open_hits(bad, HitsInput(on_bad_file="skip"))


def test_a_csv_and_another_result_are_refused(tmp_path, made, detector):
    (tmp_path / "a.csv").write_text("run,event\n1,2\n")
    with pytest.raises(InputError, match="is CSV; tracks with hits are read from ROOT, Parquet"):
        read_hits(tmp_path / "a.csv")
    detector.save(tmp_path / "a.h5")
    with pytest.raises(InputError, match="holds a Detector, expected a Hits"):
        read_hits(tmp_path / "a.h5")


def test_an_unknown_column_of_the_map_is_named():
    with pytest.raises(ValueError, match="'modul_id', which is no column of tracks; the nearest are module_id"):
        HitsInput(columns={"modul_id": "x"})


# ------------------------------------------------------------------------------------------------ plain writers


def plain(hits: Hits) -> dict[str, list | np.ndarray]:
    """Tracks as Python lists, by a way of its own."""
    table: dict[str, list | np.ndarray] = {name: getattr(hits, name) for name in FIELDS[:5]}
    table |= {"seed": hits.seed.tolist(), "seed_ref": hits.seed_ref.tolist()}
    per_hit = {name: getattr(hits, name) for name in FIELDS[8:]}
    if hits.truth is not None:
        t = hits.truth
        table |= {"gen_state": t.state.tolist(), "gen_vertex": t.vertex.tolist(), "gen_parent": t.parent}
        table["gen_mass"] = t.mass
        per_hit |= {"gen_u": t.hit_u, "gen_v": t.hit_v}
    for name, values in per_hit.items():
        table[name] = [values[a:b].tolist() for a, b in pairwise(hits.offsets)]
    return table


def to_awkward(values: list | np.ndarray) -> ak.Array:
    return ak.Array(values)


def write_plain(path: Path, table: dict[str, list | np.ndarray]) -> Path:
    pq.write_table(pa.table({name: pa.array(values) for name, values in table.items()}), path, row_group_size=11)
    return path
