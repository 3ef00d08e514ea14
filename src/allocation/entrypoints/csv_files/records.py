"""Reading CSV without losing a line: each record knows its place and what is wrong with it."""

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, NamedTuple

from allocation.entrypoints.csv_files.sources import unreadable_as_such

# A quoted field may contain line breaks. One that is never closed must not swallow the rest of the file.
MAX_RECORD_LINES = 50
MAX_LINE_CHARS = 100_000
# How much of an overlong line is handed back: enough to recognise it.
KEPT_CHARS = 1000


@dataclass(frozen=True)
class Record:
    """The cells of a record, with the number of its line (from 1); `problem` says why it can't be parsed."""

    number: int
    fields: list[str]
    problem: str | None = None


class Line(NamedTuple):
    """A line of the text; not `whole` if it was cut because it is too long."""

    number: int
    text: str
    whole: bool = True


def lines(text: IO[str]) -> Iterator[Line]:
    """The lines with their numbers, in constant memory. Raises FileUnreadable."""
    number = 1
    while piece := _piece(text, number):
        whole = _is_whole(piece)
        yield Line(number, piece, whole)
        while not whole:
            whole = _is_whole(_piece(text, number))
        number += 1


def records(source: Iterator[Line], delimiter: str) -> Iterator[Record]:
    """One record for each line, or for several when a quoted field spans them; empty records are left out.

    If a quote stays open for too long, only its line is faulty; reading resumes with the next line.
    """
    csv.field_size_limit(MAX_LINE_CHARS * MAX_RECORD_LINES)
    return (record for record in _Records(source, delimiter) if any(map(str.strip, record.fields)))


def fitted(record: Record, width: int) -> Record:
    """The record cut to the columns of the header. Extra cells make it faulty unless they are empty."""
    fields = record.fields
    if record.problem is not None or len(fields) == width:
        return record
    if len(fields) > width and not any(map(str.strip, fields[width:])):
        return Record(record.number, fields[:width])
    return Record(record.number, fields, f"{width} colonnes sont attendues, non {len(fields)}")


def guessed(record: Record, delimiter: str) -> Sequence[str]:
    """The fields, guessed if the record can't be parsed: good enough to tell which line it is."""
    if record.problem is None or len(record.fields) > 1:
        return record.fields
    return [field.strip(' "') for field in record.fields[0].split(delimiter)]


def _piece(text: IO[str], number: int) -> str:
    with unreadable_as_such(f"line {number}"):
        return text.readline(MAX_LINE_CHARS)


def _is_whole(piece: str) -> bool:
    return len(piece) < MAX_LINE_CHARS or piece.endswith(("\n", "\r"))


class _Records:
    def __init__(self, source: Iterator[Line], delimiter: str) -> None:
        self._lines = source
        self._delimiter = delimiter
        self._pushed_back: deque[Line] = deque()

    def __iter__(self) -> Iterator[Record]:
        while first := self._take():
            yield self._record_from(first)

    def _take(self) -> Line | None:
        return self._pushed_back.popleft() if self._pushed_back else next(self._lines, None)

    def _record_from(self, first: Line) -> Record:
        if not first.whole:
            return Record(first.number, [first.text[:KEPT_CHARS]], f"plus de {MAX_LINE_CHARS} caractères")
        taken = [first]
        while True:
            reader = csv.reader([line.text for line in taken], delimiter=self._delimiter, strict=True)
            try:
                return Record(first.number, next(reader))
            except csv.Error as error:
                goes_on = "unexpected end" in str(error) and len(taken) < MAX_RECORD_LINES
                following = self._take() if goes_on else None
                if following is None:
                    self._pushed_back.extendleft(reversed(taken[1:]))
                    return Record(first.number, [first.text.rstrip("\r\n")], f"CSV malformé : {error}")
                taken.append(following)
