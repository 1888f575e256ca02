import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from mucal.io import DimuonInput, MuonColumns

POLAR = {"pt": ("pt1", "pt2"), "eta": ("eta1", "eta2"), "phi": ("phi1", "phi2"), "charge": ("q1", "q2")}
LISTS = {"pt": "Muon_pt", "eta": "Muon_eta", "phi": "Muon_phi", "charge": "Muon_charge"}


def test_the_keys_of_a_toml_table_load_through_pydantic():
    text = """
        layout = "pair"
        select = ['Type == "GG"']
        mass_range = [2, 5]
        defaults = { lumi = 1 }
        [columns]
        pt = ["mu_plus_pt", "mu_minus_pt"]
        eta = ["mu_plus_eta", "mu_minus_eta"]
        phi = ["mu_plus_phi", "mu_minus_phi"]
        charge = [1, -1]
        lumi = "lumi"
    """
    config = TypeAdapter(DimuonInput).validate_python(tomllib.loads(text))
    assert config.columns.fixed_charge == (1, -1)
    assert config.columns.pt == ("mu_plus_pt", "mu_minus_pt")
    assert (config.select, config.mass_range) == (('Type == "GG"',), (2.0, 5.0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"eta": None}, "names pt, phi but not eta"),
        ({"pt": None, "eta": None, "phi": None}, "names no momenta"),
        ({"e": ("e1", "e2")}, "columns.e is compared with px, py, pz"),
    ],
)
def test_incomplete_columns_are_refused(changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MuonColumns(**{**POLAR, **changes})


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        (POLAR, {"layout": "jagged"}, "layout 'jagged' takes one name"),
        (LISTS, {"layout": "pair"}, "layout 'pair' takes two names"),
        ({**LISTS, "charge": (1, -1)}, {"layout": "rows"}, "needs a column"),
        ({**LISTS, "mass": "M"}, {"layout": "jagged"}, "columns.mass belongs to the layout 'pair'"),
        ({**POLAR, "charge": (1, 0)}, {}, "a muon's charge is 1 or -1"),
        ({**POLAR, "eta": ("eta1", "eta1")}, {}, "names 'eta1' for both muons"),
        (POLAR, {"pt_min": 0.0}, "pt_min is 0.0"),
        (POLAR, {"eta_max": float("nan")}, "eta_max is nan"),
        (POLAR, {"mass_range": (3.2, 3.0)}, "mass_range is"),
        (POLAR, {"max_bad_fraction": 1.5}, "max_bad_fraction is 1.5"),
        (POLAR, {"chunk_rows": 0}, "chunk_rows is 0"),
        (POLAR, {"check_mass": 0.1}, "needs a second source"),
        (POLAR, {"select": ("eta < ",)}, "cannot read the selection 'eta < '"),
        (POLAR, {"defaults": {"pt1": 3.0}}, "they have no default"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_with_its_value(columns: dict, changes: dict, message: str):
    with pytest.raises(ValueError, match=message):
        DimuonInput(columns=MuonColumns(**columns), **changes)


def test_each_asked_column_knows_the_line_that_asks():
    config = DimuonInput(
        columns=MuonColumns(**LISTS),
        layout="jagged",
        select=("Muon_mediumId == 1",),
        places={"columns.pt": "a.toml:14"},
    )
    assert config.asked()["Muon_pt"] == "a.toml:14 columns.pt"
    assert config.asked()["Muon_eta"] == "columns.eta"
    assert config.asked()["Muon_mediumId"] == "select"


def test_every_key_is_described_in_the_documentation():
    text = (Path(__file__).parents[2] / "docs" / "file_formats.md").read_text()
    for table in (DimuonInput, MuonColumns):
        missing = {f.name for f in fields(table) if not re.search(rf"\b{f.name}\b", text)} - {"places"}
        assert not missing


def test_the_example_of_the_documentation_loads():
    text = (Path(__file__).parents[2] / "docs" / "file_formats.md").read_text()
    example = text.partition("```toml\n")[2].partition("```")[0]
    config = TypeAdapter(DimuonInput).validate_python(tomllib.loads(example)["input"])
    assert config.columns.pt == "Muon_pt"
