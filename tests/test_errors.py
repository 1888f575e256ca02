import pytest

from mucal import errors
from mucal.errors import InputError, MucalError, nearest


def test_an_error_says_what_where_and_what_to_do():
    error = InputError(
        "branch 'Muon_cvhPt' is missing",
        kind="input.missing_branch",
        where={"file": "data/run2016G_017.root", "asked": "config.toml:14 columns.pt"},
        do="set columns.pt to one of the names above",
    )
    assert str(error).splitlines() == [
        "branch 'Muon_cvhPt' is missing   [exit 3, input.missing_branch]",
        "  file   data/run2016G_017.root",
        "  asked  config.toml:14 columns.pt",
        "  do     set columns.pt to one of the names above",
    ]


def test_places_that_are_not_known_are_left_out():
    assert InputError("x", where={"file": "", "row": None, "column": 0}).where == {"column": "0"}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("MucalError", 1),
        ("ConfigError", 2),
        ("InputError", 3),
        ("NotCertified", 4),
        ("Interrupted", 5),
        ("ResourceError", 6),
        ("VerificationError", 7),
    ],
)
def test_exit_codes_are_those_of_the_design(name: str, code: int):
    kind = getattr(errors, name)
    assert issubclass(kind, MucalError)
    assert kind("x").exit_code == code


def test_the_nearest_names_come_best_first_and_ignore_case():
    assert nearest("muon_PT", ["Muon_eta", "Muon_pt", "run"])[0] == "Muon_pt"
    assert nearest("zzz", ["Muon_eta"]) == []
