"""Names and texts of other people in everything that we print or write: nothing of them is obeyed."""

from __future__ import annotations

import functools
import io
import json
import re
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from squeeze import bench_formats, cli, pipeline, pytest_plugin
from squeeze.bench import BenchReport, Judgement, judge, parse_budget
from squeeze.cli import bench_table, edge, output
from squeeze.cli.reporting import _page
from squeeze.errors import UsageError, visible
from squeeze.markup import code, inert, literal, table
from squeeze.report import by_kind, collect, reports_markdown, reports_text
from squeeze.sweeping import formats as sweep_formats
from squeeze.sweeping.records import Place, Point, SweepReport
from squeeze.targets.compare import interleaved
from squeeze.targets.devices import formats as device_formats
from squeeze.targets.devices.results import Difference, FunctionalReport
from tests import finished_run
from tests.measured import measurement

CORPUS = (
    "a\n::error title=pwned::x",
    "::add-mask::secret",
    "  ::stop-commands::x",
    "x ##[error]y",
    "##vso[task.setvariable variable=x]y",
    "##teamcity[x]",
    "a\r\n::error::b",
    "\x1b[31mred\x1b]8;;http://evil\x1b\\link",
    "\u202eevil\u2066 \u2028 ::error::x",
    "<script>alert(1)</script>|x",
    '" onmouseover="x',
    "' onload='x",
    "**b** __c__ _d_ ~~e~~ [l](http://evil) <img src=x>\n# h1",
    "![i](http://evil/x.png) http://evil www.evil.com <http://evil>",
    "[a]: http://evil",
    "```\nx\n```",
    "a`b``c",
    "\\`x\\` \\",
    "- a\n- b",
    "1. a",
    "> a",
    "---",
    "a\n---\nb: c",
    "a\n===",
    "| a | b |\n|---|---|",
    "&lt;b&gt; &#60;",
    "$x$ $$y$$",
    "</bdi></style></title><b>",
    "]]>",
    "{{ 7 * 7 }} {% raw %}",
    "[bold]x[/bold] [/]",
    "nul \x00 bell \x07",
    "not utf-8 \udcff",
    "\ufffe \uffff",
    "=cmd|' /C calc'!A0",
    "",
    " ",
)
NAMES = st.one_of(st.sampled_from(CORPUS), st.text(max_size=30), st.sampled_from(CORPUS).map(lambda x: x * 2))
COMMAND = re.compile(r"^\s*::|##\w*\[")
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
MARKDOWN = MarkdownIt("commonmark").enable("table").enable("strikethrough")


def runs_nothing(text: str) -> None:
    """No line of it is a command of a CI, and no sign of it steers a terminal."""
    for line in re.split(r"[\r\n]", text):
        assert not COMMAND.search(line), line
    assert not STEERING.search(text), text


def kinds(text: str) -> Counter[str]:
    """How often each kind of Markdown occurs."""
    tokens = [token for block in MARKDOWN.parse(text) for token in (block, *(block.children or ()))]
    return Counter(token.type for token in tokens if token.type not in {"text", "softbreak"})


def markup(text: str) -> set[str]:
    """Kinds of Markdown in a text, but for what shows a text as it is."""
    return kinds(text).keys() - {"inline", "text_special"}


@pytest.mark.parametrize("name", CORPUS)
def test_the_corpus_is_literal_in_markdown(name):
    assert markup(literal(name)) <= {"paragraph_open", "paragraph_close"}
    assert markup(f"- {literal(name)}") <= {
        *("bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"),
        *("paragraph_open", "paragraph_close"),
    }
    (paragraph,) = [token for token in MARKDOWN.parse(code(name)) if token.type == "inline"]
    assert [child.type for child in paragraph.children or []] == ["code_inline"]


