"""Where everything of a run lies.

runs/
├── .cache/                       shared by all runs, keyed by fingerprints
└── <name>/
    ├── <stage>-<key12>/          a finished artefact
    ├── <stage>-<key12>.partial/  one that was being made; emptied next time
    ├── .scratch/<stage>-<key12>/ checkpoints of a stage that was cut short
    ├── .lock, .lock.json         held by the process that works here; who that is
    └── latest.json               which artefacts the last run used
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from squeeze import artifact
from squeeze.artifact import Artifact
from squeeze.errors import Corrupt, UsageError

__all__ = ["KEY_SHOWN", "RunFolder", "open_artifact"]

KEY_SHOWN = 12  # hex digits in a folder's name; the manifest has all 64 and they are compared
LATEST_SCHEMA = 1


@dataclass(frozen=True)
class RunFolder:
    """The folder of one profile's runs.

    Attributes:
        root: such as ``runs``.
        name: the profile's name.
    """

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """`runs/<name>`."""
        return self.root / self.name

    @property
    def cache(self) -> Path:
        """`runs/.cache`."""
        return self.root / ".cache"

    def final(self, stage: str, key: str) -> Path:
        """Where a stage's artefact belongs."""
        return self.path / f"{stage}-{key[:KEY_SHOWN]}"

    def partial(self, stage: str, key: str) -> Path:
        """Where it is made."""
        return self.path / f"{stage}-{key[:KEY_SHOWN]}.partial"

    def scratch(self, stage: str, key: str) -> Path:
        """Where its checkpoints lie until it is complete."""
        return self.path / ".scratch" / f"{stage}-{key[:KEY_SHOWN]}"

    def clean(self) -> None:
        """Remove what a killed run left half-made; only for the holder of the lock."""
        for pattern in ("*.partial", "*.discarded"):
            for left in self.path.glob(pattern):
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink()

    def write_latest(self, folders: Mapping[str, str], verdict: str | None, *, complete: bool) -> None:
        """Remember which artefacts the run uses: stage to folder name."""
        record = {"schema": LATEST_SCHEMA, "name": self.name, "complete": complete, "verdict": verdict}
        artifact.write_json(self.path / "latest.json", {**record, "folders": dict(folders)})

    def latest(self) -> dict[str, Path]:
        """Artefact folders of the last run by stage.

        Raises:
            UsageError: this is no folder of a run, or nothing was finished in it.
        """
        path = self.path / "latest.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return {stage: self.path / folder for stage, folder in record["folders"].items()}
        except OSError as error:
            hint = "give a folder such as runs/NAME; squeeze run PROFILE makes one"
            raise UsageError(f"{self.path}: not the folder of a run ({error.strerror})", hint=hint) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UsageError(f"{path}: not readable", hint="squeeze run writes it again") from error


def open_artifact(folder: Path, kind: str, key: str | None = None) -> Artifact:
    """Open a finished artefact and check all of it.

    Args:
        folder: where it lies.
        kind: what it must hold.
        key: the full key it must have been made under; None: any.

    Raises:
        Corrupt: it is not what its manifest says, or the manifest is of something else.
    """
    try:
        found = artifact.load(folder)
        manifest = found.manifest
        sound = found.digest == artifact.digest_json(manifest["files"]) and isinstance(
            manifest["result"], dict
        )
        same = found.kind == kind and (key is None or manifest["key"] == key)
    except (KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"{folder / artifact.MANIFEST}: incomplete ({error})") from error
    if not sound or not same:
        raise Corrupt(f"{folder / artifact.MANIFEST}: describes something else than this {kind}")
    return found
