from __future__ import annotations

import hashlib
import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from squeeze import artifact
from squeeze.errors import Corrupt
from tests.finished_run import reseal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
CHECKED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def committed(folder):
    partial = folder / "a.partial"
    (partial / "sub").mkdir(parents=True)
    (partial / "weights.bin").write_bytes(b"\x00\x01")
    (partial / "sub" / "manifest.json").write_text("an inner one is a file like others")
    return artifact.commit(partial, folder / "a", "encoder", {"key": "k", "result": {"parameters": 3}})


def rewrite(folder, change):
    """A manifest that says something else, sealed again: what else is wrong with it must be seen too."""
    reseal(folder / artifact.MANIFEST, change)


def edit(folder, before, after):
    """A change by hand, as an editor makes it."""
    path = folder / artifact.MANIFEST
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_what_was_committed_is_loaded(tmp_path):
    made = committed(tmp_path)
    assert not (tmp_path / "a.partial").exists()
    assert artifact.load(tmp_path / "a") == made
    assert artifact.load(tmp_path / "a", verify=False) == made
    assert (made.kind, made.result) == ("encoder", {"parameters": 3})
    assert set(made.manifest["files"]) == {"weights.bin", "sub/manifest.json"}


def test_the_digest_is_that_of_the_payload(tmp_path):
    first = committed(tmp_path)
    (tmp_path / "other").mkdir()
    second = committed(tmp_path / "other")
    assert first.digest == second.digest == artifact.digest_json(artifact.digest_files(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "renamed.bin").write_bytes(b"\x00\x01")
    assert artifact.commit(tmp_path / "b", tmp_path / "c", "encoder", {"result": {}}).digest != first.digest


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda f: (f / "weights.bin").write_bytes(b"\x00\x02"), "weights.bin: has changed since"),
        (lambda f: (f / "weights.bin").unlink(), "weights.bin: has gone missing since"),
        (lambda f: (f / "more").write_text("x"), "more: has been added since"),
        (lambda f: (f / "sub" / "manifest.json").write_text("other"), "sub/manifest.json: has changed"),
        (lambda f: (f / "manifest.json").unlink(), "no readable manifest"),
        (lambda f: (f / "manifest.json").write_text("{"), "no readable manifest"),
        (lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe"), "no readable manifest"),
        (lambda f: (f / "manifest.json").write_text("[" * 100_000), "no readable manifest"),
        (lambda f: (f / "manifest.json").write_text("[]"), "not a document of schema 2"),
        (lambda f: (f / "manifest.json").write_text("{}"), "not a document of schema 2"),
        (lambda f: rewrite(f, lambda m: m.update(schema=0)), "not a document of schema 2"),
        (lambda f: rewrite(f, lambda m: m.update(schema=True)), "not a document of schema 2"),
        (lambda f: edit(f, '"parameters": 3', '"parameters": 4'), "json: has changed since it was written"),
        (lambda f: edit(f, '"sha256"', '"sha257"'), "json: has changed since it was written"),
        (lambda f: edit(f, '"schema": 2', '"schema": 1'), "json: has changed since it was written"),
        (lambda f: edit(f, "\n}\n", "\n} \n"), "json: has changed since it was written"),
        (lambda f: rewrite(f, lambda m: m.pop("kind")), "has no kind"),
        (lambda f: rewrite(f, lambda m: m.update(kind=3)), "has no kind, or one that is no str"),
        (lambda f: rewrite(f, lambda m: m.pop("digest")), "has no digest"),
        (lambda f: rewrite(f, lambda m: m.update(digest="0" * 64)), "its digest is not that of the files"),
        (lambda f: rewrite(f, lambda m: m.update(files=[])), "has no files, or one that is no dict"),
        (lambda f: rewrite(f, lambda m: m["files"].update(x=[1])), "its digest is not that of the files"),
        (
            lambda f: rewrite(f, lambda m: m["files"].pop("weights.bin")),
            "its digest is not that of the files",
        ),
        (lambda f: rewrite(f, lambda m: m.update(result=None)), "has no result"),
    ],
)
def test_damage_is_named(damage, said, tmp_path):
    committed(tmp_path)
    damage(tmp_path / "a")
    with pytest.raises(Corrupt) as caught:
        artifact.load(tmp_path / "a")
    assert said in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint.startswith("squeeze run makes it again")  # --fresh would train anew


def test_a_newer_manifest_is_refused_and_an_older_one_is_read(tmp_path):
    made = committed(tmp_path)
    rewrite(tmp_path / "a", lambda m: m.update(schema=3))
    with pytest.raises(Corrupt, match="has schema 3, this version reads up to 2") as caught:
        artifact.load(tmp_path / "a")
    assert caught.value.hint == "read it with the version that wrote it"
    older = {**made.manifest, "schema": 1}
    del older["sha256"]
    artifact.write_json(tmp_path / "a" / "manifest.json", older)
    found = artifact.load(tmp_path / "a")
    assert (made.sealed, found.sealed, found.result) == (True, False, {"parameters": 3})


