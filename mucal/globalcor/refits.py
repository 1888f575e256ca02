"""Recorded hits to what they say of the global parameters: the refit, with the corrections so far applied."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mucal.arrays import FloatArray, IntArray
from mucal.detector import Detector
from mucal.detector.field import MagneticField
from mucal.errors import InputError
from mucal.globalcor.corrections import corrected, values_at
from mucal.globalcor.derivatives import ReferenceDerivatives
from mucal.globalcor.registry import Registry
from mucal.propagation import Surfaces, Terrain, surfaces_of, terrain
from mucal.refit import (
    BeamLine,
    MassReference,
    PairFits,
    PairSelection,
    ProfiledBlocks,
    RefitConfig,
    RobustConfig,
    RobustFits,
    TrackFits,
    fit_pairs,
    fit_robustly,
    fit_tracks,
)
from mucal.refit.tracks import started
from mucal.track import Hits


@dataclass(frozen=True, kw_only=True)
class Refit:
    """How hits are fitted for one sum: always the same detector, corrections and selection.

    detector  :       as assumed, without corrections
    registry  :       whose parameters the derivatives are by
    theta     : (P,)  corrections applied in the fit; empty: none
    config    :
    mass      :       of pairs; None: their vertex only
    selection :       of pairs
    beam      :       the luminous region, None for muons that may come from displaced decays
    """

    detector: Detector
    registry: Registry
    theta: FloatArray = field(default_factory=lambda: np.zeros(0))
    config: RefitConfig = field(default_factory=RefitConfig)
    mass: MassReference | None = None
    selection: PairSelection = field(default_factory=PairSelection)
    beam: BeamLine | None = None

    def __post_init__(self) -> None:
        if self.theta.size not in (0, len(self.registry)):
            raise ValueError(f"theta has {self.theta.size} corrections, the registry {len(self.registry)} parameters")
        if self.detector.field is None:
            raise InputError(f"'{self.detector.name}' has no field: tracks cannot be fitted", kind="input.no_field")

    @cached_property
    def total(self) -> FloatArray:
        """(P,) the corrections, 0 where there are none."""
        return self.theta if self.theta.size else np.zeros(len(self.registry))

    @cached_property
    def model(self) -> Detector:
        """The detector with the corrections of alignment and field modes."""
        return corrected(self.registry, self.total, self.detector)

    @property
    def magnet(self) -> MagneticField:
        """Its field."""
        assert self.model.field is not None
        return self.model.field

    @cached_property
    def surfaces(self) -> Surfaces:
        """Its surfaces, made once."""
        return surfaces_of(self.model)

    @cached_property
    def ground(self) -> Terrain:
        """Its terrain, made once."""
        return terrain(self.model)

    def pairs(self, hits: Hits, *, profile: bool = True) -> tuple[PairFits, ProfiledBlocks | None]:
        """Fits of the pairs, and their blocks if they are wanted."""
        paired = hits.pair >= 0
        chosen = hits if np.all(paired) else hits.select(paired)
        return fit_pairs(
            self.model, self.magnet, *self.started(chosen), self.config, mass=self._mass,
            selection=self.selection, beam=self.beam, parameters=self.registry.map if profile else None,
            surfaces=self.surfaces, offsets=self.offsets, ln_loss=self.ln_loss,
        )  # fmt: skip

    def tracks(self, hits: Hits, *, profile: bool = True) -> tuple[TrackFits, ProfiledBlocks | None]:
        """Fits of all tracks on their own, and their blocks if they are wanted."""
        return fit_tracks(
            self.model, self.magnet, *self.started(hits), self.config,
            parameters=self.registry.map if profile else None, surfaces=self.surfaces, offsets=self.offsets,
            ln_loss=self.ln_loss,
        )  # fmt: skip

    def robustly(self, hits: Hits, robust: RobustConfig) -> RobustFits:
        """Fits of all tracks on their own that judge their hits; no blocks."""
        return fit_robustly(
            self.model, self.magnet, *self.started(hits), self.config, robust, surfaces=self.surfaces,
            offsets=self.offsets, ln_loss=self.ln_loss,
        )[0]  # fmt: skip

    def derivatives(self, fits: TrackFits) -> ReferenceDerivatives:
        """J_ref of single tracks, for `apply`."""
        return ReferenceDerivatives(
            digest=self.registry.map.digest, offsets=fits.j_offsets, label=fits.j_label,
            values=fits.j_ref.astype(np.float64),
        )  # fmt: skip

    def started(self, hits: Hits) -> tuple[Hits, IntArray]:
        """The hits with better seeds, and the elements that each track crosses."""
        return started(self.model, self.magnet, hits, ground=self.ground, n_threads=self.config.n_threads)

    def routes(self, hits: Hits) -> IntArray:
        """The elements that each track crosses."""
        return self.started(hits)[1]

    @cached_property
    def _mass(self) -> MassReference | None:
        label = self.registry.map.mass
        if self.mass is None or label[0] < 0:
            return self.mass
        return replace(self.mass, m_ref=self.mass.m_ref + values_at(label, self.total))

    @cached_property
    def offsets(self) -> FloatArray | None:
        """(E, 3) T, corrections of the field on legs; None if there are none."""
        index = self.registry.map.bfield
        return values_at(index, self.total) if self.theta.size and np.any(index >= 0) else None

    @cached_property
    def ln_loss(self) -> FloatArray | None:
        """(E,) corrections of the loss; None if there are none."""
        index = self.registry.map.eloss
        return values_at(index, self.total) if self.theta.size and np.any(index >= 0) else None
