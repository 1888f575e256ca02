"""Made-up muon pairs, and plain writers of small files that know nothing of the readers under test."""

from collections.abc import Mapping
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from mucal.io import DimuonInput, MuonColumns
from mucal.track import Dimuons

FLAT = MuonColumns(
    run="run", lumi="lumi", event="event", pt=("pt1", "pt2"), eta=("eta1", "eta2"), phi=("phi1", "phi2"),
    charge=("q1", "q2"),
)  # fmt: skip
LISTS = MuonColumns(run="run", lumi="lumi", event="event", pt="pt", eta="eta", phi="phi", charge="q")
SUFFIX = {"root": ".root", "parquet": ".parquet", "csv": ".csv", "hdf5": ".h5"}


class Files:
    """Writes tables of columns to small files, with the libraries themselves."""

    columns = FLAT
    lists = LISTS
    suffix = SUFFIX

    @staticmethod
    def pairs(n: int = 12, seed: int = 1) -> dict[str, np.ndarray]:
        """n opposite-charge pairs of 3 to 50 GeV, one an event, first muon positive."""
        random = np.random.default_rng(seed)
        table = {"run": np.full(n, 7), "lumi": np.arange(n) // 5 + 1, "event": np.arange(n) * 1_000_003 + seed}
        for i in ("1", "2"):
            table[f"pt{i}"] = random.uniform(3, 50, n)
            table[f"eta{i}"] = random.uniform(-2.4, 2.4, n)
            table[f"phi{i}"] = random.uniform(-np.pi, np.pi, n)
            table[f"q{i}"] = np.full(n, 1 if i == "1" else -1)
        return table

    @staticmethod
    def expected(table: Mapping[str, np.ndarray]) -> Dimuons:
        """What a reader must return for the table of `pairs`."""
        per_muon = {k: np.stack([table[f"{k}1"], table[f"{k}2"]], axis=1) for k in ("pt", "eta", "phi")}
        charge = np.stack([table["q1"], table["q2"]], axis=1)
        return Dimuons(run=table["run"], lumi=table["lumi"], event=table["event"], charge=charge, **per_muon)

    @staticmethod
    def write(path: Path, table: Mapping[str, np.ndarray | list], tree: str = "Events") -> Path:
        """A table to the format of the suffix; lists of lists become jagged columns (ROOT and Parquet)."""
        if path.suffix == ".root":
            with uproot.recreate(path) as file:
                file.mktree(tree, {k: ak.type(ak.Array(v)).content for k, v in table.items()})
                file[tree].extend({k: ak.Array(v) for k, v in table.items()})
        elif path.suffix == ".parquet":
            pq.write_table(pa.table({k: pa.array(v) for k, v in table.items()}), path, row_group_size=5)
        elif path.suffix == ".csv":
            rows = zip(*(np.asarray(v).tolist() for v in table.values()), strict=True)
            path.write_text("\n".join([",".join(table), *(",".join(map(str, row)) for row in rows)]) + "\n")
        else:
            with h5py.File(path, "w") as file:
                for name, values in table.items():
                    values = np.asarray(values)
                    file[f"{tree}/{name}"] = values.astype("S") if values.dtype.kind == "U" else values
        return path

    @staticmethod
    def config(**changes: object) -> DimuonInput:
        """The input of `pairs`; the HDF5 group needs its name."""
        return DimuonInput(**{"columns": FLAT, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def files() -> Files:
    return Files()
