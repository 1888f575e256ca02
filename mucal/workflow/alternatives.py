"""Alternative calibrations of a run: the tables of finished runs that made other choices with the same data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mucal.arrays import same_edges
from mucal.errors import ConfigError, InputError
from mucal.globalcor import GlobalCorrections
from mucal.report import RunResults
from mucal.scale import ScaleTable
from mucal.store import sha256
from mucal.workflow.config import Analysis
from mucal.workflow.finished_run import load_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives:
    """Tables by the names of `[calibration] alternatives`.

    tables      : name -> scale table
    corrections : name -> global corrections that its momenta have, of runs from hits
    inputs      : file -> SHA-256
    """

    tables: Mapping[str, ScaleTable] = field(default_factory=dict)
    corrections: Mapping[str, GlobalCorrections] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    def require_same_corrections(self, own: GlobalCorrections) -> None:
        """Raises ConfigError if an alternative corrects momenta that have other global corrections than `own`.

        Its table is then relative to other momenta, and the difference of the tables is not that of the calibrations.
        """
        for name, other in self.corrections.items():
            if other.digest != own.digest or not np.array_equal(other.theta, own.theta):
                raise ConfigError(
                    f"alternative '{name}': its run found other global corrections, so that its table corrects other "
                    "momenta",
                    kind="config.alternative",
                    do="run it with the same [tracks], and change what comes after: [bins], [massfit], [scale]",
                )


def read_alternatives(analysis: Analysis, out: Path) -> Alternatives:
    """The tables of the runs that `[calibration] alternatives` names, before anything else is done.

    out : folder of this run, which is no alternative to itself

    Raises ConfigError for a run that cannot be compared: not certified, of other bins of eta or other momenta;
    InputError for a folder that holds no finished run, VerificationError for a damaged one.
    """
    runs: dict[str, RunResults] = {}
    folders = analysis.calibration.alternatives
    for name, folder in folders.items():
        key = f"calibration.alternatives.{name}"
        try:
            runs[name] = load_run(folder)
        except InputError as error:
            error.where = {**error.where, "asked": key}
            raise
        itself = Path(folder).resolve() == out.resolve()
        problem = "its folder is that of this run" if itself else _problem(runs[name], analysis)
        if problem:
            raise ConfigError(
                f"alternative '{name}': {problem}",
                kind="config.alternative",
                where={"folder": folder, "asked": key},
                do="name a certified run of the same momenta in the same bins of eta",
            )
    files = [str(Path(folder) / "scale.h5") for folder in folders.values()]
    return Alternatives(
        tables={name: one.table for name, one in runs.items()},
        corrections={name: one.tracks.corrections for name, one in runs.items() if one.tracks is not None},
        inputs={file: sha256(Path(file)) for file in files},
    )


def _problem(other: RunResults, analysis: Analysis) -> str:
    """Why a run is no alternative to this one; "" if it is one."""
    if other.status != "ok":
        return f"its run was not certified: {other.reason}"
    edges = analysis.bins.table_edges
    if not same_edges(other.table.eta_edges, edges):
        return f"its table has eta_edges = {other.table.eta_edges.tolist()}, that of this run will have {list(edges)}"
    if other.table.resonance != analysis.massfit.resonance:
        return f"its table is of {other.table.resonance}, that of this run will be of {analysis.massfit.resonance}"
    section = other.provenance.configuration.get("calibration", {})
    defined = section.get("pt_definition", "as read") if isinstance(section, Mapping) else "as read"
    if defined != analysis.calibration.pt_definition:
        return f"it corrects momenta '{defined}', this run '{analysis.calibration.pt_definition}'"
    if (other.tracks is None) != (analysis.tracks is None):
        return "one of the two runs begins with hits, the other one does not"
    return ""
