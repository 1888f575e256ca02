"""Muons of J/psi, psi(2S), Upsilon(nS), Z and W, as they leave the place where they are born."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.numerics import start_word
from mucal.simulation import muon_kernels as kernels
from mucal.simulation import production
from mucal.simulation.dimuons import CHUNK, EVENTS_PER_LUMI
from mucal.simulation.muons import GeneratedMuons
from mucal.simulation.resonance import ParentSpectrum
from mucal.theory import fsr, resonance
from mucal.units import MUON_MASS

B_LIFETIME: Final = 0.045
"""cm; mean c tau of the b hadrons that decay to charmonium."""

DISPLACED: Final = {"jpsi": 0.3, "psi2s": 0.3}
LOWEST_PT: Final = {"z": 15.0, "w_plus": 15.0, "w_minus": 15.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamSpot:
    """Where collisions are: a Gaussian about a point.

    centre : cm  x, y, z
    width  : cm  x, y, z
    """

    centre: tuple[float, float, float] = (0.092, 0.170, 0.9)
    width: tuple[float, float, float] = (0.0010, 0.0010, 3.6)

    def __post_init__(self) -> None:
        if min(self.width) < 0:
            raise ValueError(f"beam spot of width {self.width} cm, expected widths of at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class MuonGeneration:
    """What is generated.

    process        : "jpsi", "psi2s", "upsilon1s", "upsilon2s", "upsilon3s", "z", "w_plus" or "w_minus"
    seed           : of all random numbers
    radiation      : final-state radiation on or off
    pt_min, pt_max : GeV, on every bare muon; pt_min None: 3.5 for quarkonia, 15 for bosons
    eta_max        : on every muon's |eta|
    parent         : momenta of a quarkonium; None: pT (1 + (pT/p0)^2)^-4, p0 = 4.5 GeV (charmonium) or 9 GeV, as far
                     down as two such muons can come from
    polarisation   : lambda of a quarkonium's 1 + lambda cos^2(theta) to the Collins-Soper axis; 0 is isotropic
    displaced      : share that comes from b decays; None: 0.3 of charmonium, none of the others
    c_tau          : cm, of those: they fly c tau p/m, m and p those of the charmonium, along its direction
    beam           : where collisions are
    run            : run number given to every event
    """

    process: str = "jpsi"
    seed: int = 1
    radiation: bool = True
    pt_min: float | None = None
    pt_max: float = float("inf")
    eta_max: float = 2.4
    parent: ParentSpectrum | None = None
    polarisation: float = 0.0
    displaced: float | None = None
    c_tau: float = B_LIFETIME
    beam: BeamSpot = BeamSpot()
    run: int = 1

    def __post_init__(self) -> None:
        production.check_process(self.process)
        if not self.lowest_pt < self.pt_max or not self.eta_max > 0:
            raise ValueError(f"{self.lowest_pt} <= pt < {self.pt_max}, |eta| < {self.eta_max}: nothing is selected")
        if not -1.0 <= self.polarisation <= 1.0:
            raise ValueError(f"polarisation is {self.polarisation}, expected -1 to 1")
        if not 0.0 <= self.displaced_share <= 1.0 or self.c_tau < 0:
            raise ValueError(f"displaced = {self.displaced}, c_tau = {self.c_tau}; expected a share and a length")
        if self.process not in production.QUARKONIA and (self.parent is not None or self.polarisation != 0.0):
            raise ValueError(f"parent and polarisation are those of a quarkonium; {self.process} has its own")

    @property
    def lowest_pt(self) -> float:
        """GeV"""
        return LOWEST_PT.get(self.process, 3.5) if self.pt_min is None else self.pt_min

    @property
    def displaced_share(self) -> float:
        """Share that comes from b decays."""
        return DISPLACED.get(self.process, 0.0) if self.displaced is None else self.displaced

    @property
    def parent_id(self) -> int:
        """Monte Carlo particle number of the state that decays."""
        known = production.PARENT_IDS.get(self.process)
        return resonance(self.process).pdg_id if known is None else known

    @property
    def _parent(self) -> ParentSpectrum:
        if self.parent is not None:
            return self.parent
        # muons that share a momentum evenly, and no pair has more mass than its parent
        spectrum = production.SPECTRA[self.process]
        softest = float(np.sqrt(max(4.0 * self.lowest_pt**2 - resonance(self.process).mass ** 2, 0.0)))
        if softest >= spectrum.pt_high:
            raise ValueError(
                f"two muons above {self.lowest_pt:g} GeV need a parent above {softest:.1f} GeV, and those of "
                f"{self.process} end at {spectrum.pt_high:g} GeV; lower pt_min or give a parent"
            )
        return replace(spectrum, pt_low=softest)

    @property
    def state(self) -> production.Production:
        """Production and decay."""
        if self.process in production.QUARKONIA:
            return production.quarkonium(self.process, self._parent, self.polarisation)
        return production.boson(self.process)


def generate_muons(config: MuonGeneration, n: int, *, first_event: int = 0) -> GeneratedMuons:
    """The accepted muons of the generated events first_event ... first_event + n - 1.

    Pairs stand in rows 2i (+) and 2i+1 (-), `pair` is their event number; a W gives one row of pair -1.  Every random
    number is a function of (seed, purpose, event): a range generated in pieces, in any order or process, gives the
    same bytes as in one call.

    config      : what is generated
    n           : events generated (not accepted)
    first_event : number of the first one, >= 0

    Raises ValueError for negative n or first_event, and if no parent of a quarkonium is fast enough.
    Source: docs/physics/generators.md.
    """
    if n < 0 or first_event < 0:
        raise ValueError(f"n = {n}, first_event = {first_event}; expected numbers >= 0")
    state = config.state
    start = np.array([start_word(config.seed, f"muons/{purpose}") for purpose in kernels.PURPOSES])
    tables = (
        state.mass, state.pt, state.rapidity, state.forward, production.MAX_RAPIDITY, state.longitudinal,
        np.array([*config.beam.centre, *config.beam.width, config.displaced_share, config.c_tau]),
        fsr.ALPHA if config.radiation else 0.0, MUON_MASS, config.lowest_pt, config.pt_max, config.eta_max,
    )  # fmt: skip
    if config.process in production.PARENT_IDS:
        charge = 1 if config.process == "w_plus" else -1
        muons, vertex, mass, accepted = kernels.generate_w_muons(first_event, n, start, float(charge), *tables)
        charges = np.array([charge])
    else:
        muons, vertex, mass, accepted = kernels.generate_pairs(first_event, n, start, *tables)
        charges = np.array([1, -1])
    event = first_event + np.flatnonzero(accepted)
    return to_rows(config, event, charges, muons[accepted].reshape(-1, 5), vertex[accepted], mass[accepted])


def stream_muons(
    config: MuonGeneration, n_accepted: int, *, chunk: int = CHUNK,
    wanted: Callable[[GeneratedMuons], BoolArray] | None = None,
) -> Iterator[GeneratedMuons]:  # fmt: skip
    """The muons of the first `n_accepted` accepted events, in pieces of `chunk` generated events.

    wanted : of accepted muons, which rows are wanted, those of an event all or none; others do not count

    The muons do not depend on `chunk`.  Raises ValueError if a whole piece is rejected.
    """
    first_event = 0
    per_event = 1 if config.process in production.PARENT_IDS else 2
    while n_accepted > 0:
        part = generate_muons(config, chunk, first_event=first_event)
        if wanted is not None:
            part = part.select(wanted(part))
        if len(part) == 0:
            raise ValueError(f"none of {chunk} generated events is accepted; loosen pt_min, pt_max or eta_max")
        part = part.select(slice(n_accepted * per_event))
        yield part
        first_event += chunk
        n_accepted -= len(part) // per_event


def to_rows(
    config: MuonGeneration, event: IntArray, charges: IntArray, state: FloatArray, vertex: FloatArray, mass: FloatArray
) -> GeneratedMuons:
    """Events to rows, one a muon: the charges of an event's rows, their states in order, its vertex and mass."""
    times = charges.size
    event = event.astype(np.int64)
    rows = np.repeat(event, times)
    return GeneratedMuons(
        run=np.full(rows.size, config.run, dtype=np.int64),
        lumi=1 + rows // EVENTS_PER_LUMI,
        event=rows,
        pair=rows if times == 2 else np.full(rows.size, -1, dtype=np.int64),
        charge=np.tile(charges.astype(np.int64), event.size),
        state=state,
        vertex=np.repeat(vertex, times, axis=0),
        parent=np.full(rows.size, config.parent_id, dtype=np.int64),
        mass=np.repeat(mass, times),
    )
