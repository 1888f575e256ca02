"""What to fit to one spectrum, and the resonances that are fitted together."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from mucal.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Resonances of one window.

    states : names in `theory.pdg`, the one that carries the scale first
    window : GeV, default
    sigma  : relative resolution to start from
    """

    states: tuple[str, ...]
    window: tuple[float, float]
    sigma: float


FAMILIES: Final = {
    "jpsi": Family(states=("jpsi",), window=(2.9, 3.3), sigma=0.01),
    "psi2s": Family(states=("psi2s",), window=(3.35, 4.05), sigma=0.01),
    "jpsi+psi2s": Family(states=("jpsi", "psi2s"), window=(2.7, 4.1), sigma=0.01),
    "upsilon": Family(states=("upsilon1s", "upsilon2s", "upsilon3s"), window=(8.5, 11.5), sigma=0.01),
    "z": Family(states=("z",), window=(75.0, 110.0), sigma=0.015),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumConfig:
    """Model and engine of `fit_spectrum`.

    resonance        : "jpsi", "psi2s", "jpsi+psi2s", "upsilon" (1S, 2S, 3S) or "z"; the states of one spectrum share
                       the scale and the relative width, so their mass ratios are those of the PDG
    window           : GeV, (low, high); none: the resonance's own (J/psi 2.9 to 3.3, Z 75 to 110 …)
    n_bins           : equal bins over the window
    signal           : resolution: "gaussian", "double_gaussian" (sigma, ratio, fraction) or "dscb" (sigma, alpha_l,
                       n_l, alpha_r, n_r)
    radiation        : smear the line with its final-state radiation; without, a line or the bare gamma*/Z
    luminosity_power : of the falling parton luminosity under the Z
    background       : "exponential" (slope), "chebyshev" (c1 …), "bernstein" (b1 …), "cms_shape" (alpha, beta,
                       gamma) or "none"
    degree           : of "chebyshev" and "bernstein"
    engine           : "iminuit", or "zfit", an independent model and minimiser
    minos            : asymmetric errors of the profile likelihood as well (iminuit)
    start            : parameter -> value to start from
    fixed            : parameter -> value held
    constraints      : parameter -> (mean, sigma), adding (x - mean)^2 / sigma^2 to -2 ln L
    min_events       : fewer in the window are not fitted
    min_p_value      : a goodness of fit below marks the result BAD_GOF
    """

    resonance: str = "jpsi"
    window: tuple[float, float] | None = None
    n_bins: int = 80
    signal: Literal["gaussian", "double_gaussian", "dscb"] = "double_gaussian"
    radiation: bool = True
    luminosity_power: float = 3.0
    background: Literal["exponential", "chebyshev", "bernstein", "cms_shape", "none"] = "exponential"
    degree: int = 2
    engine: Literal["iminuit", "zfit"] = "iminuit"
    minos: bool = False
    start: Mapping[str, float] = field(default_factory=dict)
    fixed: Mapping[str, float] = field(default_factory=dict)
    constraints: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    min_events: int = 50
    min_p_value: float = 0.01

    def __post_init__(self) -> None:
        for key, known in CHOICES.items():
            _check_choice(key, getattr(self, key), known)
        low, high = self.range
        if not 0.25 < low < high < 1e4:
            raise ConfigError(
                f"window = [{low:g}, {high:g}] GeV is not a mass window above the dimuon threshold",
                kind="config.window",
                do="give it as [low, high] in GeV",
            )
        for key, smallest in (("n_bins", 5), ("degree", 1), ("min_events", 1)):
            if getattr(self, key) < smallest:
                raise ConfigError(f"{key} = {getattr(self, key)}, expected at least {smallest}", kind="config.value")
        for name, (_, sigma) in self.constraints.items():
            if not sigma > 0:
                raise ConfigError(
                    f"the constraint on {name} has sigma = {sigma}, expected > 0; to hold a parameter use 'fixed'",
                    kind="config.value",
                )

    @property
    def family(self) -> Family:
        """The resonances of this spectrum."""
        return FAMILIES[self.resonance]

    @property
    def range(self) -> tuple[float, float]:
        """GeV, the window in use"""
        low, high = self.window or self.family.window
        return float(low), float(high)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for provenance."""
        return asdict(self)


CHOICES: Final = {
    "resonance": tuple(FAMILIES),
    "signal": ("gaussian", "double_gaussian", "dscb"),
    "background": ("exponential", "chebyshev", "bernstein", "cms_shape", "none"),
    "engine": ("iminuit", "zfit"),
}


def _check_choice(key: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        near = nearest(found, known)
        raise ConfigError(
            f"{key} = '{found}' is not known" + (f"; the nearest is '{near[0]}'" if near else ""),
            kind="config.unknown_choice",
            where={"known": ", ".join(known)},
        )
