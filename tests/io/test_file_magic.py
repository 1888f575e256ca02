import pickle
import struct

import h5py
import numpy as np
import pytest

from mucal.errors import InputError
from mucal.io.file_magic import check_length, identify


@pytest.mark.parametrize("kind", ["root", "parquet", "csv", "hdf5"])
def test_each_format_is_known_by_its_first_bytes(files, tmp_path, kind: str):
    path = files.write(tmp_path / f"a{files.suffix[kind]}", files.pairs(3))
    assert identify(path.rename(tmp_path / "a")) == kind


@pytest.mark.parametrize("kind", ["root", "parquet", "hdf5"])
def test_a_whole_file_has_its_length(files, tmp_path, kind: str):
    check_length(files.write(tmp_path / f"a{files.suffix[kind]}", files.pairs(3)), kind)


@pytest.mark.parametrize("kind", ["root", "hdf5"])
def test_a_truncated_file_says_bytes_got_and_expected_b06(files, tmp_path, kind: str):
    path = files.write(tmp_path / f"a{files.suffix[kind]}", files.pairs(3))
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=f"truncated: {whole - 30} bytes, expected {whole}"):
        check_length(path, kind)


@pytest.mark.parametrize("keep", [6, 20, -1])
def test_a_truncated_parquet_file_has_no_footer_b06(files, tmp_path, keep: int):
    path = files.write(tmp_path / "a.parquet", files.pairs(3))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="truncated"):
        check_length(path, "parquet")


def test_a_parquet_footer_longer_than_the_file_is_refused_b06(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + bytes(20) + struct.pack("<I", 4000) + b"PAR1")
    with pytest.raises(InputError, match="footer of 4000 bytes"):
        check_length(path, "parquet")


@pytest.mark.parametrize(("kind", "magic"), [("root", b"root"), ("hdf5", b"\x89HDF\r\n\x1a\n")])
def test_a_header_cut_short_is_refused_b06(tmp_path, kind: str, magic: bytes):
    path = tmp_path / "a"
    path.write_bytes(magic + bytes(4))
    with pytest.raises(InputError, match="not even"):
        check_length(path, kind)


def test_an_empty_file_is_refused_b07(tmp_path):
    path = tmp_path / "a.root"
    path.touch()
    with pytest.raises(InputError, match="is empty"):
        identify(path)


@pytest.mark.parametrize("wanted", ["auto", "root", "csv"])
def test_a_web_page_is_refused_by_its_first_bytes_b07(tmp_path, wanted: str):
    path = tmp_path / "a.root"
    path.write_text("<html>Not found</html>")
    with pytest.raises(InputError, match=r"not a .* file: starts with '<htm'"):
        identify(path, wanted)


def test_another_format_than_asked_is_refused_b07(files, tmp_path):
    path = files.write(tmp_path / "a.csv", files.pairs(3))
    with pytest.raises(InputError, match="not a Parquet file: starts with 'run,'"):
        identify(path, "parquet")


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        identify(tmp_path / "none.root")
    with pytest.raises(InputError, match="is a folder"):
        identify(tmp_path)


@pytest.mark.parametrize("name", ["a.pkl", "a.pkl.lz4", "a.npy", "a.dat", "a.csv"])
def test_pickles_and_object_arrays_are_refused_with_a_conversion_b39(tmp_path, name: str):
    path = tmp_path / name
    if name == "a.npy":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif name == "a.pkl.lz4":
        path.write_bytes(b"\x04\x22\x4d\x18" + bytes(16))
    else:
        path.write_bytes(pickle.dumps({"pt": [1.0]}))
    with pytest.raises(InputError, match="which is not read") as caught:
        identify(path)
    assert caught.value.kind == "input.refused"
    assert "to_parquet" in caught.value.do


def test_a_large_root_file_states_its_length_in_eight_bytes_b06(tmp_path):
    path = tmp_path / "a.root"
    path.write_bytes(b"root" + struct.pack(">iiq", 1_062_400, 100, 5_000_000_000) + bytes(20))
    with pytest.raises(InputError, match="40 bytes, expected 5000000000"):
        check_length(path, "root")


def test_the_newer_hdf5_superblock_states_its_length_too_b06(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["x"] = np.zeros(100)
    check_length(path, "hdf5")
    whole = path.stat().st_size
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=f"{whole - 1} bytes, expected {whole}"):
        check_length(path, "hdf5")


def test_a_saved_result_is_no_table_of_events(tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(b"mucal-result 1 sha256 " + bytes(600))
    with pytest.raises(InputError, match="starts with 'muca'"):
        identify(path)
