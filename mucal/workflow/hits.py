"""Simulated hits, as the command makes them: muons generated, the true detector distorted, its hits streamed out."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import mucal
from mucal.detector import BUILT_IN, Detector
from mucal.errors import ConfigError, nearest
from mucal.io import open_detector, write_hits, write_json
from mucal.ledger import Ledger
from mucal.propagation import terrain
from mucal.simulation import (
    Distortion,
    GeneratedMuons,
    HitSimulation,
    MuonGeneration,
    MuonGun,
    SimulatedHits,
    distorted,
    simulate_hits,
    stream_gun,
    stream_muons,
)
from mucal.store import Provenance, sha256
from mucal.track.hits import Hits
from mucal.workflow.config import SECTIONS as OF_ANALYSIS
from mucal.workflow.parts import Parts
from mucal.workflow.progress import Event, Tell, silent
from mucal.workflow.stages import code_digest, digest
from mucal.workflow.toml_text import TomlText, overlay, parse_toml, read_toml
from mucal.workflow.validate import build

SECTIONS: Final = ("muons", "hits", "distortion")
OTHERS: Final = (*OF_ANALYSIS, "refit", "globalcor")
"""Sections that a file may hold for other commands."""

CHUNK: Final = 2**14
"""Events generated at a time; also what one row group holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """What ``[muons]`` says besides the generator.

    events : accepted events: pairs of a resonance, muons of a W or of the gun
    """

    events: int = 10_000

    def __post_init__(self) -> None:
        if self.events < 1:
            raise ValueError(f"events = {self.events}, expected at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What ``[hits]`` says besides the simulation.

    detector : "cms-like", "barrel", or a file or folder of detector tables: as it is assumed to be
    """

    detector: str = "cms-like"


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRun:
    """A whole configuration of simulated hits.

    muons      : section ``[muons]`` less `events`; process "gun" is `MuonGun`, any other `MuonGeneration`
    events     : accepted events
    detector   : the assumed one
    hits       : section ``[hits]`` less `detector`
    distortion : section ``[distortion]``: the true detector less the assumed one
    plain      : the configuration as plain values, for provenance
    """

    muons: MuonGeneration | MuonGun
    events: int
    detector: str
    hits: HitSimulation
    distortion: Distortion
    plain: Mapping[str, Any] = field(default_factory=dict)


def asks_for_hits(path: str | Path | None) -> bool:
    """Whether a configuration file has one of the sections of simulated hits."""
    return path is not None and any(name in read_toml(path).values for name in SECTIONS)


def load_hit_run(path: str | Path | None = None, *, settings: tuple[str, ...] = (), seed: int | None = None) -> HitRun:
    """The sections ``[muons]``, ``[hits]`` and ``[distortion]`` of a file; without one, the defaults.

    settings : "a.b=value", laid over the file
    seed     : of muons and hits; that of the distortion stays: it belongs to the detector

    Raises ConfigError with file and line for whatever is wrong in it.
    """
    document = overlay(parse_toml("", "built-in", Path()), settings) if path is None else read_toml(path, settings)
    if seed is not None:
        document = overlay(document, (f"muons.seed={seed}", f"hits.seed={seed}"))
    for key in document.values:
        if key not in (*SECTIONS, *OTHERS):
            near = nearest(key, (*SECTIONS, *OTHERS))
            raise ConfigError(
                f"{document.place(key)} unknown section '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""),
                kind="config.unknown_key",
                where={"key": key, "known": ", ".join(SECTIONS)},
            )
    amount, muons = _apart(document, "muons", "events")
    place, hits = _apart(document, "hits", "detector")
    gun = muons.get("process") == "gun"
    return HitRun(
        muons=build(MuonGun, muons, document, "muons") if gun else build(MuonGeneration, muons, document, "muons"),
        events=build(Amount, amount, document, "muons").events,
        detector=_named(build(Place, place, document, "hits").detector, document.folder),
        hits=build(HitSimulation, hits, document, "hits"),
        distortion=build(Distortion, document.values.get("distortion", {}), document, "distortion"),
        plain=json.loads(json.dumps({k: v for k, v in document.values.items() if k in SECTIONS}, default=str)),
    )


def _apart(document: TomlText, section: str, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """One key of a section, and the others."""
    values = document.values.get(section, {})
    if not isinstance(values, Mapping):
        raise ConfigError(f"{document.place(section)} {section} is no table", kind="config.wrong_type")
    return {k: v for k, v in values.items() if k == key}, {k: v for k, v in values.items() if k != key}


def _named(name: str, folder: Path) -> str:
    """A built-in name as it is, a file relative to the configuration's folder."""
    return name if name in BUILT_IN else str(folder / name)


def assumed_detector(run: HitRun) -> Detector:
    """The detector of a configuration, as it is assumed to be.  Raises InputError if there is none of that name."""
    return open_detector(run.detector)


def simulate_hit_files(
    run: HitRun, out: str | Path, *, jobs: int = 1, resume: bool = False, overwrite: bool = False, tell: Tell = silent
) -> dict[str, Ledger]:
    """Write the hits of a configuration, the true detector and what they were made from.

    out    : .parquet, .root or .h5; beside it come NAME_detector.h5, the true detector, and NAME.json
    jobs   : threads; the bytes do not depend on it
    resume : take up the chunks that an interrupted run of the same configuration left in ``OUT.parts``

    Memory is bounded by `jobs` chunks, except for .h5.  Returns the ledgers of events and muons.  Raises ConfigError
    for names that are not known and chunks of another configuration, FileExistsError unless `overwrite`.
    """
    out = Path(out)
    beside, about = out.with_name(f"{out.stem}_detector.h5"), out.with_suffix(".json")
    for path in (out, *(() if resume else (beside,)), about):
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; choose another name, or --overwrite")
    true = distorted(assumed_detector(run), run.distortion)
    provenance = Provenance(configuration=run.plain, seed=run.hits.seed)
    true.with_provenance(provenance).save(beside, overwrite=overwrite or resume)
    key = digest({
        "mucal": mucal.__version__, "code": code_digest(), "run": repr(run), "chunk": CHUNK, "detector": sha256(beside),
    })  # fmt: skip
    parts = Parts(out, key, resume=resume)
    ledgers = {"generate": Ledger(unit="events"), "simulate": Ledger(unit="muons")}
    write_hits(out, _stream(run, true, jobs, parts, ledgers, tell), overwrite=overwrite)
    files = {path.name: sha256(path) for path in (out, beside)}
    made = {"mucal": mucal.__version__, "configuration": run.plain, "files": files,
            "ledgers": {name: ledger.to_dict() for name, ledger in ledgers.items()}}  # fmt: skip
    write_json(about, made, overwrite=overwrite)
    parts.clear()
    return ledgers


def _stream(
    run: HitRun, true: Detector, jobs: int, parts: Parts, ledgers: dict[str, Ledger], tell: Tell
) -> Iterator[Hits]:
    """Hits in the order of generation; the ledgers grow as they come."""
    work = partial(_simulated, parts, partial(simulate_hits, detector=true, config=run.hits, ground=terrain(true)))
    events = 0
    for muons, found in _in_order(work, _muons(run), jobs):
        events += len(muons) if run.muons.process in ("gun", "w_plus", "w_minus") else len(muons) // 2
        # the run ends with its last accepted event: those generated after it in the same chunk were not asked for
        generated = int(muons.event[-1]) + 1 if events == run.events else None
        ledgers["generate"] = _generated(events, generated or (int(muons.event[-1]) // CHUNK + 1) * CHUNK)
        ledgers["simulate"] = ledgers["simulate"] + found.ledger
        tell(Event(stage="simulate", done=events, total=run.events, unit="events"))
        yield found.hits


def _simulated(
    parts: Parts, work: Callable[[GeneratedMuons], SimulatedHits], number: int, muons: GeneratedMuons
) -> SimulatedHits:
    """A chunk as it was kept, or made and kept."""

    def make() -> tuple[Hits, dict[str, Any]]:
        found = work(muons)
        return found.hits, {"ledger": found.ledger.to_dict(), "passed": found.passed}

    hits, said = parts.once(number, ".h5", make, _save, Hits.load)
    return SimulatedHits(hits=hits, ledger=Ledger(**said["ledger"]), passed=said["passed"])


def _save(path: Path, hits: Hits) -> None:
    hits.save(path, overwrite=True)


def _generated(accepted: int, generated: int) -> Ledger:
    rejected = {"outside_acceptance": generated - accepted}
    return Ledger(unit="events", read=generated, used=accepted, rejected=rejected)


def _muons(run: HitRun) -> Iterator[GeneratedMuons]:
    if isinstance(run.muons, MuonGun):
        yield from stream_gun(run.muons, run.events, chunk=CHUNK)
        return
    try:
        yield from stream_muons(run.muons, run.events, chunk=CHUNK)
    except ValueError as error:
        raise ConfigError(str(error), kind="config.nothing_accepted") from error


def _in_order(
    work: Callable[[int, GeneratedMuons], SimulatedHits], chunks: Iterable[GeneratedMuons], jobs: int
) -> Iterator[tuple[GeneratedMuons, SimulatedHits]]:
    """Every chunk with its result, in order, `jobs` at work and as many waiting; the work gets its number too."""
    waiting: deque[tuple[GeneratedMuons, Future[SimulatedHits]]] = deque()
    with ThreadPoolExecutor(jobs) as pool:
        for number, muons in enumerate(chunks):
            waiting.append((muons, pool.submit(work, number, muons)))
            if len(waiting) > jobs:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()
