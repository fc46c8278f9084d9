"""Writes the schema of a bench report and its tables in docs/bench.md: ``python -m tools.bench_docs``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from squeeze.targets.measurement import Report

__all__ = ["PAGE", "SCHEMA", "page", "schema", "tables"]

DOCS = Path(__file__).resolve().parent.parent / "docs"
SCHEMA = DOCS / "bench-report.schema.json"
PAGE = DOCS / "bench.md"
START, END = "<!-- fields: written by make docs -->", "<!-- end of fields -->"

DIALECT = "https://json-schema.org/draft/2020-12/schema"  # what pydantic writes
COLUMNS = "| field | type | meaning |\n|---|---|---|\n"
NAMES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
}


def schema() -> str:
    """The schema of what is read; what `squeeze bench` writes has every field."""
    return json.dumps({"$schema": DIALECT, **Report.model_json_schema(mode="validation")}, indent=2) + "\n"


def page(text: str) -> str:
    """The page with its tables of fields written anew, all else as it stands.

    Args:
        text: of the page, with both marks.
    """
    before, _, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{PAGE.name}: no {START} and {END}")
    return before + START + "\n" + tables() + "\n" + END + after


def tables() -> str:
    """One table for each record of a report, the whole report first."""
    whole = Report.model_json_schema(mode="validation")
    return "".join(_table(name, record) for name, record in (("Report", whole), *whole["$defs"].items()))


def _table(name: str, record: Mapping[str, Any]) -> str:
    rows = "".join(_row(field, about) for field, about in record["properties"].items())
    return f"\n### {name}\n\n{record['description']}\n\n{COLUMNS}{rows}"


def _row(field: str, about: Mapping[str, Any]) -> str:
    cells = (f"`{field}`", type_of(about), about.get("description", ""))
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"


def type_of(about: Mapping[str, Any]) -> str:
    """A type of a JSON schema in words."""
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in about:
        return f"`{json.dumps(about['const'])}`"
    if "anyOf" in about:
        return " or ".join(map(type_of, about["anyOf"]))
    if about.get("type") == "array":
        if "prefixItems" in about:
            return f"({', '.join(map(type_of, about['prefixItems']))})"
        return f"list of {type_of(about['items'])}"
    if about.get("type") == "object":
        values = about.get("additionalProperties")
        return f"object of {type_of(values)}" if isinstance(values, dict) else "object"
    return NAMES[about["type"]]


def main() -> None:
    """Write both files."""
    SCHEMA.write_text(schema(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{SCHEMA.name} and {PAGE.name} written\n")


if __name__ == "__main__":
    main()
