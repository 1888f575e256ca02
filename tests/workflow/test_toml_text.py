"""Every key of a TOML text is found on its line, and what is wrong in it is said with line and column."""

from pathlib import Path

import pytest

from mucal.errors import ConfigError
from mucal.workflow.toml_text import overlay, parse_toml, read_toml

TEXT = '''# a comment with fake = 1
top = 1
[input]
columns = { pt = "x = 1", eta = ["q, ]", 2] }
files = [
  "a.root", # [not] a = table
  "b",
]
text = """
fake = 3
\\""" fake = 4
"""
dotted.key = 1979-05-27
"quoted key" = 'raw # text'
[[spectra]]
name = "first"
[[spectra]]
name = "second"
[spectra.inner]
deep = 1.5
'''


def parsed(text: str = TEXT):
    return parse_toml(text, "c.toml", Path())


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("top", 2), ("input", 3), ("input.columns", 4), ("input.columns.eta", 4), ("input.columns.eta.1", 4),
        ("input.files", 5), ("input.files.0", 6), ("input.files.1", 7), ("input.text", 9), ("input.dotted.key", 13),
        ("input.quoted key", 14), ("spectra.0", 15), ("spectra.0.name", 16), ("spectra.1.name", 18),
        ("spectra.1.inner", 19), ("spectra.1.inner.deep", 20),
    ],
)  # fmt: skip
def test_a_key_is_found_on_its_line(path: str, line: int):
    assert parsed().lines[path] == line


def test_text_inside_strings_and_comments_is_no_key():
    assert not [path for path in parsed().lines if "fake" in path]


def test_a_missing_key_is_placed_at_the_section_it_belongs_to():
    assert parsed().place("spectra.1.inner.absent") == "c.toml:19"


def test_windows_line_ends_do_not_move_lines():
    assert parsed(TEXT.replace("\n", "\r\n")).lines == parsed().lines


def test_a_syntax_error_has_line_and_column():
    with pytest.raises(ConfigError) as error:
        parsed("[input]\nfiles = [1, 2\nx = 3\n")
    assert error.value.exit_code == 2
    assert "c.toml:3:1" in str(error.value)


def test_a_key_written_twice_is_an_error():
    with pytest.raises(ConfigError, match=r"c\.toml:2"):
        parsed("a = 1\na = 2\n")


def test_a_missing_file_is_a_configuration_error(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path / "absent.toml")


def test_text_in_another_encoding_is_refused(tmp_path: Path):
    (tmp_path / "latin.toml").write_bytes("a = 'é'".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_toml(tmp_path / "latin.toml")


def test_settings_lie_over_the_file_and_do_not_change_it():
    document = parsed()
    changed = overlay(document, ("top=[1, 2]", "input.columns.pt=plain text", "new.table.key=true"))
    assert changed.values["top"] == [1, 2]
    assert changed.values["input"]["columns"]["pt"] == "plain text"
    assert changed.values["new"]["table"]["key"] is True
    assert document.values["top"] == 1


def test_a_setting_reaches_into_a_list_of_tables():
    assert overlay(parsed(), ("spectra.1.name='x'",)).values["spectra"][1]["name"] == "x"


@pytest.mark.parametrize("setting", ["top", "=1", "top.x=1", "spectra.7.name=1", "a..b=1"])
def test_a_malformed_setting_is_an_error(setting: str):
    with pytest.raises(ConfigError, match="--set"):
        overlay(parsed(), (setting,))


def test_what_was_set_on_the_command_line_is_placed_there():
    assert overlay(parsed(), ("top=2",)).place("top") == "--set"
