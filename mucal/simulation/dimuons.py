"""Muon pairs of one resonance, as a detector with a known scale and resolution sees them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Self

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.numerics import start_word
from mucal.scale import ResolutionTable, ScaleTable
from mucal.simulation import kernels
from mucal.simulation.resonance import ParentSpectrum, kind, mass_quantiles
from mucal.theory import fsr, resonance
from mucal.track import Dimuons
from mucal.units import MUON_MASS

EVENTS_PER_LUMI: Final = 10_000
CHUNK: Final = 2**20
MAX_RESOLUTION: Final = 0.1
"""Relative; beyond it a curvature could come out negative."""


def nominal_resolution() -> ResolutionTable:
    """A CMS-like detector in 24 bins: sigma_k/k from 0.7 % (centre) to 1.6 % (|eta| = 2.4) at low pT, b = 0.

    Source: sizes of a (5e-5 to 2.7e-4) and c (up to 7e-8 GeV^-2) of public CMS parameter files.
    """
    edges = np.linspace(-2.4, 2.4, 25)
    x = np.abs(0.5 * (edges[1:] + edges[:-1])) / 2.4
    return ResolutionTable(
        eta_edges=edges, a=5e-5 + 2.2e-4 * x**2, b=np.zeros(24), c=1.5e-8 + 5.5e-8 * x**2, d=np.full(24, 370.0),
        cov=np.zeros((72, 72)),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DimuonSimulation:
    """What is generated.  A data sample and its simulation differ in `scale` (and `seed`, to be independent).

    resonance            : "jpsi", "psi2s", "upsilon1s", "upsilon2s", "upsilon3s" or "z"
    seed                 : of all random numbers; equal seeds give the same events, whatever the distortion
    scale                : distortion: its correction (A1) restores the true scale; None: no distortion
    resolution           : relative curvature resolution at the true pT, Gaussian in k
    radiation            : final-state radiation on or off
    background_fraction  : of the generated pairs, with mass density exp(-slope m) in `background_window`
    background_slope     : 1/GeV
    background_window    : GeV; None: that of the resonance
    pt_min               : GeV, on each reconstructed muon; None: that of the resonance
    eta_max              : on each muon's |eta|; inside both tables
    parent               : momenta of the decaying state; None: those of the resonance
    run                  : run number given to every event
    """

    resonance: str = "jpsi"
    seed: int = 1
    scale: ScaleTable | None = None
    resolution: ResolutionTable | None = None
    radiation: bool = True
    background_fraction: float = 0.0
    background_slope: float = 1.0
    background_window: tuple[float, float] | None = None
    pt_min: float | None = None
    eta_max: float = 2.4
    parent: ParentSpectrum | None = None
    run: int = 1

    def __post_init__(self) -> None:
        kind(self.resonance)
        if not 0.0 <= self.background_fraction <= 1.0:
            raise ValueError(f"background_fraction is {self.background_fraction}, expected 0 to 1")
        for name, edges in (("scale", self._scale_arrays[0]), ("resolution", self._resolution.eta_edges)):
            if edges[0] > -self.eta_max or edges[-1] < self.eta_max:
                raise ValueError(
                    f"the {name} table covers {edges[0]:g} <= eta < {edges[-1]:g}, but muons "
                    f"go to |eta| < {self.eta_max:g}"
                )
        table = self._resolution
        worst = np.max(table.a + np.maximum(table.b, 0.0) + np.maximum(table.c, 0.0) * self._highest_pt**2)
        least = np.min(table.a + np.minimum(table.b, 0.0) + np.minimum(table.c, 0.0) * self._highest_pt**2)
        if least < 0.0 or worst > MAX_RESOLUTION**2:
            raise ValueError(f"(sigma_k/k)^2 goes from {least:.3g} to {worst:.3g}; expected 0 to {MAX_RESOLUTION**2:g}")

    @property
    def _highest_pt(self) -> float:
        return (self.parent or kind(self.resonance).parent).pt_high + 0.5 * resonance(self.resonance).mass

    @property
    def _resolution(self) -> ResolutionTable:
        return self.resolution or _default_resolution()

    @property
    def _scale_arrays(self) -> tuple[FloatArray, FloatArray]:
        if self.scale is None:
            return np.array([-np.inf, np.inf]), np.zeros((3, 1))
        return self.scale.eta_edges, np.stack([self.scale.A, self.scale.e, self.scale.M])


@lru_cache(maxsize=1)
def _default_resolution() -> ResolutionTable:
    return nominal_resolution()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDimuons:
    """Accepted pairs with their truth.

    dimuons      : as reconstructed; N pairs, event numbers as generated
    pt_gen       : (N, 2) GeV  true transverse momentum of the bare muons (after radiation)
    mass_gen     : (N,) GeV    true mass of the bare pair
    signal       : (N,)        False for background
    """

    dimuons: Dimuons
    pt_gen: FloatArray
    mass_gen: FloatArray
    signal: BoolArray

    def __len__(self) -> int:
        return len(self.dimuons)

    def select(self, keep: BoolArray | IntArray | slice) -> Self:
        """The pairs chosen by a mask, indices or a slice."""
        return replace(
            self, dimuons=self.dimuons.select(keep), pt_gen=self.pt_gen[keep], mass_gen=self.mass_gen[keep],
            signal=self.signal[keep],
        )  # fmt: skip

    @classmethod
    def concatenate(cls, parts: Sequence["SimulatedDimuons"]) -> "SimulatedDimuons":
        """All pairs of `parts` (at least one), in order."""
        return cls(
            dimuons=Dimuons.concatenate([part.dimuons for part in parts]),
            **{name: np.concatenate([getattr(p, name) for p in parts]) for name in ("pt_gen", "mass_gen", "signal")},
        )


def generate_dimuons(config: DimuonSimulation, n: int, *, first_event: int = 0) -> SimulatedDimuons:
    """The accepted ones of the generated events first_event ... first_event + n - 1.

    Every random number is a function of (seed, purpose, event, muon): a range generated in pieces, in any order or
    process, gives the same bytes as in one call.  Run, luminosity block and event number are those of the
    generated event.  Directions are not smeared.

    config      : what is generated
    n           : events generated (not accepted)
    first_event : number of the first one, >= 0

    Raises ValueError for negative n or first_event.
    """
    if n < 0 or first_event < 0:
        raise ValueError(f"n = {n}, first_event = {first_event}; expected numbers >= 0")
    defaults = kind(config.resonance)
    parent = config.parent or defaults.parent
    low, high = config.background_window or defaults.window
    pt_min = defaults.pt_min if config.pt_min is None else config.pt_min
    quantiles = mass_quantiles(config.resonance)
    table = config._resolution
    scale_edges, scale = config._scale_arrays
    start = np.array([start_word(config.seed, f"dimuons/{purpose}") for purpose in kernels.PURPOSES])
    background = np.array([config.background_fraction, config.background_slope, low, high])
    *pairs, mass_gen, signal, accepted = kernels.generate(
        first_event, n, start, parent.kernel, parent.rapidity_max, quantiles, background,
        fsr.ALPHA if config.radiation else 0.0, MUON_MASS, pt_min, config.eta_max,
        table.eta_edges, np.stack([table.a, table.b, table.c, table.d]), scale_edges, scale,
    )  # fmt: skip
    pt, eta, phi, pt_gen = (pair[accepted] for pair in pairs)
    event = first_event + np.flatnonzero(accepted).astype(np.int64)
    dimuons = Dimuons(
        run=np.full(event.size, config.run, dtype=np.int64), lumi=1 + event // EVENTS_PER_LUMI, event=event,
        pt=pt, eta=eta, phi=phi, charge=np.tile(np.array([1, -1], dtype=np.int64), (event.size, 1)),
    )  # fmt: skip
    return SimulatedDimuons(dimuons=dimuons, pt_gen=pt_gen, mass_gen=mass_gen[accepted], signal=signal[accepted])


def stream_dimuons(config: DimuonSimulation, n_accepted: int, *, chunk: int = CHUNK) -> Iterator[SimulatedDimuons]:
    """The first `n_accepted` accepted pairs, in pieces of `chunk` generated events.

    The pairs do not depend on `chunk`.  Raises ValueError if a whole piece is rejected.
    """
    first_event = 0
    while n_accepted > 0:
        part = generate_dimuons(config, chunk, first_event=first_event)
        if len(part) == 0:
            raise ValueError(f"none of {chunk} generated events is accepted; loosen pt_min or eta_max")
        part = part.select(slice(n_accepted))
        yield part
        first_event += chunk
        n_accepted -= len(part)
