from __future__ import annotations

import json
import tomllib

import pytest
import torch

from squeeze.errors import ProfileError
from squeeze.models.head_labels import (
    Head,
    check_head,
    check_problem_type,
    fitting_map,
    match,
    mismatch,
    read_head,
)
from squeeze.models.teacher import load_classifier, standardise_head
from tests import tiny
from tests.labelled import single_label, task

PLACE = "teacher/"
TASK = single_label(("x", "y")).section


def head(*names):
    return Head(names, PLACE)


def outputs(names, labels, label_map=None):
    """The one output of each label; None for a head of other labels."""
    order = match(head(*names), labels, label_map)
    assert order is None or not order.sums
    return None if order is None else [group[0] for group in order.groups]


def counted(count):
    return [f"LABEL_{i}" for i in range(count)]


# which names config.json gives to the outputs


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"id2label": {"0": "a", "1": "b"}}, ("a", "b")),
        ({"id2label": {str(i): chr(97 + i) for i in (10, 2, 0, 1, *range(3, 10))}}, tuple("abcdefghijk")),
        ({"id2label": {"1": "b", "0": "a"}, "label2id": {"b": 1, "a": 0}}, ("a", "b")),
        ({"id2label": {"0": 0, "1": 1}}, ("0", "1")),
        ({"label2id": {"b": "1", "a": "0"}}, ("a", "b")),
        ({"num_labels": 3}, ("LABEL_0", "LABEL_1", "LABEL_2")),
        ({"id2label": None, "label2id": {}}, ("LABEL_0", "LABEL_1")),
        # only one of the two was named, the other is the library's default
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}, ("a", "b")),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"b": 1, "a": 0}}, ("a", "b")),
    ],
)  # fmt: skip
def test_names_of_the_outputs(config, names):
    assert read_head(config, PLACE).names == names


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "does not count its outputs from 0 without gaps: 0, 2"),
        ({"id2label": {"1": "a", "2": "b"}}, "without gaps"),
        ({"id2label": {"0": "a", "x": "b"}}, "without gaps"),
        ({"id2label": {"0": "a", "00": "b"}}, "without gaps"),
        ({"label2id": {"a": 0, "b": 0}}, "does not give every label an output of its own: a = 0, b = 0"),
        ({"label2id": {"a": 0, "b": 2}}, "an output of its own"),
        ({"label2id": {"a": 0, "b": None}}, "an output of its own"),
        (
            {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 1, "b": 0}},
            "output 0 is 'a' in id2label and 'b' in label2id",
        ),
        ({"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1, "c": 2}}, "label2id has 3"),
        ({"num_labels": "2"}, "num_labels of its config.json is 2"),
        ({"num_labels": 10**30}, "not a count of outputs"),
    ],
)
def test_names_that_contradict_themselves(config, said):
    with pytest.raises(ProfileError, match="teacher/: ") as caught:
        read_head(config, PLACE)
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    # a head that is replaced may say what it likes
    assert check_head(config, PLACE, TASK, None, trained=True) == ()


# which output answers for which label


@pytest.mark.parametrize(
    ("names", "labels", "expected"),
    [
        (["b", "a"], ["a", "b"], [1, 0]),
        (["A", "a"], ["a", "A"], [1, 0]),  # alike but for case: exact names decide
        (["NEG", " Pos "], ["pos", "neg"], [1, 0]),
        (["cafe\u0301", "tea"], ["tea", "caf\u00e9"], [1, 0]),  # Unicode forms
        (counted(12), sorted(map(str, range(12))), [0, 1, 10, 11, *range(2, 10)]),
        (counted(77), [str(i) for i in range(77)], list(range(77))),
        ([f"label {i}" for i in (1, 0)], ["0", "1"], [1, 0]),
        (counted(3), ["02", "00", "01"], [2, 0, 1]),
        (["1", "0"], ["0", "1"], [1, 0]),
        (["01", "02", "03"], ["3", "1", "2"], [2, 0, 1]),
        (["5", "3", "4"], ["3", "4", "5"], [1, 2, 0]),
        (["-1", "0", "1"], ["1", "0", "-1"], [2, 1, 0]),
        (counted(2), ["LABEL_1", "LABEL_0"], [1, 0]),
    ],
)
def test_names_and_numbers_prove_the_order(names, labels, expected):
    assert outputs(names, labels) == expected
    order = match(head(*names), labels)
    assert order is not None
    assert order.assumed == ""


