"""Closure: what a resonance that did not set the scale still finds wrong with corrected momenta.

The equations are those of the scale with e = 0 (the momenta of Z muons span too little to tell e from A), filled with
*corrected* momenta.  They are never applied: they test the calibration, and their errors are uncertainties.
"""

from dataclasses import dataclass, replace

import numpy as np

from mucal.arrays import BoolArray, FloatArray, check_edges, check_shapes
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, MassHistograms
from mucal.massfit.fits import MassFits
from mucal.scale.derive import ScaleConfig, derive
from mucal.scale.table import ScaleTable
from mucal.store import Provenance, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Closure(Result):
    """Residual scale of corrected momenta in B bins of eta: k (1 + A) + q M is what one resonance would still ask for.

    eta_edges            : (B+1,)
    A                    : (B,)
    M                    : (B,) 1/GeV
    cov                  : (2B, 2B)    statistical, ordered A, M, each over all bins; 0 of an M that was not asked for
    mean_k               : (B,) 1/GeV  average 1/pT of the muons of each bin
    chi2, ndf            :             of the equations solved
    resonance            :             whose mass was compared
    reference_mass, _error : GeV
    prior                : (2B,)       inverse squared widths of the Gaussian priors about 0 that A and M, and `cov`,
                                       were drawn towards; 0 of a parameter without one; None: there was none
    """

    eta_edges: FloatArray
    A: FloatArray
    M: FloatArray
    cov: FloatArray
    mean_k: FloatArray
    chi2: float = 0.0
    ndf: int = 0
    resonance: str = ""
    reference_mass: float = 0.0
    reference_mass_error: float = 0.0
    prior: FloatArray | None = None

    def __post_init__(self) -> None:
        check_edges("Closure.eta_edges", self.eta_edges)
        b = self.n_bins
        check_shapes(self, A=(b,), M=(b,), mean_k=(b,), cov=(2 * b, 2 * b))
        if self.prior is not None:
            check_shapes(self, prior=(2 * b,))

    @property
    def n_bins(self) -> int:
        """B, the number of eta bins."""
        return int(self.eta_edges.size) - 1

    @property
    def residual(self) -> FloatArray:
        """(2B,) A, M in the order of the covariance"""
        return np.concatenate([self.A, self.M])

    @property
    def mass_shift(self) -> FloatArray:
        """(2B,) what one standard deviation of the reference mass adds to the residual: A = sigma_m/m everywhere"""
        relative = self.reference_mass_error / self.reference_mass if self.reference_mass > 0 else 0.0
        return np.concatenate([np.full(self.n_bins, relative), np.zeros(self.n_bins)])

    @property
    def known(self) -> BoolArray:
        """(2B,) parameters that were asked for"""
        return np.diag(self.cov) > 0

    def score(self) -> tuple[FloatArray, FloatArray]:
        """What the masses alone say of the K parameters that are `known`: N d (K,) and their information N (K, K).

        d are the residuals that they would give without a prior; N has no inverse where they say nothing.  Both are in
        units of the errors in `cov`.

        Raises ValueError if `cov` has no inverse.
        """
        known = self.known
        sigma = np.sqrt(np.diag(self.cov)[known])
        try:
            half = np.linalg.inv(np.linalg.cholesky(self.cov[np.ix_(known, known)] / np.outer(sigma, sigma)))
        except np.linalg.LinAlgError as error:
            raise ValueError("the covariance of the closure has no inverse; use bins of signed eta") from error
        inverse = half.T @ half
        own = 0.0 if self.prior is None else self.prior[known] * sigma**2
        return inverse @ (self.residual[known] / sigma), inverse - own * np.eye(sigma.size)

    def projection(self, eta_edges: FloatArray) -> FloatArray:
        """(2B, 3S) what the parameters (A, e, M) of a scale table with these S bins are in the closure's bins.

        A_eff = A - e <1/pT> and M, averaged over the part of each closure bin that a table bin covers.

        Raises ValueError if a closure bin is not covered by the table.
        """
        low = np.maximum(self.eta_edges[:-1, None], eta_edges[None, :-1])
        high = np.minimum(self.eta_edges[1:, None], eta_edges[None, 1:])
        share = np.clip(high - low, 0.0, None) / np.diff(self.eta_edges)[:, None]
        missing = np.abs(share.sum(axis=1) - 1.0) > 1e-9
        if np.any(missing):
            i = int(np.argmax(missing))
            raise ValueError(
                f"the scale table, {eta_edges[0]:g} <= eta < {eta_edges[-1]:g}, does not cover the closure bin "
                f"{self.eta_edges[i]:g} <= eta < {self.eta_edges[i + 1]:g}; choose closure bins inside the table"
            )
        none = np.zeros_like(share)
        return np.block([[share, -share * self.mean_k[:, None], none], [none, none, share]])


