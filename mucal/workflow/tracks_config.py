"""Section ``[tracks]``: the closure from hits."""

from dataclasses import dataclass, field, replace
from typing import Final

from mucal.detector import Detector
from mucal.detector.field import harmonic_modes
from mucal.globalcor import Family, Registry, SolveConfig, build_registry
from mucal.massfit import BatchConfig
from mucal.refit import PairSelection, RefitConfig
from mucal.scale import ScaleConfig
from mucal.simulation import Distortion, HitSimulation, MuonGeneration
from mucal.theory import resonance
from mucal.workflow.bins import Bins

FAMILIES: Final = (
    Family(kind="alignment", by="layer", components=("u",), prior=(5e-3,), min_entries=1),
    Family(kind="modes", by="mode", min_entries=1),
    Family(kind="eloss", by="group", min_entries=1),
    Family(kind="mass", by="whole", min_entries=1),
)
"""What floats unless a configuration says otherwise: layers along their precise coordinate, field, material, and the
assumed mean mass within its error."""


OTHER_SEEDS: Final = 1000
"""Between the seeds of the calibrating sample and those of the others, and between these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosingSample:
    """One ``[[tracks.closing]]``: a resonance that takes no part in the corrections and shows what they are worth.

    resonance        : "upsilon1s", "z", …
    data, simulation : pairs whose muons are both accepted, of the distorted and of the assumed detector
    pt_min           : GeV  of generated muons; None: that of the generator
    bins             : ``[tracks.closing.bins]``
    massfit          : ``[tracks.closing.massfit]``; the resonance is that of the sample
    scale            : ``[tracks.closing.scale]``: what is looked for in bins of eta
    """

    resonance: str
    data: int = 10_000
    simulation: int = 10_000
    pt_min: float | None = None
    bins: Bins = field(default_factory=Bins)
    massfit: BatchConfig = field(default_factory=BatchConfig)
    scale: ScaleConfig = field(default_factory=lambda: ScaleConfig(free=("A",)))

    def __post_init__(self) -> None:
        resonance(self.resonance)
        if min(self.data, self.simulation) < 1:
            raise ValueError(f"data = {self.data}, simulation = {self.simulation}; expected at least 1")

    @property
    def fits(self) -> BatchConfig:
        """How its masses are fitted."""
        return replace(self.massfit, resonance=self.resonance)


@dataclass(frozen=True, slots=True, kw_only=True)
class HitSample:
    """Accepted events that are generated and recorded.

    muons      : the generator
    n          : pairs, or muons of a W
    hits       : how they are recorded
    pixel_loss : share of muons without their pixel hits
    cut        : GeV  pT of muons on the surface of the mass: pairs that do not come near are not recorded
    """

    muons: MuonGeneration
    n: int
    hits: HitSimulation
    pixel_loss: float = 0.0
    cut: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """Section ``[tracks]``: pairs that are generated as hits of a distorted detector, and corrected from them.

    resonance        : "jpsi", "upsilon1s" or "z"
    detector         : "cms-like" or "barrel", as it is assumed to be
    data, simulation : pairs whose muons are both accepted, and near enough to the cut on the surface of their mass, of
                       the distorted and of the assumed detector
    seed             : of the data; the simulation takes the next one
    iterations       : refits and solves
    pt_min           : GeV  of generated muons; None: from where the selection may take them, or that of the generator
                       if it takes all
    eta_max          : of generated muons
    l_max, m_max     : largest degree and order of the field modes
    families         : of global parameters; empty: layers along u, field modes, groups of material
    distortion       : ``[tracks.distortion]``: the true detector less the assumed one
    misalignment     : cm  r.m.s. of a random shift, besides, of every region whose alignment floats, along each of
                       u, v, w that does
    pixel_loss       : shares of muons that lose their pixel hits, in data and in simulation: what the weight by pixel
                       hits corrects
    trigger_pt       : GeV  muons above count as those that fired the trigger, in that weight
    closing          : ``[[tracks.closing]]``: other resonances
    w_muons          : muons of W, of each charge; 0 for none
    momenta          : GeV  of the muons without noise that show the bias
    probes           : of these at each momentum
    weak_modes       : softest modes of the sums that are shown with what they do to momenta; 0 for none
    hits             : ``[tracks.hits]``: how muons are recorded
    refit            : ``[tracks.refit]``
    selection        : ``[tracks.selection]``: of the pairs that are summed; its pt_min is that of muons on the surface
                       of their mass, for which muons are generated from below (docs/physics/pairs.md)
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
    misalignment: float = 0.0
    pixel_loss: tuple[float, float] = (0.0, 0.0)
    trigger_pt: float = 25.0
    closing: tuple[ClosingSample, ...] = ()
    w_muons: int = 0
    momenta: tuple[float, ...] = (10.0, 40.0)
    probes: int = 3000
    weak_modes: int = 20
    hits: HitSimulation = field(default_factory=lambda: HitSimulation(straggling="gaussian"))
    refit: RefitConfig = field(default_factory=RefitConfig)
    selection: PairSelection = field(default_factory=lambda: PairSelection(min_hits=8, pt_min=3.5))
    solve: SolveConfig = field(default_factory=SolveConfig)

    def __post_init__(self) -> None:
        resonance(self.resonance)
        if min(self.data, self.simulation, self.iterations) < 1 or self.weak_modes < 0:
            raise ValueError(
                f"data = {self.data}, simulation = {self.simulation}, iterations = {self.iterations}; expected at "
                f"least 1, and weak_modes = {self.weak_modes} none below 0"
            )
        if self.misalignment < 0 or self.w_muons < 0 or not self.momenta or min(self.momenta) <= 0:
            raise ValueError(
                f"misalignment = {self.misalignment} cm, w_muons = {self.w_muons}, momenta = {self.momenta} GeV; "
                "expected none below 0, and a momentum"
            )
        if not all(0.0 <= share < 1.0 for share in self.pixel_loss):
            raise ValueError(f"pixel_loss = {list(self.pixel_loss)}, expected two shares, 0 to below 1")
        names = [sample.resonance for sample in self.closing]
        if len(set(names)) != len(names):
            raise ValueError(f"closing has the resonances {names}, expected each once")

    def sample(self, *, of_data: bool) -> HitSample:
        """The pairs that calibrate, or their simulation."""
        pt_min, cut = self.pt_min, self.selection.pt_min
        if pt_min is None and cut > 0:
            pt_min = self.selection.lowest_pt(resonance(self.resonance).mass)
        sample = self._sample(self.resonance, pt_min, self.data if of_data else self.simulation, 0, of_data)
        return replace(sample, cut=cut)

    def closing_sample(self, number: int, *, of_data: bool) -> HitSample:
        """Those of one of the closing resonances."""
        other = self.closing[number]
        n = other.data if of_data else other.simulation
        return self._sample(other.resonance, other.pt_min, n, OTHER_SEEDS * (number + 1), of_data)

    def w_sample(self, charge: int) -> HitSample:
        """Muons of W of a charge.  Data and simulation take the same: what differs between them is the detector."""
        process = "w_plus" if charge > 0 else "w_minus"
        return self._sample(process, None, self.w_muons, OTHER_SEEDS * (8 + charge), of_data=True)

    def _sample(self, process: str, pt_min: float | None, n: int, shift: int, of_data: bool) -> HitSample:
        muons = MuonGeneration(
            process=process, seed=self.seed + shift + (0 if of_data else 1), pt_min=pt_min, eta_max=self.eta_max,
            run=1 if of_data else 2,
        )  # fmt: skip
        hits = replace(self.hits, seed=self.hits.seed + shift + (0 if of_data else 1))
        return HitSample(muons=muons, n=n, hits=hits, pixel_loss=self.pixel_loss[0 if of_data else 1])

    def registry(self, detector: Detector) -> Registry:
        """The parameters that float."""
        families = self.families or FAMILIES
        floating = any(family.kind == "modes" for family in families)
        return build_registry(detector, families, harmonic_modes(self.l_max, self.m_max) if floating else None)
