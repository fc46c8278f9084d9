"""A loss is added by one file and one line, and everything knows it: profile, refusals, training."""

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

from typing import Literal

from squeeze.distillation.losses.base import AnswerLoss


class Power(AnswerLoss):
    """A power of the difference."""

    name: Literal["power"]
    exponent: int = 4
    """of the difference"""

    def compare(self, student, teacher):
        """Mean over rows and labels."""
        return (student - teacher).abs().pow(self.exponent).mean()
'''

USE = """
import sys
from pydantic import ValidationError
from squeeze.distillation.config import Phase
assert "torch" not in sys.modules
power = {"name": "power", "exponent": 3}
phase = Phase.parse({"name": "p", "alpha": 0.5, "losses": [power, {"name": "cross_entropy"}]})
assert phase.trains_head and phase.features(1, 1) == ("logits",)
try:
    Phase.parse({"name": "p", "losses": [{"name": "kl", "exponent": 3}]})
except ValidationError as error:
    assert "exponent" in str(error)
else:
    raise AssertionError("exponent is no setting of kl")
import torch
from tests import tiny
from squeeze.distillation.objective import Objective
student = tiny.encoder()
ids, mask = tiny.batch()
with torch.no_grad():
    logits = student(ids, mask)
    batch = {"ids": ids, "mask": mask, "labels": torch.full((len(ids),), -1), "logits": logits + 2}
    value = Objective(student, phase, tiny.shape(), None, 0.5)(batch)
print(round(float(value), 4))
"""


def test_a_loss_is_one_file_and_one_line(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "squeeze", ignore=shutil.ignore_patterns("__pycache__"))
    losses = tmp_path / "squeeze" / "distillation" / "losses"
    (losses / "power.py").write_text(FILE)
    registry = losses / "__init__.py"
    registry.write_text(registry.read_text().replace("CLASSES = {\n", 'CLASSES = {\n    "power": "Power",\n'))
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["4.0"]  # half of 2 cubed
