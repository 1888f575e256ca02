"""Reference masses and widths: one table, one source."""

from dataclasses import dataclass
from typing import Final

from mucal.errors import ConfigError, nearest
from mucal.units import MeV, keV

EDITION: Final = 2026


@dataclass(frozen=True, slots=True, kw_only=True)
class Resonance:
    """A state that decays to two muons.

    name        : as used in configurations
    label       : for figures, in TeX
    pdg_id      : Monte Carlo particle number
    mass        : GeV, with its uncertainty
    width       : GeV, with its uncertainty (total)
    edition     : year of the Review of Particle Physics
    """

    name: str
    label: str
    pdg_id: int
    mass: float
    mass_error: float
    width: float
    width_error: float
    edition: int = EDITION


# Review of Particle Physics 2026 (meson, gauge-boson summary tables and their machine-readable form).
RESONANCES: Final = {
    r.name: r
    for r in (
        Resonance(
            name="jpsi", label=r"J/$\psi$", pdg_id=443,
            mass=3096.900 * MeV, mass_error=0.006 * MeV, width=92.6 * keV, width_error=1.7 * keV,
        ),
        Resonance(
            name="psi2s", label=r"$\psi$(2S)", pdg_id=100443,
            mass=3686.097 * MeV, mass_error=0.011 * MeV, width=293.0 * keV, width_error=9.0 * keV,
        ),
        Resonance(
            name="upsilon1s", label=r"$\Upsilon$(1S)", pdg_id=553,
            mass=9460.40 * MeV, mass_error=0.10 * MeV, width=54.02 * keV, width_error=1.25 * keV,
        ),
        Resonance(
            name="upsilon2s", label=r"$\Upsilon$(2S)", pdg_id=100553,
            mass=10023.4 * MeV, mass_error=0.5 * MeV, width=31.98 * keV, width_error=2.63 * keV,
        ),
        Resonance(
            name="upsilon3s", label=r"$\Upsilon$(3S)", pdg_id=200553,
            mass=10355.1 * MeV, mass_error=0.5 * MeV, width=20.32 * keV, width_error=1.85 * keV,
        ),
        Resonance(
            name="z", label="Z", pdg_id=23,
            mass=91187.9 * MeV, mass_error=2.0 * MeV, width=2495.5 * MeV, width_error=2.3 * MeV,
        ),
        Resonance(
            name="w", label="W", pdg_id=24,
            mass=80362.5 * MeV, mass_error=7.7 * MeV, width=2.14, width_error=0.05,
        ),
    )
}  # fmt: skip


def resonance(name: str) -> Resonance:
    """The entry called `name`.  Raises ConfigError that names the nearest entries."""
    if name not in RESONANCES:
        near = nearest(name, RESONANCES) or list(RESONANCES)
        raise ConfigError(
            f"no resonance '{name}'; the nearest are {', '.join(near)}",
            kind="config.unknown_resonance",
            where={"known": ", ".join(RESONANCES)},
        )
    return RESONANCES[name]
