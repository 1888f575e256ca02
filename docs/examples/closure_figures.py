"""Figures of README and `docs/how_to_run.md` from a finished run: bias of momenta, and what Y(1S) and Z still ask for.

mucal run -o first && python docs/examples/closure_figures.py first [FOLDER]
"""

import sys
from pathlib import Path

from mucal.plot.closing import closure_figure, table_closure_figure
from mucal.plot.globalcor import bias_profiles
from mucal.plot.style import save
from mucal.workflow.finished_run import load_run

run = load_run(sys.argv[1])
folder = Path(sys.argv[2] if len(sys.argv) > 2 else "docs/figures")
folder.mkdir(parents=True, exist_ok=True)
assert run.tracks is not None, f"{sys.argv[1]} is no run from hits"
save(bias_profiles(run.tracks.probes, run.table), folder / "closure.png")
save(closure_figure(run.tracks.closing, run.tracks.probes), folder / "closure_resonances.png")
asked = None if run.recovery is None else run.recovery.injected
after = table_closure_figure(run.tracks.closing, run.table, run.table_factor, asked)
save(after, folder / "closure_table.png")
