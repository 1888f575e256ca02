"""Tables of field probes."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mucal.errors import InputError
from mucal.io.field_probes import read_field_probes

HEAD = "x_cm,y_cm,z_cm,b_tesla,sigma_tesla\n"


def test_columns_are_read_by_name(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text("name,z_cm,y_cm,x_cm,b_tesla,sigma_tesla\nA,3,2,1,3.81,1e-5\nB,-100,0,0,3.7,2e-5\n")
    points, bfield, sigma = read_field_probes(path)
    assert_array_equal(points, [[1.0, 2.0, 3.0], [0.0, 0.0, -100.0]])
    assert_array_equal(bfield, [3.81, 3.7])
    assert_array_equal(sigma, [1e-5, 2e-5])


def test_an_empty_table_holds_no_probe(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(HEAD)
    assert [np.asarray(x).shape[0] for x in read_field_probes(path)] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y\n1,2\n", "no column 'x_cm'"),
        ("", "no column 'x_cm'"),
        (HEAD + "1,2,3,3.8,1e-5\n1,2,3,much,1e-5\n", "line 3 does not hold"),
        (HEAD + "1,2,3\n", "line 2 does not hold"),
        (HEAD + "1,2,3,3.8,0\n", "line 2: .* positive"),
        (HEAD + "1,nan,3,3.8,1\n", "line 2: .* positive"),
    ],
)
def test_bad_tables_are_refused_with_their_line(tmp_path, text, message):
    path = tmp_path / "probes.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_field_probes(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        read_field_probes(tmp_path / "none.csv")
