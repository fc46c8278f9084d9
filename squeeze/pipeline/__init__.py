"""Walk the chain of stages; the only package that knows the run folder."""

from __future__ import annotations

from squeeze.pipeline.folders import RunFolder
from squeeze.pipeline.planning import Step, chain, plan
from squeeze.pipeline.walking import Done, RunResult, describe_run, open_run, open_stages, run

__all__ = [
    "Done",
    "RunFolder",
    "RunResult",
    "Step",
    "chain",
    "describe_run",
    "open_run",
    "open_stages",
    "plan",
    "run",
]
