"""Scale factors and efficiencies as correctionlib (schema 2), named as the CMS muon group names them.

    NUM_<passing>_DEN_<probe>            inputs eta, pt, charge[, ut], scale_factors
    NUM_<passing>_DEN_<probe>_eff_data   inputs eta, pt, charge[, ut]
    NUM_<passing>_DEN_<probe>_eff_mc     likewise

scale_factors is "nominal"; "stat", the standard error; "syst", all alternatives in quadrature; "systup", "systdown",
nominal plus and minus syst; or "<effStat nuisance>_up|_down", which is nominal wherever that nuisance does not act.  pT
and u_T (GeV) are clamped to their ranges; outside eta, for another charge or key, correctionlib raises.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.polynomial import legendre, polynomial

from mucal import __version__
from mucal.arrays import FloatArray
from mucal.efficiency import EfficiencyModel, ScaleFactors, Surface
from mucal.efficiency.steps import STEPS
from mucal.io.correctionlib import read_corrections_json
from mucal.io.efficiency_check import certify_efficiencies
from mucal.io.json_file import write_json

Node = dict[str, Any]
Slice = tuple[int, int]

DESCRIPTIONS: Final = {
    "eta": "pseudorapidity",
    "pt": "transverse momentum, GeV",
    "charge": "+1 or -1",
    "ut": "recoil along the muon, GeV",
    "scale_factors": "nominal, stat, syst, systup, systdown, or a nuisance with _up or _down appended",
}


def write_efficiency_json(model: EfficiencyModel, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write all steps of a model to one .json or .json.gz file, and open it with correctionlib.

    Raises NotCertified if the scale factors are not fit for export, FileExistsError unless `overwrite`.
    """
    certify_efficiencies(model)
    found = write_json(path, efficiency_document(model), indent=None, overwrite=overwrite)
    read_corrections_json(found)
    return found


def efficiency_document(model: EfficiencyModel) -> Node:
    """The correctionlib document of a model, as plain values."""
    steps = (*model.steps, *(() if model.veto is None else (model.veto,)))
    return {
        "schema_version": 2,
        "description": f"Muon efficiencies by mucal {__version__}. Units: GeV.",
        "corrections": [one for step in steps for one in _corrections(step)],
    }


def correction_name(step: str) -> str:
    """NUM_<passing>_DEN_<probe> of a step; a step of another chain stands over "probe"."""
    for one in STEPS:
        if one.name == step:
            return f"NUM_{one.passing}_DEN_{one.probe}" + ("_tracking" if step == "tracking" else "")
    return f"NUM_{step}_DEN_probe"


def _corrections(factors: ScaleFactors) -> list[Node]:
    name = correction_name(factors.step)
    surface, shifts = factors.nominal, factors.nominal.eigenvariations()
    systematic = [factors.ratio(one) for one in factors.alternatives]
    formulas = _formulas(surface)

    def content(at: Slice) -> Node:
        """Formulas of one slice by name: nominal, and the shifts of its nuisances."""
        nominal = _power(surface.coefficients[at], surface)
        stat = _square(_factor(surface.cov[at]), surface)
        syst = _square(np.array([one[at] for one in systematic]).reshape(-1, surface.n_parameters), surface)
        keys = {
            "nominal": _reference(0, nominal), "stat": _reference(1, stat), "syst": _reference(1, syst),
            "systup": _reference(2, nominal + syst), "systdown": _reference(3, nominal + syst),
        }  # fmt: skip
        q = at[1] if surface.by_charge else "all"
        for k, shift in enumerate(shifts[at]):
            base = f"effStat_{factors.step}_eta{at[0]}_pt{k}_q{q}"
            for sign, ending in ((1, "up"), (-1, "down")):
                keys[f"{base}_{ending}"] = _reference(0, _power(surface.coefficients[at] + sign * shift, surface))
        entries = [{"key": key, "value": value} for key, value in keys.items()]
        return {"nodetype": "category", "input": "scale_factors", "content": entries, "default": keys["nominal"]}

    result = [_correction(name, surface, content, formulas, ("scale_factors",))]
    for ending, own in (("eff_data", factors.eff_data), ("eff_mc", factors.eff_mc)):

        def plain(at: Slice, own: Surface = own) -> Node:
            return _reference(0, _power(own.coefficients[at], own))

        result.append(_correction(f"{name}_{ending}", own, plain, _formulas(own)[:1], ()))
    return result


