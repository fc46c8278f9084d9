"""The page: whole, self-contained, escaped, and honest about what a run lacks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from squeeze import pipeline
from squeeze.cli import main
from squeeze.errors import SqueezeError, UsageError
from squeeze.progress import Silent
from squeeze.report import page as pages
from squeeze.report.evidence import gather
from squeeze.report.page import MOST_BYTES, to_html
from tests import finished_run
from tests.report import page_checks

SECTIONS = ("flow", "stages", "front", "latency", "confusion", "bytes", "rounding", "changed", "environment")
QUESTIONS = ("How small?", "How fast?", "How good?", "What changed?", "May I ship it?")
SCRIPT = "<script>alert('x')</script>"


def page_of(*runs: Path, **options: bool) -> str:
    return to_html([gather(run.name, pipeline.open_stages(run), Silent()) for run in runs], **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return finished_run.make(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="module")
def html(run):
    return page_of(run)


def test_the_page_is_sound_and_loads_nothing(html):
    page = page_checks.read(html)
    assert page.problems == []
    assert "script" not in page.tags
    assert not re.search(r"https?:", html)
    assert "default-src 'none'" in html
    assert len(html.encode()) < 200_000


def test_every_section_is_there_and_answers_stand_first(html):
    page = page_checks.read(html)
    assert [name for name in page.ids if name.startswith("run1-") and "-title" not in name] == [
        "run1-name",
        *(f"run1-{name}" for name in SECTIONS),
    ]
    assert tuple(page.titles[1:6]) == QUESTIONS
    assert "No" in page.text
    assert "int8-dynamic misses size_mb." in page.text
    assert "Judged: latency, size of int8-dynamic, timed on cpu only." in page.text
    assert (
        "Not judged, because the budget sets no limit: load time, peak memory, quality, recall of each label."
        in page.text
    )


def test_warnings_of_all_stages_stand_first(tmp_path):
    run = finished_run.make(tmp_path / "demo")
    finished_run.rewrite(run, "data", lambda known: known["result"].update(warnings=["no <music> here"]))
    slow = [f"the teacher was not timed: reason {place}" for place in range(40)]
    finished_run.rewrite(run, "bench", lambda known: known["result"].update(warnings=slow))
    text = page_checks.read(page_of(run)).text
    assert "41 warnings below." in text
    assert text.index("Warning: no <music> here") < text.index("Warning: the teacher was not timed: reason 0")
    assert text.index("reason 38") < text.index("1 more warning not listed.")
    assert "reason 39" not in text
    assert text.index("1 more warning not listed.") < text.index("text in")


def test_figures_are_those_of_the_run(html):
    text = page_checks.read(html).text
    assert "36 times smaller than the teacher's 9.00 MB" in text  # 9 MB / (250 kB + 500 B)
    assert "87.8 % of the teacher's 90.0" in text
    assert "18 times as fast as your teacher's 9.62 ms (fp32 ONNX, timed in turns)" in text
    assert "The teacher takes 9.62 ms at the median (fp32 ONNX, timed in turns): fp32 is 3.0 times" in text
    assert "model.int8.onnx is 1.60 times as fast as model.onnx (1.50 to 1.70 at 95 %)." in text
    assert "Test CPU" in text
    assert "near-duplicates dropped" in text
    assert "1,234" in text
    assert "1 min 5 s" in text


def test_changes_are_counted_against_the_teacher(run):
    found = gather("demo", pipeline.open_stages(run), Silent())
    assert found.answers is not None
    split = next(each for each in found.answers.splits if each.name == "test")
    assert split.shipped is not None
    answers = split.shipped.argmax(axis=1)
    wrong = int((answers != np.array(finished_run.TRUTH)).sum())
    changes = split.changes()
    assert 0 < len(changes) == wrong
    assert {each.kind for each in changes} == {"lost"}
    assert [each.confidence[1] for each in changes] == sorted(
        (c.confidence[1] for c in changes), reverse=True
    )
    assert split.confusion(split.shipped).sum() == len(finished_run.TEXTS)
    assert np.trace(split.confusion(split.shipped)) == len(finished_run.TEXTS) - wrong


def test_the_bytes_add_up_to_the_file(run):
    found = gather("demo", pipeline.open_stages(run), Silent())
    assert found.inside is not None
    size = (run / "export-0" / "model.int8.onnx").stat().st_size
    assert sum(found.inside.bytes.values()) == size
    assert found.inside.bytes["table of pieces"] == 10 * 8 * 4
    assert found.inside.bytes["products"] == 8 * 3 * 4


def test_without_texts_no_text_is_quoted(run, html):
    assert finished_run.TEXTS[1] in html
    without = page_of(run, texts=False)
    assert finished_run.TEXTS[1] not in without
    assert "The texts were left out of this page." in without


def test_several_runs_are_compared_first(tmp_path, run):
    other = finished_run.make(tmp_path / "other", until="bench")
    page = page_checks.read(page_of(run, other))
    assert page.problems == []
    assert page.ids.index("comparison") < page.ids.index("run1") < page.ids.index("run2")
    assert "not judged" in page.text
    assert "Score against size MB" in page.text
    said = "The runs were tested on different text"
    assert said not in page.text
    third = finished_run.make(tmp_path / "third", until="bench", texts=finished_run.TEXTS[:4])
    assert said in page_of(run, third)


@pytest.mark.parametrize(
    ("until", "skip", "said"),
    [
        ("data", (), "The run has no teacher yet."),
        ("teacher", (), "The run has no exported file yet."),
        ("distil", (), "Nothing goes out yet: the run has no export."),
        ("export", (), "The run was not measured: it has no bench."),
        ("bench", (), "Nothing was judged: the run has no budget, or ended before the gate."),
        ("gate", ("search",), "No search ran: the profile gave the student's shape."),
    ],
)
def test_what_a_run_lacks_is_said_in_one_line(until, skip, said, tmp_path):
    page = page_checks.read(page_of(finished_run.make(tmp_path / "run", until=until, skip=skip)))
    assert page.problems == []
    assert said in page.text
    assert [name for name in SECTIONS if f"run1-{name}" not in page.ids] == []


def test_hostile_texts_and_labels_are_escaped(tmp_path):
    labels = (SCRIPT, '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}")
    texts = [f"{SCRIPT} {place} </blockquote><b>\x00\x1b[31m\u202e{'long ' * 3000}" for place in range(6)]
    run = finished_run.make(tmp_path / "<svg onload=x>", labels=labels, texts=texts)
    html = page_of(run)
    page = page_checks.read(html)
    assert page.problems == []
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.tags.count("svg") == page_of(finished_run.make(tmp_path / "plain")).count("<svg")
    assert SCRIPT in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "\x00" not in html
    assert "\x1b" not in html
    assert len(html.encode()) < 200_000


def test_texts_that_utf8_cannot_write_are_replaced(tmp_path):
    run = finished_run.make(tmp_path / "run")
    finished_run.rewrite(
        run, "gate", lambda manifest: manifest["result"]["checks"][0].update(note="a\ud800b")
    )
    with pytest.raises(SqueezeError, match="not a GateResult"):
        page_of(run)
    finished_run.rewrite(run, "gate", lambda manifest: manifest["result"]["checks"][0].update(note="ok"))
    finished_run.rewrite(
        run, "gate", lambda manifest: manifest["environment"].update(cpu="c\ud800" + "z" * 10**6)
    )
    html = page_of(run)
    assert "c\ufffdz" in html
    assert len(html.encode("utf-8")) < 200_000


@pytest.mark.parametrize(
    ("stage", "change"),
    [
        ("teacher", lambda manifest: manifest["result"].update(parameters=float("nan"))),
        ("teacher", lambda manifest: manifest["result"].pop("quality")),
        ("data", lambda manifest: manifest["config"].update(task={"labels": 3})),
        ("gate", lambda manifest: manifest["result"].update(verdict="<b>pass</b>")),
        ("bench", lambda manifest: manifest["result"]["measurements"][0].update(p50={"value": "1"})),
        ("export", lambda manifest: manifest.update(result=[])),
        ("export", lambda manifest: manifest.update(kind="dataset")),
    ],
)
def test_a_manifest_that_was_changed_by_hand_is_one_line(stage, change, tmp_path, capsys):
    run = finished_run.make(tmp_path / "run")
    finished_run.rewrite(run, stage, change)
    target = tmp_path / "page.html"
    assert main(["report", str(run), "--html", str(target)]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == lines[:1]
    assert "internal error" not in lines[0]
    assert not target.exists()


@pytest.mark.parametrize("key", ["config", "environment", "identity", "seconds", "version", "stage"])
@pytest.mark.parametrize("value", [None, [], "x", {"a": []}, float("nan")])
def test_what_nothing_depends_on_may_be_anything(key, value, tmp_path):
    run = finished_run.make(tmp_path / "run", more={key: value})
    assert page_checks.read(page_of(run)).problems == []


def test_answers_of_other_labels_are_refused(tmp_path):
    run = finished_run.make(tmp_path / "run")
    stages = pipeline.open_stages(run)
    (run / "export-0" / "labels.json").write_text(json.dumps({"labels": ["a", "b", "c"], "max_length": 8}))
    page = page_checks.read(to_html([gather("run", stages, Silent())]))
    assert "model.int8.onnx could not be asked here" in page.text


def test_the_base_install_makes_the_page_too(run, tmp_path):
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnx_ir', 'transformers'): sys.modules[name] = None\n"
        "from squeeze.cli import main\n"
        f"sys.exit(main(['report', {str(run)!r}, '--html', {str(tmp_path / 'page.html')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = page_checks.read((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "model.int8.onnx cannot be looked into: onnx_ir is not installed" in text
    assert "pip install 'squeeze-ondevice[train]'" in text
    assert "right before, wrong now" in text


def test_without_pyarrow_the_page_says_which_texts_it_lacks(run, tmp_path):
    code = (
        "import sys\n"
        "sys.modules['pyarrow'] = None\n"
        "from squeeze.cli import main\n"
        f"sys.exit(main(['report', {str(run)!r}, '--html', {str(tmp_path / 'page.html')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = page_checks.read((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert "The texts of the run cannot be read here: pyarrow is not installed" in text


def test_a_page_that_is_too_large_is_refused(run, monkeypatch):
    monkeypatch.setattr(pages, "MOST_BYTES", 1000)
    with pytest.raises(UsageError, match=r"a page of 1 runs has .* MB, the limit is 0.001 MB"):
        page_of(run)


def test_many_labels_become_a_list_of_confusions(tmp_path):
    labels = [f"label {place:03}" for place in range(60)]
    page = page_checks.read(page_of(finished_run.make(tmp_path / "run", labels=labels)))
    assert page.problems == []
    assert "The most frequent confusions." in page.text
    assert "20 more labels are not listed." in page.text


def test_the_command_writes_the_page_and_prints_as_before(run, tmp_path, capsys):
    target = tmp_path / "page.html"
    assert main(["report", str(run)]) == 0
    plain = capsys.readouterr().out
    assert main(["report", str(run), "--html", str(target), "--no-texts"]) == 0
    assert capsys.readouterr().out == plain
    page = target.read_text(encoding="utf-8")
    assert page_checks.read(page).problems == []
    assert finished_run.TEXTS[1] not in page
    assert len(page) < MOST_BYTES
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_several_runs_in_text_markdown_and_json(run, tmp_path, capsys):
    other = finished_run.make(tmp_path / "demo", until="export")
    words = ["report", str(run), str(other)]
    assert main([*words, "--markdown", str(tmp_path / "both.md")]) == 0
    text = capsys.readouterr().out
    assert text.startswith("## Shipped models, on the test split of each run")
    names = [f"{run.parent.name}/demo", f"{tmp_path.name}/demo"]
    assert all(f"# {name}\n" in text for name in names)
    assert (tmp_path / "both.md").read_text().strip() == text.strip()
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["kind"], [each["name"] for each in document["reports"]]) == ("run-reports", names)


@pytest.mark.parametrize("option", ["--html", "--markdown"])
def test_a_file_that_cannot_be_written_is_refused_first(option, run, tmp_path, capsys):
    assert main(["report", str(run), option, str(tmp_path)]) == 2
    assert f"{tmp_path}: is a folder" in capsys.readouterr().err
    assert main(["report", str(run), option, str(tmp_path / "none" / "x")]) == 2
    assert "no folder that may be written to" in capsys.readouterr().err
    assert main(["report", str(run), str(run)]) == 2
    assert "named twice" in capsys.readouterr().err
