"""Tables from sets of the Hugging Face hub, or from local folders in one of their forms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

from squeeze.artifact import digest_files, digest_json
from squeeze.data.labels import class_label, class_labels
from squeeze.data.looks import ROWS, look
from squeeze.data.opening import home, open_file, require_memory
from squeeze.data.parquet import ROW, SPREAD, require_bounded
from squeeze.data.table import Column, Columns, Table, as_label, as_text, require_columns
from squeeze.data.wording import nearest
from squeeze.errors import DataError, MissingBackend, NotDownloaded, reason
from squeeze.runtime import is_offline, need

__all__ = ["PREFIX", "fingerprint", "local_folder", "read", "some_rows"]

PREFIX = "hf:"
MOST_FILES = 5000
"""Of a local folder: a set of as many shards is given by its parts."""


def read(name: str, subset: str | None, split: str, columns: Columns) -> Table:
    """One split of a set; whole-number classes become their names where the set knows them.

    Args:
        name: ``hf:owner/set``, or ``hf:`` and a local folder: one written by ``save_to_disk``, or
            one of data files that ``datasets.load_dataset`` understands.
        subset: configuration of the set.
        split: its split; a saved set without splits is read whole.
        columns: that are read.

    Raises:
        DataError: no such set, subset, split or column.
        MissingBackend: the ``datasets`` library is not installed, or the hub cannot be reached.
    """
    data = _open(name, subset, split)
    place = f"{name} ({split})"
    require_columns(place, data.column_names, columns)
    chosen = data.select_columns(list(columns.names)).data
    require_memory(place, f"{len(data):,} rows", ROW * len(data) + SPREAD * chosen.nbytes)
    return _table(data, place, columns)


def some_rows(
    name: str, subset: str | None, split: str, choose: Callable[[int], list[int]]
) -> tuple[dict[str, list[Any]], dict[str, list[str]]]:
    """Some rows of one split with all columns, and the names of the classes where the set knows them.

    Args:
        name: as for `read`.
        subset: likewise.
        split: likewise.
        choose: number of rows -> which of them, counted from 0.

    Raises:
        DataError: no such set, subset or split.
        MissingBackend: the ``datasets`` library is not installed, or the hub cannot be reached.
    """
    data = _open(name, subset, split)
    columns: dict[str, list[Any]] = data.select(choose(len(data)))[:]
    found = {column: getattr(feature, "names", None) for column, feature in data.features.items()}
    names = {column: list(classes) for column, classes in found.items() if classes}
    for column, classes in names.items():
        columns[column] = [class_label(value, classes) for value in columns[column]]
    return columns, names


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
    try:
        return datasets.load_dataset(path, subset, split=split)
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


def _table(data: Any, place: str, columns: Columns) -> Table:
    cells = data.select_columns(list(columns.names))[:]
    names = getattr(data.features[columns.label], "names", None) if columns.label else None
    rows = range(1, len(data) + 1)
    return Table(
        texts=tuple(as_text(value, place, row) for row, value in enumerate(cells[columns.text], 1)),
        labels=class_labels(cells[columns.label], names, place, rows) if columns.label else None,
        rows=tuple(rows),
        place=place,
        groups=tuple(map(as_label, cells[columns.group])) if columns.group else None,
        others=_others(data, columns),
    )


def _others(data: Any, columns: Columns) -> tuple[Column, ...]:
    """What the columns look like that are not read: text and lists alone, others may be images."""
    found = []
    for name, feature in data.features.items():
        if name not in columns.names and hasattr(feature, "feature"):
            found.append(look(name, [[]]))
        elif name not in columns.names and getattr(feature, "dtype", "") in {"string", "large_string"}:
            found.append(look(name, data.select_columns([name])[:ROWS][name]))
    return tuple(found)
