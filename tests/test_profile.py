"""Profiles: what is refused, how it is said, where paths lead, where values come from."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from squeeze.costs.request import FORMS
from squeeze.errors import ProfileError
from squeeze.profile import explain, load, parse
from squeeze.profile.overrides import parse as parse_override
from squeeze.stages.search.stage import PREDICTED

BOM = "\ufeff"
PROFILES = Path(__file__).resolve().parent.parent / "profiles"
PHASE = {"name": "one", "losses": [{"name": "logit_mse"}]}
WHOLE: dict[str, Any] = {
    "name": "x",
    "task": {"labels": ["yes", "no"]},
    "data": {"train": "a.csv", "validation": "b.csv", "test": "c.csv"},
    "teacher": {"model": "builtin:minilm-l6"},
    "distil": {"phases": [PHASE]},
    "export": {},
    "bench": {},
    "budget": {},
}


def changed(place: str, value: Any) -> dict[str, Any]:
    """The whole profile with one value put in; None takes it out."""
    data = copy.deepcopy(WHOLE)
    *above, key = place.split(".")
    here: Any = data
    for step in above:
        here = here[int(step)] if isinstance(here, list) else here.setdefault(step, {})
    if value is None:
        del here[key]
    else:
        here[int(key) if isinstance(here, list) else key] = value
    return data


def refusal(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        parse(data, "x.toml", Path("/p"))
    assert caught.value.exit_code == 2
    return caught.value.message.splitlines()


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("sed", 1, "x.toml: sed: unknown key (nearest: seed)"),
        (
            "distil.phases.0.losses.0.temprature",
            2,
            "[distil.phases.0.losses.0] temprature: unknown key (nearest: temperature)",
        ),
        ("data.train", None, "x.toml: [data] train: missing (labelled text to learn from)"),
        ("name", "", "x.toml: name: must not be empty"),
        ("name", "../up", "x.toml: name: must match ^"),
        ("seed", "1", 'x.toml: seed: expected a whole number, got "1"'),
        ("seed", True, "x.toml: seed: expected a whole number, got true"),
        ("seed", -1, "x.toml: seed: must be at least 0, got -1"),
        ("seed", 2**32, "x.toml: seed: must be less than 4294967296"),
        ("task.labels", ["yes"], "x.toml: [task] labels: needs at least 2 entries, got 1"),
        ("task.labels", ["a", "a"], "x.toml: [task]: labels stand twice: a"),
        ("data.train", 5, "x.toml: [data] train: expected text or a table, got 5"),
        ("data.train", "", "x.toml: [data] train: must not be empty"),
        ("budget.recall", {"yes": 0.5, "no": 2}, "x.toml: [budget.recall] no: must lie between 0 and 1"),
        (
            "data.train",
            {"name": "a.csv", "splt": "x"},
            "x.toml: [data.train] splt: unknown key (nearest: split)",
        ),
        ("data.more_tests", {"str": 5}, "x.toml: [data.more_tests] str: expected text or a table, got 5"),
        ("data.more_tests", {"train": "x.csv"}, "x.toml: [data.more_tests] train: the name is taken"),
        ("data.more_tests", {"a/b": "x.csv"}, "x.toml: [data.more_tests] a/b: a test's name may hold"),
        ("teacher", [1], "x.toml: teacher: expected a table, got [1]"),
        ("teacher.model", None, "x.toml: [teacher]: give either `model` or `models`"),
        ("student.layers", 0.5, "x.toml: [student] layers: expected a whole number or a list, got 0.5"),
        ("student.layers", [0, -1], "x.toml: [student] layers: layers are counted from 0, got -1"),
        ("student.heads", [1, "a"], 'x.toml: [student.heads] 1: expected a whole number, got "a"'),
        (
            "student.max_positions",
            64,
            "x.toml: [student] max_positions: must be at least [task] max_length = 128, got 64",
        ),
        ("distil.phases", [], "x.toml: [distil] phases: needs at least 1 entry, got 0"),
        ("distil.phases.0.losses.0.name", "logit_ms", "(nearest: logit_mse)"),
        (
            "distil.phases.0.decay",
            "liner",
            "x.toml: [distil.phases.0] decay: must be 'linear', 'cosine' or 'constant'",
        ),
        (
            "distil.phases.0.alpha",
            "x",
            "x.toml: [distil.phases.0] alpha: expected a number or 'auto', got \"x\"",
        ),
        (
            "distil.phases.0",
            {**PHASE, "teacher": "base", "losses": [{"name": "hidden_mse"}]},
            '[distil.phases.0] teacher: "base" needs [teacher] keep_base = true',
        ),
        ("distil.phases.0.clip", float("nan"), "x.toml: [distil.phases.0] clip: "),
        ("teacher", None, "x.toml: [distil]: needs a section [teacher]"),
        ("distil", None, "x.toml: [export]: needs a section [distil] or [prune]"),
        ("prune", {}, "x.toml: [prune]: nothing to cut"),
        (
            "prune",
            {"share": 0.5, "phases": [{**PHASE, "teacher": "base", "losses": [{"name": "hidden_mse"}]}]},
            '[prune.phases.0] teacher: "base" needs [teacher] keep_base = true',
        ),
        ("export", None, "x.toml: [bench]: needs a section [export]"),
        ("bench", None, "x.toml: [budget]: needs a section [bench]"),
        (
            "bench.min_seconds",
            100,
            "x.toml: [bench] min_seconds: must be at most [bench] max_seconds = 60, got 100",
        ),
        ("bench.sequence", 200, "x.toml: [bench] sequence: must be at most 128"),
        (
            "budget.form",
            "int4",
            "x.toml: [budget] form: must be one of [export] forms fp32, int8-dynamic, got 'int4'",
        ),
        (
            "budget.recall",
            {"yess": 0.5},
            "x.toml: [budget.recall] yess: not a label of [task] labels (nearest: yes)",
        ),
        ("budget.recall", {"no": 3.0}, "x.toml: [budget.recall] no: must lie between 0 and 1, got 3"),
        (
            "export.quantizer",
            "nncf",
            "x.toml: [export] quantizer: nncf makes int8-static, and [export] forms names int8-dynamic",
        ),
        (
            "export",
            {"quantizer": "onnxruntime", "forms": ["fp32", "int4-weight"]},
            "x.toml: [export] quantizer: onnxruntime would have nothing to make: [export] forms names no",
        ),
        (
            "export",
            {"quantizer": "onnxruntime", "forms": ["int8-static"]},
            "[export] calibration: onnxruntime cuts ranges by one of minmax, percentile, entropy, got 'mse'",
        ),
    ],
)
def test_what_is_wrong_is_named_on_one_line(place, value, line):
    (said,) = refusal(changed(place, value))
    assert line in said


def test_a_form_of_the_quantize_stage_is_not_the_quantizers():
    trained = {"scheme": "int8-static", "phases": [PHASE]}
    asked = {"forms": ["int8-dynamic", "int8-static"], "quantizer": "onnxruntime"}
    parse({**WHOLE, "quantize": trained, "export": asked}, "x.toml", Path("/p"))
    (said,) = refusal({**WHOLE, "quantize": trained, "export": {**asked, "forms": ["int8-static"]}})
    assert "onnxruntime would have nothing to make" in said
    (said,) = refusal({**WHOLE, "quantize": {**trained, "scheme": "auto"}, "export": asked})
    assert "[export] calibration: onnxruntime cuts ranges by" in said


def test_budgets_are_judged_on_one_of_the_targets_that_are_measured():
    data = {**WHOLE, "bench": {"targets": ["cpu", "ssh:board"]}}
    judged = {target: {**data, "budget": {"p95_ms": 5, "target": target}} for target in ("ssh:board", "adb")}
    parse(judged["ssh:board"], "x.toml", Path("/p"))
    (said,) = refusal(judged["adb"])
    assert "[budget] target: must be one of [bench] targets cpu, ssh:board, got 'adb'" in said
    (said,) = refusal({**judged["ssh:board"], "search": {}})
    assert "a search predicts latency on this machine's cpu only" in said


def test_a_search_refuses_phases_that_train_no_head():
    mimic = {**PHASE, "losses": [{"name": "pooled_mimic"}]}
    data = {**WHOLE, "search": {}, "distil": {"phases": [mimic]}}
    assert refusal(data) == [
        "x.toml: [distil] phases: none trains the head, and [search] compares finalists by their answers; "
        "add a loss on answers, such as logit_mse"
    ]
    answers = {**PHASE, "name": "answers", "losses": [{"name": "cross_entropy"}]}
    parse({**data, "distil": {"phases": [mimic, answers]}}, "x.toml", Path("/p"))
    parse({**data, "search": None}, "x.toml", Path("/p"))


def test_a_search_refuses_a_form_whose_latency_it_cannot_predict():
    data = {**WHOLE, "search": {}, "export": {"forms": ["fp32", "int8-static"]}}
    (said,) = refusal(data)
    assert said == (
        "x.toml: [budget] form: a search predicts the latency of fp32 or int8-dynamic only, "
        "and int8-static would be judged; name one"
    )
    parse({**data, "budget": {"form": "fp32"}}, "x.toml", Path("/p"))
    assert set(PREDICTED) == set(FORMS)


def test_every_problem_has_its_line():
    data = {**WHOLE, "seed": -1, "bench": {"threads": 0, "runs": 3}}
    assert [line.split(": ")[1] for line in refusal(data)] == ["seed", "[bench] threads", "[bench] runs"]


def test_sections_switch_stages_off():
    profile = parse({key: WHOLE[key] for key in ("name", "task", "data")}, "x.toml", Path("/p"))
    assert (profile.teacher, profile.budget, profile.student.layers) == (None, None, 3)


def test_paths_are_those_of_the_profile(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    data = {
        **WHOLE,
        "data": {
            "train": "../a.csv",
            "validation": {"name": "b.csv"},
            "test": "builtin:crisis-demo",
            "more_tests": {"hub": "hf:owner/set", "local": "hf:./set"},
            "unlabelled": ["/abs.csv", "sub/c.csv"],
        },
        "teacher": {"models": [{"model": "model"}, {"model": "owner/name"}, {"model": "./other"}]},
        "student": {"init": "path", "path": "old"},
    }
    profile = parse(data, "x.toml", tmp_path)
    up = tmp_path.parent
    assert profile.data.train == f"{up}/a.csv"
    assert profile.data.validation.name == f"{tmp_path}/b.csv"  # type: ignore[union-attr]
    assert profile.data.test == "builtin:crisis-demo"
    assert dict(profile.data.more_tests) == {"hub": "hf:owner/set", "local": f"hf:{tmp_path}/set"}
    assert profile.data.unlabelled == ("/abs.csv", f"{tmp_path}/sub/c.csv")
    assert profile.teacher is not None
    models = [member.model for member in profile.teacher.models]
    assert models == [f"{tmp_path}/model", "owner/name", f"{tmp_path}/other"]
    assert profile.student.path == f"{tmp_path}/old"
    # read from elsewhere, by a relative name: the same
    monkeypatch.chdir(up)
    assert parse(data, "x.toml", Path(tmp_path.name)) == profile


@pytest.fixture
def file(tmp_path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "x.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("name = \n", "not valid TOML: Invalid value (at line 1, column 8)"),
        ("a = 1\na = 2\n", "not valid TOML: Cannot overwrite a value (at line 2, column 6)"),
        (b"name = '\xff'", "not UTF-8 text (byte 8)"),
        ("a = " + "[" * 5000, "not valid TOML: nested too deeply"),
        ("seed = " + "9" * 5000, "not valid TOML: "),
        ("\x00", "not valid TOML: "),
        ("[data]\ntrain = 2020-01-01\n", "[data] train: dates and times have no meaning here"),
        ("seed = inf\n", "seed: "),
        ("", "name: missing (name of the run"),
    ],
)
def test_files_that_are_no_profiles(file, content, said):
    with pytest.raises(ProfileError) as caught:
        load(file(content))
    assert said in caught.value.message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ProfileError, match="cannot be read") as caught:
        load(tmp_path / "none.toml")
    assert "init" in caught.value.hint
    with pytest.raises(ProfileError, match="cannot be read"):
        load(tmp_path)


MINIMAL = """
name = "x"
[task]
labels = ["yes", "no"]
[data]
train = "a.csv"
validation = "b.csv"
test = "c.csv"
[teacher]
model = "builtin:minilm-l6"
[[distil.phases]]
name = "one"
losses = [{ name = "logit_mse" }]
"""


def test_overrides(file):
    sets = [
        "seed=7",
        "distil.phases.0.epochs=1",
        "task.labels=['a', 'b']",
        "student.heads=4",
        "name=word",
        "export.opset=18",
    ]
    profile = load(file(MINIMAL), sets).profile
    assert (profile.seed, profile.name, profile.task.labels, profile.student.heads) == (
        7,
        "word",
        ("a", "b"),
        4,
    )
    assert profile.distil is not None
    assert profile.distil.phases[0].epochs == 1
    assert profile.export is not None
    assert profile.export.opset == 18


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed", "--set seed: not of the form key=value"),
        ("=1", "--set =1: not of the form key=value"),
        ("task..labels=1", "--set task..labels=1: not of the form"),
        ("sed=1", "--set sed: unknown key (nearest: seed)"),
        ("bench.threds=1", "--set bench.threds: unknown key (nearest: threads)"),
        ("seed=one", '--set seed: expected a whole number, got "one"'),
        ("task.labels=[1", "--set task.labels: not a TOML value: [1"),
        (
            "distil.phases.3.epochs=1",
            "--set distil.phases.3: distil.phases is a list of 1 entry, counted from 0; 3 is none",
        ),
        ("distil.phases.epochs=1", "--set distil.phases.epochs: distil.phases is a list of 1 entry"),
        ("seed.low=1", "--set seed.low: seed is a plain value"),
        (
            "distil.phases.0.losses.0.name=nothing",
            "--set distil.phases.0.losses.0.name: must be 'cross_entropy'",
        ),
    ],
)
def test_a_wrong_override_names_its_key(file, override, said):
    text = MINIMAL.replace("name =", "seed = 1\nname =", 1)
    with pytest.raises(ProfileError) as caught:
        load(file(text), [override])
    assert said in caught.value.message
    assert "x.toml" not in caught.value.message


@pytest.mark.parametrize(
    ("override", "key", "blamed"),
    [
        ("0.1=3", ": 0: unknown key", "0.1"),
        ('task.labels=["a", "a"]', ": [task]: labels stand twice", "task.labels"),
    ],
)
def test_an_override_inside_of_what_is_wrong_is_named(file, override, key, blamed):
    with pytest.raises(ProfileError) as caught:
        load(file(MINIMAL), [override])
    assert key in caught.value.message
    assert caught.value.message.endswith(f"(changed by --set {blamed})")


def test_values_of_overrides():
    assert parse_override("a.0.b=1.5") == (("a", 0, "b"), 1.5)
    assert parse_override("a=two words") == (("a",), "two words")
    assert parse_override("a=1\nb = 2") == (("a",), "1\nb = 2")
    assert parse_override("a=x=y") == (("a",), "x=y")


def test_explain_knows_where_every_value_came_from(file):
    values = {value.key: value for value in explain(load(file(MINIMAL), ["seed=7", "task.max_length=32"]))}
    assert (values["seed"].value, values["seed"].origin) == (7, "--set")
    assert values["task.max_length"].origin == "--set"
    assert values["task.labels"].value == ["yes", "no"]
    assert values["distil.phases.0.losses.0.name"].origin == "profile"
    assert (values["distil.phases.0.epochs"].value, values["distil.phases.0.epochs"].origin) == (3, "default")
    assert (values["bench"].value, values["bench"].origin) == (None, "default")
    assert [key for key, value in values.items() if not value.meaning and "losses" not in key] == []


def test_explain_opens_tables_of_plain_values(file):
    recall = "[export]\n[bench]\n[budget]\nrecall = { yes = 0.5 }\n"
    values = {value.key: value.value for value in explain(load(file(MINIMAL + recall)))}
    assert values["budget.recall.yes"] == 0.5


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_profiles_load(path):
    loaded = load(path)
    assert loaded.profile.name
    assert {value.origin for value in explain(loaded)} == {"profile", "default"}


def test_the_smoke_profile_is_there():
    assert (PROFILES / "smoke.toml").exists()


def test_a_byte_order_mark_and_line_ends_of_windows_change_nothing(tmp_path):
    text = (PROFILES / "smoke.toml").read_text(encoding="utf-8")
    (tmp_path / "x.toml").write_text(BOM + text.replace("\n", "\r\n"), encoding="utf-8", newline="")
    assert load(tmp_path / "x.toml").profile == load(PROFILES / "smoke.toml").profile


def test_what_is_no_text_is_refused():
    assert refusal(changed("data.train", "a\udcff")) == ["x.toml: [data] train: is not UTF-8 text"]
    assert refusal(changed("data.train", "a\0.csv")) == ["x.toml: [data] train: NUL has no meaning in a text"]


@pytest.mark.parametrize("text", ["name=a\udcff", "\udcff=3"])
def test_an_override_that_is_not_utf8_is_refused(text):
    with pytest.raises(ProfileError, match="not UTF-8 text") as caught:
        parse_override(text)
    assert "\udcff" not in caught.value.message
