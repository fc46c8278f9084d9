"""What the documents say is so: commands, keys, examples, profiles, links."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from squeeze.cli.app import app
from squeeze.errors import SqueezeError
from squeeze.profile import load
from squeeze.registry import STAGES
from tools import profile_docs

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "squeeze").rglob("*.md")])
PROFILES = sorted((ROOT / "profiles").glob("*.toml"))
SHIPPED = {
    "bert_crisis_tiny",
    "bert_crisis_small",
    "published_crisis_tiny",
    "published_crisis_small",
    "published_crisis_medium",
    "smoke",
}


def commands() -> dict[str, Any]:
    """Every command by its full name, groups walked through."""
    found: dict[str, Any] = {}

    def walk(group: Any, path: str) -> None:
        for name, command in group.commands.items():
            if command.hidden:
                continue
            if hasattr(command, "commands"):
                walk(command, f"{path}{name} ")
            else:
                found[f"{path}{name}"] = command

    walk(typer.main.get_command(app), "")
    return found


COMMANDS = commands()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_there_are_commands():
    assert {"run", "plan", "explain", "init", "bench", "gate", "predict", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_in_the_readme(name):
    assert re.search(rf"`squeeze {re.escape(name)}\b", README)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example(name):
    example = COMMANDS[name].epilog or ""
    assert example.startswith(f"Example: squeeze {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_the_command_does(name):
    assert len((COMMANDS[name].help or "").split()) >= 4


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_uses_options_that_exist(name):
    words = shlex.split(COMMANDS[name].epilog.removeprefix("Example: "))
    known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert [word for word in words if word.startswith("--") and word not in known] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name):
    options = [p for p in COMMANDS[name].params if p.param_type_name == "option" and p.name != "help"]
    assert [option.name for option in options if not option.help] == []


def test_the_readme_names_only_commands_that_exist():
    said = set(re.findall(r"`squeeze ([a-z]+)", README)) | set(
        re.findall(r"^squeeze ([a-z]+)", README, re.MULTILINE)
    )
    assert said
    assert said <= {name.split()[0] for name in COMMANDS}


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    said = set(re.findall(r"\bmake ([a-z-]+)(?=`|\s+#)", README + CONTRIBUTING))
    assert {"run", "test", "check"} <= said
    assert said <= targets


def test_help_of_the_makefile_lists_its_targets():
    done = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    shown = re.findall(r"^make ([a-z-]+)", done.stdout, re.MULTILINE)
    assert {"help", "install", "run", "test", "check", "fmt", "smoke", "bench"} <= set(shown)


def test_exit_codes_of_the_readme_are_those_of_the_errors():
    table = {int(code) for code in re.findall(r"^\| (\d) \|", README, re.MULTILINE)}
    classes = [SqueezeError]
    for error in classes:
        classes += error.__subclasses__()
    assert table == {0, *(error.exit_code for error in classes)}


def test_the_table_of_keys_is_current():
    assert profile_docs.TARGET.read_text(encoding="utf-8") == profile_docs.render(), "run `make docs`"


def test_every_key_has_its_meaning_in_the_table():
    models = profile_docs.tables()
    assert len(models) >= 15
    places = {place for found in models.values() for place in found}
    assert {
        "[task]",
        "[data]",
        "[teacher]",
        "[student]",
        "[[distil.phases]]",
        "[export]",
        "[budget]",
    } <= places
    without = re.findall(r"^\| `(\w+)` \|.*\|  \|$", profile_docs.render(), re.MULTILINE)
    assert without == []


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_stage_has_a_card(stage):
    card = (ROOT / "squeeze" / "stages" / stage.name / "README.md").read_text(encoding="utf-8")
    assert f"[{stage.section}" in card


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_python_blocks_compile(path):
    text = path.read_text(encoding="utf-8")
    for block in blocks(text, "python"):
        compile(block, str(path), "exec")


def test_the_readme_has_a_python_block():
    assert blocks(README, "python")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_inside_the_project_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (path.parent / target).exists()] == []


def squeeze_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "squeeze", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_profile_of_the_readme_is_accepted(tmp_path):
    (block,) = blocks(README, "toml")
    for name in ("train", "validation", "test"):
        rows = "".join(
            f"{name} {label} {i},{label}\n" for label in ("request", "offer", "other") for i in range(3)
        )
        (tmp_path / f"{name}.csv").write_text(f"text,label\n{rows}", encoding="utf-8")
    (tmp_path / "more.jsonl").write_text('{"text": "one more"}\n', encoding="utf-8")
    path = tmp_path / "example.toml"
    path.write_text(block, encoding="utf-8")
    done = squeeze_command("plan", str(path), "--out", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr


def test_all_profiles_are_there():
    assert {path.stem for path in PROFILES} >= SHIPPED


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_profile_says_what_it_is_for_and_how_to_run_it(path):
    head = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert head.startswith("# ")
    assert "squeeze run " in head


ONLINE = [path for path in PROFILES if "hf:" in path.read_text(encoding="utf-8")]
OFFLINE = [path for path in PROFILES if path not in ONLINE]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_profile_loads(path):
    assert load(path).profile.name


def test_only_the_hub_example_needs_the_network():
    assert [path.stem for path in ONLINE] == ["hub_sst2_example"]


@pytest.mark.parametrize(
    "path", [path for path in PROFILES if path not in ONLINE], ids=lambda path: path.stem
)
def test_profile_plans(path, tmp_path):
    sections = tomllib.loads(path.read_text(encoding="utf-8"))
    done = squeeze_command("plan", str(path), "--out", str(tmp_path / "runs"))
    assert done.returncode == 0, done.stderr
    shown = done.stdout + done.stderr
    assert [stage.name for stage in STAGES if stage.section in sections and stage.name not in shown] == []
