"""Templates of a user's events with the weights that they carry."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import InputError
from mucal.templates import Binning, accumulate
from mucal.templates.user_tables import user_chunk, user_effects
from mucal.theory.weight_columns import WeightFamily

BINS = Binning(axes=("pt",), edges=((26.0, 40.0, 56.0),))
FAMILIES = (
    WeightFamily(name="pdf", column="LHEPdfWeight", first=1, count=4, kind="asym_hessian", central=0, scale=1 / 1.645),
    WeightFamily(name="mu", column="muR", count=2, kind="up_down", group="scales"),
    WeightFamily(name="shower", column="shower"),
)


def table(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "Muon_pt": rng.uniform(20, 60, n), "genWeight": rng.uniform(0.5, 1.5, n),
        "LHEPdfWeight": rng.uniform(0.9, 1.1, (n, 5)), "muR": rng.uniform(0.9, 1.1, (n, 2)),
        "shower": rng.uniform(0.9, 1.1, n),
    }  # fmt: skip


def chunk_of(columns):
    return user_chunk(BINS, columns, FAMILIES, axes={"pt": "Muon_pt"}, weight="genWeight")[0]


def test_weights_become_nuisances_by_hand():
    columns = table(500, 1)
    sums = accumulate(BINS, chunk_of(columns))
    found = user_effects(sums, FAMILIES)
    assert found.names == ("pdf_0_avg", "pdf_0_diff", "pdf_1_avg", "pdf_1_diff", "mu", "shower")
    assert found.groups == ("pdf",) * 4 + ("scales", "shower")
    inside = (columns["Muon_pt"] >= 26) & (columns["Muon_pt"] < 40)
    w, pdf = columns["genWeight"][inside], columns["LHEPdfWeight"][inside]
    up, down = (np.log((w * pdf[:, i] / pdf[:, 0]).sum() / w.sum()) for i in (3, 4))
    assert_allclose(found.kappa[2, 0], 0.5 * (up - down) / 1.645, rtol=1e-12)
    assert_allclose(found.kappa[3, 0], 0.5 * np.sqrt(3) * (up + down) / 1.645, rtol=1e-12)
    assert_allclose(found.kappa[5, 0], np.log((w * columns["shower"][inside]).sum() / w.sum()), rtol=1e-12)


def test_chunks_of_a_table_add_up():
    columns = table(600, 2)
    parts = [
        accumulate(BINS, chunk_of({k: v[s] for k, v in columns.items()})) for s in (slice(0, 250), slice(250, 600))
    ]
    whole = accumulate(BINS, chunk_of(columns))
    assert_allclose((parts[0] + parts[1]).columns, whole.columns, rtol=1e-12)
    assert whole.n_events == 600


def test_b17_a_nominal_weight_that_is_nan_is_refused_with_its_row():
    columns = table(20, 3)
    columns["genWeight"][[7, 11]] = np.nan
    with pytest.raises(InputError, match="2 of 20 nominal weights are not finite, the first in row 7") as error:
        chunk_of(columns)
    assert error.value.exit_code == 3
    assert error.value.where == {"column": "genWeight"}


def test_a_missing_column_is_named_with_its_neighbour():
    with pytest.raises(InputError, match="Muon_pt") as error:
        user_chunk(
            BINS, {"Muon_pT": np.ones(1), "genWeight": np.ones(1)}, (), axes={"pt": "Muon_pt"}, weight="genWeight"
        )
    assert "Muon_pT" in str(error.value)
