"""The pieces that correctionlib documents (schema 2) are put together from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mucal.arrays import FloatArray

Node = dict[str, Any]


def correction(
    name: str,
    what: str,
    inputs: Mapping[str, str],
    data: Node,
    *,
    descriptions: Mapping[str, str] | None = None,
    formulas: Sequence[str] = (),
) -> Node:
    """One correction: its inputs in order, its output, and the node that computes it.

    inputs       : name -> "real", "int" or "string"
    descriptions : of the inputs, as far as they have one
    formulas     : generic formulas of the variable pt, to which references in `data` refer by number
    """
    about = descriptions or {}
    described = {i: {"description": about[i]} for i in inputs if i in about}
    node: Node = {
        "name": name,
        "description": what,
        "version": 1,
        "inputs": [{"name": i, "type": kind, **described.get(i, {})} for i, kind in inputs.items()],
        "output": {"name": name, "type": "real", "description": what},
        "data": data,
    }
    if formulas:
        node["generic_formulas"] = [
            {"nodetype": "formula", "expression": text, "parser": "TFormula", "variables": ["pt"]} for text in formulas
        ]
    return node


def category(variable: str, entries: Iterable[tuple[str | int, Any]]) -> Node:
    """A choice by key; correctionlib raises for another one."""
    content = [{"key": key, "value": value} for key, value in entries]
    return {"nodetype": "category", "input": variable, "content": content}


def binning(variable: str, edges: Sequence[float | str], content: list[Any], *, flow: str = "error") -> Node:
    """A choice by bin; outside the edges correctionlib raises, or with flow "clamp" takes the nearest bin."""
    return {"nodetype": "binning", "input": variable, "edges": list(edges), "flow": flow, "content": content}


def eta_bins(eta_range: tuple[float, float], edges: FloatArray, content: list[Any]) -> Node:
    """The eta bins of a table, one content each, cut to the validity range."""
    low, high = eta_range
    first = int(np.searchsorted(edges, low, side="right")) - 1
    last = int(np.searchsorted(edges, high, side="left"))
    inner = [float(edge) for edge in edges[first + 1 : last]]
    return binning("eta", [float(low), *inner, float(high)], content[first:last])


def references(parameters: FloatArray, index: int = 0) -> list[Node]:
    """One reference to a generic formula per bin: (P, B) parameters."""
    return [{"nodetype": "formularef", "index": index, "parameters": row} for row in parameters.T.tolist()]
