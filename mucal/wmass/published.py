"""Numbers of CMS-SMP-23-002 (arXiv:2412.13872; Nature 652 (2026) 321) to print beside ours; masses in GeV.

Sources: S the talk of A. Gilbert at Higgs Hunting 2024, P the paper or HEPData ins2860928 from memory, C the public
code WMass/WRemnants.  A simple model cannot reproduce absolute systematic impacts; structure, ordering and sum rules
can be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from mucal.units import MeV

MASS_W: Final = (80360.2 * MeV, 9.9 * MeV)
"""The result and its error (S)."""

SOURCES: Final = (
    "muon momentum scale", "muon reco efficiency", "angular coefficients", "higher-order EW", "pT model", "PDF",
    "nonprompt", "luminosity", "MC size", "data size",
)  # fmt: skip

_NAN: Final = float("nan")

BREAKDOWN: Final[Mapping[str, tuple[float, ...]]] = {
    "m_W nominal": (4.8, 3.0, 3.3, 2.0, 2.0, 4.4, 3.2, 0.1, 1.5, 2.4),
    "m_W global": (4.4, 2.3, 3.0, 1.9, 0.8, 2.8, 1.7, 0.1, 3.8, 6.0),
    "m_Z W-like nominal": (5.6, 3.8, 4.9, 2.2, 1.7, 2.4, _NAN, 0.3, 2.5, 6.9),
    "m_Z W-like global": (5.3, 3.0, 4.5, 2.2, 1.0, 1.9, _NAN, 0.2, 3.6, 10.1),
    "m_Z+ - m_Z- global": (21.2, 6.5, 13.9, 0.2, 0.4, 0.7, _NAN, _NAN, 6.4, 18.1),
    "m_W+ - m_W- global": (20.0, 5.8, 13.7, 1.5, 2.7, 4.2, 4.8, 0.1, 8.4, 13.4),
}
"""MeV by `SOURCES`; NaN where a source does not exist or is below 0.1 (S; W-like nominal partly P)."""

TOTALS: Final[Mapping[str, float]] = {
    "m_W nominal": 9.9, "m_W global": 9.9, "m_Z W-like nominal": 13.5, "m_Z W-like global": 13.5,
    "m_Z+ - m_Z- global": 32.5, "m_W+ - m_W- global": 30.3,
}  # fmt: skip
"""MeV (S)."""

CALIBRATION: Final[Mapping[str, tuple[float, int]]] = {
    "J/psi stat": (3.7, 144), "Z closure stat": (1.0, 48), "Z closure LEP": (1.7, 1), "resolution": (1.4, 72),
    "pixel multiplicity": (0.7, 49), "total": (4.8, 314),
}  # fmt: skip
"""Nominal impact on m_W in MeV, and number of nuisances (S)."""

DIFFERENCES: Final[Mapping[str, tuple[float, float]]] = {
    "m_W+ - m_W-": (57.0, 30.3), "eta sign": (5.8, 12.4), "central - forward": (15.3, 14.7),
    "W-like charge": (31.0, 32.0), "W-like charge, flipped": (6.0, 32.0),
    "dilepton m_Z - PDG": (-2.2, 4.8), "W-like m_Z - PDG": (-6.0, 14.0),
}  # fmt: skip
"""Value and error in MeV (S; central - forward and the W-like charge differences P)."""

HELICITY: Final = (80360.8 * MeV, 15.2 * MeV)
HELICITY_PARAMETERS: Final = 864
"""The fit with free cross sections of helicities (S)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PdfSet:
    """What one set of partons gave.

    name           : of the set
    factor         : on its uncertainties (S)
    error, scaled  : MeV, its part of the error before and after that factor (S)
    chi2           : of 116 bins: nominal, without partons and alpha_s, without theory uncertainties (S)
    percent        : p-values printed beside them
    """

    name: str
    factor: float
    error: float
    scaled: float
    chi2: tuple[float, float, float]
    percent: tuple[float, float, float]


PDF_SETS: Final = (
    PdfSet(name="CT18Z", factor=1.0, error=4.4, scaled=4.4, chi2=(100.7, 125.3, 103.8), percent=(84, 26, 78)),
    PdfSet(name="CT18", factor=1.0, error=4.6, scaled=4.6, chi2=(100.7, 153.2, 105.7), percent=(84, 1.0, 74)),
    PdfSet(name="PDF4LHC21", factor=1.0, error=4.1, scaled=4.1, chi2=(97.7, 105.5, 104.1), percent=(89, 75, 78)),
    PdfSet(name="MSHT20", factor=1.5, error=4.3, scaled=5.1, chi2=(97.0, 107.4, 98.8), percent=(90, 70, 87)),
    PdfSet(name="MSHT20aN3LO", factor=1.5, error=4.2, scaled=4.9, chi2=(99.0, 122.8, 101.9), percent=(87, 31, 82)),
    PdfSet(name="NNPDF3.1", factor=3.0, error=3.2, scaled=5.3, chi2=(99.1, 105.5, 115.0), percent=(87, 75, 51)),
    PdfSet(name="NNPDF4.0", factor=5.0, error=2.4, scaled=6.0, chi2=(99.7, 104.3, 116.7), percent=(86, 77, 46)),
)
PDF_BINS: Final = 116
"""48 of eta for each charge of the W, 20 of the rapidity of pairs."""

COUNTS: Final[Mapping[str, Mapping[str, int]]] = {
    "m_W": {
        "efficiency": 3658, "nonprompt": 387, "prompt background": 3, "calibration": 314, "prefiring": 14,
        "luminosity": 1, "pdf": 58, "alpha_s": 2, "angular_coefficients": 353, "pt_model": 32, "electroweak": 7,
        "constants": 4,
    },
    "m_Z W-like": {
        "efficiency": 3127, "prompt background": 2, "calibration": 314, "prefiring": 14, "luminosity": 1, "pdf": 58,
        "alpha_s": 2, "angular_coefficients": 177, "pt_model": 22, "electroweak": 6, "constants": 2,
    },
}  # fmt: skip
"""Nuisances by group (C; the totals of the paper are larger by 26 and 25, nearly all nuisances without effect)."""


def quadrature(column: str) -> float:
    """MeV, root of the sum of squares of the rows of a column of `BREAKDOWN`."""
    return float(np.sqrt(np.nansum(np.square(BREAKDOWN[column]))))
