"""Tables from sets of the Hugging Face hub, or from local folders in one of their forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from squeeze.artifact import digest_files, digest_json
from squeeze.data.cells import DEEPEST, Cells, spread
from squeeze.data.looks import ROWS, look
from squeeze.data.opening import home, open_file, require_memory
from squeeze.data.parquet import ROW, SPREAD, require_bounded
from squeeze.data.table import Column, Columns, require_columns
from squeeze.data.wording import nearest
from squeeze.errors import DataError, MissingBackend, NotDownloaded, reason
from squeeze.runtime import is_offline, need

__all__ = ["PREFIX", "fingerprint", "local_folder", "read"]

PREFIX = "hf:"
MOST_FILES = 5000
"""Of a local folder: a set of as many shards is given by its parts."""


def read(
    name: str, subset: str | None, split: str, columns: Columns | None, rows: int | None = None
) -> Cells:
    """The cells of one split of a set.

    Args:
        name: ``hf:owner/set``, or ``hf:`` and a local folder: one written by ``save_to_disk``, or
            one of data files that ``datasets.load_dataset`` understands.
        subset: configuration of the set.
        split: its split; a saved set without splits is read whole.
        columns: that are read; None: all.
        rows: how many rows at most, spread over the split; None: all.

    Raises:
        DataError: no such set, subset, split or column.
        MissingBackend: the ``datasets`` library is not installed, or the hub cannot be reached.
    """
    data, place = _open(name, subset, split), f"{name} ({split})"
    others = () if columns is None else _others(data, columns)
    for _ in range(DEEPEST):
        if columns is None or not set(columns.names) <= set(data.column_names):
            data = data.flatten()
    if columns:
        require_columns(place, data.column_names, columns)
    if rows is not None:
        data = data.select(spread(len(data), rows))
    wanted = list(columns.names) if columns else data.column_names
    chosen = data.select_columns(wanted)
    require_memory(place, f"{len(data):,} rows", ROW * len(data) + SPREAD * chosen.data.nbytes)
    classes = {
        column: list(map(str, names)) for column in wanted if (names := _class_names(data.features[column]))
    }
    return Cells(place, chosen[:], range(1, len(data) + 1), data.column_names, True, classes, others)


def _class_names(feature: Any) -> Sequence[str] | None:
    """The names of the classes of a column, or of the lists in it."""
    return getattr(getattr(feature, "feature", feature), "names", None)


def _open(name: str, subset: str | None, split: str) -> Any:
    datasets = need("datasets", extra="train")
    datasets.disable_progress_bars()
    folder = local_folder(name)
    if folder is not None:
        _require_bounded(folder)
    if folder is not None and _is_saved(folder):
        return _load_saved(datasets, folder, split, name)
    return _load(datasets, str(folder or name.removeprefix(PREFIX)), subset, split, name)


def _refuse_heap(name: str, folder: Path) -> None:
    """Refuse a folder that is no set, before all of it is read: `hf:..` may be a home folder.

    Raises:
        DataError: it holds far more files than a set.
    """
    if sum(1 for _ in islice(folder.rglob("*"), MOST_FILES + 1)) > MOST_FILES:
        raise DataError(
            f"{name}: more than {MOST_FILES:,} files, which is no set", hint="name the folder of one set"
        )


def _require_bounded(folder: Path) -> None:
    """Refuse a folder with a Parquet file that would be unpacked to far more than it holds.

    Raises:
        DataError: names the file.
    """
    parquet, arrow = need("pyarrow.parquet", extra="train"), need("pyarrow", extra="train")
    for path in sorted(folder.rglob("*.parquet")):
        with open_file(path) as handle:
            try:
                file = parquet.ParquetFile(handle, pre_buffer=False)
                require_bounded(file, file.schema_arrow.names, str(path))
            except (arrow.ArrowException, OSError) as error:
                raise DataError(f"{path}: not a readable Parquet file ({reason(error)})") from error


def fingerprint(name: str) -> str:
    """What the set is now: the commit on the hub, or a digest over the files of a local folder.

    Without a network the commit that was downloaded last counts, which is the one that will be read.

    Raises:
        DataError: no such set or folder.
        MissingBackend: the hub cannot be reached and nothing was downloaded before.
    """
    folder = local_folder(name)
    if folder is not None:
        _refuse_heap(name, folder)
        return digest_json(digest_files(folder))
    hub = need("huggingface_hub", extra="train")
    try:
        # Its folder is named by the commit, both fresh from the hub and found in the cache.
        snapshot = hub.snapshot_download(
            name.removeprefix(PREFIX),
            repo_type="dataset",
            allow_patterns="README.md",
            local_files_only=is_offline(),
        )
    except (hub.errors.RepositoryNotFoundError, hub.errors.HFValidationError) as error:
        raise _unknown(name, error) from error
    except OSError as error:
        if is_offline():
            raise NotDownloaded(f"{name}: not downloaded yet, it is checked when it is") from error
        raise _unreachable(name) from error
    return Path(snapshot).name


def local_folder(name: str) -> Path | None:
    """The folder that ``hf:`` names, or None when it names a set of the hub.

    Raises:
        DataError: it is written like a path, and there is no such folder.
    """
    written = name.removeprefix(PREFIX)
    folder = home(written)
    if folder.is_dir():
        return folder
    if written.startswith((".", "~")) or folder.is_absolute():
        raise DataError(f"{name}: no such folder", hint="a set of the hub is written `hf:owner/set`")
    return None


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))


def _load_saved(datasets: ModuleType, folder: Path, split: str, name: str) -> Any:
    try:
        data = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{name}: not a readable saved set ({reason(error)})") from error
    if not isinstance(data, Mapping):
        return data
    if split not in data:
        raise DataError(
            f"{name}: no split {split!r}{nearest(split, data)}; it has: {', '.join(data)}", hint=_SPLIT
        )
    return data[split]


def _load(datasets: ModuleType, path: str, subset: str | None, split: str, name: str) -> Any:
    hub = need("huggingface_hub", extra="train")

    def prepared(builder: Any) -> Any:
        builder.download_and_prepare()
        return builder.as_dataset(split=split)

    build = partial(datasets.load_dataset_builder, path, subset)
    try:
        builder = build()
        if not hasattr(builder.config, "na_filter"):
            return prepared(builder)
        # The reader of CSV makes numbers of text such as "01", and of "NA" nothing, unless it is told not to.
        if builder.info.features is not None:  # the set says what its columns are
            return prepared(build(na_filter=False))
        names = prepared(build(na_filter=False, nrows=1)).column_names
        return prepared(build(na_filter=False, converters=dict.fromkeys(names, str)))
    except (ConnectionError, hub.errors.HfHubHTTPError) as error:
        raise _unreachable(name) from error
    except (datasets.exceptions.DatasetsError, OSError) as error:
        raise _unknown(name, error) from error
    except ValueError as error:
        raise DataError(f"{name}: {reason(error)}", hint=_SPLIT) from error


_SPLIT = 'choose with `split` and `subset`, as in `{ name = "hf:owner/set", split = "train" }`'


def _unreachable(name: str) -> MissingBackend:
    return MissingBackend(
        f"{name}: the hub cannot be reached, and the set was not downloaded before",
        hint="connect once, or give a local copy as `hf:./folder`",
    )


def _unknown(name: str, error: Exception) -> DataError:
    return DataError(f"{name}: cannot be loaded ({reason(error)})", hint="sets are named `hf:owner/set`")


def _others(data: Any, columns: Columns) -> tuple[Column, ...]:
    """What the columns look like that are not read: text and lists alone, others may be images."""
    found = []
    for name, feature in data.features.items():
        if name not in columns.names and hasattr(feature, "feature"):
            found.append(look(name, [[]]))
        elif name not in columns.names and getattr(feature, "dtype", "") in {"string", "large_string"}:
            found.append(look(name, data.select_columns([name])[:ROWS][name]))
    return tuple(found)
