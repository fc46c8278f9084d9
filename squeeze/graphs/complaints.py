"""What onnx-ir logs of a graph that it reads although something is wrong with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from squeeze.errors import reason

__all__ = ["complaints"]


@contextmanager
def complaints() -> Iterator[list[str]]:
    """Collect what onnx-ir logs, a line each, and keep it and its tracebacks off the terminal."""
    found: list[str] = []
    logger, handler = logging.getLogger("onnx_ir"), logging.Handler(logging.WARNING)
    handler.emit = lambda record: found.append(_line(record))  # type: ignore[method-assign]
    spread, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
        logger.propagate = spread


def _line(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return reason(error) if error is not None else record.getMessage()
