"""Fitted tracks and pairs as plain columns, one row a track or a pair.

A track has qop (1/GeV), lam, phi (rad), dxy, dsz (cm) about ref_x, ref_y, ref_z, and the same in pt, eta, charge; a
pair has these of mu+ (1) and mu- (2) less dxy and dsz, and its vertex_x, vertex_y, vertex_z.  Covariances are the
columns cov_A_B of the upper triangle, in the order of the names.
"""

from typing import Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.refit import PairFits, PairPass, TrackFits
from mucal.track import LAM, PHI, QOP

TRACK: Final = ("qop", "lam", "phi", "dxy", "dsz")
PAIR: Final = ("qop1", "lam1", "phi1", "qop2", "lam2", "phi2", "x", "y", "z")
IDS: Final = ("run", "lumi", "event", "pair")

Columns = dict[str, np.ndarray]


def track_columns(fits: TrackFits, keep: BoolArray | None = None, n_outliers: IntArray | None = None) -> Columns:
    """Columns of the tracks `keep` (N,), by default of those that are OK.

    n_outliers : (N,) hits that were removed, if any could be
    """
    rows = np.flatnonzero(fits.ok if keep is None else keep)
    state = fits.state[rows]
    columns = {name: getattr(fits, name)[rows] for name in IDS}
    columns |= _kinematics(state[:, QOP], state[:, LAM], "")
    columns |= {name: state[:, i] for i, name in enumerate(TRACK)}
    columns |= {f"ref_{axis}": fits.reference[rows, i] for i, axis in enumerate("xyz")}
    columns |= _covariance(fits.cov[rows], TRACK)
    columns |= {name: getattr(fits, name)[rows] for name in ("chi2", "ndof", "edm", "n_iterations", "status")}
    if n_outliers is not None:
        columns["n_outliers"] = n_outliers[rows]
    return columns


def pair_columns(fits: PairFits, keep: BoolArray | None = None, n_outliers: IntArray | None = None) -> Columns:
    """Columns of the pairs `keep` (C,), by default of those whose vertex fit is OK.

    n_outliers : (C,) hits of both tracks that were removed, if any could be
    """
    rows = np.flatnonzero(fits.vertex.ok if keep is None else keep)
    columns = {name: getattr(fits, name)[rows] for name in IDS} | _of_pass(fits.vertex, rows)
    if n_outliers is not None:
        columns["n_outliers"] = n_outliers[rows]
    return columns


def constrained_columns(fits: PairFits, keep: BoolArray | None = None) -> Columns:
    """Columns of the fit with the mass of the same pairs, and of the mass that it assumed; NaN where it failed."""
    rows = np.flatnonzero(fits.vertex.ok if keep is None else keep)
    found = {f"constrained_{name}": values for name, values in _of_pass(fits.constrained, rows).items()}
    return {name: getattr(fits, name)[rows] for name in ("m_ref", "gamma")} | found


def _of_pass(fits: PairPass, rows: IntArray) -> Columns:
    state = fits.state[rows]
    columns: Columns = {}
    for leg, number in ((0, "1"), (3, "2")):
        columns |= _kinematics(state[:, leg + QOP], state[:, leg + LAM], number)
        columns |= {f"{n}{number}": state[:, leg + i] for n, i in (("qop", QOP), ("lam", LAM), ("phi", PHI))}
    columns |= {f"vertex_{axis}": state[:, 6 + i] for i, axis in enumerate("xyz")}
    columns |= {name: getattr(fits, name)[rows] for name in ("mass", "sigma_mass")}
    columns |= _covariance(fits.cov[rows], PAIR)
    columns |= {name: getattr(fits, name)[rows] for name in ("chi2", "ndof", "edm", "n_iterations", "status")}
    return columns


def _kinematics(qop: FloatArray, lam: FloatArray, number: str) -> Columns:
    charge = np.where(np.isfinite(qop), np.sign(qop), 0).astype(np.int64)
    return {
        f"pt{number}": np.cos(lam) / np.abs(qop),
        f"eta{number}": np.arcsinh(np.tan(lam)),
        f"charge{number}": charge,
    }


def _covariance(cov: FloatArray, names: tuple[str, ...]) -> Columns:
    n = len(names)
    return {f"cov_{names[i]}_{names[j]}": cov[:, i, j] for i in range(n) for j in range(i, n)}
