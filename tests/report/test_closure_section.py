"""The front of a closure from hits: stars at what priors drive, and the closure of other resonances."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mucal.globalcor import ProbeBias
from mucal.plot.closing import ClosingMass
from mucal.report import UncertaintyModel, closure_section
from mucal.report.closure_section import front_section, parameter_rows
from mucal.report.page import Picture
from mucal.scale import ScaleTable
from mucal.scale.recovery import compare
from mucal.store import Provenance

EDGES = np.array([-2.4, 0.0, 2.4])


def table(resonance: str = "jpsi", free: str = "AeM") -> ScaleTable:
    variance = [v * (name in free) for name, v in zip("AeM", (1e-8, 4.9e-4**2, 1e-12), strict=True)]
    x = np.full(2, 1e-6)
    return ScaleTable(
        eta_edges=EDGES, A=x, e=x, M=x, cov=np.diag(np.repeat(variance, 2)), resonance=resonance, pt_range=(4.0, 25.0)
    )


def closing(resonance: str, free: str) -> ClosingMass:
    return ClosingMass(
        resonance=resonance, pairs=10, mass=9.46, shift=np.zeros(3), error=np.full(3, 1e-4),
        calibration_error=np.zeros(3), tables=(table(resonance, free),) * 3,
    )  # fmt: skip


def probes() -> ProbeBias:
    # both charges in both bins at one momentum
    four, mean = np.zeros(4), np.zeros((1, 2, 2))
    return ProbeBias(
        pt=np.full(4, 40.0), eta=np.array([-1.0, -1.0, 1.0, 1.0]), phi=four, charge=np.array([1, -1, 1, -1]),
        before=four, after=four, error=four, eta_edges=EDGES, momenta=np.array([40.0]), mean=mean, mean_before=mean,
        mean_cov=np.broadcast_to(1e-8 * np.eye(2), (1, 2, 2, 2)),
    )  # fmt: skip


@pytest.fixture
def tracks(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A run without global parameters whose truth is known."""
    monkeypatch.setattr(closure_section, "recovery_of_kind", lambda corrections, injected, kind: None)
    resonances = (closing("upsilon1s", "A"), closing("z", "AM"))
    return SimpleNamespace(corrections=None, injected=None, closing=resonances, z=None, w=None, probes=probes())


def with_priors(prior: dict[str, float]) -> ScaleTable:
    return table().with_provenance(Provenance(configuration={"scale": {"prior": prior}}))


def test_a_row_that_its_prior_drives_has_a_star_and_the_caption_says_why(tracks: SimpleNamespace):
    found = with_priors({"e": 5e-4, "M": 1e-5})
    recovery = compare(found, found)
    assert [row[0] for row in parameter_rows(tracks, recovery, found)] == ["A [10⁻⁵]", "e [MeV] *", "M [10⁻⁵/GeV]"]
    caption = front_section(tracks, recovery, found).items[0].caption
    assert caption.endswith("*: e (2 of 2 bins) says more of its prior than of the masses (error above 0.9 of it).")


def test_nothing_has_a_star_without_priors(tracks: SimpleNamespace):
    found = with_priors({})
    recovery = compare(found, found)
    assert not any("*" in row[0] for row in parameter_rows(tracks, recovery, found))
    assert "*" not in front_section(tracks, recovery, found).items[0].caption


def test_the_closure_is_shown_after_the_corrections_and_after_the_table(tracks: SimpleNamespace):
    found = table()
    pictures = [x for x in front_section(tracks, None, found, 2.1).items if isinstance(x, Picture)]
    assert len(pictures) == 3
    assert all("Not in the lower panel, for want of M: Υ(1S)." in picture.caption for picture in pictures[1:])
    assert "times the 2.1 that the release applies" in pictures[2].caption
    everything = replace(tracks.closing[1], resonance="upsilon1s")
    tracks.closing = (everything,)
    pictures = [x for x in front_section(tracks, None, found).items if isinstance(x, Picture)]
    assert not any("lower panel" in picture.caption for picture in pictures)
    assert "release" not in pictures[2].caption


def test_a_group_that_a_release_has_not_has_no_factor():
    model = UncertaintyModel(
        groups=("jpsi_stat",), counts=np.ones(1, dtype=int), factors=np.array([2.1]), w_impact=np.ones(1), sources=("",)
    )
    assert (model.factor("jpsi_stat"), model.factor("psi2s_stat")) == (2.1, 1.0)
