"""The C runner itself, as `squeeze device bundle` builds it for this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from squeeze.errors import StageFailed
from squeeze.progress import Silent
from squeeze.targets.cpu import Settings
from squeeze.targets.devices.functional import check
from squeeze.targets.devices.golden import goldens
from squeeze.targets.devices.local import LocalTransport
from squeeze.targets.devices.measured import measure
from squeeze.targets.devices.plan import Plan, Planned, Timing, feed_file, write
from squeeze.targets.devices.session import Session
from squeeze.targets.subjects import find
from tests import tiny_onnx as tiny
from tests.targets.devices import stands

QUICK = Settings(min_runs=40, min_seconds=0.0, max_seconds=10.0, starts=1, sequence=6)


@pytest.fixture(scope="module")
def runners():
    return stands.real_bundles(stands.ABI)


@pytest.fixture
def bundle(runners):
    return runners[stands.ABI]


@pytest.fixture
def visit(runners, tmp_path):
    way = LocalTransport("here", stands.ABI, tmp_path / "device")
    return Session(way, runners, Silent())


def start(bundle, folder: Path, *words: str, **options) -> subprocess.Popen[str]:
    argv = [word.replace("@", str(bundle.path)) for word in bundle.result["start"]]
    library = str(bundle.path / bundle.result["library"])
    argv += [library if word == "LIBRARY" else word for word in words]
    return subprocess.Popen(
        argv, cwd=folder, text=True, stdin=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def planned(folder: Path, path: Path, asked: Settings = QUICK, **other) -> Path:
    """A plan for a model, with its feeds beside it."""
    [golden] = goldens(find(path), asked, 2)
    for at, values in enumerate(golden.feeds):
        for place, value in enumerate(values.values()):
            (folder / feed_file(0, at, place)).write_bytes(value.tobytes())
    plan = folder / "plan.txt"
    plan.write_text(write(Plan([Planned(path.name, 0, golden.feeds)], threads=1, **other)))
    return plan


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status and last line, its standard input open all the time."""
    with process:
        try:
            code = process.wait(timeout=60)
        finally:
            process.kill()
        assert process.stderr is not None
        return code, process.stderr.read().strip().removeprefix("squeeze-runner: ")


def test_outputs_are_those_of_python(visit, tmp_path):
    subjects = find(tiny.classifier(tmp_path / "model.onnx", layers=2, hidden=32))
    with visit as session:
        [found] = check(subjects, QUICK, session, Silent())
    assert found.equal
    assert found.differences[0].output == "logits"


def test_models_of_other_types_and_no_length(visit, tmp_path):
    subjects = [*find(tiny.vision(tmp_path / "v.onnx")), *find(tiny.classifier(tmp_path / "m.onnx"))]
    with visit as session:
        found = check(subjects, Settings(batch=2), session, Silent())
    assert all(each.equal for each in found)


def test_a_measurement(visit, tmp_path):
    models = [tiny.classifier(tmp_path / f"{layers}.onnx", layers=layers, hidden=128) for layers in (0, 8)]
    subjects = [subject for path in models for subject in find(path)]
    with visit as session:
        small, large = measure(subjects, QUICK, session, Silent())
    for each in (small, large):
        assert each.runs == len(each.samples_ms) >= 40
        assert min(each.samples_ms) > 0
        assert each.load_ms > 0
        assert each.rss_bytes > each.rss_baseline_bytes > 1_000_000
    assert len(small.block_widths) == len(large.block_widths)
    assert small.passes > large.passes == 1
    assert small.p50.value < large.p50.value


def test_the_device_is_described(visit):
    with visit as session:
        device, condition = session.describe()
    assert (device.machine, device.system) == (os.uname().machine, "Linux")
    assert [core.core for core in device.cores] == sorted(os.sched_getaffinity(0))
    assert device.memory_bytes > 2**28
    assert isinstance(condition.khz, dict)


