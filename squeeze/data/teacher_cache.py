"""What a teacher says about every text, computed once and read from disk ever after.

One folder per fingerprint (teacher weights, token numbers of all texts), one file per feature:

    logits.npy           (N, K) float32
    hidden-<l>.npy       (tokens, H) float16, state after layer l, 0 is the embedding's output
    attention-<l>.npy    (sum of heads*T*T,) float16
    relations-<l>.npy    (tokens, 3, A) float16, queries, keys and values

Rows lie text after text, so any order of reading works. A feature's file is renamed into place once
it is whole and its digest stands beside it. Another teacher, another text or another tokenizer has
another fingerprint: nothing stale can be hit. One process at a time fills a folder; others wait and
then find it filled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import NDArray

from squeeze.artifact import digest_file, digest_json, write_json
from squeeze.errors import StageFailed
from squeeze.progress import Progress

__all__ = [
    "LOGITS",
    "Feature",
    "Forward",
    "Known",
    "Layout",
    "Spent",
    "TeacherCache",
    "attention",
    "hidden",
    "relations",
]

Feature = str
Forward = Callable[[NDArray[np.int64], Sequence[Feature]], Mapping[Feature, Sequence[NDArray[np.float32]]]]
"""(row numbers, features) -> for each feature one unpadded array a row."""

LOGITS: Feature = "logits"
READS_A_MAP = 400  # batches: some 100 MB of states


def hidden(layer: int) -> Feature:
    """The state after a layer; 0 is the embedding's output."""
    return f"hidden-{layer}"


def attention(layer: int) -> Feature:
    """The attention probabilities of a layer, counted from 1."""
    return f"attention-{layer}"


def relations(layer: int) -> Feature:
    """Queries, keys and values of a layer, counted from 1."""
    return f"relations-{layer}"


@dataclass(frozen=True)
class Layout:
    """Widths of a teacher, which say how much room a text takes.

    Attributes:
        labels: K.
        hidden: H.
        heads: heads of each layer.
        head_size: width of one head.
    """

    labels: int
    hidden: int
    heads: tuple[int, ...]
    head_size: int

    def shape(self, feature: Feature, tokens: int) -> tuple[int, ...]:
        """Shape of one text's array."""
        name, _, number = feature.partition("-")
        if name == "logits":
            return (self.labels,)
        if name == "hidden":
            return (tokens, self.hidden)
        heads = self.heads[int(number) - 1]
        return (heads, tokens, tokens) if name == "attention" else (tokens, 3, heads * self.head_size)


@dataclass(frozen=True)
class Known:
    """Rows that need no forward pass: another cache of the same teacher has them, token for token.

    Attributes:
        cache: holds every feature that is asked for.
        rows: row numbers, the same in both caches.
    """

    cache: TeacherCache
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Spent:
    """What filling the cache took: texts run through the teacher, bytes written, seconds."""

    texts: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.texts + other.texts, self.bytes + other.bytes, self.seconds + other.seconds)


