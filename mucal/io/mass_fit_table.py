"""Mass fits as a table for other tools: Parquet, one row a kinematic bin."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from scipy.special import expit

from mucal.arrays import BoolArray, FloatArray
from mucal.io.column_writer import write_columns
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, PT_MINUS, PT_PLUS, SUMS, matching_rows
from mucal.massfit.fits import MassFits
from mucal.massfit.status import Status

FITS: Final = "fits.parquet"
"""The table among the files of a release."""
AXES: Final = {"eta_plus": ETA_PLUS, "pt_plus": PT_PLUS, "eta_minus": ETA_MINUS, "pt_minus": PT_MINUS}
SIDES: Final = ("plus", "minus")


def write_mass_fits(
    fits: MassFits,
    path: str | Path,
    *,
    simulation: MassFits | None = None,
    in_fit: BoolArray | None = None,
    overwrite: bool = False,
) -> Path:
    """Write fits with what `scale` takes from them: indices, edges (pT in GeV), values, errors, averages, status.

    `scale` is the fitted over the reference mass, `sigma` the relative width (the model "morphing" has a `variance`
    against simulation instead), `rho` the correlation of the scale with it (NaN if one of them has no error), `f` the
    background's fraction; `mean_w_plus` and so on are the averages over the events of the bin (docs/physics/scale.md).

    simulation : fits of simulation in the same binning, whose events and scales stand beside those of data (`n_mc`,
                 `ln_s_mc`, `ln_s_mc_error`); NaN without it, 0 events in a bin that it does not fill
    in_fit     : (B,)  bins that the scale table was derived from; None: those whose fit is good

    Raises FileExistsError unless `overwrite`, ValueError if the binnings differ.
    """
    path = Path(path)
    write_columns(path, iter([mass_fit_columns(fits, simulation, in_fit)]), overwrite=overwrite)
    return path


def mass_fit_bytes(fits: MassFits, simulation: MassFits | None = None, in_fit: BoolArray | None = None) -> bytes:
    """The bytes of the table, as to attach it to a release; arguments as for `write_mass_fits`."""
    with TemporaryDirectory() as folder:
        return write_mass_fits(fits, Path(folder) / FITS, simulation=simulation, in_fit=in_fit).read_bytes()


def mass_fit_columns(
    fits: MassFits, simulation: MassFits | None = None, in_fit: BoolArray | None = None
) -> dict[str, Any]:
    """The columns of the table, each (B,)."""
    histograms = fits.histograms
    columns: dict[str, Any] = {}
    for name, axis in AXES.items():
        edges = histograms.eta_edges if name.startswith("eta") else histograms.pt_edges
        at = histograms.index[:, axis]
        columns |= {f"{name}_bin": at, f"{name}_low": edges[at], f"{name}_high": edges[at + 1]}
    columns |= {"n_events": histograms.n_events, **_of_simulation(fits, simulation)}
    for name in fits.parameters:
        columns |= {name: fits.value(name), f"{name}_error": fits.error(name)}
    columns |= {"scale": np.exp(fits.value("ln_s")), "rho": _rho(fits)}
    if fits.width_parameter == "ln_sigma":
        columns["sigma"] = np.exp(fits.value("ln_sigma"))
    if "logit_f" in fits.parameters:
        columns["f"] = expit(fits.value("logit_f"))
    for name in SUMS:
        mean = histograms.mean(name)
        columns |= {f"mean_{name}_{side}": mean[:, i] for i, side in enumerate(SIDES)}
    columns |= {"deviance": fits.deviance, "ndf": fits.ndf, "p_value": fits.p_value, "n_steps": fits.n_steps}
    columns["status"] = np.array([Status(int(status)).name for status in fits.status])
    columns["in_fit"] = fits.good if in_fit is None else in_fit
    return columns


def _of_simulation(fits: MassFits, simulation: MassFits | None) -> dict[str, FloatArray]:
    """Events and scales of simulation in the bins of data."""
    unknown = np.full(fits.histograms.n_bins, np.nan)
    if simulation is None:
        return {"n_mc": unknown, "ln_s_mc": unknown, "ln_s_mc_error": unknown}
    place = matching_rows(fits.histograms, simulation.histograms)
    there = place >= 0
    columns = {"n_mc": simulation.histograms.n_events, "ln_s_mc": simulation.value("ln_s")}
    columns["ln_s_mc_error"] = simulation.error("ln_s")
    return {name: np.where(there, values[place], 0.0 if name == "n_mc" else np.nan) for name, values in columns.items()}


def _rho(fits: MassFits) -> FloatArray:
    i, j = fits.parameters.index("ln_s"), fits.parameters.index(fits.width_parameter)
    product = np.sqrt(fits.cov[:, i, i] * fits.cov[:, j, j])
    result: FloatArray = np.divide(fits.cov[:, i, j], product, out=np.full(product.size, np.nan), where=product > 0)
    return result
