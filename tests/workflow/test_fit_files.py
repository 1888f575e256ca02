"""Files of a fit are known by what they hold, not by their names."""

import json

import numpy as np
import pytest

from mucal.errors import InputError
from mucal.io import FitInput, write_pyhf, write_rabbit
from mucal.likelihood import expected_events, from_arrays, observe
from mucal.workflow.fit_files import ReadOptions, load_fit_input

from ..io.test_datacard import COUNTING


def model():
    kappa = np.full((1, 2, 1), 0.1)
    return from_arrays(
        np.array([[50.0, 5.0]]), kappa, parameters=("n",), processes=("b", "s"), rates={"s": ["s"]}, pois=("s",)
    )


def fit_input():
    return FitInput(model=model(), observation=observe(model(), np.array([57.0])), mc_stat="none")


WRITERS = {
    "mucal": lambda path: fit_input().save(path),
    "pyhf": lambda path: write_pyhf(path, fit_input()),
    "rabbit": lambda path: write_rabbit(path, fit_input()),
    "datacard": lambda path: path.write_text(COUNTING),
}


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_is_known_by_its_content(tmp_path, form):
    path = tmp_path / "anything.dat"
    WRITERS[form](path)
    found = load_fit_input(path)
    assert found.format == ("" if form == "mucal" else form)
    assert found.data().counts[0] in (57.0, 31.0)


def test_a_model_has_no_data(tmp_path):
    found = load_fit_input(model().save(tmp_path / "model.h5"))
    with pytest.raises(InputError, match="holds no data"):
        found.data()


def test_pseudo_data_are_found_by_name(tmp_path):
    other = expected_events(model())[:, None]
    found = FitInput(model=model(), names=("other",), alternative=other)
    again = load_fit_input(found.save(tmp_path / "f.h5"))
    np.testing.assert_array_equal(again.data("other").counts, other[:, 0])
    with pytest.raises(InputError, match="no data 'othr'") as error:
        again.data("othr")
    assert error.value.where["near"] == "other"


BAD = {
    "is empty": b" \n",
    "none of the formats of a fit": b"PK\x03\x04 zip",
    "is none of the formats": b"<html><body>not found</body></html>",
    "is not JSON at 1:3": b"{ channels: []}",
    "ends too early": b'{"channels": [',
    "no pyhf workspace": json.dumps({"schema_version": 2}).encode(),
    "cannot be read|truncated": b"\x89HDF\r\n\x1a\n",
    "truncated or damaged": b"\x1f\x8b\x08\x00",
    "first line of x is damaged": b"mucal-result 1 sha256\n",
}


@pytest.mark.parametrize("message", BAD)
def test_a_file_of_no_known_format_says_what_it_is(tmp_path, message):
    path = tmp_path / "x"
    path.write_bytes(BAD[message])
    with pytest.raises(Exception, match=message) as error:
        load_fit_input(path)
    assert error.value.exit_code in (3, 7)


def test_a_folder_and_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        load_fit_input(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        load_fit_input(tmp_path / "none")


def test_another_result_is_refused(tmp_path):
    path = observe(model(), np.array([57.0])).save(tmp_path / "data.h5")
    with pytest.raises(InputError, match="holds a Observation, expected a Model, a FitInput or Templates"):
        load_fit_input(path)


def test_options_reach_the_readers(tmp_path):
    write_pyhf(tmp_path / "w.json", fit_input())
    with pytest.raises(InputError, match="no measurement 'other'"):
        load_fit_input(tmp_path / "w.json", ReadOptions(measurement="other"))
    write_rabbit(tmp_path / "t.hdf5", fit_input())
    found = load_fit_input(tmp_path / "t.hdf5", ReadOptions(systematic_type="log_normal"))
    assert not found.model.effects.additive.any()
