import gzip
import json
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mucal.errors import InputError
from mucal.io import read_json, read_json_text, write_json

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(content=PLAIN)
def test_what_is_written_reads_back(tmp_path, suffix: str, content):
    path = write_json(tmp_path / f"a{suffix}", content, overwrite=True)
    assert read_json(path) == content
    assert json.loads(read_json_text(path)) == content


def test_equal_content_gives_equal_bytes_whenever_and_wherever(tmp_path):
    first = write_json(tmp_path / "a.json.gz", {"b": 1, "a": [1.5]}, sort_keys=True).read_bytes()
    time.sleep(1.1)  # the resolution of the gzip time stamp
    second = write_json(tmp_path / "other.json.gz", {"a": [1.5], "b": 1}, sort_keys=True).read_bytes()
    assert first == second
    assert first[4:8] == bytes(4)


def test_keys_keep_their_order_unless_sorted(tmp_path):
    assert list(read_json(write_json(tmp_path / "a.json", {"b": 1, "a": 2}))) == ["b", "a"]


def test_nan_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", [float("nan")])
    assert not list(tmp_path.iterdir())


def test_a_file_that_exists_is_kept(tmp_path):
    path = write_json(tmp_path / "a.json", 1)
    with pytest.raises(FileExistsError):
        write_json(path, 2)
    assert read_json(path) == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"a": 1,\n "b": oops}', "2:7"),
        ('{"a": [1, 2', "1:12"),
        ("", "1:1"),
        ('{"a": 1}\n}', "2:1"),
        ('{"a": "x', "1:7"),
    ],
)
def test_what_is_not_json_is_named_by_line_and_column_b34(tmp_path, text: str, place: str):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError, match=place) as caught:
        read_json(path)
    assert caught.value.where["file"] == f"{path}:{place}"


def test_a_truncated_file_says_that_it_ends_too_early_b34(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2')
    with pytest.raises(InputError, match="ends too early at 1:12"):
        read_json(path)


@pytest.mark.parametrize("keep", [1, 3, 12, -9, -1])
def test_a_truncated_gzip_file_names_the_byte_b34(tmp_path, keep: int):
    path = write_json(tmp_path / "a.json.gz", list(range(500)))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError) as caught:
        read_json(path)
    assert caught.value.kind == "input.json"
    if keep > 2 or keep < 0:
        assert f"of {path.stat().st_size}" in caught.value.what


def test_any_flipped_bit_in_a_gzip_file_is_found_or_harmless_b34(tmp_path):
    content = {"values": list(range(100))}
    path = write_json(tmp_path / "a.json.gz", content)
    whole = path.read_bytes()
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 0x10
        path.write_bytes(data)
        with suppress(InputError):
            assert read_json(path) == content


def test_bytes_that_are_not_utf8_are_named_b34(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InputError, match="not UTF-8 text at byte 7"):
        read_json(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 50_000, "[" * 201 + "]" * 201, '["\\"", ' * 300])
def test_deep_nesting_is_refused_before_the_parser_b35(tmp_path, text: str, monkeypatch):
    path = tmp_path / "a.json"
    path.write_text(text)
    monkeypatch.setattr(json, "loads", lambda *a, **k: pytest.fail("the parser was called"))
    with pytest.raises(InputError, match="deep, more than 200"):
        read_json(path)


@pytest.mark.parametrize("text", ['["' + "[" * 5000 + '"]', '["\\"' + "{" * 5000 + '"]', "[" * 200 + "]" * 200])
def test_brackets_inside_text_do_not_nest_b35(tmp_path, text: str):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert read_json(path) == json.loads(text)


@pytest.mark.parametrize("text", ['"' + '\\"' * 2_000_000, '"' + "\\" * 4_000_001, '["' * 100 + "a" * 4_000_000])
def test_hostile_quotes_cost_linear_time(tmp_path, text: str):
    path = tmp_path / "a.json"
    path.write_text(text)
    start = time.process_time()
    with pytest.raises(InputError):
        read_json(path)
    assert time.process_time() - start < 5  # 4 MB; a search that goes back takes hours


def test_a_gzip_bomb_is_stopped_while_it_expands_b36(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b" " * 2**26, mtime=0))
    with pytest.raises(InputError, match=r"expands .* times, more than 200: reading stopped at") as caught:
        read_json(path)
    stopped = int(caught.value.what.split()[-2])
    assert stopped < 2**25  # of 2^26


def test_a_text_beyond_the_cap_is_refused_b36(tmp_path):
    path = write_json(tmp_path / "a.json", "x" * 5000)
    with pytest.raises(InputError, match="more than 4096 bytes"):
        read_json(path, max_bytes=4096)


def test_a_number_of_many_digits_is_an_input_error(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("1" * 10_000)
    with pytest.raises(InputError):
        read_json(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_json(tmp_path / "none.json")
