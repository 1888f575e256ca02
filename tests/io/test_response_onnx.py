"""The graph of a response map gives the slopes of `response_slopes`, in two programs that know nothing of it."""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import mucal
from mucal.calibration import Calibration, response_weights
from mucal.calibration.response_map import ETA_EDGES, PT_EDGES, ResponseMap, response_slopes
from mucal.errors import ConfigError
from mucal.io import write_response_onnx
from mucal.io.response_onnx import INPUTS, OUTPUTS, response_onnx_bytes

Columns = dict[str, np.ndarray]
Run = Callable[[bytes, Columns], list[np.ndarray]]

N = 100_000
EDGES = {"pt_edges": np.array([9.0, 15.0, 26.0, 40.0, 81.0]), "eta_edges": np.array([-2.4, -1.3, 0.0, 0.9, 1.7, 2.4])}
SIGMA = 0.015


@pytest.fixture(scope="module")
def onnx():
    return pytest.importorskip("onnx", reason="onnx writes the graphs: mucal[onnx]")


def in_reference(content: bytes, columns: Columns) -> list[np.ndarray]:
    """The definition of the operators by onnx itself, in numpy."""
    reference = pytest.importorskip("onnx.reference", reason="onnx writes the graphs: mucal[onnx]")
    with np.errstate(all="ignore"):  # as in the other branch of any `where`
        return list(reference.ReferenceEvaluator(content).run(None, columns))


def in_onnxruntime(content: bytes, columns: Columns) -> list[np.ndarray]:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is of the extra mucal[oracles]")
    return list(runtime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, columns))


runs = pytest.mark.parametrize("run", [in_reference, pytest.param(in_onnxruntime, marks=pytest.mark.oracle)])


def a_map(seed: int = 1, pt_edges: np.ndarray = EDGES["pt_edges"], eta_edges: np.ndarray = EDGES["eta_edges"]):
    """Tails on both sides, by cell; r(z) falls near z = 5 in some of them."""
    rng = np.random.default_rng(seed)
    cells = (2, pt_edges.size - 1, eta_edges.size - 1)
    c = rng.normal(size=(*cells, 6)) * [1e-3, 2e-3, 3e-4, 2e-4, 3e-5, 1e-5] + [1.0, SIGMA, 0.0, 0.0, 0.0, 0.0]
    return ResponseMap(pt_edges=pt_edges, eta_edges=eta_edges, coefficients=c, n_muons=np.ones(cells))


def with_gaps(response: ResponseMap) -> ResponseMap:
    """The same with two cells of too few muons, and one that is damaged in one number."""
    c = response.coefficients.copy()
    c[0, 1, 2], c[1, 3, 4], c[1, 0, 0, 5] = np.nan, np.nan, np.inf
    return replace(response, coefficients=c)


