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
from squeeze.profile.problems import Problem
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


def nested(levels: int) -> Any:
    """A list inside a list, and so on."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def refusal(data: dict[str, Any]) -> list[str]:
    with pytest.raises(ProfileError) as caught:
        parse(data, "x.toml", Path("/p"))
    assert caught.value.exit_code == 2
    return caught.value.message.splitlines()


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_made_from_a_form_that_is_written(precision):
    form = "int8-static" if precision == "int8" else "fp32"
    tensorrt = {"precision": precision}
    others = [each for each in ("fp32", "int8-static", "int8-dynamic") if each != form]
    (line,) = refusal(changed("export", {"forms": others, "tensorrt": tensorrt}))
    said = f"{precision} is made from {form}, which [export] forms must name"
    assert line == f"x.toml: [export.tensorrt] precision: {said}"
    assert parse(changed("export", {"forms": [form], "tensorrt": tensorrt}), "x.toml", Path("/p")).export


def test_a_model_whose_name_is_too_long_for_a_path_is_a_name():
    name = f"owner/{'x' * 5000}"
    profile = parse(changed("teacher.model", name), "x.toml", Path("/p"))
    assert profile.teacher
    assert profile.teacher.model == name


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("sed", 1, "x.toml: sed: unknown key (nearest: seed)"),
        (
            "distil.phases.0.losses.0.temprature",
            2,
            "[distil.phases.0.losses.0] temprature: unknown key (known: name, weight)",
        ),
        (
            "distil.phases.0.losses.0",
            {"name": "kl", "temprature": 2},
            "[distil.phases.0.losses.0] temprature: unknown key (nearest: temperature)",
        ),
        (
            "distil.phases.0.losses.0.k",
            2,
            "losses.0] k: has no effect on logit_mse, leave it out (it is a setting of topk_kd)",
        ),
        (
            "distil.phases.0.losses.0.temperature",
            2.0,
            "leave it out (it is a setting of soft_cross_entropy, kl, binary_kl, topk_kd)",
        ),
        (
            "distil.phases.0.losses.0",
            {"weight": 2.0},
            "losses.0] name: missing (one of cross_entropy, binary",
        ),
        ("distil.phases.0.losses.0", {"nam": "kl"}, "diswot_relation, diswot_semantic); unknown: nam"),
        ("distil.phases.0.losses.0", "kl", '[distil.phases.0.losses] 0: expected a table, got "kl"'),
        ("distil.phases.0.losses.0.name", 5, "losses.0] name: must be 'cross_entropy', 'binary_cross_"),
        ("distil.phases.0.losses.0.weight", -1, "losses.0] weight: must be greater than 0.0, got -1"),
        ("data.train", None, "x.toml: [data] train: missing (labelled text to learn from)"),
        ("name", "", "x.toml: name: must not be empty"),
        ("name", "../up", "x.toml: name: must match ^"),
        ("seed", "1", 'x.toml: seed: expected a whole number, got "1"'),
        ("seed", True, "x.toml: seed: expected a whole number, got true"),
        ("seed", {"a": 1}, "x.toml: seed: expected a whole number, got a table with a"),
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
        ("data.more_tests", {"a/b": "x.csv"}, "x.toml: [data.more_tests] a/b: a test's name has 1 to 64 of"),
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
            "task.label_map",
            {"good": "yes", "*": "noo"},
            "x.toml: [task.label_map] *: 'noo' is not one of [task] labels (nearest: no)",
        ),
        ("task.label_map", {"*": "zzz"}, "[task.label_map] *: 'zzz' is not one of [task] labels (yes, no)"),
        ("task.label_map", {"a": 1}, "[task.label_map] a: expected text, got 1"),
        (
            "teacher",
            {"models": [{"model": "a"}, {"model": "b", "label_map": {"x": "ja"}}]},
            "[teacher.models.1.label_map] x: 'ja' is not one of [task] labels (yes, no)",
        ),
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


def test_a_label_map_without_effect():
    own = {"model": "a", "label_map": {"a": "yes", "*": "no"}}
    raw = changed("task.label_map", {"a": "no", "*": "yes"})
    assert refusal({**raw, "teacher": {"models": [own, own]}}) == [
        "x.toml: [task] label_map: has no effect: every teacher has a label_map of its own"
    ]
    parse({**raw, "teacher": {"models": [own, {"model": "b"}]}}, "x.toml", Path("/p"))
    raw = {name: value for name, value in raw.items() if name in ("name", "task", "data")}
    assert refusal(raw) == [
        "x.toml: [task] label_map: has no effect without [teacher]: it maps a teacher's labels"
    ]


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


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        ("student.layers", 10**30, "[student] layers: must be at most 1000, got 1000000"),
        ("student.layers", [0, 10**6], "[student.layers] 1: must be less than 1000, got 1000000"),
        ("student.heads", 10**30, "[student] heads: must be at most 1024"),
        ("student.ffn", [10**30], "[student.ffn] 0: must be at most 1000000"),
        ("distil.phases.0.epochs", 10**30, "[distil.phases.0] epochs: must be at most 100000"),
        ("distil.augment.copies", 10**30, "[distil.augment] copies: must be at most 1000"),
        ("distil.phases.0.losses.0.weight", 1e300, "losses.0] weight: must be at most 1000000.0, got 1e+300"),
        ("bench.threads", 10**30, "[bench] threads: must be at most 1024"),
        ("bench.max_seconds", 1e9, "[bench] max_seconds: must be at most 86400"),
        ("search.trials", 10**30, "[search] trials: must be at most 1000000"),
        ("search.layers", [10**30], "[search]: `layers` must be at most 1000 everywhere"),
        ("search.layers", list(range(1, 100)), "[search] layers: takes at most 64 entries, got 99"),
        ("search.score", {"random": 1e300}, "[search]: `score`: the weight of random must lie within 1e+06"),
        ("data.limit", 10**30, "[data] limit: must be at most 1000000000"),
        ("seed", 10**4000, "seed: a number of more than 300 digits has no meaning here"),
        ("task.labels", [[[[]]] * 2, "a"], "[task.labels] 0: expected text"),
        ("seed", nested(33), "x.toml: seed: nested too deeply (more than 32 levels)"),
        ("seed", nested(32), "x.toml: seed: expected a whole number, got"),
    ],
)
def test_absurd_values_are_refused(place, value, line):
    (said,) = refusal(changed(place, value))
    assert line in said
    assert len(said) < 300


@pytest.mark.parametrize("key", ["validation", "test", "more_tests.other"])
@pytest.mark.parametrize("name", ["a.csv", "./a.csv", {"name": "sub/../a.csv", "label": "other"}])
def test_the_training_text_is_no_test(key, name):
    (said,) = refusal(changed(f"data.{key}", name))
    *above, last = f"data.{key}".split(".")
    assert said.startswith(f"x.toml: [{'.'.join(above)}] {last}: a.csv is the training text")


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("data.train", "~nosuchuser/x.csv", "[data] train"),
        ("data.test", {"name": "~nosuchuser/x.csv"}, "[data.test] name"),
        ("data.more_tests", {"far": "~nosuchuser/x.csv"}, "[data.more_tests] far"),
        ("data.more_tests", {"far": "hf:~nosuchuser/x"}, "[data.more_tests] far"),
        ("data.unlabelled", ["~nosuchuser/x.csv"], "[data.unlabelled] 0"),
        ("data.unlabelled", ["x.csv", "hf:~nosuchuser/set"], "[data.unlabelled] 1"),
        ("teacher.model", "~nosuchuser/model", "[teacher] model"),
        ("teacher", {"models": [{"model": "~nosuchuser/m"}]}, "[teacher.models.0] model"),
        ("teacher", {"models": [{"model": "a/b"}, {"model": "~nosuchuser/m"}]}, "[teacher.models.1] model"),
        ("student", {"init": "path", "path": "~nosuchuser/s"}, "[student] path"),
    ],
)
def test_the_home_of_a_user_who_is_not_there(place, value, named):
    (said,) = refusal(changed(place, value))
    assert said.startswith(f"x.toml: {named}: '~nosuchuser' names no user of this machine, got '")


def test_a_name_that_is_too_long_for_a_file_stays_a_name():
    name = "a" * 300
    profile = parse(changed("teacher.model", name), "x.toml", Path("/p"))
    assert profile.teacher is not None
    assert profile.teacher.model == name


def test_splits_of_one_source_are_not_the_same_text():
    data = changed("data.train", "builtin:crisis-demo")
    data["data"] |= {"validation": "builtin:crisis-demo", "test": "builtin:crisis-demo"}
    parse(data, "x.toml", Path("/p"))
    data["data"]["test"] = {"name": "builtin:crisis-demo", "split": "train"}
    assert "[data] test: builtin:crisis-demo is the training text" in refusal(data)[0]
    other_column = changed("data.test", {"name": "a.csv", "text": "title"})
    parse(other_column, "x.toml", Path("/p"))


def test_text_without_labels_is_named_once():
    (said,) = refusal(changed("data.unlabelled", ["c.csv", "d.csv", "./c.csv"]))
    assert said == "x.toml: [data.unlabelled] 2: c.csv stands twice"


@pytest.mark.parametrize(
    ("phase", "line"),
    [
        ({"patience": 1, "losses": [{"name": "hidden_mse"}]}, "[distil.phases.0] patience: no loss of it"),
        ({"losses": [{"name": "topk_kd", "k": 3}]}, "[distil.phases.0.losses.0] k: topk_kd takes 3 labels"),
        ({"data": "unlabelled"}, '[distil.phases.0] data: "unlabelled" needs [data] unlabelled, or copies'),
    ],
)
def test_what_no_phase_can_do_is_refused_by_its_table(phase, line):
    (said,) = refusal(changed("distil.phases.0", {**PHASE, **phase}))
    assert line in said


def test_changed_copies_are_text_without_labels():
    phase = {"phases": [{**PHASE, "data": "unlabelled"}], "augment": {"copies": 1}}
    parse(changed("distil", phase), "x.toml", Path("/p"))


@pytest.mark.parametrize(
    ("search", "student", "line"),
    [
        (
            {"embedding": ["dense", "sparse"]},
            {},
            "1: [search] embedding: 'sparse' is unknown",
        ),
        ({"embedding": ["product-0"]}, {}, "'product-0': subvectors: Input should be greater"),
        ({"embedding": ["product-" + "9" * 5000]}, {}, "is unknown (dense, product-SUBVECTORS"),
        ({}, {"init": "path", "path": "s"}, '[student] init: "path" has a shape'),
        ({"score": {"carved_kl": 1.0}}, {"init": "random"}, "[search] score: carved_kl needs a student that"),
        (
            {name: list(range(1, 65)) for name in ("layers", "heads", "ffn")},
            {},
            "[search]: more than 100,000",
        ),
    ],
)
def test_a_search_that_cannot_be_made_is_refused(search, student, line):
    data = {**WHOLE, "search": search, "student": student, "budget": {"form": "fp32"}}
    (said,) = refusal(data)
    assert line in said


def test_layers_to_keep_are_counted_from_0():
    (said,) = refusal({**WHOLE, "prune": {"layers": [0, -1]}})
    assert said == "x.toml: [prune] layers: layers are counted from 0, got -1"


def test_the_judged_form_of_a_scheme_that_is_chosen_is_one_of_all():
    data = {**WHOLE, "quantize": {"scheme": "auto"}, "budget": {"form": "int4-weight"}}
    parse(data, "x.toml", Path("/p"))
    (said,) = refusal({**data, "budget": {"form": "int5"}})
    assert said.startswith("x.toml: [budget] form: must be one of [export] forms fp32")


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


SPLIT = "makes it out of train; name one or the other"


def test_one_file_needs_a_split_and_a_split_one_file():
    data = changed("data.validation", None)
    assert refusal(data) == [
        "x.toml: [data] validation: missing (labelled text to choose on: early stop, parity, calibration; "
        "needed unless `split` is given)"
    ]
    data["data"]["split"] = {"by": "event"}
    assert refusal(data) == [f"x.toml: [data] test: [data] split {SPLIT}"]
    del data["data"]["test"]
    profile = parse(data, "x.toml", Path("/p"))
    assert profile.data.split is not None
    assert (profile.data.split.by, profile.data.split.test, profile.data.validation) == ("event", 0.1, None)
    assert (profile.data.train, profile.data.test) == ("/p/a.csv", None)
    both = changed("data.split", {})
    assert refusal(both) == [
        f"x.toml: [data] {slot}: [data] split {SPLIT}" for slot in ("validation", "test")
    ]


@pytest.mark.parametrize(
    ("split", "line"),
    [
        ({"validation": 0.5, "test": 0.4}, "[data] split: validation and test must be below 0.9 of the rows"),
        ({"validation": 0}, "[data.split] validation: must be greater than 0.0, got 0"),
        ({"test": 1}, "[data.split] test: must be less than 1.0, got 1"),
        ({"by": ""}, "[data.split] by: must not be empty"),
        ({"be": "date"}, "[data.split] be: unknown key (known: by, test, validation)"),
        ("random", '[data] split: expected a table, got "random"'),
    ],
)
def test_splits_that_cannot_be_made(split, line):
    data = changed("data.split", split)
    del data["data"]["validation"], data["data"]["test"]
    (said,) = refusal(data)
    assert said.startswith(f"x.toml: {line}")


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
        ("a = " + "[" * 5000, "nested too deeply (more than 32 levels)"),
        ("seed = " + "9" * 5000, "not valid TOML: "),
        ("\x00", "not valid TOML: "),
        ("[data]\ntrain = 2020-01-01\n", "[data] train: dates and times have no meaning here"),
        ("seed = inf\n", "seed: "),
        ("seed = 0x" + "F" * 5000, "x.toml: seed: a number of more than 300 digits"),
        ("[" + ".".join("a" * 2000) + "]", "x.toml: a: nested too deeply (more than 32 levels)"),
        ("seed = " + "[" * 210 + "]" * 210, "x.toml: "),
        ("#" * 1_000_001, "x.toml: more than 1,000 kB, which no profile has"),
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


def test_a_profile_that_never_ends_is_refused():
    with pytest.raises(ProfileError, match="/dev/zero: more than 1,000 kB"):
        load(Path("/dev/zero"))


def test_a_fault_without_a_place_names_the_file():
    assert Problem((), "is wrong").line("x.toml") == "x.toml: is wrong"


@pytest.mark.parametrize("levels", [35, 210, 5000])
@pytest.mark.parametrize("form", ["list", "table", "keys"])
def test_deep_overrides_are_refused(file, levels, form):
    text = {
        "list": "seed=" + "[" * levels + "]" * levels,
        "table": "seed=" + "{a=" * levels + "1" + "}" * levels,
        "keys": ".".join(["seed"] * levels) + "=1",
    }[form]
    with pytest.raises(ProfileError, match=r"^--set seed\S*: nested too deeply \(more than 32 levels\)$"):
        load(file(MINIMAL), [text])


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
        ("distil.phases." + "9" * 5000 + ".epochs=1", "is a list of 1 entry, counted from 0; 999"),
        ("task.labels=[" + "9" * 5000 + "]", "--set task.labels: not a TOML value: [999"),
        ("seed=0x" + "f" * 5000, "--set seed: a number of more than 300 digits"),
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
