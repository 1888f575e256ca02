"""The closure from hits: pairs through a distorted detector, refitted, corrected, and refitted again."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from mucal.arrays import BoolArray, FloatArray
from mucal.detector import Detector
from mucal.errors import InputError, VerificationError
from mucal.globalcor import (
    AccumulateConfig,
    BiasMap,
    GlobalCorrections,
    InjectedParameters,
    NormalEquations,
    ProbeBias,
    Refit,
    WeakModes,
    accumulate,
    solve,
    templates,
    weak_modes,
)
from mucal.refit import MassReference, PairSelection, derive_mass_reference, window_shift
from mucal.simulation import MuonGeneration, stream_muons
from mucal.store import verify
from mucal.workflow.closing_pairs import ClosingPairs, closing_pairs
from mucal.workflow.hit_sums import HitBlocks, curvatures, pair_masses, same_at_all_momenta
from mucal.workflow.mode_maps import mode_bias
from mucal.workflow.probes import probe_bias
from mucal.workflow.progress import Event, Tell
from mucal.workflow.recorded_pairs import CHUNK, hits_of, n_pieces, refitted
from mucal.workflow.refitted_pairs import Collector, RefittedPairs
from mucal.workflow.stages import PARTIAL, Folder, digest
from mucal.workflow.threads import current
from mucal.workflow.tracks_config import Tracked
from mucal.workflow.true_detector import true_detector, true_parameters
from mucal.workflow.w_muons import WSample, w_muons

SHOWING: Final = ("closing", "w_muons", "momenta", "probes", "weak_modes", "trigger_pt")
"""Keys of the section that change nothing of the corrections."""
FOR_MODES: Final = 1_500
"""Muons at each momentum that show what the soft modes do."""
FAR: Final = 8.0
"""Standard deviations beyond the window, from which noise brings no pair in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedChain:
    """What the stages before the mass fits found.

    corrections   : of the last iteration
    before, after : pairs refitted on the assumed detector, and with all corrections
    simulation    : pairs of the assumed detector
    keys          : of the stages that made `after` and `simulation`
    reference     : the mass that was assumed
    probes        : bias of momenta, before and after
    injected      : what a perfect solve would find
    closing       : pairs of the resonances that took no part
    w             : muons of W, if there are any
    modes         : the softest modes of the last sums, and what they do to momenta; None if none were asked for
    """

    corrections: GlobalCorrections
    before: RefittedPairs
    after: RefittedPairs
    simulation: RefittedPairs
    keys: tuple[str, str]
    reference: MassReference
    probes: ProbeBias
    injected: InjectedParameters
    closing: tuple[ClosingPairs, ...]
    w: WSample | None
    modes: tuple[WeakModes, BiasMap] | None


