"""The recorded samples read with the inputs under docs/examples/inputs; counts from the README of the data."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uproot
from numpy.testing import assert_allclose
from pydantic import TypeAdapter

from mucal.errors import InputError
from mucal.io import DimuonInput, check_dimuons, open_dimuons

INPUTS = Path(__file__).parents[2] / "docs" / "examples" / "inputs"

# rows or events read, pairs used, rejected by reason, lowest and highest mass the record was cut to
SAMPLES = {
    "cms2010_dimuon_100k_rec700.h5": (100_000, 63_946, {"same_charge": 36_054}, 2, 110),
    "cms2010_jpsi_window_rec301.csv.gz": (2_000, 1_496, {"same_charge": 504}, 2, 5),
    # 500 events, 492 with one GG pair and 8 with three global muons and so three pairs, one of them like-sign
    "cms2010_zmumu_rec307.root": (2_304, 508, {'selection:Type == "GG"': 1_788, "same_charge": 8}, 0, 120),
    "cms2011_upsilon_window_rec5206.csv.gz": (20_000, 19_492, {"inconsistent:mass": 508}, 8, 12),
    "cms2011_zmumu_rec5208.csv.gz": (10_000, 9_664, {"same_charge": 336}, 60, 120),
    "cms2011_window_0.65_0.90_GeV.csv.gz": (8_270, 8_270, {}, 0.65, 0.90),
    "cms2011_window_0.90_1.13_GeV.csv.gz": (7_915, 7_915, {}, 0.90, 1.13),
    "cms2011_window_3.5_3.9_GeV.csv.gz": (4_106, 4_106, {}, 3.5, 3.9),
    "cms2011_window_9.0_9.7_GeV.csv.gz": (19_519, 19_519, {}, 9.0, 9.7),
    "cms2011_window_60_120_GeV.csv.gz": (10_851, 10_851, {}, 60, 120),
    "cms2012_doublemuparked_1000evt_rec12341_rntuple.root": (
        1_000, 686, {"fewer_than_two_muons": 128, "same_charge": 186}, 0, np.inf,
    ),
    "cms2015_ttbar_mc_nanoaod_200evt.root": (
        200, 0, {"fewer_than_two_muons": 199, "selection:Muon_looseId == true": 1}, 0, np.inf,
    ),
}  # fmt: skip


def read_input(sample: str) -> DimuonInput:
    path = INPUTS / f"{sample.removesuffix('.gz').rpartition('.')[0]}.toml"
    return TypeAdapter(DimuonInput).validate_python(tomllib.loads(path.read_text())["input"])


def sample_path(recorded: Path, name: str) -> Path:
    if not (recorded / name).is_file():
        pytest.skip(f"{name} is not in the folder of recorded samples")
    return recorded / name


def test_every_input_belongs_to_a_sample():
    assert {path.stem for path in INPUTS.glob("*.toml")} == {
        name.removesuffix(".gz").rpartition(".")[0] for name in SAMPLES
    }


@pytest.mark.parametrize("name", SAMPLES)
def test_a_recorded_sample_has_the_counts_of_its_readme(recorded, name: str):
    read, used, rejected, low, high = SAMPLES[name]
    source = open_dimuons(sample_path(recorded, name), read_input(name))
    mass = source.read().mass
    assert (source.ledger.read, source.ledger.used, dict(source.ledger.rejected)) == (read, used, rejected)
    # the records round momenta to 5 or 6 digits: 2e-5 of the mass
    assert np.all((mass >= low * (1 - 2e-5)) & (mass <= high * (1 + 2e-5)))


@pytest.mark.parametrize("name", ["cms2010_dimuon_100k_rec700.h5", "cms2010_zmumu_rec307.root"])
@pytest.mark.parametrize("chunk_rows", [997, 4096])
def test_a_recorded_sample_does_not_depend_on_the_chunks(recorded, name: str, chunk_rows: int):
    path, config = sample_path(recorded, name), read_input(name)
    whole, parts = open_dimuons(path, config), open_dimuons(path, replace(config, chunk_rows=chunk_rows))
    expected, found = whole.read(), parts.read()
    assert np.array_equal(expected.pt, found.pt)
    assert np.array_equal(expected.event, found.event)
    assert whole.ledger == parts.ledger


def test_the_types_of_record_307_are_one_pair_each(recorded):
    """Trap 1: 2 304 rows are 500 events."""
    source = open_dimuons(sample_path(recorded, "cms2010_zmumu_rec307.root"), read_input("cms2010_zmumu_rec307.root"))
    assert np.unique(source.read().event).size == 500 - _without_opposite_pairs(recorded)


def _without_opposite_pairs(recorded: Path) -> int:
    table = uproot.open(recorded / "cms2010_zmumu_rec307.root")["events"].arrays(library="np")
    good = (table["Type"] == "GG") & (table["Q1"] * table["Q2"] < 0)
    return np.unique(table["Event"]).size - np.unique(table["Event"][good]).size


def test_both_columns_of_momenta_of_record_301_agree_with_its_mass(recorded):
    path = sample_path(recorded, "cms2010_jpsi_window_rec301.csv.gz")
    table = np.genfromtxt(path, delimiter=",", names=True, dtype=None, encoding="utf-8")
    found = open_dimuons(path, read_input(path.name)).read()
    assert_allclose(found.mass, table["M"][table["Q1"] * table["Q2"] < 0], rtol=2e-5)


@pytest.mark.parametrize(
    ("first", "second", "common"),
    [
        ("cms2011_upsilon_window_rec5206.csv.gz", "cms2011_window_9.0_9.7_GeV.csv.gz", 4_949),
        ("cms2011_zmumu_rec5208.csv.gz", "cms2011_window_60_120_GeV.csv.gz", 9_643),
    ],
)
def test_events_in_two_records_are_found_though_their_digits_differ(recorded, first: str, second: str, common: int):
    config = read_input("cms2011_zmumu_rec5208.csv.gz")
    paths = [sample_path(recorded, name) for name in (first, second)]
    with pytest.raises(InputError, match=f"^{common} of"):
        open_dimuons(paths, config).read()
    source = open_dimuons(paths, replace(config, duplicates="first"))
    source.read()
    assert source.ledger.rejected["duplicate"] == common


def test_every_sample_passes_the_check_before_a_run(recorded):
    for name in SAMPLES:
        report = check_dimuons(sample_path(recorded, name), read_input(name))
        assert report.ok, report.lines()
