"""Write one result from the shell: `python -m benchmarks.record offline verdict=pass sockets=0`."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from benchmarks.common import RESULTS, Results, cli, write
from squeeze.errors import UsageError

__all__ = ["main"]


def main(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the result.")],
    fields: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="What was found.")],
    results: Results = RESULTS,
) -> None:
    """Write NAME.json; a value is a number where it reads like one, else text.

    `command=...` takes the place of this command in the head of the result.
    """
    write(results, name, dict(map(_field, fields)))


def _field(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f"{text}: not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


if __name__ == "__main__":
    cli(main)
