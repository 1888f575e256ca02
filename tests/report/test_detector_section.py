"""The two models of the scale's uncertainty on the page and at the terminal."""

import re

import numpy as np
import pytest

from mucal.report.detector_section import detector_section, model_lines, model_numbers, model_rows
from mucal.report.scale_models import ScaleModels
from mucal.scale.detector_modes import DetectorModes

EDGES = np.array([-2.4, 0.0, 2.4])


@pytest.fixture
def models() -> ScaleModels:
    masses = np.array(
        [[10.0, 20.0, 21.0, 34.0, np.nan], [20.0, 40.0, 42.0, 68.0, np.nan], [9.0, 8.0, 7.0, 6.0, np.nan]]
    )
    sizes = np.array([1.0, 2.0, 0.5])[:, None, None]
    return ScaleModels(
        models=("jpsi_stat", "jpsi_stat x 2", "detector"), released="jpsi_stat x 2", counts=np.array([6, 6, 4]),
        eta_edges=EDGES, momenta=np.array([8.0]), even=sizes * np.full((1, 1, 2), 1e-5),
        odd=sizes * np.array([[[3e-5, 4e-5]]]), masses=masses,
    )  # fmt: skip


def test_one_column_a_model_and_a_star_on_the_released(models: ScaleModels):
    head, rows = model_rows(models)
    assert head[1:] == ["jpsi_stat", "jpsi_stat x 2 *", "detector"]
    assert rows[0] == ["nuisances", "6", "6", "4"]
    assert rows[1] == ["A − e/pT at 8 GeV [10⁻⁵]", "1.0", "2.0", "0.5"]
    # rms of 3 and 4: sqrt(12.5)
    assert rows[2] == ["M pT at 8 GeV [10⁻⁵]", "3.5", "7.1", "1.8"]
    assert rows[3] == ["m_W [MeV]", "10.0", "20.0", "9.0"]
    assert not any(row[0].startswith("m_Z") for row in rows)  # none were simulated


def test_the_terminal_has_the_same_in_plain_letters(models: ScaleModels):
    lines = model_lines(models)
    assert re.split(r"  +", lines[1]) == ["uncertainty of the scale", "jpsi_stat", "jpsi_stat x 2 *", "detector"]
    assert all(line.isascii() for line in lines)
    assert model_lines(None) == []


def test_scripts_get_the_models_as_they_are(models: ScaleModels):
    numbers = model_numbers(models)
    assert numbers["w_mev_jpsi_stat"] == 10.0
    assert numbers["w_split_mev_detector"] == 6.0
    assert model_numbers(None) == {}


def test_the_page_names_what_the_largest_modes_move(models: ScaleModels):
    modes = DetectorModes(
        eta_edges=EDGES, variations=np.full((12, 3, 2), 1e-5), leading=tuple(f"part {i} (9%)" for i in range(12)),
        residual=np.array([1e-5, 2e-5, 3e-5]),
    )  # fmt: skip
    compared, named = detector_section(modes, models).items
    assert "1.0, 2.0 and 3.0·10⁻⁵" in compared.caption
    assert [row[-1] for row in named.rows] == [f"part {i} (9%)" for i in range(10)]
    assert list(named.rows[0][1:4]) == ["1.00", "0.01", "1.00"]
    assert not detector_section(None, models).items
    assert not detector_section(modes, None).items
