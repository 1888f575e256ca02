"""Tensors written and read in both layouts; files as rabbit's own writer lays them out; files that must be refused."""

import os
import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import InputError
from mucal.io import FitInput, read_rabbit, write_rabbit
from mucal.likelihood import Quadratic, expected_events, fit, from_arrays, observe

from ..likelihood.models import small_model

TEXT = h5py.string_dtype()


def with_data(model, **more):
    counts = np.random.default_rng(3).poisson(expected_events(model)).astype(float)
    return FitInput(model=model, observation=observe(model, counts), **more)


def values_of(model, x):
    """Expected events with parameters by name; a signal's rate is named after it in a tensor."""
    named = {**x, "W": x["mu"]}
    return expected_events(model, np.array([named[name] for name in model.parameters]))


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("layout", ["asymmetric", "symmetric"])
def test_written_and_read_again_it_is_the_same_model(tmp_path, layout, sparse):
    found = with_data(small_model(asymmetric=layout == "asymmetric"))
    again = read_rabbit(write_rabbit(tmp_path / "t.hdf5", found, layout=layout, sparse=sparse))
    model = again.model
    rng = np.random.default_rng(5)
    for _ in range(4):
        x = {name: 1.0 + rng.normal(0, 0.3) for name in found.model.parameters}
        assert_allclose(values_of(model, x), values_of(found.model, x), rtol=1e-13)
    order = [model.processes.index(p) for p in found.model.processes]
    assert_array_equal(model.nominal[:, order], found.model.nominal)
    assert_array_equal(model.effective_events, found.model.effective_events)
    assert_array_equal(again.data().counts, found.data().counts)
    assert set(model.pois) == {"W", "mass"}
    assert model.groups == found.model.groups
    one, two = fit(found.model, found.data()), fit(model, again.data())
    assert_allclose(two.value("mass"), one.value("mass"), rtol=1e-10)
    assert_allclose(two.error("W"), one.error("mu"), rtol=1e-10)
    assert_allclose(two.nll, one.nll, rtol=1e-10)


def test_free_parameters_come_first_in_the_file_and_signals_before_backgrounds(tmp_path):
    path = write_rabbit(tmp_path / "t.hdf5", with_data(small_model()))
    with h5py.File(path) as file:
        assert file["hsysts"].asstr()[0] == "mass"
        assert list(file["hsystsnoconstraint"].asstr()) == ["mass"]
        assert list(file["hprocs"].asstr()) == ["W", "Z", "fake"]
        assert file["hlogk"].shape == (12, 3, 2, 5)  # the layout that needs no notes
        assert "meta" not in file


def test_external_terms_and_pseudo_data_travel(tmp_path):
    model = small_model()
    term = Quadratic(name="scale", parameters=("n1", "n2"), gradient=np.array([0.1, 0.2]), hessian=np.eye(2) + 0.1)
    found = with_data(replace(model, external=(term,)), names=("other",), alternative=expected_events(model)[:, None])
    again = read_rabbit(write_rabbit(tmp_path / "t.hdf5", found))
    assert again.model.external[0].parameters == ("n1", "n2")
    assert_array_equal(again.model.external[0].hessian, term.hessian)
    assert_array_equal(again.data("other").counts, expected_events(model))


def as_rabbit_writes(path, **changes):
    """Two processes, one free and one constrained parameter, flattened and compressed, every dataset by hand.

    changes : dataset -> content instead, or None to leave it out
    """
    nominal = np.array([[10.0, 50.0], [20.0, 40.0], [30.0, 0.0], [1.0, 1.0]])  # the last bin is masked
    kappa = np.zeros((4, 2, 2))
    kappa[:, 0, 0], kappa[:3, 1, 1] = 0.1, [0.02, 0.03, 0.0]
    arrays = {
        "hnorm": nominal, "hlogk": kappa, "hsumw": nominal, "hsumw2": 0.1 * nominal,
        "hdata_obs": np.array([62.0, 58.0, 29.0]), "hconstraintweights": np.array([0.0, 1.0]),
    } | changes  # fmt: skip
    names = {"hprocs": ["s", "b"], "hsignals": [], "hsysts": ["mass", "n"], "hsystsnoconstraint": ["mass"]}
    with h5py.File(path, "w") as file:
        for name, text in {**names, "hsystgroups": ["all"]}.items():
            file.create_dataset(name, (len(text),), TEXT, compression="gzip")[...] = text
        file.create_dataset("hsystgroupidxs", (1,), h5py.vlen_dtype(np.int32))[0] = np.array([1], dtype=np.int32)
        file["hnoiidxs"] = np.array([0], dtype=np.int32)
        for name, values in arrays.items():
            if values is not None:
                dataset = file.create_dataset(name, data=np.ravel(values), compression="gzip")
                dataset.attrs["original_shape"] = np.array(np.shape(values))
    return path


