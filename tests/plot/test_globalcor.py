import numpy as np
import pytest

from mucal.detector import barrel
from mucal.globalcor import BiasMap, Family, GlobalCorrections, WeakModes, build_registry
from mucal.plot.globalcor import bias_figure, error_figure, overlap_figure, spectrum_figure
from mucal.plot.style import to_svg


@pytest.fixture
def modes():
    rng = np.random.default_rng(1)
    overlaps = rng.uniform(-0.5, 0.5, (6, 3))
    return WeakModes(
        digest="d", eigenvalues=np.array([2.0, 2.1, 5.0, 40.0, 1e3, 1e5]), modes=rng.normal(size=(10, 6)),
        accuracy=np.full(6, 1e-9), templates=("curl", "twist", "uniform field"), overlaps=overlaps,
        explained=np.linalg.norm(overlaps, axis=0).clip(0, 1), alone=np.ones(3), error=np.ones(3),
        prior_error=np.ones(3), leading=("a",) * 6,
    )  # fmt: skip


def test_the_spectrum_shows_eigenvalues_and_what_priors_say(modes):
    figure = spectrum_figure(modes)
    top, bottom = figure.axes
    np.testing.assert_array_equal(top.lines[0].get_ydata(), modes.eigenvalues)
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), [1.0, 2.0 / 2.1, 0.4, 0.05, 2e-3, 2e-5])
    assert "<svg" in to_svg(figure)


def test_overlaps_stand_by_the_names_of_the_templates(modes):
    figure = overlap_figure(modes)
    axes = figure.axes[0]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(modes.templates)
    np.testing.assert_array_equal(axes.images[0].get_array(), np.abs(modes.overlaps.T))
    assert "<svg" in to_svg(figure)


def test_bias_is_shown_for_each_charge_in_units_of_1e_5():
    count = np.ones((2, 3, 2, 1), dtype=np.int64)
    count[0, 0] = 0
    bias = np.full((1, 2, 3, 2, 1), 2e-5)
    bias[:, :, :, 0] = -2e-5
    bias[0, 0, 0] = np.nan
    found = BiasMap(
        names=("curl",), eta_edges=np.array([-1.0, 0.0, 1.0]), phi_edges=np.linspace(-3, 3, 4),
        pt_edges=np.array([4.0, 8.0]), bias=bias, count=count,
    )  # fmt: skip
    figure = bias_figure(found)
    minus, plus = figure.axes[0].patches[:2]
    np.testing.assert_allclose(minus.get_data().values, [-2.0, -2.0])
    np.testing.assert_allclose(plus.get_data().values, [2.0, 2.0])
    assert "<svg" in to_svg(figure)


def test_errors_over_priors_are_shown_by_kind():
    detector = barrel()
    families = (Family(kind="alignment", by="layer"), Family(kind="eloss", by="layer", passive=False))
    registry = build_registry(detector, families)
    p = len(registry)
    found = GlobalCorrections(
        registry=registry, theta=np.zeros(p), step=np.zeros(p), error=0.1 * registry.prior, conditional=np.zeros(p),
        status=np.zeros(p, dtype=np.int64), covariance=np.zeros((0, 0)), factor=np.zeros((p, 0)),
        replicas=np.zeros((0, p)), jackknife=np.zeros(p), probes=np.zeros((0, 0)), chi2_drop=0.0, chi2=0.0, ndof=0.0,
        n_candidates=0, method="dense", residual=0.0, iterations=0,
    )  # fmt: skip
    axes = error_figure(found).axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["alignment", "eloss"]
    for patch, kind in zip(axes.patches, ("alignment", "eloss"), strict=True):
        values, edges = patch.get_data().values, patch.get_data().edges
        at = int(np.argmax(values))
        assert values[at] == registry.of_kind(kind).sum()
        assert edges[at] <= 0.1 * (1 + 1e-9) <= edges[at + 1] * (1 + 1e-6)
