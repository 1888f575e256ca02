"""`mucal fit --boson`: the spectrum that a fit predicts, the pairs beside it, table, figure, page."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.cli import main
from mucal.errors import ConfigError
from mucal.io import FitInput
from mucal.likelihood import Model, expected_events, fit, from_arrays, observe
from mucal.wmass.boson_spectrum import propagate
from mucal.workflow.fit import FitOptions, run_fit
from mucal.workflow.fit_outputs import more_figures
from mucal.workflow.fit_spectrum import boson_shares, shares_grid, shares_plain

NAMES = ("mass", "a", "b", "c")
EDGES = (0.0, 3.0, 6.0, 12.0, 30.0)


def channel(name: str, seed: int, n_bins: int, mass: float, events: float = 1e5) -> Model:
    rng = np.random.default_rng(seed)
    kappa = rng.normal(0, 0.01, (n_bins, 1, len(NAMES)))
    kappa[:, :, 0] *= mass
    model = from_arrays(
        events * rng.uniform(0.5, 1.5, (n_bins, 1)), kappa, parameters=NAMES, processes=("z",), free=("mass",),
        pois=("mass",),
    )  # fmt: skip
    edges = EDGES if name == "boson_z" else tuple(np.linspace(26.0, 60.0, n_bins + 1))
    return replace(model, channels=(replace(model.channels[0], name=name, axes=("pt",), edges=(edges,)),))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spectrum")
    models = {"muons": channel("wlike", 1, 20, 1.0), "pairs": channel("kinematics", 2, 10, 0.0, 1e6),
              "bosons": channel("boson_z", 3, 4, 0.0)}  # fmt: skip
    return models, {name: model.save(folder / f"{name}.h5") for name, model in models.items()}


def test_shares_are_those_that_the_fit_predicts(files):
    models, paths = files
    options = FitOptions(toy=3)
    run = run_fit(paths["muons"], options)
    found = boson_shares(run, paths["bosons"], options)
    by_hand = propagate(models["bosons"], models["muons"], fit(models["muons"], run.observation))
    assert_allclose(found.muons.shares, by_hand.shares, rtol=1e-10)
    assert found.pairs is None
    assert len(shares_grid(found).rows) == 4


def test_pairs_answer_to_the_same_centres(files):
    # 40 toys: pulls of the difference, whose covariance counts the common centres once
    _, paths = files
    chi2 = []
    for seed in range(40):
        options = FitOptions(toy=seed)
        found = boson_shares(run_fit(paths["muons"], options), paths["bosons"], options, paths["pairs"])
        assert found.test is not None
        chi2.append(found.test.chi2)
    assert found.test.ndof == 3
    # three nuisances move four shares that add to 1: a mean of 3 within 3 errors of sqrt(6 / 40)
    assert abs(np.mean(chi2) - 3.0) < 3 * np.sqrt(6 / 40)


def test_data_of_the_pairs_are_their_own(files, tmp_path):
    models, paths = files
    counts = expected_events(models["pairs"])
    given = FitInput(model=replace(models["pairs"], frozen=("mass",)), observation=observe(models["pairs"], counts))
    muons = FitInput(model=models["muons"], observation=observe(models["muons"], expected_events(models["muons"])))
    run = run_fit(muons.save(tmp_path / "muons.h5"))
    found = boson_shares(run, paths["bosons"], FitOptions(), given.save(tmp_path / "pairs.h5"))
    assert found.pairs is not None
    assert_allclose(found.pairs.shares, found.pairs.before, rtol=1e-9)


def test_a_channel_of_muons_is_refused(files):
    _, paths = files
    with pytest.raises(ConfigError, match="needs boson_w or boson_z"):
        boson_shares(run_fit(paths["muons"], FitOptions(asimov=True)), paths["muons"], FitOptions(asimov=True))


def test_the_command_shows_it_and_draws_it(files, tmp_path, capsys):
    _, paths = files
    names = {name: str(path) for name, path in paths.items()}
    arguments = ["fit", names["muons"], "--toy", "5", "--boson", names["bosons"], "--pairs", names["pairs"]]
    assert main([*arguments, "--report", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert "pT of the boson" in out
    assert "pt 12..30" in out
    page = (tmp_path / "page.html").read_text()
    assert "which the fit never saw" in page
    run = run_fit(paths["muons"], FitOptions(toy=5))
    found = boson_shares(run, paths["bosons"], FitOptions(toy=5), paths["pairs"])
    assert [name for name, _ in more_figures(run, None, None, found)] == ["boson_pt"]
    plain = shares_plain(found)
    assert_allclose(sum(plain["muons"]["share"]), 1.0)
    assert plain["test"]["ndof"] == 3


def test_pairs_alone_are_refused(files, capsys):
    _, paths = files
    assert main(["fit", str(paths["muons"]), "--asimov", "--pairs", str(paths["pairs"])]) == 2
    assert "only with --boson" in capsys.readouterr().err
