"""Blinding: estimates shifted by offsets that nobody knows and everybody can make again."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import ndtri

from mucal.errors import ConfigError
from mucal.likelihood.profile_fit import FitResult


def blind(
    result: FitResult,
    *,
    parameters: Sequence[str] | None = None,
    unblind: Sequence[str] = (),
    together: Sequence[Sequence[str]] = (),
    width: float = 5.0,
    key: str = "",
) -> FitResult:
    """The result with hidden offsets added to its estimates; covariance, likelihood and other parameters stay.

    parameters : to be blinded; the parameters of interest by default
    unblind    : those to be shown all the same, each by its full name
    together   : groups that share one offset, so that differences within them can be looked at
    width      : standard deviation of the offsets, in the parameters' unit
    key        : one for each data set, so that the offsets of two are unrelated

    The offset follows from the names of its group and the key alone.  Beta and the expected events are NaN in the
    blinded result: with them the estimates could be worked out.  Raises ConfigError for an unknown name.
    """
    hidden = [name for name in (parameters if parameters is not None else result.pois) if name not in unblind]
    _refuse_unknown(result, [*hidden, *unblind, *(name for group in together for name in group)])
    values = result.values.copy()
    for name in hidden:
        group = next((tuple(sorted(g)) for g in together if name in g), (name,))
        values[result.parameters.index(name)] += width * offset("+".join(group), key)
    if not hidden:
        return result
    unseen = np.full_like(result.expected, np.nan)
    return replace(
        result, values=values, beta=np.full_like(result.beta, np.nan), expected=unseen, blinded=tuple(hidden)
    )


def offset(name: str, key: str = "") -> float:
    """A number from the standard normal distribution that is a function of name and key."""
    digest = hashlib.sha256(f"{key}\0{name}".encode()).digest()
    return float(ndtri((int.from_bytes(digest[:8], "big") + 0.5) / 2**64))


def _refuse_unknown(result: FitResult, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in result.parameters]
    if unknown:
        raise ConfigError(
            f"no parameter '{unknown[0]}' in this fit, so that it cannot be blinded or unblinded",
            kind="config.unknown_parameter",
        )
