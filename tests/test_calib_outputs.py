"""The reference calibration that is kept is whole, small, and of today's built-in closure."""

import json
from pathlib import Path

import numpy as np
import pytest

import mucal
from mucal.calibration import verify_bundle
from mucal.calibration.manifest import read_manifest
from mucal.workflow import load_analysis

FOLDER = Path(__file__).parents[1] / "calib_outputs" / "closure"
AGAIN = (
    "make it again: mucal run -o first && mucal export first -o calib_outputs/closure --without report.html --overwrite"
)
MEGABYTE = 2**20

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no reference is kept; {AGAIN}")


def test_it_is_whole_and_small():
    report = verify_bundle(FOLDER)
    assert set(report.states.values()) == {"ok"}, report.lines()
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MEGABYTE


@pytest.mark.parametrize(
    "section", ["analysis", "tracks", "bins", "massfit", "scale", "resolution", "calibration", "spectra"]
)
def test_it_was_made_with_the_configuration_of_today(section: str):
    made = read_manifest(FOLDER)["provenance"]["configuration"][section]
    assert made == json.loads(json.dumps(load_analysis(preset="closure").plain[section])), AGAIN


def test_it_corrects_muons_and_varies_them():
    calibration = mucal.load(FOLDER)
    pt, eta, charge = np.array([5.0, 12.0, 20.0]), np.array([-1.0, 0.2, 1.9]), np.array([1, -1, 1])
    corrected = calibration.correct(pt, eta, np.zeros(3), charge)
    # the tracker was distorted by parts in a thousand, and the global corrections took most of that out
    assert np.all(np.abs(corrected / pt - 1) < 5e-3)
    up, down = calibration.vary(pt, eta, np.zeros(3), charge, calibration.nuisances("scale")[0])
    assert np.all(up != down)
