"""What `squeeze bench` writes: a summary, JUnit XML, a terminal's tables, its schema and its page."""

from __future__ import annotations

import json
import sys
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from squeeze import bench_formats
from squeeze.bench import BenchReport, Judgement, judge, parse_budget
from squeeze.cli import bench_table
from squeeze.report.sparks import BLOCKS, SIGNS, histogram, readable, sparkline
from squeeze.targets.compare import interleaved
from squeeze.targets.measurement import Report
from tests.measured import measurement
from tools import bench_docs

SLOW = measurement("slow", blocks=[[10.0] * 20] * 20)
FAST = measurement("fast", notes=("the pace drifted",))
BOTH = BenchReport(measurements=(SLOW, FAST), comparisons=(interleaved(SLOW, FAST),), baseline="slow")
ALONE = BenchReport(measurements=(FAST,))
MIXED = ("p95=2ms", "size=1MB", "load=20ms")  # passes, fails, and lies between the repeats


def judged(report: BenchReport, *texts: str) -> Judgement:
    return judge(report, [parse_budget(text) for text in texts])


def test_the_summary_begins_with_the_verdict_and_has_a_signed_line_for_each_budget():
    lines = bench_formats.summary(ALONE, judged(ALONE, *MIXED)).splitlines()
    assert lines[0] == "### squeeze bench: ❌ fail"
    signed = [line.split()[1:3] for line in lines if line.startswith("- ")][:3]
    assert signed == [["✅", "**p95**"], ["❌", "**size**"], ["⚠️", "**load**"]]
    assert "- ❌ **size** 2.5 MB, limit 1 MB: fail" in lines


def test_the_summary_folds_away_what_explains_it():
    text = bench_formats.summary(BOTH, judged(BOTH, "p95=2ms"))
    before, folded = text.split("<details>")
    assert "| `fast` | 1 [1, 1] |" in before
    assert "`fast` is **10** times as fast as `slow`" in before
    assert "Measured on cpu" in folded
    assert "- fast: the pace drifted" in folded
    assert folded.rstrip().endswith("\n\n</details>")


def test_a_summary_without_budgets_says_so():
    text = bench_formats.summary(ALONE)
    assert text.startswith("### squeeze bench: measured, no budget\n")
    assert "limit" not in text


def test_a_name_is_no_markdown_in_a_summary():
    odd = measurement("a`|<img src=x>\n# b", notes=("<script>[x](y)",))
    report = BenchReport(measurements=(odd, FAST))
    text = bench_formats.summary(report, judged(report, "p95=2ms"))
    assert "\n# b" not in text
    assert "**a\\`\\|\\<img src=x\\> \\# b p95**" in text  # as the name of a check
    assert "| `a'/<img src=x> # b` |" in text  # as code, where nothing is read as HTML
    assert "<script>" not in text


def test_junit_has_what_readers_look_for():
    root = ElementTree.fromstring(bench_formats.junit(judged(BOTH, "p95=2ms", "size=1MB"), BOTH))
    (suite,) = root
    assert (root.tag, suite.tag, [child.tag for child in suite]) == (
        "testsuites",
        "testsuite",
        ["properties", "testcase", "testcase"],
    )
    for element in (root, suite):
        assert (element.get("tests"), element.get("failures"), element.get("errors")) == ("2", "1", "0")
        assert float(element.get("time", "")) == pytest.approx(
            4.542
        )  # 400 calls of 10 and of 1 ms, 2 x 71 ms
    properties = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert properties["verdict"] == "fail"
    assert properties["fast p95_ms"] == "1"
    assert properties["fast shipped_bytes"] == "2500000"
    assert properties["fast speedup"] == "10"
    assert properties["cpu"] == "cpu"
    cases = [(case.get("classname"), case.get("name"), case.get("time")) for case in suite.iter("testcase")]
    assert cases == [("squeeze bench", "p95 2 ms", "0.000"), ("squeeze bench", "size 1 MB", "0.000")]


def test_what_is_inconclusive_is_an_error_in_junit_and_not_a_failure():
    root = ElementTree.fromstring(bench_formats.junit(judged(ALONE, "load=20ms"), ALONE))
    assert (root.get("failures"), root.get("errors")) == ("0", "1")
    assert root.find(".//failure") is None
    error = root.find(".//error")
    assert error is not None
    assert error.get("type") == "inconclusive"
    # GitLab shows the text and not the message.
    assert error.text == "load: 20 ms, limit 20 ms: inconclusive\n15 to 30 ms in 3 processes"


def test_names_of_test_cases_differ_where_only_the_limit_does():
    root = ElementTree.fromstring(bench_formats.junit(judged(ALONE, "p95=2ms", "p95=3ms")))
    names = [case.get("name") for case in root.iter("testcase")]
    assert len(names) == len(set(names)) == 2


def test_a_steady_line_is_flat_and_a_step_is_seen():
    assert sparkline([1.0, 1.001, 0.999, 1.0]) == BLOCKS[0] * 4
    assert sparkline([1.0, 1.0, 2.0, 2.0]) == BLOCKS[0] * 2 + BLOCKS[-1] * 2


def test_a_long_line_is_put_together_by_medians():
    values = [1.0] * 50 + [2.0] * 50
    values[3] = 9.0  # one stray block is not what a part looks like
    assert sparkline(values, width=10) == BLOCKS[0] * 5 + BLOCKS[-1] * 5


