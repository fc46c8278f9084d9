"""Nothing in the package grows past what can be read at one sitting."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "squeeze"
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
FILES = sorted(PACKAGE.rglob("*.py"))


def functions(source: str) -> Iterator[tuple[str, int]]:
    """Name and length in lines of every function; decorators count, the docstring does not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield node.name, (node.end_lineno or first) - first + 1 - docstring_lines(node)


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    if ast.get_docstring(node, clean=False) is None:
        return 0
    head = node.body[0]
    return (head.end_lineno or head.lineno) - head.lineno + 1


def too_long(name: str, source: str) -> list[str]:
    """One line for each thing in a file that is over its limit."""
    lines = source.count("\n") + (not source.endswith("\n"))
    found = [f"{name}: {lines} lines > {MAX_FILE_LINES}"] if lines > MAX_FILE_LINES else []
    return found + [
        f"{name}: {function} has {length} lines > {MAX_FUNCTION_LINES}"
        for function, length in functions(source)
        if length > MAX_FUNCTION_LINES
    ]


def test_files_and_functions_stay_short():
    assert [line for path in FILES for line in too_long(str(path), path.read_text(encoding="utf-8"))] == []


def test_it_looked_at_the_package():
    names = {path.relative_to(PACKAGE).as_posix() for path in FILES}
    assert len(names) >= 40
    assert {"artifact.py", "core/metrics.py", "stages/distil/stage.py"} <= names


@pytest.mark.parametrize(
    ("body", "docstring", "found"),
    [(39, "", 0), (40, "", 1), (39, '    """One.\n\n    Two.\n    """\n', 0), (40, '    """One."""\n', 1)],
)
def test_a_docstring_does_not_count(body, docstring, found):
    source = "def f():\n" + docstring + "    x = 1\n" * body
    assert len(too_long("f.py", source)) == found


def test_a_long_file_is_found():
    assert too_long("f.py", "x = 1\n" * 400) == []
    assert too_long("f.py", "x = 1\n" * 401) == ["f.py: 401 lines > 400"]
