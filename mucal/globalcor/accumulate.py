"""Sums over all chunks of a sample: in order, exactly once, and to be taken up again after an interruption."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mucal.errors import Interrupted
from mucal.globalcor.checkpoints import Checkpoints
from mucal.globalcor.guards import GuardConfig
from mucal.globalcor.leaf import Leaf
from mucal.globalcor.normal_equations import NormalEquations
from mucal.globalcor.registry import Registry
from mucal.globalcor.workers import Chunk, Made, MakeExecutor, Produce, in_order
from mucal.store import Provenance, plain_values

ONE_LEAF: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class AccumulateConfig:
    """How candidates are summed.

    guards          :  limits on single candidates
    exclude         :  chunk number -> candidates to leave out, as those named for their influence
    chunks_per_leaf :  chunks summed one after the other; sums of different leaves can be made apart and added.  Each
                       unfinished node of the tree of leaves holds a matrix
    keep_factors    :  keep the factors of the candidates instead of summing them into blocks: for samples as Z, whose
                       two tracks couple everything with everything, and which are few enough for memory
    jackknife_parts :  parts whose gradients are kept apart
    every           :  chunks between two checkpoints
    retries         :  of a chunk that fails, before it is halved
    ahead           :  chunks that workers may be ahead of the sum
    most_failed     :  share of the chunks that may fail; those that do are named in `NormalEquations.failed`
    n_threads       :  of the sum
    """

    guards: GuardConfig = field(default_factory=GuardConfig)
    exclude: Mapping[int, Sequence[int]] = field(default_factory=dict)
    chunks_per_leaf: int = ONE_LEAF
    keep_factors: bool = False
    jackknife_parts: int = 20
    every: int = 50
    retries: int = 1
    ahead: int = 4
    most_failed: float = 0.0
    n_threads: int = 1

    def __post_init__(self) -> None:
        whole = ("chunks_per_leaf", "jackknife_parts", "every", "ahead", "n_threads")
        wrong = [f"{name} = {getattr(self, name)}" for name in whole if getattr(self, name) < 1]
        if wrong or self.retries < 0:
            raise ValueError(f"{', '.join(wrong) or f'retries = {self.retries}'}; expected a positive number")
        if not 0 <= self.most_failed < 1:
            raise ValueError(f"most_failed = {self.most_failed}; expected a share of the chunks, below 1")


def accumulate(
    produce: Produce,
    chunks: Sequence[Chunk],
    registry: Registry,
    config: AccumulateConfig = AccumulateConfig(),
    *,
    sample: str = "",
    workers: MakeExecutor | None = None,
    checkpoints: str | Path | None = None,
    inputs: Mapping[str, str] | None = None,
    tell: Callable[[Made], object] = lambda made: None,
) -> NormalEquations:
    """The normal equations of a sample.

    produce     : makes the blocks of a chunk; with workers it is sent to them
    chunks      : in any order; they are summed by number
    sample      : name of the sample; sums of different samples can be added
    workers     : see `workers.in_order`; None: this process
    checkpoints : folder that keeps two generations of the sum; if it holds some, the sum goes on from there
    inputs      : file -> SHA-256 of what the chunks are made from; a change is refused
    tell        : called for each chunk

    Returns the sum; `failed` names the chunks that could not be made.
    Raises Interrupted after Ctrl-C, with the last chunks saved; ConfigError if the checkpoints are of another sum or in
    use; ResourceError for a full disk.
    """
    ordered = sorted(chunks, key=lambda chunk: chunk.number)
    numbers = [chunk.number for chunk in ordered]
    if len(set(numbers)) != len(numbers):
        twice = next(n for n in numbers if numbers.count(n) > 1)
        raise ValueError(f"chunk {twice} is given twice")
    asked = _fingerprint(registry, config, ordered, sample)
    zero = NormalEquations(
        digest=registry.digest, slot=registry.slot, chunks_per_leaf=config.chunks_per_leaf, partials=(),
        provenance=Provenance(configuration=asked, inputs=dict(inputs or {})),
    )  # fmt: skip
    if checkpoints is None:
        return _sum(produce, ordered, registry, config, sample, workers, None, zero, tell)
    with Checkpoints(checkpoints, asked, dict(inputs or {})) as kept:
        return _sum(produce, ordered, registry, config, sample, workers, kept, kept.newest() or zero, tell)


def _fingerprint(registry: Registry, config: AccumulateConfig, chunks: Sequence[Chunk], sample: str) -> dict[str, Any]:
    """What must be the same for a sum to be taken up again: all that its bytes depend on."""
    plain = asdict(config)
    about: dict[str, Any] = {k: plain[k] for k in ("guards", "chunks_per_leaf", "keep_factors", "jackknife_parts")}
    about["exclude"] = {str(k): [int(v) for v in config.exclude[k]] for k in sorted(config.exclude)}
    rows = [[c.number, c.start, c.stop] for c in chunks]
    about |= {"registry": registry.digest, "sample": sample, "chunks": rows}
    found: dict[str, Any] = plain_values({key: about[key] for key in sorted(about)}, "accumulate")
    return found


def _sum(
    produce: Produce, chunks: Sequence[Chunk], registry: Registry, config: AccumulateConfig, sample: str,
    workers: MakeExecutor | None, kept: Checkpoints | None, done: NormalEquations, tell: Callable[[Made], object],
) -> NormalEquations:  # fmt: skip
    def new_leaf(number: int, started_from: Any = None) -> Leaf:
        """The sum of one chunk, empty or taken up."""
        return Leaf(
            registry,
            sample,
            number,
            n_parts=config.jackknife_parts,
            guards=config.guards,
            keep=config.keep_factors,
            started_from=started_from,
        )

    seen = {c for p in done.partials for c in [*p.chunks.tolist(), *p.failed.tolist()]}
    todo = [chunk for chunk in chunks if chunk.number not in seen]
    leaf: Leaf | None = None
    since = 0
    if todo and done.partials and done.partials[-1].level == 0:
        open_leaf = done.partials[-1]
        done = replace(done, partials=done.partials[:-1])
        leaf = new_leaf(open_leaf.number, open_leaf)
    try:
        for made in in_order(produce, todo, workers, ahead=config.ahead, retries=config.retries):
            number = made.chunk.number // config.chunks_per_leaf
            if leaf is not None and leaf.number != number:
                done = done + _alone(done, leaf)
                leaf = None
            leaf = leaf or new_leaf(number)
            if made.blocks is None:
                leaf.fail(made.chunk.number)
            else:
                excluded = config.exclude.get(made.chunk.number, ())
                leaf.add(made.chunk.number, made.blocks, excluded, n_threads=config.n_threads)
            since += 1
            tell(made)
            if kept is not None and since % config.every == 0:
                kept.save(_with_open(done, leaf))
    except KeyboardInterrupt as stop:
        saved = ""
        if kept is not None and leaf is not None:
            kept.save(_with_open(done, leaf))
            saved = f"; {len(leaf.chunks)} chunks of the last leaf are saved"
        raise Interrupted(
            f"the accumulation was interrupted{saved}",
            kind="interrupted.accumulate",
            do="run the same command again to go on" if kept is not None else "",
        ) from stop
    # a sum that was complete already may stand in its folder with its last leaf unmerged
    done = done + (_alone(done, leaf) if leaf is not None else replace(done, partials=()))
    if kept is not None and since:
        kept.save(done)
    return done


def _with_open(done: NormalEquations, leaf: Leaf) -> NormalEquations:
    """The sum as it is kept in between: the leaf that still grows stands last, merged with nothing."""
    return replace(done, partials=(*done.partials, leaf.finish()))


def _alone(like: NormalEquations, leaf: Leaf) -> NormalEquations:
    return replace(like, partials=(leaf.finish(),))
