"""Rochester tables as text, read and written.

Lines of the text, blanks between words:

    NSET n | NMEM members of each set | CPHI bins | CETA bins, edges | RETA bins, edges of |eta|
    set member C type var eta-bin values     100 (M_R - 1) and 100 A_R (var 0, 1) over the bins of azimuth, -pi to pi
    set member F type values                 spread over the bins of |eta|
    set member R var |eta|-bin values        by tracker layers, RTRK of them from RMIN on: sigma(pT) = s0 + s1 x +
                                             s2 x^2, x = pT - 45 GeV (var 0, 1, 100 s2); width, alpha, n of the Crystal
                                             Ball that is drawn from (var 3, 4, 5): smearing without a generated pT
    set member T type |eta|-bin values       shares of muons up to each number of layers, which fix nothing here

with type 0 for simulation and 1 for data.  There is no term in e: what is written holds e/pT frozen at one pT.
Source: A. Bodek et al., arXiv:1208.3710, and the public tables.
"""

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_edges
from mucal.calibration import Calibration, certify
from mucal.errors import InputError
from mucal.io.muonscare import reference_pt
from mucal.io.roccor import DATA, MC, RoccorTable
from mucal.scale import conventions
from mucal.store import write_bytes

CURVED: Final = 2
"""The variable of lines R that is written times 100."""
PERCENT: Final = 100.0
MAX_BYTES: Final = 64 * 2**20
MAX_VALUES: Final = MAX_BYTES // 2
"""That such a text can hold: a value is a digit and a blank."""
COUNTS: Final = {"NSET": 1, "NMEM": 1, "CPHI": 1, "RTRK": 1, "RMIN": 0}
"""Header of whole numbers -> the smallest one."""
EDGES: Final = ("CETA", "RETA")


def read_roccor(path: str | Path) -> RoccorTable:
    """A Rochester table from its text, plain or compressed with gzip.

    Raises InputError for a damaged file, a line that is not of the format, a missing header or missing values.
    """
    path = Path(path)
    text = _Text(path=path, counts={}, edges={}, scales={}, spreads={}, smearings={}, shares={})
    for number, words in _lines(path):
        try:
            text.take(words)
        except (ValueError, IndexError) as error:
            raise InputError(
                f"line {number} is not of a Rochester table: '{' '.join(words[:6])} ...' ({error})",
                kind="input.roccor",
                where={"file": path, "line": number},
                do="give the text file of RoccoR as it is published",
            ) from error
    return text.table()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """What was read: headers, and values by set, member and what else a line names, in its order."""

    path: Path
    counts: dict[str, list[int]]
    edges: dict[str, FloatArray]
    scales: dict[tuple[int, ...], list[float]]
    spreads: dict[tuple[int, ...], list[float]]
    smearings: dict[tuple[int, ...], list[float]]
    shares: dict[tuple[int, ...], list[float]]

    def take(self, words: list[str]) -> None:
        """One line; raises ValueError or IndexError for one that is not of the format."""
        if words[0] in COUNTS:
            self.counts[words[0]] = _counts(words)
            return
        if words[0] in EDGES:
            self.edges[words[0]] = _edges(words)
            return
        if words[0].isalpha():
            return  # what other programs add, as TVAR
        member = (int(words[0]), int(words[1]))
        if words[2] == "C":
            place = (*member, int(words[3]), int(words[4]), int(words[5]))
            self.scales[place] = _values(words[6:])
        elif words[2] == "F":
            self.spreads[*member, int(words[3])] = _values(words[4:])
        elif words[2] in ("T", "R"):
            read = self.smearings if words[2] == "R" else self.shares
            read[*member, int(words[3]), int(words[4])] = _values(words[5:])
        else:
            raise ValueError(words[2])

    def table(self) -> RoccorTable:
        """The arrays; raises InputError where values are missing."""
        missing = [name for name in ("NSET", "NMEM", "CPHI", "CETA") if name not in {**self.counts, **self.edges}]
        if missing:
            raise self._wrong(f"the line {missing[0]} is missing")
        members = self.counts["NMEM"]
        if len(members) != self.counts["NSET"][0]:
            raise self._wrong(f"NSET states {self.counts['NSET'][0]} sets, NMEM {len(members)}")
        offsets = np.concatenate([[0], np.cumsum(members)]).astype(np.int64)
        edges = self.edges["CETA"]
        absolute = self.edges.get("RETA", np.array([0.0, np.abs(edges).max()]))
        n, n_abs, layers = sum(members), absolute.size - 1, self.counts.get("RTRK", [1])[0]
        values = self._empty(2, n, 2, edges.size - 1, self.counts["CPHI"][0])
        for (s, m, of, var, eta), row in self.scales.items():
            self._place(values, (var, self._member(offsets, s, m), of, eta), row)
        spread = self._empty(n, 2, n_abs)
        for (s, m, of), row in self.spreads.items():
            self._place(spread, (self._member(offsets, s, m), of), row)
        smearing = self._empty(n, 6, n_abs, layers)
        for (s, m, var, r), row in self.smearings.items():
            scaled = [value / PERCENT for value in row] if var == CURVED else row
            self._place(smearing, (self._member(offsets, s, m), var, r), scaled)
        shares = self._empty(n, 2, n_abs, layers + 1)
        for (s, m, of, r), row in self.shares.items():
            self._place(shares, (self._member(offsets, s, m), of, r), row)
        if np.any(np.isnan(values)):
            at = np.argwhere(np.isnan(values))[0]
            raise self._wrong(f"values are missing, first of member {at[1]}, eta bin {at[3]}")
        return RoccorTable(
            eta_edges=edges, offsets=offsets, M_R=1.0 + values[0] / PERCENT, A_R=values[1] / PERCENT,
            abs_edges=absolute, spread=spread, smearing=smearing, shares=shares,
            layers_min=self.counts.get("RMIN", [0])[0],
        )  # fmt: skip

    def _empty(self, *shape: int) -> FloatArray:
        """NaN in a shape that the headers state."""
        if math.prod(shape) > MAX_VALUES:
            raise self._wrong(f"the headers state {math.prod(shape)} values, more than such a text can hold")
        return np.full(shape, np.nan)

    def _member(self, offsets: IntArray, s: int, m: int) -> int:
        if not (0 <= s < offsets.size - 1 and 0 <= m < offsets[s + 1] - offsets[s]):
            raise self._wrong(f"set {s}, member {m} is not among those that NSET and NMEM state")
        return int(offsets[s]) + m

    def _place(self, values: FloatArray, place: tuple[int, ...], row: list[float]) -> None:
        if any(not 0 <= i < n for i, n in zip(place, values.shape, strict=False)) or len(row) != values.shape[-1]:
            raise self._wrong(f"a line has {len(row)} values for {place}, expected {values.shape[-1]} inside the table")
        values[place] = row

    def _wrong(self, what: str) -> InputError:
        return InputError(what, kind="input.roccor", where={"file": self.path})


