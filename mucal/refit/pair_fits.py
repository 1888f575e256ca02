"""Fitted pairs, as results: with their vertex alone, and with their mass as well."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes
from mucal.errors import InputError
from mucal.ledger import Ledger
from mucal.refit.pair_status import PairStatus
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class PairPass(Result):
    """One fit of C pairs; a pair whose status is not OK has NaN.

    state        : (C, 9)          QOP, LAM, PHI of both muons at the vertex, then the vertex in cm
    cov          : (C, 9, 9)
    mass         : (C,) GeV
    sigma_mass   : (C,) GeV
    chi2         : (C,)
    ndof         : (C,)            rows minus 9
    edm          : (C,)            half the predicted change of chi2 that the last step made
    n_iterations : (C,)
    status       : (C,)            `PairStatus`
    trace        : (C, T, 3)       chi2, predicted drop and mass of every iteration; T = 0 unless asked for
    """

    state: FloatArray
    cov: FloatArray
    mass: FloatArray
    sigma_mass: FloatArray
    chi2: FloatArray
    ndof: IntArray
    edm: FloatArray
    n_iterations: IntArray
    status: IntArray
    trace: FloatArray

    def __post_init__(self) -> None:
        n = self.status.size
        check_shapes(self, state=(n, 9), cov=(n, 9, 9), mass=(n,), sigma_mass=(n,), chi2=(n,), ndof=(n,), edm=(n,))

    @classmethod
    def concatenate(cls, parts: Sequence["PairPass"]) -> "PairPass":
        """The fits of all parts (at least one), in order."""
        names = [f.name for f in fields(cls) if f.name != "provenance"]
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        return cls(**columns)

    @property
    def ok(self) -> BoolArray:
        """(C,) whether the fit converged"""
        good: BoolArray = self.status == PairStatus.OK
        return good

    @property
    def pt(self) -> FloatArray:
        """(C, 2) GeV"""
        transverse: FloatArray = np.cos(self.state[:, [1, 4]]) / np.abs(self.state[:, [0, 3]])
        return transverse

    @property
    def eta(self) -> FloatArray:
        """(C, 2)"""
        value: FloatArray = np.arcsinh(np.tan(self.state[:, [1, 4]]))
        return value

    @property
    def phi(self) -> FloatArray:
        """(C, 2) rad"""
        return self.state[:, [2, 5]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFits(Result):
    """C pairs fitted twice: with their vertex alone, and with their mass as well.

    Masses for later fits are those of `vertex`: momenta of `constrained` know the mass already.

    run, lumi, event, pair : (C,)
    tracks      : (C, 2)   rows of the hits; the positive muon first if the charges differ; -1 if there is none
    charge      : (C, 2)
    vertex      :          the fit without the mass
    constrained :          the fit with the mass, of the pairs that the selection kept
    m_ref       : (C,) GeV mean mass of such pairs that the constraint assumed, NaN where none was
    gamma       : (C,) GeV its standard deviation
    j_offsets   : (C+1,)   rows of `j_ref` of each pair
    j_label     : (T,)     global parameters
    j_ref       : (T, 9)   float32, d state / d parameter of the fit without the mass, where the last pass ended
    j_mass      : (T,)     float32, d mass / d parameter, likewise
    """

    run: IntArray
    lumi: IntArray
    event: IntArray
    pair: IntArray
    tracks: IntArray
    charge: IntArray
    vertex: PairPass
    constrained: PairPass
    m_ref: FloatArray
    gamma: FloatArray
    j_offsets: IntArray
    j_label: IntArray
    j_ref: npt.NDArray[np.float32]
    j_mass: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        n, t = self.run.size, self.j_label.size
        check_shapes(self, pair=(n,), tracks=(n, 2), charge=(n, 2), m_ref=(n,), gamma=(n,))
        check_shapes(self, j_offsets=(n + 1,), j_ref=(t, 9), j_mass=(t,))

    def __len__(self) -> int:
        return int(self.run.size)

    @classmethod
    def concatenate(cls, parts: Sequence["PairFits"], n_tracks: Sequence[int]) -> "PairFits":
        """The fits of all parts (at least one), in order.

        n_tracks : rows of the hits of each part, which `tracks` then counts through
        """
        before = np.cumsum([0, *n_tracks])
        labels = np.cumsum([0, *(part.j_label.size for part in parts)])
        nested = ("provenance", "vertex", "constrained", "tracks", "j_offsets")
        names = [f.name for f in fields(cls) if f.name not in nested]
        columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
        tracks = [np.where(p.tracks >= 0, p.tracks + n, -1) for p, n in zip(parts, before, strict=False)]
        offsets = [part.j_offsets[:-1] + start for part, start in zip(parts, labels, strict=False)]
        return cls(
            **columns, tracks=np.concatenate(tracks),
            vertex=PairPass.concatenate([part.vertex for part in parts]),
            constrained=PairPass.concatenate([part.constrained for part in parts]),
            j_offsets=np.concatenate([*offsets, labels[-1:]]).astype(np.int64),
        )  # fmt: skip

    @property
    def opening(self) -> FloatArray:
        """(C,) rad, angle between the muons in the fit of the vertex"""
        lam, phi = self.vertex.state[:, [1, 4]], self.vertex.state[:, [2, 5]]
        cosine = np.cos(lam).prod(axis=1) * np.cos(phi[:, 0] - phi[:, 1]) + np.sin(lam).prod(axis=1)
        angle: FloatArray = np.arccos(np.clip(cosine, -1.0, 1.0))
        return angle

    def ledger(self, *, constrained: bool = False) -> Ledger:
        """read = used + rejected, by status of the vertex fit, or of the constrained one."""
        status = np.where(self.vertex.ok & constrained, self.constrained.status, self.vertex.status)
        wrong = {s: np.flatnonzero(status == s) for s in PairStatus if s != PairStatus.OK}
        return Ledger(
            unit="pairs",
            read=len(self),
            used=int(np.sum(status == PairStatus.OK)),
            rejected={s.name.lower(): rows.size for s, rows in wrong.items()},
            examples={
                s.name.lower(): tuple(f"{self.run[i]}:{self.lumi[i]}:{self.event[i]}" for i in rows[:5])
                for s, rows in wrong.items()
            },
        )

    def require_converged(self) -> None:
        """Raises InputError if the vertex fit of any pair failed, with the first one's sentence."""
        failed = np.flatnonzero(~self.vertex.ok)
        if failed.size:
            i = int(failed[0])
            raise InputError(
                f"{failed.size} of {len(self)} pairs were not fitted, first pair {self.pair[i]} "
                f"({self.run[i]}:{self.lumi[i]}:{self.event[i]}): {PairStatus(int(self.vertex.status[i])).sentence}",
                kind="refit.failed",
            )
