"""The hadronic recoil, calibrated in Z -> mu mu and applied to W: response, resolution, quantile morphing.

What is compared.  u is the transverse momentum of all but the muons; in a Z event q is that of the pair.  u_par =
-u.q/|q| balances the boson, so that u_par/|q| is the response, and u_perp is the component at a right angle to q,
counter-clockwise.  In bins of |q| the quantiles of r = u_par - |q| and of u_perp of simulation are mapped on those of
data, r' = Q_data(F_simulation(r)): every moment of the distribution follows, not only mean and width.

Conventions.  GeV.  Quantile functions are linear between K probabilities and between mean |q| of neighbouring bins;
beyond the outermost quantile the shift of that quantile holds, beyond the outermost bin the map of that bin.  A
nuisance at +1 moves the quantiles of *data* by an eigenvector of the covariance of their difference.

For a W, q is the generated transverse momentum of the boson; mT follows from u and the muon.  Derived in
docs/physics/recoil.md.  Vectors, and any missing momentum as a recoil: `recoil_vectors`.
"""

from dataclasses import dataclass, fields, replace
from typing import Final, NamedTuple

import numpy as np
from scipy.special import ndtr

from mucal.arrays import FloatArray, IntArray, check_edges, check_shapes
from mucal.errors import ConfigError, InputError
from mucal.store import Result