def test_a_histogram_shows_where_calls_lie():
    drawn = histogram([1.0] * 90 + [2.0] * 9 + [4.0], (1.0, 4.0), width=4)
    assert drawn == f"{BLOCKS[7]}{BLOCKS[0]} {BLOCKS[0]}"  # 9 and 1 of 90 are low and still there


@given(
    st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=200),
    st.integers(1, 40),
    st.sampled_from([BLOCKS, SIGNS]),
)
def test_any_samples_can_be_drawn(values, width, heights):
    line = sparkline(values, width, heights)
    assert len(line) == min(width, len(values))
    bars = histogram(values, (min(values), max(values) * 1.01), width, heights)
    assert len(bars) == width
    assert set(line + bars) <= set(heights) | {" "}
    assert heights[-1] in bars  # the fullest bin has the full height


@pytest.mark.parametrize(
    ("encoding", "heights"),
    [("utf-8", BLOCKS), (None, BLOCKS), ("ascii", SIGNS), ("latin-1", SIGNS), ("no-such-encoding", SIGNS)],
)
def test_what_the_terminal_can_show(encoding, heights):
    assert readable(encoding) == heights


def test_a_terminal_gets_tables_lines_and_the_verdict():
    text = bench_table.draw(BOTH, judged(BOTH, "p95=2ms", "size=1MB"), 100, "utf-8")
    assert BLOCKS[7] in text
    assert "medians over time, ms" in text
    assert "p95: 1 ms, limit 2 ms: pass; interval 1 to 1 ms at 95%" in text
    assert "verdict: fail" in text
    assert "fast is 10 times as fast as slow" in text
    assert "fast: the pace drifted" in text


def test_a_terminal_without_blocks_gets_ascii():
    text = bench_table.draw(BOTH, judged(BOTH, "p95=2ms"), 100, "ascii")
    assert text.isascii()
    assert SIGNS[7] in text


def test_a_name_that_looks_like_markup_is_shown_as_it_is():
    odd = BenchReport(measurements=(measurement("[red]x[/]"),))
    assert "[red]x[/]" in bench_table.draw(odd, None, 100, "utf-8")


def test_a_report_without_samples_is_drawn_without_lines():
    text = bench_table.draw(BenchReport(measurements=(FAST.without_samples(),)), None, 100, "utf-8")
    assert "over time" not in text
    assert "fast" in text


def test_only_a_terminal_gets_the_tables(monkeypatch, capsys):
    bench_table.show(ALONE, None)
    assert capsys.readouterr().out == bench_formats.markdown(ALONE)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    bench_table.show(ALONE, None)
    assert BLOCKS[7] in capsys.readouterr().out


def test_only_the_summary_of_a_github_step_is_added_to(tmp_path, monkeypatch):
    shared, own = tmp_path / "step_summary", tmp_path / "report.md"
    for path in (shared, own):
        path.write_text("what was there")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(shared))
    for path in (shared, own):
        bench_table.save(ALONE, None, None, path)
    text = bench_formats.summary(ALONE)
    assert shared.read_text(encoding="utf-8") == f"what was there\n{text}"
    assert own.read_text(encoding="utf-8") == text
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    bench_table.save(ALONE, None, None, shared)
    assert shared.read_text(encoding="utf-8") == text


def test_schema_and_page_are_current():
    assert bench_docs.SCHEMA.read_text(encoding="utf-8") == bench_docs.schema(), "run `make docs`"
    text = bench_docs.PAGE.read_text(encoding="utf-8")
    assert bench_docs.page(text) == text, "run `make docs`"


def test_a_page_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="no <!-- fields"):
        bench_docs.page("no marks here")


def records() -> dict[str, Any]:
    whole = json.loads(bench_docs.schema())
    return {"Report": whole, **whole["$defs"]}


@pytest.mark.parametrize("name", records())
def test_every_field_of_a_report_has_its_meaning(name):
    without = [key for key, about in records()[name]["properties"].items() if not about.get("description")]
    assert without == []


TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
    "array": list,
    "object": dict,
}


def fits(value: Any, about: dict[str, Any], records: dict[str, Any]) -> bool:
    """Whether a value is what the schema says, in the words that this schema uses."""
    if "$ref" in about:
        return fits(value, records[about["$ref"].rpartition("/")[2]], records)
    if "anyOf" in about:
        return any(fits(value, one, records) for one in about["anyOf"])
    if "const" in about:
        return bool(value == about["const"])
    if not isinstance(value, TYPES[about["type"]]):
        return False
    if about["type"] == "array":
        return len(value) >= about.get("minItems", 0) and all(
            fits(one, about["items"], records) for one in value
        )
    if "properties" in about:
        known = about["properties"]
        return set(about.get("required", ())) <= set(value) <= set(known) and all(
            fits(one, known[key], records) for key, one in value.items()
        )
    inner = about.get("additionalProperties")
    return not isinstance(inner, dict) or all(fits(one, inner, records) for one in value.values())


def test_the_schema_takes_a_report_and_refuses_what_is_none():
    schema, plain = records(), BOTH.plain()
    assert fits(plain, schema["Report"], schema)
    assert not fits({**plain, "more": 1}, schema["Report"], schema)
    assert not fits({**plain, "version": 2}, schema["Report"], schema)
    assert not fits({**plain, "measurements": []}, schema["Report"], schema)
    broken = [{**plain["measurements"][0], "load_ms": "fast"}]
    assert not fits({**plain, "measurements": broken}, schema["Report"], schema)
    assert set(schema["Report"]["properties"]) == set(Report.model_fields)
