import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from mucal.errors import InputError
from mucal.io import open_dimuons, write_dimuons
from mucal.io.dimuon_input import DimuonInput
from mucal.io.dimuon_writer import WRITTEN
from mucal.io.parquet_events import arrow_values, open_parquet


def test_null_numbers_are_nan_and_null_lists_are_empty():
    values = arrow_values(pa.array([1.0, None]))
    assert_array_equal(values, [1.0, np.nan])
    lists = arrow_values(pa.array([[1.0, 2.0], None, [3.0]]))
    assert_array_equal(lists.offsets, [0, 2, 2, 3])
    assert_array_equal(lists.content, [1, 2, 3])


def test_a_slice_of_lists_keeps_its_own_values():
    lists = arrow_values(pa.array([[1.0], [2.0, 3.0], [4.0]]).slice(1, 2))
    assert_array_equal(lists.offsets, [0, 2, 3])
    assert_array_equal(lists.content, [2, 3, 4])


def test_text_and_categories_can_be_selected(files, tmp_path):
    table = files.pairs(4)
    kinds = pa.array(["GG", "GT", "GG", None])
    for column in (kinds, kinds.dictionary_encode(), kinds.cast(pa.large_string())):
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({**{k: pa.array(v) for k, v in table.items()}, "Type": column}), path)
        found = open_dimuons(path, files.config(select=('Type == "GG"',))).read()
        assert_array_equal(found.event, table["event"][[0, 2]])


def test_columns_of_other_types_are_named_as_such(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"x": [{"a": 1}], "y": [[[1.0]]]}), path)
    assert {c.kind for c in open_parquet(path).columns.values()} == {"other"}


def test_every_flipped_bit_in_the_pages_of_a_written_file_is_found_b12(files, tmp_path):
    path = write_dimuons(tmp_path / "a.parquet", files.expected(files.pairs(300)))
    whole = path.read_bytes()
    config = DimuonInput(columns=WRITTEN)
    expected = open_dimuons(path, config).read()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    random = np.random.default_rng(5)
    for at in random.integers(4, footer, 80):
        data = bytearray(whole)
        data[at] ^= 1 << int(random.integers(8))
        path.write_bytes(data)
        try:
            found = open_dimuons(path, config).read()
        except InputError:
            continue
        # a bit that no reader looks at, as a statistic in a page header
        for name in ("run", "lumi", "event", "pt", "eta", "phi", "charge"):
            assert_array_equal(getattr(found, name), getattr(expected, name))


def test_a_damaged_footer_is_an_input_error(files, tmp_path):
    path = files.write(tmp_path / "a.parquet", files.pairs(3))
    data = bytearray(path.read_bytes())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    data[footer : footer + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.raises(InputError, match="cannot be opened as a Parquet file"):
        open_parquet(path)
