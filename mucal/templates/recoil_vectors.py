"""Recoil, missing momentum and transverse mass: components of vectors in the transverse plane, in GeV."""

import numpy as np

from mucal.arrays import FloatArray


def project(
    ux: FloatArray, uy: FloatArray, qx: FloatArray, qy: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """pT of the boson, u_par and u_perp (GeV) from the components of recoil and boson."""
    pt = np.hypot(qx, qy)
    safe = np.where(pt > 0, pt, 1.0)
    cos, sin = np.where(pt > 0, qx / safe, 1.0), np.where(pt > 0, qy / safe, 0.0)
    return pt, -(ux * cos + uy * sin), uy * cos - ux * sin


def unproject(u_par: FloatArray, u_perp: FloatArray, qx: FloatArray, qy: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Components of the recoil (GeV), the inverse of `project`."""
    pt = np.hypot(qx, qy)
    safe = np.where(pt > 0, pt, 1.0)
    cos, sin = np.where(pt > 0, qx / safe, 1.0), np.where(pt > 0, qy / safe, 0.0)
    return -u_par * cos - u_perp * sin, -u_par * sin + u_perp * cos


def recoil_of_met(
    met: FloatArray, met_phi: FloatArray, muons_x: FloatArray, muons_y: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Recoil u = -(missing momentum) - (muons), GeV; for PF, PUPPI or DeepMET columns alike."""
    return -met * np.cos(met_phi) - muons_x, -met * np.sin(met_phi) - muons_y


def transverse_mass(pt: FloatArray, phi: FloatArray, ux: FloatArray, uy: FloatArray) -> FloatArray:
    """mT (GeV) of a muon and the missing momentum -(u + pT)."""
    x, y = pt * np.cos(phi), pt * np.sin(phi)
    missing = np.hypot(ux + x, uy + y)
    result: FloatArray = np.sqrt(np.maximum(2.0 * (pt * missing + x * (ux + x) + y * (uy + y)), 0.0))
    return result


def transverse_mass_slopes(
    pt: FloatArray, phi: FloatArray, ux: FloatArray, uy: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Derivatives of mT by the components of the recoil; 0 where mT or the missing momentum is 0."""
    x, y = pt * np.cos(phi), pt * np.sin(phi)
    missing, mt = np.hypot(ux + x, uy + y), transverse_mass(pt, phi, ux, uy)
    usable = (missing > 0) & (mt > 0)
    ratio = np.where(usable, pt / np.where(usable, missing, 1.0), 0.0)
    inverse = np.where(usable, 1.0 / np.where(usable, mt, 1.0), 0.0)
    return (ratio * (ux + x) + x) * inverse, (ratio * (uy + y) + y) * inverse
