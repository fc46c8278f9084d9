"""What the measuring process is asked with, whatever for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from squeeze.sweeping.options import SweepOptions
from squeeze.targets.cpu import CPU, START_TIMEOUT_S, cores
from squeeze.targets.process import ask
from squeeze.targets.reading import LABELS
from squeeze.targets.subjects import TOKENIZER, Subject

__all__ = ["answer", "reads_text"]


def answer(role: str, subject: Subject, options: SweepOptions, **more: Any) -> dict[str, Any]:
    """Ask a fresh process about one model, with as many threads as the first of the options has.

    Args:
        role: of squeeze/targets/roles.py.
        subject: the model.
        options: threads, seed and the most seconds.
        more: what this role wants to know; wins over what all are told.

    Raises:
        SqueezeError: what that process reports.
    """
    threads = int(more.get("threads", options.threads[0]))
    request = {
        "role": role,
        "models": [{"path": str(subject.path.resolve()), "bound": subject.vocabulary}],
        **CPU.request,
        "threads": threads,
        "spinning": True,
        "cores": cores(threads),
        "shapes": {},
        "batch": 1,
        "lengths": None,
        "seed": options.seed,
        **more,
    }
    return ask(request, START_TIMEOUT_S + 2 * options.max_seconds)


def reads_text(folder: Path) -> bool:
    """Whether a folder has what turns text into a label."""
    return (folder / LABELS).is_file() and (folder / TOKENIZER).is_file()
