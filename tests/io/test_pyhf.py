"""Workspaces become models whose expected events are HistFactory's, written out loop by loop."""

import copy
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import InputError
from mucal.io import FitInput, read_pyhf, write_pyhf
from mucal.io.pyhf_interpolation import bent, histo_difference, norm_difference, norm_factor
from mucal.io.pyhf_writer import workspace_of
from mucal.likelihood import FitConfig, expected_events, fit, from_arrays

from .workspaces import BACKGROUND, SIGNAL, WORKSPACES, factor, histo, modifier, norm, sample, workspace


@pytest.fixture
def read(tmp_path):
    def from_plain(plain, **options):
        path = tmp_path / "workspace.json"
        path.write_text(json.dumps(plain))
        return read_pyhf(path, **options)

    return from_plain


def fitted(found):
    result = fit(found.model, found.data(), FitConfig(mc_stat=found.mc_stat, per=found.per, start=found.start))
    result.require_converged()
    return result


def slow_events(plain, values):
    """Expected events without factors of the simulation, modifier by modifier, by codes 1 and 0."""
    events = []
    for channel in plain["channels"]:
        total = np.zeros(len(channel["samples"][0]["data"]))
        for one in channel["samples"]:
            nominal = np.array(one["data"])
            product, added = np.ones(nominal.size), np.zeros(nominal.size)
            for m in one["modifiers"]:
                value = values.get(m["name"], 1.0)
                if m["type"] in ("normfactor", "lumi"):
                    product *= value
                if m["type"] == "normsys":
                    product *= m["data"]["hi"] ** value if value > 0 else m["data"]["lo"] ** -value
                if m["type"] == "histosys":
                    side = np.array(m["data"]["hi_data" if value > 0 else "lo_data"])
                    added += abs(value) * (side - nominal)
                if m["type"] in ("shapefactor", "staterror"):
                    product *= [values.get(f"{m['name']}[{i}]", 1.0) for i in range(nominal.size)]
            total += product * (nominal + added)
        events.append(total)
    return np.concatenate(events)


@pytest.mark.parametrize("name", WORKSPACES)
def test_expected_events_are_those_of_the_workspace(read, name):
    found = read(WORKSPACES[name])
    rng = np.random.default_rng(3)
    for _ in range(5):
        x = found.model.centre + rng.normal(0, 0.3, found.model.centre.size)
        slow = slow_events(WORKSPACES[name], dict(zip(found.model.parameters, x, strict=True)))
        assert_allclose(expected_events(found.model, x), slow, rtol=1e-12)


@pytest.mark.parametrize("name", WORKSPACES)
def test_every_workspace_fits(read, name):
    found = read(WORKSPACES[name])
    assert np.isfinite(fitted(found).error("mu"))


def test_one_bin_by_hand(read):
    # 12 mu + 50 1.1^t = 58 with t = 0: mu = 2/3; its variance is 58 / 12^2 + (50 ln 1.1 / 12)^2
    result = fitted(read(WORKSPACES["one bin, one normalisation"]))
    assert_allclose(result.value("mu"), 2 / 3, rtol=1e-9)
    assert_allclose(result.error("mu") ** 2, 58 / 144 + (50 * np.log(1.1) / 12) ** 2, rtol=1e-6)


def test_a_staterror_is_one_factor_for_the_samples_that_list_it(read):
    found = read(WORKSPACES["statistical error of two samples, luminosity"])
    assert (found.mc_stat, found.per) == ("normal", "bin")
    relative = np.hypot([0.4, 0.7, 0.6], [3.0, 2.5, 2.0]) / (np.array(SIGNAL) + BACKGROUND)
    assert_allclose(found.model.effective_events, relative**-2, rtol=1e-12)
    assert not found.model.sumw2[:, found.model.processes.index("other")].any()


def test_a_sample_without_an_error_of_its_own_shares_the_factor(read):
    plain = copy.deepcopy(WORKSPACES["statistical error of two samples, luminosity"])
    plain["channels"][0]["samples"][0]["modifiers"][2]["data"] = [0.0, 0.7, 0.6]
    found = read(plain)
    assert_allclose(found.model.effective_events[0], (65 / 3) ** 2, rtol=1e-12)


def test_shapesys_is_one_poisson_factor_a_sample_and_bin(read):
    found = read(WORKSPACES["uncorrelated background"])
    assert (found.mc_stat, found.per) == ("gamma", "process")
    assert_allclose(found.model.sumw2[:, 1], [9.0, 49.0])


