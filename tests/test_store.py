"""What `runs/NAME` stands for, and what keeps its files: links, signals, a full disk, passwords."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from safetensors import SafetensorError

from squeeze import artifact, disk, latest, pipeline
from squeeze.cli import edge, main
from squeeze.errors import Corrupt, SqueezeWarning, StageFailed, UsageError, masked
from squeeze.pipeline import RunResult
from squeeze.predict import predict
from squeeze.stages.search.stage import SearchSection
from squeeze.targets.subjects import find
from tests import fake_stages as fake
from tests import finished_run
from tests.finished_run import reseal
from tests.targets import hostile
from tests.test_pipeline import Log, by_hand, older


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("some text")
    (tmp_path / "runs" / ".cache").mkdir(parents=True)
    return tmp_path


def go(home: Path, stages=fake.STAGES, **changed) -> RunResult:
    options = {name: changed.pop(name) for name in ("until", "fresh", "progress") if name in changed}
    return pipeline.run(fake.profile(home, **changed), home / "runs", stages=stages, **options)


def opened(home: Path) -> dict[str, str]:
    return {stage: found.path.name for stage, found in pipeline.open_stages(home / "runs" / "fake").items()}


# What a run folder stands for


def test_a_later_run_hides_no_complete_one(home):
    whole = go(home)
    names = {stage: found.path.name for stage, found in whole.stages.items()}
    assert opened(home) == names
    (home / "runs" / ".cache" / "fail-teacher").touch()
    with pytest.raises(StageFailed):
        go(home, seed=7)
    assert opened(home) == names
    (home / "runs" / ".cache" / "fail-teacher").unlink()
    go(home, until="data", seed=8)
    assert opened(home) == names
    line = pipeline.describe_run(home / "runs" / "fake")
    assert line.startswith(f"{home}/runs/fake: complete run of 20")
    assert "is not complete, it ended after data" in line
    other = go(home, seed=9)
    assert opened(home) == {stage: found.path.name for stage, found in other.stages.items()}
    assert "ended after" not in pipeline.describe_run(home / "runs" / "fake")


def test_without_a_complete_run_the_one_that_came_furthest_is_shown(home):
    go(home, until="teacher")
    far = opened(home)
    go(home, until="data", seed=1)
    assert opened(home) == far
    assert (
        "no run was ever complete, this one came furthest and ended after teacher"
        in pipeline.describe_run(home / "runs" / "fake")
    )
    go(home, until="teacher", seed=1)
    assert opened(home) != far
    assert list(opened(home)) == ["data", "teacher"]


def test_a_run_is_complete_at_the_end_of_its_own_chain(home):
    go(home, budget=None)
    assert latest.read(home / "runs" / "fake").shown.complete
    go(home, until="gate")
    assert latest.read(home / "runs" / "fake").shown.verdict == "pass"


def test_fresh_keeps_what_is_stored_until_the_new_one_is_complete(home):
    whole = go(home)
    (home / "runs" / ".cache" / "fail-teacher").touch()
    with pytest.raises(StageFailed):
        go(home, fresh=True)
    assert {found.digest for found in pipeline.open_stages(whole.folder).values()} == {
        done.artifact.digest for done in whole.steps
    }


def test_an_artefact_that_was_made_anew_with_other_bytes_is_not_that_of_the_run(home):
    whole = go(home)
    drawn = dataclasses.replace(fake.TEACHER, run=lambda c, i, w: _written(w, fake.run_teacher(c, i, w)))
    go(home, (fake.DATA, drawn, fake.GATE), until="teacher", fresh=True)
    with pytest.raises(Corrupt, match="is another one than this run made") as caught:
        pipeline.open_stages(whole.folder)
    assert caught.value.hint == "squeeze run PROFILE makes the run complete again"
    go(home)
    assert list(opened(home)) == ["data", "teacher", "gate"]


def _written(work, result):
    (work.out / "more.txt").write_text(str(time.monotonic_ns()))
    return result


def test_every_flipped_byte_of_latest_is_found_and_the_next_run_writes_it_anew(home):
    folder = go(home).folder
    path = folder / "latest.json"
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(Corrupt):
            pipeline.open_stages(folder)
    path.write_text("{")
    log = Log()
    go(home, progress=log)
    assert [line for line in log.lines if "latest.json" in line] == [
        f"warning: {path}: not readable; it is written anew"
    ]
    assert list(opened(home)) == ["data", "teacher", "gate"]


def change_stage(known):
    known["shown"]["stages"]["data"]["folder"] = "../other/data-0"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (change_stage, "names a folder outside of the run"),
        (lambda known: known["shown"].update(verdict="fine"), "not readable"),
        (lambda known: known["shown"].update(stages=[]), "not readable"),
        (lambda known: known.pop("last"), "not readable"),
        (lambda known: known.update(schema=3), "has schema 3, this version reads up to 2"),
    ],
)
def test_what_latest_cannot_mean_is_damage(home, change, told):
    folder = go(home).folder
    reseal(folder / "latest.json", change)
    with pytest.raises(Corrupt, match=told):
        latest.read(folder)


def test_an_older_latest_is_read(home):
    result = go(home)
    folders = {stage: found.path.name for stage, found in result.stages.items()}
    old = {"schema": 1, "name": "fake", "complete": True, "verdict": "pass", "folders": folders}
    (result.folder / "latest.json").write_text(json.dumps(old))
    known = latest.read(result.folder)
    assert (known.shown.verdict, known.sealed, list(known.shown.stages)) == (
        "pass",
        False,
        ["data", "teacher", "gate"],
    )
    with pytest.warns(SqueezeWarning, match=r"an older version wrote latest.json without a digest"):
        assert list(pipeline.open_stages(result.folder)) == ["data", "teacher", "gate"]
    with pytest.raises(Corrupt, match="nothing is judged by it"):
        pipeline.open_run(result.folder, judged=True)


# The commands on a run folder


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A complete run, and a later one that ended after the data."""
    run = finished_run.make(tmp_path / "runs" / "demo")
    data = artifact.load(run / "data-0")
    latest.record(run, {"data": data}, None, complete=False)
    return run


