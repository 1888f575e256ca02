"""Two releases of one calibration: whether their bytes are the same, and if not, how far their numbers are apart.

The same inputs on the same machine give the same bytes.  Another processor may round the last digit of a sum or of an
exponential differently; then the numbers tell: each is compared in units of its own standard error.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.arrays import FloatArray, same_edges
from mucal.calibration.manifest import COMMIT, OWN_DIGEST, TABLES, read_manifest, verify_bundle
from mucal.calibration.product import Calibration
from mucal.errors import VerificationError

TOLERANCE: Final = 1e-6
"""Of a standard error: far above what rounding does to the numbers, far below anything that a user could see."""
PLAIN: Final = (
    "parameter_names", "names", "groups", "kinds", "pixels_in_nominal", "resonance",
    "reference_mass", "reference_mass_error", "pdg_edition", "pt_range", "eta_range", "pt_definition", "era",
    "description",
)  # fmt: skip
NUMBER: Final = re.compile(r"(?<![\w.])[-+]?\d+(\.\d*)?(e[-+]?\d+)?(?!\w)")
"""In a sentence: a word with digits, as "upsilon1s" or "chi2", is none."""
TABLES_AND_PARAMETERS: Final = {
    "scale": ("A", "e", "M"), "resolution_data": ("a", "b", "c"), "resolution_mc": ("a", "b", "c"),
    "closure": ("A", "M"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What two releases have in common.

    files   : name -> whether the bytes are the same, of the files that both have
    single  : files that only one has, as a page that was attached
    origins : "versions.numpy: 2.3.5, 2.4.0" and the like, entries of the manifests that differ
    meaning : what is not a matter of rounding: other names, bins, ranges, tables
    apart   : table or covariance -> largest difference, in standard errors
    """

    files: Mapping[str, bool]
    single: tuple[str, ...]
    origins: tuple[str, ...]
    meaning: tuple[str, ...]
    apart: Mapping[str, float]

    @property
    def same_bytes(self) -> bool:
        """Whether the files that both have are the same, byte for byte."""
        return all(self.files.values())

    @property
    def largest(self) -> float:
        """Largest difference of any number, in standard errors; infinite if the two do not mean the same."""
        return float("inf") if self.meaning else max(self.apart.values(), default=0.0)

    def lines(self) -> list[str]:
        """What differs, for people."""
        if self.same_bytes:
            only = f"; only one has {', '.join(self.single)}" if self.single else ""
            return [f"the same bytes in all {len(self.files)} files of both{only}"]
        found = [f"other bytes: {', '.join(name for name, same in self.files.items() if not same)}"]
        found += [f"other origin: {line}" for line in self.origins]
        found += [f"other meaning: {line}" for line in self.meaning]
        return found + [f"{name:<24} {size:.2g} standard errors apart" for name, size in self.apart.items()]

    def require(self, tolerance: float = TOLERANCE) -> None:
        """Raises VerificationError that says what differs by more than `tolerance` standard errors."""
        if self.same_bytes or self.largest <= tolerance:
            return
        worst = self.meaning or [f"{n} by {s:.2g} standard errors" for n, s in self.apart.items() if not s <= tolerance]
        raise VerificationError(
            f"the two calibrations differ: {'; '.join(worst)}",
            kind="verify.agreement",
            where={"allowed": f"{tolerance:g} standard errors", **dict(zip(("origin",), self.origins, strict=False))},
            do="make the older one again, if the change is meant",
        )


def compare_releases(first: str | Path, second: str | Path) -> Agreement:
    """Compare two folders that hold released calibrations.

    Raises InputError for what is no release, VerificationError for a damaged one.
    """
    manifests: list[dict[str, Any]] = []
    for folder in (first, second):
        verify_bundle(folder).require_whole()
        manifests.append(read_manifest(folder))
    one, other = ({name: entry["sha256"] for name, entry in manifest["files"].items()} for manifest in manifests)
    same = {name: one[name] == other[name] for name in sorted(one.keys() & other.keys())}
    same["manifest.json"] = _without_digests(manifests[0]) == _without_digests(manifests[1])
    meaning, apart = compare_calibrations(*(Calibration.load(Path(folder) / TABLES) for folder in (first, second)))
    return Agreement(
        files=same,
        single=tuple(sorted(one.keys() ^ other.keys())),
        origins=tuple(_origins(manifests[0], manifests[1])),
        meaning=meaning,
        apart=apart,
    )


