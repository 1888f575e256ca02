"""Propagation and covariance transport against ACTS (pyacts), in a uniform field.

ACTS works in mm and (u, v, phi, theta, q/p); its matrices can only be read, so the start covariance is the identity and
the end covariance is J J^T.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mucal.detector.field import uniform_field
from mucal.propagation import free_states, planes, propagate

pytestmark = pytest.mark.oracle

acts = pytest.importorskip("acts")
DISTANCE = 100.0
AXES = np.array([[0.0, 1, 0], [0, 0, 1], [1, 0, 0]])


def by_acts(phi: float, theta: float, qop: float, tesla: float) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (u, v in cm, phi, theta, q/p) and covariance (mm) on the plane x = DISTANCE."""
    u = acts.UnitConstants
    geometry, magnetic = acts.GeometryContext.dangerouslyDefaultConstruct(), acts.MagneticFieldContext()
    stepper = acts.EigenVoidPropagator(
        acts.EigenStepper(acts.ConstantBField(acts.Vector3(0, 0, tesla * u.T))), acts.VoidNavigator()
    )
    start = acts.BoundTrackParameters.createCurvilinear(
        acts.Vector4(0, 0, 0, 0), phi, theta, qop / u.GeV, acts.BoundMatrix.Identity(), acts.ParticleHypothesis.muon
    )
    axes = acts.RotationMatrix3(*(acts.Vector3(*row) for row in AXES))
    centre = acts.Transform3(acts.Vector3(10 * DISTANCE, 0, 0), axes)
    plane = acts.Surface.createPlane(centre, acts.RectangleBounds(1e4, 1e4))
    end = stepper.propagateToSurface(start, plane, acts.PropagatorPlainOptions(geometry, magnetic))
    parameters = np.array([end.parameters[i] for i in range(5)])
    covariance = np.array([[end.covariance[i, j] for j in range(5)] for i in range(5)])
    return parameters * [0.1, 0.1, 1, 1, 1], covariance


def by_mucal(phi: float, theta: float, qop: float, tesla: float) -> tuple[np.ndarray, np.ndarray]:
    """The same, with the Jacobian turned into ACTS's coordinates at both ends."""
    y = free_states(np.array([[qop, np.pi / 2 - theta, phi, 0, 0]]), np.zeros(3))
    surface = planes(np.array([[DISTANCE, 0, 0]]), AXES[None])
    legs = propagate(uniform_field(tesla), surface, y, np.array([0]))
    q, us, vs, u, v = legs.local[0, 0]
    t = legs.free[0, 0, 3:6]
    n2, n3 = 1 + us**2, 1 + us**2 + vs**2
    to_end = np.zeros((5, 5))
    to_end[0, 3] = to_end[1, 4] = 10.0
    to_end[2, 1] = 1 / n2  # phi = atan u'
    to_end[3, 1], to_end[3, 2] = vs * us / np.sqrt(n2) / n3, -np.sqrt(n2) / n3  # theta = pi/2 - atan(v'/sqrt(1+u'^2))
    to_end[4, 0] = 1.0
    to_start = np.zeros((5, 5))  # by (loc0, loc1, phi, theta, q/p) of (q/p, lambda, phi, x_perp, y_perp)
    to_start[0, 4], to_start[1, 3], to_start[2, 2], to_start[3, 0], to_start[4, 1] = 1, -1, 1, 0.1, 0.1
    j = to_end @ legs.transport[0, 0] @ to_start
    return np.array([u, v, np.arctan2(t[1], t[0]), np.arccos(t[2]), q]), j @ j.T


@pytest.mark.parametrize("charge", [-1, 1])
@pytest.mark.parametrize(("p", "phi", "theta"), [(2.0, 0.3, 1.2), (10.0, -0.2, 1.9), (45.0, 0.1, 0.9)])
def test_a_muon_and_its_covariance_arrive_as_in_acts(charge: int, p: float, phi: float, theta: float) -> None:
    ours, our_covariance = by_mucal(phi, theta, charge / p, 3.8)
    theirs, their_covariance = by_acts(phi, theta, charge / p, 3.8)
    # ours is the closed helix; ACTS steps adaptively to its tolerance of 1e-4 mm
    assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    scale = np.sqrt(np.outer(np.diag(their_covariance), np.diag(their_covariance)))
    assert np.all(np.abs(our_covariance - their_covariance) < 1e-5 * scale)
