"""Selections that move a mass peak by themselves, because they cut in what the mass is made of."""

from collections.abc import Iterator
from typing import Final

from mucal.io.dimuon_input import CARTESIAN, DimuonInput, as_pair

MOMENTA: Final = ("pt", *CARTESIAN, "e")
SAFE: Final = "safe are eta_max, and cuts in |eta| of both muons"


def correlated_selections(config: DimuonInput) -> list[str]:
    """Sentences about entries of `select` that are correlated with the residual of the mass, each with a safe one.

    A cut in a measured momentum or mass takes pairs by their fluctuation: the peak of those left is off.  So does a cut
    on one muon of a pair alone where files order the two by momentum, which is how the |eta| of the leading muon once
    faked a trend of 55 MeV.  Other columns are not looked into.
    """
    return [note for selection in config.selections() for note in _notes(config, selection.text, selection.column)]


def _notes(config: DimuonInput, text: str, column: str) -> Iterator[str]:
    names = config.columns.muon_names()
    if column == config.columns.mass:
        yield (
            f"select '{text}' cuts in the measured mass, which the fits look at; use bins.mass_window, symmetric about "
            "the peak"
        )
        return
    quantity = next((key for key, name in names.items() if column in as_pair(name)), None)
    if quantity in MOMENTA:
        yield (
            f"select '{text}' cuts in the measured momentum, which is correlated with the residual of the mass: the "
            f"peak of what is left moves with the resolution; use bins.pt_edges, in data and simulation alike; {SAFE}"
        )
    elif quantity is not None and config.layout == "pair":
        partner = next(name for name in as_pair(names[quantity]) if name != column)
        same = text.replace(column, partner)
        if same.replace(" ", "") not in {other.replace(" ", "") for other in config.select}:
            yield (
                f"select '{text}' cuts on one muon of the pair: if the file orders them by momentum, that is "
                f"correlated with the residual of the mass; add '{same}'; {SAFE}"
            )
