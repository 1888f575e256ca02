"""An independent sample: Pythia 8 makes the decays and their radiation, and produces the Z and the W (`pythia8mc`)."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.numerics import normal, uniform
from mucal.simulation.generators import MuonGeneration, to_rows
from mucal.simulation.muons import GeneratedMuons
from mucal.simulation.production import PARENT_IDS, QUARKONIA
from mucal.theory import resonance
from mucal.theory.pythia import boson_settings, started
from mucal.track import LAM, PHI, QOP

MUON: Final = 13
Z_RANGE: Final = (50.0, 150.0)
W_RANGE: Final = (20.0, 400.0)
"""GeV."""
MOST_TRIES: Final = 20
"""Of a decay that Pythia gives up, per event."""


def generate_with_pythia(config: MuonGeneration, n: int, *, first_event: int = 0) -> GeneratedMuons:
    """The accepted muons of n events, in the rows and with the fields of `generate_muons`.

    A quarkonium gets its momentum from `config` and is decayed, isotropically, with the QED shower of Pythia.  A Z or W
    is Pythia's own, with initial- and final-state radiation, without underlying event, with the masses and widths of
    `theory.pdg`.  Places are those of `generate_muons`, with other numbers.

    config      : what is generated; polarisation 0
    n           : events
    first_event : number of the first one; Pythia's seed is made of config.seed and it, so one call is one sequence:
                  unlike `generate_muons`, pieces are not those of the whole

    Raises ConfigError if pythia8mc is not installed or does not initialise, ValueError for a polarised state.
    """
    if config.polarisation != 0.0:
        raise ValueError(f"polarisation is {config.polarisation}: Pythia decays quarkonia isotropically")
    event = np.arange(first_event, first_event + n, dtype=np.int64)
    if config.process in QUARKONIA:
        parents = _parents(config, event)
        muons, mass = _collect(_decays(_pythia(config, first_event), config, parents), 2, n)
        vertex = _vertices(config, event, parents)
    else:
        rows = 1 if config.process in PARENT_IDS else 2
        muons, mass = _collect(_productions(_pythia(config, first_event), config), rows, n)
        vertex = _vertices(config, event, None)
    state, accepted = _states(muons, config)
    charges = np.array([np.sign(PARENT_IDS[config.process])]) if muons.shape[1] == 1 else np.array([1, -1])
    return to_rows(
        config, event[accepted], charges, state[accepted].reshape(-1, 5), vertex[accepted], mass[accepted]
    )  # fmt: skip


def _pythia(config: MuonGeneration, first_event: int) -> Any:
    """Pythia, set up for one process."""
    number = abs(config.parent_id)
    lines = [f"{number}:onMode = off", f"{number}:onIfAny = {MUON}"]
    if config.process in QUARKONIA:
        lines += ["ProcessLevel:all = off", f"HadronLevel:QED = {'on' if config.radiation else 'off'}"]
    else:
        is_w = config.process != "z"
        state = resonance("w" if is_w else "z")
        lines += boson_settings(is_w, state.mass, state.width, W_RANGE if is_w else Z_RANGE, config.radiation)
    return started(lines, config.seed, "pythia/seed", first_event)


def _parents(config: MuonGeneration, event: np.ndarray) -> FloatArray:
    """Momenta (N, 4) of quarkonia: px, py, pz, E."""
    tables = config.state
    steps = np.linspace(0.0, 1.0, tables.pt.size)
    pt = np.interp(uniform(config.seed, "pythia/pt", event), steps, tables.pt)
    low, high = tables.rapidity
    rapidity = low + (high - low) * uniform(config.seed, "pythia/rapidity", event)
    phi = 2.0 * np.pi * uniform(config.seed, "pythia/azimuth", event)
    transverse = np.hypot(pt, resonance(config.process).mass)
    return np.column_stack(
        [pt * np.cos(phi), pt * np.sin(phi), transverse * np.sinh(rapidity), transverse * np.cosh(rapidity)]
    )


def _decays(pythia: Any, config: MuonGeneration, parents: FloatArray) -> Iterator[tuple[list[Any], float]]:
    """The muons of each quarkonium, + first, and its mass."""
    mass = resonance(config.process).mass
    for px, py, pz, energy in parents.tolist():
        for _ in range(MOST_TRIES):
            pythia.event.reset()
            pythia.event.append(config.parent_id, 1, 0, 0, px, py, pz, energy, mass)
            if pythia.next():
                break
        yield [_hardest(pythia.event, -MUON), _hardest(pythia.event, MUON)], mass


def _productions(pythia: Any, config: MuonGeneration) -> Iterator[tuple[list[Any], float]]:
    """The muons of each Z, + first, or of each W of the wanted charge, and the mass before radiation; without end."""
    wanted = {"w_plus": [-MUON], "w_minus": [MUON]}.get(config.process, [-MUON, MUON])
    while True:
        if not pythia.next():
            continue
        muons = [_hardest(pythia.event, number) for number in wanted]
        if None not in muons:
            yield muons, pythia.infoPython().mHat()


def _hardest(event: Any, number: int) -> Any:
    """The final muon of one sign with the largest transverse momentum, or None."""
    found = [particle for particle in event if particle.isFinal() and particle.id() == number]
    return max(found, key=lambda particle: particle.pT()).p() if found else None


def _collect(events: Iterator[tuple[list[Any], float]], rows: int, n: int) -> tuple[FloatArray, FloatArray]:
    """Momenta (n, rows, 3) and parent masses (n,) of n events."""
    muons, mass = np.empty((n, rows, 3)), np.empty(n)
    for i, (found, value) in zip(range(n), events, strict=False):
        for j, p in enumerate(found):
            muons[i, j] = p.px(), p.py(), p.pz()
        mass[i] = value
    return muons, mass


def _states(muons: FloatArray, config: MuonGeneration) -> tuple[FloatArray, FloatArray]:
    """States (n, rows, 5), and which events are accepted."""
    pt, p = np.hypot(muons[..., 0], muons[..., 1]), np.linalg.norm(muons, axis=2)
    state = np.zeros((*pt.shape, 5))
    sign = np.array([1.0, -1.0]) if pt.shape[1] == 2 else np.sign(PARENT_IDS[config.process])
    state[..., QOP] = sign / p
    state[..., LAM] = np.arctan2(muons[..., 2], pt)
    state[..., PHI] = np.arctan2(muons[..., 1], muons[..., 0])
    inside = (pt >= config.lowest_pt) & (pt < config.pt_max) & (np.abs(muons[..., 2]) < np.sinh(config.eta_max) * pt)
    return state, inside.all(axis=1)


def _vertices(config: MuonGeneration, event: np.ndarray, parents: FloatArray | None) -> FloatArray:
    """Beam spot, and flight of displaced quarkonia, (N, 3) cm."""
    place = np.stack([normal(config.seed, f"pythia/beam {axis}", event) for axis in "xyz"], axis=1)
    place = np.array(config.beam.centre) + np.array(config.beam.width) * place
    if parents is not None and config.displaced_share > 0.0:
        away = uniform(config.seed, "pythia/displaced", event) < config.displaced_share
        proper = -config.c_tau * np.log(uniform(config.seed, "pythia/flight", event)) / resonance(config.process).mass
        place += (away * proper)[:, None] * parents[:, :3]
    return place
