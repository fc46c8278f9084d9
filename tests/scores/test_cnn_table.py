"""Scores of untrained ResNets by name: baselines that can be counted, DisWOT with and without one width."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kendalltau

from benchmarks import cnn_search
from squeeze.core import diswot
from squeeze.costs import resnet as costs
from squeeze.models.encoder import parameters
from squeeze.models.resnet import ResNet, ResNetShape
from squeeze.scores import cnn
from squeeze.scores.cnn_table import Ground, score_all
from squeeze.stages.search.cnn.space import all_of

TEACHER = ResNetShape(depths=(2, 1, 2), widths=(4, 6, 8), labels=5)
STUDENT = ResNetShape(depths=(1, 1, 1), widths=(4, 6, 8), labels=5)
NARROW = ResNetShape(depths=(1, 1, 1), widths=(4, 6, 7), labels=5)


def ground(**changes):
    generator = torch.Generator().manual_seed(0)
    return Ground(TEACHER, torch.randn(8, 3, 8, 8, generator=generator), torch.arange(8) % 5, **changes)


def test_diswot_is_the_average_over_starts_that_the_two_sides_do_not_share():
    found = score_all(STUDENT, ground(seed=3))
    images, labels = ground().images, ground().labels
    teachers = cnn.views(TEACHER, images, labels, range(30, 35))
    students = cnn.views(STUDENT, images, labels, range(35, 40))
    wanted = cnn.distances(teachers, students)
    assert found["diswot"] == wanted.score
    assert (found["diswot_relation"], found["diswot_semantic"]) == (-wanted.relation, -wanted.semantic)


def test_baselines():
    found = score_all(STUDENT, ground())
    assert found["parameters"] == parameters(ResNet(STUDENT))
    assert found["macs"] > found["parameters"]
    assert found["random"] == score_all(STUDENT, ground())["random"]
    assert found["random"] != score_all(TEACHER, ground())["random"]
    assert found["random"] != score_all(STUDENT, ground(seed=1))["random"]


def test_networks_of_other_widths_compare_by_the_extension_only():
    with pytest.raises(ValueError, match="one shape"):
        score_all(NARROW, ground())
    found = score_all(NARROW, ground(extended=True))
    assert -4 / 8 <= found["diswot_semantic"] < 0
    assert found["diswot_relation"] < 0


def test_the_extension_compares_each_samples_gradient():
    net = cnn.randomised(STUDENT, 0)
    images, labels = ground().images, ground().labels
    seen = cnn.view(net, images, labels)
    assert cnn.compare(seen, seen, extended=True).score == 0
    rows = []
    for sample in range(len(images)):  # in training mode norms need the whole batch, so one loss a sample
        loss = torch.nn.functional.cross_entropy(net.train()(images), labels, reduction="none")[sample]
        rows.append(torch.autograd.grad(loss, net.fc.weight)[0].flatten())
    torch.testing.assert_close(seen.pulls, diswot.relations(torch.stack(rows)), rtol=1e-4, atol=1e-4)


def test_the_published_table_is_of_the_space_and_counting_parameters_orders_it_well():
    accuracy = cnn_search.published()
    shapes = [each.shape(100) for each in all_of("resnet-cifar")]
    assert {shape.depths for shape in shapes} == set(accuracy)
    assert (accuracy[7, 1, 3]["distilled"], accuracy[3, 3, 3]["distilled"]) == (71.01, 70.76)
    counts = [costs.parameters(shape) for shape in shapes]
    distilled = [accuracy[shape.depths]["distilled"] for shape in shapes]
    assert kendalltau(counts, distilled).statistic == pytest.approx(0.873, abs=5e-4)
    found = cnn_search.choices(
        ["parameters=84k"], shapes, [{"parameters": float(n)} for n in counts], distilled
    )
    assert (found["networks"], found["best"], found["mean"]) == (1, 61.87, 61.87)
    assert found["chosen"] == {"parameters": {"depths": (1, 1, 1), "distilled": 61.87}}


def test_fewer_than_five_starts_are_refused():
    with pytest.raises(ValueError, match="need 5 starts"):
        score_all(STUDENT, ground(starts=4))
