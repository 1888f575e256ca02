"""W and Z events of Pythia 8 (`pythia8mc`) in place of the built-in ones: other partons, initial-state radiation, QED.

An event is read from its boson and the two leptons of the decay, before and after radiation (`read_events`).  Weights
of variations are ratios, so that they act on these events as on the built-in ones: luminosities and shares of
helicities are those of the tables (`Production`) at the boson and angles that Pythia made.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.errors import ConfigError
from mucal.numerics import uniform
from mucal.theory import harmonics, kernels
from mucal.theory.generator import BosonEvents
from mucal.theory.partons import COLLISION_ENERGY
from mucal.theory.production import WINDOWS, Production

MUON: Final = 13
W, Z = 24, 23
TRIES: Final = 10
"""Without an event of the wanted kind, for each event asked for: then Pythia does something else than was asked."""


def generate_with_pythia(made: Production, first: int, count: int, *, seed: int, radiation: bool = True) -> BosonEvents:
    """Events first ... first + count - 1 of a sample, all of weight 1.

    The boson has the running-width shape of `made`, within the masses of `production.WINDOWS`; there is no underlying
    event and no hadron.  Pythia's seed is made of seed, sample and `first`: one call is one sequence, and pieces are
    not those of a longer one.

    made      : tables of the boson
    first     : number of the first event
    count     : of events
    seed      : of the events, and of the numbers that a detector adds
    radiation : off, muons keep their momentum

    Raises ConfigError if pythia8mc is not installed or does not accept its settings.
    """
    pythia = started(_settings(made, radiation), seed, f"theory.pythia.{made.sample}", first)
    rows = np.array([row for row, _ in zip(_decays(pythia, made.charge, TRIES * count), range(count), strict=False)])
    if len(rows) < count:
        raise ConfigError(
            f"{TRIES * count} events of Pythia hold {len(rows)} of {made.sample}, expected {count}",
            kind="config.pythia",
        )
    return read_events(made, first, seed, rows[:, 0], rows[:, 1:3], rows[:, 3:])


def started(settings: Sequence[str], seed: int, purpose: str, first: int) -> Any:
    """Pythia, silent and with a seed made of ours, the purpose and the number of the first event.

    Raises ConfigError if pythia8mc is not installed or does not accept the settings.
    """
    try:
        import pythia8mc
    except ImportError as error:
        raise ConfigError(
            "events of Pythia need pythia8mc", kind="config.missing_package", do="pip install pythia8mc"
        ) from error
    own = 1 + int(899_999_999 * uniform(seed, purpose, first)[0])
    pythia = pythia8mc.Pythia("", False)
    lines = ["Print:quiet = on", "Random:setSeed = on", f"Random:seed = {own}", *settings]
    refused = [line for line in lines if not pythia.readString(line)]
    if refused or not pythia.init():
        raise ConfigError(f"Pythia does not accept {refused or 'its settings'}", kind="config.pythia")
    return pythia


def boson_settings(is_w: bool, mass: float, width: float, window: tuple[float, float], radiation: bool) -> list[str]:
    """Production of single W or Z at the energy of `partons`, without underlying event and hadrons.

    mass, width : GeV, of the running-width shape
    window      : GeV, of the mass
    radiation   : of the final state
    """
    number = W if is_w else Z
    return [
        f"Beams:eCM = {COLLISION_ENERGY}", "PartonLevel:MPI = off", "HadronLevel:all = off",
        f"PartonLevel:FSR = {'on' if radiation else 'off'}", f"{number}:m0 = {mass}", f"{number}:mWidth = {width}",
        f"WeakSingleBoson:{'ffbar2W' if is_w else 'ffbar2gmZ'} = on", f"PhaseSpace:mHatMin = {window[0]}",
        f"PhaseSpace:mHatMax = {window[1]}",
    ]  # fmt: skip


def _settings(made: Production, radiation: bool) -> list[str]:
    charge, (mass, width) = made.charge, made.coupling[0, :2].tolist()
    decay = {1: f"{W}:onPosIfAny", -1: f"{W}:onNegIfAny", 0: f"{Z}:onIfAny"}[charge]
    lines = boson_settings(charge != 0, mass, width, WINDOWS[made.sample], radiation)
    return [*lines, f"{W if charge else Z}:onMode = off", f"{decay} = {MUON}"]


def _decays(pythia: Any, charge: int, tries: int) -> Iterator[list[list[float]]]:
    """Momenta (5, 4), as px, py, pz, E: the boson, its leptons before and after radiation in the order of events."""
    boson = W * charge if charge else Z
    leptons = (-MUON, MUON) if not charge else (-charge * MUON, charge * (MUON + 1))
    for _ in range(tries):
        if not pythia.next():
            continue
        event = pythia.event
        parent = next((p for p in event if p.id() == boson), None)
        if parent is None:
            continue
        parent = event[parent.iBotCopyId()]
        daughters = {event[i].id(): event[i] for i in parent.daughterList()}
        if not daughters.keys() >= set(leptons):
            continue
        bare = [daughters[number] for number in leptons]
        final = [event[one.iBotCopyId()] for one in bare]
        yield [[p.px(), p.py(), p.pz(), p.e()] for p in (parent, *bare, *final)]


def read_events(
    made: Production, first: int, seed: int, boson: FloatArray, bare: FloatArray, final: FloatArray
) -> BosonEvents:
    """Events of weight 1 from momenta px, py, pz, E (GeV).

    made  : tables of the boson
    first : number of the first event
    seed  : of the numbers that a detector adds
    boson : (N, 4)
    bare  : (N, 2, 4)  leptons of the decay: mu and nu of a W, mu+ and mu- of a Z
    final : (N, 2, 4)  the same after radiation
    """
    mass, pt = _mass(boson), np.hypot(boson[:, 0], boson[:, 1])
    rapidity = np.arctanh(boson[:, 2] / boson[:, 3])
    azimuth = np.arctan2(boson[:, 1], boson[:, 0])
    particle = bare[:, 0] if made.charge < 0 else bare[:, 1]  # mu- of a Z or W-, neutrino of a W+
    cosine, angle = collins_soper(particle, mass, pt, rapidity, azimuth)
    luminosity = kernels.look_up_all(mass, rapidity, made.grid, made.luminosities)
    _, forward = kernels.rates(mass, made.coupling, luminosity)
    coefficients = kernels.all_coefficients(pt, mass, rapidity, forward)
    event: IntArray = np.arange(first, first + len(boson), dtype=np.int64)
    return BosonEvents(
        sample=made.sample, event=event, mass=mass, rapidity=rapidity, pt=pt, cosine=cosine, angle=angle,
        weight=np.ones(len(boson)), kept=_kept(made.charge == 0, boson, bare, final), luminosity=luminosity,
        shares=harmonics.shares(coefficients, cosine, angle), leptons=_leptons(final, azimuth),
        spare=uniform(seed, f"theory.pythia.detector.{made.sample}", event[:, None], np.arange(4)[None, :]),
    )  # fmt: skip


def collins_soper(
    momentum: FloatArray, mass: FloatArray, pt: FloatArray, rapidity: FloatArray, azimuth: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """cos(theta) and phi in [0, 2 pi) of a momentum (N, 4) in the Collins-Soper frame of a boson.

    mass, pt, rapidity, azimuth : (N,) GeV, GeV, -, rad  of the boson

    The laboratory boosted along z until the boson has no p_z, then along its pT; z on the side of the boson.
    """
    px, py, pz, energy = momentum.T
    along, across = px * np.cos(azimuth) + py * np.sin(azimuth), py * np.cos(azimuth) - px * np.sin(azimuth)
    carried = np.cosh(rapidity) * energy - np.sinh(rapidity) * pz
    pz = np.cosh(rapidity) * pz - np.sinh(rapidity) * energy
    along = np.sqrt(1.0 + (pt / mass) ** 2) * along - pt / mass * carried
    side = np.where(rapidity >= 0.0, 1.0, -1.0)
    cosine: FloatArray = side * pz / np.sqrt(along**2 + across**2 + pz**2)
    angle: FloatArray = np.arctan2(side * across, along) % (2.0 * np.pi)
    return cosine, angle


def _kept(is_pair: bool, boson: FloatArray, bare: FloatArray, final: FloatArray) -> FloatArray:
    """What radiation leaves: of the muon's momentum in the frame of a W, of the mass^2 of a pair."""
    if is_pair:
        result: FloatArray = (_mass(final.sum(axis=1)) / _mass(boson)) ** 2
        return result
    before, after = (_momentum_at_rest(boson, p[:, 0]) for p in (bare, final))
    result = after / before
    return result


def _momentum_at_rest(boson: FloatArray, p: FloatArray) -> FloatArray:
    """(N,) GeV of a momentum (N, 4) where the boson is at rest."""
    result: FloatArray = np.sqrt(_dot(boson, p) ** 2 / _dot(boson, boson) - _dot(p, p))
    return result


def _leptons(momenta: FloatArray, azimuth: FloatArray) -> FloatArray:
    """(N, 2, 3) pT, eta, and azimuth from the boson's, of (N, 2, 4)."""
    px, py, pz, _ = np.moveaxis(momenta, 2, 0)
    pt = np.hypot(px, py)
    phi = np.arctan2(py, px) - azimuth[:, None]
    return np.stack([pt, np.arcsinh(pz / pt), np.arctan2(np.sin(phi), np.cos(phi))], axis=2)


def _dot(p: FloatArray, q: FloatArray) -> FloatArray:
    result: FloatArray = p[..., 3] * q[..., 3] - (p[..., :3] * q[..., :3]).sum(axis=-1)
    return result


def _mass(p: FloatArray) -> FloatArray:
    result: FloatArray = np.sqrt(_dot(p, p))
    return result
