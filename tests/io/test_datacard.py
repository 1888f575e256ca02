"""Cards become models whose expected events are combine's formulas, written out; anything else is refused by line."""

import numpy as np
import pytest
import uproot
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import InputError
from mucal.io import read_datacard
from mucal.likelihood import FitConfig, expected_events, fit

COUNTING = """# a search in two channels
imax 2  number of channels
jmax 2  number of backgrounds
kmax 3  number of nuisances
------------
bin          signal  control
observation  31      205
------------
bin          signal signal signal control
process      higgs  ttbar  zjets  ttbar
process      0      1      2      1
rate         8.0    20.0   4.0    200.0
------------
lumi     lnN 1.025  -      1.025  -
theory   lnN 1.1    -      -      -
zxs      lnN -      -      0.8/1.3 -
k_tt     rateParam * ttbar 1.0 [0,5]
theories group = theory zxs
"""
SHAPES = """imax *
jmax *
kmax *
shapes * * {root} $CHANNEL/$PROCESS $CHANNEL/$PROCESS_$SYSTEMATIC
bin SR
observation -1
bin      SR   SR
process  sig  bkg
process  0    1
rate     -1   -1
lumi lnN 1.02 -
jes {kind} 1 1
* autoMCStats 0 1
"""
EDGES = np.array([0.0, 1.0, 2.5, 4.0])
NOMINAL = {"sig": np.array([5.0, 12.0, 9.0]), "bkg": np.array([60.0, 40.0, 25.0])}
TILT = {"sig": np.array([0.04, 0.0, -0.03]), "bkg": np.array([0.05, 0.02, -0.06])}