@settings(max_examples=80, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=4))
def test_literal_text_is_shown_as_it_is(names):
    for name in names:
        shown = "".join(
            child.content for token in MARKDOWN.parse(f"x {literal(name)}") for child in token.children or []
        )
        assert shown == f"x {visible(' '.join(name.split()))}".rstrip()
    grid = table([literal(name) for name in names], [[literal(name) for name in names]])
    counts = kinds(grid)
    assert (counts["th_open"], counts["td_open"]) == (len(names), len(names))
    assert not counts.keys() & {
        "html_inline",
        "html_block",
        "link_open",
        "image",
        "strong_open",
        "code_inline",
    }


@settings(max_examples=80, deadline=None)
@given(NAMES)
@example("a\u2028::error::x")
def test_inert_lines_are_no_commands_and_stay_json(name):
    runs_nothing(inert(name))
    text = inert(json.dumps({name: [name]}, indent=2, ensure_ascii=False), "\n")
    runs_nothing(text)
    assert json.loads(text) == {name: [name]}
    assert inert("plain text: a :: b # c ## d") == "plain text: a :: b # c ## d"


@pytest.mark.parametrize("name", CORPUS)
def test_every_line_to_the_log_is_one_line(name, capsys):
    lines = output.Lines()
    lines.log(name)
    lines.warn(name)
    output.note(name)
    edge._explain(UsageError(f"{name}: no such file", hint=f"x {name}"))
    edge._explain(UsageError.of_lines([name, f"--x {name}"]))
    edge._explain(FileNotFoundError(2, "No such file", name))
    edge._explain(ValueError(name))
    err = capsys.readouterr().err
    runs_nothing(err)
    starts = [line.partition(":")[0] for line in err.splitlines()[3:]]
    assert starts == ["error", "hint", "error", "error", "error", "error", "hint"]


@pytest.mark.parametrize("name", CORPUS)
def test_a_table_has_a_line_a_row(name, capsys):
    output.emit_table(("name", name), [(name, "x"), ("y", name)])
    out = capsys.readouterr().out
    runs_nothing(out)
    assert len(out.splitlines()) == 3


ONE, TWO = measurement("one", blocks=[[1.0] * 20] * 10), measurement("two", blocks=[[3.0] * 20] * 10)
PLAIN = BenchReport(measurements=(ONE, TWO), comparisons=(interleaved(ONE, TWO),), baseline="one")
JUDGED = judge(PLAIN, [parse_budget("p95=2ms"), parse_budget("load=20ms")])


def reports(name: str) -> BenchReport:
    """A report whose every text is one name."""
    texts = {"name": name, "notes": (name, "a"), "environment": environment(name), "inputs": {name: name}}
    compared = PLAIN.comparisons[0].model_copy(update={"name": name, "baseline": name})
    models = tuple(each.model_copy(update=texts) for each in PLAIN.measurements)
    return PLAIN.model_copy(update={"measurements": models, "comparisons": (compared,), "baseline": name})


def judged(name: str) -> Judgement:
    checks = tuple(each.model_copy(update={"name": name, "note": name}) for each in JUDGED.checks)
    return JUDGED.model_copy(update={"checks": checks})


def environment(name: str) -> dict[str, object]:
    return {"cpu": name, "machine": "x", "onnxruntime": "1", "usable_cores": 1}


def sweep_report(name: str) -> SweepReport:
    place = Place(threads=1, batch=1, sequence=8)
    points = (
        Point(place=place, measurement=reports(name).measurements[0], throughput=None),
        Point(place=Place(threads=1, batch=4, sequence=8), error=name),
    )
    return SweepReport(
        name=name,
        form=None,
        sha256="0" * 64,
        size_bytes=1,
        confidence=0.95,
        passes=1,
        seed=0,
        points=points,
        choice=None,
        cold=None,
        texts=None,
        energy_note=name,
        environment=environment(name),
    )


def functional(name: str) -> FunctionalReport:
    difference = Difference(output=name, largest=0.0, scale=1.0, unequal=0, values=1)
    found = SimpleNamespace(
        name=name, differences=(difference,), limit=1e-3, target=name, onnxruntime="1", feeds=1
    )
    return SimpleNamespace(results=(found,))  # type: ignore[return-value]