def compare_calibrations(first: Calibration, second: Calibration) -> tuple[tuple[str, ...], dict[str, float]]:
    """What differs in meaning, and how far the numbers of each table are apart in standard errors."""
    meaning = [f"{name} is not the same" for name in PLAIN if getattr(first, name) != getattr(second, name)]
    if _sentences(first) != _sentences(second):
        meaning.append("sources is not the same")
    apart: dict[str, float] = {}
    for name, symbols in TABLES_AND_PARAMETERS.items():
        one, other = getattr(first, name), getattr(second, name)
        if (one is None) != (other is None) or (one is not None and not _same_bins(one, other)):
            meaning.append(f"{name} has other bins or is there only once")
        elif one is not None:
            errors = np.sqrt(np.diag(one.cov))
            values, others = (np.concatenate([getattr(table, s) for s in symbols]) for table in (one, other))
            apart[name] = _furthest(values, others, errors)
            apart[f"{name} covariance"] = _furthest(one.cov, other.cov, np.outer(errors, errors))
    if first.pixels is not None and second.pixels is not None and _same_bins(first.pixels, second.pixels):
        counts, others = (np.stack([p.data, p.data_zero, p.mc, p.mc_zero]) for p in (first.pixels, second.pixels))
        apart["pixels"] = _furthest(counts, others, np.sqrt(counts))
    elif first.pixels is not second.pixels:
        meaning.append("pixels has other bins or is there only once")
    for name in ("scale_variations", "resolution_variations", "pixel_variations"):
        one, other = getattr(first, name), getattr(second, name)
        if one.shape != other.shape:
            meaning.append(f"{name} has shape {one.shape}, {other.shape}")
        elif one.size:
            # what all nuisances together do to a parameter is its error, factors included
            total = np.sqrt((one**2).sum(axis=0))
            apart[name] = _furthest(one, other, np.broadcast_to(total, one.shape))
    if first.factors.keys() != second.factors.keys():
        meaning.append("factors are those of other groups")
    else:
        # a factor scales errors, so that its relative difference is one in standard errors
        values, others = (np.array([table.factors[group] for group in first.factors]) for table in (first, second))
        apart["factors"] = _furthest(values, others, np.abs(values))
    return tuple(meaning), apart


def _without_digests(manifest: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in manifest.items() if key not in ("files", OWN_DIGEST, COMMIT)}


def _sentences(calibration: Calibration) -> list[str]:
    """The sources without their numbers, which are computed: what they come from is compared by itself."""
    return [NUMBER.sub("#", source) for source in calibration.sources]


def _same_bins(one: Any, other: Any) -> bool:
    return same_edges(one.eta_edges, other.eta_edges)


def _furthest(one: FloatArray, other: FloatArray, errors: FloatArray) -> float:
    """Largest difference in units of the errors; what has no error must be the same."""
    difference = np.abs(one - other)
    fixed = errors == 0
    if np.any(difference[fixed] > 0) or not np.all(np.isfinite(difference)):
        return float("inf")
    return float(np.max(difference[~fixed] / errors[~fixed], initial=0.0))


def _origins(one: Mapping[str, Any], other: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Entries of where two releases come from that differ, digests and tables left out."""
    if not prefix:
        keys = ("mucal", "versions", "provenance")
        return [line for key in keys for line in _origins({key: one.get(key)}, {key: other.get(key)}, " ")]
    found: list[str] = []
    for key in sorted({*one, *other}):
        a, b, name = one.get(key), other.get(key), f"{prefix}{key}"
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += _origins(a, b, f"{name}.")
        elif a != b:
            found.append(f"{name.strip()}: {a}, {b}")
    return found
