"""Mass fits as a table for other tools: Parquet, one row a kinematic bin."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
from scipy.special import expit

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.io.column_writer import write_columns
from mucal.massfit.bins import ETA_MINUS, ETA_PLUS, PT_MINUS, PT_PLUS, SUMS, MassHistograms, matching_rows
from mucal.massfit.fits import MassFits
from mucal.massfit.occupancy import Merging
from mucal.massfit.status import Remedy, Status

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
    merging: Merging | None = None,
    background: MassFits | None = None,
    overwrite: bool = False,
) -> Path:
    """Write fits with what `scale` takes from them: indices, edges (pT in GeV), values, errors, averages, status.

    A bin that several cells of the binning were merged into has the index of the fullest one and the edges of the
    smallest box that holds all `n_cells` of them.

    `scale` is the fitted over the reference mass, `sigma` the relative width (the model "morphing" has a `variance`
    against simulation instead), `rho` the correlation of the scale with it (NaN if one of them has no error), `f` the
    background's fraction; `mean_w_plus` and so on are the averages over the events of the bin (docs/physics/scale.md).

    simulation : fits of simulation in the same binning, whose events and scales stand beside those of data (`n_mc`,
                 `ln_s_mc`, `ln_s_mc_error`); NaN without it, 0 events in a bin that it does not fill
    in_fit     : (B,)  bins that the scale table was derived from; None: those whose fit is good
    merging    : which cells data or simulation fill, and the bin that each was counted in; None: every bin is one cell
    background : fits of data whose background was added to the simulation (`scale.add_fitted_background`), which
                 `n_mc` leaves out; None: simulation is as it was generated

    Raises FileExistsError unless `overwrite`, ValueError if the binnings differ.
    """
    path = Path(path)
    columns = mass_fit_columns(fits, simulation, in_fit, merging, background)
    write_columns(path, iter([columns]), overwrite=overwrite)
    return path


def mass_fit_bytes(
    fits: MassFits, simulation: MassFits | None = None, in_fit: BoolArray | None = None,
    merging: Merging | None = None, background: MassFits | None = None,
) -> bytes:  # fmt: skip
    """The bytes of the table, as to attach it to a release; arguments as for `write_mass_fits`."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / FITS
        write_mass_fits(fits, path, simulation=simulation, in_fit=in_fit, merging=merging, background=background)
        return path.read_bytes()


def mass_fit_columns(
    fits: MassFits, simulation: MassFits | None = None, in_fit: BoolArray | None = None,
    merging: Merging | None = None, background: MassFits | None = None,
) -> dict[str, Any]:  # fmt: skip
    """The columns of the table, each (B,)."""
    histograms = fits.histograms
    first, last, n_cells = _extent(histograms.index, merging)
    columns: dict[str, Any] = {}
    for name, axis in AXES.items():
        edges = histograms.eta_edges if name.startswith("eta") else histograms.pt_edges
        columns |= {
            f"{name}_bin": histograms.index[:, axis],
            f"{name}_low": edges[first[:, axis]],
            f"{name}_high": edges[last[:, axis] + 1],
        }
    columns["n_cells"] = n_cells
    columns |= {"n_events": histograms.n_events, **_of_simulation(fits, simulation, background)}
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
    remedies = np.zeros(histograms.n_bins, dtype=np.int64) if fits.remedies is None else fits.remedies
    columns["remedy"] = np.array([Remedy(int(remedy)).name for remedy in remedies])
    columns["in_fit"] = fits.good if in_fit is None else in_fit
    return columns


def _extent(index: IntArray, merging: Merging | None) -> tuple[IntArray, IntArray, IntArray]:
    """First and last cell along each axis, (B, 4) both, of those merged into each bin, and their number, (B,).

    index : (B, 4)
    """
    first, last = index.copy(), index.copy()
    if merging is None:
        return first, last, np.ones(len(index), dtype=np.int64)
    row_of = {tuple(bin_): row for row, bin_ in enumerate(index.tolist())}
    rows = np.array([row_of.get(tuple(bin_), -1) for bin_ in merging.into.tolist()], dtype=np.int64)
    cells, rows = merging.index[rows >= 0], rows[rows >= 0]
    np.minimum.at(first, rows, cells)
    np.maximum.at(last, rows, cells)
    # a bin that the merging does not know stays alone
    return first, last, np.maximum(np.bincount(rows, minlength=len(index)), 1)


def _of_simulation(fits: MassFits, simulation: MassFits | None, background: MassFits | None) -> dict[str, FloatArray]:
    """Events and scales of simulation in the bins of data."""
    unknown = np.full(fits.histograms.n_bins, np.nan)
    if simulation is None:
        return {"n_mc": unknown, "ln_s_mc": unknown, "ln_s_mc_error": unknown}
    place = matching_rows(fits.histograms, simulation.histograms)
    there = place >= 0
    columns = {"n_mc": _generated(simulation.histograms, background), "ln_s_mc": simulation.value("ln_s")}
    columns["ln_s_mc_error"] = simulation.error("ln_s")
    return {name: np.where(there, values[place], 0.0 if name == "n_mc" else np.nan) for name, values in columns.items()}


def _generated(simulation: MassHistograms, background: MassFits | None) -> FloatArray:
    """(B,) events of simulation without what `scale.add_fitted_background` added to it: n (1 - f) where it knew f."""
    if background is None:
        return simulation.n_events
    place = matching_rows(simulation, background.histograms)
    known = (place >= 0) & background.good[place]
    share = np.where(known, expit(background.value("logit_f")[place]), 0.0)
    result: FloatArray = simulation.n_events * (1.0 - share)
    return result


def _rho(fits: MassFits) -> FloatArray:
    i, j = fits.parameters.index("ln_s"), fits.parameters.index(fits.width_parameter)
    product = np.sqrt(fits.cov[:, i, i] * fits.cov[:, j, j])
    result: FloatArray = np.divide(fits.cov[:, i, j], product, out=np.full(product.size, np.nan), where=product > 0)
    return result
