"""Theory nuisances: their number, what they do to the boson, and a user's own weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mucal.errors import ConfigError, InputError
from mucal.theory import generator, harmonics, kernels, nuisances, pdf_variations, production, resummation
from mucal.theory.variation import DOWN, UP, log_ratio, symmetrised
from mucal.theory.weight_columns import WeightFamily, weights


@pytest.fixture(scope="module")
def events() -> generator.BosonEvents:
    return generator.generate(production.production("w_minus"), 0, 4096, seed=2)


def test_counts_of_the_published_grouping():
    found = nuisances.counts(nuisances.theory_variations().values())
    assert found == dict(nuisances.COUNTS)
    assert sum(found.values()) == 456


def test_counts_of_a_fit_of_the_z():
    # arXiv:2412.13872: angular 177, pT 22, electroweak 6, constants 2 (m_Z is what is measured)
    found = nuisances.counts(nuisances.select(samples=["z"], without=["mass_z"]))
    assert found == {
        "pdf": 58, "alpha_s": 2, "angular_coefficients": 177, "pt_model": 22, "electroweak": 6, "constants": 2,
    }  # fmt: skip


def test_names_are_unique():
    names = [name for v in nuisances.theory_variations().values() for name in v.nuisances]
    assert len(set(names)) == len(names)


def test_every_weight_is_positive_and_finite(events):
    for v in nuisances.theory_variations().values():
        for side in v.sides:
            w = v.weight(events, side)
            assert np.all(np.isfinite(w)), v.name
            # a coefficient that doubles may leave the physical region; the others may not
            assert v.group == "angular_coefficients" or np.all(w > 0), v.name


def test_a_coefficient_changes_by_its_factor(events):
    v = nuisances.theory_variations()["scale_w_A4_inclusive"]
    w = v.weight(events, UP)
    rate, forward = kernels.rates(events.mass, production.couplings("w_minus"), events.luminosity)
    a = kernels.all_coefficients(events.pt, events.mass, events.rapidity, forward)
    scaled = a * np.where(np.arange(8) == 4, 1 + 0.03 * np.sqrt(0.9), 1.0)
    expected = harmonics.density(scaled, events.cosine, events.angle) / harmonics.density(
        a, events.cosine, events.angle
    )
    assert_allclose(w, expected, rtol=1e-10)
    assert rate.min() >= 0


def test_pt_bins_of_a_coefficient_add_up(events):
    found = nuisances.theory_variations()
    total = sum(found[f"scale_w_A0_pt{b}"].weight(events, UP) - 1 for b in range(10))
    assert_allclose(np.sqrt(0.9) * total, found["scale_w_A0_inclusive"].weight(events, UP) - 1, atol=1e-13)


def test_variations_leave_other_bosons_alone(events):
    found = nuisances.theory_variations()
    for name in ("scale_z_A0_pt3", "np_lambda2_z", "mass_z", "ew_virtual_z"):
        assert_array_equal(found[name].weight(events, UP), 1.0)


def test_resummation_keeps_the_rate(events):
    for v in resummation.pt_variations():
        if v.name.startswith(("resum_", "np_")) and v.name != "resum_h_qqV":
            w = np.average(v.weight(events, UP), weights=events.weight)
            assert_allclose(w, 1.0, atol=2e-3, err_msg=v.name)


def test_prefit_band_of_the_w_pt():
    # 2 to 5 % at the peak, 3 to 10 % above 40 GeV
    pt = np.array([4.0, 5.0, 45.0, 60.0])
    band = np.zeros(pt.size)
    for v in resummation.pt_variations():
        if "w_plus" in v.samples:
            up, down = (np.log(v.terms("w_plus", pt, np.ones(pt.size), side)[:, 0]) for side in (UP, DOWN))
            band += (0.5 * (up - down)) ** 2
    band = np.sqrt(band)
    assert np.all((band[:2] > 0.02) & (band[:2] < 0.05))
    assert np.all((band[2:] > 0.03) & (band[2:] < 0.10))


def test_pt_shapes_are_independent():
    # unit vectors of all shapes in (pT, y) of the three bosons: L and sqrt(L) are alike, but not the same
    pt, y = (a.ravel() for a in np.meshgrid(np.linspace(0.25, 100, 200), np.linspace(0.1, 2.5, 6)))
    rows = []
    for v in resummation.pt_variations():
        logs = [
            np.log(v.terms(s, pt, y, UP)[:, 0]) if s in v.samples else np.zeros(pt.size) for s in production.SAMPLES
        ]
        rows.append(np.concatenate(logs))
    unit = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.linalg.cond(unit @ unit.T) < 1e7


def test_pdf_band_of_rate_and_shape():
    y = slice(0, 50)
    for sample in production.SAMPLES:
        logs = np.log([pdf_variations.ratios(sample, pdf_variations.varied_density(v))[0][y]
                       for v in pdf_variations.eigenvectors()])  # fmt: skip
        mean = logs.mean(axis=1, keepdims=True)
        assert 0.02 < np.linalg.norm(mean) < 0.035
        # root mean square over |y| < 2.5: 0.5 to 1.5 %
        assert 0.005 < np.sqrt(np.mean(np.sum((logs - mean) ** 2, axis=0))) < 0.015


def test_eigenvectors_are_orthogonal():
    v = pdf_variations.eigenvectors()
    gram = v @ v.T
    assert_allclose(gram, gram[0, 0] * np.eye(29), atol=1e-10 * gram[0, 0])


def test_quadratic_symmetrisation_by_hand():
    # ln 1.03 and ln 0.98: average 0.0248806, difference sqrt(3)/2 * 0.0093561 = 0.0081026
    up, down = log_ratio(np.array([103.0]), np.array([100.0])), log_ratio(np.array([98.0]), np.array([100.0]))
    average, difference = symmetrised(up, down, "pair")
    assert_allclose(average, 0.02488076, atol=1e-7)
    assert_allclose(difference, 0.00810254, atol=1e-7)
    assert_allclose(symmetrised(up, down, "larger")[0], np.log(1.03))


def test_columns_of_weights_by_a_map():
    columns = {"LHEPdfWeight": np.array([[2.0, 2.2, 1.8, 2.1, 1.9]]), "scale": np.array([40.0])}
    families = (
        WeightFamily(name="pdf", column="LHEPdfWeight", first=1, count=4, kind="asym_hessian", central=0),
        WeightFamily(name="mu", column="scale"),
    )
    found, clipped = weights(families, columns)
    assert_allclose(found, [[1.1, 0.9, 1.05, 0.95, 10.0]])
    assert clipped == 1
    assert families[0].names == ("pdf_0", "pdf_1")
    assert families[1].names == ("mu",)


def test_missing_and_short_columns_are_refused():
    family = WeightFamily(name="pdf", column="LHEPdfWeight", count=4)
    with pytest.raises(InputError, match="LHEPdfWeight"):
        weights([family], {"LHEPdfWeights": np.ones((1, 4))})
    with pytest.raises(InputError, match="needs 4"):
        weights([family], {"LHEPdfWeight": np.ones((1, 3))})
    with pytest.raises(ConfigError, match="pairs"):
        WeightFamily(name="pdf", column="x", count=3, kind="asym_hessian")
