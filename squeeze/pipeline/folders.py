"""Where everything of a run lies.

runs/
├── .cache/                       shared by all runs, keyed by fingerprints
└── <name>/
    ├── <stage>-<key12>/          a finished artefact
    ├── <stage>-<key12>.partial/  one that was being made; emptied next time
    ├── .scratch/<stage>-<key12>/ checkpoints of a stage that was cut short
    ├── .lock, .lock.json         held by the process that works here; who that is
    └── latest.json               which artefacts the last complete run and the last run used

A link in here is never followed when something is written: it may lead anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from squeeze import artifact
from squeeze.artifact import Artifact
from squeeze.errors import Corrupt, UsageError

__all__ = ["KEY_SHOWN", "RunFolder", "open_artifact"]

KEY_SHOWN = 12  # hex digits in a folder's name; the manifest has all 64 and they are compared


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

    def refuse_links(self) -> None:
        """Check the places that are written to, before anything is written.

        Raises:
            UsageError: one of them is a link.
        """
        scratch = self.path / ".scratch"
        places = [self.path, self.path / ".lock", self.cache, scratch]
        below = [path for folder in (self.cache, scratch) for path in folder.rglob("*")]
        link = next((path for path in (*places, *below) if path.is_symlink()), None)
        if link is not None:
            raise UsageError(
                f"{link}: is a link, and links among the runs are never written through",
                hint="remove it; --out DIR keeps runs on another disk",
            )

    def clean(self) -> None:
        """Remove what a killed run left half-made; only for the holder of the lock."""
        for pattern in ("*.partial", "*.discarded"):
            for left in self.path.glob(pattern):
                artifact.remove(left)


def open_artifact(folder: Path, kind: str, key: str | None = None) -> Artifact:
    """Open a finished artefact and check all of it.

    Args:
        folder: where it lies.
        kind: what it must hold.
        key: the full key it must have been made under; None: any.

    Raises:
        Corrupt: it is not what its manifest says, or the manifest is of something else.
    """
    found = artifact.load(folder)
    same = found.kind == kind and (key is None or found.manifest.get("key") == key)
    if not same:
        raise Corrupt(f"{folder / artifact.MANIFEST}: describes something else than this {kind}")
    return found
