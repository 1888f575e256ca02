"""Calibrations as the separate ROOT files that W-mass programs open, and their reading under the same checks.

    calibration.root                    A, e, M, covariance_matrix       errors of its nuisances, without factors
    closure.root                        AZ, MZ, covariance_matrix        if there is a closure with the Z
    resolution.root, resolution_mc.root a, b, c, d, covariance_matrix    of data and of simulation, if known
    names.json                          our nuisances -> theirs, and those without a counterpart; the factors by which
                                        those programs scale a group

Each file holds its histograms at its top, eta along x, M and MZ in 1/GeV; matrices are eta-major.  The programs
diagonalise the covariances themselves, so that their numbering of a group is that of plain eigenvectors: the same
covariance, another basis than ours.  Where the modes of the detector stand for the statistics of the scale, the
covariance is theirs, and of fewer modes than parameters: the last eigenvectors are 0 up to rounding.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.calibration import Calibration, certify
from mucal.calibration.raw import without_factors
from mucal.io.root_tables import read_table, table_bytes
from mucal.scale import Closure, ResolutionTable, ScaleTable
from mucal.store import write_bytes

LABELS: Final = {
    "statistics": "Scale_correction_unc{i}",
    "zclosure_stat": "ScaleClos_correction_unc{i}",
    "zclosure_lep": "ScaleClosA_correction_unc{i}",
    "zclosure_M": "ScaleClosM_correction_unc{i}",
    "resolution_stat": "Resolution_correction_smearing_variation{i}",
    "pixel_mult": "pixel_multiplicity_syst_var{i}",
}
"""Group -> label of its i-th nuisance there; the statistics of the scale are "<resonance>_stat" or "detector" here."""
NAMES: Final = "names.json"
SYMBOLS: Final = {
    "calibration.root": ("A", "e", "M"),
    "closure.root": ("AZ", "MZ"),
    "resolution.root": ("a", "b", "c"),
    "resolution_mc.root": ("a", "b", "c"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterVariations:
    """Parameters in B bins of eta and the eigenvectors of their covariance, as those programs make them.

    eta_edges  : (B+1,)
    parameters : (B, K)        in the order of `SYMBOLS`
    variations : (B, K, n)     one standard deviation along each eigenvector, the largest first; no factor
    """

    eta_edges: FloatArray
    parameters: FloatArray
    variations: FloatArray


def write_wremnants(calibration: Calibration, directory: str | Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write the files of this layout that the calibration has, and read each back.

    Raises NotCertified if the calibration is not fit for export, FileExistsError unless `overwrite`.
    """
    certify(calibration)
    directory = Path(directory)
    content = {name: table_bytes(table) for name, table in _tables(calibration).items()}
    content[NAMES] = json.dumps(_names(calibration), indent=1, sort_keys=True).encode() + b"\n"
    for name in content:
        if (directory / name).exists() and not overwrite:
            raise FileExistsError(17, "exists already; remove it or ask to overwrite", str(directory / name))
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in content.items():
        write_bytes(directory / name, data, overwrite=overwrite)
        if name != NAMES:
            read_variations(directory / name)
    return tuple(directory / name for name in content)


def read_variations(path: str | Path) -> ParameterVariations:
    """The parameters and variations of one file of this layout, named as in `SYMBOLS`.

    Raises InputError if a histogram is missing, the eta axes differ, a variance is not the covariance's diagonal to
    1e-5, or the covariance is none.
    """
    path = Path(path)
    if path.name not in SYMBOLS:
        raise ValueError(f"{path.name} is not of this layout; expected one of {', '.join(SYMBOLS)}")
    symbols = SYMBOLS[path.name]
    edges, values, cov = read_table(path, symbols)
    b, k = edges.size - 1, len(symbols)
    order = np.arange(b * k).reshape(k, b).T.reshape(-1)
    eigenvalues, vectors = np.linalg.eigh(cov[np.ix_(order, order)])
    scaled = (np.sqrt(np.clip(eigenvalues, 0.0, None)) * vectors)[:, ::-1]
    return ParameterVariations(eta_edges=edges, parameters=values.T, variations=scaled.reshape(b, k, -1))


def labels(calibration: Calibration) -> dict[str, str]:
    """Our nuisance -> its label there, of those that have a counterpart; `left_out` names the others."""
    statistics = _statistics(calibration)
    count: dict[str, int] = {}
    found = {}
    for name, group in zip(calibration.names, calibration.groups, strict=True):
        kind = "statistics" if group in statistics else group
        if kind in LABELS:
            found[name] = LABELS[kind].format(i=count.get(kind, 0))
            count[kind] = count.get(kind, 0) + 1
    return found


def left_out(calibration: Calibration) -> tuple[str, ...]:
    """Nuisances without a counterpart there: the reference mass, and what alternative tables differ by."""
    named = labels(calibration)
    return tuple(name for name in calibration.names if name not in named)


def _statistics(calibration: Calibration) -> tuple[str, str]:
    """Names of the groups that are the statistics of the scale there; a calibration has one of them."""
    return f"{calibration.resonance}_stat", "detector"


def _scale(calibration: Calibration) -> ScaleTable:
    """The scale with the covariance that its statistical nuisances add up to."""
    fitted, b = without_factors(calibration).scale_variations, calibration.scale.n_bins
    wanted = _statistics(calibration)
    rows = [i for i in range(len(fitted)) if calibration.groups[i] in wanted]
    flat = fitted[rows].reshape(len(rows), 3 * b)
    return replace(calibration.scale, cov=flat.T @ flat)


def _names(calibration: Calibration) -> dict[str, object]:
    return {
        "labels": labels(calibration),
        "left_out": list(left_out(calibration)),
        "factors": dict(calibration.factors),
        "directions": {"up": "Up", "down": "Down"},
        "units": {"A": "1", "e": "GeV", "M": "1/GeV", "AZ": "1", "MZ": "1/GeV", "c": "1/GeV^2", "d": "GeV^2"},
        "correction": "k' = k (1 + A - e k) + q M with k = 1/pt",
    }


def _tables(calibration: Calibration) -> dict[str, ScaleTable | ResolutionTable | Closure]:
    found: dict[str, ScaleTable | ResolutionTable | Closure | None] = {
        "calibration.root": _scale(calibration),
        "closure.root": calibration.closure,
        "resolution.root": calibration.resolution_data,
        "resolution_mc.root": calibration.resolution_mc,
    }
    return {name: table for name, table in found.items() if table is not None}