COMPONENTS: Final = ("par", "perp")
CHUNK: Final = 100_000
DEFAULT_PT: Final = (0.0, 3.0, 6.0, 9.0, 12.0, 16.0, 20.0, 25.0, 30.0, 37.0, 45.0, 60.0, 80.0, 120.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoilSample:
    """N events: the boson's transverse momentum, the recoil along and across it (GeV), and weights.

    pt, u_par, u_perp, weight : (N,)
    """

    pt: FloatArray
    u_par: FloatArray
    u_perp: FloatArray
    weight: FloatArray

    def __post_init__(self) -> None:
        check_shapes(self, **{f.name: (self.pt.size,) for f in fields(self)})

    def without(self, background: "RecoilSample") -> "RecoilSample":
        """The sample with a background subtracted: its events with the opposite weight."""
        opposite = replace(background, weight=-background.weight)
        return RecoilSample(
            **{f.name: np.concatenate([getattr(s, f.name) for s in (self, opposite)]) for f in fields(self)}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoilConfig:
    """Bins and quantiles of the calibration.

    pt_edges    : GeV, of the boson
    n_quantiles : K, spaced evenly in standard deviations of a Gaussian
    reach       : standard deviations of the outermost ones
    min_events  : least effective events of a bin, in data and in simulation
    n_kept      : eigenvariations kept for each component and bin
    """

    pt_edges: tuple[float, ...] = DEFAULT_PT
    n_quantiles: int = 41
    reach: float = 2.5
    min_events: float = 500.0
    n_kept: int = 6

    def __post_init__(self) -> None:
        check_edges("pt_edges", self.pt_edges)
        if not (3 <= self.n_quantiles <= 401 and 0 < self.reach <= 4 and 1 <= self.n_kept <= self.n_quantiles):
            raise ConfigError(
                f"recoil: {self.n_quantiles} quantiles to {self.reach} sigma, {self.n_kept} kept; expected 3 to 401, "
                "up to 4, and 1 up to all",
                kind="config.recoil",
            )


class Place(NamedTuple):
    """N values among quantiles: between two bins of pT, and between two quantiles.

    low, high       : (N,) the bins
    far             : (N,) 0 at the lower one, 1 at the higher one
    quantile, above : (N,) the quantile below, and the share of the way to the next
    """

    low: IntArray
    high: IntArray
    far: FloatArray
    quantile: IntArray
    above: FloatArray

    def select(self, keep: IntArray) -> "Place":
        """Of the events chosen by indices."""
        return Place(self.low[keep], self.high[keep], self.far[keep], self.quantile[keep], self.above[keep])

    def of(self, table: FloatArray) -> FloatArray:
        """(N, ...) a table (B, K, ...) there, linear in both."""
        more = (1,) * (table.ndim - 2)
        far, above = self.far.reshape(-1, *more), self.above.reshape(-1, *more)

        def along(bins: IntArray) -> FloatArray:
            result: FloatArray = (1.0 - above) * table[bins, self.quantile] + above * table[bins, self.quantile + 1]
            return result

        return (1.0 - far) * along(self.low) + far * along(self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoilCalibration(Result):
    """Quantiles of data and simulation in B bins of the boson's pT; components par (less pT), perp.

    pt_edges      : (B+1,) GeV
    pt_mean       : (B,) GeV
    probabilities : (K,)
    data, mc      : (2, B, K) GeV     quantiles
    cov           : (2, B, K, K)      of data - mc; bins are independent
    response, response_error     : (2, B)     mean u_par over mean pT; data, simulation
    resolution, resolution_error : (2, 2, B) GeV   standard deviation by (data, simulation), component
    n_kept        : eigenvariations of each component and bin
    """

    pt_edges: FloatArray
    pt_mean: FloatArray
    probabilities: FloatArray
    data: FloatArray
    mc: FloatArray
    cov: FloatArray
    response: FloatArray
    response_error: FloatArray
    resolution: FloatArray
    resolution_error: FloatArray
    n_kept: int

    def __post_init__(self) -> None:
        b, k = self.pt_edges.size - 1, self.probabilities.size
        check_shapes(self, pt_mean=(b,), data=(2, b, k), mc=(2, b, k), cov=(2, b, k, k), response=(2, b))
        check_shapes(self, response_error=(2, b), resolution=(2, 2, b), resolution_error=(2, 2, b))

    def nuisances(self) -> tuple[str, ...]:
        """Names of the eigenvariations, recoil_{par|perp}_pt{bin}_{k}."""
        b = self.pt_edges.size - 1
        return tuple(f"recoil_{c}_pt{i}_{k}" for c in COMPONENTS for i in range(b) for k in range(self.n_kept))

    def shifts(self) -> FloatArray:
        """(S, 2, B, K) GeV: what each nuisance at +1 adds to the quantiles of data; largest component positive."""
        values, vectors = np.linalg.eigh(self.cov)
        largest = np.swapaxes((np.sqrt(np.maximum(values, 0.0))[..., None, :] * vectors)[..., ::-1], -1, -2)
        kept = largest[..., : self.n_kept, :]
        signs = np.take_along_axis(kept, np.abs(kept).argmax(axis=-1)[..., None], axis=-1)
        kept = kept * np.where(signs < 0, -1.0, 1.0)
        result = np.zeros((kept[..., 0].size, *self.data.shape))
        for s, (c, i, k) in enumerate(np.ndindex(*kept.shape[:3])):
            result[s, c, i] = kept[c, i, k]
        return result

    def kept_share(self) -> FloatArray:
        """(2, B) share of the summed variance that the kept eigenvariations carry."""
        values = np.linalg.eigvalsh(self.cov)[..., ::-1]
        result: FloatArray = values[..., : self.n_kept].sum(axis=-1) / values.sum(axis=-1)
        return result

    def correct(
        self, pt: FloatArray, u_par: FloatArray, u_perp: FloatArray, *, shift: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """(N,) u_par and u_perp (GeV) of simulation, mapped on what data would show.

        pt    : (N,) GeV of the boson
        shift : (2, B, K) added to the quantiles of data, as one of `shifts`

        Raises ValueError for values that are not finite.
        """
        pt, u_par, u_perp = (np.asarray(x, dtype=float) for x in (pt, u_par, u_perp))
        if not (np.isfinite(pt).all() and np.isfinite(u_par).all() and np.isfinite(u_perp).all()):
            raise ValueError("recoil.correct: pT or recoil holds values that are not finite; select first")
        data = self.data if shift is None else self.data + shift
        par, perp = np.empty(pt.size), np.empty(pt.size)
        for begin in range(0, pt.size, CHUNK):
            part = slice(begin, begin + CHUNK)
            par[part] = pt[part] + self._morph(0, pt[part], u_par[part] - pt[part], data)
            perp[part] = self._morph(1, pt[part], u_perp[part], data)
        return par, perp

    def _morph(self, component: int, pt: FloatArray, values: FloatArray, data: FloatArray) -> FloatArray:
        """(N,) values carried from the quantiles of simulation at each pT to those of data."""
        at = self.place(component, pt, values)
        ends = self.mc[component][:, [0, -1]]
        far = at.far[:, None]
        low, high = ((1.0 - far) * ends[at.low] + far * ends[at.high]).T
        inside = np.clip(values, low, high)
        result: FloatArray = at.of(data[component]) + (values - inside)
        return result

    def place(self, component: int, pt: FloatArray, values: FloatArray) -> "Place":
        """Where values of simulation, at each pT, stand among its quantiles."""
        i, j, t = self.between(pt)
        source = (1.0 - t[:, None]) * self.mc[component, i] + t[:, None] * self.mc[component, j]
        k = np.clip((source < values[:, None]).sum(axis=1) - 1, 0, source.shape[1] - 2)
        rows = np.arange(values.size)
        low, high = source[rows, k], source[rows, k + 1]
        s = np.clip((values - low) / np.where(high > low, high - low, 1.0), 0.0, 1.0)
        return Place(low=i, high=j, far=t, quantile=k, above=s)

    def between(self, pt: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
        """(N,) the bins below and above each pT, and the share of the way between their means."""
        i = np.clip(np.searchsorted(self.pt_mean, pt) - 1, 0, max(self.pt_mean.size - 2, 0))
        j = np.minimum(i + 1, self.pt_mean.size - 1)
        gap = np.where(j > i, self.pt_mean[j] - self.pt_mean[i], 1.0)
        return i, j, np.clip((pt - self.pt_mean[i]) / gap, 0.0, 1.0)

    def summary(self) -> list[str]:
        """Lines for people."""
        change = (self.response[0] / self.response[1] - 1.0)[1:]
        return [
            f"recoil: {self.pt_mean.size} bins of pT, {len(self.nuisances())} nuisances; response of data over "
            f"simulation {1 + change.mean():.3f}, resolution {(self.resolution[0] / self.resolution[1]).mean():.3f}"
        ]


def calibrate(data: RecoilSample, mc: RecoilSample, config: RecoilConfig) -> RecoilCalibration:
    """Quantiles of both samples with their covariance.

    Raises InputError that names the bin if it holds too few events, or for values that are not finite.
    """
    edges = np.array(config.pt_edges, dtype=float)
    probabilities = ndtr(np.linspace(-config.reach, config.reach, config.n_quantiles))
    found = [_quantiles(sample, name, edges, probabilities, config) for name, sample in (("data", data), ("mc", mc))]
    (pt_data, q_data, cov_data, *moments_data), (pt_mc, q_mc, cov_mc, *moments_mc) = found
    del pt_mc
    response, response_error, resolution, resolution_error = (
        np.stack(pair) for pair in zip(moments_data, moments_mc, strict=True)
    )
    return RecoilCalibration(
        pt_edges=edges, pt_mean=pt_data, probabilities=probabilities, data=q_data, mc=q_mc, cov=cov_data + cov_mc,
        response=response, response_error=response_error, resolution=resolution, resolution_error=resolution_error,
        n_kept=config.n_kept,
    )  # fmt: skip


def _quantiles(
    sample: RecoilSample, name: str, edges: FloatArray, probabilities: FloatArray, config: RecoilConfig
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Mean pT, quantiles, their covariance, response and resolution with errors, in every bin."""
    for f in fields(sample):
        wrong = ~np.isfinite(getattr(sample, f.name))
        if wrong.any():
            raise InputError(
                f"{int(wrong.sum())} of {wrong.size} values of {f.name} are not finite, "
                f"first at {int(np.argmax(wrong))}",
                kind="recoil.not_finite",
                where={"sample": name},
            )
    b, k = edges.size - 1, probabilities.size
    pt_mean, response, response_error = np.zeros(b), np.zeros(b), np.zeros(b)
    quantiles, cov = np.zeros((2, b, k)), np.zeros((2, b, k, k))
    resolution, resolution_error = np.zeros((2, b)), np.zeros((2, b))
    index = np.searchsorted(edges, sample.pt, side="right") - 1
    for i in range(b):
        own = index == i
        weight = sample.weight[own]
        n_effective = weight.sum() ** 2 / (weight**2).sum() if own.any() else 0.0
        if n_effective < config.min_events:
            raise InputError(
                f"{n_effective:.0f} effective events where {config.min_events:g} are needed",
                kind="recoil.too_few_events",
                where={"sample": name, "bin": f"pT {edges[i]:g} to {edges[i + 1]:g} GeV"},
                do="merge bins of recoil.pt_edges",
            )
        pt = sample.pt[own]
        pt_mean[i] = np.average(pt, weights=weight)
        for c, values in enumerate((sample.u_par[own] - pt, sample.u_perp[own])):
            quantiles[c, i] = _weighted_quantiles(values, weight, probabilities)
            cov[c, i] = _covariance(quantiles[c, i], probabilities, n_effective)
            mean = np.average(values, weights=weight)
            resolution[c, i] = np.sqrt(np.average((values - mean) ** 2, weights=weight))
            kurtosis = np.average((values - mean) ** 4, weights=weight) / resolution[c, i] ** 4
            resolution_error[c, i] = resolution[c, i] * np.sqrt((kurtosis - 1.0) / (4.0 * n_effective))
        response[i] = np.average(sample.u_par[own], weights=weight) / pt_mean[i]
        response_error[i] = resolution[0, i] / np.sqrt(n_effective) / pt_mean[i]
    return pt_mean, quantiles, cov, response, response_error, resolution, resolution_error


def _weighted_quantiles(values: FloatArray, weight: FloatArray, probabilities: FloatArray) -> FloatArray:
    """Values below which the probabilities lie, each event in the middle of its own weight.

    Where negative weights make the cumulative sum fall, its running maximum counts.
    """
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weight[order]) - 0.5 * weight[order]
    if np.any(weight < 0):
        below = np.maximum.accumulate(below)
    found: FloatArray = np.interp(probabilities, below / weight.sum(), values[order])
    return found


def _covariance(q: FloatArray, p: FloatArray, n: float) -> FloatArray:
    """(K, K) of sample quantiles, p_i (1 - p_j) / (n f_i f_j) for i <= j; densities from differences of the quantiles.

    Source: H. A. David and H. N. Nagaraja, Order Statistics, 3rd ed. (2003), section 10.2.
    """
    density = np.gradient(p, q)
    smaller, larger = np.minimum.outer(p, p), np.maximum.outer(p, p)
    result: FloatArray = smaller * (1.0 - larger) / (n * np.outer(density, density))
    return result
