"""A, e and M from the mass scales of many bins."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray, check_shapes, same_edges
from mucal.errors import NotCertified
from mucal.ledger import Ledger
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, MassHistograms
from mucal.massfit.fits import MassFits
from mucal.scale.least_squares import normal_equations, parameter_names, solve_certified, unfold_abs_eta
from mucal.scale.system import NAMES, TOO_LARGE, ScaleSystem, build_system, scale_variance
from mucal.scale.table import ScaleTable
from mucal.store import Provenance, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleConfig:
    """How the table is derived.

    free          : which of "A", "e", "M" are solved for; the others are 0
    prior         : name -> width of a Gaussian prior about 0 (-, GeV, 1/GeV); names left out have none
    min_events    : data events below which a bin is left out (and counted)
    smooth_errors : predict each bin's error from its neighbours; False weights bins by their own fitted errors,
                    which biases the scale by -2 rho sigma_s sigma_lnsigma (docs/physics/scale.md)
    max_lost      : largest fraction of events that may sit in bins whose fit failed
    lost_rows     : whether all muons of one charge in one bin of eta may sit in bins that give no equation, for want of
                    events or of a good fit: A, e and M there are then known from the other charge or a prior alone
    tolerance     : on the estimated distance to the minimum of chi2
    max_steps     : Gauss-Newton steps
    """

    free: tuple[str, ...] = NAMES
    prior: Mapping[str, float] = field(default_factory=dict)
    min_events: float = 0.0
    smooth_errors: bool = True
    max_lost: float = 0.02
    lost_rows: bool = False
    tolerance: float = 1e-9
    max_steps: int = 10

    def __post_init__(self) -> None:
        for name in (*self.free, *self.prior):
            if name not in NAMES:
                raise ValueError(f"no scale parameter '{name}'; they are {', '.join(NAMES)}")
        if not self.free or len(set(self.free)) != len(self.free):
            raise ValueError(f"free = {self.free}; expected one or more of {', '.join(NAMES)}, each once")
        for name, width in self.prior.items():
            if not 0 < width < np.inf:
                raise ValueError(f"the prior of {name} has width {width}, expected a positive number")
        if not 0 <= self.max_lost < 1:
            raise ValueError(f"max_lost = {self.max_lost}, expected a fraction, at least 0 and below 1")
        if not 0 <= self.min_events < np.inf:
            raise ValueError(f"min_events = {self.min_events}, expected a number of events")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance = {self.tolerance}, expected a number between 0 and 1")
        if self.max_steps < 1:
            raise ValueError(f"max_steps = {self.max_steps}, expected at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleResiduals(Result):
    """What the table leaves of each equation.

    index      : (B, 4)  kinematic bin: eta+, pT+, eta-, pT-
    y          : (B,)    ln s^2, less that of simulation if there was one
    prediction : (B,)    of the table
    variance   : (B,)    of y
    simulated  : (B,)    the part of it that comes from the fits of simulation; None where it is not known, as where
                         simulated spectra are the signal of the fits
    """

    index: IntArray
    y: FloatArray
    prediction: FloatArray
    variance: FloatArray
    simulated: FloatArray | None = None

    def __post_init__(self) -> None:
        b = self.index.shape[0]
        check_shapes(self, index=(b, 4), y=(b,), prediction=(b,), variance=(b,))
        if self.simulated is not None:
            check_shapes(self, simulated=(b,))

    @property
    def pull(self) -> FloatArray:
        """(B,) residual over the error of y; slightly narrower than N(0,1), for the table was fitted to y"""
        result: FloatArray = (self.y - self.prediction) / np.sqrt(self.variance)
        return result

    @property
    def simulated_share(self) -> float:
        """Median over the bins of the part of the variance that comes from simulation; NaN where it is not known."""
        if self.simulated is None or self.simulated.size == 0:
            return float("nan")
        return float(np.median(self.simulated / self.variance))


def derive(data: MassFits, simulation: MassFits | None = None, config: ScaleConfig | None = None) -> ScaleTable:
    """Scale table that explains the mass shifts of data against simulation (or against the reference mass).

    Minimises chi2 = sum_b [y_b - sum_i <2 w_i> ln(1 + A_i - e_i <k_i> + q_i M_i <pT_i>)]^2 / V_b + priors by
    Gauss-Newton steps, y_b = ln s_b^2 (data) - ln s_b^2 (simulation); averages are over the data events of the bin.
    Fits in |eta| are unfolded into a table in eta: A, e and M are then equal at +eta and -eta, and fully correlated.

    data       : mass fits of the data
    simulation : mass fits of simulation in the same kinematic bins; its finite sample enters the errors
    config     : what is free, priors, errors

    Raises ValueError for samples that do not belong together or a parameter without information (named, with its
    bin), NotCertified if too many events sit in failed fits, if all those of one charge in one bin of eta do, or if the
    steps do not converge.
    Source: CMS-SMP-23-002, arXiv:2412.13872; derived in docs/physics/scale.md.
    """
    config = config or ScaleConfig()
    system, ledger, lost = _system(data, simulation, config)
    if lost > config.max_lost:
        raise NotCertified(
            f"{lost:.1%} of the events sit in mass fits that failed, allowed are {config.max_lost:.1%}",
            kind="scale.lost_events",
            where={"bins": _counted(ledger)},
            do="mend the fits, or widen the bins",
        )
    edges, n_eta = data.histograms.eta_edges, system.n_eta
    free = np.repeat(np.isin(NAMES, config.free), n_eta)
    weight = np.repeat([config.prior.get(name, np.inf) for name in NAMES], n_eta) ** -2.0
    parameters, cov, chi2 = _solve(system, free, weight, parameter_names(NAMES, edges), config)
    rows = _lost_rows(data.histograms, system.rows)
    if rows and not config.lost_rows:
        raise NotCertified(
            f"{len(rows)} rows of (eta, charge) have events but no good mass fit",
            kind="scale.lost_row",
            where={"rows": ", ".join(rows), "bins": _counted(ledger)},
            do="mend the fits, widen the bins, or leave the rows out of eta_edges; scale.lost_rows = true if the other "
            "charge or a prior is to stand in",
        )
    n_prior = int(np.count_nonzero(weight[free]))
    if data.histograms.abs_eta:
        edges, parameters, cov = unfold_abs_eta(edges, parameters, cov)
    A, e, M = parameters.reshape(3, -1)
    return ScaleTable(
        eta_edges=edges, A=A, e=e, M=M, cov=cov, chi2=chi2,
        ndf=system.y.size + n_prior - int(free.sum()),
        pt_range=(float(data.histograms.pt_edges[0]), float(data.histograms.pt_edges[-1])),
        resonance=data.resonance,
        provenance=Provenance(
            configuration={
                "free": tuple(config.free), "prior": dict(config.prior), "min_events": config.min_events,
                "smooth_errors": config.smooth_errors, "max_lost": config.max_lost, "lost_rows": config.lost_rows,
                "abs_eta": bool(data.histograms.abs_eta), "simulation": simulation is not None,
            },
            ledgers={"scale": ledger},
        ),
    )  # fmt: skip


def residuals(
    table: ScaleTable, data: MassFits, simulation: MassFits | None = None, config: ScaleConfig | None = None
) -> ScaleResiduals:
    """Residual of every equation of `derive` with the parameters of `table`.

    table                    : in the eta bins of the fits, as `derive` returns it
    data, simulation, config : as for `derive`

    Raises ValueError for a table in other eta bins.
    """
    edges = data.histograms.eta_edges
    if data.histograms.abs_eta:
        edges = np.concatenate([-edges[:0:-1], edges])
    if not same_edges(table.eta_edges, edges):
        raise ValueError(
            f"the table has the eta edges {table.eta_edges.tolist()}, the fits have {edges.tolist()}; "
            "give the table that was derived from these fits"
        )
    config = config or ScaleConfig()
    system, _, _ = _system(data, simulation, config)
    parameters = table.parameters.reshape(3, -1)
    if data.histograms.abs_eta:
        parameters = parameters[:, system.n_eta :]
    prediction, _ = system.predict(parameters.ravel())
    simulated = None
    if data.model != "morphing":  # whose covariance holds both
        simulated = system.variance - 4.0 * scale_variance(data, system.rows, config.smooth_errors)
    return ScaleResiduals(
        index=data.histograms.index[system.rows], y=system.y, prediction=prediction, variance=system.variance,
        simulated=simulated,
    )  # fmt: skip


def _counted(ledger: Ledger) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in ledger.rejected.items())


def _lost_rows(histograms: MassHistograms, used: IntArray) -> list[str]:
    """The (eta, charge) rows with events in data but none in the bins that are used, as words.

    used : (B,)  rows of the histograms
    """
    edges, events = histograms.eta_edges, histograms.n_events
    name, found = "|eta|" if histograms.abs_eta else "eta", []
    for muon, axis in (("mu+", ETA_PLUS), ("mu-", ETA_MINUS)):
        bins = histograms.index[:, axis]
        there = np.bincount(bins, weights=events, minlength=edges.size - 1)
        left = np.bincount(bins[used], weights=events[used], minlength=edges.size - 1)
        found += [
            f"{muon} in {name} [{edges[i]:g}, {edges[i + 1]:g}) of {there[i]:.0f} events"
            for i in np.flatnonzero((there > 0) & (left == 0))
        ]
    return found


def _system(data: MassFits, simulation: MassFits | None, config: ScaleConfig) -> tuple[ScaleSystem, Ledger, float]:
    if simulation is not None and simulation.resonance != data.resonance:
        raise ValueError(f"data are fits of '{data.resonance}', simulation of '{simulation.resonance}'")
    return build_system(data, simulation, min_events=config.min_events, smoothed=config.smooth_errors)


def _solve(
    system: ScaleSystem, free: BoolArray, prior: FloatArray, names: list[str], config: ScaleConfig
) -> tuple[FloatArray, FloatArray, float]:
    """Parameters (3E,), covariance (3E, 3E) and chi2 at the minimum."""
    parameters, cov = np.zeros(free.size), np.zeros((free.size, free.size))
    labels = [name for name, is_free in zip(names, free, strict=True) if is_free]
    columns = system.columns.reshape(-1, 6)
    edm = np.inf
    for _ in range(config.max_steps):
        prediction, derivative = system.predict(parameters)
        residual = system.y - prediction
        matrix, moment = normal_equations(
            derivative.reshape(-1, 6), columns, 1.0 / system.variance, residual, free.size
        )
        matrix += np.diag(prior)
        moment -= prior * parameters
        step, inverse = solve_certified(matrix[np.ix_(free, free)], moment[free], labels)
        edm = 0.5 * float(moment[free] @ step)
        if edm < config.tolerance:
            cov[np.ix_(free, free)] = inverse
            return parameters, cov, float(np.sum(residual**2 / system.variance) + np.sum(prior * parameters**2))
        parameters[free] += step
    raise NotCertified(
        f"the scale fit has an estimated distance {edm:.2g} to its minimum after {config.max_steps} steps, "
        f"required {config.tolerance:.2g}",
        kind="scale.not_converged",
        do=TOO_LARGE,
    )
