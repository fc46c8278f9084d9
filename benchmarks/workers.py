"""Run jobs in processes of their own, each on its own cores, and show how far they are."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing.queues import Queue
from typing import Any

from squeeze.errors import SqueezeError, UsageError
from squeeze.progress import Progress
from squeeze.runtime import quiet, usable_cores

__all__ = ["Job", "Pool"]

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One call in a worker.

    Attributes:
        name: unique; what progress and failures call it.
        function: of a module, because workers import it by its name.
        arguments: of the function.
    """

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


class Pool:
    """Workers that share the usable cores evenly; squeeze takes as many threads as a worker has cores.

    Args:
        jobs: how many workers.
    """

    def __init__(self, jobs: int) -> None:
        cores = usable_cores()
        if not 1 <= jobs <= cores:
            raise UsageError(f"--jobs {jobs}: must lie between 1 and the usable cores, {cores}")
        each = cores // jobs
        # Libraries read these when they are loaded, which happens in the workers.
        os.environ.update(dict.fromkeys(THREADS, str(each)))
        context = multiprocessing.get_context("spawn")  # a forked torch may hang
        places = context.Queue()
        for start in range(jobs):
            places.put(_cores()[start * each : (start + 1) * each])
        self._pool = ProcessPoolExecutor(jobs, context, _settle, (places,))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(
        self, what: str, jobs: Sequence[Job], progress: Progress
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Run all jobs; one that fails does not stop the others.

        Returns:
            Results by name, and one line for each job that squeeze refused or failed.
        """
        results: dict[str, Any] = {}
        failures: dict[str, str] = {}
        pending: Mapping[Any, str] = {
            self._pool.submit(job.function, *job.arguments): job.name for job in jobs
        }
        with progress.task(what, len(jobs)) as advance:
            for future in as_completed(pending):
                name = pending[future]
                try:
                    results[name] = future.result()
                    progress.log(f"{what} {name}: ready")
                except SqueezeError as error:
                    failures[name] = str(error)
                    progress.log(f"{what} {name}: failed: {error}")
                advance(1, note=name)
        return results, failures


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def _settle(places: Queue[list[int]]) -> None:
    """Stay on one share of the cores, where the system can do that."""
    quiet()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cores = places.get()
    if cores:
        os.sched_setaffinity(0, cores)


def _end_with_parent() -> None:
    """A benchmark that is killed must not leave workers behind that go on for hours."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
