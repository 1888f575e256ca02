"""Section ``[calibration]``: how tables become a calibration, and what a run puts into it besides."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from mucal.calibration import CalibrationConfig
from mucal.calibration.groups import ALTERNATIVE
from mucal.errors import ConfigError
from mucal.workflow.toml_text import TomlText
from mucal.workflow.validate import build


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSection(CalibrationConfig):
    """Section ``[calibration]``: the keys of `CalibrationConfig`, and two of a run.

    scale_nuisances : what is uncertain about the scale: the "statistics" of A, e and M, or the modes of the "detector"
                      (field, material, alignment) that global corrections leave uncertain; of a run from hits
    alternatives    : name -> folder of a finished run that made another choice, relative to the file that names it: its
                      table less the one of this run is the nuisance "alternative_<name>"
    """

    scale_nuisances: Literal["statistics", "detector"] = "statistics"
    alternatives: Mapping[str, str] = field(default_factory=dict)


def calibration_of(document: TomlText) -> CalibrationSection:
    """The section of a configuration; folders of alternatives as they are found from here.

    Raises ConfigError for what `build` refuses, and for modes of the detector of a run that does not begin with hits.
    """
    values = {"pt_definition": "as read", **document.values.get("calibration", {})}
    section = build(CalibrationSection, values, document, "calibration")
    if section.scale_nuisances == "detector" and "tracks" not in document.values:
        key = "calibration.scale_nuisances"
        raise ConfigError(
            f"{document.place(key)} scale_nuisances = 'detector', but this run does not begin with hits: no global "
            "corrections know how uncertain the detector is",
            kind="config.detector_modes",
            where={"key": key},
            do="leave it out, or begin with hits ([tracks]); modes of corrections of your own go to "
            "`calibration.assemble(..., detector=...)`",
        )
    for name in section.alternatives:
        key = f"calibration.alternatives.{name}"
        if not re.fullmatch(ALTERNATIVE, name):
            raise ConfigError(
                f"{document.place(key)} an alternative is named '{name}', expected letters, digits and _",
                kind="config.alternative",
                where={"key": key},
                do="it becomes part of the name of its nuisance; rename it",
            )
    folders = {name: str(document.folder / Path(item).expanduser()) for name, item in section.alternatives.items()}
    return replace(section, alternatives=folders)
