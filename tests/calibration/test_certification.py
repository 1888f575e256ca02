from dataclasses import replace

import numpy as np
import pytest

from mucal.calibration import Calibration, certify
from mucal.errors import NotCertified


def refused(calibration: Calibration) -> str:
    with pytest.raises(NotCertified) as caught:
        certify(calibration)
    assert caught.value.exit_code == 4
    return caught.value.what


def test_a_whole_calibration_is_certified(calibration: Calibration):
    certify(calibration)


def test_without_a_pt_range_nothing_is_released(calibration: Calibration):
    assert "no validity range in pt" in refused(replace(calibration, pt_range=(0.0, np.inf)))


def test_without_a_pt_definition_nothing_is_released(calibration: Calibration):
    assert "pt_definition" in refused(replace(calibration, pt_definition=""))


def test_without_a_reference_mass_nothing_is_released(calibration: Calibration):
    assert "reference mass" in refused(replace(calibration, reference_mass_error=np.nan))


@pytest.mark.parametrize("name", ["A", "e", "M", "cov"])
def test_nan_is_not_released(calibration: Calibration, name: str):
    broken = getattr(calibration.scale, name).copy()
    broken.flat[1] = np.nan
    text = refused(replace(calibration, scale=replace(calibration.scale, **{name: broken})))
    assert f"1 of {broken.size} numbers of scale.{name} are not finite" in text


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("closure", "A", np.nan), ("closure", "M", np.nan), ("closure", "cov", np.nan), ("closure", "mean_k", np.inf),
     ("pixels", "data", np.inf), ("pixels", "mc", np.inf)],
)  # fmt: skip
def test_nan_in_the_closure_or_in_pixel_counts_is_not_released(
    cms_like: Calibration, part: str, name: str, value: float
):
    table = getattr(cms_like, part)
    broken = getattr(table, name).copy()
    broken.flat[1] = value
    text = refused(replace(cms_like, **{part: replace(table, **{name: broken})}))
    assert f"1 of {broken.size} numbers of {part}.{name} are not finite" in text


@pytest.mark.parametrize("name", ["scale_variations", "resolution_variations", "pixel_variations"])
def test_nan_in_a_nuisance_is_not_released(cms_like: Calibration, name: str):
    broken = getattr(cms_like, name).copy()
    broken.flat[1] = np.nan
    assert f"numbers of {name} are not finite" in refused(replace(cms_like, **{name: broken}))


def test_a_closure_covariance_that_is_none_is_not_released(cms_like: Calibration):
    assert cms_like.closure is not None
    closure = replace(cms_like.closure, cov=-cms_like.closure.cov)
    assert "closure.cov: the covariance is not positive" in refused(replace(cms_like, closure=closure))


def test_a_covariance_that_is_none_is_not_released(calibration: Calibration):
    scale = replace(calibration.scale, cov=-calibration.scale.cov)
    assert "scale.cov: the covariance is not positive semidefinite" in refused(replace(calibration, scale=scale))


@pytest.mark.parametrize("change", [{"A": 0.6}, {"e": 3.0}, {"M": 0.01}])
def test_a_correction_of_half_a_momentum_is_not_released(calibration: Calibration, change: dict[str, float]):
    # 3 GeV of 4 GeV; 0.01/GeV of 70 GeV
    name, size = next(iter(change.items()))
    values = getattr(calibration.scale, name).copy()
    values[2] = size
    text = refused(replace(calibration, scale=replace(calibration.scale, **{name: values})))
    assert "of a momentum in eta bin 2" in text


@pytest.mark.parametrize(
    ("A", "e", "M"),
    [
        # that of mu+ turns at sqrt(2/0.007) = 17 GeV, a maximum of 0.56; that of mu- reaches 1.26 at 70 GeV
        (0.8, 2.0, -0.007), (0.8, 2.0, 0.007), (-0.8, -2.0, 0.007), (-0.8, -2.0, -0.007),
        # turning just inside the upper end, and outside
        (0.6, 2.0, -0.00045), (-0.6, 2.0, -0.007), (0.8, 0.1, 0.025), (0.55, 0.0, 0.0),
    ],
)  # fmt: skip
def test_a_correction_is_judged_at_its_largest(calibration: Calibration, A: float, e: float, M: float):
    scale = replace(calibration.scale, A=np.full(6, A), e=np.full(6, e), M=np.full(6, M))
    pt = np.linspace(4.0, 70.0, 100_001)
    largest = max(np.max(np.abs(A - e / pt + charge * M * pt)) for charge in (1, -1))
    assert f"reaches {largest:.3g} of a momentum in eta bin 0" in refused(replace(calibration, scale=scale))


def test_a_negative_variance_in_the_range_is_not_released(calibration: Calibration):
    data = calibration.resolution_data
    assert data is not None
    a = data.a.copy()
    a[1] = -1e-3
    text = refused(replace(calibration, resolution_data=replace(data, a=a)))
    assert "resolution_data gives (sigma_k/k)^2 = -" in text
    assert "eta bin 1" in text
