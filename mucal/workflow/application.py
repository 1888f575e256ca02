"""A calibration applied to files: corrected momenta beside the reconstructed ones, with variations, in chunks."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from mucal.calibration import Calibration
from mucal.errors import ConfigError, nearest
from mucal.io.column_writer import write_columns
from mucal.ledger import Ledger
from mucal.track import Dimuons
from mucal.workflow.chain import ledgers_of, sources
from mucal.workflow.config import Analysis
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.stages import BUNDLE


def apply(
    calibration: Calibration,
    analysis: Analysis,
    out: str | Path,
    *,
    sample: Literal["data", "mc"] = "data",
    nuisances: tuple[str, ...] = (),
    overwrite: bool = False,
    tell: Tell = silent,
) -> Ledger:
    """Write the pairs of an analysis with corrected momenta to a Parquet file.

    Columns, for muon 1 (mu+) and 2 (mu-): run, lumi, event, pt1, eta1, phi1, charge1, …, ptcorr1, ptcorr2 (GeV), and
    for every nuisance ptcorr1_NAME_up and so on.  A muon outside the validity range gets NaN.  Simulation is varied on
    its smeared momenta; where smearing carried one out of the range, its scale variations are NaN.

    sample    : data are corrected; "mc" is smeared if the calibration can, and varied like simulation
    nuisances : names of nuisances or groups

    Returns the ledger of muons.  Raises ConfigError for an unknown nuisance, and for a named one of the resolution
    where nothing is smeared; from a group, those are left out and told.
    """
    names = expand(calibration, nuisances)
    if not smears(calibration, sample):
        names = _without_resolution(calibration, names, nuisances, sample, tell)
    data, _ = sources(analysis)
    ledger = Ledger(unit="muons")

    def chunks() -> Iterator[dict[str, np.ndarray]]:
        """Columns to write, after an empty chunk that fixes their types."""
        nonlocal ledger
        yield columns(calibration, Dimuons.concatenate([]), sample, names)
        for pairs in data:
            ledger = ledger + calibration.count_rejected(pairs.pt, pairs.eta, pairs.phi, pairs.charge)
            tell(Event(stage="apply", done=ledger.read, unit="muons"))
            yield columns(calibration, pairs, sample, names)

    write_columns(out, chunks(), overwrite=overwrite)
    for name, counts in ledgers_of(data).items():
        tell(Event(stage=name, text=counts.line()))
    return ledger


def expand(calibration: Calibration, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Names of nuisances, groups and kinds as names of nuisances.  Raises ConfigError that names the nearest."""
    found: list[str] = []
    known = (*calibration.names, *dict.fromkeys((*calibration.groups, *calibration.kinds)))
    for name in wanted:
        if name in calibration.names:
            found.append(name)
        elif name in known:
            found += calibration.nuisances(name)
        else:
            raise ConfigError(
                f"no nuisance or group '{name}' in this calibration",
                kind="usage.unknown_nuisance",
                where={"near": ", ".join(nearest(name, known) or known[:3])},
            )
    weights = set(calibration.nuisances("pixel"))
    if named := [name for name in found if name in weights]:
        raise ConfigError(
            f"nuisance '{named[0]}' is a weight by pixel hits, not a momentum",
            kind="usage.weight",
            do="leave it out here; Calibration.vary_pixel_weight and `pixel_weight` of corrections.json.gz give it",
        )
    return tuple(dict.fromkeys(found))


def smears(calibration: Calibration, sample: Literal["data", "mc"]) -> bool:
    """Whether a sample is smeared: simulation, if the calibration knows its resolution and that of data."""
    return sample == "mc" and calibration.resolution_mc is not None


def _without_resolution(
    calibration: Calibration, names: tuple[str, ...], wanted: tuple[str, ...], sample: str, tell: Tell
) -> tuple[str, ...]:
    """The nuisances that vary something where nothing is smeared."""
    of_resolution = set(calibration.nuisances("resolution"))
    named = [name for name in wanted if name in of_resolution]
    why = (
        "data are not smeared" if sample == "data" else "this calibration cannot smear: it holds no resolution of both"
    )
    if named:
        raise ConfigError(
            f"nuisance '{named[0]}' varies the resolution, and {why}",
            kind="usage.not_smeared",
            where={"nuisances": ", ".join(named)},
            do="apply it to simulation (--sample mc)" if sample == "data" else "leave it out",
        )
    left_out = [name for name in names if name in of_resolution]
    if left_out:
        tell(Event(stage="warning", text=f"{why}: {len(left_out)} nuisances of the resolution are left out"))
    return tuple(name for name in names if name not in of_resolution)


def columns(
    calibration: Calibration, pairs: Dimuons, sample: Literal["data", "mc"], nuisances: tuple[str, ...]
) -> dict[str, np.ndarray]:
    """The columns of one chunk.

    Of smeared simulation every variation starts from the smeared momenta, so that nominal, up and down share their
    random numbers and differ by the variation alone.
    """
    muons = (pairs.pt, pairs.eta, pairs.phi, pairs.charge)
    run, lumi, event = (np.broadcast_to(key[:, None], pairs.pt.shape) for key in (pairs.run, pairs.lumi, pairs.event))
    smeared = (pairs.pt, pairs.eta, pairs.phi, run, lumi, event)
    if smears(calibration, sample):
        nominal = calibration.smear(*smeared, outside="nan")
        varied = (nominal, *muons[1:])
    else:
        nominal, varied = calibration.correct(*muons, sample, outside="nan"), muons
    momenta = {"ptcorr": nominal}
    for name in nuisances:
        if calibration.kinds[calibration.names.index(name)] == "scale":
            up, down = calibration.vary(*varied, name, sample, outside="nan")
        else:
            up, down = calibration.vary_smearing(*smeared, name, outside="nan")
        momenta |= {f"ptcorr_{name}_up": up, f"ptcorr_{name}_down": down}
    table: dict[str, np.ndarray] = {"run": pairs.run, "lumi": pairs.lumi, "event": pairs.event}
    for name, values in {**dict(zip(("pt", "eta", "phi", "charge"), muons, strict=True)), **momenta}.items():
        stem, _, rest = name.partition("_")
        for i in (0, 1):
            table[f"{stem}{i + 1}" + (f"_{rest}" if rest else "")] = np.ascontiguousarray(values[:, i])
    return table


def bundle_of(path: str | Path) -> Path:
    """The calibration that a path means: itself, or the one inside the folder of a run."""
    path = Path(path)
    inside = path / BUNDLE
    return inside if path.is_dir() and not (path / "manifest.json").exists() and inside.is_dir() else path
