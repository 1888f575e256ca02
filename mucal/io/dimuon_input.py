"""How dimuons lie in a file: format, layout, column map, selections.  The same keys stand in TOML under ``[input]``."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final, Literal

from mucal.io.runs import check_eras
from mucal.io.selection import Selection, parse_selection

Name = str | tuple[str, str]

POLAR: Final = ("pt", "eta", "phi")
CARTESIAN: Final = ("px", "py", "pz")
IDS: Final = ("run", "lumi", "event")


@dataclass(frozen=True, slots=True, kw_only=True)
class MuonColumns:
    """Names in the file: two each for the layout "pair", one each for "rows" and "jagged".

    pt, eta, phi     : GeV, -, rad; used where given
    px, py, pz       : GeV; used where pt, eta, phi are not given, otherwise only compared (`check_mass`)
    e                : GeV; only compared, the muon mass is known
    charge           : e; in the layout "pair" also the two numbers themselves, as (1, -1)
    run, lumi, event : of the event, one name each
    mass             : GeV, of the pair (layout "pair"); only compared
    """

    pt: Name | None = None
    eta: Name | None = None
    phi: Name | None = None
    charge: str | tuple[str, str] | tuple[int, int]
    px: Name | None = None
    py: Name | None = None
    pz: Name | None = None
    e: Name | None = None
    run: str | None = None
    lumi: str | None = None
    event: str | None = None
    mass: str | None = None

    def __post_init__(self) -> None:
        for group in (POLAR, CARTESIAN):
            given = [key for key in group if getattr(self, key) is not None]
            if 0 < len(given) < len(group):
                missing = next(key for key in group if key not in given)
                raise ValueError(f"columns names {', '.join(given)} but not {missing}; give all of {', '.join(group)}")
        if self.pt is None and self.px is None:
            raise ValueError("columns names no momenta; give pt, eta, phi or px, py, pz")
        if self.e is not None and self.px is None:
            raise ValueError("columns.e is compared with px, py, pz; give these as well")

    def muon_names(self) -> dict[str, Name]:
        """Quantity -> the names of its columns, for what each muon has."""
        keys = (*POLAR, *CARTESIAN, "e", "charge")
        named = {key: getattr(self, key) for key in keys if getattr(self, key) is not None}
        return {key: name for key, name in named.items() if not _is_numbers(name)}

    def event_names(self) -> dict[str, str]:
        """Quantity -> column name, for what each event has."""
        return {key: getattr(self, key) for key in (*IDS, "mass") if getattr(self, key) is not None}

    @property
    def fixed_charge(self) -> tuple[int, int] | None:
        """The charges of the first and second muon, if they are stated as numbers."""
        return (int(self.charge[0]), int(self.charge[1])) if _is_numbers(self.charge) else None


def _is_numbers(name: object) -> bool:
    return isinstance(name, tuple) and not isinstance(name[0], str)


@dataclass(frozen=True, slots=True, kw_only=True)
class DimuonInput:
    """How to read dimuons from files, and which to keep.

    columns          : the column map
    format           : "auto" goes by the file's first bytes
    tree             : TTree or RNTuple, or HDF5 group; may be left out when a ROOT file holds one only
    layout           : "pair", one row a pair; "rows", one row a muon: rows with the same run, lumi and event standing
                       together are an event, or two consecutive rows where columns names none of them; "jagged", one
                       row an event with lists of muons
    select           : comparisons as ``Type == "GG"``, ``abs(eta1) < 2.4``, ``Muon_mediumId == 1``
    charge           : which pairs are kept: "opposite", "same" or "any"
    pt_min           : GeV; muons below are not considered
    eta_max          : muons above in abs(eta) are not considered
    mass_range       : GeV, low <= mass < high; pairs outside are rejected as ``window``
    check_mass       : GeV; a pair whose masses from pt, eta, phi, from px, py, pz, e and from the mass column differ
                       by more is rejected as ``inconsistent:mass``
    certified        : JSON file of certified runs and luminosity sections; other events are rejected as ``uncertified``
    eras             : name -> first and last run; a run of no era is refused, and each era is counted by itself
    max_bad_fraction : of events with NaN, absurd values or a charge other than +-1; above it reading fails
    duplicates       : the same pair twice: "refuse" fails, "first" keeps the first (and reads everything twice)
    defaults         : column -> value in files that lack it, for run, lumi, event and selected columns
    on_bad_file      : "fail", or "skip" and list it in the file ledger
    chunk_rows       : rows read at a time
    places           : key -> "file.toml:14", for messages
    """

    columns: MuonColumns
    format: Literal["auto", "root", "parquet", "csv", "hdf5"] = "auto"
    tree: str | None = None
    layout: Literal["pair", "rows", "jagged"] = "pair"
    select: tuple[str, ...] = ()
    charge: Literal["opposite", "same", "any"] = "opposite"
    pt_min: float | None = None
    eta_max: float | None = None
    mass_range: tuple[float, float] | None = None
    check_mass: float | None = None
    certified: str | None = None
    eras: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    max_bad_fraction: float = 0.01
    duplicates: Literal["refuse", "first"] = "refuse"
    defaults: Mapping[str, float] = field(default_factory=dict)
    on_bad_file: Literal["fail", "skip"] = "fail"
    chunk_rows: int = 200_000
    places: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_names()
        self._check_numbers()
        self._check_runs()
        self.selections()

    def _check_names(self) -> None:
        names = self.columns.muon_names()
        if self.columns.fixed_charge is not None and self.layout != "pair":
            raise ValueError(f"columns.charge is two numbers; the layout {self.layout!r} needs a column")
        for key, name in names.items():
            if isinstance(name, tuple) != (self.layout == "pair"):
                count = "two names" if self.layout == "pair" else "one name"
                raise ValueError(f"columns.{key} is {name!r}; the layout {self.layout!r} takes {count}")
            if isinstance(name, tuple) and name[0] == name[1]:
                raise ValueError(f"columns.{key} names '{name[0]}' for both muons")
        if self.columns.mass is not None and self.layout != "pair":
            raise ValueError(f"columns.mass belongs to the layout 'pair', not {self.layout!r}")
        if self.columns.fixed_charge is not None and set(self.columns.fixed_charge) - {1, -1}:
            raise ValueError(f"columns.charge is {self.columns.fixed_charge}; a muon's charge is 1 or -1")
        momenta = {column for name in names.values() for column in as_pair(name)}
        wrong = sorted(momenta & set(self.defaults))
        if wrong:
            raise ValueError(f"defaults names {wrong[0]!r}, which holds the muons themselves; they have no default")

    def _check_numbers(self) -> None:
        for key in ("pt_min", "eta_max", "check_mass"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise ValueError(f"{key} is {value!r}; expected a positive number")
        if self.mass_range is not None and not 0 <= self.mass_range[0] < self.mass_range[1]:
            raise ValueError(f"mass_range is {self.mass_range!r}; expected 0 <= low < high, in GeV")
        if not 0 <= self.max_bad_fraction <= 1:
            raise ValueError(f"max_bad_fraction is {self.max_bad_fraction!r}; expected a number from 0 to 1")
        if self.chunk_rows < 1:
            raise ValueError(f"chunk_rows is {self.chunk_rows}; expected at least 1")
        estimates = [self.columns.pt, self.columns.px, self.columns.e, self.columns.mass]
        if self.check_mass is not None and sum(name is not None for name in estimates) < 2:
            raise ValueError("check_mass needs a second source of the mass: px, py, pz, e or mass")

    def _check_runs(self) -> None:
        check_eras(self.eras)
        for key, wanted, columns in (("eras", self.eras, ("run",)), ("certified", self.certified, ("run", "lumi"))):
            lacking = [column for column in columns if getattr(self.columns, column) is None]
            if wanted and lacking:
                raise ValueError(f"{key} needs columns.{lacking[0]}, which is not named")

    def selections(self) -> tuple[Selection, ...]:
        """The parsed `select`, in order."""
        return tuple(parse_selection(text) for text in self.select)

    def asked(self) -> dict[str, str]:
        """Column name -> the key that asks for it, with its place if known: "config.toml:14 columns.pt"."""
        keys: dict[str, str] = {}
        for f in fields(self.columns):
            name = getattr(self.columns, f.name)
            for column in as_pair(name) if name is not None and not _is_numbers(name) else ():
                keys.setdefault(column, f"columns.{f.name}")
        for selection in self.selections():
            keys.setdefault(selection.column, "select")
        return {column: f"{self.places.get(key, '')} {key}".strip() for column, key in keys.items()}


def as_pair(name: Name) -> tuple[str, ...]:
    """One name or two, as a tuple."""
    return (name,) if isinstance(name, str) else name
