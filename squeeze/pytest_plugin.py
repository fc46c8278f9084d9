"""A fixture of pytest that holds a model against budgets; pytest loads this file at every start.

    def test_latency(squeeze_budget):
        squeeze_budget("model.onnx", "p95=5ms", "size=8MB")

So nothing but pytest is imported here; what measures is loaded when the fixture is called.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from squeeze.bench import BenchOptions, BenchReport, Budget, Judgement

__all__ = ["SqueezeBudget", "pytest_addoption", "pytest_terminal_summary", "squeeze_budget"]

INCONCLUSIVE = ("fail", "skip")
LINE, REPORT = "squeeze_check", "squeeze_report"  # names of what is attached to a test's report
FIGURES = ("load_ms", "first_ms", "rss_bytes", "shipped_bytes")


class SqueezeBudget(Protocol):
    """What the fixture `squeeze_budget` is."""

    def __call__(
        self, model: str | Path, *budgets: str, baseline: str | Path | None = None, **options: Any
    ) -> Judgement:
        """Measure a model and hold it against budgets.

        Args:
            model: an ONNX or ORT file or a bundle; relative to the working directory.
            budgets: as on the command line: `p95=5ms`, `size=8MB`.
            baseline: a model to compare with, or the report of an earlier run (.json).
            options: of `squeeze.bench.BenchOptions`, such as `threads=2` or `min_seconds=10.0`.

        Returns:
            What was judged, if every budget is kept; else the test fails, or is skipped where it is
            inconclusive and `--squeeze-inconclusive=skip` was given.

        Raises:
            UsageError: no budget at all, a budget or option that is not one, no such file.
            MissingBackend: something that measures is not installed; never a skipped test.
            StageFailed: the model cannot be run.
        """
        ...


def pytest_addoption(parser: pytest.Parser) -> None:
    """What an inconclusive verdict does, as an option and in the configuration file."""
    told = "what squeeze_budget does where a measurement is too noisy for a verdict: fail or skip"
    parser.getgroup("squeeze").addoption("--squeeze-inconclusive", choices=INCONCLUSIVE, help=told)
    parser.addini("squeeze_inconclusive", told, default=INCONCLUSIVE[0])


@pytest.fixture
def squeeze_budget(request: pytest.FixtureRequest) -> SqueezeBudget:
    """A function that measures a model and fails the test where a budget is exceeded; see SqueezeBudget."""
    act = _when_inconclusive(request.config)

    def hold(
        model: str | Path, *budgets: str, baseline: str | Path | None = None, **options: Any
    ) -> Judgement:
        __tracebackhide__ = True
        limits, asked = _checked(budgets, baseline, options)
        report, judgement = _judged(Path(model), limits, asked)
        request.node.user_properties.extend(_properties(report, judgement))
        _end(judgement, act)
        return judgement

    return hold


def _when_inconclusive(config: pytest.Config) -> str:
    """`fail` or `skip`; the option wins over the configuration file."""
    chosen = config.getoption("squeeze_inconclusive") or config.getini("squeeze_inconclusive")
    if chosen not in INCONCLUSIVE:
        raise pytest.UsageError(f"squeeze_inconclusive = {chosen}: not one of {', '.join(INCONCLUSIVE)}")
    return str(chosen)


def _checked(
    budgets: tuple[str, ...], baseline: str | Path | None, options: dict[str, Any]
) -> tuple[list[Budget], BenchOptions]:
    """Budgets and options; what is wrong with them is found out before anything is measured."""
    __tracebackhide__ = True
    from pydantic import ValidationError

    from squeeze.bench import BenchOptions, is_functional, parse_budget
    from squeeze.errors import UsageError
    from squeeze.profile.problems import dotted, problems

    if not budgets:
        raise UsageError("squeeze_budget: nothing to judge", hint='squeeze_budget("model.onnx", "p95=5ms")')
    limits = [parse_budget(text) for text in budgets]
    values = {**options, "baseline": None if baseline is None else Path(baseline)}
    try:
        asked = BenchOptions(**values)
    except ValidationError as error:
        found = problems(error, values, BenchOptions)
        raise UsageError.of_lines(f"{dotted(one.place)}: {one.message}" for one in found) from error
    if is_functional(asked):
        raise UsageError(f"target {asked.target}: emulated, it has no times to judge")
    return limits, asked


def _judged(model: Path, limits: list[Budget], asked: BenchOptions) -> tuple[BenchReport, Judgement]:
    __tracebackhide__ = True
    from squeeze.bench import bench, judge
    from squeeze.progress import Silent

    report = bench([model], asked, Silent(), limits)
    return report, judge(report, limits)


def _properties(report: BenchReport, judgement: Judgement) -> Iterator[tuple[str, Any]]:
    """What stands at the test in JUnit XML: figures, checks, and the report without its samples."""
    for each in report.measurements:
        for name in ("p50", "p90", "p95", "p99"):
            yield f"{each.name} {name}_ms", getattr(each, name).value
        yield from ((f"{each.name} {name}", getattr(each, name)) for name in FIGURES)
    yield from ((f"{each.name} speedup", each.speedup) for each in report.comparisons)
    yield from ((LINE, line) for line in _lines(judgement))
    bare = tuple(each.without_samples() for each in report.measurements)
    yield REPORT, json.dumps(report.model_copy(update={"measurements": bare}).plain())


def _lines(judgement: Judgement) -> list[str]:
    from squeeze.bench_formats import told
    from squeeze.markup import inert

    lines = (f"{told(check)}; {check.note}" if check.note else told(check) for check in judgement.checks)
    return [inert(line) for line in lines]


def _end(judgement: Judgement, act: str) -> None:
    """Nothing that is not a pass ends as one."""
    __tracebackhide__ = True
    if judgement.verdict == "pass":
        return
    text = "\n".join([f"squeeze budget: {judgement.verdict}", *_lines(judgement)])
    if judgement.verdict == "inconclusive" and act == "skip":
        pytest.skip(text)
    pytest.fail(text, pytrace=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line a budget, also of tests that passed."""
    lines = [
        f"{report.nodeid} {text}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, text in report.user_properties
        if name == LINE
    ]
    if lines:
        terminalreporter.section("squeeze budgets")
        for line in lines:
            terminalreporter.write_line(line)