@pytest.mark.parametrize(
    ("names", "labels", "expected", "said"),
    [
        (counted(2), ["yes", "no"], [0, 1], "in the order of [task] labels: yes, no"),
        (["LABEL_1", "LABEL_0"], ["yes", "no"], [1, 0], "in the order of [task] labels: yes, no"),
        (["0", "1"], ["yes", "no"], [0, 1], "(0, 1, ...); they are taken in the order of [task] labels"),
        (counted(3), ["1", "2", "x"], [0, 1, 2], "in the order of [task] labels: 1, 2, x"),
        (counted(5), ["5", "4", "1", "2", "3"], [4, 3, 0, 1, 2], "for the labels 1, 2, 3, 4, 5 in this"),
        (counted(3), ["1", "0", "-1"], [2, 1, 0], "for the labels -1, 0, 1 in this order"),
    ],
)  # fmt: skip
def test_an_order_that_is_assumed_is_warned_of(names, labels, expected, said):
    assert outputs(names, labels) == expected
    config = {"id2label": dict(enumerate(names))}
    (warning,) = check_head(config, PLACE, single_label(labels).section, None, trained=False)
    assert warning.startswith(
        f"teacher {PLACE}: its head only counts its outputs ({names[0]}, {names[1]}, ...)"
    )
    assert said in warning
    assert check_head(config, PLACE, single_label(labels).section, None, trained=True) == ()


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["a", "b"], ["a", "c"]),
        (["a", "b"], ["a", "b", "c"]),
        (counted(3), ["a", "b"]),
        (["1", "2"], ["0", "1"]),  # two numberings: which is which is anybody's guess
        (["a", "b"], ["0", "1"]),
        (counted(2), ["1", "01"]),
        (["LABEL_0", "LABEL_00"], ["0", "1"]),
        (["LABEL_1", "LABEL_2"], ["a", "b"]),
        (["x", "X"], ["x", "y"]),
    ],
)
def test_a_head_for_other_labels(names, labels):
    assert match(head(*names), labels) is None
    config = {"id2label": dict(enumerate(names))}
    with pytest.raises(ProfileError, match=r"its labels are .*, the task's are ") as caught:
        check_head(config, PLACE, single_label(labels).section, None, trained=False)
    assert f'[task.label_map] ("{names[0]}" = "{labels[0]}", ...)' in caught.value.hint
    assert check_head(config, PLACE, single_label(labels).section, None, trained=True) == ()


def test_one_output_is_no_classifier():
    assert "looks like regression" in mismatch(head("score"), ["a", "b"]).message


# label maps


@pytest.mark.parametrize(
    ("names", "label_map", "groups"),
    [
        ("abc", {"a": "x", "b": "y", "c": "x"}, ((0, 2), (1,))),
        ("abcd", {"b": "x", "*": "y"}, ((1,), (0, 2, 3))),
        ("ab", {"A": "y", " b": "x"}, ((1,), (0,))),
        (counted(3), {"0": "x", "2": "x", "LABEL_1": "y"}, ((0, 2), (1,))),
        (("1", "0"), {"0": "x", "1": "y"}, ((1,), (0,))),  # these are names
        (("neg", "pos"), {"0": "y", "1": "x"}, ((1,), (0,))),
        (("a", "A"), {"a": "x", "A": "y"}, ((0,), (1,))),
    ],
)
def test_a_map_names_labels_of_the_teacher(names, label_map, groups):
    order = match(head(*names), ("x", "y"), label_map)
    assert order is not None
    assert (order.groups, order.assumed) == (groups, "")
    assert order.sums == any(len(group) > 1 for group in groups)


