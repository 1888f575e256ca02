"""Calibrations as correctionlib (schema 2) files, and their evaluation by correctionlib alone.

`corrections_document` holds everything to the last bit that a double in decimal notation carries:

| name         | inputs                                                    | output                                |
|--------------|-----------------------------------------------------------|---------------------------------------|
| pt_scale     | pt real, eta real, charge int, syst string                | corrected over reconstructed pT, data |
| pt_scale_mc  | pt real, eta real, charge int, syst string                | the same for simulation; 1 for "nom"  |
| scale_params | eta real, param string (A, e, M), syst string             | parameter value applied to data       |
| sigma_rel    | pt real, eta real, sample string (data, mc), syst string  | (sigma_k/k)^2; mc has "nom" only      |
| sigma_extra  | pt real, eta real, syst string                            | sqrt(max(0, data - mc))               |
| rng          | run int, luminosityBlock int, event int, phi real         | N(0,1), a hash of the inputs          |
| pixel_weight | nhits int, eta real, charge int, trig int, syst string    | weight by pixel hits, if known        |

syst is "nom", "<nuisance>_up" or "<nuisance>_down" of the kind that acts.  pt_scale and pt_scale_mc know
"scale_total_up" and "scale_total_down" as well, larger and smaller momenta: all scale nuisances in quadrature muon by
muon, for quick looks; not for a fit, where it would be taken as one fully correlated nuisance.  Outside the validity
range, for NaN, an unknown charge or syst, correctionlib raises; nothing is clamped.  (It turns a fractional charge into
an integer before we could see it.)  `rng` is not the random number of `Calibration.smear`, which knows the muon's
number.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import correctionlib
import numpy as np

from mucal import __version__
from mucal.arrays import FloatArray
from mucal.calibration import Calibration
from mucal.errors import InputError
from mucal.io.correction_nodes import Node, binning, category, correction, eta_bins, references
from mucal.io.json_file import read_json, read_json_text
from mucal.scale import ResolutionTable

FACTOR: Final = "1./(1.+[0]-[1]/x+[2]*x)"
TOTAL: Final = FACTOR[:-1] + "{sign}sqrt(max(0.,[3]+[4]/(x*x)+[5]*x*x+[6]/x+[7]*x+[8])))"
"""With the sum of the squares of all scale variations of the curvature; charge is in [2], [7] and [8]."""
ENVELOPE: Final = "scale_total"
VARIANCE: Final = "[0]+[2]*x*x+[1]/(1.+[3]/(x*x))"
EXTRA: Final = "sqrt(max(0.,([0]+[2]*x*x+[1]/(1.+[3]/(x*x)))-([4]+[6]*x*x+[5]/(1.+[7]/(x*x)))))"
DESCRIPTIONS: Final = {
    "pt": "transverse momentum, GeV",
    "eta": "pseudorapidity as reconstructed",
    "charge": "+1 or -1",
    "syst": "nom, or a nuisance with _up or _down appended",
    "param": "A (relative), e (GeV) or M (1/GeV)",
    "sample": "data or mc",
    "phi": "azimuth, rad",
    "run": "run number",
    "luminosityBlock": "luminosity block",
    "event": "event number",
    "nhits": "valid hits in the pixel detector",
    "trig": "1 for a muon that fired the trigger, else 0",
}
INTEGERS: Final = ("charge", "run", "luminosityBlock", "event", "nhits", "trig")
TYPES: Final = {**dict.fromkeys(INTEGERS, "int"), **dict.fromkeys(("syst", "param", "sample"), "string")}


@dataclass(frozen=True, slots=True)
class CorrectionFile:
    """A correction file opened by correctionlib, evaluated by it alone.

    corrections : name -> the correctionlib object
    """

    corrections: dict[str, Any]

    def evaluate(self, name: str, *inputs: Any) -> Any:
        """The correction `name` for inputs in its own order; raises what correctionlib raises, as ValueError.

        Raises ValueError for an unknown correction, and for inputs outside its range or keys.
        """
        if name not in self.corrections:
            raise ValueError(f"no correction '{name}' in this file; it holds {', '.join(self.corrections)}")
        try:
            return self.corrections[name].evaluate(*inputs)
        except (RuntimeError, IndexError) as error:
            raise ValueError(f"{name}: {error}") from error


def read_corrections_json(path: str | Path) -> CorrectionFile:
    """Open a correctionlib file (.json or .json.gz) after checking its size and nesting.

    Raises InputError for what is not JSON, is nested or inflated absurdly, or is no correctionlib file.
    """
    text = read_json_text(path)
    try:
        opened = correctionlib.CorrectionSet.from_string(text)
    except (RuntimeError, ValueError) as error:
        read_json(path)  # what is no JSON at all is refused with its line and column
        raise InputError(
            f"{Path(path).name} is not a correctionlib file: {error}", kind="input.foreign_file", where={"file": path}
        ) from error
    return CorrectionFile({name: opened[name] for name in opened})


def corrections_document(calibration: Calibration) -> Node:
    """The full-precision correctionlib document of a calibration, as plain values."""
    corrections = [
        _pt_scale(calibration, "data"),
        _pt_scale(calibration, "mc"),
        _scale_params(calibration),
        *_resolutions(calibration),
        _rng(),
        *_pixel_weight(calibration),
    ]
    return {"schema_version": 2, "description": describe(calibration), "corrections": corrections}


def describe(calibration: Calibration) -> str:
    """Units, range and origin of a calibration in one paragraph."""
    low, high = calibration.pt_range
    return (
        f"Muon momentum calibration by mucal {__version__}. {calibration.description} Units: GeV, 1/GeV, rad. "
        f"Corrects momenta of the kind '{calibration.pt_definition}'"
        f"{f', era {calibration.era}' if calibration.era else ''}. Scale set by the mass of {calibration.resonance}, "
        f"{calibration.reference_mass:.7g} +- {calibration.reference_mass_error:.2g} GeV (PDG edition "
        f"{calibration.pdg_edition or 'none'}). Valid for {low:g} <= pt < {high:g} GeV and "
        f"{calibration.eta_range[0]:g} <= eta < {calibration.eta_range[1]:g}; outside it raises. Factors on the "
        f"standard deviations are included: {', '.join(f'{k} {v:g}' for k, v in calibration.factors.items())}."
    )


# ------------------------------------------------------------------------------------------------ scale


def _pt_scale(calibration: Calibration, sample: str) -> Node:
    def by_charge(parameters: FloatArray) -> Node:
        """Lookup of A, e, M by charge and eta; M has its sign."""
        return category(
            "charge",
            ((q, _by_eta(calibration, calibration.scale.eta_edges, parameters * [[1.0], [1.0], [q]])) for q in (-1, 1)),
        )

    def total(index: int) -> Node:
        """Lookup of the total error, up or down, by charge and eta."""
        return category(
            "charge",
            (
                (q, _by_eta(calibration, calibration.scale.eta_edges, _total(calibration, nominal, q), index))
                for q in (-1, 1)
            ),
        )

    nominal = calibration.nominal(sample)
    entries = [(key, by_charge(p)) for key, p in _shifted(calibration, "scale", nominal)]
    entries += [(f"{ENVELOPE}_up", total(1)), (f"{ENVELOPE}_down", total(2))]
    systematics = category("syst", entries)
    what = (
        "corrected over reconstructed pT of data, 1/(1 + A - e/pt + q M pt)"
        if sample == "data"
        else "varied over nominal pT of simulation, 1/(1 + dA - de/pt + q dM pt); never vary data and simulation both"
    )
    return _correction(
        "pt_scale" if sample == "data" else "pt_scale_mc",
        what,
        ("pt", "eta", "charge", "syst"),
        _pt(calibration, systematics),
        formulas=(FACTOR, TOTAL.format(sign="-"), TOTAL.format(sign="+")),
    )


def _total(calibration: Calibration, nominal: FloatArray, charge: int) -> FloatArray:
    """(9, B) parameters of `TOTAL`: A, e, q M, and the sum over nuisances of (dA - de/pt + q dM pt)^2 by powers."""
    A, e, M = calibration.scale_variations.transpose(1, 0, 2)

    def sum_of(one: FloatArray, other: FloatArray) -> FloatArray:
        result: FloatArray = np.sum(one * other, axis=0)
        return result

    powers = [sum_of(A, A), sum_of(e, e), sum_of(M, M)]
    mixed = [-2.0 * sum_of(A, e), 2.0 * charge * sum_of(A, M), -2.0 * charge * sum_of(e, M)]
    return np.stack([nominal[0], nominal[1], charge * nominal[2], *powers, *mixed])


def _scale_params(calibration: Calibration) -> Node:
    edges = calibration.scale.eta_edges

    def values(parameter: int) -> Iterator[tuple[str, Node]]:
        for key, shifted in _shifted(calibration, "scale", calibration.nominal("data")):
            yield key, eta_bins(calibration.eta_range, edges, shifted[parameter].tolist())

    data = category("param", ((name, category("syst", values(i))) for i, name in enumerate("AeM")))
    return _correction("scale_params", "A, e (GeV) or M (1/GeV) applied to data", ("eta", "param", "syst"), data)


def _shifted(calibration: Calibration, kind: str, nominal: FloatArray) -> Iterator[tuple[str, FloatArray]]:
    """The values of syst with the (3, B) parameters that each stands for."""
    yield "nom", nominal
    for name in calibration.nuisances(kind):
        shift = calibration.variation(name)
        yield f"{name}_up", nominal + shift
        yield f"{name}_down", nominal - shift


# ------------------------------------------------------------------------------------------------ resolution


def _resolutions(calibration: Calibration) -> Iterator[Node]:
    data, mc = calibration.resolution_data, calibration.resolution_mc
    if data is None:
        return

    def varied(extend: Callable[[FloatArray], FloatArray]) -> Node:
        """Lookup of the resolution, nominal and shifted, by name and eta."""
        nominal = np.stack([data.a, data.b, data.c])
        shifted = _shifted(calibration, "resolution", nominal)
        return category(
            "syst",
            ((key, _by_eta(calibration, data.eta_edges, extend(np.vstack([p, data.d])))) for key, p in shifted),
        )

    samples = [("data", varied(lambda p: p))]
    if mc is not None:
        nodes = _by_eta(calibration, mc.eta_edges, _abcd(mc))
        samples.append(("mc", category("syst", [("nom", nodes)])))
    yield _correction(
        "sigma_rel",
        "relative curvature variance (sigma_k/k)^2 = a + c pt^2 + b/(1 + d/pt^2)",
        ("pt", "eta", "sample", "syst"),
        _pt(calibration, category("sample", samples)),
        formulas=(VARIANCE,),
    )
    if mc is not None:
        yield _correction(
            "sigma_extra",
            "relative width to smear simulation with, k -> k (1 + N(0,1) sigma_extra); 0 where simulation is worse",
            ("pt", "eta", "syst"),
            _pt(calibration, varied(lambda p: np.vstack([p, _abcd(mc)]))),
            formulas=(EXTRA,),
        )


def _abcd(table: ResolutionTable) -> FloatArray:
    result: FloatArray = np.stack([table.a, table.b, table.c, table.d])
    return result


def _rng() -> Node:
    node = {
        "nodetype": "hashprng",
        "inputs": ["run", "luminosityBlock", "event", "phi"],
        # newer correctionlib calls it "normal" as well; older ones know this name alone
        "distribution": "stdnormal",
    }
    return _correction(
        "rng",
        "standard normal number for smearing, the same for every variation; phi tells the muons of an event apart",
        ("run", "luminosityBlock", "event", "phi"),
        node,
    )


def _pixel_weight(calibration: Calibration) -> Iterator[Node]:
    """The weight by pixel hits; nhits is a binning, all numbers above 0 being alike."""
    table = calibration.pixels
    if table is None:
        return
    log = table.ln_weights

    def along(exponents: FloatArray) -> Node:
        """Lookup of the weights by hits, charge and trigger, each to a power."""

        def cell(hits: int, trigger: int, charge: int) -> Node:
            weights = np.exp(exponents * log[hits, trigger, charge])
            return eta_bins(calibration.eta_range, table.eta_edges, weights.tolist())

        charges = [
            category(
                "charge", ((q, category("trig", ((t, cell(hits, t, int(q > 0))) for t in (0, 1)))) for q in (-1, 1))
            )
            for hits in (0, 1)
        ]
        return binning("nhits", [-0.5, 0.5, "inf"], charges)

    nominal = np.full(table.n_bins, float(calibration.pixels_in_nominal))
    entries = [("nom", along(nominal))]
    for name in calibration.nuisances("pixel"):
        shift = calibration.variation(name)
        entries += [(f"{name}_up", along(nominal + shift)), (f"{name}_down", along(nominal - shift))]
    yield _correction(
        "pixel_weight",
        "weight of simulated muons by their pixel hits",
        ("nhits", "eta", "charge", "trig", "syst"),
        category("syst", entries),
    )


# ------------------------------------------------------------------------------------------------ nodes


def _correction(name: str, what: str, inputs: Sequence[str], data: Node, formulas: Sequence[str] = ()) -> Node:
    kinds = {i: TYPES.get(i, "real") for i in inputs}
    return correction(name, what, kinds, data, descriptions=DESCRIPTIONS, formulas=formulas)


def _by_eta(calibration: Calibration, edges: FloatArray, parameters: FloatArray, index: int = 0) -> Node:
    """References to a generic formula by eta bin of a table: (P, B) parameters."""
    return eta_bins(calibration.eta_range, edges, references(parameters, index))


def _pt(calibration: Calibration, content: Node) -> Node:
    """One bin, the validity range: outside it correctionlib raises."""
    return binning("pt", [float(edge) for edge in calibration.pt_range], [content])
