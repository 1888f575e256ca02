"""a, b and c of the curvature resolution from the mass widths of many bins."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, same_edges
from mucal.errors import NotCertified
from mucal.ledger import Ledger
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS
from mucal.massfit.fits import MassFits
from mucal.massfit.status import Status
from mucal.scale.least_squares import normal_equations, parameter_names, solve_certified, unfold_abs_eta
from mucal.scale.table import ResolutionTable
from mucal.store import Provenance

TERMS: Final = ("a", "b", "c")
STEPS: Final = 50
TOLERANCE: Final = 1e-6
MOMENTA: Final = 50
MOST_BELOW: Final = 3.0
"""Errors that a term which would make a square negative may lie below 0, to be held there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolutionConfig:
    """How the table is derived.

    free       : which of "a", "b", "c" are solved for; the others are 0.  J/psi alone cannot tell b from c
                 (correlation -0.97): leave b out unless Z are added
    prior      : name -> width of a Gaussian prior about 0 (a and b are squares of relative errors, c has 1/GeV^2);
                 names left out have none
    d          : GeV^2, fixed: where the cross term b saturates
    min_events : events below which a bin is left out (and counted)
    """

    free: tuple[str, ...] = ("a", "c")
    prior: Mapping[str, float] = field(default_factory=dict)
    d: float = 370.0
    min_events: float = 0.0

    def __post_init__(self) -> None:
        if not self.free or len(set(self.free)) != len(self.free) or not set(self.free) <= set(TERMS):
            raise ValueError(f"free = {self.free}; expected one or more of {', '.join(TERMS)}, each once")
        for name, width in self.prior.items():
            if name not in TERMS:
                raise ValueError(f"prior names {name}; expected {', '.join(TERMS)}")
            if not width > 0:
                raise ValueError(f"the prior of {name} has width {width}, expected a positive number")
        if not 0 < self.d < np.inf:
            raise ValueError(f"d = {self.d} GeV^2, expected a positive number")
        if not 0 <= self.min_events < np.inf:
            raise ValueError(f"min_events = {self.min_events}, expected a number of events")


def curvature_variance(
    pt: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray | float
) -> FloatArray:
    """(sigma_k/k)^2 = a + c pT^2 + b / (1 + d/pT^2).

    pt         : GeV
    a, b, c, d : -, -, 1/GeV^2, GeV^2; of shapes that go with that of pt
    """
    squared = np.square(pt)
    result: FloatArray = a + c * squared + b / (1.0 + d / squared)
    return result


def relative_variance(table: ResolutionTable, pt: FloatArray, eta: FloatArray) -> FloatArray:
    """`curvature_variance` of muons by the bins of a table.

    table : a, b, c, d in bins of eta
    pt    : any shape, GeV
    eta   : like pt, inside the table's edges

    Raises ValueError if a muon lies outside the table.
    """
    eta = np.asarray(eta, dtype=float)
    j = np.searchsorted(table.eta_edges, eta, side="right") - 1
    outside = ~((eta >= table.eta_edges[0]) & (eta < table.eta_edges[-1]))
    if np.any(outside):
        raise ValueError(
            f"{int(outside.sum())} of {outside.size} muons lie outside the resolution table "
            f"({table.eta_edges[0]:g} <= eta < {table.eta_edges[-1]:g}); select first"
        )
    return curvature_variance(np.asarray(pt, dtype=float), table.a[j], table.b[j], table.c[j], table.d[j])


