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


def test_a_negative_variance_in_the_range_is_not_released(calibration: Calibration):
    data = calibration.resolution_data
    assert data is not None
    a = data.a.copy()
    a[1] = -1e-3
    text = refused(replace(calibration, resolution_data=replace(data, a=a)))
    assert "resolution_data gives (sigma_k/k)^2 = -" in text
    assert "eta bin 1" in text