def track(config: Tracked, folder: Folder, detector: Detector, plain: Mapping[str, Any], tell: Tell) -> TrackedChain:
    """All stages from generated hits to refitted pairs with corrections; each is saved in the folder.

    detector : as it is assumed to be
    plain    : the section as plain values: what the stages are made from
    """
    config = replace(config, refit=replace(config.refit, n_threads=current()))
    registry = config.registry(detector)
    true = true_detector(config, detector, registry)
    selection = config.selection
    start = Refit(
        detector=detector, registry=registry, config=config.refit, selection=selection,
        mass=MassReference.constant(sum(selection.window) / 2, (selection.window[1] - selection.window[0]) / 10),
    )  # fmt: skip
    made_from = {
        "tracks": {k: v for k, v in plain.items() if k not in SHOWING}, "registry": registry.digest,
        "inputs": dict(folder.base.inputs),
    }  # fmt: skip
    simulation, of_simulation = folder.once(
        "stages/simulation_pairs.h5", RefittedPairs, made_from,
        lambda: refitted(config.sample(of_data=False), start, detector, tell=tell, stage="simulation"),
    )  # fmt: skip
    for name, ledger in simulation.provenance.ledgers.items():
        tell(Event(stage=f"simulation {name}", text=ledger.line()))
    reference, key = folder.once(
        "stages/reference.h5", MassReference, {**made_from, "simulation": of_simulation},
        lambda: reference_of(config, simulation),
    )  # fmt: skip
    mean, width = reference.m_ref[0], reference.gamma[0]
    error = reference.common_error
    tell(Event(stage="reference", text=f"mean mass {mean:.5f} +- {error:.5f} GeV, width {1e3 * width:.2f} MeV"))
    selected = simulation.selected == 1
    tell(Event(
        stage="reference", text=same_at_all_momenta(simulation.mass_gen[selected], simulation.k_gen[selected])
    ))  # fmt: skip
    refit = replace(start, mass=reference, registry=registry.with_mass_error(reference.common_error))
    before: RefittedPairs | None = None
    for number in range(config.iterations):
        step = _iteration(config, folder, refit, true, number, {**made_from, "last": key}, tell)
        corrections, key, before = step.corrections, step.key, before or step.pairs
        refit = replace(refit, theta=corrections.theta)
    shutil.rmtree(folder.path / PARTIAL, ignore_errors=True)  # of other configurations
    assert before is not None
    modes = _modes(config, folder, step.equations, replace(refit, mass=None, theta=start.theta), key, made_from)
    after, of_after = folder.once(
        "stages/pairs_after.h5", RefittedPairs, {**made_from, "last": key},
        lambda: refitted(config.sample(of_data=True), replace(refit, mass=None), true, tell=tell, stage="refit"),
    )  # fmt: skip
    probes, _ = folder.once(
        "stages/probes.h5", ProbeBias, {**made_from, "last": key, "probes": [config.momenta, config.probes]},
        lambda: probe_bias(
            true, replace(refit, theta=start.theta), corrections, momenta=config.momenta, n=config.probes,
            eta_max=config.eta_max,
        ),
    )  # fmt: skip
    closing = tuple(
        closing_pairs(config, i, folder, replace(refit, mass=None), true, corrections, {**made_from, "last": key}, tell)
        for i in range(len(config.closing))
    )
    w = None
    if config.w_muons:
        w, _ = folder.once(
            "stages/w_muons.h5", WSample, {**made_from, "last": key, "w_muons": config.w_muons},
            lambda: w_muons(config, replace(refit, mass=None), true, corrections, tell),
        )  # fmt: skip
    return TrackedChain(
        corrections=corrections, before=before, after=after, simulation=simulation, keys=(of_after, of_simulation),
        reference=reference, probes=probes,
        injected=InjectedParameters(registry=registry, theta=true_parameters(config, detector, registry)),
        closing=closing, w=w, modes=modes,
    )  # fmt: skip


def _modes(
    config: Tracked, folder: Folder, equations: NormalEquations, refit: Refit, key: str, made_from: Mapping[str, Any]
) -> tuple[WeakModes, BiasMap] | None:
    """The softest modes, with the bias of momenta that one standard deviation of each gives.

    refit : of single tracks, on the assumed detector
    """
    if not config.weak_modes:
        return None
    patterns = templates(refit.registry, refit.detector)
    soft, key = folder.once(
        "stages/weak_modes.h5", WeakModes, {**made_from, "last": key, "modes": config.weak_modes},
        lambda: weak_modes(equations, refit.registry, patterns, config.weak_modes, config.solve),
    )  # fmt: skip
    momenta = tuple(sorted(config.momenta))
    shown = {"last": key, "momenta": momenta, "muons": FOR_MODES}
    bias, _ = folder.once(
        "stages/mode_bias.h5", BiasMap, shown, lambda: mode_bias(soft, patterns, refit, momenta, n=FOR_MODES)
    )
    return soft, bias


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    corrections: GlobalCorrections
    key: str
    pairs: RefittedPairs | None
    equations: NormalEquations


def _iteration(
    config: Tracked, folder: Folder, refit: Refit, true: Detector, number: int, made_from: Mapping[str, Any], tell: Tell
) -> _Step:
    """One refit, sum and solve; the pairs of the first refit are kept, those on the assumed detector."""
    collector = Collector()
    sample = config.sample(of_data=True)
    pieces = n_pieces(sample)
    fingerprint = digest(made_from)
    partial_sums = folder.path / PARTIAL / f"{number}_{fingerprint[:16]}"

    def sums() -> NormalEquations:
        """The sums of all candidates, kept chunk by chunk."""
        blocks = HitBlocks(
            stream=lambda: hits_of(sample, true, config.refit.n_threads), n_chunks=pieces, rows=2 * CHUNK, refit=refit,
            seen=collector,
        )  # fmt: skip
        chunks = blocks.chunks()
        if not folder.resume or not _whole(partial_sums):
            shutil.rmtree(partial_sums, ignore_errors=True)
        found = accumulate(
            blocks, chunks, refit.registry, AccumulateConfig(n_threads=config.refit.n_threads, every=1),
            checkpoints=partial_sums, inputs={"stage": fingerprint},
            tell=lambda made: tell(
                Event(stage=f"refit {number + 1}", done=made.chunk.number + 1, total=len(chunks), unit="chunks")
            ),
        )  # fmt: skip
        if found.failed:
            raise InputError(
                f"{len(found.failed)} of {len(chunks)} chunks of refit {number + 1} failed, first {found.failed[0]}",
                kind="refit.failed",
            )
        return found

    def pairs() -> RefittedPairs:
        if len(collector.parts) == pieces:
            return collector.result()
        return refitted(sample, refit, true, tell=tell, stage="refit")

    equations, key = folder.once(f"stages/sums_{number}.h5", NormalEquations, made_from, sums)
    shutil.rmtree(partial_sums, ignore_errors=True)
    tell(Event(stage=f"sums {number + 1}", text=equations.ledger.line()))
    kept = None
    if number == 0:
        kept, _ = folder.once("stages/pairs_before.h5", RefittedPairs, {**made_from, "sums": key}, pairs)
    applied = refit.theta if refit.theta.size else None
    corrections, key = folder.once(
        f"stages/corrections_{number}.h5", GlobalCorrections, {**made_from, "sums": key},
        lambda: solve(equations, refit.registry, config.solve, applied=applied),
    )  # fmt: skip
    for line in corrections.summary():
        tell(Event(stage=f"globalcor {number + 1}", text=line))
    return _Step(corrections=corrections, key=key, pairs=kept, equations=equations)


