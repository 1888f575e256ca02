"""Samples shared by the tests of the refit."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from mucal.detector import cms_like
from mucal.detector.field import harmonic_field, harmonic_modes, with_modes


def beside(name):
    """A module of this folder, which is no package."""
    spec = spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    module = module_from_spec(spec)
    sys.modules[name] = module  # its dataclasses look their module up
    spec.loader.exec_module(module)
    return module


gaussian_tracks = beside("gaussian_tracks")


@pytest.fixture(scope="session")
def tracker():
    return cms_like()


@pytest.fixture(scope="session")
def magnet():
    """The CMS-like field with the eight modes up to l = 2, at amplitude 0."""
    return with_modes(harmonic_field(), harmonic_modes(2))


@pytest.fixture(scope="session")
def sample(tracker, magnet):
    """Tracks through the whole tracker, hits drawn from the model itself."""
    return gaussian_tracks.gaussian_sample(tracker, magnet, 2000, eta=2.2)


@pytest.fixture(scope="session")
def make_sample():
    return gaussian_tracks.gaussian_sample


@pytest.fixture(scope="session")
def brute_force():
    return gaussian_tracks.brute_force


@pytest.fixture(scope="session")
def kalman():
    """`kalman.smooth`"""
    return beside("kalman").smooth


@pytest.fixture(scope="session")
def linear():
    """The module `linear`."""
    return beside("linear")


@pytest.fixture(scope="session")
def mirror():
    """`mirrored.mirrored`"""
    return beside("mirrored").mirrored


@pytest.fixture(scope="session")
def broken_lines():
    """`broken_lines.fit`"""
    return beside("broken_lines").fit


@pytest.fixture(scope="session")
def dense_pair():
    """`dense_pair.DensePair`"""
    return beside("dense_pair").DensePair
