"""Every task from a data file to an answer, by the command line, on a tiny teacher that is fine-tuned."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from squeeze import pipeline, predict
from squeeze.cli import main
from tests import tiny

WORDS = (*tiny.OFFERS, *tiny.REQUESTS, *tiny.COMMON)
PROFILE = """
name = "tiny"
[task]
{task}
max_length = 24
[data]
train = "train.csv"
validation = "validation.csv"
test = "test.csv"
near_duplicates = "keep"
duplicates = "drop"
[teacher]
model = "./teacher"
finetune = {{ epochs = {epochs}, learning_rate = 3e-3, batch = 16 }}
[student]
layers = 2
[[distil.phases]]
name = "answer"
epochs = {epochs}
batch = 16
learning_rate = 3e-3
losses = [{losses}]
[quantize]
scheme = "int8-dynamic"
method = "ptq"
[export]
forms = ["fp32", "int8-dynamic"]
int8_tolerance = {{ agreement = 0.5, metric_drop = 0.5 }}
rounded_tolerance = {{ agreement = 0.5, metric_drop = 0.5 }}
[bench]
min_runs = 20
min_seconds = 0.01
starts = 1
[budget]
retention = 0.5
{budget}
"""


def rows(seed: int, count: int) -> list[tuple[str, int, int]]:
    """Texts, with how many words of an offer and of a request they have."""
    generator = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        offers, requests = generator.integers(0, 3, size=2)
        words = [*generator.choice(tiny.OFFERS, offers), *generator.choice(tiny.REQUESTS, requests)]
        words += list(generator.choice(tiny.COMMON, 3))
        made.append((" ".join(generator.permutation(words)), int(offers), int(requests)))
    return made


def several(text: str, offers: int, requests: int) -> list[str]:
    return [text, "|".join(name for name, count in (("offer", offers), ("request", requests)) if count)]


def numbers(text: str, offers: int, requests: int) -> list[str]:
    return [text, f"{10 + 2.5 * offers}", f"{offers - requests}"]


CASES = {
    "multi_label_classification": (
        'problem_type = "multi_label_classification"\nlabels = ["offer", "request"]',
        ["text", "labels"],
        several,
        '{ name = "binary_kl" }, { name = "binary_cross_entropy", weight = 0.5 }',
        "scores = { macro_f1 = 0.1 }",
    ),
    "regression": (
        'problem_type = "regression"\nlabels = ["offers", "balance"]',
        ["text", "offers", "balance"],
        numbers,
        '{ name = "logit_mse" }, { name = "mse", weight = 0.5 }',
        "",
    ),
}


@pytest.fixture(scope="module", params=CASES)
def run(request, tmp_path_factory):
    task, header, cells, losses, budget = CASES[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    for seed, (split, count) in enumerate((("train", 320), ("validation", 80), ("test", 80))):
        with (folder / f"{split}.csv").open("w", newline="", encoding="utf-8") as handle:
            csv.writer(handle).writerows([header, *(cells(*row) for row in rows(seed, count))])
    tiny.save_tokenizer(tiny.save_classifier(folder / "teacher"))
    text = PROFILE.format(task=task, losses=losses, budget=budget, epochs=6)
    (folder / "tiny.toml").write_text(text, encoding="utf-8")
    code = main(["run", str(folder / "tiny.toml"), "--out", str(folder / "run")])
    assert code in (0, 5)  # 5: a machine too noisy to judge its times
    return request.param, folder, folder / "run" / "tiny"


def test_teacher_student_and_files_have_learned(run):
    kind, _, made_in = run
    made = pipeline.open_run(made_in)
    for stage in ("teacher", "encoder"):
        quality = made[stage].result["quality"]["test"]
        assert quality["scores"][quality["primary"]] > 0.7
    forms = made["bundle"].result["forms"]
    assert forms["int8-dynamic"]["quality"]["test"]["scores"]["agreement"] > 0.7
    card = (made["bundle"].path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert ("micro-F1" if kind.startswith("multi") else "Pearson") in card
    title, read = {
        "regression": ("# Text regression: offers, balance", "They are standardised values: offers = "),
        "multi_label_classification": (
            "# Multi-label text classifier: offer, request",
            "The sigmoid of each",
        ),
    }[kind]
    assert title in card
    assert read in " ".join(card.split())
    config = json.loads((made["encoder"].path / "transformers" / "config.json").read_text())
    assert config["problem_type"] == kind  # of the folder for AutoModelForSequenceClassification


def test_answers_are_those_of_the_task(run):
    kind, _, made_in = run
    text = f"{tiny.OFFERS[0]} {tiny.OFFERS[1]} {tiny.COMMON[0]}"
    (answer,) = predict.predict(made_in, [text])
    found = answer.plain()
    if kind == "regression":
        assert set(found["values"]) == {"offers", "balance"}
        assert found["values"]["offers"] == pytest.approx(15, abs=2)
        assert found["values"]["balance"] == pytest.approx(2, abs=1)
    else:
        assert found["labels"] == ["offer"]
        assert set(found["probabilities"]) == {"offer", "request"}


def test_report_and_command_line_show_them(run, capsys):
    kind, folder, made_in = run
    capsys.readouterr()
    assert main(["report", str(made_in), "--html", str(folder / "page.html"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["problem_type"] == kind
    assert all(row["retention"] for row in report["rows"] if row["name"] != "teacher")
    page = Path(folder / "page.html").read_text(encoding="utf-8")
    assert "listed for one label a text only" in page
    assert main(["predict", str(made_in), tiny.OFFERS[0]]) == 0
    assert ("offers " if kind == "regression" else "offer ") in capsys.readouterr().out
