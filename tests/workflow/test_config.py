"""B42 and B45: whatever is wrong in a configuration is said with its file, its line and what was meant."""

from pathlib import Path

import numpy as np
import pytest

from mucal.errors import ConfigError, InputError
from mucal.wmass.published import CALIBRATION
from mucal.workflow.config import Analysis, analysis_of, load_analysis
from mucal.workflow.toml_text import parse_toml

INPUT = """[input]
files = ["a.parquet"]
[input.columns]
pt = ["pt1", "pt2"]
eta = ["eta1", "eta2"]
phi = ["phi1", "phi2"]
charge = ["q1", "q2"]
"""


def load(text: str) -> Analysis:
    return analysis_of(parse_toml(text, "c.toml", Path("folder")))


def test_an_empty_configuration_is_all_defaults():
    analysis = load("")
    assert analysis.bins.binning().mass_edges.size == 81
    assert analysis.data is None


def test_the_built_in_configuration_begins_with_hits_and_distorts_everything():
    analysis = load_analysis()
    assert analysis.tracks is not None
    assert [sample.resonance for sample in analysis.tracks.closing] == ["upsilon1s", "z"]
    assert analysis.tracks.misalignment > 0
    assert analysis.tracks.distortion.field
    assert analysis.tracks.distortion.material


def test_the_built_in_dimuons_inject():
    analysis = load_analysis(preset="dimuons")
    assert analysis.generate is not None
    assert analysis.generate.inject is not None
    assert np.any(analysis.generate.inject.table().A)


def test_the_full_closure_has_the_bins_of_the_published_nuisances():
    full = load_analysis(preset="full")
    assert full.tracks is not None
    z = next(sample for sample in full.tracks.closing if sample.resonance == "z")
    scale, resolution, closure = (
        len(edges) - 1 for edges in (full.bins.eta_edges, full.bins.resolution_eta_edges, z.bins.eta_edges)
    )
    assert len(full.scale.free) * scale == CALIBRATION["J/psi stat"][1]
    assert z.scale.free == ("A", "M")
    assert 2 * closure == CALIBRATION["Z closure stat"][1]
    assert full.resolution is not None
    assert len(full.resolution.free) * resolution == CALIBRATION["resolution"][1]
    assert full.tracks.pixel_loss[0] != full.tracks.pixel_loss[1]
    assert scale + 1 == CALIBRATION["pixel multiplicity"][1]