def test_it_stays_on_its_cores(bundle, tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx")
    core = max(os.sched_getaffinity(0))
    timing = Timing(min_runs=1_000_000, min_s=60.0, max_s=60.0)
    plan = planned(tmp_path, path, cores=(core,), timing=timing)
    process = start(bundle, tmp_path, "run", "LIBRARY", plan.name, "result.json")
    try:
        stands.until(lambda: os.sched_getaffinity(process.pid) == {core})
    finally:
        process.kill()
        process.communicate()


def test_it_ends_when_its_parent_goes(bundle, tmp_path):
    timing = Timing(min_runs=1_000_000, min_s=60.0, max_s=60.0)
    plan = planned(tmp_path, tiny.classifier(tmp_path / "m.onnx"), timing=timing)
    process = start(bundle, tmp_path, "run", "LIBRARY", plan.name, "result.json")
    stands.until(lambda: (tmp_path / "result.json.partial").exists())
    assert process.poll() is None
    process.communicate(timeout=20)  # closes its standard input
    assert process.returncode == 7
    assert not (tmp_path / "result.json").exists()


def test_it_ends_itself_when_its_time_is_over(bundle, tmp_path):
    timing = Timing(min_runs=1_000_000, min_s=60.0, max_s=60.0)
    plan = planned(tmp_path, tiny.classifier(tmp_path / "m.onnx"), timing=timing, limit_s=1.0)
    code, _ = ended(start(bundle, tmp_path, "run", "LIBRARY", plan.name, "result.json"))
    assert code == -signal.SIGALRM


def test_no_telemetry(bundle, tmp_path):
    """The library writes into the user's cache before it sends anything."""
    variables = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    variables.pop("ORT_DISABLE_TELEMETRY", None)
    plan = planned(tmp_path, tiny.classifier(tmp_path / "m.onnx"))
    before = set(tmp_path.rglob("*"))
    code, said = ended(start(bundle, tmp_path, "run", "LIBRARY", plan.name, "result.json", env=variables))
    assert (code, said) == (0, "")
    assert set(tmp_path.rglob("*")) - before == {tmp_path / "result.json"}


def test_an_answer_is_json_whatever_names_are(bundle, tmp_path):
    import onnx

    path = tiny.vision(tmp_path / "m.onnx")
    model = onnx.load(path)
    for old, new in (("pixels", 'a "pixel" \\ x'), ("result", "r\té")):
        for value in (*model.graph.input, *model.graph.output):
            value.name = new if value.name == old else value.name
        for names in (model.graph.node[0].input, model.graph.node[0].output):
            names[:] = [new if name == old else name for name in names]
    onnx.save(model, path)
    plan = planned(tmp_path, path, replace(QUICK, sequence=None), outputs=True)  # a picture has no length
    assert ended(start(bundle, tmp_path, "run", "LIBRARY", plan.name, "result.json")) == (0, "")
    answer = json.loads((tmp_path / "result.json").read_text())
    assert answer["golden"][0]["outputs"][0][0]["name"] == "r\té"


PLANS = {
    "nothing": ("", "no model"),
    "unknown": ("thread 1\n", "plan.txt:1: unknown word"),
    "number": ("threads many\n", "not a number"),
    "negative": ("threads -1\n", "not a number"),
    "value": ("threads\n", "a value is missing"),
    "cores": ("cores 1,x\n", "not a list of cores"),
    "feed first": ("feed\n", "no model before it"),
    "input first": ("model m\ninput int64 1x2 f n\n", "no feed before it"),
    "sizes": ("model m\nfeed\ninput int64 1xx f n\n", "not sizes"),
    "no feed": ("model m\n", "same number of feeds"),
    "uneven": ("model m\nfeed\nmodel n\nfeed\nfeed\n", "same number of feeds"),
    "cut": ("threads 1", "the file was cut"),
    "long": ("model " + "m" * 5000 + "\n", "line too long"),
    "empty line": ("\n", "a value is missing"),
}


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_that_cannot_be_read(name, bundle, tmp_path):
    text, line = PLANS[name]
    (tmp_path / "plan.txt").write_text(text)
    code, said = ended(start(bundle, tmp_path, "run", "LIBRARY", "plan.txt", "result.json"))
    assert code == 2
    assert line in said
    assert not (tmp_path / "result.json").exists()


def test_no_plan_no_library_no_words(bundle, tmp_path):
    assert ended(start(bundle, tmp_path, "run", "LIBRARY", "none.txt", "r.json"))[0] == 2
    assert ended(start(bundle, tmp_path, "walk"))[0] == 2
    plan = planned(tmp_path, tiny.classifier(tmp_path / "m.onnx"))
    code, said = ended(start(bundle, tmp_path, "run", "./none.so", plan.name, "r.json"))
    assert code == 3
    assert "none.so" in said
    code, said = ended(start(bundle, tmp_path, "run", "libm.so.6", plan.name, "r.json"))
    assert (code, said) == (3, "libm.so.6: not ONNX Runtime's library")


def test_models_and_inputs_that_do_not_fit(bundle, tmp_path):
    path = tiny.classifier(tmp_path / "m.onnx")
    plan = planned(tmp_path, path)
    run = ("run", "LIBRARY", plan.name, "r.json")
    (tmp_path / feed_file(0, 1, 0)).write_bytes(b"123")
    code, said = ended(start(bundle, tmp_path, *run))
    assert code == 5
    assert "is not of 48 bytes" in said
    plan.write_text(plan.read_text().replace(" input_ids", " ids"))
    code, said = ended(start(bundle, tmp_path, *run))
    assert code in (4, 5)
    path.write_bytes(b"nothing")
    code, said = ended(start(bundle, tmp_path, *run))
    assert code == 4
    assert said.startswith("m.onnx: ")


def test_a_place_that_cannot_be_written_to(bundle, tmp_path):
    plan = planned(tmp_path, tiny.classifier(tmp_path / "m.onnx"))
    code, said = ended(start(bundle, tmp_path, "run", "LIBRARY", plan.name, "none/r.json"))
    assert code == 5
    assert "No such file or directory" in said


def test_cores_that_are_not_there(bundle, tmp_path):
    plan = planned(tmp_path, tiny.classifier(tmp_path / "m.onnx"), cores=(63,))
    code, said = ended(start(bundle, tmp_path, "run", "LIBRARY", plan.name, "r.json"))
    assert code == 6
    assert "cores" in said


def test_a_model_that_fails_on_the_device(visit, tmp_path):
    subjects = find(tiny.classifier(tmp_path / "m.onnx"))
    asked = goldens(subjects, QUICK, 1)
    with visit as session:
        [file] = session.bring(asked)
        (Path(session.work) / file).write_bytes(b"nothing")
        plan = Plan([Planned(file, 0, asked[0].feeds)], threads=1)
        with pytest.raises(StageFailed, match=r"here: running it failed \(m0/model.onnx: .*"):
            session.run(plan, "running it")
