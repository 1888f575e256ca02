"""How a run ended, in words."""

from types import SimpleNamespace

import numpy as np
import pytest

from mucal.report import closure_section
from mucal.scale import ScaleTable
from mucal.scale.recovery import compare
from mucal.store import Provenance
from mucal.workflow.outcome import beyond, failed, summary


def test_what_compiled_code_made_of_an_interrupt_is_an_interrupt():
    error = SystemError("returned a result with an exception set")
    error.__cause__ = KeyboardInterrupt()
    assert failed(error).status == "interrupted"
    assert failed(ValueError("a")).status == "failed"


@pytest.mark.parametrize(("pt", "mark"), [(4.0, False), (25.0, False), (3.9, True), (40.0, True)])
def test_a_momentum_from_which_no_table_was_derived_is_marked(pt: float, mark: bool):
    one = np.zeros(1)
    table = ScaleTable(eta_edges=np.array([-1.0, 1.0]), A=one, e=one, M=one, cov=np.zeros((3, 3)), pt_range=(4.0, 25.0))
    assert ("extrapolated" in beyond(table, pt)) == mark


@pytest.mark.parametrize(("prior", "star"), [({"e": 5e-4}, True), ({}, False)])
def test_what_priors_drive_is_marked_in_the_terminal(monkeypatch: pytest.MonkeyPatch, prior: dict, star: bool):
    monkeypatch.setattr(closure_section, "recovery_of_kind", lambda corrections, injected, kind: None)
    one = np.zeros(1)
    table = ScaleTable(
        eta_edges=np.array([-1.0, 1.0]), A=one, e=one, M=one, cov=np.diag([1e-8, 4.9e-4**2, 1e-12])
    ).with_provenance(Provenance(configuration={"scale": {"prior": prior}}))
    tracks = SimpleNamespace(corrections=None, injected=None, closing=(), z=None, w=None)
    lines = summary(SimpleNamespace(table=table, recovery=compare(table, table)), tracks)
    assert any(line.startswith("e [MeV] *") for line in lines) == star
    assert any(line.startswith("*: e (1 of 1 bins) says more of its prior") for line in lines) == star
