"""Input that cannot be used is refused with its place (B18, B19, B46); what looks wrong is said (B20)."""

import hist
import numpy as np
import pytest

from mucal.errors import InputError
from mucal.likelihood import Variation, build, expected_events, fit, from_arrays, look_for_trouble, observe

GOOD = {"plus": {"W": np.array([[10.0, 20.0], [30.0, 40.0]]), "Z": np.array([[1.0, 1.0], [2.0, 3.0]])}}
PLACE = {"channel": "plus", "bin": "bin 2: axis0 1..2, axis1 0..1"}


def with_value(value, process="Z"):
    changed = GOOD["plus"][process].copy()
    changed[1, 0] = value
    return {"plus": {**GOOD["plus"], process: changed}}


def test_b18_a_negative_bin_is_refused_with_place_value_and_remedy():
    with pytest.raises(InputError) as error:
        build(with_value(-0.5))
    assert error.value.exit_code == 3
    assert error.value.where == {"process": "Z", **PLACE}
    assert "-0.5" in error.value.what
    assert 'negative="zero"' in error.value.do


def test_b18_a_negative_bin_becomes_absent_if_asked():
    model = build(with_value(-0.5), negative="zero")
    assert model.nominal[2].tolist() == [30.0, 0.0]


def test_b18_a_bin_that_is_zero_in_all_processes_is_refused():
    nothing = {"plus": {"W": with_value(0.0, "W")["plus"]["W"], "Z": with_value(0.0)["plus"]["Z"]}}
    with pytest.raises(InputError) as error:
        build(nothing)
    assert error.value.where == PLACE


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_b19_what_is_not_finite_is_refused_with_its_place(value):
    with pytest.raises(InputError) as error:
        build(with_value(value))
    assert error.value.where == {"process": "Z", **PLACE}
    counts = np.array([1.0, 2, value, 4])
    with pytest.raises(InputError) as error:
        observe(build(GOOD), counts)
    assert error.value.where == PLACE
    with pytest.raises(InputError, match=f"variation 'v' is {value} in 1 bins"):
        build(GOOD, [Variation(name="v", up=with_value(value))])
    with pytest.raises(InputError, match="variances of the simulation"):
        from_arrays(np.ones((1, 1)), np.zeros((1, 1, 0)), parameters=(), processes=["W"], sumw2=np.array([[value]]))


def test_b20_an_empty_variation_is_refused_with_nuisance_process_and_channel():
    with pytest.raises(InputError, match="variation 'v' is empty") as error:
        build(GOOD, [Variation(name="v", up={"plus": {"Z": np.zeros((2, 2))}})])
    assert error.value.where == {"channel": "plus", "process": "Z"}


def test_b20_identical_one_sided_and_huge_variations_are_found():
    w = GOOD["plus"]["W"]
    model = build(
        GOOD,
        [
            Variation(name="nothing", up={"plus": {"W": w.copy()}}),
            Variation(name="first", up={"plus": {"W": w * np.array([[1.0, 1.1], [1.2, 1.3]])}}),
            Variation(name="again", up={"plus": {"W": w * np.array([[1.0, 1.1], [1.2, 1.3]])}}),
            Variation(name="kinked", up={"plus": {"Z": 1.2}}, down={"plus": {"Z": 1.1}}),
            Variation(name="wild", up={"plus": {"Z": np.array([[1.0, 1.0], [2.0, 9.0]])}}),
        ],
    )
    found = {(f.kind, f.parameter): f for f in look_for_trouble(model)}
    assert set(found) == {
        ("no effect", "nothing"), ("identical", "again"), ("one-sided", "kinked"), ("huge", "wild"),
    }  # fmt: skip
    wild = found["huge", "wild"]
    assert (wild.process, wild.n_bins) == ("Z", 1)
    assert wild.place == {"channel": "plus", "bin": "bin 3: axis0 1..2, axis1 1..2"}
    assert str(wild) == (
        "'wild' changes a template by more than twice in 1 bins, at worst by a log-ratio of 1.1 "
        "(Z, plus, bin 3: axis0 1..2, axis1 1..2)"
    )
    assert found["one-sided", "kinked"].n_bins == 4


def test_b20_many_identical_variations_are_one_sentence_with_their_number():
    alike = [Variation(name=f"v{i}", up={"plus": {"W": 1.1}}) for i in range(40)]
    (found,) = look_for_trouble(build(GOOD, alike))
    assert str(found) == (
        "39 parameters have the same effects as one before them, as 'v1' and 'v0': only sums are measured"
    )


def test_b20_a_good_model_has_no_findings():
    model = build(GOOD, [Variation(name="v", up={"plus": {"W": 1.1}})], rates={"mu": ["Z"]})
    assert look_for_trouble(model) == ()


def test_b20_an_additive_variation_is_huge_by_its_relative_change():
    one = Variation(name="v", up={"plus": {"W": GOOD["plus"]["W"] + 9.0}}, additive=True)
    (found,) = look_for_trouble(build(GOOD, [one]))
    assert (found.kind, found.n_bins) == ("huge", 1)
    assert "relative change of 0.9" in found.text


def test_b46_one_name_with_two_meanings_is_refused_with_both():
    shape, rate = Variation(name="v", up={"plus": {"W": 1.1}}, additive=True), {"v": ["Z"]}
    with pytest.raises(InputError) as error:
        build(GOOD, [shape], rates=rate)
    assert error.value.where == {"first": "rate of Z", "second": "additive constrained one-sided, plus: W"}
    with pytest.raises(InputError, match="parameter 'a' is defined 2 times"):
        from_arrays(np.ones((1, 1)), np.zeros((1, 1, 2)), parameters=("a", "a"), processes=["W"])


def test_counts_of_the_wrong_length_are_refused():
    model = build(GOOD)
    with pytest.raises(ValueError, match=r"counts has shape \(3,\), expected \(4,\)"):
        fit(model, expected_events(model)[:3])


def histogram(edges: np.ndarray) -> hist.Hist:
    found = hist.Hist(hist.axis.Variable(edges, name="pt"), storage=hist.storage.Weight())
    found.values()[...] = found.variances()[...] = 10.0
    return found


def test_b21_templates_binned_alike_to_the_last_bits_belong_together():
    edges = np.array([26.0, 30.0, 40.0, 56.0])
    model = build({"plus": {"W": histogram(edges), "Z": histogram(np.nextafter(edges, 100.0))}})
    assert model.channels[0].edges == (tuple(edges),)


@pytest.mark.parametrize("where", ["process", "variation"])
def test_b21_templates_binned_differently_are_refused_with_the_edge(where: str):
    edges, other = np.array([26.0, 30.0, 40.0, 56.0]), np.array([26.0, 30.0, 41.0, 56.0])
    nominal = {"plus": {"W": histogram(edges), "Z": histogram(other if where == "process" else edges)}}
    varied = [Variation(name="v", up={"plus": {"Z": histogram(other)}})] if where == "variation" else []
    with pytest.raises(InputError, match=r"edge 2 of axis 'pt' is 41.0, expected 40.0") as error:
        build(nominal, varied)
    assert error.value.exit_code == 3
    assert error.value.where == {"channel": "plus", "process": "Z"}
