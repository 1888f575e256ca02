"""What the resolution owes to d, where its cross term is taken to saturate: fixed in the table, and scanned here."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import NotCertified
from mucal.massfit.fits import MassFits
from mucal.scale.resolution import ResolutionConfig, curvature_variance, derive_resolution
from mucal.scale.table import DScan, ResolutionTable

SCANNED: Final = (10.0, 100.0, 370.0)
"""GeV^2; 370 and 100 are in public parameter files of CMS, with 10 the cross term saturates below most J/psi muons."""
MOMENTA: Final = (8.0, 40.0)
"""GeV, of muons from J/psi and from W."""


def scan_d(fits: Sequence[MassFits], config: ResolutionConfig, d: Sequence[float] = SCANNED) -> DScan:
    """The table derived again with each of some d, and what each says of the resolution at 8 and 40 GeV.

    fits   : as for `derive_resolution`
    config : its d is not used
    d      : GeV^2, positive

    A d with which the widths give no table has NaN.  Raises ValueError for a d that is not positive.
    Derived in docs/physics/scale.md.
    """
    sigma, error = np.full((2, len(d), len(MOMENTA)), np.nan)
    chi2 = np.full(len(d), np.nan)
    for i, config_of_d in enumerate([replace(config, d=value) for value in d]):
        try:
            table = derive_resolution(fits, config_of_d)
        except (NotCertified, ValueError):
            continue
        chi2[i] = table.chi2
        sigma[i], error[i] = np.transpose([mean_resolution(table, pt) for pt in MOMENTA])
    return DScan(d=np.array(d), pt=np.array(MOMENTA), sigma=sigma, error=error, chi2=chi2)


def mean_resolution(table: ResolutionTable, pt: float) -> tuple[float, float]:
    """Root of the mean over eta of (sigma_k/k)^2 at a momentum (GeV), and its error; NaN if that mean is negative."""
    shape = _slopes(pt, table.d) / table.n_bins
    square = float(np.mean(curvature_variance(np.asarray(pt), table.a, table.b, table.c, table.d)))
    if not square > 0.0:
        return np.nan, np.nan
    sigma = float(np.sqrt(square))
    return sigma, float(np.sqrt(shape @ table.cov @ shape)) / (2.0 * sigma)


def _slopes(pt: float, d: FloatArray) -> FloatArray:
    """(3B,) of the curvature variance by a, b, c of every bin: it is linear in them."""
    at = np.full(d.size, pt)
    return np.concatenate([curvature_variance(at, a, b, c, d) for a, b, c in np.eye(3)])
