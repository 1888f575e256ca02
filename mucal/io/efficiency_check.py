"""Whether scale factors are fit to leave the house."""

from collections.abc import Iterator

import numpy as np

from mucal.calibration.covariance import NULL
from mucal.efficiency import EfficiencyModel, ScaleFactors, Surface
from mucal.errors import NotCertified


def certify_efficiencies(model: EfficiencyModel) -> None:
    """Raises NotCertified with every reason why scale factors must not be exported.

    Certified means: there is a step, all coefficients are finite, and their covariances are none but positive
    semidefinite ones.
    """
    steps = (*model.steps, *(() if model.veto is None else (model.veto,)))
    reasons = [reason for step in steps for reason in _reasons(step)] if steps else ["it holds no step"]
    if reasons:
        raise NotCertified(
            f"the scale factors are not fit for export: {'; '.join(reasons)}",
            kind="calibration.not_certified",
            do="measure and smooth that step again; see `mucal efficiency`",
        )


def _reasons(factors: ScaleFactors) -> Iterator[str]:
    surfaces = {"the scale factor": factors.nominal, "eff_data": factors.eff_data, "eff_mc": factors.eff_mc}
    surfaces |= {f"alternative '{n}'": s for n, s in zip(factors.alternatives, factors.alternative, strict=True)}
    for name, surface in surfaces.items():
        if wrong := _wrong(surface):
            yield f"{name} of step '{factors.step}' {wrong}"


def _wrong(surface: Surface) -> str:
    """What is wrong with a surface; "" if nothing is."""
    numbers = np.concatenate([surface.coefficients.ravel(), surface.cov.ravel()])
    if not np.all(np.isfinite(numbers)):
        return f"has {int((~np.isfinite(numbers)).sum())} of {numbers.size} numbers that are not finite"
    eigenvalues = np.linalg.eigvalsh(surface.cov)
    bad = eigenvalues[..., 0] < -NULL * np.abs(eigenvalues).max(axis=-1)
    if np.any(bad):
        eta, charge = np.argwhere(bad)[0].tolist()
        return (
            f"has a covariance with the eigenvalue {eigenvalues[eta, charge, 0]:.3g} in eta bin {eta}, charge {charge}"
        )
    return ""
