"""The template fit at the size of the measurement of m_W: 2880 bins, 9 processes, 4860 nuisances, 1 GB of log-ratios.

Run with `OMP_NUM_THREADS=2 pytest -m benchmark -s tests/benchmarks/test_likelihood.py` (minutes, 4 GB).  The model is
dense and random, which is the worst case: real effects act on an eighth of it.  Where a ratio is to BLAS or to the
memory, that was measured in the same run.  Other work on the machine moves seconds, and hardly ratios; processor
seconds count all threads.  MUCAL_RABBIT_PYTHON names a Python with rabbit (see tests/oracles) for the last one.
"""

import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numba import njit

from mucal.io.fit_input import FitInput
from mucal.io.rabbit import shared_variances
from mucal.io.rabbit_writer import write_rabbit
from mucal.likelihood import (
    Channel,
    FitConfig,
    Model,
    Observation,
    fit,
    global_impacts,
    interval,
    linear_toys,
    newton,
    nominal_impacts,
    observe,
    toy,
)
from mucal.likelihood.blocks import Block, join
from mucal.likelihood.objective import objective
from mucal.numerics.threads import run

pytestmark = pytest.mark.benchmark

STAGES = ("fit_seconds", "covariance_seconds", "impact_seconds")
DRIVER = Path(__file__).parents[1] / "oracles" / "rabbit_driver.py"
THREADS = int(os.environ.get("OMP_NUM_THREADS", "1"))
SHARES = np.array([0.88, 0.05, 0.03, 0.03, 0.004, 0.003, 0.001, 0.001, 0.001])


