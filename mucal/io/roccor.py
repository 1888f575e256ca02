"""Rochester corrections (RoccoR) as text tables, read and written.

    pT' = pT / (M_R + q A_R pT)      for data and for simulation, in bins of eta and of azimuth
    x / (1 + (x - 1) k_data / k_mc)  with x = pT_gen / pT' brings the spread of simulation to that of data

A table holds sets of members: the error of a result is sqrt(sum over sets of the mean over members of its squared
difference from set 0, member 0).  The letters A and M are swapped against ours (`scale.conventions`), and there is no
term in e: what is written holds e/pT frozen at one pT.

Lines of the text, blanks between words:

    NSET n | NMEM members of each set | CPHI bins | CETA bins, edges | RETA bins, edges of |eta|
    set member C type var eta-bin values     100 (M_R - 1) and 100 A_R (var 0, 1) over the bins of azimuth, -pi to pi
    set member F type values                 spread over the bins of |eta|
    set member R var |eta|-bin values        by tracker layers, RTRK of them from RMIN on: sigma(pT) = s0 + s1 x +
                                             s2 x^2, x = pT - 45 GeV (var 0, 1, 100 s2); width, alpha, n of the Crystal
                                             Ball that is drawn from (var 3, 4, 5): smearing without a generated pT
    set member T type |eta|-bin values       shares of muons up to each number of layers, which fix nothing here

with type 0 for simulation and 1 for data.  Source: A. Bodek et al., arXiv:1208.3710, and the public tables.
"""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from scipy.special import ndtr, ndtri

from mucal.arrays import FloatArray, IntArray
from mucal.calibration import Calibration
from mucal.errors import InputError
from mucal.scale import ScaleTable, conventions
from mucal.store import write_bytes

