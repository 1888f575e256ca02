import numpy as np
import pytest

from mucal.massfit import MassHistograms, window_warnings


def peak_at(mass: float, low: float, high: float) -> MassHistograms:
    edges = np.linspace(low, high, 81)
    middle = 0.5 * (edges[1:] + edges[:-1])
    counts = np.round(1000 * np.exp(-0.5 * ((middle - mass) / 0.035) ** 2) + 20)[None, :]
    return MassHistograms(
        eta_edges=np.array([-2.4, 2.4]),
        pt_edges=np.array([3.0, 30.0]),
        mass_edges=edges,
        abs_eta=False,
        index=np.zeros((1, 4), dtype=np.int64),
        counts=counts,
        sums=np.zeros((1, 2, 5)),
    )


def test_the_usual_window_is_silent():
    assert window_warnings(peak_at(3.094, 2.9, 3.3), "jpsi") == ()


@pytest.mark.parametrize(("low", "high", "side"), [(3.08, 3.48, "lower"), (2.72, 3.12, "upper")])
def test_a_peak_at_the_edge_is_named_with_a_centred_window(low: float, high: float, side: str):
    found = window_warnings(peak_at(3.095, low, high), "jpsi")[-1]
    assert f"at the {side} edge" in found
    suggested = [float(word) for word in found.split("use ")[1].split() if word[0].isdigit()]
    assert np.mean(suggested) == pytest.approx(3.095, abs=0.0125)  # half of five mass bins of 5 MeV
    assert window_warnings(peak_at(3.095, *suggested), "jpsi") == ()


def test_an_asymmetric_window_is_named_with_a_symmetric_one():
    (found,) = window_warnings(peak_at(3.095, 2.9, 3.5), "jpsi")
    assert found == (
        "the mass window 2.9 to 3.5 GeV reaches 0.197 GeV below jpsi and 0.403 GeV above: the background is "
        "measured on one side; use 2.694 to 3.500 GeV"
    )


def test_a_window_without_the_resonance_is_named():
    (found,) = window_warnings(peak_at(3.69, 3.4, 4.0), "jpsi")
    assert "does not hold jpsi at 3.0969 GeV" in found


def test_one_high_bin_is_not_taken_for_the_peak():
    histograms = peak_at(3.095, 2.9, 3.3)
    histograms.counts[0, 0] = 1500
    assert window_warnings(histograms, "jpsi") == ()