def test_a_file_as_rabbit_writes_it(tmp_path):
    found = read_rabbit(as_rabbit_writes(tmp_path / "t.hdf5"))
    assert_array_equal(found.model.nominal, [[10, 50], [20, 40], [30, 0]])
    x = np.array([1.0, 2.0])
    by_hand = [10 * np.exp(0.1) + 50 * np.exp(0.04), 20 * np.exp(0.1) + 40 * np.exp(0.06), 30 * np.exp(0.1)]
    assert_allclose(expected_events(found.model, x), by_hand, rtol=1e-14)
    assert_allclose(found.model.effective_events, np.array([60, 60, 30]) / 0.1)
    assert found.model.pois == ("mass",)
    assert found.model.groups == {"all": ("n",)}
    assert "bins of masked channels left out: 1" in found.notes


def test_exactly_known_processes_share_the_factor_of_their_bin(tmp_path):
    # rabbit's one factor of a bin multiplies all: k = (sum of N)^2 / variance, as our likelihood has it once they share
    variances = np.array([[2.0, 0.0], [2.0, 3.0], [1.0, 0.0], [0.0, 0.0]])  # the process of the third bin has no other
    path = as_rabbit_writes(tmp_path / "t.hdf5", hsumw2=variances)
    found = read_rabbit(path)
    assert_allclose(found.model.sumw2, [[2 * 10 / 60, 2 * 50 / 60], [2, 3], [1, 0]])
    assert_allclose(found.model.effective_events, [60**2 / 2, 60**2 / 5, 30**2 / 1])
    assert "bins in which exactly known processes got a share of the variance: 1" in found.notes
    apart = read_rabbit(path, per="process")
    assert apart.per == "process"
    assert_array_equal(apart.model.sumw2, variances[:3])
    with pytest.raises(InputError, match=r"process 'b' in bin 0, one of 1 cannot be written .* exactly known"):
        write_rabbit(tmp_path / "again.hdf5", replace(apart, per="bin"))
    again = read_rabbit(write_rabbit(tmp_path / "shared.hdf5", found))
    assert_allclose(again.model.sumw2, found.model.sumw2)
    assert_array_equal(read_rabbit(write_rabbit(tmp_path / "t2.hdf5", apart), per="process").model.sumw2, variances[:3])


def test_old_files_state_effective_events(tmp_path):
    path = as_rabbit_writes(tmp_path / "t.hdf5", hsumw=None, hsumw2=None, hkstat=np.array([100.0, 0.0, 50.0, 1.0]))
    assert_allclose(read_rabbit(path).model.effective_events, [100.0, 60.0, 50.0])  # 0: the events themselves


def test_channels_may_be_named(tmp_path):
    path = as_rabbit_writes(tmp_path / "t.hdf5")
    found = read_rabbit(path, channels={"a": (2,), "b": (1,)})
    assert [channel.name for channel in found.model.channels] == ["a", "b"]
    with pytest.raises(InputError, match="have 4 bins, the tensor has 3"):
        read_rabbit(path, channels={"a": (4,)})


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def with_notes(path, content):
    with h5py.File(path, "a") as file:
        file["meta/pickle_data"] = np.frombuffer(pickle.dumps(content), dtype=np.uint8)
    return path


