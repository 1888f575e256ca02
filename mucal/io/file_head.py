"""The first rows of a file: enough to see whether its numbers are muons in GeV."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from mucal.arrays import FloatArray
from mucal.errors import InputError
from mucal.io.dimuon_input import DimuonInput
from mucal.io.event_table import EventTable, place
from mucal.io.muon_lists import muon_lists
from mucal.io.pairing import make_pairs

HEAD_ROWS: Final = 2000
"""Rows of each file whose medians are looked at before it is read."""
PLAUSIBLE_PT: Final = (0.3, 1000.0)
"""GeV: a sample's median muon pT lies between; outside, the unit is not GeV."""
PLAUSIBLE_MASS: Final = (0.22, 3000.0)
"""GeV: the same for the pair mass, from just above twice the muon mass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first rows of a file: finite positive pT (GeV) and eta of all muons, pair masses, the file's own masses."""

    pt: FloatArray
    eta: FloatArray
    mass: FloatArray
    file_mass: FloatArray


def read_head(table: EventTable, config: DimuonInput) -> Head:
    """The first `HEAD_ROWS` rows of a file, without the selections on mass and charge."""
    open_config = replace(config, mass_range=None, check_mass=None, charge="any")
    none = np.zeros(0)
    for lists in muon_lists(table, config, HEAD_ROWS):
        muons = lists.muons
        pt = muons["pt"] if "pt" in muons else np.hypot(muons["px"], muons["py"])
        momentum = np.arcsinh(muons["pz"] / np.where(pt > 0, pt, np.nan)) if "eta" not in muons else muons["eta"]
        good = np.isfinite(pt) & (pt > 0) & np.isfinite(momentum)
        own = none if lists.mass is None else lists.mass[np.isfinite(lists.mass)]
        return Head(pt=pt[good], eta=momentum[good], mass=make_pairs(lists, open_config).dimuons.mass, file_mass=own)
    return Head(pt=none, eta=none, mass=none, file_mass=none)


def check_units(table: EventTable, config: DimuonInput) -> None:
    """The medians of pT and mass in the first rows are those of muons in GeV.

    Raises InputError with the median seen.
    """
    head = read_head(table, config)
    for name, values, (low, high) in (
        ("muon pT", head.pt, PLAUSIBLE_PT),
        ("pair mass", head.mass, PLAUSIBLE_MASS),
        ("mass column", head.file_mass, PLAUSIBLE_MASS),
    ):
        median = float(np.median(values)) if values.size else None
        if median is not None and not low <= median <= high:
            raise InputError(
                f"the median {name} of the first {values.size} is {median:.4g}, implausible in GeV "
                f"(expected {low:g} to {high:g})",
                kind="input.units",
                where=place(table),
                do="write momenta and masses in GeV; nothing is rescaled on a guess",
            )