@pytest.mark.parametrize(
    ("names", "label_map", "said"),
    [
        (("good", "bad"), {"god": "x", "bad": "y"}, "'god': not a label of teacher/ (nearest: 'good')"),
        (("1", "2"), {"1": "x", "0": "y"}, "'0': not a label of teacher/"),
        (("a", "b"), {"a": "x", "2": "y"}, "'2': not a label of teacher/"),
        (("a", "a"), {"a": "x", "1": "y"}, "'a': not a label of teacher/"),
        (("a", "b", "c"), {"a": "x", "b": "y"}, "1 labels of teacher/ stand for nothing: 'c'"),
        (("a", "b"), {"a": "x", "b": "x"}, "nothing of teacher/ stands for 'y'"),
        (("a", "b"), {"a": "x", "0": "y"}, "'0': names an output of teacher/ a second time"),
        (("a", "b"), {"a": "x", "b": "y", "*": "x"}, '"*": has no effect'),
    ],
)
def test_a_map_that_does_not_fit(names, label_map, said):
    with pytest.raises(ProfileError) as caught:
        check_head({"id2label": dict(enumerate(names))}, PLACE, TASK, label_map, trained=True)
    assert said in caught.value.message
    assert caught.value.message.startswith("[task.label_map]")


def test_the_map_that_fits_is_toml():
    names = ('say "hi"', "b\\", "c")
    order = match(head(*names), ("x", "y"), {'say "hi"': "x", "b\\": "y", "c": "x"})
    assert order is not None
    line = fitting_map(head(*names), order, ("x", "y"), (1, 0))
    assert tomllib.loads(line) == {"label_map": {'say "hi"': "y", "b\\": "x", "c": "y"}}
    assert json.dumps(names[0]) in line


# what the outputs stand for


@pytest.mark.parametrize(
    ("problem_type", "config", "assumed"),
    [
        ("single_label_classification", {"num_labels": 2}, ""),
        ("multi_label_classification", {"num_labels": 2, "problem_type": "multi_label_classification"}, ""),
        ("multi_label_classification", {"num_labels": 2}, "names no problem_type; its outputs are taken for"),
        ("regression", {"num_labels": 1}, ""),
        ("regression", {"num_labels": 2}, "config.json names no problem_type"),
    ],
)
def test_what_a_head_is_made_for_is_read_or_assumed(problem_type, config, assumed):
    found = check_problem_type(config, PLACE, problem_type)
    assert (assumed in found) if assumed else found == ""


@pytest.mark.parametrize("kind", ["regression", "multi_label_classification"])
def test_a_head_for_another_task_is_refused_unless_it_will_be_trained(kind, tmp_path):
    tiny.save_classifier(tmp_path, problem_type=kind)
    wanted = "single_label_classification"
    with pytest.raises(ProfileError, match=f"its head is made for {kind}, ") as caught:
        load_classifier(tmp_path, tiny.LABELS, untrained_head=False, problem_type=wanted)
    assert "problem_type" in caught.value.hint
    model = load_classifier(tmp_path, tiny.LABELS, untrained_head=True, problem_type=wanted)
    assert model.config.problem_type == wanted
    same = load_classifier(tmp_path, tiny.LABELS, untrained_head=False, problem_type=kind)
    assert same.config.problem_type == kind


def test_only_one_label_a_text_sums_probabilities():
    section = task("multi_label_classification", ("x", "y")).section
    config = {"id2label": dict(enumerate("abc"))}
    with pytest.raises(ProfileError, match="do not exclude each other"):
        check_head(config, PLACE, section, {"a": "x", "b": "x", "c": "y"}, trained=False)


def test_a_regression_head_is_brought_to_standardised_values(tmp_path):
    tiny.save_classifier(tmp_path)
    model, plain = (load_classifier(tmp_path, tiny.LABELS, untrained_head=False) for _ in range(2))
    mean, scale = [float(i) for i in range(len(tiny.LABELS))], [0.5 + i for i in range(len(tiny.LABELS))]
    standardise_head(model, mean, scale)
    ids = torch.tensor([[2, 5, 6, 3]])
    values = (plain(input_ids=ids).logits - torch.tensor(mean)) / torch.tensor(scale)
    torch.testing.assert_close(model(input_ids=ids).logits, values, atol=1e-5, rtol=1e-5)
