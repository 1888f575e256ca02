"""Models from histograms and arrays, and what is refused."""

from dataclasses import replace

import hist
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import InputError
from mucal.likelihood import Model, Variation, build, expected_events, from_arrays
from mucal.likelihood.blocks import join


def histogram(values, variances=None):
    h = hist.Hist(hist.axis.Regular(2, 0, 1, name="eta"), hist.axis.Regular(2, 26, 28, name="pt"), storage="weight")
    h.view().value = values
    h.view().variance = np.ones((2, 2)) if variances is None else variances
    return h


def nominal():
    return {"plus": {"W": histogram([[10.0, 20.0], [30.0, 40.0]]), "Z": histogram([[0.0, 1.0], [2.0, 3.0]])}}


def test_histograms_become_flat_bins_with_edges():
    model = build(nominal())
    assert_array_equal(model.nominal, [[10, 0], [20, 1], [30, 2], [40, 3]])
    assert model.place(2) == {"channel": "plus", "bin": "bin 2: eta 0.5..1, pt 26..27"}


def test_effective_events_by_hand():
    model = build(nominal(), inflation=1.26)
    assert_allclose(model.effective_events, np.array([10, 21, 32, 43]) ** 2 / (2 * 1.26**2))


def test_two_sided_variation_by_hand():
    up, down = {"plus": {"Z": histogram([[5.0, 2.0], [2.0, 3.0]])}}, {"plus": {"Z": 0.5}}
    model = build(nominal(), [Variation(name="v", up=up, down=down)])
    (block,) = model.effects.blocks()
    assert_array_equal(block.bins, [1, 2, 3])
    log2 = np.log(2)
    assert_allclose(block.kappa[:, 0], [log2, log2 / 2, log2 / 2])
    assert_allclose(block.eta[:, 0], [0, -log2 / 2, -log2 / 2])


def test_an_effect_is_stored_only_where_it_acts():
    up = {"plus": {"W": histogram([[11.0, 20.0], [30.0, 40.0]])}}
    model = build(nominal(), [Variation(name="one", up=up), Variation(name="all", up={"plus": {"W": 1.02}})])
    assert [(b.bins.tolist(), b.columns.tolist()) for b in model.effects.blocks()] == [([0], [0]), ([0, 1, 2, 3], [1])]


def test_a_variation_that_flips_a_bin_is_floored():
    model = build(nominal(), [Variation(name="v", up={"plus": {"W": histogram([[-1.0, 20.0], [30.0, 40.0]])}})])
    assert_allclose(model.effects.kappa[0], np.log(1e-3))


def test_a_model_comes_back_from_its_file(tmp_path):
    model = build(nominal(), [Variation(name="v", up={"plus": {"W": 1.1}}, groups=("g",))], rates={"mu": ["W"]})
    read = Model.load(model.save(tmp_path / "model.h5"))
    assert (read.parameters, read.groups, read.channels) == (("mu", "v"), {"g": ("v",)}, model.channels)
    assert_array_equal(read.effects.kappa, model.effects.kappa)


@pytest.mark.parametrize("value", [-0.5, np.nan, np.inf])
def test_a_bad_template_is_refused_with_its_place(value):
    templates = nominal()
    templates["plus"]["Z"] = histogram([[0.0, 1.0], [value, 3.0]])
    with pytest.raises(InputError) as error:
        build(templates)
    assert error.value.where == {"process": "Z", "channel": "plus", "bin": "bin 2: eta 0.5..1, pt 26..27"}
    assert f"the first is {value}" in str(error.value)


def test_a_bin_without_any_process_is_refused():
    with pytest.raises(InputError, match=r"1 bins are empty(.|\n)*bin 1: bin 1\.\.2"):
        from_arrays(np.array([[1.0], [0.0]]), np.zeros((2, 1, 0)), parameters=(), processes=["W"])


def test_one_name_with_two_meanings_is_refused_with_both():
    twice = [Variation(name="v", up={"plus": {"W": 1.1}}), Variation(name="v", up={"plus": {"Z": 1.1}})]
    with pytest.raises(InputError) as error:
        build(nominal(), twice)
    assert error.value.where == {
        "first": "constrained one-sided, plus: W",
        "second": "constrained one-sided, plus: Z",
    }


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ({"plus": {"W": np.zeros((2, 2))}}, "variation 'v' is empty"),
        ({"plus": {"W": np.full((2, 2), np.nan)}}, "variation 'v' is nan in 4 bins"),
        ({"plus": {"W": np.ones(3)}}, "shape"),
        ({"plus": {"tau": 1.1}}, "names process 'tau'"),
        ({"minus": {"W": 1.1}}, "names channel 'minus'"),
    ],
)
def test_a_variation_that_cannot_be_used_is_refused(templates, message):
    with pytest.raises(InputError, match=message):
        build(nominal(), [Variation(name="v", up=templates)])


def test_an_unknown_parameter_names_its_neighbour():
    model = build(nominal(), [Variation(name="pdf_1", up={"plus": {"W": 1.1}})])
    with pytest.raises(InputError, match="the nearest are 'pdf_1'"):
        model.index(["pdf_2"])


def test_two_rates_multiply():
    model = build(nominal(), rates={"a": ["W", "Z"], "b": ["W"]})
    assert_allclose(expected_events(model, np.array([2.0, 3.0])), model.nominal @ [6.0, 2.0])


def test_a_rate_names_a_process_once():
    with pytest.raises(InputError, match="rate 'b' names process 'W'"):
        build(nominal(), rates={"a": ["W"], "b": ["W", "W"]})


def test_an_additive_variation_by_hand():
    up, down = {"plus": {"Z": histogram([[5.0, 3.0], [2.0, 3.0]])}}, {"plus": {"Z": 0.5}}
    model = build(nominal(), [Variation(name="v", up=up, down=down, additive=True)])
    (block,) = model.effects.blocks()
    assert block.additive
    assert_allclose(block.kappa[:, 0], [(2.0 + 0.5) / 2, 0.5, 0.75])
    assert_allclose(block.eta[:, 0], [(2.0 - 0.5) / 2, -0.5, -0.75])
    assert_allclose(expected_events(model, np.array([1.0])), [10, 20 + 3, 32, 43])
    assert_allclose(expected_events(model, np.array([-1.0])), [10, 20.5, 31, 41.5])


def test_blocks_that_share_a_place_add_up():
    one = build(nominal(), [Variation(name="v", up={"plus": {"W": 1.1}})])
    (block,) = one.effects.blocks()
    twice = replace(one, effects=join([block, block]))
    assert_allclose(expected_events(twice, np.array([1.0])), expected_events(one, np.array([2.0])))


def test_columns_of_a_block_that_do_not_increase_are_refused():
    (block,) = build(nominal(), [Variation(name="v", up={"plus": {"W": 1.1}})]).effects.blocks()
    with pytest.raises(ValueError, match=r"Effects\.columns do not increase within a block"):
        join([replace(block, columns=np.array([0, 0]), kappa=np.repeat(block.kappa, 2, axis=1))])


def test_a_sum_of_variances_is_shared_so_that_processes_act_as_one():
    nominal_events = np.array([[10.0, 30.0], [5.0, 5.0]])
    model = from_arrays(
        nominal_events, np.zeros((2, 2, 0)), parameters=(), processes=("W", "Z"), sumw2=np.array([8, 2])
    )
    assert_allclose(model.sumw2, [[2, 6], [1, 1]])
    assert_allclose(model.effective_events, [200, 50])