def _whole(partial_sums: Path) -> bool:
    """Whether a folder of checkpoints can be gone on from."""
    files = list(partial_sums.glob("*.h5"))
    try:
        for file in files:
            verify(file)
    except (InputError, VerificationError):
        return False
    return bool(files)


def reference_of(config: Tracked, pairs: RefittedPairs, *, more: int = 10) -> MassReference:
    """The reference mass of the simulated pairs, with the help of `more` times as many that are only generated."""
    muons = replace(config.sample(of_data=False).muons, seed=config.seed + 2)
    return reference_with_generated(
        pairs.mass_gen, pairs.k_gen.max(axis=1), pairs.pt.min(axis=1), pairs.sigma, pairs.selected == 1,
        config.selection, muons, more * config.simulation,
    )  # fmt: skip


def reference_with_generated(
    x: FloatArray, softest: FloatArray, softer_pt: FloatArray, sigma: FloatArray, selected: BoolArray,
    selection: PairSelection, muons: MuonGeneration, n: int,
) -> MassReference:  # fmt: skip
    """Mean and width of the generated mass of the selected pairs, with the help of many that are only generated.

    x, softer_pt, sigma, selected : of the simulated pairs, as in `refit.derive_mass_reference`
    softest                       : (N,) 1/GeV  generated 1/pT of the softer muon
    selection                     : the cuts
    muons                         : of the n accepted pairs without hits

    The mean over the selected pairs of a sample fluctuates with its generated masses.  What selection and fit do to it
    is the difference to the mean of the same pairs' generated masses inside the window and above the cut on the surface
    of the mass, k m / m_ref for muons of equal errors; the latter comes of the pairs without hits.  The error is that
    of the latter and of the difference, whose two means share most pairs: with s and w selected and inside, its
    variance is the sum of (s (x - <x>_s) / n_s - w (x - <x>_w) / n_w)^2 over the pairs.  The shift by the window is
    that of the pairs without hits.  Derived in docs/physics/pairs.md.
    """
    low, high = window = selection.window
    found = derive_mass_reference(x, softer_pt, sigma, selected, window=window)
    cut = found.m_ref[0] / selection.pt_min if selection.pt_min > 0 else np.inf
    inside = (x > low) & (x < high) & (softest * x < cut)
    mean = x[inside].mean()
    count, total, squares = 0, 0.0, 0.0
    widest = min(FAR * float(found.sigma[-1]), 0.9)
    entries, edges = np.histogram([], 4096, (low * (1.0 - widest), high * (1.0 + widest)))
    for part in stream_muons(muons, n, chunk=2**17):
        state = part.state.reshape(-1, 2, 5)
        mass = pair_masses(state)
        mass = mass[curvatures(state).max(axis=1) * mass < cut]
        entries += np.histogram(mass, edges)[0]
        mass = mass[(mass > low) & (mass < high)]
        count, total = count + mass.size, total + float(mass.sum())
        squares += float(((mass - mean) ** 2).sum())
    apart = selected * (x - found.m_ref) / selected.sum() - inside * (x - mean) / inside.sum()
    error = np.sqrt(squares / count**2 + np.nansum(apart**2))
    shift = window_shift(0.5 * (edges[1:] + edges[:-1]), entries, window, found.sigma, sigma[selected])
    return replace(found, m_ref=found.m_ref + total / count - mean, error=np.array([error]), shift=shift[None])
