"""Mass spectra of passing and failing probes in kinematic bins."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_edges, check_shapes
from mucal.efficiency.probes import Probes
from mucal.errors import InputError
from mucal.store import Result

CHARGES: Final = {1: (0,), 2: (-1, 1)}
AXES: Final = ("eta", "pt", "charge", "ut")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeBinning:
    """Bins of one step; GeV.

    eta_edges, pt_edges : of the probe
    mass_edges          : of the pair, uniform
    by_charge           : one bin for each charge, or one for both
    ut_edges            : of the recoil's projection; None where a step does not depend on it
    """

    eta_edges: tuple[float, ...]
    pt_edges: tuple[float, ...]
    mass_edges: tuple[float, ...] = tuple(float(m) for m in range(60, 121))
    by_charge: bool = True
    ut_edges: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("eta_edges", "pt_edges", "mass_edges"):
            check_edges(name, getattr(self, name))
        if self.ut_edges is not None:
            check_edges("ut_edges", self.ut_edges)
        steps = np.diff(self.mass_edges)
        if np.max(np.abs(steps / steps[0] - 1.0)) > 1e-6:
            raise ValueError(f"mass_edges must be uniform: steps go from {steps.min()} to {steps.max()} GeV")

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Bins in eta, pT, charge, u_T."""
        n_ut = 1 if self.ut_edges is None else len(self.ut_edges) - 1
        return len(self.eta_edges) - 1, len(self.pt_edges) - 1, 2 if self.by_charge else 1, n_ut


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeHistograms(Result):
    """Passing and failing spectra of B = n_eta n_pt n_charge n_ut bins; the last axis runs fastest.

    step               : name of the step
    eta_edges, pt_edges, ut_edges, mass_edges : GeV; ut_edges is (-inf, inf) where u_T plays no part
    by_charge          : two charge bins (-1, +1), or one
    counts             : (B, 2, M)  sums of weights, passing then failing
    sumw2              : (B, 2, M)  sums of squared weights
    pt_sum             : (B,)       sum of weight times pT of all probes
    """

    step: str
    eta_edges: FloatArray
    pt_edges: FloatArray
    ut_edges: FloatArray
    mass_edges: FloatArray
    by_charge: bool
    counts: FloatArray
    sumw2: FloatArray
    pt_sum: FloatArray
    rejected: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        b, m = int(np.prod(self.shape)), self.mass_edges.size - 1
        check_shapes(self, counts=(b, 2, m), sumw2=(b, 2, m), pt_sum=(b,))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Bins in eta, pT, charge, u_T."""
        return self.eta_edges.size - 1, self.pt_edges.size - 1, 1 + self.by_charge, self.ut_edges.size - 1

    @property
    def n_bins(self) -> int:
        """B, the number of kinematic bins."""
        return int(self.counts.shape[0])

    @property
    def pt_mean(self) -> FloatArray:
        """(B,) GeV, mean pT of the probes; the middle of an empty bin"""
        total = self.counts.sum(axis=(1, 2))
        pt = 0.5 * (self.pt_edges[1:] + self.pt_edges[:-1])
        middle = np.broadcast_to(pt[None, :, None, None], self.shape).reshape(-1)
        return np.where(total > 0, self.pt_sum / np.where(total > 0, total, 1.0), middle)

    def place(self, row: int) -> str:
        """The bin of a row in words."""
        i, j, c, u = np.unravel_index(row, self.shape)
        words = [
            f"eta {self.eta_edges[i]:g} to {self.eta_edges[i + 1]:g}",
            f"pt {self.pt_edges[j]:g} to {self.pt_edges[j + 1]:g} GeV",
        ]
        if self.by_charge:
            words.append(f"charge {CHARGES[2][c]:+d}")
        if self.shape[3] > 1:
            words.append(f"u_T {self.ut_edges[u]:g} to {self.ut_edges[u + 1]:g} GeV")
        return f"{self.step}: " + ", ".join(words)

    def __add__(self, other: Self) -> Self:
        """The spectra of two samples in the same bins.  Raises ValueError for different bins."""
        same = self.step == other.step and self.by_charge == other.by_charge
        for name in ("eta_edges", "pt_edges", "ut_edges", "mass_edges"):
            same = same and np.array_equal(getattr(self, name), getattr(other, name))
        if not same:
            raise ValueError(f"spectra of '{self.step}' and '{other.step}' have different bins")
        rejected = {key: self.rejected.get(key, 0) + other.rejected.get(key, 0)
                    for key in {**self.rejected, **other.rejected}}  # fmt: skip
        return replace(
            self, counts=self.counts + other.counts, sumw2=self.sumw2 + other.sumw2,
            pt_sum=self.pt_sum + other.pt_sum, rejected=rejected,
        )  # fmt: skip


def fill(probes: Probes, step: str, binning: ProbeBinning) -> ProbeHistograms:
    """Spectra of the probes of one step.

    What lies outside the bins or is not finite is counted in `rejected`, by reason; u_T beyond its last edges belongs
    to the edge bin, as it does when the result is looked up.

    Raises InputError if no probe is left.
    """
    shape, m = binning.shape, len(binning.mass_edges) - 1
    finite = np.isfinite(probes.mass) & np.isfinite(probes.pt) & np.isfinite(probes.eta) & np.isfinite(probes.weight)
    index, rejected = [], {"nonfinite": int((~finite).sum())}
    keep = finite
    for name, edges in (("eta", binning.eta_edges), ("pt", binning.pt_edges), ("mass", binning.mass_edges)):
        found = np.searchsorted(edges, getattr(probes, name), side="right") - 1
        inside = (found >= 0) & (found < len(edges) - 1)
        rejected[f"range:{name}"] = int((keep & ~inside).sum())
        keep = keep & inside
        index.append(found)
    wrong = np.abs(probes.charge) != 1
    rejected["charge"] = int((keep & wrong).sum())
    keep = keep & ~wrong
    charge = (probes.charge > 0).astype(np.int64) if binning.by_charge else np.zeros(len(probes), np.int64)
    ut = np.zeros(len(probes), np.int64)
    if binning.ut_edges is not None:
        lost = ~np.isfinite(probes.ut)
        rejected["nonfinite:ut"] = int((keep & lost).sum())
        keep = keep & ~lost
        ut = np.clip(np.searchsorted(binning.ut_edges, probes.ut, side="right") - 1, 0, shape[3] - 1)
    if not keep.any():
        raise InputError(
            f"none of {len(probes)} probes of '{step}' lies in the bins",
            kind="efficiency.no_probes",
            where={"rejected": ", ".join(f"{n} {why}" for why, n in rejected.items() if n)},
            do="look at units, window and flags",
        )
    row = np.ravel_multi_index((index[0][keep], index[1][keep], charge[keep], ut[keep]), shape)
    return _sums(probes, keep, row, index[2][keep], step, binning, m, rejected)


def _sums(
    probes: Probes, keep: np.ndarray, row: IntArray, mass: IntArray, step: str, binning: ProbeBinning, m: int,
    rejected: dict[str, int],
) -> ProbeHistograms:  # fmt: skip
    b = int(np.prod(binning.shape))
    weight, passing = probes.weight[keep], probes.passing[keep]
    flat = (2 * row + ~passing) * m + mass
    counts = _sum(flat, weight, 2 * b * m).reshape(b, 2, m)
    sumw2 = _sum(flat, weight**2, 2 * b * m).reshape(b, 2, m)
    ut_edges = (-np.inf, np.inf) if binning.ut_edges is None else binning.ut_edges
    return ProbeHistograms(
        step=step,
        eta_edges=np.array(binning.eta_edges, dtype=float),
        pt_edges=np.array(binning.pt_edges, dtype=float),
        ut_edges=np.array(ut_edges, dtype=float),
        mass_edges=np.array(binning.mass_edges, dtype=float),
        by_charge=binning.by_charge,
        counts=counts,
        sumw2=sumw2,
        pt_sum=_sum(row, weight * probes.pt[keep], b),
        rejected=rejected,
    )


def _sum(index: IntArray, weight: FloatArray, n: int) -> FloatArray:
    return np.asarray(np.bincount(index, weight, minlength=n), dtype=np.float64)


def total(parts: Sequence[ProbeHistograms]) -> ProbeHistograms:
    """The sum of the spectra of at least one sample."""
    result = parts[0]
    for part in parts[1:]:
        result = result + part
    return result