MC, DATA = 0, 1
CURVED: Final = 2
"""The variable of lines R that is written times 100."""
TINY: Final = 1e-300
PERCENT: Final = 100.0
MAX_BYTES: Final = 64 * 2**20
REFERENCE_PT: Final = 40.0
SMEARING_PT: Final = 45.0
Sample = Literal["data", "mc"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoccorTable:
    """A Rochester table with S sets of members; members of all sets stand one after the other.

    eta_edges  : (E+1,)
    offsets    : (S+1,)           members offsets[s] .. offsets[s+1] belong to set s
    M_R        : (N, 2, E, F)     multiplicative; of simulation, data; over F equal bins of azimuth from -pi
    A_R        : (N, 2, E, F) 1/GeV  additive
    abs_edges  : (R+1,)           of |eta|
    spread     : (N, 2, R)        k of the spread; NaN where a table has none
    smearing   : (N, 6, R, L)     s0, s1, s2, width, alpha, n by layers; NaN where a table has none
    layers_min :                  tracker layers of the first of the L bins; fewer are counted in it, more in the last
    shares     : (N, 2, R, L+1)   of muons up to each number of layers, of simulation and data; NaN likewise
    """

    eta_edges: FloatArray
    offsets: IntArray
    M_R: FloatArray
    A_R: FloatArray
    abs_edges: FloatArray
    spread: FloatArray
    smearing: FloatArray
    layers_min: int
    shares: FloatArray

    def scale(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, sample: Sample = "data",
        member: int = 0,
    ) -> FloatArray:  # fmt: skip
        """Corrected over measured pT, 1 / (M_R + q A_R pT).

        pt     : (N,) GeV
        eta    : (N,)      beyond the table its last bins are used, as the official program does
        phi    : (N,) rad
        charge : (N,)      +1 or -1
        member : counted over all sets; 0 is the nominal one
        """
        i, j = self._bins(eta, phi)
        of = DATA if sample == "data" else MC
        result: FloatArray = 1.0 / (self.M_R[member, of, i, j] + charge * self.A_R[member, of, i, j] * pt)
        return result

    def scale_error(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, sample: Sample = "data"
    ) -> FloatArray:
        """Standard error of `scale` from all members of all sets, (N,)."""
        members = [self.scale(pt, eta, phi, charge, sample, m) for m in range(self.offsets[-1])]
        return self._error(members)

    def spread_scale(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, pt_gen: FloatArray,
        member: int = 0,
    ) -> FloatArray:  # fmt: skip
        """Scale of simulation with its spread brought to that of data, for muons with a generated pT: (N,)."""
        scale = self.scale(pt, eta, phi, charge, "mc", member)
        r = np.clip(np.searchsorted(self.abs_edges, np.abs(eta), side="right") - 1, 0, self.abs_edges.size - 2)
        x = pt_gen / (scale * pt)
        result: FloatArray = scale * x / (1.0 + (x - 1.0) * self.spread[member, DATA, r] / self.spread[member, MC, r])
        return result

    def spread_error(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, pt_gen: FloatArray
    ) -> FloatArray:
        """Standard error of `spread_scale`, (N,)."""
        return self._error([self.spread_scale(pt, eta, phi, charge, pt_gen, m) for m in range(self.offsets[-1])])

    def smear_scale(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, layers: IntArray,
        uniform: FloatArray, member: int = 0,
    ) -> FloatArray:  # fmt: skip
        """Scale of simulation with the spread of data, for muons without a generated pT: (N,).

        k / (1 + sqrt(k_data^2 - k_mc^2) sigma(k pT) x) with x the Crystal Ball's quantile at `uniform`; k alone where
        simulation is the wider one.

        layers  : (N,)  tracker layers with a measurement
        uniform : (N,)  random numbers between 0 and 1

        Raises ValueError if the table has no smearing.
        """
        if np.all(np.isnan(self.smearing)):
            raise ValueError("this Rochester table holds no smearing (its lines R); use spread_scale, or another table")
        scale = self.scale(pt, eta, phi, charge, "mc", member)
        r = np.clip(np.searchsorted(self.abs_edges, np.abs(eta), side="right") - 1, 0, self.abs_edges.size - 2)
        at = np.clip(layers - self.layers_min, 0, self.smearing.shape[3] - 1)
        s0, s1, s2, width, alpha, power = self.smearing[member][:, r, at]
        x = scale * pt - SMEARING_PT
        sigma = s0 + s1 * x + s2 * x * x
        of_data, of_mc = self.spread[member, DATA, r], self.spread[member, MC, r]
        extra = np.sqrt(np.clip(of_data**2 - of_mc**2, 0.0, None))
        drawn = extra * sigma * width * crystal_ball_quantile(np.asarray(uniform), alpha, power)
        result: FloatArray = scale * np.where(drawn > -1.0, 1.0 / (1.0 + drawn), 1.0)
        return result

    def smear_error(
        self, pt: FloatArray, eta: FloatArray, phi: FloatArray, charge: FloatArray | IntArray, layers: IntArray,
        uniform: FloatArray,
    ) -> FloatArray:  # fmt: skip
        """Standard error of `smear_scale`, (N,)."""
        members = [self.smear_scale(pt, eta, phi, charge, layers, uniform, m) for m in range(self.offsets[-1])]
        return self._error(members)

    def _bins(self, eta: FloatArray, phi: FloatArray) -> tuple[IntArray, IntArray]:
        n_eta, n_phi = self.M_R.shape[2:]
        i = np.clip(np.searchsorted(self.eta_edges, eta, side="right") - 1, 0, n_eta - 1)
        j = np.clip(np.floor((np.asarray(phi) + np.pi) / (2.0 * np.pi / n_phi)).astype(np.int64), 0, n_phi - 1)
        return i.astype(np.int64), j

    def _error(self, members: list[FloatArray]) -> FloatArray:
        squares = [np.square(member - members[0]) for member in members]
        sets = [np.mean(squares[a:b], axis=0) for a, b in zip(self.offsets[:-1], self.offsets[1:], strict=True)]
        result: FloatArray = np.sqrt(np.sum(sets, axis=0))
        return result

    def to_ours(self, pt: float, sample: Sample = "data") -> ScaleTable:
        """Our table with the same scale at one pT (GeV): M_R and A_R averaged over azimuth, e = 0.

        The covariance is that of the members: sum over sets of the mean of their outer products.
        """
        of = DATA if sample == "data" else MC
        mean = [getattr(self, name)[:, of].mean(axis=-1) for name in ("M_R", "A_R")]
        ours = conventions.from_roccor(conventions.Roccor(*mean), np.full_like(mean[0], pt))
        rows = np.concatenate([ours.A, ours.e, ours.M], axis=1)
        shifts = rows - rows[0]
        sets = zip(self.offsets[:-1], self.offsets[1:], strict=True)
        cov = np.sum([shifts[a:b].T @ shifts[a:b] / (b - a) for a, b in sets], axis=0)
        return ScaleTable(
            eta_edges=self.eta_edges, A=ours.A[0], e=ours.e[0], M=ours.M[0], cov=0.5 * (cov + cov.T), resonance="z"
        )


def crystal_ball_quantile(u: FloatArray, alpha: FloatArray, n: FloatArray) -> FloatArray:
    """x below which the part u of a Crystal Ball lies, equal tails of power n from +-alpha on, width 1.

    u        : (N,)  between 0 and 1
    alpha, n : (N,)  positive; above 1
    """
    tail = n / (alpha * (n - 1.0)) * np.exp(-0.5 * alpha**2)
    core = np.sqrt(2.0 * np.pi) * (ndtr(alpha) - ndtr(-alpha))
    below = np.minimum(u, 1.0 - u) * (core + 2.0 * tail)
    stretch = np.maximum(below / tail, TINY) ** (1.0 / (1.0 - n))
    outside = alpha + (stretch - 1.0) * n / alpha
    inside = -ndtri(ndtr(-alpha) + np.clip(below - tail, 0.0, None) / np.sqrt(2.0 * np.pi))
    result: FloatArray = np.where(u < 0.5, -1.0, 1.0) * np.where(below < tail, outside, inside)
    return result


def read_roccor(path: str | Path) -> RoccorTable:
    """A Rochester table from its text, plain or compressed with gzip.

    Raises InputError for a line that is not of the format, a missing header or missing values.
    """
    path = Path(path)
    text = _Text(path=path, headers={}, scales={}, spreads={}, smearings={}, shares={})
    for number, words in _lines(path):
        try:
            text.take(words)
        except (ValueError, IndexError) as error:
            raise InputError(
                f"line {number} is not of a Rochester table: '{' '.join(words[:6])} ...'",
                kind="input.roccor",
                where={"file": path, "line": number},
                do="give the text file of RoccoR as it is published",
            ) from error
    return text.table()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """What was read: headers, and values by set, member and what else a line names, in its order."""

    path: Path
    headers: dict[str, list[float]]
    scales: dict[tuple[int, ...], list[float]]
    spreads: dict[tuple[int, ...], list[float]]
    smearings: dict[tuple[int, ...], list[float]]
    shares: dict[tuple[int, ...], list[float]]

    def take(self, words: list[str]) -> None:
        """One line."""
        if words[0].isalpha():
            self.headers[words[0]] = [float(word) for word in words[1:]]
            return
        member = (int(words[0]), int(words[1]))
        if words[2] == "C":
            place = (*member, int(words[3]), int(words[4]), int(words[5]))
            self.scales[place] = [float(word) for word in words[6:]]
        elif words[2] == "F":
            self.spreads[*member, int(words[3])] = [float(word) for word in words[4:]]
        elif words[2] in ("T", "R"):
            read = self.smearings if words[2] == "R" else self.shares
            read[*member, int(words[3]), int(words[4])] = [float(word) for word in words[5:]]
        else:
            raise ValueError(words[2])

    def table(self) -> RoccorTable:
        """The arrays; raises InputError where values are missing."""
        missing = [name for name in ("NSET", "NMEM", "CPHI", "CETA") if name not in self.headers]
        if missing:
            raise self._wrong(f"the line {missing[0]} is missing")
        members = [int(n) for n in self.headers["NMEM"]]
        if len(members) != int(self.headers["NSET"][0]):
            raise self._wrong(f"NSET states {self.headers['NSET'][0]:g} sets, NMEM {len(members)}")
        offsets = np.concatenate([[0], np.cumsum(members)]).astype(np.int64)
        edges = np.array(self.headers["CETA"][1:])
        absolute = np.array(self.headers.get("RETA", [1, 0.0, np.inf])[1:])
        n_eta, n_phi = edges.size - 1, int(self.headers["CPHI"][0])
        values = np.full((2, int(offsets[-1]), 2, n_eta, n_phi), np.nan)
        for (s, m, of, var, eta), row in self.scales.items():
            self._place(values, (var, self._member(offsets, s, m), of, eta), row)
        spread = np.full((int(offsets[-1]), 2, absolute.size - 1), np.nan)
        for (s, m, of), row in self.spreads.items():
            self._place(spread, (self._member(offsets, s, m), of), row)
        layers = int(self.headers.get("RTRK", [1])[0])
        smearing = np.full((int(offsets[-1]), 6, absolute.size - 1, layers), np.nan)
        for (s, m, var, r), row in self.smearings.items():
            scaled = [value / PERCENT for value in row] if var == CURVED else row
            self._place(smearing, (self._member(offsets, s, m), var, r), scaled)
        shares = np.full((int(offsets[-1]), 2, absolute.size - 1, layers + 1), np.nan)
        for (s, m, of, r), row in self.shares.items():
            self._place(shares, (self._member(offsets, s, m), of, r), row)
        if np.any(np.isnan(values)):
            at = np.argwhere(np.isnan(values))[0]
            raise self._wrong(f"values are missing, first of member {at[1]}, eta bin {at[3]}")
        return RoccorTable(
            eta_edges=edges, offsets=offsets, M_R=1.0 + values[0] / PERCENT, A_R=values[1] / PERCENT,
            abs_edges=absolute, spread=spread, smearing=smearing, shares=shares,
            layers_min=int(self.headers.get("RMIN", [0])[0]),
        )  # fmt: skip

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


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Numbered lines in words; blank lines are left out."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except (OSError, EOFError) as error:
        raise InputError(f"cannot be read: {error}", kind="input.roccor", where={"file": path}) from error
    if len(raw) > MAX_BYTES:
        raise InputError(f"larger than {MAX_BYTES} bytes", kind="input.too_large", where={"file": path})
    for number, line in enumerate(raw.decode("ascii", "replace").splitlines(), start=1):
        words = line.split()
        if words:
            yield number, words


def write_roccor(
    calibration: Calibration, path: str | Path, *, pt: float = REFERENCE_PT, overwrite: bool = False
) -> Path:
    """Write a calibration as a Rochester table: set 0 the correction, set 1 its S scale nuisances.

    A member holds the correction moved by sqrt(S) standard deviations of one nuisance, so that the error by the rule of
    such tables is that of all nuisances.  Simulation has M_R = 1, A_R = 0 and a spread of 1: it is smeared with
    correctionlib, not with this table.

    pt : GeV, where e/pT is frozen

    Raises FileExistsError unless `overwrite`.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(17, "exists already; remove it or ask to overwrite", str(path))
    write_bytes(path, "\n".join(_text_of(calibration, pt)).encode() + b"\n", overwrite=overwrite)
    return path


def _text_of(calibration: Calibration, pt: float) -> Iterator[str]:
    scale, shifts = calibration.scale, calibration.scale_variations
    n = max(len(shifts), 1)
    nominal = np.stack([scale.A, scale.e, scale.M])
    edges = " ".join(f"{edge:.6g}" for edge in scale.eta_edges)
    yield "NSET 2"
    yield f"NMEM 1 {n}"
    yield "TVAR 0 1"
    yield "CPHI 1"
    yield f"CETA {scale.n_bins} {edges}"
    yield "RMIN 6"
    yield "RTRK 1"
    highest = max(abs(float(scale.eta_edges[0])), float(scale.eta_edges[-1]))
    yield f"RETA 1 0.0 {highest:.6g}"
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
