"""pyhf workspaces read as models: exactly, or refused with the reason.

What HistFactory's modifiers become:

| modifier     | here                                                                                           |
|--------------|------------------------------------------------------------------------------------------------|
| normfactor   | free rate; several on one sample multiply                                                      |
| lumi         | rate with a constraint                                                                         |
| shapefactor  | a free rate in each bin, `name[i]`                                                             |
| normsys      | log-ratio, the same in all bins of a channel                                                   |
| histosys     | additive effect                                                                                |
| staterror    | factor of the finite simulation, one a bin, "normal"; beside shapesys a constrained rate, `name[i]` |
| shapesys     | factor of the finite simulation, one a process and bin, "gamma"                                |

A sample whose rates differ between channels or bins is as many processes.  Bounds of parameters are not kept: our fits
have none.
"""

from pathlib import Path

from mucal.io.fit_input import FitInput
from mucal.io.histfactory import EXACT, fit_input_of
from mucal.io.pyhf_interpolation import HistoCode, NormCode
from mucal.io.pyhf_workspace import read_workspace


def read_pyhf(
    path: str | Path,
    *,
    measurement: str | None = None,
    codes: tuple[NormCode, HistoCode] = ("code4", "code4p"),
    largest_difference: float = EXACT,
) -> FitInput:
    """The model and data of a workspace (HistFactory JSON).

    measurement        : name; the first by default
    codes              : interpolation of normsys and histosys, pyhf's own by default
    largest_difference : of any expected events, relative, that our interpolation may make

    Raises InputError for what is no workspace, and for what the likelihood cannot say, with the number.
    """
    found = read_workspace(path, measurement)
    notes = (f"measurement '{found.measurement}'", "bounds of parameters are not kept")
    return fit_input_of(found, codes, largest_difference, form="pyhf", notes=notes)
