"""Pairs as refits have them, and what was generated: what the mass fits read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.ledger import Ledger
from mucal.refit import PairFits
from mucal.store import Provenance, Result
from mucal.track import Dimuons, Hits
from mucal.workflow.hit_sums import generated_curvature, generated_mass


@dataclass(frozen=True, slots=True, kw_only=True)
class RefittedPairs(Result):
    """C pairs as the fit of their vertex has them, the positive muon first, and what was generated.

    run, lumi, event : (C,)
    pt, eta, phi     : (C, 2)  GeV, -, rad
    charge           : (C, 2)
    mass_gen         : (C,) GeV  of the muons after radiation
    sigma            : (C,)    relative error of the fitted mass
    k_gen            : (C, 2) 1/GeV  generated 1/pT
    selected         : (C,)    whether the constrained fit kept the pair
    n_pixel          : (C, 2)  hits in the pixel detector
    """

    run: IntArray
    lumi: IntArray
    event: IntArray
    pt: FloatArray
    eta: FloatArray
    phi: FloatArray
    charge: IntArray
    mass_gen: FloatArray
    sigma: FloatArray
    k_gen: FloatArray
    selected: IntArray
    n_pixel: IntArray

    def __post_init__(self) -> None:
        n = self.run.size
        check_shapes(self, pt=(n, 2), eta=(n, 2), phi=(n, 2), charge=(n, 2), mass_gen=(n,), k_gen=(n, 2))
        check_shapes(self, sigma=(n,), n_pixel=(n, 2))

    def dimuons(self) -> Dimuons:
        """As the mass fits read them."""
        return Dimuons(
            run=self.run, lumi=self.lumi, event=self.event, pt=self.pt, eta=self.eta, phi=self.phi, charge=self.charge
        )


class Collector:
    """Keeps what `RefittedPairs` wants of the chunks of a sample."""

    def __init__(self) -> None:
        self.parts: list[dict[str, np.ndarray]] = []
        self.ledger = Ledger(unit="pairs")

    def __call__(self, hits: Hits, fits: PairFits) -> None:
        ok, v = fits.vertex.ok, fits.vertex
        paired = hits if np.all(hits.pair >= 0) else hits.select(hits.pair >= 0)
        columns = {
            "run": fits.run, "lumi": fits.lumi, "event": fits.event, "pt": v.pt, "eta": v.eta, "phi": v.phi,
            "charge": fits.charge, "mass_gen": generated_mass(hits, fits), "sigma": v.sigma_mass / v.mass,
            "k_gen": generated_curvature(hits, fits),
            "selected": fits.constrained.ok.astype(np.int64), "n_pixel": pixel_hits(paired)[np.maximum(fits.tracks, 0)],
        }  # fmt: skip
        self.parts.append({name: values[ok] for name, values in columns.items()})
        self.ledger += fits.ledger()

    def result(self) -> RefittedPairs:
        """All pairs whose vertex fit is good."""
        columns: dict[str, Any] = {name: np.concatenate([part[name] for part in self.parts]) for name in self.parts[0]}
        return RefittedPairs(**columns, provenance=Provenance(ledgers={"refit": self.ledger}))


def pixel_hits(hits: Hits) -> IntArray:
    """(N,) hits that measure two coordinates"""
    found: IntArray = np.bincount(hits.track[np.isfinite(hits.v)], minlength=len(hits))
    return found


class RefittedSource:
    """Refitted pairs, read like files.

    key : of the stage that made them, for stages that are made from them
    """

    def __init__(self, pairs: RefittedPairs, key: str = "") -> None:
        self.pairs = pairs
        self.key = key
        self.ledger = Ledger(unit="pairs", read=pairs.run.size, used=pairs.run.size)

    def __iter__(self) -> Iterator[Dimuons]:
        yield self.pairs.dimuons()


def curvature_bias(pairs: RefittedPairs) -> FloatArray:
    """(C, 2) fitted over generated curvature minus 1"""
    bias: FloatArray = 1.0 / (pairs.pt * pairs.k_gen) - 1.0
    return bias
