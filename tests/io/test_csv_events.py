import gzip

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal.errors import InputError
from mucal.io import open_dimuons
from mucal.io.csv_events import BLOCK, open_csv


@pytest.fixture
def text(files, tmp_path) -> str:
    return files.write(tmp_path / "plain.csv", files.pairs(40)).read_text()


def test_a_gzipped_file_reads_like_the_plain_one(files, tmp_path, text: str):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert_array_equal(open_dimuons(path, files.config()).read().pt, files.expected(files.pairs(40)).pt)


@pytest.mark.parametrize("keep", [0.3, 0.99])
def test_a_truncated_gzip_stream_is_refused_before_reading_b06(tmp_path, text: str, keep: float):
    path = tmp_path / "a.csv.gz"
    data = gzip.compress(text.encode())
    path.write_bytes(data[: int(keep * len(data))])
    with pytest.raises(InputError, match="truncated or damaged") as caught:
        open_csv(path)
    assert caught.value.kind == "input.truncated"
    assert f"{path.stat().st_size} bytes" in caught.value.what


def test_a_flipped_bit_in_a_gzip_stream_is_noticed(tmp_path, text: str):
    path = tmp_path / "a.csv.gz"
    data = bytearray(gzip.compress(text.encode()))
    data[-6] ^= 1  # the stored checksum
    path.write_bytes(data)
    with pytest.raises(InputError, match="truncated or damaged"):
        open_csv(path)


def test_a_line_with_too_few_fields_is_named_b06(files, tmp_path, text: str):
    path = tmp_path / "a.csv"
    path.write_text(text + "7,8,9\n")
    with pytest.raises(InputError, match="Expected 11 columns, got 3"):
        open_dimuons(path, files.config()).read()


def test_a_last_line_without_line_end_is_noted(files, tmp_path, text: str):
    path = tmp_path / "a.csv"
    path.write_text(text.rstrip("\n"))
    source = open_dimuons(path, files.config())
    assert len(source.read()) == 40
    assert "no line end" in source.notes[0]


def test_a_column_that_turns_to_text_is_named_with_the_value_b10(files, tmp_path):
    table = files.pairs(3)
    table["pt2"] = np.array(["4.0", "5.0", "high"])
    with pytest.raises(InputError, match="'high'"):
        open_dimuons(files.write(tmp_path / "a.csv", table), files.config()).read()


def test_an_empty_field_is_nan_and_rejected_b01(files, tmp_path):
    table = files.pairs(200)
    table["pt2"] = np.array(["", *table["pt2"][1:].astype(str)])
    source = open_dimuons(files.write(tmp_path / "a.csv", table), files.config())
    assert len(source.read()) == 199
    assert dict(source.ledger.rejected) == {"nonfinite:pt": 1}


def test_whole_numbers_in_the_first_line_do_not_make_a_column_whole(files, tmp_path):
    table = files.pairs(3)
    table["pt1"] = np.array(["4", "5.5", "6"])
    found = open_dimuons(files.write(tmp_path / "a.csv", table), files.config()).read()
    assert_array_equal(found.pt[:, 0], [4, 5.5, 6])


@pytest.mark.parametrize(
    ("header", "message"), [("pt1,pt1,q", "'pt1' twice"), ("pt1,,q", "'' twice or not at all"), ("pt", "no comma")]
)
def test_a_header_that_cannot_name_columns_is_refused(tmp_path, header: str, message: str):
    path = tmp_path / "a.csv"
    path.write_text(header + "\n1,2,3\n")
    with pytest.raises(InputError, match=message):
        open_csv(path)


def test_blank_lines_do_not_count(files, tmp_path, text: str):
    path = tmp_path / "a.csv"
    path.write_text("\n\n" + text.replace("\n", "\n\n", 3) + "\n")
    assert_array_equal(open_dimuons(path, files.config()).read().pt, files.expected(files.pairs(40)).pt)


def test_windows_line_ends_and_a_byte_order_mark_are_no_trouble(files, tmp_path, text: str):
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert_array_equal(open_dimuons(path, files.config()).read().pt, files.expected(files.pairs(40)).pt)


def test_a_header_alone_gives_no_pairs(files, tmp_path, text: str):
    path = tmp_path / "a.csv"
    path.write_text(text.splitlines()[0] + "\n")
    source = open_dimuons(path, files.config())
    assert len(source.read()) == 0
    assert source.ledger.read == 0


def test_a_gzip_bomb_of_one_line_is_refused_b36(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1" * (4 * BLOCK)))
    with pytest.raises(InputError, match=f"longer than {BLOCK} bytes"):
        open_csv(path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"\xff\xfe\x00\x01,b\n1,2\n"))
    with pytest.raises(InputError, match="is not text"):
        open_csv(path)


def test_spaces_and_quotes_around_names_do_not_count(files, tmp_path, text: str):
    head, _, body = text.partition("\n")
    path = tmp_path / "a.csv"
    path.write_text(", ".join(f'"{name}"' for name in head.split(",")) + "\n" + body)
    assert len(open_dimuons(path, files.config()).read()) == 40