class TeacherCache:
    """The features of one teacher on one list of texts.

    Args:
        root: folder of all caches.
        teacher: digest of the teacher's weights.
        texts: digest of the token numbers of all texts.
        lengths: (N,) tokens of each text.
        layout: widths of the teacher.
    """

    def __init__(
        self, root: Path, teacher: str, texts: str, lengths: NDArray[np.int64], layout: Layout
    ) -> None:
        key = digest_json({"version": 2, "teacher": teacher, "texts": texts, "layout": vars(layout)})
        self.folder = root / "teacher" / key[:32]
        self.lengths, self.layout = lengths, layout
        self._open: dict[Feature, tuple[NDArray[np.float32], NDArray[np.int64]]] = {}
        self._reads = 0

    def ensure(
        self,
        features: Iterable[Feature],
        forward: Forward,
        batches: Iterable[NDArray[np.int64]],
        progress: Progress,
        known: Known | None = None,
    ) -> Spent:
        """Compute what is not on disk yet, all missing features in one pass over the texts.

        Args:
            features: what is wanted.
            forward: the teacher.
            batches: row numbers; every row that is not known in at least one.
            progress: where the pass is shown.
            known: rows that are copied instead of computed.

        Raises:
            StageFailed: there is no room for it on the disk.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        from filelock import FileLock  # loads asyncio, and a profile is read with the names of features alone

        with FileLock(self.folder / ".lock"):
            missing = [feature for feature in dict.fromkeys(features) if not self._whole(feature)]
            return self._fill(missing, forward, batches, progress, known) if missing else Spent()

    def _fill(
        self,
        missing: Sequence[Feature],
        forward: Forward,
        batches: Iterable[NDArray[np.int64]],
        progress: Progress,
        known: Known | None,
    ) -> Spent:
        started = monotonic()
        self._check_room(missing)
        ready = known.rows if known else np.empty(0, dtype=np.int64)
        computed = len(self.lengths) - len(ready)
        seen = np.zeros(len(self.lengths), dtype=np.bool_)
        with ExitStack() as files, progress.task("teacher", computed) as advance:
            stores = {feature: files.enter_context(self._create(feature)) for feature in missing}
            if known:
                for feature in missing:
                    for row, array in zip(ready, known.cache.read(feature, ready), strict=True):
                        stores[feature].write(int(row), array)
                seen[ready] = True
            for rows in batches:
                for feature, arrays in forward(rows, missing).items():
                    for row, array in zip(rows, arrays, strict=True):
                        stores[feature].write(int(row), array)
                seen[rows] = True
                advance(len(rows))
            for store in stores.values():
                store.sync()
        assert seen.all(), "the batches leave out rows, which would stay zero"
        written = sum(map(self._finish, missing))
        return Spent(computed, written, monotonic() - started)

    def read(self, feature: Feature, rows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        """One array a row, unpadded, in its stored precision; valid until the next read."""
        store, offsets = self._load(feature)
        for row in rows:
            shape = self.layout.shape(feature, int(self.lengths[row]))
            yield store[offsets[row] : offsets[row + 1]].reshape(shape)

    def padded(self, feature: Feature, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """All rows in one float32 array, zeros beyond each text's end in every token axis."""
        longest = int(self.lengths[rows].max())
        out = np.zeros((len(rows), *self.layout.shape(feature, longest)), dtype=np.float32)
        for place, array in zip(out, self.read(feature, rows), strict=True):
            place[tuple(slice(size) for size in array.shape)] = array
        return out

    def _path(self, feature: Feature) -> Path:
        return self.folder / f"{feature}.npy"

    def _whole(self, feature: Feature) -> bool:
        """Whether the file is there and is what its digest says."""
        path = self._path(feature)
        try:
            said = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["sha256"]
            return bool(said == digest_file(path))
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _offsets(self, feature: Feature) -> NDArray[np.int64]:
        sizes = [int(np.prod(self.layout.shape(feature, int(length)))) for length in self.lengths]
        offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
        np.cumsum(sizes, out=offsets[1:])
        return offsets

    def _check_room(self, features: Sequence[Feature]) -> None:
        """Ask before mapping files: a full disk would end the process by a signal, without a word."""
        needed = sum(int(self._offsets(f)[-1]) * np.dtype(_kind(f)).itemsize for f in features)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise StageFailed(
                f"{self.folder}: teacher outputs take {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
                hint="free some room, or use losses on logits or fewer layers and texts",
            )

    def _create(self, feature: Feature) -> _Store:
        self._open.pop(feature, None)
        return _Store(self._path(feature).with_suffix(".partial"), _kind(feature), self._offsets(feature))

    def _finish(self, feature: Feature) -> int:
        path = self._path(feature)
        path.with_suffix(".partial").replace(path)
        write_json(path.with_suffix(".json"), {"sha256": digest_file(path)})
        return path.stat().st_size

    def _load(self, feature: Feature) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        self._release()
        if feature not in self._open:
            store = np.load(self._path(feature), mmap_mode="r", allow_pickle=False)
            self._open[feature] = (store, self._offsets(feature))
        return self._open[feature]

    def _release(self) -> None:
        """Map the files anew from time to time.

        Pages that were read count as this process's memory for as long as the file is mapped, though
        the system could drop them at any moment: a pool of gigabytes would look like a leak.
        """
        self._reads += 1
        if self._reads % READS_A_MAP == 0:
            for feature, (_, offsets) in self._open.items():
                store = np.load(self._path(feature), mmap_mode="r", allow_pickle=False)
                self._open[feature] = (store, offsets)


class _Store:
    """A .npy file of one dimension that is written in pieces, in any order.

    Written, not mapped: the pages of a written map count as this process's memory until the map ends.

    Args:
        path: of the new file.
        kind: type of the values.
        offsets: (N + 1,) where each row begins, in values, and where the last one ends.
    """

    def __init__(self, path: Path, kind: type[np.floating[Any]], offsets: NDArray[np.int64]) -> None:
        self._kind, self._offsets = np.dtype(kind), offsets
        self._file = path.open("wb")
        header = {"descr": self._kind.str, "fortran_order": False, "shape": (int(offsets[-1]),)}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._begin = self._file.tell()
        self._file.truncate(self._begin + int(offsets[-1]) * self._kind.itemsize)

    def __enter__(self) -> _Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, row: int, values: NDArray[np.floating[Any]]) -> None:
        """Put one row in its place."""
        assert values.size == self._offsets[row + 1] - self._offsets[row], "not the length of the row"
        self._file.seek(self._begin + int(self._offsets[row]) * self._kind.itemsize)
        self._file.write(np.ascontiguousarray(values, dtype=self._kind).tobytes())

    def sync(self) -> None:
        """Have the system put it on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())


def _kind(feature: Feature) -> type[np.floating[Any]]:
    """Half precision keeps three digits of a state of size one, far below what a student can follow."""
    return np.float32 if feature == LOGITS else np.float16
