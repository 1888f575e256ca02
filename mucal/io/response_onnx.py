"""A response map as an ONNX graph: its slopes for programs without mucal, as C++ with onnxruntime.

The graph states the steps of `calibration.response_map.response_slopes` in standard operators, in double precision.
Inputs are arrays (N,) of double, any N:

    pt, pt_gen, eta_gen, charge    as for `response_slopes`

and outputs, (N,) of double, 0 outside the map and for numbers that are none:

    scale         -p'/p        a shift d of r = pt_gen / pt changes the weight by the factor 1 + scale d
    resolution    p''/(2 p)    a variance v added to r by 1 + resolution v
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mucal import __version__
from mucal.arrays import FloatArray
from mucal.calibration.response_map import BEYOND, DEGREE, NEWTON, ResponseMap
from mucal.errors import ConfigError
from mucal.store import write_bytes

RESPONSE_ONNX: Final = "response_map.onnx"
SCHEMA: Final = "mucal response map 1"
OPSET: Final = 13
IR_VERSION: Final = 7
"""That of opset 13: onnxruntime reads it from 1.6 (2020) on."""
INPUTS: Final = {
    "pt": "GeV, measured; smeared if the muons of the map were",
    "pt_gen": "GeV, generated",
    "eta_gen": "generated pseudorapidity",
    "charge": "+1 or -1, generated",
}
OUTPUTS: Final = {
    "scale": "-p'/p of the density p of r = pt_gen / pt: a shift d of r changes the weight by the factor 1 + scale d",
    "resolution": "p''/(2 p): a variance v that is added to r changes the weight by the factor 1 + resolution v",
}


def write_response_onnx(response: ResponseMap, path: str | Path, *, overwrite: bool = False) -> Path:
    """Write the graph of a map.  Raises FileExistsError unless `overwrite`, ConfigError where onnx is not installed."""
    return write_bytes(path, response_onnx_bytes(response), overwrite=overwrite)


def response_onnx_bytes(response: ResponseMap) -> bytes:
    """The bytes of the file; the same map and the same mucal give the same bytes.

    Raises ConfigError where onnx is not installed.
    """
    onnx = _onnx()
    helper, double = onnx.helper, onnx.TensorProto.DOUBLE
    graph = _Graph(onnx)
    for name, slope in zip(OUTPUTS, _slopes(graph, response), strict=True):
        graph.nodes.append(helper.make_node("Identity", [slope.name], [name]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes, "response_map",
            [helper.make_tensor_value_info(name, double, ["N"], doc_string=text) for name, text in INPUTS.items()],
            [helper.make_tensor_value_info(name, double, ["N"], doc_string=text) for name, text in OUTPUTS.items()],
            initializer=graph.constants, doc_string="Slopes of the response of simulated muons, for their weights",
        ),
        opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
        producer_name="mucal", producer_version=__version__,
    )  # fmt: skip
    helper.set_model_props(model, _notes(response))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _onnx() -> ModuleType:
    try:
        import onnx
    except ImportError as error:
        raise ConfigError(
            f"a response map as ONNX needs the package onnx: {error}", kind="config.missing_extra",
            do='pip install "mucal[onnx]"',
        ) from error  # fmt: skip
    module: ModuleType = onnx
    return module


def _notes(response: ResponseMap) -> dict[str, str]:
    """What `metadata_props` say."""
    ranges = {"pt_gen_range": (response.pt_edges, " GeV"), "eta_gen_range": (response.eta_edges, "")}
    return {
        "schema": SCHEMA,
        "mucal": __version__,
        **{name: f"[{edges[0]:.17g}, {edges[-1]:.17g}){unit}" for name, (edges, unit) in ranges.items()},
        "outside": "scale = resolution = 0: a weight of 1; also in cells of too few muons, and for NaN",
        "n_muons": f"{response.n_muons.sum():.17g}",
        **{f"input {name}": text for name, text in INPUTS.items()},
        **{f"output {name}": text for name, text in OUTPUTS.items()},
    }


@dataclass(frozen=True, slots=True)
class _Graph:
    """Nodes and constants in the order they are made."""

    onnx: ModuleType
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, values: npt.ArrayLike) -> "_Value":
        """Of the type of `values`; numbers are double."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(self.onnx.numpy_helper.from_array(np.array(values), name))
        return _Value(self, name)

    def node(self, operator: str, *inputs: "_Value | float", **attributes: int) -> "_Value":
        name = f"value_{len(self.nodes)}"
        names = [value.name if isinstance(value, _Value) else self.constant(float(value)).name for value in inputs]
        self.nodes.append(self.onnx.helper.make_node(operator, names, [name], **attributes))
        return _Value(self, name)


