"""Three hundred wrong profiles: each ends with code 2 and a line that names the fault, never a traceback."""

from __future__ import annotations

import copy
import random
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from benchmarks.campaign import MOST_SECONDS
from benchmarks.mutated_profiles import PROFILES, RIGHT, make_folder, tried
from benchmarks.profile_mutations import Case, document, draw, seeds
from squeeze.cli import main

SMOKE = tomllib.loads((Path(__file__).resolve().parent.parent / "profiles" / "smoke.toml").read_text())
REQUIRED: list[tuple[str | int, ...]] = [
    ("name",),
    ("task",),
    ("data",),
    ("task", "labels"),
    ("data", "train"),
    ("data", "validation"),
    ("data", "test"),
]
REQUIRED += [("distil", "phases"), ("distil", "phases", 0, "name"), ("distil", "phases", 0, "losses")]
REQUIRED += [("distil", "phases", 0, "losses", 0, "name")]
BELOW = -(10**6)


def places(data: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every key and index of the profile."""
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for step, value in entries:
        yield (*place, step)
        yield from places(value, (*place, step))


ALL = list(places(SMOKE))
KEYS = [place for place in ALL if isinstance(place[-1], str)]
WORDS = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=3, max_size=12).map(lambda word: f"{word}_zz")
# no field of any section takes such values
WRONG = st.sampled_from([[[{"a": 1}]], {"zz": {"zz": 1}}, [[True]]])


def above(data: Any, place: tuple[str | int, ...]) -> Any:
    for step in place[:-1]:
        data = data[step]
    return data


NUMBERS = [place for place in ALL if isinstance(above(SMOKE, (*place, "")), int | float)]


@st.composite
def mutations(draw: st.DrawFn) -> tuple[dict[str, Any], str]:
    """A wrong profile and a word that the message must hold."""
    data = copy.deepcopy(SMOKE)
    kind = draw(st.sampled_from(["rename", "type", "range", "missing", "section", "extra"]))
    if kind == "rename":
        place = draw(st.sampled_from(KEYS))
        holder, name = above(data, place), draw(WORDS)
        holder[name] = holder.pop(place[-1])
        return data, name
    if kind == "type":
        place = draw(st.sampled_from(ALL))
        above(data, place)[place[-1]] = draw(WRONG)
        return data, next(
            step for step in reversed(place) if isinstance(step, str)
        )  # "0" would be in any line
    if kind == "range":
        place = draw(st.sampled_from(NUMBERS))
        above(data, place)[place[-1]] = draw(st.sampled_from([BELOW, float("nan"), float("-inf")]))
        return data, str(place[-1])
    if kind == "missing":
        place = draw(st.sampled_from(REQUIRED))
        del above(data, place)[place[-1]]
        return data, str(place[-1])
    name = draw(WORDS)
    if kind == "section":
        data[name] = {"a": 1}
    else:
        tables = [place for place in KEYS if isinstance(above(data, (*place, "")), dict)]
        above(data, (*draw(st.sampled_from(tables)), ""))[name] = draw(st.integers() | st.text("ab"))
    return data, name


def test_the_unchanged_profile_is_accepted(tmp_path, capsys):
    (tmp_path / "p.toml").write_text(document(SMOKE))
    assert main(["explain", str(tmp_path / "p.toml")]) == 0
    assert "distil.phases.0.epochs" in capsys.readouterr().out


def check_refused(folder: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> str:
    path = folder / "p.toml"
    path.write_bytes(content)
    code = main(["explain", str(path)])
    captured = capsys.readouterr()
    assert code == 2, captured
    assert captured.out == ""
    assert "Traceback" not in captured.err
    assert "internal error" not in captured.err
    lines = captured.err.splitlines()
    assert lines
    assert all(line.startswith(("error: ", "hint: ")) for line in lines)
    return captured.err


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(mutation=mutations())
def test_a_wrong_profile_names_its_faulty_key(mutation, tmp_path, capsys):
    data, name = mutation
    assert name in check_refused(tmp_path, document(data).encode(), capsys)


@settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(at=st.integers(0, 3000), junk=st.binary(min_size=1, max_size=8))
def test_garbage_in_the_file_is_refused_or_harmless(at, junk, tmp_path, capsys):
    content = document(SMOKE).encode()
    spoilt = content[:at] + junk + content[at:]
    try:
        parsed: object = tomllib.loads(spoilt.decode())
        assume(parsed is None)
    except ValueError:
        assert "p.toml" in check_refused(tmp_path, spoilt, capsys)


def test_a_sample_of_the_campaign_ends_with_lines_and_right_codes(tmp_path):
    make_folder(tmp_path)
    sources = seeds(PROFILES)
    for number in range(30):
        case = draw(random.Random(f"test-{number}"), sources)
        code, errors, seconds = tried("plan", case, tmp_path)
        assert code in RIGHT, (number, errors)
        assert "internal error" not in errors, (number, errors)
        assert all(line.startswith(("error: ", "hint: ", "warning: ")) for line in errors.splitlines()), (
            errors
        )
        assert seconds < MOST_SECONDS, number
    whole = Case(document(sources[-1]).encode(), ())
    assert tried("plan", whole, tmp_path)[0] == 0


def test_the_campaign_sees_an_internal_error(tmp_path, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("squeeze.profile.load", broken)
    code, said, _ = tried("plan", Case(b"", ()), tmp_path)
    assert (code, said.splitlines()[0]) == (4, "error: internal error RuntimeError: broken")