def test_effects_that_add_events_are_known_from_the_notes_or_by_asking(tmp_path):
    path = as_rabbit_writes(tmp_path / "t.hdf5")
    assert not read_rabbit(path).model.effects.additive.any()  # without notes, as rabbit itself does
    asked = read_rabbit(path, systematic_type="normal")
    noted = read_rabbit(with_notes(path, {"a": 1, "systematic_type": "normal", "b": 2}))
    for found in (asked, noted):
        assert_allclose(expected_events(found.model, np.array([2.0, 1.0])), [60.22, 60.23, 30.2], rtol=1e-14)


def test_notes_are_never_loaded(tmp_path):
    path = with_notes(as_rabbit_writes(tmp_path / "t.hdf5"), {"x": Bomb(tmp_path / "exploded")})
    with pytest.raises(
        InputError, match="notes, which say whether its effects are log-ratios or events, cannot be read"
    ):
        read_rabbit(path)
    read_rabbit(path, systematic_type="log_normal")
    assert not (tmp_path / "exploded").exists()


BAD = {
    "'hlogk' has shape": {"hlogk": np.zeros((4, 2, 3))},
    "'hdata_obs' is not finite in 1 places": {"hdata_obs": np.array([1.0, np.nan, 2.0])},
    "negative or not finite": {"hnorm": np.array([[10.0, 50.0], [20.0, -1.0], [30.0, 0.0], [1.0, 1.0]])},
    "no rabbit tensor": {"hnorm": None},
    "'hconstraintweights' has shape": {"hconstraintweights": np.ones(3)},
    "bins for 5 of data": {"hdata_obs": np.ones(5)},
    "there is no 'hkstat'": {"hsumw2": None},
    "correlates the simulation": {"hbetavariations": np.ones((4, 3, 2))},
}


@pytest.mark.parametrize("message", BAD)
def test_a_bad_tensor_is_refused(tmp_path, message):
    with pytest.raises(InputError, match=message):
        read_rabbit(as_rabbit_writes(tmp_path / "t.hdf5", **BAD[message]))


def test_a_link_to_another_file_is_refused(tmp_path):
    path = as_rabbit_writes(tmp_path / "t.hdf5")
    as_rabbit_writes(tmp_path / "other.hdf5")
    with h5py.File(path, "a") as file:
        del file["hnorm"]
        file["hnorm"] = h5py.ExternalLink("other.hdf5", "hnorm")
    with pytest.raises(InputError, match="'hnorm' is a link"):
        read_rabbit(path)


def test_a_shape_of_terabytes_is_refused_before_it_is_read(tmp_path):
    path = as_rabbit_writes(tmp_path / "t.hdf5")
    with h5py.File(path, "a") as file:
        del file["hdata_obs"]
        file.create_dataset("hdata_obs", (2**40,), "f8", chunks=(1024,))
    with pytest.raises(InputError, match="at most 32 GiB are read"):
        read_rabbit(path)


def test_a_truncated_file_says_how_much_is_missing(tmp_path):
    path = as_rabbit_writes(tmp_path / "t.hdf5")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=f"{len(content) // 2} bytes, expected {len(content)}"):
        read_rabbit(path)


def shapes(**options):
    kappa = np.full((2, 2, 2), 0.1)
    return from_arrays(np.full((2, 2), 9.0), kappa, parameters=("n", "m"), processes=("s", "b"), **options)


REFUSED = {
    "a signal has one rate": lambda: shapes(rates={"mu": ["s", "b"]}, pois=("mu",)),
    "rates are free parameters of interest": lambda: shapes(rates={"mu": ["s"]}),
    "some add events": lambda: shapes(additive=("n",)),
    "its centre is 0.5": lambda: replace(shapes(), centre=np.array([0.5, 0.0])),
    "it is frozen": lambda: replace(shapes(), frozen=("m",)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_a_tensor_cannot_say_is_refused_with_the_reason(tmp_path, reason):
    with pytest.raises(InputError, match=reason):
        write_rabbit(tmp_path / "t.hdf5", FitInput(model=REFUSED[reason]()))
    assert not (tmp_path / "t.hdf5").exists()


def test_the_symmetric_layout_has_no_place_for_asymmetric_effects(tmp_path):
    with pytest.raises(InputError, match="some are asymmetric"):
        write_rabbit(tmp_path / "t.hdf5", FitInput(model=small_model()), layout="symmetric")
