"""Mass fits as a table for other tools: Parquet, one row a kinematic bin."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.io.column_writer import write_columns
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, PT_MINUS, PT_PLUS, SUMS
from mucal.massfit.fits import MassFits
from mucal.massfit.status import Status

AXES: Final = {"eta_plus": ETA_PLUS, "pt_plus": PT_PLUS, "eta_minus": ETA_MINUS, "pt_minus": PT_MINUS}
SIDES: Final = ("plus", "minus")


def write_mass_fits(fits: MassFits, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write fits with what `scale` takes from them: indices, edges (pT in GeV), values, errors, averages, status.

    `scale` is the fitted over the reference mass, `sigma` the relative width (the model "morphing" has a `variance`
    against simulation instead), `rho` the correlation of the scale with it (NaN if one of
    them has no error); `mean_w_plus` and so on are the averages over the events of the bin (docs/physics/scale.md).

    Raises FileExistsError unless `overwrite`.
    """
    path = Path(path)
    write_columns(path, iter([mass_fit_columns(fits)]), overwrite=overwrite)
    return path


def mass_fit_columns(fits: MassFits) -> dict[str, Any]:
    """The columns of the table, each (B,)."""
    histograms = fits.histograms
    columns: dict[str, Any] = {}
    for name, axis in AXES.items():
        edges = histograms.eta_edges if name.startswith("eta") else histograms.pt_edges
        at = histograms.index[:, axis]
        columns |= {f"{name}_bin": at, f"{name}_low": edges[at], f"{name}_high": edges[at + 1]}
    columns["n_events"] = histograms.n_events
    for name in fits.parameters:
        columns |= {name: fits.value(name), f"{name}_error": fits.error(name)}
    columns |= {"scale": np.exp(fits.value("ln_s")), "rho": _rho(fits)}
    if fits.width_parameter == "ln_sigma":
        columns["sigma"] = np.exp(fits.value("ln_sigma"))
    for name in SUMS:
        mean = histograms.mean(name)
        columns |= {f"mean_{name}_{side}": mean[:, i] for i, side in enumerate(SIDES)}
    columns |= {"deviance": fits.deviance, "ndf": fits.ndf, "p_value": fits.p_value, "n_steps": fits.n_steps}
    columns["status"] = np.array([Status(int(status)).name for status in fits.status])
    columns["in_fit"] = fits.good
    return columns


def _rho(fits: MassFits) -> Any:
    i, j = fits.parameters.index("ln_s"), fits.parameters.index(fits.width_parameter)
    product = np.sqrt(fits.cov[:, i, i] * fits.cov[:, j, j])
    return np.divide(fits.cov[:, i, j], product, out=np.full(product.size, np.nan), where=product > 0)
