from contextlib import suppress

import numpy as np
import pytest
import uproot

from mucal.errors import InputError
from mucal.io import open_dimuons
from mucal.io.event_files import check_kinds, missing_columns, open_table


@pytest.mark.parametrize("kind", ["root", "rntuple", "parquet", "hdf5", "csv"])
def test_damage_inside_a_file_never_ends_in_another_error_than_ours(files, tmp_path, kind: str):
    path = tmp_path / f"a{files.suffix.get(kind, '.root')}"
    if kind == "rntuple":
        with uproot.recreate(path) as file:
            file.mkrntuple("Events", files.pairs(400))
    else:
        files.write(path, files.pairs(400))
    config = files.config(max_bad_fraction=1.0, **({"tree": "Events"} if kind == "hdf5" else {}))
    whole = path.read_bytes()
    random = np.random.default_rng(3)
    refused = 0
    for at in random.integers(0, len(whole), 60):
        data = bytearray(whole)
        data[at : at + 40] = random.bytes(40)
        path.write_bytes(data[: len(whole)])
        try:
            open_dimuons(path, config).read()
        except InputError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("kind", ["root", "parquet", "hdf5", "csv"])
def test_a_file_cut_anywhere_is_refused_b06(files, tmp_path, kind: str):
    path = files.write(tmp_path / f"a{files.suffix[kind]}", files.pairs(40))
    config = files.config(**({"tree": "Events"} if kind == "hdf5" else {}))
    whole = path.read_bytes()
    accepted = []
    for keep in np.linspace(1, len(whole) - 2, 40).astype(int):
        path.write_bytes(whole[:keep])
        with suppress(InputError):
            source = open_dimuons(path, config)
            source.read()
            accepted.append(source)
    # a text file cut after a line, or within its last number, is still a table: then a note says that it may be cut
    assert kind == "csv" or not accepted
    assert all("may have been cut" in source.notes[0] for source in accepted)


def test_near_names_ignore_case(files, tmp_path):
    table = files.pairs(2)
    table["PT1"] = table.pop("pt1")
    opened = open_table(files.write(tmp_path / "a.parquet", table), files.config())
    assert missing_columns(opened, files.config())[0].near[0] == "PT1"


def test_a_number_compared_with_text_is_refused(files, tmp_path):
    config = files.config(select=('run == "7"',))
    opened = open_table(files.write(tmp_path / "a.parquet", files.pairs(2)), config)
    with pytest.raises(InputError, match="column 'run' is one number a row"):
        check_kinds(opened, config)
