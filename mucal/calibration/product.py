"""The calibration itself: what it holds and how it is applied."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from mucal.arrays import FloatArray, check_shapes, same_edges
from mucal.calibration.application import extra_variance, momenta, pixel_weights, smeared
from mucal.calibration.columns import flatten, local_index
from mucal.calibration.covariance import check_names, parameter_names
from mucal.calibration.muons import Muons, prepare
from mucal.calibration.validity import Outside, Validity
from mucal.errors import nearest
from mucal.ledger import Ledger
from mucal.scale.closure import Closure
from mucal.scale.pixels import PixelMultiplicity
from mucal.scale.table import ResolutionTable, ScaleTable
from mucal.store import Result

Sample = Literal["data", "mc"]
KINDS: Final = ("scale", "resolution", "pixel")
VARIES: Final = {
    "scale": "varies the scale; use vary",
    "resolution": "varies the resolution; use vary_smearing on simulation",
    "pixel": "varies the weight by pixel hits; use vary_pixel_weight on simulation",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration(Result):
    """Momentum scale and resolution with named nuisances: S vary the scale, R the resolution, H the pixel hits.

    scale                 : A, e, M in B bins of eta
    resolution_data, _mc  : a, b, c, d of data and of simulation in the same eta bins, if known
    pixels                : muons with and without pixel hits, if known
    closure               : residual of the Z after the correction, whose errors are nuisances, if known
    parameter_names       : (3B)          order of the covariance of `scale`, as "A_00" … "M_47"
    names                 : (S+R+H)       unique, as "jpsi_stat_000"; scale, then resolution, then pixel nuisances
    groups, kinds, sources: (S+R+H)       group of each; "scale", "resolution" or "pixel"; what it stands for
    scale_variations      : (S, 3, B)     +1 standard deviation of A, e, M; factors included
    resolution_variations : (R, 3, B')    +1 standard deviation of a, b, c of data; factors included
    pixel_variations      : (H, B'')      +1 standard deviation of the exponent of the pixel weight in each eta bin
    pixels_in_nominal     : whether the nominal exponent is 1 (the weight is applied) or 0
    factors               : group -> factor by which the fitted standard deviations were multiplied
    resonance             : whose mass sets the scale
    reference_mass, _error: GeV
    pdg_edition           : year of the Review of Particle Physics they are from; 0 if configured otherwise
    pt_range              : GeV, where it may be applied: lower <= pt < upper
    eta_range             : likewise
    pt_definition         : which momenta it corrects, as "refit" or "nanoaod"
    era, description      : free text
    """

    scale: ScaleTable
    resolution_data: ResolutionTable | None = None
    resolution_mc: ResolutionTable | None = None
    pixels: PixelMultiplicity | None = None
    closure: Closure | None = None
    parameter_names: tuple[str, ...]
    names: tuple[str, ...]
    groups: tuple[str, ...]
    kinds: tuple[str, ...]
    sources: tuple[str, ...]
    scale_variations: FloatArray
    resolution_variations: FloatArray
    pixel_variations: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    pixels_in_nominal: bool = False
    factors: Mapping[str, float] = field(default_factory=dict)
    resonance: str
    reference_mass: float
    reference_mass_error: float
    pdg_edition: int
    pt_range: tuple[float, float]
    eta_range: tuple[float, float]
    pt_definition: str
    era: str = ""
    description: str = ""

    def __post_init__(self) -> None:
        s, r, h = (self.kinds.count(kind) for kind in KINDS)
        n_resolution = 0 if self.resolution_data is None else self.resolution_data.n_bins
        n_pixel = 0 if self.pixels is None else self.pixels.n_bins
        check_shapes(self, names=(s + r + h,), groups=(s + r + h,), sources=(s + r + h,))
        check_shapes(self, scale_variations=(s, 3, self.scale.n_bins), resolution_variations=(r, 3, n_resolution))
        check_shapes(self, pixel_variations=(h, n_pixel))
        if self.kinds != ("scale",) * s + ("resolution",) * r + ("pixel",) * h:
            raise ValueError("Calibration.kinds must list 'scale' first, then 'resolution', then 'pixel', nothing else")
        if len(set(self.names)) != len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ValueError(f"nuisance '{twice}' is defined {self.names.count(twice)} times")
        check_names(self.parameter_names, parameter_names(self.scale.n_bins), dataset="ScaleTable.cov")
        _check_cover("ScaleTable", self.scale.eta_edges, self.eta_range)
        for name, table in (
            ("resolution_data", self.resolution_data), ("resolution_mc", self.resolution_mc), ("pixels", self.pixels),
        ):  # fmt: skip
            if table is not None:
                _check_cover(name, table.eta_edges, self.eta_range)
        if self.resolution_mc is not None and (
            self.resolution_data is None or not same_edges(self.resolution_data.eta_edges, self.resolution_mc.eta_edges)
        ):
            raise ValueError("the resolutions of data and simulation must be given in the same eta bins")

    def summary(self) -> list[str]:
        """What set the scale, where it may be applied, and how many nuisances it has."""
        groups = {group: self.groups.count(group) for group in dict.fromkeys(self.groups)}
        return [
            f"scale from {self.resonance}, {1e3 * self.reference_mass:.3f} +- {1e3 * self.reference_mass_error:.3f} "
            f"MeV (PDG {self.pdg_edition}), for {self.pt_definition} momenta",
            f"valid for {self.pt_range[0]:g} <= pt < {self.pt_range[1]:g} GeV, {self.eta_range[0]:g} <= eta < "
            f"{self.eta_range[1]:g}",
            f"nuisances: {', '.join(f'{n} {group}' for group, n in groups.items())}",
        ]

    # -------------------------------------------------------------------------------------------- applying

    def correct(
        self, pt: Any, eta: Any, phi: Any, charge: Any, sample: Sample = "data", *, outside: Outside = "raise"
    ) -> Any:
        """Transverse momentum with the momentum-scale correction applied.

        Data: pT' = pT / (1 + A - e/pT + q M pT).  Simulation is the reference of the scale: its pT comes back as it is
        (it is smeared instead, see `smear`).

        pt      : any shape, GeV   reconstructed, of the kind `pt_definition`
        eta     :                  reconstructed
        phi     :         rad
        charge  :                  +1 or -1
        sample  : "data" or "mc"
        outside : "raise", or "nan" to get NaN for muons outside the validity range or of a turned curvature

        The columns may be numpy, awkward or pandas; the result is of the same kind and in GeV, always float64.
        Raises ValueError, with counts by reason, for muons outside the validity range, and for one whose curvature
        the parameters would turn, 1 + A - e/pT + q M pT <= 0.
        Source: arXiv:2412.13872; derived in docs/physics/calibration.md.
        """
        columns = {"pt": pt, "eta": eta, "phi": phi, "charge": charge}
        return momenta(columns, self.scale.eta_edges, (self.nominal(sample),), self.validity, outside)[0]

    def vary(
        self,
        pt: Any,
        eta: Any,
        phi: Any,
        charge: Any,
        nuisance: str,
        sample: Sample = "data",
        *,
        outside: Outside = "raise",
    ) -> tuple[Any, Any]:
        """Transverse momentum with one scale nuisance shifted by +1 and by -1 standard deviation.

        Data: the correction with parameters (A, e, M) +- v.  Simulation: k -> k (1 +- (dA - de k)) +- q dM with
        (dA, de, dM) = v, nothing else.  Vary data or simulation, not both: it is one uncertainty.

        nuisance : name of a nuisance of kind "scale"; the resolution ones are for `vary_smearing`

        The other arguments and what is raised are those of `correct`.  Returns (up, down).
        """
        shift = self._variation_of(nuisance, "scale")
        nominal = self.nominal(sample)
        columns = {"pt": pt, "eta": eta, "phi": phi, "charge": charge}
        parameters = (nominal + shift, nominal - shift)
        up, down = momenta(columns, self.scale.eta_edges, parameters, self.validity, outside)
        return up, down

    def smear(
        self,
        pt: Any,
        eta: Any,
        phi: Any,
        run: Any,
        lumi: Any,
        event: Any,
        *,
        muon: Any = None,
        outside: Outside = "raise",
    ) -> Any:
        """Transverse momentum of simulated muons with the resolution of data.

        k -> k (1 + z sqrt(max(0, sigma2_data - sigma2_mc))), z standard normal and a function of (run, lumi, event,
        muon) alone: any order, chunk or thread gives the same momentum, and two muons of one event are independent.
        Where simulation is worse than data nothing is done (`unsmeared` counts such muons).

        pt, eta, phi     : as for `correct`, simulation only
        run, lumi, event : integers, per muon or per event
        muon             : number of the muon in its event; for a jagged or two-dimensional `pt` its position there
        outside          : as for `correct`

        Returns the momenta in the container of `pt`.  Raises ValueError as `correct` does, or if the calibration holds
        no resolution of both data and simulation.
        """
        resolutions = self._resolutions()
        muons = self._smearable(pt, eta, phi, (run, lumi, event), muon, outside)
        return muons.finish(smeared(muons, *resolutions, 0.0))

    def vary_smearing(
        self,
        pt: Any,
        eta: Any,
        phi: Any,
        run: Any,
        lumi: Any,
        event: Any,
        nuisance: str,
        *,
        muon: Any = None,
        outside: Outside = "raise",
    ) -> tuple[Any, Any]:
        """Smeared momenta with one resolution nuisance shifted by +1 and by -1; random numbers are those of `smear`.

        nuisance : name of a nuisance of kind "resolution"; it shifts a, b, c of data

        The other arguments and what is raised are those of `smear`.  Returns (up, down).
        """
        shift = self._variation_of(nuisance, "resolution")
        resolutions = self._resolutions()
        muons = self._smearable(pt, eta, phi, (run, lumi, event), muon, outside)
        up, down = (muons.finish(smeared(muons, *resolutions, sign * shift)) for sign in (1.0, -1.0))
        return up, down

    def pixel_weight(self, eta: Any, charge: Any, triggered: Any, n_pixel: Any, *, outside: Outside = "raise") -> Any:
        """Weight of simulated muons that brings the share without pixel hits to that of data; 1 unless it is nominal.

        eta       : as reconstructed
        charge    : +1 or -1
        triggered : whether the muon fired the trigger
        n_pixel   : valid pixel hits of the muon
        outside   : as for `correct`

        Returns weights in the container of `eta`.  Raises ValueError as `correct` does, or if the calibration does not
        know the pixel hits.
        """
        columns = {"eta": eta, "charge": charge, "triggered": triggered, "n_pixel": n_pixel}
        exponents = (float(self.pixels_in_nominal),)
        return pixel_weights(columns, self._pixels(), exponents, self.validity, outside)[0]

    def vary_pixel_weight(
        self, eta: Any, charge: Any, triggered: Any, n_pixel: Any, nuisance: str, *, outside: Outside = "raise"
    ) -> tuple[Any, Any]:
        """The weight of `pixel_weight` with one pixel nuisance shifted by +1 and by -1: (up, down).

        The exponent of the whole correction changes by 1 in the bins of the nuisance: 0 -> +-1, or, where it is
        nominal, 1 -> 0 and 2.
        """
        shift = self._variation_of(nuisance, "pixel")
        columns = {"eta": eta, "charge": charge, "triggered": triggered, "n_pixel": n_pixel}
        nominal = float(self.pixels_in_nominal)
        exponents = (nominal + shift, nominal - shift)
        up, down = pixel_weights(columns, self._pixels(), exponents, self.validity, outside)
        return up, down

    def count_rejected(self, pt: Any, eta: Any, phi: Any, charge: Any, sample: Sample = "data") -> Ledger:
        """How many muons `correct` would use and reject, by reason: nonfinite, nonpositive, range, charge."""
        flat, _ = flatten({"pt": pt, "eta": eta, "phi": phi, "charge": charge})
        reasons = self.validity.rejected(**flat)
        (found,) = momenta(flat, self.scale.eta_edges, (self.nominal(sample),), self.validity, "nan")
        reasons["nonpositive:curvature"] = np.isnan(found) & ~np.any(list(reasons.values()), axis=0)
        return self.validity.ledger(reasons, flat["pt"].size)

    def unsmeared(self, pt: Any, eta: Any) -> int:
        """Number of muons that `smear` leaves as they are because simulation is no better than data there."""
        muons = prepare({"pt": pt, "eta": eta, "phi": 0.0}, self.validity, "raise")
        return int(np.sum(extra_variance(muons, *self._resolutions(), 0.0) <= 0))

    # -------------------------------------------------------------------------------------------- describing

    @property
    def validity(self) -> Validity:
        """Where the calibration may be applied."""
        return Validity(pt_range=self.pt_range, eta_range=self.eta_range)

    def nuisances(self, which: str | None = None) -> tuple[str, ...]:
        """Names of all nuisances, or of those of one kind ("scale", "resolution", "pixel") or one group.

        Raises ValueError that names the nearest group for an unknown one.
        """
        if which is None:
            return self.names
        known = (*KINDS, *dict.fromkeys(self.groups))
        if which not in known:
            raise ValueError(
                f"no nuisance group '{which}'; the nearest are {', '.join(nearest(which, known) or known)}"
            )
        return tuple(n for n, g, k in zip(self.names, self.groups, self.kinds, strict=True) if which in (g, k))

    def variation(self, nuisance: str) -> FloatArray:
        """(3, B) the shift of A, e, M (or a, b, c) that +1 standard deviation of a nuisance stands for.

        (B,) the change of the exponent of the pixel weight for a nuisance of that kind.

        Raises ValueError that names the nearest nuisances for an unknown one.
        """
        if nuisance not in self.names:
            near = nearest(nuisance, self.names) or self.names[:3]
            raise ValueError(f"no nuisance '{nuisance}' in this calibration; the nearest are {', '.join(near)}")
        i = self.names.index(nuisance)
        for variations in (self.scale_variations, self.resolution_variations, self.pixel_variations):
            if i < variations.shape[0]:
                break
            i -= variations.shape[0]
        result: FloatArray = variations[i]
        return result

    def nominal(self, sample: str) -> FloatArray:
        """(3, B) A, e, M as applied to a sample."""
        if sample not in ("data", "mc"):
            raise ValueError(f"sample = {sample!r}, expected 'data' or 'mc'")
        nominal: FloatArray = np.stack([self.scale.A, self.scale.e, self.scale.M])
        return nominal if sample == "data" else np.zeros_like(nominal)

    # -------------------------------------------------------------------------------------------- inside

    def _variation_of(self, nuisance: str, kind: str) -> FloatArray:
        """The variation of a nuisance that is of this kind.  Raises ValueError with the method of its own."""
        shift = self.variation(nuisance)
        found = self.kinds[self.names.index(nuisance)]
        if found != kind:
            raise ValueError(f"nuisance '{nuisance}' {VARIES[found]}")
        return shift

    def _pixels(self) -> PixelMultiplicity:
        if self.pixels is None:
            raise ValueError("this calibration does not know the pixel hits of muons; it cannot weight by them")
        return self.pixels

    def _smearable(
        self, pt: Any, eta: Any, phi: Any, event_keys: tuple[Any, Any, Any], muon: Any, outside: Outside
    ) -> Muons:
        keys = dict(zip(("run", "lumi", "event"), event_keys, strict=True))
        keys["muon"] = local_index(pt) if muon is None else muon
        return prepare({"pt": pt, "eta": eta, "phi": phi}, self.validity, outside, keys)

    def _resolutions(self) -> tuple[ResolutionTable, ResolutionTable]:
        if self.resolution_data is None or self.resolution_mc is None:
            raise ValueError("this calibration holds no resolution of data and simulation; it cannot smear")
        return self.resolution_data, self.resolution_mc


def _check_cover(name: str, edges: FloatArray, eta_range: tuple[float, float]) -> None:
    if not (edges[0] <= eta_range[0] < eta_range[1] <= edges[-1]):
        raise ValueError(
            f"the validity range {eta_range[0]:g} <= eta < {eta_range[1]:g} is not inside the eta bins of {name}, "
            f"{edges[0]:g} to {edges[-1]:g}"
        )