def close(data: MassFits, simulation: MassFits | None = None, config: ScaleConfig | None = None) -> Closure:
    """Residual A and M of corrected data, from the mass fits of a resonance that did not set the scale.

    data       : mass fits of pairs whose momenta were corrected before they were binned
    simulation : mass fits of simulation in the same bins
    config     : as for `derive`; of `free` A and M count, A alone where M is not among them

    Raises what `derive` raises.  Source: CMS-SMP-23-002, arXiv:2412.13872; derived in docs/physics/scale.md.
    """
    config = config or ScaleConfig()
    free = tuple(name for name in config.free if name != "e")
    prior = {name: size for name, size in config.prior.items() if name in free}
    found = derive(data, simulation, replace(config, free=free, prior=prior))
    closure = closure_of(found, _mean_k(data.histograms, found.n_bins), data.reference_mass, data.reference_mass_error)
    if not prior:
        return closure
    return replace(closure, prior=np.repeat([prior.get(name, np.inf) ** -2.0 for name in ("A", "M")], found.n_bins))


def closure_of(table: ScaleTable, mean_k: FloatArray, mass: float, mass_error: float) -> Closure:
    """The A and M of a table solved with e = 0 and without priors, as a closure.

    mean_k           : (B,) 1/GeV
    mass, mass_error : GeV   of the resonance

    Raises ValueError if the table has an e.
    """
    b = table.n_bins
    if np.any(table.e != 0):
        raise ValueError(f"e reaches {np.max(np.abs(table.e)):g} GeV; a closure has none: derive it with A and M free")
    kept = np.concatenate([np.arange(b), np.arange(2 * b, 3 * b)])
    own = table.provenance
    return Closure(
        eta_edges=table.eta_edges, A=table.A, M=table.M, cov=table.cov[np.ix_(kept, kept)], mean_k=mean_k,
        chi2=table.chi2, ndf=table.ndf, resonance=table.resonance, reference_mass=mass,
        reference_mass_error=mass_error,
        provenance=Provenance(
            configuration=dict(own.configuration), inputs=dict(own.inputs), ledgers=dict(own.ledgers), seed=own.seed
        ),
    )  # fmt: skip


def _mean_k(histograms: MassHistograms, n_bins: int) -> FloatArray:
    """(n_bins,) 1/pT of the muons of both charges in each eta bin, each weighted by its w (which is 1/2 for a Z)."""
    n_eta = histograms.eta_edges.size - 1
    totals = np.zeros((2, n_eta))
    for muon, axis in enumerate((ETA_PLUS, ETA_MINUS)):
        for row, name in enumerate(("w", "wk")):
            summed = histograms.mean(name)[:, muon] * histograms.n_events
            totals[row] += np.bincount(histograms.index[:, axis], weights=np.nan_to_num(summed), minlength=n_eta)
    mean = np.divide(totals[1], totals[0], out=np.zeros(n_eta), where=totals[0] > 0)
    return np.concatenate([mean[::-1], mean]) if n_bins == 2 * n_eta else mean