def test_statistical_errors_of_both_kinds_make_one_kind_parameters(read):
    found = read(WORKSPACES["statistical errors of both kinds"])
    j = found.model.parameters.index("mc[0]")
    assert found.model.centre[j] == 1.0
    assert_allclose(found.model.precision[j], (65 / np.hypot(0.4, 3.0)) ** 2, rtol=1e-12)
    assert "fake" in found.model.processes
    assert "b in SR[2]" in found.model.processes


def test_settings_of_parameters_are_kept(read):
    found = read(WORKSPACES["two factors on one sample, one of them fixed"])
    assert found.model.frozen == ("branching",)
    assert found.start == {"bkg": 0.5}
    assert fitted(found).value("branching") == 0.8


def test_a_fixed_staterror_is_left_out(read):
    plain = copy.deepcopy(WORKSPACES["statistical error of two samples, luminosity"])
    plain["measurements"][0]["config"]["parameters"].append({"name": "mc", "fixed": True})
    found = read(plain)
    assert found.mc_stat == "none"
    assert not found.model.sumw2.any()


def test_a_fixed_staterror_away_from_1_is_refused(read):
    plain = copy.deepcopy(WORKSPACES["statistical error of two samples, luminosity"])
    plain["measurements"][0]["config"]["parameters"].append({"name": "mc", "fixed": True, "inits": [1.0, 1.1, 1.0]})
    with pytest.raises(InputError, match="settings of staterror 'mc' are not read"):
        read(plain)


def test_the_interpolation_of_a_norm_is_ours_when_symmetric_and_never_at_the_templates():
    assert norm_difference(1.1, 1 / 1.1, "code1") < 1e-15
    assert norm_difference(1.1, 1 / 1.1, "code4") < 1e-9
    assert 1e-5 < norm_difference(1.1, 0.92, "code4") < 1e-2
    assert_allclose(
        norm_factor(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]), 1.1, 0.92, "code4"), [0.8464, 0.92, 1, 1.1, 1.21]
    )


def test_the_smooth_absolute_value_is_exact_outside():
    assert_allclose(bent(np.array([-1.0, -0.5, 0.0, 0.5, 3.0]), 0.5), [1.0, 0.5, 0.0, 0.5, 3.0], atol=1e-15)
    # by hand at u = 1/2: u (3/16 - 10/4 + 15) / 8 = 0.79296875
    assert_allclose(bent(np.array([0.25]), 0.5), 0.25 * 0.79296875, rtol=1e-14)
    assert histo_difference(np.zeros(3), np.ones(3), "code0") == 0.0


@pytest.mark.parametrize("kind", ["normsys", "histosys"])
def test_an_asymmetric_effect_is_refused_with_its_size_and_may_be_allowed(read, kind):
    up, down = [6.0, 12.5, 9.0], [4.5, 12.0, 8.0]
    odd = norm("x", 1.1, 0.95) if kind == "normsys" else modifier(kind, "x", {"hi_data": up, "lo_data": down})
    plain = workspace({"SR": ([sample("s", SIGNAL, factor("mu"), odd), sample("b", BACKGROUND)], [65.0, 52.0, 34.0])})
    with pytest.raises(InputError, match=f"{kind} 'x' is asymmetric.*by up to") as error:
        read(plain)
    assert error.value.where["sample"] == "s"
    found = read(plain, largest_difference=0.02)
    x = np.array([1.2, 1.0])  # at the template the difference is none
    assert_allclose(expected_events(found.model, x), slow_events(plain, {"mu": 1.2, "x": 1.0}), rtol=1e-12)


def broken(change):
    plain = copy.deepcopy(WORKSPACES["everything in two channels"])
    change(plain)
    return plain


BROKEN = {
    "'hi' is missing": lambda w: w["channels"][0]["samples"][0]["modifiers"][2]["data"].pop("hi"),
    "channel 'SR' is defined twice": lambda w: w["channels"].append(w["channels"][0]),
    "channel 'CR' has no observation": lambda w: w["observations"].pop(),
    "2 bins, the first sample has 3": lambda w: w["channels"][0]["samples"][2]["data"].pop(),
    "3 numbers for 2 bins": lambda w: w["channels"][0]["samples"][1].update(data=[1.0, 2.0]),
    "which is not known": lambda w: w["channels"][0]["samples"][0]["modifiers"][0].update(type="normfaktor"),
    "number 1 of a list is not finite": lambda w: w["channels"][0]["samples"][0].update(data=[1.0, float("nan"), 2.0]),
    "expected a list of numbers": lambda w: w["observations"][0].update(data=["many"]),
    "belongs to no modifier": lambda w: w["measurements"][0]["config"].update(poi="sigma"),
    "no 'auxdata' and 'sigmas'": lambda w: w["measurements"][0]["config"].update(parameters=[]),
    "has two meanings": lambda w: w["channels"][0]["samples"][1]["modifiers"][0].update(name="jes"),
    "shared by 2 channels": lambda w: w["channels"][1]["samples"][0]["modifiers"][2].update(name="mc_SR"),
    "negative uncertainty": lambda w: w["channels"][1]["samples"][0]["modifiers"][2].update(data=[-1.0, 1.0]),
    "no pyhf workspace": lambda w: w.pop("channels"),
}


