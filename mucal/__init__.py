"""mucal: muon momentum calibration, from recorded dimuons to correction tables and named uncertainties.

Units everywhere: GeV, cm, tesla, radian.  The rooms are imported on first use, so that ``import mucal`` costs
nothing; ``mucal.load`` opens a finished calibration.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mucal import (
        arrays,
        calibration,
        detector,
        errors,
        globalcor,
        io,
        ledger,
        likelihood,
        massfit,
        numerics,
        plot,
        propagation,
        refit,
        report,
        scale,
        simulation,
        store,
        templates,
        theory,
        track,
        units,
        wmass,
        workflow,
    )
    from mucal.calibration import Calibration, load

__version__ = "0.1.0"

_ROOMS = (
    "arrays", "calibration", "detector", "errors", "globalcor", "io", "ledger", "likelihood", "massfit", "numerics",
    "plot", "propagation", "refit", "report", "scale", "simulation", "store", "templates", "theory", "track",
    "units", "wmass", "workflow",
)  # fmt: skip
_NAMES = {"load": "mucal.calibration", "Calibration": "mucal.calibration"}

__all__ = [
    "Calibration", "arrays", "calibration", "detector", "errors", "globalcor", "io", "ledger", "likelihood", "load",
    "massfit", "numerics", "plot", "propagation", "refit", "report", "scale", "simulation", "store", "templates",
    "theory", "track", "units", "wmass", "workflow",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return import_module(f"mucal.{name}")
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'mucal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
