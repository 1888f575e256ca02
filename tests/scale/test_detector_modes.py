"""The uncertainty of field, losses and alignment as modes of A, e and M."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.calibration import CalibrationConfig, assemble
from mucal.detector import barrel
from mucal.errors import InputError
from mucal.globalcor import Family, GlobalCorrections, ReferenceDerivatives, build_registry
from mucal.scale import ScaleTable
from mucal.scale.detector_modes import curvature_errors, propagate

EDGES = np.array([-0.9, 0.0, 0.9])
FIELD, LOSS, SAGITTA = 0, 1, 2


@pytest.fixture(scope="module")
def registry():
    return build_registry(
        barrel(),
        (Family(kind="bfield", by="layer", components=("z",), passive=False),),
    )


def corrections(registry, covariance: np.ndarray) -> GlobalCorrections:
    """The first three parameters are known with this covariance, the others exactly."""
    p = len(registry)
    full = np.zeros((p, p))
    full[:3, :3] = covariance
    error = np.sqrt(np.diag(full))
    free = error > 0
    zero = np.zeros(p)
    return GlobalCorrections(
        registry=registry, theta=zero, step=zero, error=error, conditional=error,
        status=np.where(free, 0, 3).astype(np.int64), covariance=full[np.ix_(free, free)], factor=np.zeros((p, 0)),
        replicas=np.zeros((0, p)), jackknife=np.full(p, np.nan), probes=np.zeros((0, 0)), chi2_drop=0.0, chi2=1.0,
        ndof=1.0, n_candidates=1, method="dense", residual=0.0, iterations=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tracks(registry) -> tuple[ReferenceDerivatives, np.ndarray]:
    """Muons of 4 to 25 GeV, whose delta k/k is a unit of A, of -e k and of q M/k by parameters 0, 1 and 2."""
    rng = np.random.default_rng(2)
    n = 400
    pt, eta, charge = rng.uniform(4, 25, n), rng.uniform(-0.9, 0.9, n), rng.choice([-1.0, 1.0], n)
    lam = np.arctan(np.sinh(eta))
    state = np.stack([charge * np.cos(lam) / pt, lam, np.zeros(n)], axis=1)
    values = np.zeros((n, 3, 3))
    # of q/p: (q/p) times delta k/k
    values[:, FIELD, 0] = state[:, 0]
    values[:, LOSS, 0] = -state[:, 0] / pt
    values[:, SAGITTA, 0] = state[:, 0] * charge * pt
    derivatives = ReferenceDerivatives(
        digest=registry.map.digest, offsets=np.arange(0, 3 * n + 1, 3), label=np.tile(np.arange(3), n),
        values=values.reshape(-1, 3),
    )  # fmt: skip
    return derivatives, state


@pytest.mark.parametrize(("symbol", "error"), [(FIELD, 3e-5), (LOSS, 2e-4), (SAGITTA, 1e-6)])
def test_a_field_like_a_loss_like_and_a_sagitta_like_mode(registry, tracks, symbol: int, error: float):
    derivatives, state = tracks
    variance = np.zeros(3)
    variance[symbol] = error**2
    found = propagate(corrections(registry, np.diag(variance)), derivatives, state, EDGES)
    assert found.variations.shape == (1, 3, 2)  # one mode, equal in both bins
    assert_allclose(np.abs(found.variations[0, symbol]), error, rtol=1e-6)
    others = np.delete(found.variations[0], symbol, axis=0)
    assert np.abs(others).max() < 1e-4 * error  # float32 derivatives
    assert found.residual.max() < 1e-9


def test_the_covariance_is_that_of_the_parameters_carried_over(registry, tracks):
    derivatives, state = tracks
    root = np.array([[3e-5, 0, 0], [1e-4, 1.5e-4, 0], [0, 5e-7, 8e-7]])
    cov = root @ root.T
    found = propagate(corrections(registry, cov), derivatives, state, EDGES).cov
    units = np.sqrt(np.diag(cov))
    # parameter-major: A of both bins, e, M
    assert_allclose(found[::2, ::2] / np.outer(units, units), cov / np.outer(units, units), atol=1e-6)
    assert_allclose(found[::2, 1::2] / np.outer(units, units), cov / np.outer(units, units), atol=1e-6)


def test_modes_name_their_parameters(registry, tracks):
    derivatives, state = tracks
    found = propagate(corrections(registry, np.diag([1e-8, 0.0, 0.0])), derivatives, state, EDGES)
    assert found.leading[0].startswith(f"{registry.names[0]} (100%)")


def test_what_three_numbers_cannot_describe_is_reported(registry, tracks):
    derivatives, state = tracks
    values = derivatives.values.copy()
    pt = np.cos(state[:, 1]) / np.abs(state[:, 0])
    values[0::3, 0] *= pt**2 / 100.0  # a shift that grows as pT squared
    other = ReferenceDerivatives(
        digest=derivatives.digest, offsets=derivatives.offsets, label=derivatives.label, values=values
    )
    found = propagate(corrections(registry, np.diag([1e-10, 0.0, 0.0])), other, state, EDGES)
    assert found.residual.max() > 1e-7


def selected(derivatives: ReferenceDerivatives, rows: np.ndarray) -> ReferenceDerivatives:
    return ReferenceDerivatives(
        digest=derivatives.digest, offsets=np.arange(0, 3 * rows.size + 1, 3), label=np.tile(np.arange(3), rows.size),
        values=derivatives.values.reshape(-1, 3, 3)[rows].reshape(-1, 3),
    )  # fmt: skip


def test_tracks_of_one_momentum_are_refused(registry, tracks):
    # A and -e k are then one column, whatever the charges
    derivatives, state = tracks
    same = state.copy()
    same[:, 0] = np.sign(state[:, 0]) * np.cos(same[:, 1]) / 10.0
    with pytest.raises(ValueError, match="give tracks of several momenta"):
        propagate(corrections(registry, np.diag([1e-10, 0.0, 0.0])), derivatives, same, EDGES)


def test_tracks_of_one_charge_and_several_momenta_are_enough(registry, tracks):
    # 1, k and 1/k are three functions; without noise the answer is that of both charges
    derivatives, state = tracks
    plus = np.flatnonzero(state[:, 0] > 0)
    known = corrections(registry, np.diag([9e-10, 4e-8, 1e-12]))
    both = propagate(known, derivatives, state, EDGES)
    one = propagate(known, selected(derivatives, plus), state[plus], EDGES)
    error = np.sqrt(np.diag(both.cov))
    assert_allclose(one.cov / np.outer(error, error), both.cov / np.outer(error, error), atol=1e-4)


def test_tracks_outside_the_edges_do_not_count(registry, tracks):
    derivatives, state = tracks
    values = derivatives.values.copy()
    values[0::3, 0] *= (np.cos(state[:, 1]) / np.abs(state[:, 0])) ** 2 / 100.0  # A, e and M leave something of it
    other = replace(derivatives, values=values)
    inner = np.array([-0.3, 0.3])
    inside = np.flatnonzero(np.abs(np.arcsinh(np.tan(state[:, 1]))) < 0.3)
    known = corrections(registry, np.diag([1e-10, 0.0, 0.0]))
    found, alone = (
        propagate(known, other, state, inner),
        propagate(known, selected(other, inside), state[inside], inner),
    )
    assert_allclose(found.residual, alone.residual, rtol=1e-12)
    assert found.residual.max() > 1e-7


def test_corrections_without_errors_are_refused(registry, tracks):
    derivatives, state = tracks
    with pytest.raises(InputError, match="neither a covariance nor replicas nor a factor"):
        propagate(corrections(registry, np.zeros((3, 3))), derivatives, state, EDGES)


def test_modes_of_the_detector_take_the_place_of_the_statistics(registry, tracks):
    derivatives, state = tracks
    modes = propagate(corrections(registry, np.diag([9e-10, 4e-8, 1e-12])), derivatives, state, EDGES)
    table = ScaleTable(
        eta_edges=EDGES, A=np.zeros(2), e=np.zeros(2), M=np.zeros(2), cov=np.diag(np.repeat([1e-8, 1e-7, 1e-11], 2)),
        pt_range=(4.0, 60.0), resonance="jpsi",
    )  # fmt: skip
    config = CalibrationConfig(pt_definition="refit", scale_factor=2.1)
    cal = assemble(table, None, None, config, detector=modes)
    assert cal.groups == ("detector",) * 3 + ("reference_mass",)
    assert cal.factors["detector"] == 1.0  # the factor is that of the statistics
    assert registry.names[0] in "".join(cal.sources)
    up, down = cal.vary(40.0, 0.5, 0.0, 1, "detector_000")
    assert up != down
    assert_allclose(curvature_errors(modes.cov, 8.0)[0], np.sqrt(9e-10 + 4e-8 / 64), rtol=1e-6)
    assert_allclose(curvature_errors(table.cov, 8.0)[0], np.sqrt(1e-8 + 1e-7 / 64), rtol=1e-12)


def test_errors_of_the_curvature_by_hand():
    # one bin, A and e fully correlated: A - e/10 GeV = 3e-5 - 1e-5; M pT = 1e-6 x 10
    A, e, M = 3e-5, 1e-4, 1e-6
    cov = np.array([[A * A, A * e, 0], [A * e, e * e, 0], [0, 0, M * M]])
    even, odd = curvature_errors(cov, 10.0)
    assert_allclose(even, 2e-5, rtol=1e-9)
    assert_allclose(odd, 1e-5, rtol=1e-12)
