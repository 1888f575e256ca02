"""Files of a numbered series that are not given are named (B15)."""

from pathlib import Path

from mucal.io import check_dimuons, open_dimuons
from mucal.io.siblings import missing_siblings


def series(folder: Path, *names: str) -> list[Path]:
    paths = [folder / name for name in names]
    for path in paths:
        path.touch()
    return paths


def test_b15_the_forgotten_ones_are_named(tmp_path: Path):
    paths = series(tmp_path, *(f"run2016G_{i:03d}.root" for i in range(8)))
    (note,) = missing_siblings([*paths[:3], *paths[5:]])
    assert note == (
        f"6 of 8 files run2016G_#.root in {tmp_path} are given; not among them: run2016G_003.root, run2016G_004.root"
    )


def test_a_whole_series_other_names_other_suffixes_and_single_files_are_silent(tmp_path: Path):
    series(tmp_path, "a_3.csv", "b_1.root", "notes.txt")
    assert missing_siblings(series(tmp_path, "a_1.root", "a_2.root")) == []
    assert missing_siblings([tmp_path / "a_1.root"]) == []


def test_many_are_counted_and_the_first_five_listed(tmp_path: Path):
    paths = series(tmp_path, *(f"part{i}.root" for i in range(10, 20)))
    (note,) = missing_siblings(paths[:2])
    assert note.endswith("part12.root, part13.root, part14.root, part15.root, part16.root and 3 more")


def test_b15_check_and_reading_say_it(files, tmp_path: Path):
    paths = [files.write(tmp_path / f"part_{i}.parquet", files.pairs(seed=i)) for i in range(3)]
    given = paths[:2]
    assert any("part_2.parquet" in note for note in open_dimuons(given, files.config()).notes)
    report = check_dimuons(given, files.config())
    assert report.ok
    assert any("not among them: part_2.parquet" in line for line in report.lines())
