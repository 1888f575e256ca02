"""The closure from hits: pairs through a distorted detector, refitted, corrected, and refitted again."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from mucal.detector import Detector
from mucal.errors import InputError
from mucal.globalcor import AccumulateConfig, GlobalCorrections, NormalEquations, ProbeBias, Refit, accumulate, solve
from mucal.refit import MassReference, derive_mass_reference
from mucal.simulation import distorted, simulate_hits, stream_muons
from mucal.track import Hits
from mucal.workflow.hit_sums import HitBlocks, pair_masses
from mucal.workflow.probes import probe_bias
from mucal.workflow.progress import Event, Tell
from mucal.workflow.refitted_pairs import Collector, RefittedPairs
from mucal.workflow.stages import Folder
from mucal.workflow.threads import current
from mucal.workflow.tracks_config import Tracked

CHUNK: Final = 8_192
"""Events generated at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedChain:
    """What the stages before the mass fits found.

    corrections   : of the last iteration
    before, after : pairs refitted on the assumed detector, and with all corrections
    simulation    : pairs of the assumed detector
    reference     : the mass that was assumed
    probes        : bias of momenta, before and after
    """

    corrections: GlobalCorrections
    before: RefittedPairs
    after: RefittedPairs
    simulation: RefittedPairs
    reference: MassReference
    probes: ProbeBias


def track(config: Tracked, folder: Folder, detector: Detector, plain: Mapping[str, Any], tell: Tell) -> TrackedChain:
    """All stages from generated hits to refitted pairs with corrections; each is saved in the folder.

    detector : as it is assumed to be
    plain    : the section as plain values: what the stages are made from
    """
    config = replace(config, refit=replace(config.refit, n_threads=current()))
    registry = config.registry(detector)
    true = distorted(detector, config.distortion)
    selection = config.selection
    start = Refit(
        detector=detector, registry=registry, config=config.refit, selection=selection,
        mass=MassReference.constant(sum(selection.window) / 2, (selection.window[1] - selection.window[0]) / 10),
    )  # fmt: skip
    made_from = {"tracks": dict(plain), "registry": registry.digest}
    simulation, key = folder.once(
        "stages/simulation_pairs.h5", RefittedPairs, made_from,
        lambda: refitted(config, start, detector, of_data=False, tell=tell, stage="simulation"),
    )  # fmt: skip
    for name, ledger in simulation.provenance.ledgers.items():
        tell(Event(stage=f"simulation {name}", text=ledger.line()))
    reference, key = folder.once(
        "stages/reference.h5", MassReference, {**made_from, "simulation": key}, lambda: reference_of(config, simulation)
    )
    mean, width = reference.m_ref[0], reference.gamma[0]
    tell(Event(stage="reference", text=f"mean mass {mean:.5f} GeV, width {1e3 * width:.2f} MeV"))
    refit = replace(start, mass=reference)
    before: RefittedPairs | None = None
    for number in range(config.iterations):
        step = _iteration(config, folder, refit, true, number, {**made_from, "last": key}, tell)
        corrections, key, before = step.corrections, step.key, before or step.pairs
        refit = replace(refit, theta=corrections.theta)
    assert before is not None
    after, _ = folder.once(
        "stages/pairs_after.h5", RefittedPairs, {**made_from, "last": key},
        lambda: refitted(config, refit, true, of_data=True, tell=tell, stage="refit"),
    )  # fmt: skip
    probes, _ = folder.once(
        "stages/probes.h5", ProbeBias, {**made_from, "last": key},
        lambda: probe_bias(true, replace(start, mass=reference), corrections, eta_max=config.eta_max - 0.1),
    )  # fmt: skip
    return TrackedChain(
        corrections=corrections, before=before, after=after, simulation=simulation, reference=reference, probes=probes
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    corrections: GlobalCorrections
    key: str
    pairs: RefittedPairs | None


def _iteration(
    config: Tracked, folder: Folder, refit: Refit, true: Detector, number: int, made_from: Mapping[str, Any], tell: Tell
) -> _Step:
    """One refit, sum and solve; the pairs of the first refit are kept, those on the assumed detector."""
    collector = Collector()

    def sums() -> NormalEquations:
        blocks = HitBlocks(
            stream=lambda: hits_of(config, true, of_data=True), n_chunks=n_pieces(config, of_data=True),
            rows=2 * CHUNK, refit=refit, seen=collector,
        )  # fmt: skip
        chunks = blocks.chunks()
        found = accumulate(
            blocks, chunks, refit.registry, AccumulateConfig(n_threads=config.refit.n_threads),
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
        if collector.parts:
            return collector.result()
        return refitted(config, refit, true, of_data=True, tell=tell, stage="refit")

    equations, key = folder.once(f"stages/sums_{number}.h5", NormalEquations, made_from, sums)
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
    return _Step(corrections=corrections, key=key, pairs=kept)


def hits_of(config: Tracked, detector: Detector, *, of_data: bool) -> Iterator[Hits]:
    """The hits of data or simulation, chunk by chunk; the same bytes every time."""
    n = config.data if of_data else config.simulation
    simulation = config.hits if of_data else replace(config.hits, seed=config.hits.seed + 1)
    for muons in stream_muons(config.muons(of_data=of_data), n, chunk=CHUNK):
        yield simulate_hits(muons, detector, simulation, n_threads=config.refit.n_threads).hits


def n_pieces(config: Tracked, *, of_data: bool) -> int:
    """How many chunks `hits_of` yields."""
    n = config.data if of_data else config.simulation
    return sum(1 for _ in stream_muons(config.muons(of_data=of_data), n, chunk=CHUNK))


def refitted(
    config: Tracked, refit: Refit, detector: Detector, *, of_data: bool, tell: Tell, stage: str
) -> RefittedPairs:
    """All pairs of data or simulation, fitted without derivatives."""
    collector = Collector()
    done = 0
    for hits in hits_of(config, detector, of_data=of_data):
        collector(hits, refit.pairs(hits, profile=False)[0])
        done += len(hits) // 2
        tell(Event(stage=stage, done=done, total=config.data if of_data else config.simulation, unit="pairs"))
    return collector.result()


def reference_of(config: Tracked, pairs: RefittedPairs, *, more: int = 10) -> MassReference:
    """Mean and width of the generated mass of the selected pairs, with the help of many that are only generated.

    The mean over the selected pairs of a sample fluctuates with its generated masses.  What selection and fit do to it
    is the difference to the mean of the same pairs' generated masses inside the window; the latter comes of `more`
    times as many pairs, without hits.  Derived in docs/physics/pairs.md.
    """
    low, high = config.selection.window
    own = pairs.mass_gen[(pairs.mass_gen > low) & (pairs.mass_gen < high)]
    n, total = 0, 0.0
    muons = replace(config.muons(of_data=False), seed=config.seed + 2)
    for part in stream_muons(muons, more * config.simulation, chunk=2**17):
        mass = pair_masses(part.state.reshape(-1, 2, 5))
        inside = mass[(mass > low) & (mass < high)]
        n, total = n + inside.size, total + float(inside.sum())
    found = derive_mass_reference(pairs.mass_gen, pairs.pt.min(axis=1), pairs.selected == 1)
    return replace(found, m_ref=found.m_ref + total / n - own.mean())
