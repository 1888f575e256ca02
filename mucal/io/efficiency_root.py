"""Scale factors as ROOT histograms, in the layout that W-mass tools read.

SF_{step}_{plus|minus|both}      TH3D over (eta, pT in 0.2 GeV, variation); the third axis holds nominal,
                                 N up, N down, then the alternatives
SF_{step}_..._ut                 TH3D over (eta, pT in 1 GeV, u_T): nominal, errors statistical, where u_T counts
"""

import hashlib
import io
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import hist
import numpy as np
import uproot

from mucal.arrays import FloatArray
from mucal.efficiency import EfficiencyModel, ScaleFactors, Surface
from mucal.io.efficiency_check import certify_efficiencies
from mucal.io.root_dates import EPOCH, with_date
from mucal.store import replace_file

FINE: Final = 0.2
COARSE: Final = 1.0
N_UT: Final = 26


def write_efficiency_root(
    model: EfficiencyModel, path: str | Path, *, date: datetime | None = None, overwrite: bool = False
) -> Path:
    """Write the scale factors of all steps; the same model gives the same bytes.

    Raises NotCertified if the scale factors are not fit for export, FileExistsError unless `overwrite`.
    """
    certify_efficiencies(model)
    steps = (*model.steps, *(() if model.veto is None else (model.veto,)))
    identity = hashlib.sha256()
    buffer = io.BytesIO()
    objects = {name: histogram for step in steps for name, histogram in _histograms(step).items()}
    for name, histogram in objects.items():
        identity.update(name.encode() + np.ascontiguousarray(histogram.values()).tobytes())
    with uproot.recreate(buffer, uuid_function=lambda: uuid.UUID(bytes=identity.digest()[:16])) as file:
        for name, histogram in objects.items():
            file[name] = histogram
        content = buffer.getvalue()
    dated = with_date(content, date or EPOCH)
    return replace_file(path, lambda temporary: temporary.write_bytes(dated), check=_check, overwrite=overwrite)


def _check(path: Path) -> None:
    with uproot.open(path) as file:
        for key in file.keys():  # noqa: SIM118 (a ROOT directory)
            file[key].values()


def _histograms(factors: ScaleFactors) -> dict[str, Any]:
    surface = factors.nominal
    found = {}
    for q in range(1 + surface.by_charge):
        name = f"SF_{factors.step}_{('minus', 'plus')[q] if surface.by_charge else 'both'}"
        if surface.degree_ut == 0:
            found[name] = _variations(factors, q)
        else:
            found[f"{name}_ut"] = _in_recoil(surface, q)
    return found


def _grid(limits: tuple[float, float], step: float) -> FloatArray:
    return np.linspace(*limits, round((limits[1] - limits[0]) / step) + 1)


def _variations(factors: ScaleFactors, q: int) -> Any:
    surface = factors.nominal
    edges = _grid(surface.pt_range, FINE)
    rows = surface.basis(0.5 * (edges[1:] + edges[:-1]))
    shifts = surface.eigenvariations()[:, q]
    nominal = surface.coefficients[:, q, None, :]
    others = np.stack([one.coefficients[:, q] for one in factors.alternative], axis=1) if factors.alternative else None
    parts = [nominal, nominal + shifts, nominal - shifts, *(() if others is None else (others,))]
    coefficients = np.concatenate(parts, axis=1)
    histogram = hist.Hist(
        hist.axis.Variable(surface.eta_edges, name="eta", flow=False),
        hist.axis.Variable(edges, name="pt", flow=False),
        hist.axis.Integer(0, coefficients.shape[1], name="variation", flow=False),
        storage=hist.storage.Double(),
    )
    histogram[...] = np.einsum("evp,tp->etv", coefficients, rows)
    return histogram


def _in_recoil(surface: Surface, q: int) -> Any:
    edges, ut = _grid(surface.pt_range, COARSE), np.linspace(*surface.ut_range, N_UT + 1)
    pt, u = np.meshgrid(0.5 * (edges[1:] + edges[:-1]), 0.5 * (ut[1:] + ut[:-1]), indexing="ij")
    rows = surface.basis(pt.ravel(), u.ravel())
    shape = (surface.eta_edges.size - 1, *pt.shape)
    histogram = hist.Hist(
        hist.axis.Variable(surface.eta_edges, name="eta", flow=False),
        hist.axis.Variable(edges, name="pt", flow=False),
        hist.axis.Variable(ut, name="ut", flow=False),
        storage=hist.storage.Weight(),
    )
    view = histogram.view()
    view.value = (surface.coefficients[:, q] @ rows.T).reshape(shape)
    view.variance = np.einsum("np,epr,nr->en", rows, surface.cov[:, q], rows).reshape(shape)
    return histogram
