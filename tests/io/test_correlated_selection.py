"""B24: selections that are correlated with the residual of the mass are named with a safe one."""

import pytest

from mucal.io.correlated_selection import correlated_selections
from mucal.io.dimuon_input import DimuonInput, MuonColumns

PAIR = MuonColumns(pt=("pt1", "pt2"), eta=("eta1", "eta2"), phi=("phi1", "phi2"), charge=("q1", "q2"), mass="m")
JAGGED = MuonColumns(pt="Muon_pt", eta="Muon_eta", phi="Muon_phi", charge="Muon_charge")


def told(*select: str, columns: MuonColumns = PAIR) -> list[str]:
    layout = "pair" if columns is PAIR else "jagged"
    return correlated_selections(DimuonInput(columns=columns, layout=layout, select=select))


def test_b24_a_cut_in_measured_momentum_is_named_with_a_safe_axis():
    (note,) = told("Muon_pt > 5.0", columns=JAGGED)
    assert "'Muon_pt > 5.0'" in note
    assert "|eta| of both muons" in note


def test_b24_a_cut_in_the_mass_itself_is_named_with_the_window():
    (note,) = told("m > 3.0")
    assert "bins.mass_window" in note


def test_b24_a_cut_on_the_first_muon_alone_is_named_with_its_partner():
    (note,) = told("abs(eta1) < 0.9")
    assert "add 'abs(eta2) < 0.9'" in note


@pytest.mark.parametrize("select", [("abs(eta1) < 0.9", "abs(eta2)<0.9"), ("Type == 'GG'",), ()])
def test_safe_selections_are_not_named(select: tuple[str, ...]):
    assert told(*select) == []
