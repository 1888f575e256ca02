"""Sections about nonprompt muons, recoil and the chain of efficiencies."""

from dataclasses import replace

from mucal.report.ingredient_sections import chain_section, nonprompt_section, recoil_section
from mucal.report.page import Picture, Table, render
from mucal.simulation.nonprompt import NonpromptSimulation, generate_nonprompt
from mucal.simulation.recoil import BUILT_IN, generate_z_recoil
from mucal.simulation.uncertainties import published_efficiencies
from mucal.templates.nonprompt import NonpromptConfig, estimate
from mucal.templates.recoil import RecoilConfig, calibrate


def table_of(section) -> Table:
    return next(item for item in section.items if isinstance(item, Table))


def test_nonprompt_muons_are_counted_and_drawn():
    found = estimate(generate_nonprompt(NonpromptSimulation(n_eta=4), None)[0], NonpromptConfig())
    section = nonprompt_section({"nonprompt.h5": found})
    (row,) = table_of(section).rows
    assert row[1].startswith(f"{found.nominal.sum():.0f} ± ")
    assert row[4] == "32 + 3"
    figure = next(item.figure for item in section.items if isinstance(item, Picture))
    by_pt, by_eta = figure.axes
    assert len(by_pt.lines) == 2
    assert len(by_eta.containers) == 2
    assert "Nonprompt muons" in render("t", "v", "good", [section])


def test_recoil_has_a_row_for_each_bin():
    config = RecoilConfig(pt_edges=(0.0, 10.0, 30.0, 115.0))
    better = replace(BUILT_IN, response=0.99)
    found = calibrate(generate_z_recoil(better, 20_000, 1), generate_z_recoil(BUILT_IN, 20_000, 2), config)
    rows = table_of(recoil_section({"recoil.h5": found})).rows
    assert [row[0] for row in rows] == ["0 – 10", "10 – 30", "30 – 115"]
    assert rows[2][1].startswith(f"{found.response[0, 2]:.4f}")


def test_the_chain_has_the_published_numbers():
    rows = table_of(chain_section({"e.h5": published_efficiencies()})).rows
    by_step = {row[1]: row[2:4] for row in rows}
    assert by_step["reco"] == ["384", "98"]
    assert by_step["veto"] == ["384", "147"]
    assert by_step["all"] == ["3168", "490"]


def test_nothing_found_is_no_section():
    assert not any(made({}).items for made in (chain_section, nonprompt_section, recoil_section))
