"""A calibration with its fitted errors as they are, without the factors of its configuration."""

from dataclasses import replace

import numpy as np

from mucal.calibration.product import Calibration


def without_factors(calibration: Calibration) -> Calibration:
    """The same calibration, every nuisance divided by the factor of its group."""
    factor = dict.fromkeys(calibration.groups, 1.0) | dict(calibration.factors)
    divisor = np.array([factor[group] for group in calibration.groups])
    s, r = len(calibration.scale_variations), len(calibration.resolution_variations)
    return replace(
        calibration,
        scale_variations=calibration.scale_variations / divisor[:s, None, None],
        resolution_variations=calibration.resolution_variations / divisor[s : s + r, None, None],
        pixel_variations=calibration.pixel_variations / divisor[s + r :, None],
        factors=dict.fromkeys(factor, 1.0),
        description=f"{calibration.description} Fitted errors without factors.".strip(),
    )
