"""Tables read back by a YAML parser are the numbers that went in."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.io.hepdata import (
    Column,
    HepdataTable,
    breakdown_table,
    matrix_parameters,
    matrix_table,
    nuisance_table,
    write_hepdata,
)
from mucal.likelihood import expected_events, fit, global_impacts, nominal_impacts

from ..likelihood.models import small_model

yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def fitted():
    model = small_model()
    data = np.random.default_rng(4).poisson(expected_events(model)).astype(float)
    result = fit(model, data)
    return result, nominal_impacts(model, data, result, "mass"), global_impacts(model, data, result, "mass")


def column(document, name):
    found = next(c for c in document["dependent_variables"] if c["header"]["name"] == name)
    return [row["value"] for row in found["values"]]


def test_pulls_constraints_and_impacts_come_back(tmp_path, fitted):
    result, nominal, response = fitted
    pulls = np.array([np.nan, np.nan, 1e-5, -2e-17, 3.0, 1e22])
    table = nuisance_table(result, pulls, np.abs(pulls), [nominal], [response])
    path = write_hepdata(tmp_path / "h", [table])[0]
    document = yaml.safe_load(path.read_text())
    names = [row["value"] for row in document["independent_variables"][0]["values"]]
    assert tuple(names) == result.parameters
    assert column(document, "pull") == ["-", "-", 1e-5, -2e-17, 3.0, 1e22]
    assert column(document, "nominal impact") == nominal.single.tolist()
    assert column(document, "global impact") == response.single.tolist()
    assert document["dependent_variables"][2]["qualifiers"] == [{"name": "parameter of interest", "value": "mass"}]


def test_the_breakdown_adds_up_in_its_global_column(tmp_path, fitted):
    _, nominal, response = fitted
    path = write_hepdata(tmp_path / "h", [breakdown_table(nominal, response)])[0]
    *parts, total = column(yaml.safe_load(path.read_text()), "global impact")
    assert_allclose(np.linalg.norm(parts), total, rtol=1e-10)


@pytest.mark.parametrize("kind", ["covariance", "correlation"])
def test_matrices_come_back(tmp_path, fitted, kind):
    result, _, _ = fitted
    names = ["n2", "mass"]
    path = write_hepdata(tmp_path / "h", [matrix_table(result, names, kind)])[0]
    document = yaml.safe_load(path.read_text())
    i, j = result.place("n2"), result.place("mass")
    cov = result.cov[np.ix_([i, j], [i, j])]
    expected = cov if kind == "covariance" else cov / np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    assert_allclose(np.reshape(column(document, kind), (2, 2)), expected, rtol=1e-15)
    rows = [[row["value"] for row in variable["values"]] for variable in document["independent_variables"]]
    assert rows == [["n2", "n2", "mass", "mass"], ["n2", "mass", "n2", "mass"]]


def test_the_submission_names_every_file(tmp_path, fitted):
    result, nominal, response = fitted
    tables = [breakdown_table(nominal, response), matrix_table(result, ["mass"])]
    written = write_hepdata(tmp_path / "h", tables, comment='a "fit": with # signs')
    first, *others = yaml.safe_load_all(written[-1].read_text())
    assert first == {"comment": 'a "fit": with # signs'}
    assert [document["data_file"] for document in others] == [path.name for path in written[:-1]]
    with pytest.raises(FileExistsError):
        write_hepdata(tmp_path / "h", tables)


def test_matrices_of_many_parameters_keep_those_that_matter(fitted):
    result, nominal, _ = fitted
    assert matrix_parameters(result, [nominal]) == list(result.parameters)
    few = matrix_parameters(result, [nominal], most=3)
    assert few[:2] == ["mass", "mu"]
    assert few[2] == next(name for name in nominal.ranking if name not in ("mass", "mu"))


def test_columns_of_unequal_length_and_names_with_folders_are_refused():
    one, two = Column(name="a", values=[1.0]), Column(name="b", values=[1.0, 2.0])
    with pytest.raises(ValueError, match="lengths"):
        HepdataTable(name="t", description="", file="t", independent=(one,), dependent=(two,))
    with pytest.raises(ValueError, match="no plain name"):
        HepdataTable(name="t", description="", file="../t", independent=(one,), dependent=(one,))
