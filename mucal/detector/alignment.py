"""Modules that stand elsewhere: the six alignment parameters applied exactly."""

from dataclasses import replace

import numpy as np

from mucal.arrays import FloatArray
from mucal.detector.table import Modules


def displaced(modules: Modules, parameters: FloatArray) -> Modules:
    """The modules after a rigid displacement of each, in the convention of `alignment_derivatives`.

    centre' = centre + d_u u + d_v v + d_w w; then the axes are turned about the module's centre by the rotation vector
    a u + b v + c w (right-handed, by its length).

    parameters : (M, 6)  d_u, d_v, d_w in cm, a, b, c in rad, as `ALIGNMENT`

    Returns new modules; what they measure and their material are the same.  Raises ValueError for another shape or
    numbers that are not finite.
    """
    if parameters.shape != (modules.n_modules, 6):
        raise ValueError(f"parameters has shape {parameters.shape}, expected {(modules.n_modules, 6)}")
    if not np.all(np.isfinite(parameters)):
        row = int(np.argmin(np.isfinite(parameters).all(axis=1)))
        raise ValueError(f"alignment parameters of module {row} are not finite: {parameters[row]}")
    shift, turn = parameters[:, :3], parameters[:, 3:]
    return replace(
        modules,
        centre=modules.centre + np.einsum("mi,mij->mj", shift, modules.rotation),
        rotation=np.einsum("mji,mjk->mik", _rotations(turn), modules.rotation),
    )


def _rotations(vector: FloatArray) -> FloatArray:
    """Rotation matrices of rotation vectors, 1 + sin/angle K + (1 - cos)/angle^2 K^2: (M, 3) rad -> (M, 3, 3)."""
    angle = np.linalg.norm(vector, axis=1)[:, None, None]
    k = np.zeros((len(vector), 3, 3))
    k[:, 2, 1], k[:, 0, 2], k[:, 1, 0] = vector.T
    k -= k.transpose(0, 2, 1)
    # numpy's sinc is sin(pi x) / (pi x): no division by zero at angle 0
    rotation: FloatArray = np.eye(3) + np.sinc(angle / np.pi) * k + 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2 * (k @ k)
    return rotation
