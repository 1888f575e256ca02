"""What is filled: channels, the processes in each, and how many events of which kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from mucal.errors import ConfigError

ChannelName = Literal["w", "wlike", "dilepton", "kinematics", "boson_w", "boson_z"]
GENERATED: Final = ("boson_w", "boson_z")
"""Channels of generated bosons with |y| below `BOSON_Y`: no muon is looked at."""
BOSON_Y: Final = 2.4
PAIRS: Final = ("dilepton", "kinematics")
"""Channels of pairs, which count both muons at once."""
Pairing = Literal["both", "even", "odd"]
Generator = Literal["built-in", "pythia8"]

PROCESSES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "w": {"Wmunu": ("w_plus", "w_minus"), "Zmumu": ("z",)},
    "wlike": {"Zmumu": ("z",)},
    "dilepton": {"Zmumu": ("z",)},
    "kinematics": {"Zmumu": ("z",)},
    "boson_w": {"Wmunu": ("w_plus", "w_minus")},
    "boson_z": {"Zmumu": ("z",)},
}
"""Channel -> process -> the samples it is the sum of."""

TAUS: Final[Mapping[str, tuple[str, ...]]] = {"Wtaunu": ("w_plus", "w_minus")}
"""A process of the channel "w" whose muons come from taus of these samples."""
THROUGH_TAU: Final = "_tau"
"""Ending of the name of a sample whose muons come from taus."""

HELICITY_PT: Final = (0.0, 3.0, 6.0, 9.7, 12.4, 16.0, 21.4, 29.5, 60.0)
HELICITY_Y: Final = (0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 3.0)
"""Lower edges (pT in GeV) of the bins of the helicity fit of arXiv:2412.13872; the last ones are open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplatesConfig:
    """What is filled.

    generator  : of the events, "built-in" or "pythia8" (`pythia8mc`, which is an optional package)
    channel    : "w", "wlike", "dilepton" (mass), or "kinematics": pairs beside a measurement of the W, m_Z a nuisance;
                 "boson_w", "boson_z": generated bosons, into whose pT a fit of muons is carried
    events     : generated for each sample; sums are most even for powers of 2
    seed       : of the points and of the pairing
    reuse      : decays in a row of each boson
    chunk      : events in memory at once, for each thread
    efficiency : of what is not simulated, for each muon
    pairing    : W-like muon: of all events with half their weight each, or mu- of even (odd) events and mu+ of the rest
    theory     : with the theory nuisances
    helicity   : keep the sums by helicity that a fit of the cross sections needs
    radiation  : off, muons keep their momentum
    taus       : with W -> tau nu -> mu 3 nu as a process of its own; channel "w"
    smooth_response : the moments of the response that calibration nuisances multiply are polynomials in eta and pT, so
                 that the noise of few events does not look like information; for masses of pairs, six functions of
                 the mass in each bin of eta; not for "kinematics"
    """

    generator: Generator = "built-in"
    channel: ChannelName = "w"
    events: int = 1 << 20
    seed: int = 1
    reuse: int = 1
    chunk: int = 1 << 16
    efficiency: float = 0.85
    pairing: Pairing = "both"
    theory: bool = True
    helicity: bool = False
    radiation: bool = True
    taus: bool = False
    smooth_response: bool = True

    def __post_init__(self) -> None:
        if self.channel not in get_args(ChannelName) or self.pairing not in get_args(Pairing):
            raise ConfigError(
                f"channel '{self.channel}' with pairing '{self.pairing}' is none of the known ones",
                kind="config.templates",
            )
        if self.generator not in get_args(Generator):
            raise ConfigError(
                f"generator '{self.generator}', expected {' or '.join(get_args(Generator))}", kind="config.templates"
            )
        if self.generator == "pythia8" and self.reuse != 1:
            raise ConfigError(
                f"reuse = {self.reuse}: Pythia decays every boson once; reuse = 1", kind="config.templates"
            )
        if self.events < self.chunk or self.events % self.chunk or self.chunk % self.reuse:
            raise ConfigError(
                f"events = {self.events} must be a multiple of chunk = {self.chunk}, "
                f"and that one of reuse = {self.reuse}",
                kind="config.templates",
            )
        if self.taus and self.channel != "w":
            raise ConfigError(
                f"taus = true: only the channel 'w' has muons of taus, not '{self.channel}'", kind="config.templates"
            )
        if not 0 < self.efficiency <= 1:
            raise ConfigError(
                f"efficiency = {self.efficiency}, expected a number above 0 and at most 1", kind="config.templates"
            )

    @property
    def processes(self) -> dict[str, tuple[str, ...]]:
        """Process -> the samples it is the sum of."""
        taus = {p: tuple(s + THROUGH_TAU for s in samples) for p, samples in TAUS.items()} if self.taus else {}
        return {**PROCESSES[self.channel], **taus}


def parent(sample: str) -> str:
    """The sample of bosons, of which one may be that of their taus."""
    return sample.removesuffix(THROUGH_TAU)