def derive_resolution(fits: Sequence[MassFits], config: ResolutionConfig | None = None) -> ResolutionTable:
    """Resolution table that explains the mass widths of one or more resonances.

    Solves sigma_m^2/m^2 = sum_i [<w_i^2> a_i + <w_i^2 pT_i^2> c_i + <w_i^2> b_i / (1 + d/<pT_i^2>)] by weighted least
    squares; the variance of a bin is 4 kappa^2 z^2/N with z *predicted* by the table itself, for a fitted width that
    fluctuates low claims a small error.  kappa^2 is the median of N var(ln sigma) over each sample's bins.  Directions
    are taken as exact.  Fits in |eta| are unfolded.  Terms below 0 that make (sigma_k/k)^2 negative in the range of
    momenta used are held at 0 where they are within `MOST_BELOW` errors of it; the covariance stays that without it.

    fits   : mass fits (of data, or of simulation) in the same eta bins
    config : which terms are free

    Raises ValueError for different eta bins or terms without information, NotCertified if (sigma_k/k)^2 is negative
    anywhere in that range otherwise.
    Source: CMS-SMP-23-002, arXiv:2412.13872 for the form; derived in docs/physics/scale.md.
    """
    config = config or ResolutionConfig()
    if not fits:
        raise ValueError("no mass fits given")
    edges, abs_eta = fits[0].histograms.eta_edges, fits[0].histograms.abs_eta
    for part in fits:
        if part.width_parameter != "ln_sigma":
            raise ValueError(
                f"the fits of the model '{part.model}' know the width against simulation only; fit the model 'template'"
            )
    for other in fits[1:]:
        if not same_edges(other.histograms.eta_edges, edges) or other.histograms.abs_eta != abs_eta:
            raise ValueError("the mass fits have different eta bins; fill all with the same eta_edges")
    n_eta = edges.size - 1
    parts = [_equations(part, config) for part in fits]
    z, kappa, x, columns = (np.concatenate([getattr(part, name) for part in parts]) for name in _Equations.ARRAYS)
    free = np.repeat(np.isin(TERMS, config.free), n_eta)
    prior = np.repeat([config.prior.get(name, np.inf) for name in TERMS], n_eta) ** -2.0
    parameters, cov, chi2 = _reweighted(z, kappa, x, columns, free, prior, parameter_names(TERMS, edges))
    low = min(float(part.histograms.pt_edges[0]) for part in fits)
    high = max(float(part.histograms.pt_edges[-1]) for part in fits)
    parameters, more, held = _not_negative(parameters, cov, (low, high), config.d)
    names = [name for name, here in zip(parameter_names(TERMS, edges), held, strict=True) if here]
    if abs_eta:
        edges, parameters, cov = unfold_abs_eta(edges, parameters, cov)
    a, b, c = parameters.reshape(3, -1)
    table = ResolutionTable(
        eta_edges=edges, a=a, b=b, c=c, d=np.full(a.size, config.d), cov=cov, chi2=chi2 + more,
        ndf=z.size + int(np.count_nonzero(prior[free])) - int(free.sum()), pt_range=(low, high),
        provenance=Provenance(
            configuration={
                "free": tuple(config.free), "prior": dict(config.prior), "d": config.d, "min_events": config.min_events,
                "held_at_zero": tuple(names),
            },
            ledgers={f"resolution/{i}": part.ledger for i, part in enumerate(parts)},
        ),
    )  # fmt: skip
    _require_positive(table)
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class _Equations:
    """z (B,) squared width; kappa (B,) relative variance of ln sigma; x, columns (B, 6) of each muon's a, b, c."""

    ARRAYS = ("z", "kappa", "x", "columns")
    z: FloatArray
    kappa: FloatArray
    x: FloatArray
    columns: IntArray
    ledger: Ledger


def _equations(fits: MassFits, config: ResolutionConfig) -> _Equations:
    histograms = fits.histograms
    n = histograms.n_events
    reasons = np.array([Status(int(s)).name.lower() for s in fits.status], dtype="<U32")
    reasons[fits.good] = np.where(n[fits.good] < config.min_events, "too few events", "")
    reasons[fits.good & ~(fits.error("ln_sigma") > 0)] = "width fixed"
    rows = np.flatnonzero(reasons == "")
    ln_sigma = fits.value("ln_sigma")[rows]
    w2, w2_pt2 = histograms.mean("w2")[rows], histograms.mean("w2_pt2")[rows]
    x = np.stack([w2, w2 / (1.0 + config.d * w2 / w2_pt2), w2_pt2], axis=2)
    kappa = np.median(n[rows] * fits.error("ln_sigma")[rows] ** 2) / n[rows] if rows.size else np.zeros(0)
    columns = histograms.index[rows][:, [ETA_PLUS, ETA_MINUS], None] + (histograms.eta_edges.size - 1) * np.arange(3)
    rejected = Counter(str(reason) for reason in reasons[reasons != ""])
    return _Equations(
        z=np.exp(2.0 * ln_sigma), kappa=kappa, x=x.reshape(-1, 6), columns=columns.reshape(-1, 6),
        ledger=Ledger(unit="bins", read=n.size, used=rows.size, rejected=rejected),
    )  # fmt: skip


