"""The conditional chain of muon selection steps and how each is measured and smoothed."""

from dataclasses import dataclass
from typing import Final, Literal

from mucal.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One conditional efficiency.

    name         : as used in files and nuisances
    probe        : the flag that a probe has
    passing      : the flag that a passing probe has besides
    by_charge    : measured for each charge
    in_ut        : measured and smoothed in u_T too
    momentum     : which momentum gives pT and mass: of the muon, or of the standalone muon
    n_variations : statistical eigenvariations for one (eta, charge)
    alt_background : has a systematic variation of the background model
    """

    name: str
    probe: str
    passing: str
    by_charge: bool
    in_ut: bool
    momentum: Literal["muon", "standalone"]
    n_variations: int
    alt_background: bool = False


STEPS: Final[tuple[Step, ...]] = (
    Step(name="reco", probe="track", passing="global_muon", by_charge=True, in_ut=False, momentum="muon",
         n_variations=4, alt_background=True),
    Step(name="tracking", probe="standalone", passing="global_muon", by_charge=True, in_ut=False,
         momentum="standalone", n_variations=3, alt_background=True),
    Step(name="idip", probe="global_muon", passing="idip", by_charge=True, in_ut=False, momentum="muon",
         n_variations=4),
    Step(name="trigger", probe="idip", passing="trigger", by_charge=True, in_ut=True, momentum="muon",
         n_variations=12),
    Step(name="iso", probe="trigger", passing="iso", by_charge=False, in_ut=True, momentum="muon", n_variations=12),
)  # fmt: skip
"""The published factorisation, arXiv:2412.13872: 4 and 3 parameters are a cubic and a parabola in pT, 12 a cubic in
pT times a parabola in u_T (the split is inferred from the published total)."""

VETO: Final = Step(
    name="veto", probe="track", passing="veto", by_charge=True, in_ut=False, momentum="muon", n_variations=4
)
"""Whether the veto on a second muon finds it: its own looser chain in one step, no part of the product."""


def step(name: str) -> Step:
    """The step of that name.  Raises ConfigError that names the nearest."""
    for one in (*STEPS, VETO):
        if one.name == name:
            return one
    names = [one.name for one in (*STEPS, VETO)]
    near = ", ".join(nearest(name, names) or names)
    raise ConfigError(
        f"no efficiency step '{name}'; the nearest are {near}",
        kind="config.efficiency_step",
        where={"known": ", ".join(names)},
    )