def test_presets_are_sizes_of_the_same_closure():
    quick, normal, full = (load_analysis(preset=name).tracks for name in ("quick", "closure", "full"))
    assert quick.data < normal.data < full.data
    assert quick.closing[1].data < normal.closing[1].data < full.closing[1].data
    assert quick.distortion == normal.distortion == full.distortion
    with pytest.raises(ConfigError, match="no preset 'quik'; the nearest are quick"):
        load_analysis(preset="quik")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[bins]\nmass_windw = [2.9, 3.3]\n", 2, "did you mean 'mass_window'"),
        ("[massfit]\n\nresonanse = 'jpsi'\n", 3, "did you mean 'resonance'"),
        ("[masfit]\n", 1, "did you mean 'massfit'"),
        (INPUT.replace("phi =", "fi ="), 6, "unknown key 'fi'"),
        (INPUT + "[input.colums]\n", 8, "did you mean 'columns'"),
        ("[[spectra]]\nname = 'a'\n[[spectra]]\nwindow = [2.0, 3.0]\nwidth = 3\n", 5, "unknown key 'width'"),
        ("[generate]\n[generate.inject]\nAA = []\n", 3, "did you mean 'A'"),
    ],
)
def test_an_unknown_key_names_its_line_and_the_nearest_key(text: str, line: int, words: str):
    with pytest.raises(ConfigError) as error:
        load(text)
    assert error.value.what.startswith(f"c.toml:{line} ")
    assert words in error.value.what
    assert error.value.kind == "config.unknown_key"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[bins]\nmass_bins = '80'\n", 2, 'mass_bins = "80" is text, expected a whole number'),
        ("[bins]\nmass_bins = 80.0\n", 2, "expected a whole number"),
        ("[bins]\nmass_bins = true\n", 2, "expected a whole number"),
        ("[bins]\neta_edges = 3\n", 2, "expected a list"),
        ("[bins]\neta_edges = [0.0, '1']\n", 2, "expected a number"),
        ("[bins]\nabs_eta = 1\n", 2, "expected true or false"),
        ("[massfit]\nmodel = 'gauss'\n", 2, "expected one of 'template', 'dscb' or 'morphing'"),
        ("[scale]\nfree = 'A'\n", 2, "expected a list"),
        ("bins = 3\n", 1, "expected a table"),
        ("input = 3\n", 1, "expected a table"),
        (INPUT.replace('files = ["a.parquet"]', "files = 'a.parquet'"), 2, "expected a list of file names"),
        ("spectra = 3\n", 1, "[[spectra]]"),
        ("[bins]\nmass_window = [2.9, 3.1, 3.3]\n", 2, "at most 2"),
    ],
)
def test_a_wrong_type_names_its_line_and_the_expected_one(text: str, line: int, words: str):
    with pytest.raises(ConfigError) as error:
        load(text)
    assert error.value.what.startswith(f"c.toml:{line} ")
    assert words in error.value.what


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[bins]\nmass_window = [3.3, 2.9]\n", "low < high"),
        ("[bins]\npt_edges = [5.0, 4.0]\n", "increase strictly"),
        ("[analysis]\nderive_fraction = 1.5\n", "derive_fraction = 1.5"),
        ("[massfit]\nresonance = 'jpsy'\n", "jpsi"),
        ("[massfit]\nfixed = { slop = 1.0 }\n", "slope"),
        ("[scale]\nfree = ['A', 'B']\n", "'B'"),
        ("[calibration]\nreference_mass = 3.0969\n", "without reference_mass_error"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_section(text: str, words: str):
    with pytest.raises(ConfigError) as error:
        load(text)
    assert words in str(error.value)
    assert "c.toml:" in str(error.value)


def test_a_missing_key_is_named():
    with pytest.raises(ConfigError, match="'charge' is missing"):
        load(INPUT.replace('charge = ["q1", "q2"]\n', ""))


REFERENCE = "[reference.jpsi]\nmass = 3096.9\nuncertainty = 0.006\nunit = 'MeV'\nedition = 2026\n"


@pytest.mark.parametrize("key", ["uncertainty", "unit", "edition", "mass"])
def test_a_reference_mass_without_uncertainty_unit_or_edition_is_refused(key: str):
    text = "\n".join(line for line in REFERENCE.splitlines() if not line.startswith(key))
    with pytest.raises(ConfigError, match=rf"c\.toml:1 the reference mass of jpsi has no {key}"):
        load(text)


def test_a_bare_reference_mass_is_refused():
    with pytest.raises(ConfigError, match="no uncertainty, unit and edition"):
        load("[reference]\njpsi = 3.0969\n")


def test_a_reference_mass_of_an_unknown_state_names_the_nearest():
    with pytest.raises(ConfigError, match="jpsi"):
        load(REFERENCE.replace("jpsi", "jpsy"))


def test_a_reference_mass_that_nothing_is_compared_with_is_refused():
    of_z = REFERENCE.replace("jpsi", "z").replace("3096.9", "91188")
    with pytest.raises(ConfigError, match=r"c\.toml:1 no mass is compared with that of z: this analysis fits jpsi"):
        load(of_z)
    assert "z" in load(INPUT + of_z + '[[closing]]\nresonance = "z"\n').references


def test_a_complete_reference_mass_is_in_gev():
    assert load(REFERENCE).references["jpsi"].in_gev == pytest.approx((3.0969, 6e-6), rel=1e-12)


SIMULATION = INPUT.replace("input", "simulation")


def test_simulation_says_the_mass_that_it_was_generated_with():
    assert load(SIMULATION).simulated_mass is None
    assert load(SIMULATION.replace("files", "mass = 3.09692\nfiles")).simulated_mass == 3.09692


@pytest.mark.parametrize("mass", ["3096.9", "nan", "inf", "-3.0969", "3.13"])
def test_a_generated_mass_of_another_resonance_or_unit_is_refused_with_its_line(mass: str):
    with pytest.raises(ConfigError, match=r"c\.toml:2 mass = .* GeV, but jpsi has 3\.0969 GeV; expected within 1%"):
        load(SIMULATION.replace("files", f"mass = {mass}\nfiles"))


def test_a_generated_mass_that_is_no_number_is_refused():
    with pytest.raises(ConfigError, match=r"c\.toml:2 mass = true is true or false, expected a number"):
        load(SIMULATION.replace("files", "mass = true\nfiles"))


def test_our_own_simulation_has_the_mass_of_the_table():
    text = SIMULATION.replace('files = ["a.parquet"]', "mass = 3.09692") + "[generate]\n"
    with pytest.raises(ConfigError, match=r"c\.toml:2 mass = 3\.09692 GeV, but \[generate\] makes the simulation"):
        load(text)


def test_files_are_relative_to_the_configuration():
    data = load(INPUT).data
    assert data is not None
    assert data.files == (Path("folder/a.parquet"),)


def test_files_of_the_command_line_stand_in_for_those_of_the_configuration():
    data = analysis_of(parse_toml(INPUT, "c.toml", Path("folder")), (Path("b.parquet"),)).data
    assert data is not None
    assert data.files == (Path("b.parquet"),)


def test_wildcards_find_files_in_order_and_complain_when_there_are_none(tmp_path: Path):
    for name in ("b.csv", "a.csv"):
        (tmp_path / name).touch()
    text = INPUT.replace("a.parquet", "*.csv")
    data = analysis_of(parse_toml(text, "c.toml", tmp_path)).data
    assert data is not None
    assert [path.name for path in data.files] == ["a.csv", "b.csv"]
    with pytest.raises(InputError, match=r"no file matches '\*\.root'"):
        analysis_of(parse_toml(INPUT.replace("a.parquet", "*.root"), "c.toml", tmp_path))


def test_the_reader_knows_where_its_columns_are_asked_for():
    data = load(INPUT).data
    assert data is not None
    assert data.input.places["columns.pt"] == "c.toml:4"


GENERATE = "[generate]\ndata = 1000\n"


@pytest.mark.parametrize("text", [GENERATE, GENERATE + INPUT.replace('files = ["a.parquet"]\n', "")])
def test_files_of_the_command_line_beside_generate_are_refused(text: str):
    with pytest.raises(ConfigError, match=r"c.toml:1 \[generate\] makes the events, and the files s.parquet") as error:
        analysis_of(parse_toml(text, "c.toml", Path("folder")), (Path("s.parquet"),))
    assert error.value.kind == "config.two_inputs"
    assert "remove [generate] or the file names" in error.value.do


@pytest.mark.parametrize("section", [INPUT, INPUT.replace("[input", "[simulation")])
def test_files_of_the_configuration_beside_generate_are_refused(section: str):
    with pytest.raises(ConfigError, match="would be read") as error:
        load(GENERATE + section)
    assert error.value.kind == "config.two_inputs"


def test_files_without_a_configuration_are_refused():
    with pytest.raises(ConfigError) as error:
        load_analysis(files=(Path("s.parquet"),))
    assert error.value.kind == "config.two_inputs"
    assert "--config" in error.value.do


def test_a_seed_is_that_of_the_split_and_of_what_is_generated(tmp_path: Path):
    analysis = load_analysis(seed=7, preset="dimuons")
    assert analysis.generate is not None
    assert (analysis.general.seed, analysis.generate.seed) == (7, 7)
    (tmp_path / "c.toml").write_text(INPUT)
    read = load_analysis(tmp_path / "c.toml", seed=7)
    assert (read.general.seed, read.generate) == (7, None)
    assert read.plain["analysis"]["seed"] == 7