def muons(n: int = N, seed: int = 2) -> Columns:
    """Of both charges; a tenth at edges and centres of cells, some outside in pT, eta and r."""
    rng = np.random.default_rng(seed)
    gen, eta, charge = rng.uniform(5.0, 90.0, n), rng.uniform(-2.6, 2.6, n), rng.choice([-1.0, 1.0], n)
    for column, edges in ((gen, EDGES["pt_edges"]), (eta, EDGES["eta_edges"])):
        places = np.concatenate([edges, 0.5 * (edges[1:] + edges[:-1])])
        places = np.concatenate([places, np.nextafter(places, -np.inf), np.nextafter(places, np.inf)])
        at = rng.permutation(n)[: n // 10]
        column[at] = rng.choice(places, at.size)
    r = 1.0 + SIGMA * rng.standard_normal(n)
    r[: n // 10] = rng.uniform(0.2, 3.0, n // 10)
    return {"pt": gen / r, "pt_gen": gen, "eta_gen": eta, "charge": charge}


def slopes(response: ResponseMap, columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    with np.errstate(all="ignore"):
        return response_slopes(response, *(columns[name] for name in INPUTS))


def assert_same_slopes(found: list[np.ndarray], response: ResponseMap, columns: Columns) -> None:
    """To 1e-12, or to what changes of pT and of c_1 by 2e-15, some ten roundings, make of the expected slope.

    z solves r(z) = r, and slopes are divided by r'(z): near a zero of either they are known no better than that.
    """
    h = 1e-8
    spread = np.zeros((2, columns["pt"].size))
    for of_pt, of_c in ((h, 0.0), (0.0, h)):
        low, high = (
            slopes(steeper(response, step * of_c), {**columns, "pt": columns["pt"] * (1.0 + step * of_pt)})
            for step in (-1.0, 1.0)
        )
        spread += np.abs(np.subtract(high, low)) / (2.0 * h)
    for got, expected, by_input in zip(found, slopes(response, columns), spread, strict=True):
        assert got.dtype == np.float64
        assert_array_equal(got == 0, expected == 0)
        beyond = np.abs(got - expected) - 1e-12 * np.abs(expected) - 2e-15 * by_input
        worst = np.argmax(beyond)
        assert beyond[worst] <= 0, (worst, got[worst], expected[worst])


def steeper(response: ResponseMap, by: float) -> ResponseMap:
    return replace(response, coefficients=response.coefficients * [1.0, 1.0 + by, 1.0, 1.0, 1.0, 1.0])


@runs
@pytest.mark.parametrize("change", [lambda response: response, with_gaps], ids=["whole", "gaps"])
def test_slopes_are_those_of_mucal(onnx, run: Run, change):
    response, columns = change(a_map()), muons()
    found = run(response_onnx_bytes(response), columns)
    assert_same_slopes(found, response, columns)
    assert np.mean(found[0] != 0) > 0.5


@runs
def test_nearly_all_slopes_agree_to_twelve_digits(onnx, run: Run):
    response, columns = a_map(), muons()
    for got, expected in zip(run(response_onnx_bytes(response), columns), slopes(response, columns), strict=True):
        differs = np.abs(got - expected) > 1e-12 * np.abs(expected)
        # rounding moves z by 2e-16 / sigma = 2e-14, so a slope c (z - z0) by more than 1e-12 of it within 0.02 of a
        # zero z0 at most: of a normal z, below 0.02 * 2 * 0.4 a zero, and there are one and two of them
        assert np.mean(differs) < 0.02 * 2 * 0.4 * 2


@runs
def test_outside_the_map_both_slopes_are_zero(onnx, run: Run):
    below = np.nextafter([9.0, -2.4], -np.inf)
    columns = {
        "pt_gen": np.array([9.0, below[0], 81.0, 30.0, 30.0, 30.0, 33.0]),
        "eta_gen": np.array([0.1, 0.1, 0.1, -2.4, below[1], 2.4, -0.2]),
        "charge": np.array([1.0, 1.0, 1.0, -1.0, -1.0, -1.0, -1.0]),
    }
    columns["pt"] = columns["pt_gen"] / 1.01
    response = a_map()
    found = run(response_onnx_bytes(response), columns)
    for got in found:
        assert_array_equal(got != 0, [True, False, False, True, False, False, True])
    gaps = run(response_onnx_bytes(with_gaps(response)), {name: column[:1] for name, column in columns.items()})
    assert gaps[0][0] == found[0][0]  # no share of the cells without muons


@runs
@pytest.mark.parametrize("name", INPUTS)
def test_numbers_that_are_none_are_treated_as_in_mucal(onnx, run: Run, name: str):
    wrong = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, -30.0, 1e-320, 1e308])
    columns = {"pt": 30.3, "pt_gen": 30.0, "eta_gen": 0.5, "charge": 1.0}
    arrays = {key: np.full(wrong.size, value) for key, value in columns.items()} | {name: wrong}
    response = a_map()
    found, expected = run(response_onnx_bytes(response), arrays), slopes(response, arrays)
    for got, known in zip(found, expected, strict=True):
        assert np.all(np.isfinite(got))
        np.testing.assert_allclose(got, known, rtol=1e-12)
        if name != "charge":  # of which only the sign is looked at
            assert got[0] == 0.0


@runs
@pytest.mark.parametrize("n_pt", [1, 2])
@pytest.mark.parametrize("n_eta", [1, 2])
def test_maps_of_one_cell_on_an_axis(onnx, run: Run, n_pt: int, n_eta: int):
    response, columns = a_map(3, np.linspace(9.0, 81.0, n_pt + 1), np.linspace(-2.4, 2.4, n_eta + 1)), muons(5000)
    assert_same_slopes(run(response_onnx_bytes(response), columns), response, columns)


@runs
def test_a_muon_does_not_depend_on_the_others_of_its_batch(onnx, run: Run):
    content, columns = response_onnx_bytes(a_map()), muons(16)
    whole = run(content, columns)
    alone = [run(content, {name: column[i : i + 1] for name, column in columns.items()}) for i in range(16)]
    for k, got in enumerate(whole):
        assert_array_equal(np.concatenate([one[k] for one in alone]), got)


@pytest.mark.oracle
def test_no_muons_have_no_slopes(onnx):
    columns = {name: column[:0] for name, column in muons(1).items()}
    assert [got.shape for got in in_onnxruntime(response_onnx_bytes(a_map()), columns)] == [(0,), (0,)]


@runs
def test_weights_of_nuisances_follow_from_the_slopes(onnx, run: Run, calibration: Calibration):
    # the formula of docs/file_formats.md; weights are float32 and lie within 10, so 1e-6 is one rounding
    response, columns = a_map(), muons(2000)
    scale, resolution = run(response_onnx_bytes(response), columns)
    pt, gen, eta, q = columns.values()
    weights = response_weights(calibration, pt, eta, q, gen, response=response)
    low, high = calibration.eta_range
    inside = (eta >= low) & (eta < high)
    bins = [
        np.clip(np.searchsorted(table.eta_edges, eta, side="right") - 1, 0, table.eta_edges.size - 2)
        for table in (calibration.scale, calibration.resolution_data)
    ]
    d = calibration.resolution_data.d[bins[1]]
    first = calibration.scale_variations.shape[0]
    assert np.all(np.any(weights != 1.0, axis=(0, 2)))
    for s in (0, first - 1, first, first + calibration.resolution_variations.shape[0] - 1):
        if s < first:
            A, e, M = calibration.scale_variations[s][:, bins[0]]
            change = scale * (A - e / gen + q * M * gen)
        else:
            a, b, c = calibration.resolution_variations[s - first][:, bins[1]]
            change = resolution * (a + b / (1.0 + d / gen**2) + c * gen**2)
        for k, sign in enumerate((1.0, -1.0)):
            by_hand = np.where(inside, np.clip(1.0 + sign * change, -10.0, 10.0), 1.0)
            np.testing.assert_allclose(weights[:, s, k], by_hand, rtol=0, atol=1e-6)


def test_the_default_map_is_a_small_valid_file_of_standard_operators(onnx):
    response = a_map(4, PT_EDGES, ETA_EDGES)
    content = response_onnx_bytes(response)
    table = response.coefficients.nbytes
    assert table < len(content) < table + 2**15
    assert content == response_onnx_bytes(response)
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 13)]
    assert model.ir_version == 7
    assert {node.domain for node in model.graph.node} == {""}
    assert [one.name for one in model.graph.input] == ["pt", "pt_gen", "eta_gen", "charge"]
    assert [one.name for one in model.graph.output] == ["scale", "resolution"]
    for one in (*model.graph.input, *model.graph.output):
        assert one.type.tensor_type.elem_type == onnx.TensorProto.DOUBLE
        assert [axis.dim_param for axis in one.type.tensor_type.shape.dim] == ["N"]


