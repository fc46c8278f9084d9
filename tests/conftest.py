"""What every test gets: one seed, and golden files that one flag renews; pytest-socket bars the internet."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from typer.main import get_command

from squeeze.artifact import Artifact
from squeeze.cli import edge
from squeeze.cli.app import app

pytest_plugins = ["pytester"]  # for tests/test_pytest_plugin.py
# How long an example takes depends on what else runs.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden files anew; review the diff"
    )


@pytest.fixture(scope="session", autouse=True)
def one_command_line() -> None:
    """Build the command line once: typer builds it for every call, in 50 ms."""
    vars(edge)["app"] = get_command(app)


@pytest.fixture(scope="session", autouse=True)
def cached_exports(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Export each shape of a student once, where the collected tests have loaded torch."""
    if "torch" in sys.modules:
        from squeeze.graphs import lean
        from tests.exports import ExportCache

        base = tmp_path_factory.getbasetemp()
        shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # a worker's base lies in all's
        lean.export = ExportCache(shared / "exports").export


@pytest.fixture(scope="session")
def distilled_chain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """Dataset, teacher and a student of two layers, which tests read only."""
    from tests import distilled  # loads torch

    return distilled.chain(tmp_path_factory.mktemp("chain"))


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of profiles/smoke.toml up to the export, as its own process makes it; tests read it only."""
    from tools import golden

    return golden.made(golden.RECIPES["smoke"], tmp_path_factory.mktemp("smoke"))


@pytest.fixture(scope="session")
def frozen() -> set[str]:
    """Names of the modules that the garbage collector passes over."""
    return set()


@pytest.fixture(autouse=True)
def imported_modules_are_no_garbage(frozen: set[str]) -> None:
    """Stages collect garbage, which takes half a second among all that the tests import."""
    if len(sys.modules) > len(frozen) + 50:
        gc.collect()
        gc.freeze()
        frozen.update(sys.modules)


@pytest.fixture(autouse=True)
def one_seed() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """``golden(name, text)``: the text is what the golden file of that name says."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"{path} is missing: pytest --update-golden writes it"
        assert text == path.read_text(encoding="utf-8")

    return check
