"""What is measured elsewhere, from files or as an ansatz, for the filling of templates."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from mucal.calibration import Calibration, load
from mucal.efficiency import EfficiencyModel, ScaleFactors
from mucal.errors import ConfigError
from mucal.simulation.uncertainties import (
    columns_of_bins,
    published_calibration,
    published_efficiencies,
    published_nonprompt,
    published_weights,
)
from mucal.store import Result, read_header, sha256
from mucal.templates import Ingredients, Templates
from mucal.templates.additions import with_event_weights, with_nonprompt
from mucal.templates.nonprompt import Nonprompt
from mucal.templates.recoil import RecoilCalibration
from mucal.workflow.application import bundle_of
from mucal.workflow.running_conditions import SECTION, RunningConditions
from mucal.workflow.toml_text import overlay, parse_toml, read_toml
from mucal.workflow.validate import build as validated

R = TypeVar("R", bound=Result)

ANSATZ: Final = "ansatz"
"""In the place of a file: the published structure with sizes that nobody measured (`simulation.uncertainties`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IngredientFiles:
    """Result files by what they hold; None leaves one out.

    calibration  : bundle, file, folder of a run, or "ansatz"
    efficiencies : of `mucal efficiency export -o FILE.h5` or of `smooth` for single steps, or "ansatz"
    nonprompt    : of `mucal nonprompt`, or "ansatz"
    recoil       : of `mucal recoil`
    weights      : conditions of section [weights], or "ansatz"
    """

    calibration: str | None = None
    efficiencies: tuple[str, ...] = ()
    nonprompt: str | None = None
    recoil: str | None = None
    weights: RunningConditions | str | None = None


def load_conditions(path: str | Path | None, settings: tuple[str, ...] = ()) -> RunningConditions:
    """The section ``[weights]`` of a configuration file, the defaults without one."""
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    return validated(RunningConditions, document.values.get(SECTION, {}), document, SECTION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What the files hold.

    calibration, ingredients : for `templates.build`
    finish                   : adds what needs the filled templates
    inputs                   : file -> SHA-256
    """

    calibration: Calibration | None
    ingredients: Ingredients
    finish: Callable[[Templates], Templates]
    inputs: Mapping[str, str]


def load_ingredients(files: IngredientFiles) -> Loaded:
    """Everything that is named, read.

    Raises ConfigError if a file is the result of another command.
    """
    inputs: dict[str, str] = {}
    calibration: Calibration | None = None
    if files.calibration == ANSATZ:
        calibration = published_calibration()
    elif files.calibration is not None:
        bundle = bundle_of(Path(files.calibration))
        calibration = load(bundle)
        is_folder = Path(files.calibration).is_dir()
        inputs[files.calibration] = sha256(bundle / "calibration.h5" if is_folder else Path(files.calibration))
    later: dict[str, Any] = {}
    given = Ingredients(efficiencies=_efficiencies(files.efficiencies, inputs))
    if files.recoil is not None:
        given = replace(given, recoil=_loaded(files.recoil, RecoilCalibration, "mucal recoil", inputs))
    if files.nonprompt == ANSATZ:
        later["nonprompt"] = published_nonprompt
    elif files.nonprompt is not None:
        given = replace(given, nonprompt=_loaded(files.nonprompt, Nonprompt, "mucal nonprompt", inputs))
    if isinstance(files.weights, RunningConditions):
        given = replace(given, weights=files.weights.registry())
    elif files.weights is not None:
        later["weights"] = published_weights()

    def finish(templates: Templates) -> Templates:
        """Templates with what is added after filling."""
        simulated = [name for name in templates.processes if name != "nonprompt"]
        if "weights" in later:
            columns = columns_of_bins(templates.binning)
            templates = with_event_weights(templates, later["weights"], simulated, columns)
        if "nonprompt" in later:
            templates = with_nonprompt(templates, later["nonprompt"](float(templates.nominal[0].sum())))
        return templates

    return Loaded(calibration=calibration, ingredients=given, finish=finish, inputs=inputs)


def _efficiencies(files: tuple[str, ...], inputs: dict[str, str]) -> EfficiencyModel | None:
    if not files:
        return None
    if ANSATZ in files:
        if len(files) > 1:
            raise ConfigError(f"efficiencies: '{ANSATZ}' beside {len(files) - 1} files", kind="usage.ingredients")
        return published_efficiencies()
    if len(files) == 1 and read_header(files[0])["type"] == "EfficiencyModel":
        return _loaded(files[0], EfficiencyModel, "mucal efficiency export", inputs)
    steps = [_loaded(path, ScaleFactors, "mucal efficiency smooth", inputs) for path in files]
    veto = [one for one in steps if one.step == "veto"]
    return EfficiencyModel(steps=tuple(one for one in steps if one.step != "veto"), veto=veto[0] if veto else None)


def _loaded(path: str, kind: type[R], made_by: str, inputs: dict[str, str]) -> R:
    found = read_header(path)["type"]
    if found != kind.__name__:
        raise ConfigError(
            f"{path} holds {found}, expected {kind.__name__}", kind="usage.ingredients", where={"file": path},
            do=f"give the result of `{made_by}`",
        )  # fmt: skip
    inputs[path] = sha256(path)
    return kind.load(path)
