"""The boson's pT that a fit of muons predicts, beside what a fit of the pairs themselves finds: `mucal fit --boson`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.errors import ConfigError
from mucal.likelihood import Channel, Model, Observation, expected_events, fit, observe, toy
from mucal.store import Result
from mucal.templates.config import GENERATED
from mucal.wmass.boson_spectrum import Spectrum, SpectrumTest, compare_spectra, propagate
from mucal.wmass.tensor import MASS
from mucal.workflow.fit import FitOptions, FitRun, fit_config
from mucal.workflow.fit_files import load_fit_input
from mucal.workflow.measurement_table import Grid

PAIR_SEED: Final = 1
"""Added to the seed of a toy: the pairs' counts are their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BosonShares(Result):
    """Shares of the bins of a generated channel.

    channel : of generated bosons
    muons   : as the fit predicts them
    pairs   : as a fit of pairs finds them, and
    test    : whether the two agree; None without pairs
    """

    channel: Channel
    muons: Spectrum
    pairs: Spectrum | None = None
    test: SpectrumTest | None = None


def boson_shares(
    run: FitRun, generated: str | Path, options: FitOptions, pairs: str | Path | None = None
) -> BosonShares:
    """What a finished fit says of the bosons' pT.

    run       : of muons
    generated : templates or a model of generated bosons (`mucal templates --channel boson_z` or `boson_w`)
    options   : of the fit; the pairs are fitted likewise
    pairs     : templates or a model of pairs, whose fit sees the pT itself; pseudo-data are drawn for it with the
                centres of constraints of the run's, data are its file's own

    Raises ConfigError if `generated` is of another channel, or the models share no nuisance.
    """
    bosons = load_fit_input(generated, options.read).model
    channel = bosons.channels[0]
    if channel.name not in GENERATED:
        raise ConfigError(
            f"{generated} holds the channel '{channel.name}', --boson needs {' or '.join(GENERATED)}",
            kind="config.mode",
            do="fill it by `mucal templates --channel boson_z`",
        )
    found = BosonShares(channel=channel, muons=propagate(bosons, run.found.model, run.estimates))
    if pairs is None:
        return found
    direct = _fitted_pairs(run, pairs, bosons, options)
    return replace(found, pairs=direct, test=compare_spectra(found.muons, direct))


def _fitted_pairs(run: FitRun, path: str | Path, bosons: Model, options: FitOptions) -> Spectrum:
    given = load_fit_input(path, options.read)
    still = tuple(name for name in (MASS,) if name in given.model.parameters and not _acts(given.model, name))
    model = replace(given.model, frozen=tuple(dict.fromkeys((*given.model.frozen, *still))))
    data = given.data("") if run.fitted.data == "data" else _pseudo_data(run, model, options)
    config = replace(fit_config(given, options), start={}, frozen=())
    return propagate(bosons, model, fit(model, data, config))


def _pseudo_data(run: FitRun, model: Model, options: FitOptions) -> Observation:
    """Counts of their own, around the same truth; centres of the constraints are those of the run."""
    truth, centre = model.centre.copy(), model.centre.copy()
    place = {name: j for j, name in enumerate(run.found.model.parameters)}
    for j, name in enumerate(model.parameters):
        truth[j] = options.start.get(name, truth[j])
        if name in place and model.precision[j] > 0:
            centre[j] = run.observation.centre[place[name]]
    if options.toy is None:
        return observe(model, expected_events(model, truth), centre=centre)
    rng = np.random.default_rng(options.toy + PAIR_SEED)
    counts = toy(model, rng, truth, centres=False, simulation=False).counts
    return observe(model, counts, centre=centre)


def _acts(model: Model, name: str) -> bool:
    j = int(model.index([name])[0])
    return any(bool(np.any(block.kappa[:, block.columns == j])) for block in model.effects.blocks())


def shares_grid(found: BosonShares) -> Grid:
    """A row for each bin, per mille of all bosons."""
    head: tuple[str, ...] = ("bin", "share", "before", "error", "muons - before", "error")
    if found.pairs is not None:
        head = (*head, "pairs - before", "error")
    rows = []
    prior = np.sqrt(np.diag(found.muons.prior))
    for b in range(found.channel.n_bins):
        before = found.muons.before[b]
        row = [
            found.channel.bin_text(b).split(": ", 1)[1],
            _mille(found.muons.shares[b]),
            _mille(before),
            _mille(prior[b]),
        ]
        for one in (found.muons, found.pairs):
            if one is not None:
                row += [f"{1e3 * (one.shares[b] - before):+.3f}", _mille(one.errors[b])]
        rows.append(tuple(row))
    caption = "Per mille of all bosons, which the fit never saw."
    if found.test is not None:
        caption += (
            f"  Muons against pairs: chi2 {found.test.chi2:.1f} / {found.test.ndof}, p = {found.test.p_value:.3g}."
        )
    return Grid(title="pT of the boson", head=head, rows=tuple(rows), caption=caption)


def shares_plain(found: BosonShares) -> dict[str, Any]:
    """Numbers for scripts."""
    out: dict[str, Any] = {
        "channel": found.channel.name,
        "edges": [list(edges) for edges in found.channel.edges],
        "before": found.muons.before.tolist(),
        "before_error": np.sqrt(np.diag(found.muons.prior)).tolist(),
        "muons": {"share": found.muons.shares.tolist(), "cov": found.muons.cov.tolist()},
    }
    if found.pairs is not None and found.test is not None:
        out["pairs"] = {"share": found.pairs.shares.tolist(), "cov": found.pairs.cov.tolist()}
        out["test"] = {"chi2": found.test.chi2, "ndof": found.test.ndof, "p_value": found.test.p_value}
    return out


def _mille(value: float) -> str:
    return f"{1e3 * value:.3f}"
