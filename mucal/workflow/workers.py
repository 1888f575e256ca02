"""Who makes the chunks of a long command: this process, local ones, or those of a scheduler."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from multiprocessing import get_context

from mucal.errors import ConfigError
from mucal.globalcor.workers import MakeExecutor


def workers_of(jobs: int | None, scheduler: str | None) -> MakeExecutor | None:
    """Local processes, or those of a dask scheduler by its address; None is this process."""
    if scheduler is not None:
        try:
            distributed = import_module("distributed")
        except ImportError as error:
            raise ConfigError(
                "--scheduler needs dask.distributed", kind="config.missing_extra", do="pip install 'mucal[distributed]'"
            ) from error
        executor: MakeExecutor = distributed.Client(scheduler).get_executor
        return executor
    return partial(ProcessPoolExecutor, jobs, mp_context=get_context("spawn")) if jobs and jobs > 1 else None