def _counts(words: Sequence[str]) -> list[int]:
    """The whole numbers of a header."""
    least, found = COUNTS[words[0]], [int(word) for word in words[1:]]
    if not found or not all(least <= n <= MAX_VALUES for n in found):
        raise ValueError(f"expected whole numbers from {least} to {MAX_VALUES}")
    return found


def _edges(words: Sequence[str]) -> FloatArray:
    """The edges of a header, whose number of bins stands before them."""
    found = np.array(_values(words[2:]))
    check_edges(words[0], found)
    if int(words[1]) != found.size - 1:
        raise ValueError(f"{words[1]} bins are stated, {found.size} edges follow")
    return found


def _values(words: Sequence[str]) -> list[float]:
    found = [float(word) for word in words]
    if not all(map(math.isfinite, found)):
        raise ValueError("expected finite numbers")
    return found


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines in words; blank lines are left out."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read: {error}", kind="input.roccor", where={"file": path}) from error
    if len(raw) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES} bytes", kind="input.too_large", where={"file": path})
    for number, line in enumerate(raw.decode("ascii", "replace").splitlines(), start=1):
        words = line.split()
        if words:
            yield number, words


def write_roccor(
    calibration: Calibration, path: str | Path, *, pt: float | None = None, overwrite: bool = False
) -> Path:
    """Write a calibration as a Rochester table: set 0 the correction, set 1 its S scale nuisances.

    A member holds the correction moved by sqrt(S) standard deviations of one nuisance, so that the error by the rule of
    such tables is that of all nuisances.  Simulation has M_R = 1, A_R = 0 and a spread of 1: it is smeared with
    correctionlib, not with this table.

    pt : GeV, where e/pT is frozen; by default 40 if the calibration holds there, else the geometric mean of its range

    Raises NotCertified if the calibration is not fit for export, FileExistsError unless `overwrite`.
    """
    certify(calibration)
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(17, "exists already; remove it or ask to overwrite", str(path))
    write_bytes(
        path,
        "\n".join(_text_of(calibration, reference_pt(calibration) if pt is None else pt)).encode() + b"\n",
        overwrite=overwrite,
    )
    return path


def _text_of(calibration: Calibration, pt: float) -> Iterator[str]:
    scale, shifts = calibration.scale, calibration.scale_variations
    n = max(len(shifts), 1)
    nominal = np.stack([scale.A, scale.e, scale.M])
    edges = " ".join(map(repr, scale.eta_edges.tolist()))
    yield "NSET 2"
    yield f"NMEM 1 {n}"
    yield "TVAR 0 1"
    yield "CPHI 1"
    yield f"CETA {scale.n_bins} {edges}"
    yield "RMIN 6"
    yield "RTRK 1"
    highest = max(abs(float(scale.eta_edges[0])), float(scale.eta_edges[-1]))
    yield f"RETA 1 0.0 {highest!r}"
    members = [(0, 0, nominal)]
    members += [(1, m, nominal + np.sqrt(n) * (shifts[m] if len(shifts) else 0.0)) for m in range(n)]
    for s, m, (A, e, M) in members:
        theirs = conventions.to_roccor(conventions.Ours(A, e, M), np.full_like(A, pt))
        for of in (MC, DATA):
            yield f"{s} {m} F {of} 1.0"
        for of in (MC, DATA):
            for var, values in enumerate((PERCENT * (theirs.M_R - 1.0), PERCENT * theirs.A_R)):
                for i, value in enumerate(values if of == DATA else np.zeros_like(values)):
                    yield f"{s} {m} C {of} {var} {i} {value:.12g}"
