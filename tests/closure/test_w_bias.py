"""From hits to the W mass, over seeds: what a distorted tracker does to m_W, before and after its calibration.

Each seed draws its own amplitudes of the field's modes, displacements of layers and events; material is scaled by the
same factors.  The field's strength acts as A, material as e, displacements along the measured coordinate as M.
Run with `pytest -s -m slow tests/closure/test_w_bias.py`; MUCAL_SEEDS=100,108 chooses seeds.  Numbers stand in
docs/studies/injection.md.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from mucal.plot.closing import STAGES, WShift
from mucal.store import Provenance
from mucal.workflow.calibration_run import tracks_of
from mucal.workflow.chain import join
from mucal.workflow.config import load_analysis
from mucal.workflow.progress import silent
from mucal.workflow.refitted_pairs import RefittedSource
from mucal.workflow.stages import Folder
from mucal.workflow.w_muons import w_shift

CONFIG = Path(__file__).with_name("w_bias.toml")
FIRST, LAST = map(int, os.environ.get("MUCAL_SEEDS", "100,108").split(","))


FIELD = {"bias": 1e-3, "gradient": 5e-4, "l3m0c": 1e-3}
"""Standard deviations of the amplitudes, as shares of B_z at the origin."""


def shift_of(seed: int, out: Path) -> WShift:
    """The whole chain of one seed, in this process, so that it is compiled once."""
    rng = np.random.default_rng(seed)
    field = [f"tracks.distortion.field.{mode}={width * rng.normal()}" for mode, width in FIELD.items()]
    analysis = load_analysis(CONFIG, settings=(f"tracks.distortion.seed={seed}", *field), seed=seed)
    folder = Folder(out, resume=False, base=Provenance(), tell=silent)
    tracked = tracks_of(analysis, folder, silent)
    chain = join(analysis, folder, RefittedSource(tracked.after), RefittedSource(tracked.simulation), silent)
    return w_shift(analysis.tracks, tracked.w, tracked.corrections, chain.table)


@pytest.mark.slow
def test_the_calibration_takes_the_bias_of_the_w_mass_away(tmp_path):
    shifts, errors = [], []
    for seed in range(FIRST, LAST):
        (out := tmp_path / str(seed)).mkdir()
        found = shift_of(seed, out)
        shifts.append(found.shift[0])
        errors.append(found.total_error[0])
        numbers = ", ".join(
            f"{stage} {m:+.1f} +- {s:.1f}" for stage, m, s in zip(STAGES, shifts[-1], errors[-1], strict=True)
        )
        print(f"seed {seed}: m_W less injected, MeV: {numbers}", flush=True)
    pulls = np.array(shifts) / np.array(errors)
    chi2, n = (pulls**2).sum(axis=0), len(pulls)
    for stage, value, size in zip(STAGES, chi2, np.sqrt(np.mean(np.square(shifts), axis=0)), strict=True):
        print(f"{stage}: rms {size:.1f} MeV, chi2 = {value:.1f} of {n}, p = {stats.chi2.sf(value, n):.2g}")
    assert stats.chi2.sf(chi2[0], n) < 1e-6  # there is something to take away
    assert 0.003 < stats.chi2.sf(chi2[-1], n) < 0.997