@pytest.fixture
def write(tmp_path):
    def to_file(text, name="card.txt"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return to_file


@pytest.fixture
def shapes(tmp_path, write):
    """A card with histograms whose variations up and down are the given ones of (nominal, tilt)."""

    def make(kind, up=lambda n, t: n * np.exp(t), down=lambda n, t: n * np.exp(-t)):
        with uproot.recreate(tmp_path / "h.root") as file:
            file["SR/data_obs"] = (np.array([70.0, 50.0, 31.0]), EDGES)
            for process, nominal in NOMINAL.items():
                file[f"SR/{process}"] = (nominal, EDGES)
                file[f"SR/{process}_jesUp"] = (up(nominal, TILT[process]), EDGES)
                file[f"SR/{process}_jesDown"] = (down(nominal, TILT[process]), EDGES)
        return write(SHAPES.format(root="h.root", kind=kind))

    return make


def events(found, **values):
    x = dict(zip(found.model.parameters, found.model.centre, strict=True)) | values
    return expected_events(found.model, np.array(list(x.values())))


def test_a_counting_card_by_hand(write):
    found = read_datacard(write(COUNTING))
    at = {"r": 1.5, "lumi": 2.0, "theory": -1.0, "zxs": 1.0, "k_tt": 0.9}
    signal = 1.5 * 8 * 1.025**2 / 1.1 + 0.9 * 20 + 4 * 1.025**2 * 1.3
    assert_allclose(events(found, **at), [signal, 0.9 * 200], rtol=1e-12)
    assert_allclose(events(found, zxs=-1.0), [8 + 20 + 4 * 0.8, 200], rtol=1e-12)
    assert found.model.pois == ("r",)
    assert found.model.groups == {"theories": ("theory", "zxs")}
    assert found.mc_stat == "none"
    assert_array_equal(found.data().counts, [31, 205])


def test_an_asymmetric_lnn_is_smooth_as_combine_has_it(write):
    # combine: ln k(x) = x [avg + half alpha(x)], u = 2 x = 1/2: alpha = u (3 u^4 - 10 u^2 + 15) / 8 = 0.79296875
    found = read_datacard(write(COUNTING))
    high, low = np.log(1.3), np.log(0.8)
    exponent = 0.25 * (0.5 * (high - low) + 0.79296875 * 0.5 * (high + low))
    assert_allclose(events(found, zxs=0.25)[0], 28 + 4 * np.exp(exponent), rtol=1e-12)


def test_a_card_fits(write):
    found = read_datacard(write(COUNTING))
    result = fit(found.model, found.data(), FitConfig(mc_stat="none"))
    result.require_converged()
    assert_allclose(result.value("k_tt"), 205 / 200, rtol=1e-6)
    assert_allclose(result.value("r"), (31 - 20 * 205 / 200 - 4) / 8, rtol=1e-6)


def test_a_rate_with_a_param_line_is_constrained(write):
    found = read_datacard(write(COUNTING.replace("kmax 3", "kmax 4") + "k_tt param 1.1 0.2\n"))
    j = found.model.parameters.index("k_tt")
    assert found.model.centre[j] == 1.1
    assert_allclose(found.model.precision[j], 25.0)


def test_shape_n_is_log_normal_in_each_bin(shapes):
    found = read_datacard(shapes("shapeN"))
    x = 0.3
    by_hand = sum(NOMINAL[p] * np.exp(x * TILT[p]) for p in NOMINAL)
    assert_allclose(events(found, jes=x), by_hand, rtol=1e-9)
    assert found.model.channels[0].edges == (tuple(EDGES),)


def test_shape_is_additive_in_the_shape_and_log_normal_in_the_integral(shapes):
    # symmetric in both: varied shapes differ from the nominal by +- d, integrals by a factor 1.1 up and 1 / 1.1 down
    def side(sign):
        def varied(nominal, tilt):
            d = nominal * tilt
            d -= d.sum() * nominal / nominal.sum()
            return (nominal + sign * d) * 1.1**sign

        return varied

    found = read_datacard(shapes("shape", side(1), side(-1)), largest_difference=1e-12)
    x, expected = 0.4, 0.0
    for process, nominal in NOMINAL.items():
        d = nominal * TILT[process]
        d -= d.sum() * nominal / nominal.sum()
        expected = expected + (nominal + x * d) * 1.1**x
    assert_allclose(events(found, jes=x), expected, rtol=1e-12)


def test_asymmetric_templates_are_refused_with_the_size_and_may_be_allowed(shapes):
    path = shapes("shape", up=lambda n, t: n * (1 + 2 * t))
    with pytest.raises(InputError, match="histosys 'jes' is asymmetric"):
        read_datacard(path)
    found = read_datacard(path, largest_difference=0.01)
    expected = sum(NOMINAL[p] * (1 + 2 * TILT[p]) for p in NOMINAL)
    assert_allclose(events(found, jes=1.0), expected, rtol=1e-12)


def test_auto_mc_stats_is_one_gaussian_factor_a_bin(shapes):
    found = read_datacard(shapes("shapeN"))
    assert (found.mc_stat, found.per) == ("normal", "bin")
    total = NOMINAL["sig"] + NOMINAL["bkg"]
    assert_allclose(found.model.effective_events, total)  # weights 1: variances are the contents


def test_signals_have_no_statistical_error_unless_asked(shapes):
    path = shapes("shapeN")
    path.write_text(path.read_text().replace("autoMCStats 0 1", "autoMCStats 0"))
    found = read_datacard(path)
    assert not found.model.sumw2[:, found.model.processes.index("sig")].any()


BAD = {
    ("card.txt:15", "'gmN' is not read"): ("theory   lnN", "theory   gmN"),
    ("card.txt:17", "formulas are not read"): ("k_tt     rateParam * ttbar 1.0 [0,5]", "k_tt rateParam * ttbar @0 a"),
    ("card.txt:14", "lumi' has 3 columns, the table has 4"): ("1.025  -      1.025  -", "1.025  -      1.025"),
    ("card.txt:4", "kmax is 5, but the card has 3"): ("kmax 3", "kmax 5"),
    ("card.txt:17", "'two' is no number"): ("ttbar 1.0 [0,5]", "ttbar two"),
    ("card.txt:14", "has '-1', expected a factor above 0"): ("1.025  -      1.025", "-1  -      1.025"),
    ("card.txt:17", "'k_tt' acts on no process"): ("* ttbar 1.0", "* singletop 1.0"),
    ("card.txt:3", "jmax is 3, but the card has 2"): ("jmax 2", "jmax 3"),
    ("card.txt", "'rate' has 3 columns, expected 4"): ("4.0    200.0", "4.0"),
    ("card.txt", "channel 'kontrol' has no observation"): (
        "signal signal signal control",
        "signal signal signal kontrol",
    ),
    ("card.txt", "group 'theories' names 'zs'"): ("theory zxs", "theory zs"),
}


@pytest.mark.parametrize(("place", "message"), BAD)
def test_a_bad_card_is_refused_with_its_line(write, place, message):
    old, new = BAD[place, message]
    assert old in COUNTING
    with pytest.raises(InputError, match=message) as error:
        read_datacard(write(COUNTING.replace(old, new)))
    assert place in str(error.value)


def test_an_unknown_directive_is_refused_with_its_line(write):
    with pytest.raises(InputError, match="line 19: 'edit' is not read") as error:
        read_datacard(write(COUNTING + "nuisance edit freeze lumi\n"))
    assert error.value.where["line"] == "nuisance edit freeze lumi"


def test_a_threshold_that_mixes_constraints_is_refused(shapes):
    path = shapes("shapeN")
    path.write_text(path.read_text().replace("autoMCStats 0", "autoMCStats 10"))
    with pytest.raises(InputError, match="threshold 10"):
        read_datacard(path)


def test_a_missing_histogram_names_the_nearest(shapes):
    path = shapes("shapeN")
    path.write_text(path.read_text().replace("jes shapeN", "jess shapeN"))
    with pytest.raises(InputError, match="no histogram 'SR/sig_jessUp'") as error:
        read_datacard(path)
    assert "SR/sig_jesUp" in error.value.where["near"]


def test_a_missing_root_file_is_named(shapes, tmp_path):
    path = shapes("shapeN")
    (tmp_path / "h.root").unlink()
    with pytest.raises(InputError, match=r"h\.root cannot be read"):
        read_datacard(path)


def test_a_rate_that_is_not_the_integral_is_refused(shapes):
    path = shapes("shapeN")
    path.write_text(path.read_text().replace("rate     -1   -1", "rate     -1   100"))
    with pytest.raises(InputError, match="rate 100 is not the integral 125"):
        read_datacard(path)
