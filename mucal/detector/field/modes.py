"""Harmonic corrections to the field: divergence- and curl-free by construction, one number a mode."""

from dataclasses import dataclass
from math import factorial

import numpy as np

from mucal.arrays import FloatArray, IntArray, check_shapes
from mucal.detector.field import kernels
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldModes(Result):
    """M modes Phi = N_lm r^l P_l^m(cos theta) {cos m phi, sin m phi}; one unit of each has 1 T rms in the tracker.

    index       : (M, 3)  l, m, and 0 for cos, 1 for sin
    scale       : (M,)    T / cm^(l-1), makes one unit of the mode out of the solid harmonics of `field.kernels`
    radius, half_length : cm  the cylinder over which |B| of one unit has an rms of 1 T
    """

    index: IntArray
    scale: FloatArray
    radius: float
    half_length: float

    def __post_init__(self) -> None:
        check_shapes(self, index=(self.index.shape[0], 3), scale=(self.index.shape[0],))
        l, m, phase = self.index.T
        wrong = (l < 1) | (m < 0) | (m > l) | ((phase != 0) & (phase != 1)) | ((m == 0) & (phase == 1))
        if np.any(wrong):
            raise ValueError(
                f"(l, m, phase) = {tuple(self.index[wrong][0].tolist())} is no mode; "
                "a mode has l >= 1, 0 <= m <= l, phase 0 or 1, and phase 0 if m = 0"
            )

    @property
    def degree(self) -> int:
        """Largest l."""
        return int(self.index[:, 0].max(initial=0))

    @property
    def names(self) -> tuple[str, ...]:
        """As ``bfield/l2m1c``."""
        return tuple(f"bfield/l{l}m{m}{'cs'[phase]}" for l, m, phase in self.index.tolist())


def harmonic_modes(
    l_max: int, m_max: int | None = None, *, radius: float = 110.0, half_length: float = 280.0
) -> FieldModes:
    """All modes with 1 <= l <= l_max and m <= m_max; l = 1, m = 0 is a uniform B_z.

    l_max, m_max        : largest degree and order; by default all orders
    radius, half_length : cm  the tracker volume of the normalisation

    Raises ValueError for a negative order or no mode at all.
    """
    m_max = l_max if m_max is None else m_max
    if l_max < 1 or m_max < 0:
        raise ValueError(f"l_max = {l_max}, m_max = {m_max}; expected l_max >= 1 and m_max >= 0")
    rows = [
        (l, m, phase)
        for l in range(1, l_max + 1)
        for m in range(min(l, m_max) + 1)
        for phase in range(2 if m > 0 else 1)
    ]
    return whitened_modes(np.array(rows, dtype=np.int64), radius=radius, half_length=half_length)


def whitened_modes(index: IntArray, *, radius: float = 110.0, half_length: float = 280.0) -> FieldModes:
    """A chosen list of modes, each scaled so that one unit has 1 T rms over the tracker volume.

    index               : (M, 3)  l, m, and 0 for cos, 1 for sin
    radius, half_length : cm

    The mean of |B|^2 over the cylinder is a polynomial; Gauss-Legendre points in r^2 and z and equal steps in phi give
    it exactly.
    """
    index = np.asarray(index, dtype=np.int64).reshape(-1, 3)
    # scaled lengths keep the solid harmonics near 1 at any degree
    unit = float(np.hypot(radius, half_length))
    raw = np.array([float(factorial(l + m)) for l, m, _ in index.tolist()])
    modes = FieldModes(index=index, scale=raw, radius=radius, half_length=half_length)
    if index.shape[0] == 0:
        return modes
    degree = modes.degree
    nodes, weights = np.polynomial.legendre.leggauss(degree + 2)
    r = np.sqrt(0.5 * (nodes + 1.0)) * radius / unit
    z = nodes * half_length / unit
    phi = 2.0 * np.pi * np.arange(2 * degree + 2) / (2 * degree + 2)
    mean = np.zeros(index.shape[0])
    table = np.empty(kernels.table_size(degree))
    for i in range(r.size):
        for j in range(z.size):
            for angle in phi:
                kernels.fill_table(degree, r[i] * np.cos(angle), r[i] * np.sin(angle), z[j], table)
                for k, (l, m, phase) in enumerate(index.tolist()):
                    b = np.array(kernels.mode_field(l, m, phase, raw[k], degree, table))
                    mean[k] += 0.25 * weights[i] * weights[j] / phi.size * float(b @ b)
    scale = raw / np.sqrt(mean) * unit ** (1.0 - index[:, 0])
    return FieldModes(index=index, scale=scale, radius=radius, half_length=half_length)
