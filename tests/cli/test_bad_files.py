"""Hostile and thin files through the commands: links, depth, shapes, units, empty bins (B05, B22, B35 … B43)."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mucal.massfit import MassFits, Status

TERABYTES = (1 << 40,)
IN_HDF5 = "format = 'hdf5'\nlayout = 'pair'\n"


def reads_hdf5(config: Path, tmp_path: Path) -> Path:
    path = tmp_path / "hdf5.toml"
    path.write_text(f"[input]\n{IN_HDF5}{config.read_text()}")
    return path


def test_b05_momenta_in_mev_are_3_with_the_median_seen(mucal, config, events, tmp_path):
    table = pq.read_table(events)
    for name in ("pt1", "pt2"):
        i = table.column_names.index(name)
        table = table.set_column(i, name, pa.array(1000.0 * table[name].to_numpy()))
    pq.write_table(table, tmp_path / "mev.parquet")
    ended = mucal("massfit", tmp_path / "mev.parquet", "--config", config, "-o", tmp_path / "x.h5")
    assert ended.code == 3
    assert "implausible in GeV" in ended.err
    assert not (tmp_path / "x.h5").exists()


def test_b22_thin_bins_are_marked_and_hold_no_numbers(mucal, config, events, tmp_path):
    out = tmp_path / "x.h5"
    assert mucal("massfit", events, "--config", config, "--set", "massfit.min_events=2000", "-o", out).code == 0
    fits = MassFits.load(out)
    thin = fits.histograms.n_events < 2000
    assert 0 < thin.sum() < thin.size
    assert np.all(fits.status[thin] == Status.LOW_STATS)
    assert np.all(np.isnan(fits.values[thin]))


def test_b35_json_nested_thousands_deep_is_3(mucal, tmp_path):
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 50_000 + "]" * 50_000)
    ended = mucal("show", deep)
    assert ended.code == 3
    assert "nests 50000 deep" in ended.err


def test_b40_a_link_out_of_an_hdf5_file_is_3_and_named(mucal, config, tmp_path):
    with h5py.File(tmp_path / "links.h5", "w") as file:
        for name in ("run", "lumi", "event", "pt2", "eta1", "eta2", "phi1", "phi2", "charge1", "charge2"):
            file[name] = np.ones(10)
        file["pt1"] = h5py.ExternalLink("/etc/hostname", "/pt1")
    ended = mucal("check", tmp_path / "links.h5", "--config", reads_hdf5(config, tmp_path))
    assert ended.code == 3
    assert "pt1" in ended.err
    assert "link" in ended.err


def test_b41_a_declared_shape_of_terabytes_is_3(mucal, config, tmp_path):
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        for name in ("run", "lumi", "event", "pt1", "pt2", "eta1", "eta2", "phi1", "phi2", "charge1", "charge2"):
            file.create_dataset(name, shape=TERABYTES, dtype="f8", chunks=(1 << 16,))
    ended = mucal("check", tmp_path / "huge.h5", "--config", reads_hdf5(config, tmp_path))
    assert ended.code == 3


@pytest.mark.parametrize("command", ["verify", "show", "apply"])
def test_b43_a_symbolic_link_in_a_calibration_is_3(mucal, closure, config, events, tmp_path, command: str):
    bundle = shutil.copytree(closure / "calibration", tmp_path / "bundle")
    (bundle / "corrections.root").unlink()
    (bundle / "corrections.root").symlink_to("/etc/hostname")
    more = [events, "--config", config, "-o", tmp_path / "x.parquet"] if command == "apply" else []
    ended = mucal(command, bundle, *more)
    assert ended.code == 3
    assert "'corrections.root' is a symbolic link" in ended.err


BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]\n"


@pytest.mark.parametrize("text", ["value: !!python/object/apply:os.system ['true']\n", BOMB], ids=["b37", "b38"])
def test_b37_b38_yaml_is_no_configuration_and_is_never_parsed(mucal, events, tmp_path: Path, text: str):
    (tmp_path / "analysis.yaml").write_text(text)
    ended = mucal("check", events, "--config", tmp_path / "analysis.yaml")
    assert ended.code == 2
    assert "analysis.yaml:1" in ended.err


def test_b37_no_module_imports_a_parser_of_yaml():
    sources = (Path(__file__).parents[2] / "mucal").rglob("*.py")
    assert not [
        path.name for path in sources if re.search(r"^\s*(import|from) \w*yaml", path.read_text(), re.MULTILINE)
    ]
