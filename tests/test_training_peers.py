"""The benchmark against other tools' distillation: what it starts, what it watches, what it reports."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict

import pytest
import torch

from benchmarks import training_peers
from benchmarks.datasets import Recipe
from benchmarks.environments import versions
from benchmarks.peer_tools.training import Plan, Rows, macro_f1, pad_batch, parameter_groups
from benchmarks.quality import quality
from benchmarks.training_files import LAYERS, Objective
from benchmarks.training_peers import CONTESTANTS, PINNED, SCRIPTS, SQUEEZE, watch
from benchmarks.training_section import training_peers as section
from squeeze.core.layer_map import LAYER_MAPS
from squeeze.errors import StageFailed
from squeeze.models.teacher import load_classifier
from tests import tiny


def test_every_tool_is_told_all_that_its_plan_asks_for():
    said = {**dict.fromkeys(("teacher", "student", "texts", "out"), "folder"), "seed": 0, "padding": None}
    plan = Plan(**json.loads(json.dumps({**said, **asdict(Objective())})))
    assert [tuple(pair) for pair in plan.pairs] == list(LAYER_MAPS["skip"](LAYERS, 6))
    assert plan.temperature == 2.0


def test_squeeze_trains_by_the_same_objective(tmp_path):
    for split in ("train", "validation", "test"):
        (tmp_path / "sst2").mkdir(exist_ok=True)
        (tmp_path / "sst2" / f"{split}.csv").write_text("text,label\nfine,positive\n")
    profile = Recipe("tiny", tmp_path).profile("run", "sst2", 0, Objective(epochs=7).phase())
    assert profile.distil is not None
    (phase,) = profile.distil.phases
    assert (phase.epochs, phase.batch, phase.decay, phase.clip) == (7, 32, "linear", 1.0)
    assert [loss.plain() for loss in phase.losses] == [
        {"name": "kl", "weight": 1.0, "temperature": 2.0},
        {"name": "hidden_mse", "weight": 30.0, "layers": "skip", "projection": "pca"},
    ]


@pytest.mark.parametrize("tool", PINNED)
def test_every_package_is_pinned(tool):
    pins = SCRIPTS / f"{tool}.txt"
    lines = [line for line in pins.read_text().splitlines() if line and line[0] not in "#-"]
    assert all(re.fullmatch(r"[a-z0-9.-]+==[0-9][\w.+]*", line) for line in lines)
    assert versions(pins, PINNED[tool]).keys() == set(PINNED[tool])
    assert (SCRIPTS / f"train_{tool}.py").is_file()


def test_both_peers_have_the_torch_and_transformers_of_the_other():
    one, other = (versions(SCRIPTS / f"{tool}.txt", ("torch", "transformers")) for tool in PINNED)
    assert one == other


def test_rows_are_padded_beforehand_or_to_the_longest_of_a_batch():
    texts = [[5, 6, 7], [8]]
    fixed, free = Rows(texts, 4), Rows(texts, None)
    batch = pad_batch([fixed[0], fixed[1]])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0], [8, 0, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 0, 0, 0]]
    batch = pad_batch([free[0], free[1]])
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert pad_batch([free[1]])["input_ids"].tolist() == [[8]]


def test_matrices_decay_and_the_rest_does_not():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    decayed, spared = parameter_groups(model, 0.1)
    assert (decayed["weight_decay"], [each.ndim for each in decayed["params"]]) == (0.1, [2])
    assert (spared["weight_decay"], [each.ndim for each in spared["params"]]) == (0.0, [1, 1, 1])


def test_the_peers_choose_their_epoch_by_the_score_of_squeeze():
    labels = torch.tensor([0, 1, 2, 2, 1, 0, 0])
    logits = torch.eye(3)[torch.tensor([0, 1, 2, 1, 1, 2, 0])]
    expected = quality(logits.numpy(), labels.numpy()).score
    assert macro_f1(logits.argmax(-1), labels) == pytest.approx(expected)
    assert expected < 1


def test_a_watched_process_tells_its_peak_and_gets_its_threads(tmp_path):
    code = "import os, time; open(os.environ['OMP_NUM_THREADS'], 'w').close(); b = b'x' * 200_000_000;"
    code += "time.sleep(2)"
    held = b"x" * 500_000_000  # by us: it is not the training's
    seen = watch([sys.executable, "-c", code], tmp_path, 3, {})
    assert 200_000_000 < seen.peak_bytes < 400_000_000 < len(held)
    assert seen.seconds > 0
    assert (tmp_path / "3").is_file()
    with pytest.raises(StageFailed, match=r"status 1 \(ValueError: no such loss\)"):
        watch([sys.executable, "-c", "raise ValueError('no such loss')"], tmp_path, 1, {})


def run(seed, per_second, peak, macro_f1):
    return {
        "seed": seed,
        "per_second": per_second,
        "per_second_cache_filled": 2 * per_second,
        "peak_bytes": peak * 10**6,
        "macro_f1": macro_f1,
        "process_s": 60.0,
    }


def record(**runs):
    tools = {
        each.name: {"tool": each.tool, "padding": each.padding, "aims": each.aims, "example": each.example}
        for each in CONTESTANTS
    }
    return {
        "set": "sst2",
        "training_texts": 2000,
        "threads": 2,
        "objective": asdict(Objective()),
        "peers": {"textbrewer": {"textbrewer": "1.0"}},
        "tools": {name: {**tools[name], "runs": mine} for name, mine in runs.items()},
    }


def test_a_report_judges_speed_by_the_worst_seed_and_says_what_failed():
    lines = section(
        record(
            **{
                SQUEEZE: [run(0, 90.0, 900, 0.80), run(1, 100.0, 800, 0.82)],
                "TextBrewer, padded to 128": [run(0, 30.0, 1000, 0.80), run(1, 25.0, 1000, 0.81)],
                "TextBrewer, dynamic padding": [run(0, 50.0, 700, 0.81), run(1, 40.0, 700, 0.815)],
                "torchdistill, padded to 128": [{"seed": 0, "failed": "status 1 (a | b)"}],
                "torchdistill, dynamic padding": [run(0, 80.0, 1000, 0.9), run(1, 90.0, 1000, 0.9)],
            }
        )
    )
    found = "\n".join(lines)
    assert "textbrewer 1.0" in found
    assert "| squeeze | 95.0 (90.0 to 100) |  | 850 (800 to 900) | 81.0 (80.0 to 82.0) |" in found
    assert "| TextBrewer, padded to 128* | 27.5 (25.0 to 30.0) | 3.50 (3.00 to 4.00) |" in found
    assert "not trained: status 1 (a / b)" in found
    assert "an earlier run: 190 (180 to 200) texts/s" in found
    ends = {line.split(": ")[0] + line.rpartition("at least ")[2] for line in lines if line[:1] == "-"}
    assert {
        "- TextBrewer, padded to 1283: pass",
        "- TextBrewer, padded to 1280: pass",
        "- TextBrewer, dynamic padding2: inconclusive",
        "- TextBrewer, dynamic padding0: inconclusive",
        "- torchdistill, dynamic padding2: fail",
        "- torchdistill, dynamic padding3: fail",
        "- torchdistill, dynamic padding0: fail",
    } <= ends
    assert lines[-1].endswith("the leanest peer, TextBrewer, dynamic padding, 700 MB: fail")


def test_a_report_without_peaks_judges_none():
    name = "TextBrewer, dynamic padding"
    found = record(**{SQUEEZE: [run(0, 90.0, 900, 0.8)], name: [run(0, 30.0, 700, 0.8)]})
    del found["tools"][name]["runs"][0]["peak_bytes"]
    assert section(found)[-1] == "- peak memory: not measured"


def test_a_report_without_squeeze_or_peers_has_no_verdict():
    lines = section(record(squeeze=[run(0, 90.0, 900, 0.8)]))
    assert [line for line in lines if line[:1] == "-"] == [
        "- squeeze with the cache filled by an earlier run: 180 texts/s"
    ]
    lines = section(record(squeeze=[{"seed": 0, "failed": "status 1 (x)"}]))
    assert not [line for line in lines if line[:1] == "-"]


def test_a_kept_student_answers_the_same_with_two_kinds_of_tokens(tmp_path):
    one = tiny.classifier(type_vocab_size=1)
    one.save_pretrained(tmp_path / "student")
    (tmp_path / "tokenizer.json").write_text("12")
    training_peers._keep(tmp_path / "student", tmp_path, tmp_path / "kept")
    two = load_classifier(tmp_path / "kept", tiny.LABELS, untrained_head=False)
    assert two.config.type_vocab_size == 2
    ids, mask = tiny.batch()
    torch.testing.assert_close(two(ids, mask).logits, one(ids, mask).logits)
    assert (tmp_path / "kept" / "tokenizer.json").read_text() == "12"
    training_peers._keep(tmp_path / "none", tmp_path, tmp_path / "kept")  # the tool made none this time
    assert not (tmp_path / "kept").exists()
