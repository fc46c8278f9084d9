"""The package as it is installed: public names, version, wheel, what an import costs."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import squeeze

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "squeeze"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__main__.py")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEAVY = {
    "torch",
    "transformers",
    "accelerate",
    "optimum",
    "datasets",
    "onnx",
    "onnxscript",
    "pyarrow",
    "sklearn",
}
# Comes with pydantic, which asks for exactly one version of it.
WITH_ANOTHER = {"pydantic_core"}
# What a command of the base install may import, in the words of `import`.
LIGHT = [
    "squeeze.cli",
    "squeeze.profile",
    "squeeze.pipeline",
    "squeeze.pytest_plugin",
    "squeeze.registry",
    "squeeze.report",
]


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def exported(path: Path) -> list[str] | None:
    """The literal value of `__all__`, or None without one."""
    for node in tree(path).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
        ):
            return list(ast.literal_eval(node.value))
    return None


def defined(path: Path) -> set[str]:
    """Names that a module binds at its top level."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return names


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Every (module, name) of `from module import name`, and (module, "") of `import module`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_all_names_what_is_there(path):
    names = exported(path)
    if names is None:
        public = [node.name for node in tree(path).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        assert [name for name in public if not name.startswith("_")] == [], "a public module needs __all__"
        return
    assert len(set(names)) == len(names)
    assert set(names) <= defined(path)


def test_what_other_modules_use_is_public():
    homes = {dotted(path): path for path in MODULES}
    hidden = [
        f"{dotted(user)} takes {name} from {module}, which does not have it in __all__"
        for user in MODULES
        for module, name in imports(user)
        if module in homes
        and f"{module}.{name}" not in homes
        and name not in (exported(homes[module]) or [name])
    ]
    assert hidden == []


def test_version_is_the_top_entry_of_the_changelog():
    entries = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert entries
    assert entries[0] == squeeze.__version__


def test_installed_metadata_agrees():
    assert importlib.metadata.version("squeeze-ondevice") == squeeze.__version__
    (script,) = [e for e in importlib.metadata.entry_points(group="console_scripts") if e.name == "squeeze"]
    assert script.value == "squeeze.cli:main"
    assert callable(script.load())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the tracked sources, without network."""
    out = tmp_path_factory.mktemp("wheel")
    source = out / "source"
    for path in [*PACKAGE.rglob("*"), *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE"))]:
        if path.is_file() and "__pycache__" not in path.parts:
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "-w", str(out), str(source)], check=True, capture_output=True, timeout=120)
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_wheel_holds_the_whole_package(wheel):
    tree_files = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith((".pyc", ".partial"))
    }
    packed = {name for name in wheel.namelist() if name.startswith("squeeze/")}
    assert tree_files - packed == set()
    assert "squeeze/py.typed" in packed
    assert "squeeze/data/corpus/crisis_demo.csv" in packed
    assert "squeeze/targets/reference/reference-1.onnx" in packed


def test_the_wheel_holds_nothing_else(wheel):
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == {"squeeze", f"squeeze_ondevice-{squeeze.__version__}.dist-info"}
    assert any(name.endswith("/LICENSE") for name in wheel.namelist())


def fresh(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("module", LIGHT)
def test_import_loads_nothing_heavy(module):
    done = fresh(f"import {module}, sys, json; print(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert "squeeze" in loaded
    assert loaded & (HEAVY | {"onnxruntime"}) == set()


WITHOUT_EXTRAS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
sys.argv = ["squeeze", *sys.argv[1:]]
from squeeze.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("command", ["", "run", "bench", "predict", "gate", "plan", "explain", "init"])
def test_help_works_without_any_extra(command):
    done = fresh(WITHOUT_EXTRAS.format(absent=HEAVY), *([command] if command else []), "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def declared(*groups: str) -> set[str]:
    optional = PROJECT["optional-dependencies"]
    lines = PROJECT["dependencies"] if not groups else [line for group in groups for line in optional[group]]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_every_import_is_declared():
    """What is imported is asked for in pyproject.toml, not only there by way of something else."""
    distributions = importlib.metadata.packages_distributions()
    known = declared() | declared("train", "demo", "gpu", "pytest")
    undeclared = {
        f"{dotted(path)} imports {top}"
        for path in MODULES
        for top in {module.split(".")[0] for module, _ in imports(path)}
        if top not in sys.stdlib_module_names
        and top not in {"squeeze", *WITH_ANOTHER}
        and not known & {canonicalize_name(name) for name in distributions.get(top, [top])}
    }
    assert undeclared == set()


def test_the_base_install_is_light():
    assert (
        declared() & {"torch", "transformers", "onnx", "datasets", "optimum", "accelerate", "pyarrow"}
        == set()
    )
    assert {"onnxruntime", "tokenizers"} <= declared()


def test_constraints_pin_what_is_asked_for():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"==[^*,]+", str(pin.specifier)) for pin in pins)
    versions = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins}
    optional = PROJECT["optional-dependencies"]
    asked = [*PROJECT["dependencies"], *optional["train"], *optional["demo"], *optional["dev"]]
    for need in (Requirement(line) for line in asked if not line.startswith("squeeze-ondevice")):
        assert versions[canonicalize_name(need.name)] in need.specifier, need


def test_makefile_and_constraints_name_one_torch():
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    (version,) = re.findall(r"^TORCH := (\S+)$", make, re.MULTILINE)
    assert f"torch=={version}" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert make.count("\n") < 60
