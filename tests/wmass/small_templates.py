"""Templates of a few bins, written down instead of filled, with every axis and group that a measurement asks for."""

import numpy as np

from mucal.templates import Templates

ETA = (-2.4, -1.2, 0.0, 1.2, 2.4)
GROUPS = (
    ("pdf", 6), ("alpha_s", 1), ("angular_coefficients", 4), ("pt_model", 3), ("electroweak", 1), ("jpsi_stat", 2)
)  # fmt: skip


def small_templates(channel: str = "w", events: float = 1e6) -> Templates:
    """2 charges x 4 eta x 15 pT; the signal peaks at half its mass and falls with eta, nuisances are smooth."""
    n_pt = 15
    pt = np.linspace(26.0, 56.0, n_pt + 1)
    charge, eta, x = np.meshgrid([-1.0, 1.0], 0.5 * (np.array(ETA[1:]) + ETA[:-1]), 0.5 * (pt[1:] + pt[:-1]),
                                 indexing="ij")  # fmt: skip

    def shape(mass: float) -> np.ndarray:
        peak = np.exp(-0.5 * ((x - 0.5 * mass) / 6.0) ** 2) * (1.2 + 0.15 * charge) * (1.0 - 0.03 * eta**2)
        return events * peak.ravel() / 40.0

    nominal = np.stack([shape(80.4), 0.05 * shape(91.2)])
    shifts = np.array([-0.1, 0.0, 0.1])
    shifted = np.stack([np.stack([shape(80.4 + s), nominal[1]]) for s in shifts])
    rng = np.random.default_rng(5)
    unit = [charge.ravel(), eta.ravel() / 2.4, (x.ravel() - 41.0) / 15.0]
    kappa, names, groups = [], [], []
    for group, count in GROUPS:
        for i in range(count):
            a, b, c, d = rng.normal(0.0, 0.004, 4)
            kappa.append(a + b * unit[0] + c * unit[1] ** 2 + d * unit[2] * (1.0 + 0.5 * unit[1]))
            names.append(f"{group}_{i}")
            groups.append(group)
    own = np.array(kappa)
    # two bins of pT and one of |y| of the boson, sharing the events by slopes in pT
    share = np.stack([0.5 + 0.2 * unit[2], 0.5 - 0.2 * unit[2]])
    terms = np.zeros((2, 2, 9, nominal.shape[1]))
    terms[:, :, 0] = 0.8 * share[None] * nominal[:, None]
    for i in range(1, 6):
        terms[:, :, i] = 0.04 * share[None] * nominal[:, None] * (1.0 + 0.3 * unit[2] ** i)[None, None]
    return Templates(
        channel=channel, axes=("charge", "eta", "pt"), edges=((-2.0, 0.0, 2.0), ETA, tuple(pt.tolist())),
        processes=("Wmunu", "Zmumu"), nominal=nominal, sumw2=1e-4 * nominal, nuisances=tuple(names),
        groups=tuple(groups), kappa=np.stack([own, own]), boson="w", mass_shifts=shifts, shifted=shifted,
        helicity=terms, pt_y_shape=(2, 1),
    )  # fmt: skip
