"""How recorded tracks lie in a file: one row a track, lists of hits.

Column (our name)            one a track unless it says list
run, lumi, event             whole numbers
pair                         rows with the same number are a pair; -1 is a single track
charge                       +1 or -1, the sign of the seed's q/p
seed                         list of 5: q/p (1/GeV), lambda, phi (rad), dxy, dsz (cm) about
seed_ref                     list of 3: x, y, z, cm
module_id                    list, one number a hit, in the order in which the track met the modules
u, v                         lists, cm: what the module measured; v is NaN where it measures one coordinate
sigma_u, sigma_v             lists, cm: their errors
gen_state, gen_vertex        lists of 5 and 3: the generated state about its vertex
gen_parent, gen_mass         PDG number of the parent, its mass in GeV
gen_u, gen_v                 lists, cm: where the muon crossed the true module

What `MAY_LACK` names may be missing; the truth is read if all of it is there.  `seed`, `seed_ref`, `gen_state` and
`gen_vertex` may also be columns of their own, one a component.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from mucal.errors import nearest

Name = str | tuple[str, ...]

IDS: Final = ("run", "lumi", "event", "pair", "charge")
VECTORS: Final = {"seed": 5, "seed_ref": 3}
PER_HIT: Final = ("module_id", "u", "v", "sigma_u", "sigma_v")
TRUTH_IDS: Final = ("gen_parent", "gen_mass")
TRUTH_VECTORS: Final = {"gen_state": 5, "gen_vertex": 3}
TRUTH_PER_HIT: Final = ("gen_u", "gen_v")

RECORDED: Final = (*IDS, *VECTORS, *PER_HIT)
TRUTH: Final = (*TRUTH_VECTORS, *TRUTH_IDS, *TRUTH_PER_HIT)
LENGTHS: Final = {**VECTORS, **TRUTH_VECTORS}
LISTS: Final = (*PER_HIT, *TRUTH_PER_HIT)

MAY_LACK: Final = {
    "lumi": "0",
    "pair": "-1, no pairs",
    "charge": "the sign of the seed's q/p",
    "v": "NaN, strips only",
    "sigma_v": "NaN, strips only",
}
"""Column -> what it is when the file lacks it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HitsInput:
    """How to read recorded tracks from files.

    format           : "auto" goes by the file's first bytes
    tree             : TTree or RNTuple; may be left out when a ROOT file holds one only
    columns          : our name -> the file's, where they differ; for a vector also the names of its components
    truth            : read what was generated, where every file has it
    max_bad_fraction : of tracks that are rejected; above it reading fails
    duplicates       : the same track twice: "refuse" fails, "ignore" does not look
    on_bad_file      : "fail", or "skip" and list it in the file ledger
    chunk_rows       : tracks read at a time
    places           : key -> "file.toml:14", for messages
    """

    format: Literal["auto", "root", "parquet"] = "auto"
    tree: str | None = None
    columns: Mapping[str, Name] = field(default_factory=dict)
    truth: bool = True
    max_bad_fraction: float = 0.01
    duplicates: Literal["refuse", "ignore"] = "refuse"
    on_bad_file: Literal["fail", "skip"] = "fail"
    chunk_rows: int = 20_000
    places: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, name in self.columns.items():
            if key not in (*RECORDED, *TRUTH):
                near = ", ".join(nearest(key, (*RECORDED, *TRUTH)))
                raise ValueError(f"columns names '{key}', which is no column of tracks; the nearest are {near}")
            if not isinstance(name, str) and len(name) != LENGTHS.get(key):
                raise ValueError(f"columns.{key} names {len(name)} columns, expected one or {LENGTHS.get(key, 'one')}")
        if not 0 <= self.max_bad_fraction <= 1:
            raise ValueError(f"max_bad_fraction is {self.max_bad_fraction!r}; expected a number from 0 to 1")
        if self.chunk_rows < 1:
            raise ValueError(f"chunk_rows is {self.chunk_rows}; expected at least 1")

    def names(self, key: str) -> tuple[str, ...]:
        """The file's names of one of our columns."""
        name = self.columns.get(key, key)
        return (name,) if isinstance(name, str) else tuple(name)

    def asked(self, key: str) -> str:
        """Who asks for a column: "config.toml:14 columns.u", or the key alone."""
        return f"{self.places.get(f'columns.{key}', '')} columns.{key}".strip()