def _correction(
    name: str, surface: Surface, content: Callable[[Slice], Node], formulas: list[str], keys: tuple[str, ...]
) -> Node:
    inputs = ["eta", "pt", "charge", *(("ut",) if surface.degree_ut else ()), *keys]
    types = {"charge": "int", "scale_factors": "string"}
    variables = ["pt", *(("ut",) if surface.degree_ut else ())]

    def one_eta(i: int) -> Node:
        choices = [{"key": c, "value": content((i, q))} for c, q in ((-1, 0), (1, int(surface.by_charge)))]
        return {"nodetype": "category", "input": "charge", "content": choices}

    return {
        "name": name,
        "version": 1,
        "inputs": [{"name": n, "type": types.get(n, "real"), "description": DESCRIPTIONS[n]} for n in inputs],
        "output": {"name": "value", "type": "real"},
        "generic_formulas": [
            {"nodetype": "formula", "expression": text, "parser": "TFormula", "variables": variables}
            for text in formulas
        ],
        "data": {
            "nodetype": "binning",
            "input": "eta",
            "edges": [float(e) for e in surface.eta_edges],
            "flow": "error",
            "content": [one_eta(i) for i in range(surface.eta_edges.size - 1)],
        },
    }


def _reference(index: int, parameters: list[float]) -> Node:
    return {"nodetype": "formularef", "index": index, "parameters": parameters}


def _formulas(surface: Surface) -> list[str]:
    """Value; root of a polynomial of twice the degree; the first plus and minus the second."""
    value, n = _polynomial(surface, 1, 0)
    alone, _ = _polynomial(surface, 2, 0)
    after, _ = _polynomial(surface, 2, n)
    return [value, f"sqrt(max(0.,{alone}))", f"{value}+sqrt(max(0.,{after}))", f"{value}-sqrt(max(0.,{after}))"]


def _polynomial(surface: Surface, times: int, first: int) -> tuple[str, int]:
    """Text of a polynomial in the clamped variables by Horner's rule, parameters from [first] on, and their number."""
    t = _clamped("x", surface.pt_range)
    rows = times * surface.degree_pt + 1
    columns = times * surface.degree_ut + 1
    u = _clamped("y", surface.ut_range) if columns > 1 else ""
    inner = [_horner([f"[{first + i * columns + j}]" for j in range(columns)], u) for i in range(rows)]
    return _horner(inner, t), rows * columns


def _clamped(variable: str, limits: tuple[float, float]) -> str:
    middle, half = 0.5 * (limits[0] + limits[1]), 0.5 * (limits[1] - limits[0])
    return f"max(-1.,min(1.,({variable}-({middle!r}))/{half!r}))"


def _horner(terms: list[str], variable: str) -> str:
    text = terms[-1]
    for term in reversed(terms[:-1]):
        text = f"({term}+{variable}*{text})"
    return text


def _power(coefficients: FloatArray, surface: Surface) -> list[float]:
    """Legendre coefficients (P,) as those of powers, in the same order."""
    table = coefficients.reshape(surface.degree_pt + 1, surface.degree_ut + 1)
    change = [np.array([np.pad(legendre.leg2poly(row), (0, n - i)) for i, row in
              enumerate([np.eye(n + 1)[i, : i + 1] for i in range(n + 1)])]) for n in
              (surface.degree_pt, surface.degree_ut)]  # fmt: skip
    found: list[float] = (change[0].T @ table @ change[1]).reshape(-1).tolist()
    return found


def _square(rows: FloatArray, surface: Surface) -> list[float]:
    """Powers of the sum over rows (R, P) of the square of each row's polynomial."""
    shape = surface.degree_pt + 1, surface.degree_ut + 1
    total = np.zeros((2 * shape[0] - 1, 2 * shape[1] - 1))
    for row in rows:
        table = np.array(_power(row, surface)).reshape(shape)
        for i in range(shape[0]):
            for k in range(shape[0]):
                total[i + k] += polynomial.polymul(table[i], table[k]) if shape[1] > 1 else table[i] * table[k]
    found: list[float] = total.reshape(-1).tolist()
    return found


def _factor(cov: FloatArray) -> FloatArray:
    """Rows (P, P) whose squares add up to the covariance."""
    values, vectors = np.linalg.eigh(cov)
    result: FloatArray = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return result
