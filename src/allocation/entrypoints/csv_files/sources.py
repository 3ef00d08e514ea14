"""The text of a file: from a path or a pipe, compressed or not, in any encoding.

A file may have to be read twice, and a pipe can be read only once, so a pipe is first copied to a temporary
file.
"""

import codecs
import gzip
import os
import re
import shutil
import stat
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, cast

from allocation.entrypoints.csv_files.errors import FileUnreadable, ImportRefused

STANDARD_INPUT = Path("-")

_GZIP = b"\x1f\x8b"
_HEAD_BYTES = 65_536
# The marks of UTF-32 come first, as they begin like those of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")
# The encodings in which the end of a line is more than one byte.
_WIDE = ("utf-16", "utf-32")


@dataclass(frozen=True)
class Source:
    """A file on disk, whose `text` can be read any number of times."""

    path: Path
    encoding: str
    compressed: bool

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self.path.stat().st_size

    @property
    def errors(self) -> str:
        """How undecodable bytes are read: as surrogates, so that they can be written back unchanged."""
        return "strict" if self.encoding.startswith(_WIDE) else "surrogateescape"

    @contextmanager
    def text(self) -> Iterator[tuple[TextIOWrapper, IO[bytes]]]:
        """The text from its beginning, and the file below, whose position tells how much has been read."""
        with self.path.open("rb") as file, _decompressed(file, compressed=self.compressed) as content:
            yield TextIOWrapper(content, self.encoding, self.errors, newline=""), file


@contextmanager
def opened(path: Path, encoding: str | None) -> Iterator[Source]:
    """The file. Without `encoding`, its byte-order mark decides; without one, it is UTF-8.

    Raises ImportRefused if it is empty or its first line can't be decoded; FileUnreadable; or OSError.
    """
    known = None if encoding is None else _known_encoding(encoding)
    with _on_disk(path) as on_disk:
        compressed, head = _head(on_disk)
        if not head:
            raise ImportRefused("the file is empty: it has not even a header")
        source = Source(on_disk, _chosen(known, head), compressed)
        _check_first_line(head, source.encoding)
        yield source


def is_piped(path: Path) -> bool:
    """Whether it is standard input or a pipe, rather than a file in a folder."""
    return path == STANDARD_INPUT or not stat.S_ISREG(path.stat().st_mode)


@contextmanager
def unreadable_as_such(where: str) -> Iterator[None]:
    """Turn errors that occur while a file is read into FileUnreadable."""
    try:
        yield
    except UnicodeError as error:
        raise FileUnreadable(f"{where} is not in the encoding that was expected: {error}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FileUnreadable(f"{where}: the compressed file is cut off or damaged: {error}") from error


@contextmanager
def _on_disk(path: Path) -> Iterator[Path]:
    if not is_piped(path):
        yield path
        return
    with NamedTemporaryFile(prefix="allocation-import-") as copy:
        with sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb") as pipe:
            shutil.copyfileobj(pipe, copy)
        copy.flush()
        yield Path(copy.name)


@contextmanager
def _decompressed(file: IO[bytes], *, compressed: bool) -> Iterator[IO[bytes]]:
    if compressed:
        with gzip.GzipFile(fileobj=file) as content:
            yield cast(IO[bytes], content)
    else:
        yield file


def _head(path: Path) -> tuple[bool, bytes]:
    """Whether the file is compressed, and its first bytes."""
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP)) == _GZIP
        file.seek(os.SEEK_SET)
        with unreadable_as_such("line 1"), _decompressed(file, compressed=compressed) as content:
            return compressed, content.read(_HEAD_BYTES)


def _known_encoding(name: str) -> str:
    """The encoding's canonical name. Raises ImportRefused if there is none of that name."""
    try:
        "".encode(name)
    except LookupError as error:
        raise ImportRefused(
            f"--encoding {name}: there is no such text encoding. Examples: utf-8, utf-16, cp1252"
        ) from error
    return codecs.lookup(name).name


def _chosen(asked: str | None, head: bytes) -> str:
    """The encoding of the file's mark, or else the one asked for. Raises ImportRefused if they contradict."""
    marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
    if marked and asked and not asked.startswith(marked.removesuffix("-sig")):
        raise ImportRefused(f"the file begins with the mark of {marked}: --encoding {asked} is wrong")
    return marked or asked or "utf-8"


def _check_first_line(head: bytes, encoding: str) -> None:
    """Raises ImportRefused, with the place, if the first line can't be decoded."""
    [line, *_] = head.splitlines(keepends=True) if not encoding.startswith(_WIDE) else [head]
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(line)
    except UnicodeError as error:
        raise _no_text(getattr(error, "start", 0), encoding) from error
    [title, *_] = text.splitlines() or [""]
    if control := _CONTROL.search(title):
        raise _no_text(len(title[: control.start()].encode(encoding)), encoding)


def _no_text(place: int, encoding: str) -> ImportRefused:
    return ImportRefused(
        f"byte {place + 1} of line 1 is not text in {encoding}. Another encoding? --encoding cp1252, or "
        "utf-16-le. A workbook, or another program's file? Save it as CSV."
    )
