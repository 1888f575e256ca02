"""Section ``[tracks]``: the closure from hits."""

from dataclasses import dataclass, field
from typing import Final

from mucal.detector import Detector
from mucal.detector.field import harmonic_modes
from mucal.globalcor import Family, Registry, SolveConfig, build_registry
from mucal.refit import PairSelection, RefitConfig
from mucal.simulation import Distortion, HitSimulation, MuonGeneration
from mucal.theory import resonance

FAMILIES: Final = (
    Family(kind="alignment", by="layer", components=("u",), prior=(5e-3,), min_entries=1),
    Family(kind="modes", by="mode", min_entries=1),
    Family(kind="eloss", by="group", min_entries=1),
)
"""What floats unless a configuration says otherwise: layers along their precise coordinate, field, material."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """Section ``[tracks]``: pairs that are generated as hits of a distorted detector, and corrected from them.

    resonance        : "jpsi", "upsilon1s" or "z"
    detector         : "cms-like" or "barrel", as it is assumed to be
    data, simulation : pairs whose muons are both accepted, of the distorted and of the assumed detector
    seed             : of the data; the simulation takes the next one
    iterations       : refits and solves
    pt_min, eta_max  : GeV, - of generated muons
    l_max, m_max     : largest degree and order of the field modes
    families         : of global parameters; empty: layers along u, field modes, groups of material
    distortion       : ``[tracks.distortion]``: the true detector less the assumed one
    hits             : ``[tracks.hits]``: how muons are recorded
    refit            : ``[tracks.refit]``
    selection        : ``[tracks.selection]``: of the pairs that are summed
    solve            : ``[tracks.solve]``
    """

    resonance: str = "jpsi"
    detector: str = "cms-like"
    data: int = 40_000
    simulation: int = 40_000
    seed: int = 1
    iterations: int = 2
    pt_min: float | None = None
    eta_max: float = 2.4
    l_max: int = 4
    m_max: int | None = 2
    families: tuple[Family, ...] = ()
    distortion: Distortion = field(default_factory=Distortion)
    hits: HitSimulation = field(default_factory=lambda: HitSimulation(straggling="gaussian"))
    refit: RefitConfig = field(default_factory=RefitConfig)
    selection: PairSelection = field(default_factory=lambda: PairSelection(min_hits=8))
    solve: SolveConfig = field(default_factory=SolveConfig)

    def __post_init__(self) -> None:
        resonance(self.resonance)
        if min(self.data, self.simulation, self.iterations) < 1:
            raise ValueError(
                f"data = {self.data}, simulation = {self.simulation}, iterations = {self.iterations}; expected at "
                "least 1"
            )

    def muons(self, *, of_data: bool) -> MuonGeneration:
        """The generator of data or simulation."""
        return MuonGeneration(
            process=self.resonance, seed=self.seed if of_data else self.seed + 1, pt_min=self.pt_min,
            eta_max=self.eta_max, run=1 if of_data else 2,
        )  # fmt: skip

    def registry(self, detector: Detector) -> Registry:
        """The parameters that float."""
        families = self.families or FAMILIES
        floating = any(family.kind == "modes" for family in families)
        return build_registry(detector, families, harmonic_modes(self.l_max, self.m_max) if floating else None)
