"""Several channels in one fit, and the test of partons in their projections."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import ConfigError
from mucal.likelihood import FitConfig, Model, expected_events, fit, from_arrays
from mucal.likelihood.channel import Channel
from mucal.templates import Templates, TemplatesConfig, build
from mucal.wmass import MASS, combine, mass_model, parton_goodness
from mucal.wmass.goodness import parton_projection

EXACT = FitConfig(mc_stat="none")


def small(name: str, parameters: tuple[str, ...], seed: int) -> Model:
    """Six bins, two processes, some parameters and a free rate of the first process."""
    rng = np.random.default_rng(seed)
    model = from_arrays(
        rng.uniform(500, 1000, (6, 2)), rng.normal(0, 0.05, (6, 2, len(parameters))), parameters=parameters,
        processes=("signal", "other"), free=("mass",), rates={"rate": ["signal"]}, pois=("mass",),
        groups={"all": tuple(p for p in parameters if p != "mass")},
    )  # fmt: skip
    return replace(model, channels=(replace(model.channels[0], name=name),))


def test_joint_model_is_the_product_of_its_channels():
    # the same likelihood, written once as a joint model and once by hand: counts of both, constraints once
    a, b = small("a", ("mass", "x", "y"), 1), small("b", ("y", "mass", "z"), 2)
    joint = combine([a, b])
    assert joint.parameters == ("rate", "mass", "x", "y", "z")
    values = {"rate": 1.1, "mass": 0.3, "x": -0.5, "y": 0.7, "z": 0.2}

    def events(model: Model) -> np.ndarray:
        return expected_events(model, np.array([values[p] for p in model.parameters]))

    assert_allclose(events(joint), np.concatenate([events(a), events(b)]), rtol=1e-13)
    assert joint.groups == {"all": ("x", "y", "z")}
    assert joint.pois == ("mass",)


def test_a_second_channel_adds_information():
    a, b = small("a", ("mass", "x", "y"), 1), small("b", ("y", "mass", "z"), 2)
    joint = combine([a, b])
    errors = [fit(m, expected_events(m), EXACT).error("mass") for m in (a, b, joint)]
    assert errors[2] < min(errors[:2])


def test_constraints_that_differ_are_refused():
    a, b = small("a", ("mass", "x"), 1), small("b", ("mass", "x"), 2)
    with pytest.raises(ConfigError, match="'x' has centre"):
        combine([a, replace(b, precision=np.array([0.0, 0.0, 4.0]))])
    with pytest.raises(ConfigError, match="multiplied"):
        combine([a, replace(b, rate=np.array([-1, 0]))])


@pytest.fixture(scope="module")
def pairs() -> Templates:
    return build(TemplatesConfig(channel="kinematics", events=1 << 17, chunk=1 << 15), n_threads=2)


def w_like(pairs: Templates) -> Model:
    """A stand-in for the W channel, 2 charges x 48 bins of eta, that shares the partons with the pairs."""
    edges = ((-2.0, 0.0, 2.0), tuple(float(x) for x in np.round(np.linspace(-2.4, 2.4, 49), 9)))
    rng = np.random.default_rng(3)
    n, names = np.full((96, 1), 1e6), pairs.nuisances[:20]
    kappa = rng.normal(0, 0.01, (96, 1, 21))
    model = from_arrays(
        n, kappa, parameters=(MASS, *names), processes=("Wmunu",), free=(MASS,), pois=(MASS,), groups={"pdf": names}
    )
    return replace(model, channels=(Channel(name="w", axes=("charge", "eta"), edges=edges),))


def test_mass_of_the_z_is_a_nuisance_beside_the_w(pairs):
    model = mass_model(pairs)
    assert "mass_z" in model.parameters
    assert pairs.boson == "w"
    assert not np.any(pairs.shifted != pairs.nominal)


def test_partons_are_tested_in_116_bins(pairs):
    model = combine([w_like(pairs), mass_model(pairs)])
    projection = parton_projection(model)
    assert projection.n_rows == 116
    counts = np.random.default_rng(7).poisson(expected_events(model)).astype(float)
    found = parton_goodness(model, counts, EXACT)
    # one toy of the model itself; the mass and the norm are not free factors of all bins
    assert all(110 <= g.ndof <= 116 for g in found.values())
    assert all(1e-3 < g.p_value < 0.999 for g in found.values())


def test_partons_that_moved_are_seen_without_their_nuisances(pairs):
    model = combine([w_like(pairs), mass_model(pairs)])
    truth = model.centre.copy()
    truth[model.index(pairs.nuisances[:3])] = 1.5
    counts = np.random.default_rng(8).poisson(expected_events(model, truth)).astype(float)
    found = parton_goodness(model, counts, EXACT)
    assert found["nominal"].p_value > 1e-3
    assert found["without partons"].p_value < 1e-6


def test_a_model_without_pairs_is_refused(pairs):
    with pytest.raises(ConfigError, match="no channel kinematics"):
        parton_projection(w_like(pairs))
