"""Reading and writing CSV without losing a line: a record knows where it stood and what is wrong with it."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeAlias

# A quoted field may contain line breaks. One that is never closed must not swallow the rest of the file.
MAX_RECORD_LINES = 50
MAX_LINE_CHARS = 100_000

REJECTED_COLUMNS = ("ligne_du_fichier", "raison")

_Line: TypeAlias = tuple[int, str]


@dataclass(frozen=True)
class Record:
    """What stands on a line of the file, counted from 1; `problem` is why it can't be taken apart."""

    number: int
    fields: list[str]
    problem: str | None = None


class CsvReader:
    """The header of a CSV file, and its records one by one, in constant memory. Raises OSError."""

    def __init__(self, path: Path, delimiter: str) -> None:
        self._bytes = path.open("rb")
        # Bytes that are not UTF-8 become surrogates, which can be written back as they were.
        self._text = TextIOWrapper(self._bytes, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self._records = iter(_Records(_lines(self._text), delimiter))
        self.header = next(self._records, Record(1, [])).fields

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._text.close()

    @property
    def bytes_read(self) -> int:
        """How much of the file has been read."""
        return self._bytes.tell()

    def __iter__(self) -> Iterator[Record]:
        """The records behind the header; empty lines are left out."""
        for record in self._records:
            if record.problem is None and len(record.fields) != len(self.header):
                found = f"{len(self.header)} colonnes sont attendues, non {len(record.fields)}"
                yield Record(record.number, record.fields, found)
            else:
                yield record


class RejectedLines:
    """The file beside an imported one that gets its bad lines; without any, there is none afterwards."""

    def __init__(self, path: Path, header: Sequence[str], delimiter: str) -> None:
        self.path = path
        self._header = header
        self._delimiter = delimiter
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, record: Record, reason: str) -> None:
        """Write the line as it was, with its number and the reason."""
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", errors="surrogateescape", newline="")
            self._writer = csv.writer(self._file, delimiter=self._delimiter)
            self._writer.writerow([*self._header, *REJECTED_COLUMNS])
        padding = [""] * (len(self._header) - len(record.fields))
        self._writer.writerow([*record.fields, *padding, record.number, reason])


def _lines(text: IO[str]) -> Iterator[_Line]:
    """The lines with their numbers; one that is too long comes in pieces."""
    number = 1
    while line := text.readline(MAX_LINE_CHARS):
        yield number, line
        number += line.endswith(("\n", "\r"))


class _Records:
    """One record for each line, or for several where a quoted field goes on.

    Where a quote stays open for too long, its line alone is at fault, and the next ones are read anew.
    """

    def __init__(self, lines: Iterator[_Line], delimiter: str) -> None:
        self._lines = lines
        self._delimiter = delimiter
        self._pushed_back: deque[_Line] = deque()

    def __iter__(self) -> Iterator[Record]:
        while first := self._take():
            record = self._record_from(first)
            if record.fields:
                yield record

    def _take(self) -> _Line | None:
        return self._pushed_back.popleft() if self._pushed_back else next(self._lines, None)

    def _record_from(self, first: _Line) -> Record:
        number, text = first
        taken = [first]
        while True:
            reader = csv.reader([line for _, line in taken], delimiter=self._delimiter, strict=True)
            try:
                return Record(number, next(reader))
            except csv.Error as error:
                goes_on = "unexpected end" in str(error) and len(taken) < MAX_RECORD_LINES
                following = self._take() if goes_on else None
                if following is None:
                    self._pushed_back.extendleft(reversed(taken[1:]))
                    return Record(number, [text.rstrip("\r\n")], f"CSV malformé : {error}")
                taken.append(following)