@pytest.mark.parametrize(
    ("location", "code", "told"),
    [("../secret.bin", 4, "its weights lie outside of its folder"), ("gone.bin", 3, "which is not there")],
)
@pytest.mark.parametrize("command", ["predict", "report", "doctor", "bench"])
def test_weights_outside_of_the_folder_and_missing_ones(tmp_path, location, code, told, command, capsys):
    """In a bundle whose digests are right: they say nothing about what a model names."""
    run = finished_run.make(tmp_path / "runs" / "demo")
    (run / "secret.bin").write_bytes(bytes(64))
    model = hostile.external(run / "export-0" / "model.int8.onnx", location)
    finished_run.renew(run, "export")
    words = {
        "predict": ["predict", str(run), "river"],
        "report": ["report", str(run), "--html", str(tmp_path / "page.html")],
        "doctor": ["doctor", str(model)],
        "bench": ["bench", str(run)],
    }[command]
    assert main(words) == code
    assert f"error: {model}: its weights lie" in (err := capsys.readouterr().err)
    assert told in err


def test_all_commands_show_the_complete_run_and_name_it(demo, capsys):
    line = f"{demo}: complete run of 20"
    assert main(["gate", str(demo), "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["run"].startswith(line)
    assert told.err.startswith(line)
    assert ", bundle export-0; a later run of " in told.err
    assert main(["predict", str(demo), "the river", "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["run"].startswith(line)
    assert told.err.startswith(line)
    assert main(["report", str(demo)]) == 0
    assert capsys.readouterr().out.splitlines()[2].startswith(line)
    assert main(["report", str(demo), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"].startswith(line)
    assert main(["report", str(demo), "--html", str(demo.parent / "page.html")]) == 0
    assert f'<p class="quiet"><bdi>{line}' in (demo.parent / "page.html").read_text()
    (subject,) = find(demo)
    assert subject.path == demo / "export-0" / "model.int8.onnx"
    assert predict(str(demo), ["the river"]) == predict(demo / "export-0", ["the river"])


def test_a_run_stands_for_the_form_that_was_judged(demo):
    finished_run.rewrite(demo, "gate", lambda known: known["result"].update(form="fp32"))
    (subject,) = find(demo)
    assert subject.path == demo / "export-0" / "model.onnx"
    assert predict(demo, ["the river"]) == predict(demo / "export-0", ["the river"], form="fp32")
    (subject,) = find(demo, "int8-dynamic")
    assert subject.form == "int8-dynamic"
    (subject,) = find(demo / "export-0")  # a bundle alone: the last form
    assert subject.form == "int8-dynamic"


@pytest.mark.parametrize("command", ["predict", "bench", "report", "gate"])
def test_a_bundle_that_is_gone_is_found_by_every_command(demo, command, capsys):
    shutil.rmtree(demo / "export-0")
    assert main([command, str(demo), *({"predict": ["river"]}.get(command, []))]) == 4
    assert f"error: {demo / 'export-0'}" in capsys.readouterr().err


def test_bench_measures_the_bundle_of_a_run(demo, capsys):
    words = ["bench", str(demo), "--seconds", "0", "--min-runs", "10", "--json"]
    assert main(words) == 0
    told = capsys.readouterr()
    assert told.err.startswith(f"{demo}: complete run of 20")
    (measured,) = json.loads(told.out)["measurements"]
    assert measured["name"] == "export-0/model.int8.onnx"


def test_a_run_without_a_bundle_is_refused_with_what_it_has(tmp_path, capsys):
    run = finished_run.make(tmp_path / "runs" / "demo", until="distil")
    for command in (["predict", str(run), "x"], ["bench", str(run)]):
        assert main(command) == 2
        told = capsys.readouterr().err
        assert f"error: {run}: this run has no bundle, it ended after distil" in told
        assert "no run was ever complete, this one came furthest" in told


def test_a_verdict_changed_by_hand_is_found(demo, capsys):
    by_hand(demo / "gate-0", '"verdict": "fail",\n    "form"', '"verdict": "pass",\n    "form"')
    assert main(["gate", str(demo)]) == 4
    assert "gate-0/manifest.json: has changed since it was written" in capsys.readouterr().err
    assert main(["report", str(demo)]) == 4


def test_a_report_whose_verdict_is_not_that_of_its_checks(demo, tmp_path, capsys):
    assert main(["report", str(demo), "--json"]) == 0
    report = tmp_path / "report.json"
    report.write_text(capsys.readouterr().out)
    assert main(["gate", str(report)]) == 1
    document = json.loads(report.read_text())
    document["gate"]["verdict"] = "pass"
    report.write_text(json.dumps(document))
    assert main(["gate", str(report)]) == 4
    assert "report.json: says pass, and its checks say fail" in capsys.readouterr().err


def test_a_manifest_without_a_digest_of_its_own_is_read_with_a_warning_and_not_judged(demo, capsys):
    older(demo / "gate-0")
    older(demo / "export-0")
    assert main(["gate", str(demo)]) == 4
    told = capsys.readouterr().err
    assert "an older version wrote export, gate without a digest over what is said there" in told
    assert "hint: run again: squeeze run PROFILE" in told
    assert main(["report", str(demo)]) == 0
    assert capsys.readouterr().err.startswith(f"warning: {demo}: an older version wrote export, gate")
    assert main(["predict", str(demo / "export-0"), "river"]) == 0
    assert capsys.readouterr().err.startswith(f"warning: {demo}/export-0/manifest.json: an older version")


@pytest.mark.parametrize("field", ["kind", "digest", "files", "result", "schema"])
@pytest.mark.parametrize("command", ["gate", "report", "predict", "bench", "plan"])
def test_a_manifest_that_lacks_a_field_is_one_line(demo, field, command, capsys):
    for stage in ("export", "gate"):
        reseal(demo / f"{stage}-0" / "manifest.json", lambda known: known.pop(field))
    words = {"predict": ["river"]}.get(command, [])
    code = 0 if command == "plan" else 4
    if command == "plan":
        words = ["--out", str(demo.parent)]
        profile = demo.parent / "demo.toml"
        profile.write_text(
            'name = "demo"\n[task]\nlabels = ["request", "offer", "other"]\n[data]\n'
            + "".join(f'{split} = "builtin:crisis-demo"\n' for split in ("train", "validation", "test"))
        )
        demo = profile
    assert main([command, str(demo), *words]) == code
    assert "internal error" not in capsys.readouterr().err


@pytest.mark.parametrize("lengths", ["abc", [1, "2"], [0], 5, [True]])
def test_lengths_of_a_bundle_that_are_none(demo, lengths):
    finished_run.rewrite(demo, "export", lambda known: known["result"].update(lengths=lengths))
    with pytest.raises(Corrupt, match="lengths are no list of counts of tokens"):
        find(demo / "export-0")


# Links


@pytest.mark.parametrize("name", ["teacher-0.partial", "x.discarded"])
def test_a_link_among_what_was_left_is_removed_and_not_followed(home, name):
    folder = go(home).folder
    target = home / "target"
    target.mkdir()
    (target / "kept").write_text("kept")
    (folder / name).symlink_to(target)
    go(home)
    assert (target / "kept").read_text() == "kept"
    assert not (folder / name).is_symlink()


@pytest.mark.parametrize("name", [".lock.json.partial", "latest.json.partial", ".lock.json", "latest.json"])
def test_a_link_in_the_place_of_a_file_is_replaced(home, name):
    target = home / "precious"
    target.write_text("precious")
    folder = home / "runs" / "fake"
    folder.mkdir()
    (folder / name).symlink_to(target)
    go(home)
    assert target.read_text() == "precious"
    assert not (folder / name).is_symlink()
    assert latest.read(folder).shown.complete


@pytest.mark.parametrize(
    "name", ["fake", "fake/.lock", "fake/.scratch", "fake/.scratch/x", ".cache", ".cache/x"]
)
def test_a_link_where_is_written_is_refused_before_anything_is(home, name):
    target = home / "target"
    target.mkdir()
    shutil.rmtree(home / "runs" / ".cache")
    place = home / "runs" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    with pytest.raises(UsageError, match=f"{name}: is a link, and links among the runs"):
        go(home)
    assert list(target.iterdir()) == []


def test_an_artefact_that_is_a_link_is_read_and_never_written_through(home):
    whole = go(home)
    place = whole.stages["teacher"].path
    target = home / "moved"
    place.rename(target)
    place.symlink_to(target)
    assert [done.cached for done in go(home).steps] == [True, True, True]
    (target / "sub" / "weights.txt").write_text("spoilt")
    assert [done.cached for done in go(home).steps] == [True, False, True]
    assert not place.is_symlink()
    assert (target / "sub" / "weights.txt").read_text() == "spoilt"


# A full disk

FULL = "Error while serializing: I/O error: No space left on device (os error 28)"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (SafetensorError(FULL), "no space left"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
        (OSError("4096 requested and 512 written"), "no space left"),  # numpy
        (OSError("Error writing bytes to file. Detail: [errno 28] No space left on device"), "no space left"),
        (RuntimeError("(sqlite3.OperationalError) database or disk is full"), "no space left"),
        (Exception("No space left on device (os error 28)"), "no space left"),  # tokenizers
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "the disk quota is exceeded"),
        (SafetensorError("I/O error: Disk quota exceeded (os error 122)"), "the disk quota is exceeded"),
        (OSError(errno.EROFS, "Read-only file system"), "the file system is read-only"),
        (RuntimeError("attempt to write a readonly database"), "the file system is read-only"),
    ],
)
def test_a_full_disk_is_named_whoever_reports_it(home, error, told, monkeypatch, capsys):
    def fail(*_, **__):
        raise error

    with pytest.raises(StageFailed) as caught:
        go(home, (fake.DATA, dataclasses.replace(fake.TEACHER, run=fail)))
    assert (caught.value.message, caught.value.hint) == (
        f"stage teacher: {told}",
        "free space, then run again",
    )
    monkeypatch.setattr("squeeze.cli.gating.open_run", fail)
    assert main(["gate", str(go(home).folder)]) == 4
    assert f"error: {told}\nhint: free space, then run again\n" in capsys.readouterr().err


def test_a_cause_that_is_a_full_disk_counts_and_others_do_not():
    wrapped = RuntimeError("training stopped")
    wrapped.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert disk.failure(wrapped) == "no space left"
    wrapped.__cause__ = None
    assert disk.failure(wrapped) is None
    wrapped.__context__ = wrapped  # a circle
    assert disk.failure(wrapped) is None


def test_another_failure_of_the_system_is_no_bug(home):
    def fail(*_):
        raise PermissionError(errno.EACCES, "Permission denied", "/x")

    with pytest.raises(StageFailed, match=r"stage teacher: .*Permission denied: '/x'") as caught:
        go(home, (fake.DATA, dataclasses.replace(fake.TEACHER, run=fail)))
    assert caught.value.hint == "free space or rights, then run again"


def test_a_manifest_that_finds_no_room_is_the_stage_that_failed(home, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(artifact, "write_sealed", fail)
    with pytest.raises(StageFailed, match="stage data: no space left"):
        go(home)


@pytest.fixture
def small(tmp_path: Path):
    """A file system of 160 kB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes root, and a system that lets it")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_on_a_disk_that_is_really_full_nothing_is_lost(home, small):
    import numpy as np
    from safetensors.numpy import save_file

    def large(config, inputs, work):
        result = fake.run_teacher(config, inputs, work)
        save_file({"weights": np.zeros(100_000, dtype=np.float32)}, work.out / "weights.safetensors")
        return result

    stages = (fake.DATA, dataclasses.replace(fake.TEACHER, run=large), fake.GATE)
    profile = fake.profile(home)
    with pytest.raises(StageFailed) as caught:
        pipeline.run(profile, small, stages=stages)
    assert (caught.value.message, caught.value.hint) == (
        "stage teacher: no space left",
        "free space, then run again",
    )
    subprocess.run(["mount", "-o", "remount,size=2m", str(small)], check=True)
    again = pipeline.run(profile, small, stages=stages)
    assert [done.cached for done in again.steps] == [True, False, False]
    calm = pipeline.run(profile, home / "calm", stages=stages)
    assert [done.artifact.digest for done in again.steps] == [done.artifact.digest for done in calm.steps]


# Passwords

URL = "postgresql+psycopg://me:pa/s@s-wörd@db.example:5432/trials?sslpassword=0ther&x=1"
SECRETS = ("pa/s", "s-wörd", "0ther")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (URL, "postgresql+psycopg://me:***@db.example:5432/trials?sslpassword=***&x=1"),
        ("mysql://:secret@host/x", "mysql://:***@host/x"),
        ("postgresql://me@host/x", "postgresql://me@host/x"),
        ("sqlite:////folder/search.db", "sqlite:////folder/search.db"),
        ("ssh:me:secret@board:22", "ssh:me:***@board:22"),
        ("ssh:me@board", "ssh:me@board"),
        ("https://host/a?token=abc and b@c", "https://host/a?token=*** and b@c"),
        ("text with a label: a@b.c", "text with a label: a@b.c"),
    ],
)
def test_passwords_of_urls_are_masked(text, shown):
    assert masked(text) == shown
    assert masked(masked(text)) == shown


def test_a_password_reaches_no_file_and_no_line(home, capsys):
    class Config(fake.TeacherConfig):
        search: SearchSection

    teacher = dataclasses.replace(fake.TEACHER, config=Config)
    stages, search = (fake.DATA, teacher, fake.GATE), {"space": "tiny", "storage": URL}
    result = go(home, stages, search=search)
    stored = [path.read_text() for path in (home / "runs").rglob("*") if path.is_file()]
    for secret in SECRETS:
        assert not [text for text in stored if secret in text]
    manifest = result.stages["teacher"].manifest
    assert manifest["config"]["search"]["storage"] == masked(URL)
    assert manifest["identity"]["config"]["search"]["storage"] == masked(URL)
    other = URL.replace("s-wörd", "new")
    assert [done.cached for done in go(home, stages, search={**search, "storage": other}).steps] == [True] * 3
    profile = home / "p.toml"
    profile.write_text(
        'name = "p"\n[task]\nlabels = ["a", "b"]\n[data]\ntrain = "a.csv"\nvalidation = "b.csv"\n'
        'test = "c.csv"\n[teacher]\nmodel = "builtin:none"\n[[distil.phases]]\nname = "p"\n'
        f'losses = [{{name = "kl"}}]\n[search]\nspace = "tiny"\nstorage = "{URL}"\n'
    )
    main(["explain", str(profile)])
    main(["explain", str(profile), "--json"])
    main(["plan", str(profile), "--debug"])
    main(["explain", str(profile), "--set", f"search.storage=['{URL}']"])
    main(["explain", str(profile), "--set", f"search.storage=['{URL}"])
    main(["explain", str(profile), "--set", URL])
    told = capsys.readouterr()
    assert "postgresql+psycopg://me:***@db.example" in told.out
    for secret in SECRETS:
        assert secret not in told.out + told.err


def test_a_storage_that_cannot_be_opened_is_named_without_its_password(tmp_path):
    from squeeze.stages.search.study import open_storage

    with pytest.raises(UsageError) as caught:
        open_storage("nothing://me:secret@host/x", tmp_path)
    assert "nothing://me:***@host/x cannot be opened" in caught.value.message
    assert "secret" not in str(caught.value)


# Signals

PROGRAM = """
import sys
from pathlib import Path
from squeeze import pipeline, profile
from squeeze.cli import main
from tests import fake_stages as fake

class Loaded:
    profile = fake.profile(Path({home!r}))

whole = pipeline.run
pipeline.run = lambda *a, **o: whole(*a, **o, stages=fake.STAGES)
profile.load = lambda *_: Loaded
sys.exit(main(["run", "x.toml", "--out", {out!r}]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_a_run_like_an_interrupt(home, number, code):
    cache = home / "runs" / ".cache"
    (cache / "hang-teacher").touch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = PROGRAM.format(home=str(home), out=str(home / "runs"))
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # under nohup it is ignored
    )
    until = time.monotonic() + 120
    while not (cache / "hanging").exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    _, told = process.communicate(timeout=120)
    assert process.returncode == code
    assert "error: interrupted; what is finished is kept, the same command goes on from there" in told
    assert not (home / "runs" / "fake" / ".lock.json").exists()
    (cache / "hang-teacher").unlink()
    assert [done.cached for done in go(home).steps] == [True, False, False]


def test_a_signal_that_is_ignored_stays_ignored_and_handlers_are_put_back(monkeypatch, capsys):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    seen: list[object] = []

    def look(*_, **__):
        seen.extend(signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM))
        raise KeyboardInterrupt

    monkeypatch.setattr(edge, "app", look)
    try:
        assert main(["doctor"]) == 130
    finally:
        signal.signal(signal.SIGHUP, before)
    assert seen[0] is signal.SIG_IGN
    assert callable(seen[1])
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    other = threading.Thread(
        target=lambda: seen.append(main(["doctor"]))
    )  # signals belong to the main thread
    other.start()
    other.join()
    assert seen[-1] == 130
    assert "interrupted" in capsys.readouterr().err


def test_warnings_of_others_go_where_they_went(monkeypatch, capsys):
    def warn(*_, **__):
        warnings.warn("ours\n", SqueezeWarning, stacklevel=1)
        warnings.warn("theirs", DeprecationWarning, stacklevel=1)

    monkeypatch.setattr(edge, "app", warn)
    with pytest.warns(DeprecationWarning, match="theirs"):
        assert main(["doctor"]) == 0
    assert capsys.readouterr().err == "warning: ours\\u000a\n"


def test_a_full_disk_at_the_edge_names_the_file(monkeypatch, capsys):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", "/x")

    monkeypatch.setattr(edge, "app", fail)
    assert main(["doctor"]) == 4
    assert capsys.readouterr().err == "error: /x: no space left\nhint: free space, then run again\n"