@dataclass(frozen=True, slots=True)
class _Value:
    """A value of the graph; its arithmetic adds nodes, so that formulas read as they do elsewhere."""

    graph: _Graph
    name: str

    def __add__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Add", self, other)

    def __sub__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Sub", self, other)

    def __mul__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Mul", self, other)

    def __truediv__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Div", self, other)

    def __neg__(self) -> "_Value":
        return self.graph.node("Neg", self)

    def __gt__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Greater", self, other)

    def __ge__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("GreaterOrEqual", self, other)

    def __lt__(self, other: "_Value | float") -> "_Value":
        return self.graph.node("Less", self, other)

    def __and__(self, other: "_Value") -> "_Value":
        return self.graph.node("And", self, other)


def _slopes(graph: _Graph, response: ResponseMap) -> tuple[_Value, _Value]:
    """The nodes of `response_slopes`; polynomials by Horner's rule."""
    pt, pt_gen, eta_gen, charge = (_Value(graph, name) for name in INPUTS)
    where, clip = partial(graph.node, "Where"), partial(graph.node, "Clip")
    found, inside = _interpolated(graph, response, pt_gen, eta_gen, charge)
    r = pt_gen / pt
    known = inside & graph.node("Not", graph.node("IsNaN", found[0] + r))  # the standard leaves a Clip of NaN open
    r = where(known, r, 0.0)
    c = [where(known, of, float(j == 1)) for j, of in enumerate(found)]
    derivatives = [c]
    for _ in range(3):
        derivatives.append([of * float(j) for j, of in enumerate(derivatives[-1])][1:])

    def at(z: _Value, order: int) -> _Value:
        """Derivative of r(z)."""
        *lower, total = derivatives[order]
        for of in reversed(lower):
            total = total * z + of
        return total

    z = clip((r - c[0]) / c[1], -BEYOND, BEYOND)
    for _ in range(NEWTON):
        slope = at(z, 1)
        z = clip(z - (at(z, 0) - r) / where(slope > 0.0, slope, c[1]), -BEYOND, BEYOND)
    first, second, third = (at(z, order) for order in (1, 2, 3))
    usable = known & (first > 0.0)
    first = where(usable, first, 1.0)
    bend = second / first
    rate = -(z + bend) / first  # p'/p
    change = (-(third / first + 1.0 - bend * bend) / first - rate * bend) / first  # its derivative by r
    return where(usable, -rate, 0.0), where(usable, (rate * rate + change) * 0.5, 0.0)


def _interpolated(
    graph: _Graph, response: ResponseMap, pt: _Value, eta: _Value, charge: _Value
) -> tuple[list[_Value], _Value]:
    """The nodes of the map's linear interpolation: D+1 coefficients, NaN where one is not known; and what lies inside.

    An axis of one cell is one of two equal cells here.  A cell is row (charge, pt, eta) of a flat table.
    """
    coefficients = response.coefficients
    coefficients = np.where(np.all(np.isfinite(coefficients), axis=3, keepdims=True), coefficients, np.nan)
    for axis in (1, 2):
        if coefficients.shape[axis] == 1:
            coefficients = np.repeat(coefficients, 2, axis=axis)
    _, n_pt, n_eta = coefficients.shape[:3]
    table = graph.constant(np.ascontiguousarray(coefficients.reshape(-1, DEGREE + 1).T))
    (i, u), (j, v) = (_between(graph, edges, x) for edges, x in ((response.pt_edges, pt), (response.eta_edges, eta)))
    positive = graph.node("Cast", charge > 0.0, to=graph.onnx.TensorProto.INT64)
    cell = (positive * graph.constant(n_pt) + i) * graph.constant(n_eta) + j
    found = None
    for di, of_pt in ((0, -u + 1.0), (1, u)):
        for dj, of_eta in ((0, -v + 1.0), (1, v)):
            share = of_pt * of_eta
            corner = graph.node("Gather", table, cell + graph.constant(di * n_eta + dj), axis=1)
            part = graph.node("Where", share > 0.0, share * corner, 0.0)
            found = part if found is None else found + part
    assert found is not None
    pt_edges, eta_edges = response.pt_edges, response.eta_edges
    inside = (pt >= float(pt_edges[0])) & (pt < float(pt_edges[-1]))
    inside = inside & (eta >= float(eta_edges[0])) & (eta < float(eta_edges[-1]))
    return [graph.node("Gather", found, graph.constant(of), axis=0) for of in range(DEGREE + 1)], inside


def _between(graph: _Graph, edges: FloatArray, x: _Value) -> tuple[_Value, _Value]:
    """The cell whose centre lies below x, and how far x is on the way to the next one, 0 to 1."""
    centre = 0.5 * (edges[1:] + edges[:-1])
    if centre.size == 1:
        centre = np.append(centre, edges[-1])
    below = x >= graph.constant(centre[:, None])
    count = graph.node("ReduceSum", graph.node("Cast", below, to=graph.onnx.TensorProto.INT64), graph.constant([0]),
                       keepdims=0)  # fmt: skip
    one = graph.constant(1)
    i = graph.node("Clip", count - one, graph.constant(0), graph.constant(centre.size - 2))
    centres = graph.constant(centre)
    low, high = graph.node("Gather", centres, i, axis=0), graph.node("Gather", centres, i + one, axis=0)
    return i, graph.node("Clip", (x - low) / (high - low), 0.0, 1.0)
