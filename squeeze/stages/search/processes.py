"""Several processes that judge candidates of one search and share its trials."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

from squeeze.errors import StageFailed

__all__ = ["share"]

Order = TypeVar("Order")


def share(work: Callable[[Order, int], None], order: Order, workers: int) -> Callable[[], None]:
    """Start workers beside this process.

    Args:
        work: what each does, a function at the top of a module: (order, number of the worker, from 1).
        order: what it needs to know.
        workers: how many.

    Returns:
        A function that waits for them.

    Raises:
        StageFailed: (by the function) one of them died; its own message is on stderr.
    """
    context = multiprocessing.get_context("spawn")  # a forked torch may hang
    started = [
        context.Process(target=work, args=(order, stream), daemon=True) for stream in range(1, workers + 1)
    ]
    for process in started:
        process.start()

    def wait() -> None:
        for process in started:
            process.join()
        codes = [process.exitcode for process in started if process.exitcode]
        if codes:
            raise StageFailed(f"[search] workers: {len(codes)} of {workers} died with code {codes[0]}")

    return wait
