"""Uncertainty of the partons: 29 pairs of eigenvectors, the strong coupling, the masses of charm and bottom.

Cubic B-splines in ln x multiply seven combinations of the toy densities of `theory.partons`; of all directions the 29
that move rates and polarisation of W+, W- and Z most are kept, orthonormal in the space of the splines, with sizes such
that the rate of W+ is known to 2.5 % (68 %).  Sides are stored at 90 %, as of the published set, and scaled by 1/1.645;
the lower one is smaller by 10 to 30 %.  An eigenvector acts through the luminosities on the pole: on the rate as a
function of |y|, and on A_4.  Derived in docs/physics/theory.md.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from scipy.interpolate import BSpline

from mucal.arrays import FloatArray
from mucal.theory import kernels, partons
from mucal.theory.production import POLES, SAMPLES, Density, couplings, luminosities
from mucal.theory.variation import UP, Variation, all_terms

COMBINATIONS: Final = ("u_v", "d_v", "sea", "dbar-ubar", "s", "c", "gluon")
N_SPLINES: Final = 5
N_PAIRS: Final = 29
X_RANGE: Final = (1e-4, 0.5)
RATE_ERROR: Final = 0.025
TO_68: Final = 1 / 1.645
GROUP: Final = "pdf"

_Y: Final = np.linspace(0.05, 4.5, 90)


def splines(x: FloatArray) -> FloatArray:
    """(..., 5) cubic B-splines in ln x over `X_RANGE`, constant outside."""
    low, high = np.log(X_RANGE)
    knots = np.concatenate([[low] * 4, np.linspace(low, high, N_SPLINES - 2)[1:-1], [high] * 4])
    at = np.clip(np.log(x), low, high - 1e-9)
    result: FloatArray = BSpline(knots, np.eye(N_SPLINES), 3)(at)
    return result


def varied_density(direction: FloatArray) -> Density:
    """Momentum densities changed along a direction (7 x 5,) of the splines."""
    change = direction.reshape(len(COMBINATIONS), N_SPLINES)

    def density(flavour: str, x: FloatArray) -> FloatArray:
        """x f(x) of a flavour with the coefficients changed."""
        name = flavour.removesuffix("bar")
        sea = partons.momentum_density(f"{name}bar", x)
        valence = partons.momentum_density(flavour, x) - sea
        basis = splines(np.clip(x, 1e-7, 1.0))
        by_name = dict(zip(COMBINATIONS, basis @ change.T if basis.ndim == 1 else np.moveaxis(basis @ change.T, -1, 0),
                           strict=True))  # fmt: skip
        shift = by_name["gluon"] + (by_name["sea"] if name in "ud" else by_name[name])
        if flavour in ("ubar", "dbar"):
            shift = shift + (0.5 if name == "d" else -0.5) * by_name["dbar-ubar"]
        result: FloatArray = sea * np.exp(shift)
        if flavour in ("u", "d"):
            result = result + valence * np.exp(by_name[f"{name}_v"])
        return result

    return density


def ratios(sample: str, density: Density, nominal: Density = partons.momentum_density) -> tuple[FloatArray, FloatArray]:
    """Rate and A_4 on the pole over those of the nominal densities, at |y| of `_Y`."""
    mass = np.full(_Y.size, POLES[sample][0])
    coupling = couplings(sample)
    rate, forward = kernels.rates(mass, coupling, luminosities(sample, mass, _Y, nominal))
    rate_varied, forward_varied = kernels.rates(mass, coupling, luminosities(sample, mass, _Y, density))
    return rate_varied / rate, forward_varied / forward


def density_ratios(sample: str, density: Density, nominal: Density) -> tuple[FloatArray, FloatArray, FloatArray]:
    """|y|, and there rate and A_4 on the pole of some densities over those of others."""
    return _Y, *ratios(sample, density, nominal)


@lru_cache(maxsize=1)
def eigenvectors() -> FloatArray:
    """(29, 35) directions of the splines, one standard deviation (68 %) long."""
    size, step = len(COMBINATIONS) * N_SPLINES, 1e-3
    response = np.stack([_observed(varied_density(step * np.eye(size)[j])) / step for j in range(size)], axis=1)
    directions = np.linalg.svd(response, full_matrices=False)[2][:N_PAIRS]
    total = response[:1] @ directions.T
    result: FloatArray = directions * RATE_ERROR / float(np.linalg.norm(total))
    return result


def _observed(density: Density) -> FloatArray:
    """Logarithms of the W+ rate, then of rates and A_4 at the |y| of muons that are seen, all three bosons."""
    seen = slice(0, 60, 4)
    found = [ratios(sample, density) for sample in SAMPLES]
    y_rate = kernels.rates(np.full(_Y.size, 80.379), couplings("w_plus"), luminosities("w_plus", 80.379, _Y))[0]
    total = np.log(np.average(found[0][0], weights=y_rate))
    return np.concatenate([[total], *(np.log(values[seen]) for pair in found for values in pair)])


def pdf_variations() -> tuple[Variation, ...]:
    """29 pairs, the coupling, and the two masses: 58, 2 and 4 nuisances."""
    asymmetry = 0.1 + 0.2 * ((0.618 * np.arange(N_PAIRS)) % 1.0)
    pairs = [
        _densities(f"pdf_{k:02d}", v / TO_68, -(1.0 - asymmetry[k]) * v / TO_68)
        for k, v in enumerate(eigenvectors())
    ]  # fmt: skip
    return (*pairs, _alpha_s(), _quark_mass("charm_mass", "c", 0.03), _quark_mass("bottom_mass", "gluon", 0.004))


def _densities(name: str, up: FloatArray, down: FloatArray, group: str = GROUP, scale: float = TO_68) -> Variation:
    return Variation(
        name=name, group=group, symmetrise="pair", scale=scale,
        terms=lambda sample, pt, y, side: _factors(sample, y, tuple(up if side == UP else down)),
    )  # fmt: skip


def _factors(sample: str, y: FloatArray, direction: tuple[float, ...]) -> FloatArray:
    rate, forward = _tabulated(sample, direction)
    result = all_terms(np.interp(y, _Y, rate))
    result[:, 5] *= np.interp(y, _Y, forward)
    return result


@lru_cache(maxsize=1024)
def _tabulated(sample: str, direction: tuple[float, ...]) -> tuple[FloatArray, FloatArray]:
    return ratios(sample, varied_density(np.array(direction)))


def _alpha_s() -> Variation:
    """The strong coupling +-0.0015: softer valence, more sea at small x, a harder pT."""
    direction = np.zeros((len(COMBINATIONS), N_SPLINES))
    direction[:2] = 0.006 * np.linspace(1.0, -1.5, N_SPLINES)
    direction[6] = 0.012 * np.linspace(1.0, -1.0, N_SPLINES)

    def terms(sample: str, pt: FloatArray, y: FloatArray, side: int) -> FloatArray:
        step = 1.0 if side == UP else -0.9
        harder = np.exp(step * 0.008 * np.tanh((pt - 12.0) / 12.0))
        return _factors(sample, y, tuple((step * direction).ravel())) * harder[:, None]

    return Variation(name="alpha_s", group="alpha_s", terms=terms, symmetrise="pair")


def _quark_mass(name: str, combination: str, size: float) -> Variation:
    """A heavy quark's mass: its density at small x, and the boson's pT where it is produced."""
    direction = np.zeros((len(COMBINATIONS), N_SPLINES))
    direction[COMBINATIONS.index(combination)] = size * np.linspace(1.0, 0.4, N_SPLINES)
    scale = 6.0 if combination == "c" else 14.0

    def terms(sample: str, pt: FloatArray, y: FloatArray, side: int) -> FloatArray:
        step = 1.0 if side == UP else -0.85
        softer = np.exp(step * 0.15 * size * (1.0 - pt / scale) * np.exp(-pt / scale))
        return _factors(sample, y, tuple((step * direction).ravel())) * softer[:, None]

    return Variation(name=name, group="pt_model", terms=terms, symmetrise="pair")
