"""`mucal show` of a scale table: the combinations of its parameters that it knows worst."""

from pathlib import Path

import numpy as np

from mucal.scale import ScaleTable
from mucal.workflow.description import describe


def shown(path: Path, cov: np.ndarray) -> list[str]:
    one = np.zeros(1)
    ScaleTable(eta_edges=np.array([-2.4, 2.4]), A=one, e=one, M=one, cov=cov, resonance="jpsi").save(path)
    return describe(path)[1]


def test_weak_combinations_of_a_table_are_named(tmp_path: Path):
    # correlation 0.96 of A and e: eigenvalues 1 +- 0.96, condition number 49
    cov = np.diag([1e-8, 36e-8, 25e-12])
    cov[0, 1] = cov[1, 0] = 0.96 * 6e-8
    lines = shown(tmp_path / "scale.h5", cov)
    start = next(i for i, line in enumerate(lines) if "weakest combinations" in line)
    assert "condition number 49" in lines[start]
    assert lines[start + 1].split()[0] == "1.96"
    assert all(name in lines[start + 1] for name in ("A[-2.4, 2.4) 50 %", "e[-2.4, 2.4) 50 %"))


def test_a_table_without_errors_has_no_combinations(tmp_path: Path):
    assert not any("weakest" in line for line in shown(tmp_path / "scale.h5", np.zeros((3, 3))))
