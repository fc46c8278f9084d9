"""A task is added by one folder and one line, and everything knows it: profile, data, scores, answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import squeeze

PACKAGE = Path(squeeze.__file__).parent

FILE = '''
from __future__ import annotations

from typing import ClassVar, Literal

from squeeze.core.metrics import Metric
from squeeze.tasks.base import TaskSection
from squeeze.tasks.regression.task import Regression


class CountSection(TaskSection):
    """The `[task]` section of counts."""

    problem_type: Literal["count"]
    """what a text has: counts"""
    most: int = 10
    """largest count"""


class Count(Regression):
    """Counts: numbers that are none below 0."""

    Section: ClassVar[type[TaskSection]] = CountSection
    metrics: ClassVar = {**Regression.metrics, "zeros": Metric("zeros")}
    section: CountSection

    def label_problems(self, name, table):
        """A count above the largest one."""
        most = self.section.most
        wrong = [row for row, cells in zip(table.rows, table.labels) if float(cells[0]) > most]
        return [f"{name}: above {most} in rows {wrong}"] if wrong else []
'''

USE = """
import sys
from pydantic import ValidationError
from squeeze.profile.model import Profile
from squeeze.tasks import METRICS, task_of
assert "torch" not in sys.modules
sources = {"train": "train.csv", "validation": "b.csv", "test": "c.csv"}
section = {"problem_type": "count", "labels": ["n"], "most": 3}
profile = Profile.parse({"name": "x", "task": section, "data": sources})
task = task_of(profile.task)
assert (task.answers, task.primary, METRICS["zeros"].title) == ("real", "pearson", "zeros")
try:
    Profile.parse({"name": "x", "task": {"labels": ["a", "b"], "most": 3}, "data": sources})
except ValidationError as error:
    assert "most" in str(error)
else:
    raise AssertionError("most is no setting of one label a text")
from pathlib import Path
Path("train.csv").write_text("text,n\\n" + "".join(f"text {i},{i}\\n" for i in range(5)))
from squeeze.data.checks import inspect
from squeeze.data.sources import read
table = read("train.csv", "train", profile.data, task.cells())
problems = inspect({"train": table}, task, "drop", "keep").problems
state = task.state(table.labels)
values = task.encode(table.labels, state)
answer = task.decode(values[2], state, tokens=1, cut=False)
print(problems[0], round(answer.values["n"]), round(task.scores(values, values).score, 3))
"""


def test_a_task_is_one_folder_and_one_line(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "squeeze", ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path / "squeeze" / "tasks" / "count"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "task.py").write_text(FILE)
    registry = tmp_path / "squeeze" / "tasks" / "__init__.py"
    line = '    "count": ("count", "Count"),\n'
    registry.write_text(registry.read_text().replace("CLASSES = {\n", "CLASSES = {\n" + line))
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "train (train.csv): above 3 in rows [6] 2 1.0"
