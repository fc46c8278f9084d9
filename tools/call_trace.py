"""Counts how often a stage walks from module to module: ``python -m tools.call_trace distil export``.

It runs ``profiles/smoke.toml`` with half of its rows and traces ``Stage.run`` of each named stage with
``sys.setprofile``. Every function of ``squeeze`` counts once, at its first call, so that loops over batches,
layers and files do not count; nor do imports, comprehensions and other threads or processes. In the order of
these first calls

- *modules* is how many modules the functions stand in,
- *calls* is how often a function stands in another module than the one before it (the first one counts),
- *returns* is how many of these lead back to a module that was entered before: calls - modules.

Who reads the stage from its entry turns to another file *calls* times, *returns* of them to one that was read
before. The second line counts only functions that are given the stage's config: an argument that is
``Stage.config`` or one of its sections (``task``, ``student``, ...), or a dataclass that holds one. What was
resolved into plain values does not count.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Annotated, Any, get_args

import typer
from pydantic import BaseModel

import squeeze
from squeeze import pipeline, profile
from squeeze.registry import STAGES

__all__ = ["Call", "Trace", "count", "recorded", "sections", "trace"]

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = str(Path(squeeze.__file__).resolve().parent)
SMALLER = ("data.limit=48",)


@dataclass(frozen=True)
class Call:
    """The first call of a function.

    Attributes:
        module: where it stands.
        function: its name.
        config: whether an argument holds the stage's config.
    """

    module: str
    function: str
    config: bool


@dataclass(frozen=True)
class Trace:
    """The modules that were entered, in order."""

    path: tuple[str, ...]

    @property
    def modules(self) -> int:
        """How many there are."""
        return len(set(self.path))

    @property
    def returns(self) -> int:
        """Entries into a module that was entered before."""
        return len(self.path) - self.modules

    def __str__(self) -> str:
        return f"{len(self.path)} calls into {self.modules} modules, {self.returns} returns"


def count(modules: Sequence[str]) -> Trace:
    """Join neighbours that are one module.

    >>> print(count(["a", "a", "b", "a", "c"]))
    4 calls into 3 modules, 1 returns
    """
    entered = [name for place, name in enumerate(modules) if not place or modules[place - 1] != name]
    return Trace(tuple(entered))


def sections(config: type[BaseModel]) -> set[type]:
    """A stage's config and its sections."""
    found, todo = {config}, [field.annotation for field in config.model_fields.values()]
    while todo:
        one = todo.pop()
        todo += get_args(one)
        if inspect.isclass(one) and issubclass(one, BaseModel):
            found.add(one)
    return set(found)


@contextmanager
def recorded(calls: list[Call], models: set[type]) -> Iterator[None]:
    """Note every function of squeeze at its first call in this thread."""
    known: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or code in known or not code.co_filename.startswith(PACKAGE):
            return
        known.add(code)
        if code.co_flags & inspect.CO_OPTIMIZED and not code.co_name.startswith("<"):
            given = [frame.f_locals[name] for name in code.co_varnames if name in frame.f_locals]
            config = any(_holds(value, models) for value in given)
            calls.append(Call(frame.f_globals["__name__"], code.co_qualname, config))

    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)


def _holds(value: Any, models: set[type]) -> bool:
    if is_dataclass(value):
        return any(type(getattr(value, field.name, None)) in models for field in fields(value))
    return type(value) in models


def trace(name: str, out: Path) -> list[Call]:
    """Trace one stage of the smallest profile; the stages before it are taken from `out`, or made first."""
    importlib.import_module(f"squeeze.stages.{name}.run")  # what an import calls does not count
    [stage] = [stage for stage in STAGES if stage.name == name]
    calls: list[Call] = []

    def traced(*arguments: Any) -> Any:
        with recorded(calls, sections(stage.config)):
            return stage.run(*arguments)

    stages = [replace(one, run=traced) if one is stage else one for one in STAGES]
    loaded = profile.load(ROOT / "profiles" / "smoke.toml", SMALLER)
    pipeline.run(loaded.profile, out, until=name, stages=stages)
    return calls


def main(
    stages: Annotated[list[str], typer.Argument(help="names of stages, in the order of the chain")],
    path: Annotated[bool, typer.Option(help="print the functions too")] = False,
) -> None:
    """Print the figures of some stages."""
    with tempfile.TemporaryDirectory() as folder:
        for name in stages:
            calls = trace(name, Path(folder))
            given = [call.module for call in calls if call.config]
            print(f"{name}: {count([call.module for call in calls])}")
            print(f"{name}, given its config: {count(given)}; {len(given)} functions")
            for call in calls if path else ():
                print(f"  {'*' if call.config else ' '} {call.module} {call.function}")


if __name__ == "__main__":
    typer.run(main)
