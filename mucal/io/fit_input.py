"""What a file of any format says about a template fit: the model, the data, and how its source means the simulation."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from mucal.arrays import FloatArray, check_shapes
from mucal.errors import InputError, nearest
from mucal.likelihood import Model, Observation
from mucal.store import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class FitInput(Result):
    """A model and what it is to be fitted to.

    model       : bins, processes, parameters
    observation : counts, and centres of the constraints; None if the file has no data
    mc_stat     : constraint of the finite simulation: "gamma", "normal" or "none"
    per : one factor for each "bin" or each "process" of a bin
    alternative : (B, D)  further counts, as pseudo-data
    names       : (D,)    theirs
    start       : parameter -> where the search begins, if not at its centre
    format      : of the file it was read from
    notes       : what a reader should know, as what was left out
    """

    model: Model
    observation: Observation | None = None
    mc_stat: Literal["gamma", "normal", "none"] = "gamma"
    per: Literal["bin", "process"] = "bin"
    alternative: FloatArray = field(default_factory=lambda: np.zeros((0, 0)))
    names: tuple[str, ...] = ()
    start: Mapping[str, float] = field(default_factory=dict)
    format: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.names:
            check_shapes(self, alternative=(self.model.n_bins, len(self.names)))

    def data(self, name: str = "") -> Observation:
        """The data of the file, or pseudo-data by name.  Raises InputError if there are none, with the names known."""
        if not name and self.observation is not None:
            return self.observation
        if name in self.names:
            counts = np.ascontiguousarray(self.alternative[:, self.names.index(name)])
            if self.observation is not None:
                return replace(self.observation, counts=counts)
            return Observation(counts=counts, centre=self.model.centre, beta=np.ones(self.model.n_bins))
        raise InputError(
            f"there are no data '{name}' in this file" if name else "this file holds no data",
            kind="likelihood.no_data",
            where={"known": ", ".join(self.names), "near": ", ".join(nearest(name, self.names))},
            do="name one of those, or fit what the model expects with --asimov",
        )