def test_the_file_says_what_it_takes_and_gives(onnx):
    model = onnx.load_from_string(response_onnx_bytes(a_map()))
    notes = {one.key: one.value for one in model.metadata_props}
    assert notes["schema"] == "mucal response map 1"
    assert notes["mucal"] == model.producer_version == mucal.__version__
    assert notes["pt_gen_range"] == "[9, 81) GeV"
    assert notes["eta_gen_range"] == "[-2.3999999999999999, 2.3999999999999999)"
    assert notes["n_muons"] == "40"
    assert "0" in notes["outside"]
    for kind, texts in (("input", INPUTS), ("output", OUTPUTS)):
        declared = {one.name: one.doc_string for one in getattr(model.graph, kind)}
        assert declared == texts == {name: notes[f"{kind} {name}"] for name in texts}


def test_a_file_is_not_overwritten_unasked(onnx, tmp_path):
    path = write_response_onnx(a_map(), tmp_path / "response_map.onnx")
    assert path.read_bytes() == response_onnx_bytes(a_map())
    with pytest.raises(FileExistsError):
        write_response_onnx(a_map(5), path)
    write_response_onnx(a_map(5), path, overwrite=True)
    assert path.read_bytes() == response_onnx_bytes(a_map(5))


def test_without_onnx_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"mucal\[onnx\]") as caught:
        write_response_onnx(a_map(), tmp_path / "response_map.onnx")
    assert caught.value.kind == "config.missing_extra"
    assert not any(tmp_path.iterdir())
