"""Damaged workspaces, cards and tensors end in a model or in an error that users can act on, never in anything else."""

import contextlib
import copy
import json

import numpy as np
import pytest

from mucal.errors import MucalError
from mucal.io import FitInput, read_datacard, read_pyhf, read_rabbit, write_rabbit

from ..likelihood.models import small_model
from .test_datacard import COUNTING
from .workspaces import WORKSPACES

JUNK = [None, True, -1, 0, 1e308, float("nan"), "x", "", [], [1.0], [[1.0]], {}, {"name": "x"}, ["x"], [None]]


def places(node, path=()):
    """Paths to all nodes of a tree of lists and dicts."""
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


def changed(tree, rng):
    """A copy with one node replaced by junk or left out."""
    tree = copy.deepcopy(tree)
    found = [path for path in places(tree) if path]
    *way, last = found[rng.integers(len(found))]
    parent = tree
    for key in way:
        parent = parent[key]
    if rng.random() < 0.3:
        del parent[last]
    else:
        parent[last] = JUNK[rng.integers(len(JUNK))]
    return tree


@pytest.mark.parametrize("name", ["everything in two channels", "background from a control region, bin by bin"])
def test_workspaces_with_one_node_changed(tmp_path, name):
    rng = np.random.default_rng(11)
    for i in range(200):
        path = tmp_path / "w.json"
        path.write_text(json.dumps(changed(WORKSPACES[name], rng)))
        with contextlib.suppress(MucalError):
            found = read_pyhf(path)
            assert np.isfinite(found.model.nominal).all(), i


def test_cards_with_one_word_changed(tmp_path):
    rng = np.random.default_rng(12)
    words = [
        "-",
        "0",
        "-1",
        "nan",
        "inf",
        "x",
        "*",
        "1/2/3",
        "1e999",
        "[",
        "lnN",
        "rateParam",
        "group",
        "=",
        "bin",
        "\n",
    ]
    pieces = COUNTING.split(" ")
    for _ in range(300):
        some = list(pieces)
        at = int(rng.integers(len(some)))
        some[at : at + 1] = [] if rng.random() < 0.3 else [words[rng.integers(len(words))]]
        path = tmp_path / "card.txt"
        path.write_text(" ".join(some))
        with contextlib.suppress(MucalError):
            found = read_datacard(path)
            assert np.isfinite(found.model.nominal).all()


def test_tensors_with_one_byte_changed(tmp_path):
    content = bytearray(write_rabbit(tmp_path / "t.hdf5", FitInput(model=small_model())).read_bytes())
    rng = np.random.default_rng(13)
    path = tmp_path / "damaged.hdf5"
    for _ in range(100):
        some = bytearray(content)
        some[rng.integers(len(some))] ^= 1 << int(rng.integers(8))
        path.write_bytes(some)
        with contextlib.suppress(MucalError):
            read_rabbit(path)