def test_the_digest_of_a_manifest_is_that_of_its_bytes_with_zeros_in_its_place(tmp_path):
    made = committed(tmp_path)
    content = (tmp_path / "a" / "manifest.json").read_bytes()
    digest = made.manifest["sha256"].encode()
    assert content.count(digest) == 1
    assert hashlib.sha256(content.replace(digest, b"0" * 64)).hexdigest().encode() == digest


def test_every_flipped_bit_of_a_manifest_is_found(tmp_path):
    committed(tmp_path)
    path = tmp_path / "a" / "manifest.json"
    content = path.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(Corrupt):
            artifact.load(tmp_path / "a", verify=False)


def test_a_forged_list_of_files_is_found_without_reading_them(tmp_path):
    committed(tmp_path)
    rewrite(tmp_path / "a", lambda m: m["files"].update({"weights.bin": "0" * 64}))
    with pytest.raises(Corrupt, match="its digest is not that of the files"):
        artifact.load(tmp_path / "a", verify=False)


@CHECKED
@given(st.sampled_from(["schema", "kind", "digest", "files", "result"]), JSON)
def test_any_value_at_any_place_is_corrupt_or_sound(tmp_path, key, value):
    folder = tmp_path / "a"
    if not folder.exists():
        committed(tmp_path)
    sound = (folder / "manifest.json").read_text()
    rewrite(folder, lambda m: m.update({key: value}))
    try:
        artifact.load(folder)
    except Corrupt:
        pass
    else:
        assert key in ("kind", "result", "schema")
        assert key != "schema" or value in (1, 2)
    finally:
        (folder / "manifest.json").write_text(sound)


@CHECKED
@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_manifest_is_corrupt_and_nothing_else(tmp_path, content):
    (tmp_path / "m").mkdir(exist_ok=True)
    (tmp_path / "m" / "manifest.json").write_bytes(content)
    with pytest.raises(Corrupt):
        artifact.load(tmp_path / "m")


def test_no_folder_or_a_file_instead_of_one(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in ("nothing", "file"):
        with pytest.raises(Corrupt, match="no readable manifest"):
            artifact.load(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    committed(tmp_path)
    (tmp_path / "a" / "weights.bin").chmod(0)
    with pytest.raises(Corrupt, match="cannot be read"):
        artifact.load(tmp_path / "a")


def test_a_disk_that_cannot_be_read(tmp_path, monkeypatch):
    committed(tmp_path)

    def fail(_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(artifact, "digest_file", fail)
    with pytest.raises(Corrupt, match="cannot be read"):
        artifact.load(tmp_path / "a")


def test_a_final_folder_is_not_overwritten(tmp_path):
    committed(tmp_path)
    with pytest.raises(OSError, match="not empty"):
        committed(tmp_path)
    assert artifact.load(tmp_path / "a").kind == "encoder"


def test_one_that_is_replaced_goes_at_the_last_moment(tmp_path):
    old = committed(tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "file").write_text("new")
    made = artifact.commit(tmp_path / "new", old.path, "encoder", {"result": {}}, replacing=True)
    assert artifact.load(old.path) == made
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_links_are_removed_and_written_over_and_never_followed(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "kept").write_text("kept")
    for name in ("a", "a.discarded"):
        (tmp_path / name).symlink_to(target)
    artifact.discard(tmp_path / "a")
    (tmp_path / "lost").symlink_to(tmp_path / "nothing")
    artifact.discard(tmp_path / "lost")
    for name in ("x.json", "x.json.partial"):
        (tmp_path / name).symlink_to(target / "kept")
    artifact.write_json(tmp_path / "x.json", {"a": 1})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    assert not (tmp_path / "x.json").is_symlink()
    assert (target / "kept").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target", "x.json", "x.json.partial"]


def test_a_file_has_the_rights_that_the_umask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        artifact.write_text(tmp_path / "x", "x")
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_discard_removes_a_folder_and_what_an_earlier_one_left(tmp_path):
    committed(tmp_path)
    (tmp_path / "a.discarded").mkdir()
    artifact.discard(tmp_path / "a")
    artifact.discard(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_json_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    artifact.write_json(path, {"ä": 1})
    with pytest.raises(TypeError):
        artifact.write_json(path, {"a": object()})
    artifact.write_json(tmp_path / "y.json", {"\udcff": 1})  # of a file's name that is no UTF-8
    assert json.loads((tmp_path / "y.json").read_text()) == {"\udcff": 1}
    (tmp_path / "y.json").unlink()
    with pytest.raises(UnicodeEncodeError):  # half-way through the writing
        artifact.write_text(path, "a\udcff")
    assert json.loads(path.read_text(encoding="utf-8")) == {"ä": 1}
    assert "ä" in path.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=5))
def test_the_order_of_keys_does_not_count(value):
    turned = dict(reversed(value.items()))
    assert artifact.digest_json(value) == artifact.digest_json(turned)
    assert artifact.digest_json({"a": value}) != artifact.digest_json({"b": value})


def test_everything_public_is_listed():
    public = {
        name
        for name, value in vars(artifact).items()
        if getattr(value, "__module__", "") == artifact.__name__
    }
    assert {name for name in public if not name.startswith("_")} <= set(artifact.__all__)
