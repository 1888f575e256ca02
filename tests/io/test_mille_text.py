import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.detector import barrel
from mucal.errors import InputError
from mucal.globalcor import Constraint, Family, Measurement, build_registry
from mucal.io.mille_text import (
    MilleText,
    Steering,
    priors_as_measurements,
    read_labels,
    read_result,
    read_steering,
    read_text,
    write_labels,
    write_steering,
    write_text,
)


def test_text_blocks_round_trip(tmp_path):
    rng = np.random.default_rng(1)
    written = MilleText(
        initial={0: 0.1, 7: np.float64(-2.5e-7)}, presigma={0: 0.01, 7: -1.0},
        constraints=(Constraint(name="sum of u", index=np.arange(4), factor=rng.normal(size=4), value=0.3),),
        measurements=(Measurement(name="probe", index=np.array([3]), factor=np.ones(1), value=1e-3, sigma=2e-4),),
    )  # fmt: skip
    found = read_text(write_text(tmp_path / "a.txt", written))
    assert found.initial == written.initial
    assert found.presigma == written.presigma
    for mine, theirs in zip(
        (*found.constraints, *found.measurements), (*written.constraints, *written.measurements), strict=True
    ):
        assert (mine.name, mine.value) == (theirs.name, theirs.value)
        assert_array_equal(mine.index, theirs.index)
        assert_array_equal(mine.factor, theirs.factor)
    assert found.measurements[0].sigma == 2e-4


def test_text_as_people_write_it(tmp_path):
    (tmp_path / "a.txt").write_text(
        "* a comment\nparameter\n  12  0.5D-3  0.01 ! third column\n\nConstraint 0.0 0.1 % weighted\n 1 1.0\n 2 -1.0\n"
        "measurement 1.0 0.5\n 3 2.0\n"
    )
    found = read_text(tmp_path / "a.txt")
    assert found.initial == {11: 0.5e-3}
    assert_array_equal(found.constraints[0].index, [0, 1])
    assert found.measurements[0].sigma == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Parameter\n0 1.0\n", "line 2 of a.txt holds the label '0'"),
        ("Parameter\n1 x\n", "line 2 of a.txt holds 'x'; expected numbers"),
        ("Constraint 0\n", "without factors"),
        ("Constraint\n1 1\n", "line 1 of a.txt holds 0 numbers after Constraint"),
        ("1 2\n", "outside a block"),
        ("Konstraint 0\n", "a block 'Konstraint'"),
        ("Measurement 0 inf\n1 1\n", "not finite"),
    ],
)
def test_bad_text_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        read_text(tmp_path / "a.txt")


def test_steering_round_trip(tmp_path):
    written = Steering(
        binaries=(("a.bin", "c", 1.0), ("b.bin", "c", 0.5), ("f.dat", "fortran", 1.0)), texts=("par.txt", "con.txt"),
        options=("method inversion 3 0.1", "entries 25", "regularisation 1.0"),
    )  # fmt: skip
    assert read_steering(write_steering(tmp_path / "steer.txt", written)) == written


def test_steering_stops_at_end(tmp_path):
    (tmp_path / "s.txt").write_text("Cfiles ! mine\na.bin\nmethod fullMINRES 3 0.1\nend\nb.bin\n")
    found = read_steering(tmp_path / "s.txt")
    assert found.binaries == (("a.bin", "c", 1.0),)
    assert found.options == ("method fullMINRES 3 0.1",)


def test_result_file(tmp_path):
    (tmp_path / "millepede.res").write_text(
        " Parameter   ! first 3 elements per line are significant (if used as input)\n"
        "         1   0.12345E-02    0.0000        0.12345E-02    0.00021\n"
        "         2   0.0000        -1.0000\n"
        "        10  -0.5           0.01         -0.5             0.1      55\n"
        "        11   0.0000        0.0000                                 30\n"
    )
    found = read_result(tmp_path / "millepede.res")
    assert_array_equal(found.index, [0, 1, 9, 10])
    assert_allclose(found.value, [0.0012345, 0.0, -0.5, 0.0])
    assert_array_equal(found.fixed, [False, True, False, True])  # the last one's number is a count of entries
    assert_allclose(found.error, [0.00021, np.nan, 0.1, np.nan])


def test_a_result_of_another_shape_is_refused(tmp_path):
    (tmp_path / "millepede.res").write_text("header\n1 2\n")
    with pytest.raises(InputError, match=r"line 2 of millepede\.res holds 2 columns"):
        read_result(tmp_path / "millepede.res")


def test_labels_and_priors_of_a_registry(tmp_path):
    registry = build_registry(barrel(), (Family(kind="alignment", by="layer", measured_v=False),))
    labels = read_labels(write_labels(tmp_path / "labels.csv", registry))
    assert [labels[i] for i in range(len(registry))] == list(registry.names)
    priors = priors_as_measurements(registry)
    assert_array_equal([m.sigma for m in priors], registry.prior)
