"""Open a source file in bounded memory: what it is, how much room it takes, where it is no text."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO

from squeeze.data.wording import nearest
from squeeze.errors import DataError, reason
from squeeze.runtime import usable_memory

__all__ = [
    "LONGEST",
    "MANY_BYTES",
    "PREFIX",
    "REPEATS",
    "Lines",
    "home",
    "is_packed",
    "open_file",
    "require_memory",
    "text_lines",
]

LONGEST = 1 << 24
"""Characters of one line: a longer one is no row of text, and must not fill the memory."""
PREFIX = 1 << 24
"""Bytes of a text file that a sample is taken from."""
ROOM = 6
"""Bytes of memory that one byte of a text file takes until all splits are checked and written."""
MANY_BYTES, REPEATS = 1 << 28, 50
"""Texts of that many bytes are refused where each of them stands in so many rows, on average."""
STEP = 1 << 24
"""Bytes after which the size of what is unpacked is looked at again."""
KINDS = {
    stat.S_IFDIR: "is a folder",
    stat.S_IFIFO: "is a pipe",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFCHR: "is a device",
    stat.S_IFBLK: "is a device",
}
MAGIC = (
    (b"\x1f\x8b", "gzip data", "give the file an ending such as .csv.gz, or unpack it: gunzip -k FILE"),
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
def open_file(path: Path) -> Iterator[BufferedReader]:
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


@dataclass(frozen=True)
class Lines:
    """The lines of a text file, each with its end.

    Attributes:
        lines: to be read once.
        whole: whether they are all lines, not only those of a sample.
    """

    lines: Iterator[str]
    whole: bool

    def __iter__(self) -> Iterator[str]:
        """The lines."""
        return self.lines


@contextmanager
def text_lines(
    path: Path, end: str = "", *, sample: bool = False, longest: int | None = None
) -> Iterator[Lines]:
    r"""The lines of a UTF-8 file, with or without byte order mark; `.gz` is unpacked while it is read.

    Args:
        path: the file.
        end: what ends a line, as ``newline`` of `open`: ``""`` for any end, ``"\n"`` for that alone.
        sample: only what begins in the first 16 MiB of text; the last line may then be missing.
        longest: characters of a line; a longer one is refused. None: `LONGEST`.

    Raises:
        DataError: not a readable regular file, not UTF-8, another format, NUL bytes, or an endless line; the
            message names the line, the byte and its offset in the text.
    """
    place = str(path)
    with open_file(path) as packed:
        if not is_packed(path):
            _require_text(packed.peek(16)[:16], place)
        size = os.fstat(packed.fileno()).st_size
        source: BinaryIO = _unpacked(packed, path)
        head = source.read(PREFIX + 1) if sample else b""
        if sample:
            source = io.BytesIO(_whole_lines(head) if len(head) > PREFIX else head)
        else:
            require_memory(place, f"{size / 1e9:.1f} GB of text", ROOM * size)
        text = io.TextIOWrapper(source, encoding="utf-8-sig", newline=end)
        try:
            yield Lines(_lines(text, place, longest or LONGEST), whole=len(head) <= PREFIX)
        except UnicodeDecodeError as error:
            raise _not_utf8(path) from error
        finally:
            text.detach()


def _whole_lines(data: bytes) -> bytes:
    """Without a last line that is cut; of a text that is one line, without what follows its last brace."""
    ends = (data.rfind(end) + 1 for end in (b"\n", b"\r", b"}"))
    return data[: next(filter(None, ends), len(data))]


def is_packed(path: Path) -> bool:
    """Whether a file's name says that gzip has packed it."""
    return path.suffix.lower() == ".gz"


def _unpacked(packed: BufferedReader, path: Path) -> BufferedReader:
    """The bytes of a file, unpacked where gzip has packed them."""
    return BufferedReader(_Gzip(packed, str(path)), 1 << 16) if is_packed(path) else packed


class _Gzip(io.RawIOBase):
    """What a gzip file holds; one that unpacks to far more than any text would is refused on the way.

    Args:
        packed: the file.
        place: its name.

    Raises:
        DataError: while it is read: not gzip data, damaged, or nearly all of it copies.
    """

    def __init__(self, packed: BinaryIO, place: str) -> None:
        self._file, self._packed = gzip.GzipFile(fileobj=packed), packed
        self._place, self._size = place, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._file.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            why = reason(error).partition(" (")[0]  # what follows quotes the file
            raise DataError(f"{self._place}: not readable gzip data ({why})") from error
        before, self._size = self._size, self._size + len(data)
        if before // STEP < self._size // STEP:
            self._refuse_more()
        buffer[: len(data)] = data
        return len(data)

    def _refuse_more(self) -> None:
        """Refuse what holds copies, or what will not fit if it goes on like this."""
        whole = os.fstat(self._packed.fileno()).st_size
        if self._size > max(MANY_BYTES, REPEATS * whole):
            raise DataError(
                f"{self._place}: {whole:,} bytes unpack to more than {MANY_BYTES:,}:"
                " nearly all of them are copies of each other",
                hint="keep one row of each text",
            )
        total = self._size * whole // max(1, self._packed.tell())
        require_memory(self._place, f"{total / 1e9:.1f} GB of text", ROOM * (total - self._size))


def _require_text(start: bytes, place: str) -> None:
    for magic, what, hint in MAGIC:
        if start.startswith(magic):
            raise DataError(f"{place}: holds {what}, text is expected", hint=hint)


def _lines(text: io.TextIOWrapper, place: str, longest: int) -> Iterator[str]:
    number = 0
    while line := text.readline(longest):
        number += 1
        if len(line) == longest:
            raise DataError(f"{place}: row {number} has more than {longest:,} characters")
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
    with open_file(path) as packed:
        handle = _unpacked(packed, path)
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
