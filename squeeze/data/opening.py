"""Open a source file in bounded memory: what it is, how much room it takes, where it is no text."""

from __future__ import annotations

import codecs
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from squeeze.data.wording import nearest
from squeeze.errors import DataError
from squeeze.runtime import usable_memory

__all__ = ["LONGEST", "PREFIX", "home", "open_file", "require_memory", "text_lines"]

LONGEST = 1 << 24
"""Characters of one line: a longer one is no row of text, and must not fill the memory."""
PREFIX = 1 << 24
"""Bytes of a text file that a sample is taken from."""
ROOM = 6
"""Bytes of memory that one byte of a text file takes until all splits are checked and written."""
KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}
MAGIC = (
    (b"\x1f\x8b", "gzip data", "unpack it first: gunzip -k FILE"),
    (b"PK\x03\x04", "a ZIP archive or a spreadsheet", "unpack it, or save the spreadsheet as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "save the spreadsheet as CSV (UTF-8)"),
    (b"PAR1", "Parquet data", "give the file the ending .parquet"),
    (b"BZh", "bzip2 data", "unpack it first: bunzip2 -k FILE"),
    (b"\xfd7zXZ", "xz data", "unpack it first: unxz -k FILE"),
    (b"\x28\xb5\x2f\xfd", "zstd data", "unpack it first: unzstd FILE"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV (UTF-8)"),
    (b"%PDF-", "a PDF document", "save the text as CSV (UTF-8)"),
    (b"ARROW1", "Arrow data", "save it as Parquet"),
)
"""First bytes of files that are often given a wrong name, what they are and what helps."""


def home(name: str) -> Path:
    """A path with `~` and `~user` replaced by the home folder.

    Raises:
        DataError: there is no such user.
    """
    try:
        return Path(name).expanduser()
    except RuntimeError as error:
        user = name.split("/", 1)[0]
        raise DataError(
            f"{name}: {user!r} names no user of this machine", hint="write the folder in full"
        ) from error


@contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """A regular file for reading; anything else might never end.

    Raises:
        DataError: it is not there, is no regular file, or may not be read.
    """
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
        if kind != stat.S_IFREG:
            raise DataError(f"{path}: cannot be read (it {KINDS.get(kind, 'is no file')})")
        with path.open("rb") as handle:
            yield handle
    except FileNotFoundError as error:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        gone = "" if path.parent.is_dir() else "; its folder is not there either"
        raise DataError(
            f"{path}: no such file{nearest(path.name, beside)}{gone}",
            hint="paths are relative to the profile",
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def require_memory(place: str, what: str, needed: int) -> None:
    """Refuse what will not fit.

    Args:
        place: the source in words.
        what: what needs the memory, such as ``2,000,000 rows``.
        needed: bytes.

    Raises:
        DataError: it takes more memory than this process can get.
    """
    free = usable_memory()
    if needed > free:
        raise DataError(
            f"{place}: {what} take about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free",
            hint="give a file with fewer rows",
        )


@contextmanager
def text_lines(path: Path, end: str = "", *, sample: bool = False) -> Iterator[Iterator[str]]:
    r"""The lines of a UTF-8 file, with or without byte order mark; each with its end.

    Args:
        path: the file.
        end: what ends a line, as ``newline`` of `open`: ``""`` for any end, ``"\n"`` for that alone.
        sample: only what begins in the first 16 MiB; the last line may then be missing.

    Raises:
        DataError: not a readable regular file, not UTF-8, another format, NUL bytes, or an endless line; the
            message names the line, the byte and its offset in the file.
    """
    place = str(path)
    with open_file(path) as handle:
        _require_text(handle.read(16), place)
        handle.seek(0)
        size = os.fstat(handle.fileno()).st_size
        source: BinaryIO = handle
        if sample and size > PREFIX:
            data = handle.read(PREFIX)
            source = io.BytesIO(data[: data.rfind(b"\n") + 1] or data[: data.rfind(b"\r") + 1] or data)
        else:
            require_memory(place, f"{size / 1e9:.1f} GB of text", ROOM * size)
        text = io.TextIOWrapper(source, encoding="utf-8-sig", newline=end)
        try:
            yield _lines(text, place)
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error
        finally:
            text.detach()


def _require_text(start: bytes, place: str) -> None:
    for magic, what, hint in MAGIC:
        if start.startswith(magic):
            raise DataError(f"{place}: holds {what}, text is expected", hint=hint)


def _lines(text: io.TextIOWrapper, place: str) -> Iterator[str]:
    number = 0
    while line := text.readline(LONGEST):
        number += 1
        if len(line) == LONGEST:
            raise DataError(f"{place}: row {number} has more than {LONGEST:,} characters")
        if "\0" in line:
            wide = line.count("\0") * 3 > len(line)
            raise DataError(
                f"{place}: row {number} holds NUL bytes",
                hint="the file looks like UTF-16: save it as UTF-8" if wide else "text holds no NUL bytes",
            )
        yield line


def _not_utf8(path: Path) -> DataError:
    """Say where a file stops being UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, breaks, first, carriage = 0, 0, b"", False
    with open_file(path) as handle:
        while chunk := handle.read(1 << 16):
            first = first or chunk[:2]
            pending = decoder.getstate()[0]
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                good = max(error.start - len(pending), 0)
                at, byte = offset - len(pending) + error.start, error.object[error.start]
                line = 1 + breaks + _breaks(chunk[:good], carriage)
                return _encoding_error(str(path), line, at, byte, utf16=first in {b"\xff\xfe", b"\xfe\xff"})
            breaks += _breaks(chunk, carriage)
            carriage = chunk.endswith(b"\r")
            offset += len(chunk)
    pending = decoder.getstate()[0]
    return _encoding_error(str(path), 1 + breaks, offset - len(pending), (pending or b"\0")[0], utf16=False)


def _breaks(chunk: bytes, carriage: bool) -> int:
    """Ends of lines in a chunk; a line feed right behind the last chunk's carriage return ends no other."""
    ends = chunk.count(b"\n") + chunk.count(b"\r") - chunk.count(b"\r\n")
    return ends - (carriage and chunk.startswith(b"\n"))


def _encoding_error(place: str, line: int, at: int, byte: int, *, utf16: bool) -> DataError:
    return DataError(
        f"{place}: row {line} is not UTF-8: byte 0x{byte:02x} at offset {at}",
        hint=f"the file looks like {'UTF-16' if utf16 else 'Latin-1 or Windows-1252'}: save it as UTF-8",
    )