FORMATS = {
    "bench": lambda name: bench_formats.markdown(reports(name), judged(name)),
    "summary": lambda name: bench_formats.summary(reports(name), judged(name)),
    "sweep": lambda name: sweep_formats.markdown(sweep_report(name)),
    "functional": lambda name: device_formats.functional(functional(name)),
}


@functools.cache
def plain_kinds(kind: str) -> dict[str, int]:
    return kinds(FORMATS[kind]("plain"))


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("kind", FORMATS)
def test_a_name_changes_nothing_in_the_markdown_of_a_measurement(kind, name):
    drawn = FORMATS[kind](name)
    if name.strip():  # a report without a note has no list of notes
        assert kinds(drawn) == plain_kinds(kind)
    runs_nothing(inert(drawn, "\n"))


@pytest.mark.parametrize("name", CORPUS)
def test_lines_of_the_pytest_plugin_are_no_commands(name):
    for line in pytest_plugin._lines(judged(name)):
        runs_nothing(line)


@pytest.mark.parametrize("name", CORPUS)
def test_junit_stays_xml_without_commands(name):
    text = bench_formats.junit(judged(name), reports(name))
    ElementTree.fromstring(text)
    assert text.encode()  # no half of a character
    for each in ElementTree.fromstring(text).iter():
        for value in (*each.attrib.values(), each.text or ""):
            runs_nothing(value.replace("\n", " "))


def test_labels_and_texts_change_nothing_in_a_report(tmp_path):
    names = [
        "".join(sign for sign in "\n".join(CORPUS[start::3]) if not 0xD800 <= ord(sign) < 0xE000)
        for start in range(3)
    ]
    run = finished_run.make(tmp_path / "run", labels=names, texts=[f"{name} text" for name in names * 2])
    calm = finished_run.make(tmp_path / "calm", labels=["a", "b", "c"])
    stages, plain = pipeline.open_stages(run), pipeline.open_stages(calm)
    drawn = [
        reports_markdown([collect(name, by_kind(found))])
        for name, found in ((names[0], stages), ("a", plain))
    ]
    assert kinds(drawn[0]) == kinds(drawn[1])
    runs_nothing(inert(reports_text([collect(names[0], by_kind(stages))]), "\n"))
    html = _page({names[0]: stages}, [names[0]], texts=True)
    assert "script" not in re.findall(r"<([a-z0-9]+)", html)
    for tag in re.findall(r"<[a-z][^>]*>", html):
        assert not re.search(r"\son\w+\s*=", re.sub(r'"[^"]*"', '""', tag))


def test_a_file_with_a_hostile_name_is_one_line_of_the_log(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "a\n::error title=pwned::x.onnx"
    assert cli.main(["bench", name]) == 2
    Path(name).write_bytes(b"x")
    assert cli.main(["doctor", name]) in (2, 3)
    assert cli.main(["plan", name]) == 2
    assert cli.main(["gate", name]) == 2
    err = capsys.readouterr().err
    runs_nothing(err)
    assert "pwned" in err


class Terminal(io.StringIO):
    """A stream that says it is one."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("name", ["\x1b[5mred", "[bold]x[/] [/]"])
def test_our_colours_reach_a_terminal_and_those_of_a_name_do_not(name, monkeypatch, tmp_path):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    bench_table.show(reports(name), judged(name))
    run = finished_run.make(tmp_path / "run", labels=[name, "b", "c"])
    output.emit(reports_text([collect(name, by_kind(pipeline.open_stages(run)))]), drawn=True)
    drawn = terminal.getvalue()
    assert "\x1b[" in drawn
    assert "\x1b[5m" not in drawn
    flat = drawn.replace("\n", "").replace(" ", "")
    assert visible(name).replace(" ", "")[:8] in flat


def test_bars_take_names_as_they_are(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys, "stderr", stream)
    with output.shown() as progress:
        for name in CORPUS:
            with progress.task(name, 1) as advance:
                advance(1, note=name)
            progress.log(name)
            progress.warn(name)
    assert "[/]" in stream.getvalue()
