"""Muons made ready for arithmetic: flat, checked, with the way back to the user's container."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mucal.arrays import BoolArray, FloatArray, IntArray
from mucal.calibration.columns import Restore, flatten
from mucal.calibration.validity import OUTSIDE, Outside, Validity


@dataclass(frozen=True, slots=True, kw_only=True)
class Muons:
    """N flattened muons.

    pt      : (N,) GeV   a harmless value for muons that are not `inside`
    eta     : (N,)       likewise
    charge  : (N,)       likewise; +1 where charge plays no role
    keys    : of (N,)    integers that name the muon: run, lumi, event, muon; or whether it triggered, its pixel hits
    inside  : (N,)       muons that get a number; None if all do
    restore : puts an array of N numbers into the user's container
    """

    pt: FloatArray
    eta: FloatArray
    charge: FloatArray
    keys: tuple[IntArray, ...]
    inside: BoolArray | None
    restore: Restore

    def finish(self, values: FloatArray) -> Any:
        """The values in the user's container, NaN for muons outside the validity range."""
        return self.restore(values if self.inside is None else np.where(self.inside, values, np.nan))


def prepare(
    columns: Mapping[str, Any], validity: Validity, outside: Outside, keys: Mapping[str, Any] | None = None
) -> Muons:
    """Flatten columns and check each muon against the validity range.

    columns : pt, eta, phi and, where it matters, charge
    keys    : integers that name the muon

    Raises ValueError for muons outside the range (unless `outside` is "nan") and for columns that do not fit together.
    """
    if outside not in OUTSIDE:
        raise ValueError(f"outside = {outside!r}, expected one of {', '.join(map(repr, OUTSIDE))}")
    keys = keys or {}
    flat, restore = flatten({**columns, **keys})
    for name in keys:
        if flat[name].dtype.kind not in "iu" and flat[name].size:
            raise ValueError(f"{name} has dtype {flat[name].dtype}; the key of a random number is an integer")
    reasons = validity.rejected(flat["pt"], flat["eta"], flat["phi"], flat.get("charge"))
    pt, eta = flat["pt"].astype(np.float64), flat["eta"].astype(np.float64)
    charge = flat["charge"].astype(np.float64) if "charge" in flat else np.ones(pt.size)
    inside: BoolArray | None = None
    if reasons:
        if outside == "raise":
            validity.refuse(reasons, {name: flat[name] for name in columns})
        inside = ~np.any(list(reasons.values()), axis=0)
        pt_inside, eta_inside = validity.inside
        pt, eta = np.where(inside, pt, pt_inside), np.where(inside, eta, eta_inside)
        charge = np.where(inside, charge, 1.0)
    return Muons(
        pt=pt,
        eta=eta,
        charge=charge,
        keys=tuple(flat[name].astype(np.int64) for name in keys),
        inside=inside,
        restore=restore,
    )


def prepare_hits(columns: Mapping[str, Any], validity: Validity, outside: Outside) -> Muons:
    """Flatten eta, charge, triggered and n_pixel, and check each muon against the validity range of eta.

    Raises ValueError for muons outside it (unless `outside` is "nan"), and for a number of hits that is not whole
    and at least 0, or a `triggered` that is neither true nor false.
    """
    if outside not in OUTSIDE:
        raise ValueError(f"outside = {outside!r}, expected one of {', '.join(map(repr, OUTSIDE))}")
    numbers = {
        name: 1 * (np.asarray(column) if isinstance(column, list) else column) for name, column in columns.items()
    }
    flat, restore = flatten(numbers)
    for name, most in (("triggered", 1), ("n_pixel", np.inf)):
        values = flat[name]
        wrong = ~((values >= 0) & (values <= most) & (values == np.floor(values)))
        if np.any(wrong):
            i = int(np.argmax(wrong))
            expected = "true or false" if name == "triggered" else "a whole number of hits"
            raise ValueError(
                f"{int(wrong.sum())} of {wrong.size} muons: {name}[{i}] = {values[i]}, expected {expected}"
            )
    pt, eta = validity.inside
    somewhere = np.full(flat["eta"].size, pt)
    reasons = validity.rejected(somewhere, flat["eta"], np.zeros_like(somewhere), flat["charge"])
    inside = ~np.any(list(reasons.values()), axis=0) if reasons else None
    if inside is not None and outside == "raise":
        validity.refuse(reasons, {name: flat[name] for name in columns})
    kept = np.ones(somewhere.size, dtype=np.bool_) if inside is None else inside
    return Muons(
        pt=somewhere,
        eta=np.where(kept, flat["eta"].astype(np.float64), eta),
        charge=np.where(kept, flat["charge"].astype(np.float64), 1.0),
        keys=(flat["triggered"].astype(np.int64), flat["n_pixel"].astype(np.int64)),
        inside=inside,
        restore=restore,
    )