@pytest.mark.parametrize("message", BROKEN)
def test_a_broken_workspace_says_where(read, message):
    with pytest.raises(InputError, match=message):
        read(broken(BROKEN[message]))


def test_an_unknown_measurement_names_those_there_are(read):
    with pytest.raises(InputError, match="no measurement 'other'") as error:
        read(WORKSPACES["control region"], measurement="other")
    assert error.value.where["known"] == "fit"


def test_a_histosys_in_an_empty_bin_adds_events(read):
    nominal = [5.0, 0.0, 9.0]
    plain = workspace(
        {
            "SR": (
                [sample("s", nominal, factor("mu"), histo("x", nominal, [0.1, 0.2, 0.0])), sample("b", BACKGROUND)],
                [1.0, 2.0, 3.0],
            )
        }
    )
    found = read(plain)
    assert_allclose(expected_events(found.model, np.array([2.0, 0.5])), [70.1, 40.2, 43.0], rtol=1e-12)


BOTH = "statistical errors of both kinds"


@pytest.mark.parametrize("name", [name for name in WORKSPACES if name != BOTH])
def test_written_and_read_again_it_is_the_same_fit(read, name):
    found = read(WORKSPACES[name])
    if name == "two factors on one sample, one of them fixed":  # normsys with a start of its own
        assert workspace_of(found)["measurements"][0]["config"]["parameters"][3]["inits"] == [0.5]
    again = read(json.loads(json.dumps(workspace_of(found))))
    one, two = fitted(found), fitted(again)
    assert one.parameters == two.parameters or set(one.parameters) == set(two.parameters)
    order = [two.parameters.index(parameter) for parameter in one.parameters]
    assert_allclose(two.values[order], one.values, rtol=1e-9, atol=1e-9)
    assert_allclose(two.cov[np.ix_(order, order)], one.cov, rtol=1e-8, atol=1e-12)
    assert_allclose(two.nll, one.nll, rtol=1e-9, atol=1e-12)


def test_a_constrained_rate_of_another_name_is_refused(read):
    with pytest.raises(InputError, match=r"'mc\[0\]' cannot be written to a workspace: it is a rate with a constraint"):
        workspace_of(read(WORKSPACES[BOTH]))


def shape_model(**options):
    nominal = np.array([[50.0, 5.0], [40.0, 9.0]])
    kappa = np.full((2, 2, 1), 0.1)
    return from_arrays(nominal, kappa, parameters=("n",), processes=("b", "s"), rates={"mu": ["s"]}, **options)


REFUSED = {
    "differ by 0.1 between bins": lambda: FitInput(
        model=from_arrays(
            np.full((2, 1), 9.0), np.array([[[0.1]], [[0.2]]]), parameters=("n",), processes=("b",), rates={"mu": ["b"]}
        )
    ),
    "the precision is 0": lambda: FitInput(model=shape_model(free=("n",))),
    "asymmetric": lambda: FitInput(model=shape_model(eta=np.full((2, 2, 1), 0.01))),
    'one "gamma" factor a bin': lambda: FitInput(model=shape_model(sumw2=np.ones((2, 2)))),
    'one "normal" factor a process': lambda: FitInput(
        model=shape_model(sumw2=np.ones((2, 2))), mc_stat="normal", per="process"
    ),
    "exactly known in 1 bins": lambda: FitInput(
        model=shape_model(sumw2=np.array([[1.0, 0.0], [1.0, 1.0]])), mc_stat="normal"
    ),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_a_workspace_cannot_say_is_refused_with_the_reason(reason):
    with pytest.raises(InputError, match=reason):
        workspace_of(REFUSED[reason]())


def test_the_file_is_json_and_not_overwritten(read, tmp_path):
    found = FitInput(model=shape_model(), mc_stat="none")
    path = write_pyhf(tmp_path / "model.json", found)
    assert_allclose(read_pyhf(path).data().counts, [55.0, 49.0])  # no data: what the model expects
    with pytest.raises(FileExistsError):
        write_pyhf(path, found)