def dense_model(n_bins: int, n_processes: int, n_parameters: int, seed: int = 1) -> Model:
    """Effects of 0.2 % everywhere; 1e8 events; parameter 0 is free and acts on the first process."""
    rng = np.random.default_rng(seed)
    shares = SHARES[:n_processes] / SHARES[:n_processes].sum()
    nominal = 1e8 / n_bins * shares * rng.uniform(0.5, 1.5, (n_bins, n_processes))
    blocks = []
    for p in range(n_processes):
        kappa = 2e-3 * rng.standard_normal((n_bins, n_parameters))
        kappa[:, 0] *= p == 0
        blocks.append(
            Block(process=p, bins=np.arange(n_bins), columns=np.arange(n_parameters), kappa=kappa, eta=np.zeros((0, 0)))
        )
    names = tuple(f"p{j:05d}" for j in range(n_parameters))
    edges = tuple(float(i) for i in range(n_bins + 1))
    return Model(
        channels=(Channel(name="bins", axes=("bin",), edges=(edges,)),),
        processes=tuple(f"proc{p}" for p in range(n_processes)),
        parameters=names,
        nominal=nominal,
        sumw2=0.4 * nominal,
        effects=join(blocks),
        rate=np.full(n_processes, -1),
        centre=np.zeros(n_parameters),
        precision=np.array([0.0] + [1.0] * (n_parameters - 1)),
        pois=names[:1],
        groups={"first": names[1 : n_parameters // 2], "second": names[n_parameters // 2 :]},
    )


@njit(nogil=True)
def read(a):
    """A sum in eight chains: what reading costs."""
    s = np.zeros(8)
    for i in range(0, a.size - 7, 8):
        for j in range(8):
            s[j] += a[i + j]
    return s.sum()


def clocked(work):
    """Answer, wall and processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    answer = work()
    return answer, time.perf_counter() - wall, time.process_time() - processor


def clock_of_stages():
    """A function that notes wall and processor seconds under a name and gives all; "fit_seconds" ends before the exact
    Hessian."""
    start, at = (time.perf_counter(), time.process_time()), {}

    def clock(what: str):
        at.setdefault(what, (time.perf_counter() - start[0], time.process_time() - start[1]))
        return at

    exact = newton.hessian
    newton.hessian = lambda *given: clock("fit_seconds") and exact(*given)
    return clock


def alternating(works, rounds: int = 7):
    """Median processor seconds of several works, done in turns."""
    times = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(clocked(work)[2])
    return {name: float(np.median(t)) for name, t in times.items()}


def dgemm_rate() -> float:
    """Flops a processor second of a large product."""
    a = np.ones((2000, 2000))
    a @ a
    return 2 * 2000**3 / float(np.median([clocked(lambda: a @ a)[2] for _ in range(5)]))


def test_value_and_gradient_against_reading_the_effects():
    model = dense_model(1440, 9, 4860)
    function = objective(model, observe(model, model.nominal.sum(axis=1)), "gamma", THREADS)
    x = 0.3 * np.random.default_rng(1).normal(size=4860)
    parts = np.array_split(model.effects.kappa, 4 * THREADS)
    works = {
        "value and gradient": lambda: function.value_and_gradient(x),
        "read": lambda: run(lambda i: read(parts[i]), len(parts), THREADS),
        "sum": lambda: run(lambda i: parts[i].sum(), len(parts), THREADS),
    }
    gigabytes = THREADS * model.effects.kappa.nbytes / 1e9
    rates = {name: gigabytes / seconds for name, seconds in alternating(works).items()}
    best = max(rates["sum"], rates["read"])
    print(f"\n{THREADS} threads: {rates['value and gradient']:.1f} GB/s of {best:.1f}: "
          f"{rates['value and gradient'] / best:.0%}")  # fmt: skip
    assert rates["value and gradient"] > 0.4 * best


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason='JAX is not installed: pip install "mucal[gpu]"')
@pytest.mark.parametrize("n_parameters", [500, 2000, 4860])
def test_passes_of_jax_beside_the_compiled_ones(n_parameters):
    import jax

    device = jax.devices()[0]
    model = dense_model(720, 9, n_parameters)
    data = observe(model, model.nominal.sum(axis=1))
    x = 0.3 * np.random.default_rng(1).normal(size=n_parameters)
    gigabytes = model.effects.kappa.nbytes / 1e9
    functions, first = {}, {}
    for backend in ("compiled", "jax"):
        functions[backend] = objective(model, data, "gamma", THREADS, backend=backend)
        first[backend] = clocked(partial(functions[backend].value_and_gradient, x))
    print(f"\n{gigabytes:.2f} GB of effects, {THREADS} threads; JAX on {device.platform} {device.device_kind}, "
          f"first call {first['jax'][1]:.1f} s")  # fmt: skip
    for what in ("value_and_gradient", "expand"):
        times = {backend: [] for backend in functions}
        for _ in range(7):
            for backend, function in functions.items():
                times[backend].append(clocked(partial(getattr(function, what), x))[1:])
        for backend, seconds in times.items():
            wall, processor = np.median(seconds, axis=0)
            print(f"{what}, {backend}: {gigabytes / wall:.2f} GB/s wall, {gigabytes / processor:.2f} processor")
    (value, gradient), (same, also) = first["compiled"][0], first["jax"][0]
    assert abs(same / value - 1) < 1e-12
    assert np.abs(also - gradient).max() < 1e-10 * np.abs(gradient).max()


WHOLE = """
import sys
sys.path.insert(0, {folder!r})
from test_likelihood import whole
whole({n_bins}, {n_processes}, {n_parameters})
"""


def whole(n_bins: int, n_processes: int, n_parameters: int) -> None:
    """Fit, exact Hessian, covariance, impacts and toys, each with its seconds; peak memory of this process."""
    rng, rate = np.random.default_rng(5), dgemm_rate()
    warm = dense_model(40, n_processes, 60)
    fit(warm, toy(warm, rng), FitConfig(n_threads=THREADS))
    model = dense_model(n_bins, n_processes, n_parameters)
    data = toy(model, rng)
    clock = clock_of_stages()
    result, wall, processor = clocked(lambda: fit(model, data, FitConfig(n_threads=THREADS)))
    flops = n_parameters**2 * n_bins * (n_processes + 1) + n_parameters**3 + result.n_steps * n_bins**2 * n_parameters
    poi = model.pois[0]
    steps = [
        ("fit", *clock("covariance_seconds")["fit_seconds"]),
        (f"fit, Hessian, covariance ({processor * rate / flops:.1f} x their products by dgemm)", wall, processor),
        ("global impacts", *clocked(lambda: global_impacts(model, data, result, poi))[1:]),
        ("nominal impacts", *clocked(lambda: nominal_impacts(model, data, result, poi))[1:]),
    ]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    steps += [
        ("likelihood interval", *clocked(lambda: interval(model, data, result, poi, n_threads=THREADS))[1:]),
        ("1000 linear toys, all parameters", *clocked(lambda: linear_toys(model, data, result, 1000, rng))[1:]),
    ]
    for what, wall_seconds, processor_seconds in steps:
        print(f"{what}: {wall_seconds:.1f} s, processor {processor_seconds:.1f} s")
    print(f"steps {result.n_steps}, EDM {result.edm:.1g}, {dgemm_rate() / 1e9:.0f} GFLOP a processor second")
    print(f"effects {model.effects.kappa.nbytes / 1e9:.2f} GB, peak of fit and impacts {peak:.2f} GB")
    result.require_converged()
    assert peak < 5


@pytest.mark.parametrize("n_parameters", [500, 2000, 4860])
def test_whole_fit_at_the_size_of_the_measurement(n_parameters):
    script = WHOLE.format(folder=str(Path(__file__).parent), n_bins=2880, n_processes=9, n_parameters=n_parameters)
    print(f"\n2880 bins, 9 processes, {n_parameters} parameters, {THREADS} threads")
    subprocess.run([sys.executable, "-c", script], check=True)


def rabbit_python() -> str:
    found = os.environ.get("MUCAL_RABBIT_PYTHON")
    if not found and importlib.util.find_spec("rabbit") is None:
        pytest.skip("rabbit-fit is not installed and MUCAL_RABBIT_PYTHON names no Python that has it")
    return found or sys.executable


def rabbit_model(n_parameters: int) -> tuple[Model, Observation]:
    """The dense model fitted by both."""
    model = dense_model(2880, 8, n_parameters)
    return model, toy(model, np.random.default_rng(5), simulation=False, centres=False)


def saved_model(path: str) -> tuple[Model, Observation]:
    """A model from its file, fitted by both; each bin's variance shared by its processes, for rabbit's factors multiply
    all of them."""
    model = Model.load(path)
    model = replace(model, sumw2=shared_variances(model))
    return model, toy(model, np.random.default_rng(5), simulation=False, centres=False)


OURS = """
import sys
sys.path.insert(0, {folder!r})
from test_likelihood import ours, rabbit_model, saved_model
ours(*{maker}({argument!r}), {answers!r})
"""


def ours(model: Model, data: Observation, answers: str) -> None:
    """What mucal makes of it, with wall and processor seconds since the start of the fit, and the peak of memory."""
    warm = dense_model(40, 8, 60)
    fit(warm, toy(warm, np.random.default_rng(5)), FitConfig(n_threads=THREADS))
    clock = clock_of_stages()
    result = fit(model, data, FitConfig(n_threads=THREADS))
    clock("covariance_seconds")
    global_impacts(model, data, result, model.pois[0])
    nominal_impacts(model, data, result, model.pois[0])
    at = clock("impact_seconds")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    order = np.argsort(result.parameters)  # as rabbit's driver
    errors = np.sqrt(np.diag(result.cov))
    np.savez(answers, values=result.values[order], errors=errors[order], gigabytes=peak, **at)


def compare(
    maker: Callable[..., tuple[Model, Observation]], argument: int | str, layout: str, sparse: bool, folder: Path
) -> None:  # fmt: skip
    """Fit by mucal, rabbit and mucal again, each in a process of its own; the ratios, and that the answers agree."""
    python, answers = rabbit_python(), str(folder / "ours.npz")
    model, data = maker(argument)
    given = FitInput(model=model, observation=data)
    tensor = str(write_rabbit(folder / "model.hdf5", given, layout=layout, sparse=sparse))
    np.savez(folder / "model.npz", points=np.zeros((1, len(model.parameters))), mode="lite", kind="gamma")
    del model, given
    here = str(Path(__file__).parent)
    script = OURS.format(folder=here, maker=maker.__name__, argument=argument, answers=answers)
    found = {}
    for name, command in (
        ("mucal", [sys.executable, "-c", script]),
        ("rabbit", [python, str(DRIVER), str(folder / "model.npz"), str(folder / "theirs.npz"), tensor]),
        ("mucal again", [sys.executable, "-c", script]),
    ):
        subprocess.run(command, check=True)
        found[name] = dict(np.load(folder / ("theirs.npz" if name == "rabbit" else "ours.npz")))
    print(f"\n{maker.__name__}({argument}), wall and processor seconds of", *STAGES)
    for name, one in found.items():
        seconds = [f"{one[what][0]:.1f} {one[what][1]:.1f}" for what in STAGES]
        print(f"{name}: {'; '.join(seconds)}; {one['gigabytes']:.2f} GB")
    mucal, rabbit = found["mucal again"], found["rabbit"]
    for clock, kind in enumerate(("wall", "processor")):
        best = {what: min(found[name][what][clock] for name in ("mucal", "mucal again")) for what in STAGES}
        print(f"{kind} seconds, rabbit over mucal:", *(f"{rabbit[what][clock] / best[what]:.1f}" for what in STAGES))
    apart = np.abs((mucal["values"] - rabbit["values"]) / mucal["errors"]).max()
    errors_apart = np.abs(rabbit["errors"] / mucal["errors"] - 1).max()
    print(f"values apart {apart:.1g} errors, errors apart {errors_apart:.1g}")
    assert apart < 1e-4
    assert errors_apart < 1e-5
    assert mucal["gigabytes"] < 0.5 * rabbit["gigabytes"]


@pytest.mark.parametrize("n_parameters", [500, 2000, 4000])
def test_against_rabbit(n_parameters, tmp_path):
    compare(rabbit_model, n_parameters, "symmetric", False, tmp_path)


@pytest.mark.parametrize("sparse", [False, True])
def test_against_rabbit_with_the_groups_of_the_measurement(sparse, tmp_path):
    example = Path(__file__).parents[2] / "docs" / "examples" / "toy_mw.py"
    made = ["--events", str(1 << 20), "--no-checks", "--model", str(tmp_path / "toy.h5")]
    subprocess.run([sys.executable, str(example), *made], check=True, stdout=subprocess.DEVNULL)
    compare(saved_model, str(tmp_path / "toy.h5"), "asymmetric", sparse, tmp_path)