def _reweighted(
    z: FloatArray, kappa: FloatArray, x: FloatArray, columns: IntArray, free: BoolArray, prior: FloatArray,
    names: list[str],
) -> tuple[FloatArray, FloatArray, float]:  # fmt: skip
    """Least squares whose weights come from its own prediction, until they stand still; prior (P,) inverse squares."""
    labels = [name for name, is_free in zip(names, free, strict=True) if is_free]
    predicted = np.full(z.size, np.median(z) if z.size else 0.0)
    parameters, cov = np.zeros(free.size), np.zeros((free.size, free.size))
    for _ in range(STEPS):
        weight = 1.0 / (4.0 * kappa * predicted**2)
        matrix, moment = normal_equations(x, columns, weight, z, free.size)
        matrix += np.diag(prior)
        solution, inverse = solve_certified(matrix[np.ix_(free, free)], moment[free], labels)
        parameters[free], cov[np.ix_(free, free)] = solution, inverse
        found = (x * parameters[columns]).sum(axis=1)
        if not np.all(found > 0):
            raise NotCertified(
                f"the predicted squared mass width is not positive in {int(np.sum(found <= 0))} of {z.size} bins",
                kind="scale.negative_width",
                do="free fewer of a, b, c, or use wider bins",
            )
        change, predicted = np.max(np.abs(found / predicted - 1.0)), found
        if change < TOLERANCE:
            pulls = (z - predicted) ** 2 / (4.0 * kappa * predicted**2)
            return parameters, cov, float(np.sum(pulls) + np.sum(prior * parameters**2))
    raise NotCertified(
        f"the resolution fit still moves by {change:.1g} after {STEPS} steps, allowed {TOLERANCE:g}",
        kind="scale.not_converged",
        do="look at the widths of the mass fits",
    )


def _not_negative(
    parameters: FloatArray, cov: FloatArray, pt_range: tuple[float, float], d: float
) -> tuple[FloatArray, float, BoolArray]:
    """Parameters (P,), what chi2 grows by, and the terms (P,) that are held at 0 for the square's sake.

    The rest follows as it does in a fit with these at 0, x - C_.H C_HH^-1 x_H.
    """
    pt = np.linspace(*pt_range, MOMENTA)[:, None]
    held, found, more = np.zeros(parameters.size, dtype=bool), parameters, 0.0
    while True:
        a, b, c = found.reshape(3, -1)
        negative = np.any(curvature_variance(pt, a, b, c, d) < 0.0, axis=0)
        new = np.tile(negative, 3) & (found < 0.0) & ~held
        if not new.any():
            return found, more, held
        held |= new
        lift = np.linalg.solve(cov[np.ix_(held, held)], parameters[held])
        more = float(parameters[held] @ lift)
        if more > MOST_BELOW**2 * held.sum():
            return parameters, 0.0, np.zeros_like(held)
        found = parameters - cov[:, held] @ lift
        found[held] = 0.0


def _require_positive(table: ResolutionTable) -> None:
    """Raises NotCertified where (sigma_k/k)^2 < 0 at a momentum of the range used."""
    pt, eta = np.meshgrid(np.linspace(*table.pt_range, MOMENTA), table.eta_edges[:-1])
    variance = relative_variance(table, pt, eta)
    if not np.all(variance >= 0):
        i, j = np.unravel_index(int(np.argmin(variance)), variance.shape)
        raise NotCertified(
            f"(sigma_k/k)^2 = {variance[i, j]:.3g} at pT = {pt[i, j]:.3g} GeV in the bin from eta = {eta[i, j]:g}; "
            "a square is not negative",
            kind="scale.negative_resolution",
            do="free fewer of a, b, c, or use wider bins",
        )
