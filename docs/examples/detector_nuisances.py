"""Modes of field, material and alignment as nuisances, for global corrections of your own; here those of a run.

    mucal run -o RUN
    python docs/examples/detector_nuisances.py RUN

A run from hits does this itself (`scale_nuisances = "detector"`) and compares it with the statistics of A, e and M.
"""

import sys
from pathlib import Path

from mucal.calibration import CalibrationConfig, assemble
from mucal.detector import cms_like
from mucal.globalcor import GlobalCorrections, Refit
from mucal.scale import ScaleTable
from mucal.workflow.detector_model import modes_of, without_correction

run = Path(sys.argv[1])
corrections = GlobalCorrections.load(run / "corrections.h5")
table = ScaleTable.load(run / "scale.h5")
refit = Refit(detector=cms_like(), registry=corrections.registry, theta=corrections.theta)
modes = modes_of(corrections, refit, table.eta_edges)
config = CalibrationConfig(pt_definition="refit")
calibration = assemble(without_correction(table, modes), None, None, config, detector=modes)
print("\n".join(calibration.summary()))
for name in calibration.nuisances("detector")[:5]:
    print(f"{name}: {calibration.sources[calibration.names.index(name)]}")
