"""The extended ABCD method: by hand, closure for an exponential truth, the bias of a curved one, its nuisances."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.errors import ConfigError, InputError
from mucal.likelihood import fit, from_arrays, observe
from mucal.simulation.nonprompt import NonpromptSimulation, generate_nonprompt
from mucal.templates.nonprompt import (
    Nonprompt,
    NonpromptConfig,
    RegionCounts,
    closure,
    curvature_bias,
    estimate,
    propagate,
)
from mucal.templates.nonprompt_parameters import region_parameters

SMALL = NonpromptSimulation(n_eta=4)


def test_flat_regions_by_hand():
    n = np.array([100.0, 20.0, 50.0, 15.0, 40.0, 0.0])  # Ax, Bx, A, B, C: D = 40 * 100 * 15^2 / (20 * 50^2) = 18
    data = np.broadcast_to(n[:, None, None, None], (6, 1, 1, 8)).copy()
    regions = RegionCounts(eta_edges=np.array([0.0, 1.0]), pt_edges=np.linspace(26, 42, 9), data=data,
                           prompt=np.zeros_like(data), prompt_sumw2=np.zeros_like(data))  # fmt: skip
    found = estimate(regions, NonpromptConfig(degree=0))
    assert_allclose(found.nominal, 18.0, rtol=1e-9)
    # relative variance of one bin's worth of 8: (1/C + 4/B + 4/A + 1/Ax + 1/Bx) / 8
    expected = (1 / 40 + 4 / 15 + 4 / 50 + 1 / 100 + 1 / 20) / 8
    assert_allclose((found.error / found.nominal) ** 2, expected, rtol=1e-9)


@pytest.mark.parametrize("method", ["quasi_likelihood", "least_squares"])
def test_expectations_of_an_exponential_close(method: str):
    regions, truth = generate_nonprompt(SMALL, None)
    found = estimate(regions, NonpromptConfig(method=method))  # type: ignore[arg-type]
    assert_allclose(
        found.nominal, truth, rtol=1e-3
    )  # density at the middle of a bin against its integral: (1/7)^2 / 24


def test_pulls_of_an_exponential_truth():
    rng = np.random.default_rng(31)
    pulls, common, p_values = [], [], []
    for _ in range(60):
        regions, truth = generate_nonprompt(SMALL, rng)
        found = estimate(regions, NonpromptConfig())
        pulls.append((np.log(found.nominal / truth) * found.nominal / found.error)[:, :, [3, 15, 27]].ravel())
        closed = closure(found, regions)
        common.append(closed.ratio / closed.error)
        p_values.append(found.p_value.ravel())
    pulls = np.concatenate(pulls)
    n_toys = 60 * 8  # slices; the three bins of one are correlated
    assert abs(pulls.mean()) < 4 / np.sqrt(n_toys)
    assert abs(pulls.std() - 1.0) < 4 / np.sqrt(2 * n_toys)
    assert abs(np.mean(common)) < 4 / np.sqrt(60)
    assert abs(np.mean(p_values) - 0.5) < 4 * 0.29 / np.sqrt(60 * 40)


@pytest.mark.parametrize("curvature", [-0.05, 0.1])
def test_a_curved_fake_factor_biases_by_twice_its_curvature(curvature: float):
    regions, truth = generate_nonprompt(replace(SMALL, curvature=curvature), None)
    found = estimate(regions, NonpromptConfig())
    i = np.arange(3)
    predicted = curvature_bias(0.2 * i + curvature * i**2)
    assert_allclose(predicted, -2 * curvature)
    assert_allclose(np.log(found.nominal / truth), predicted, atol=1e-3)
    seen = closure(found, generate_nonprompt(replace(SMALL, curvature=curvature), np.random.default_rng(1))[0])
    assert abs(seen.ratio + predicted) < 4 * seen.error
    assert abs(seen.ratio) > 5 * seen.error


def test_logarithms_of_small_counts_are_biased_and_the_likelihood_is_not():
    rng = np.random.default_rng(32)
    off = {"quasi_likelihood": [], "least_squares": []}
    for _ in range(60):
        regions, truth = generate_nonprompt(replace(SMALL, n=600.0, prompt=0.0), rng)
        for method, found in off.items():
            total = estimate(regions, NonpromptConfig(degree=1, method=method)).region_coefficients[3, :, :, 0]  # type: ignore[arg-type]
            found.append(total.mean())
    exact = estimate(generate_nonprompt(replace(SMALL, n=600.0, prompt=0.0), None)[0], NonpromptConfig(degree=1))
    truth = exact.region_coefficients[3, :, :, 0].mean()
    spread = np.std(off["quasi_likelihood"]) / np.sqrt(60)
    assert abs(np.mean(off["quasi_likelihood"]) - truth) < 4 * spread + 2e-3
    assert np.mean(off["least_squares"]) - truth > 0.02  # high: bins that came out empty or low count for little


def test_nuisances_are_those_published():
    regions, _ = generate_nonprompt(NonpromptSimulation(), None)
    found = estimate(regions, NonpromptConfig())
    assert len(found.nuisances) == len(set(found.nuisances)) == 387
    assert found.groups.count("nonprompt_smoothing") == 384
    assert_allclose(found.kappa[-3], np.log(1.05))
    variance = (found.kappa[:384] ** 2).sum(axis=0)
    assert_allclose(variance, (found.error / found.nominal) ** 2, rtol=1e-9)
    for j in (0, 200):  # one acts in one slice only
        assert (np.abs(found.kappa[j]).sum(axis=-1) > 0).sum() == 1


def test_the_prompt_subtraction_is_propagated():
    regions, _ = generate_nonprompt(replace(SMALL, prompt=0.0), None)
    prompt = 0.5 * regions.data  # of the same shape, half as many
    regions = replace(regions, data=1.5 * regions.data, prompt=prompt)
    varied = prompt.copy()
    varied[[1, 3]] *= 1.02  # more prompt in Bx and B: less nonprompt there
    names, kappa = propagate(regions, NonpromptConfig(), {"lumi": prompt, "isolated": varied})
    assert names == ("lumi", "isolated")
    assert np.abs(kappa[0]).max() == 0.0
    # each falls by 1 %; D goes as B^2 / Bx
    assert_allclose(kappa[1], np.log(0.99), atol=1e-6)


def test_free_coefficients_in_the_likelihood_give_the_same_prediction():
    regions, _ = generate_nonprompt(replace(SMALL, n_eta=1, prompt=0.0), np.random.default_rng(33))
    found = estimate(regions, NonpromptConfig())
    free = region_parameters(found, 1, 0)
    model = from_arrays(
        free.nominal[:5].reshape(-1, 1), free.kappa[:5].reshape(-1, 1, 20), parameters=free.names,
        processes=("nonprompt",), free=free.names,
    )  # fmt: skip
    result = fit(model, observe(model, regions.data[:5, 1, 0].reshape(-1)))
    shift = np.asarray(result.values)
    assert np.abs(shift).max() < 1e-4
    ours = np.einsum("tj,jk,tk->t", free.kappa[5], np.asarray(result.cov), free.kappa[5])
    assert_allclose(np.sqrt(ours), found.error[1, 0] / found.nominal[1, 0], rtol=1e-3)
    assert_allclose(free.nominal[5], found.nominal[1, 0], rtol=1e-12)


@pytest.mark.parametrize("region", range(5))
def test_an_empty_region_is_refused_by_name(region: int):
    regions, _ = generate_nonprompt(SMALL, None)
    data = regions.data.copy()
    data[region, 1, 2] = 0.0
    with pytest.raises(InputError, match="nonprompt events") as refused:
        estimate(replace(regions, data=data), NonpromptConfig())
    assert refused.value.exit_code == 3
    assert refused.value.where["region"] == ("Ax", "Bx", "A", "B", "C")[region]
    assert refused.value.where["slice"] == "charge +1, eta 0 to 1.2"
    assert "pt 26 to 27" in refused.value.where["bin"]


def test_nan_and_absurd_settings_are_refused():
    regions, _ = generate_nonprompt(SMALL, None)
    data = regions.data.copy()
    data[2, 0, 1, 5] = np.nan
    with pytest.raises(InputError, match="data nan") as refused:
        estimate(replace(regions, data=data), NonpromptConfig())
    assert "pt 31 to 32" in refused.value.where["bin"]
    with pytest.raises(ConfigError, match="degree 9"):
        NonpromptConfig(degree=9)


def test_saves(tmp_path: Path):
    found = estimate(generate_nonprompt(SMALL, None)[0], NonpromptConfig())
    assert_allclose(Nonprompt.load(found.save(tmp_path / "n.h5")).kappa, found.kappa)
    assert "nuisances" in found.summary()[0]
