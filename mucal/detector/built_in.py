"""The detectors that have a name."""

from collections.abc import Callable, Mapping
from typing import Final

from mucal.detector.barrel import barrel
from mucal.detector.cms_like import cms_like
from mucal.detector.table import Detector

BUILT_IN: Final[Mapping[str, Callable[[], Detector]]] = {"cms-like": cms_like, "barrel": barrel}
