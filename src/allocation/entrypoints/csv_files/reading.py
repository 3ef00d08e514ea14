"""Reading a CSV file: its dialect, its columns, and its rows one by one."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, dropwhile
from pathlib import Path
from typing import IO

from allocation.entrypoints.csv_files import columns, values
from allocation.entrypoints.csv_files.columns import Fields
from allocation.entrypoints.csv_files.outcome_files import Shape
from allocation.entrypoints.csv_files.records import Line, Record, fitted, guessed, lines, records
from allocation.entrypoints.csv_files.sources import Source, opened


@dataclass(frozen=True)
class Options:
    """What the user says about a file by the options of the command, in place of what would be detected."""

    columns: Sequence[str] = ()
    delimiter: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class CsvRow:
    """A record, and the text of each field found in it, as far as possible even in a malformed record."""

    record: Record
    values: Mapping[str, str]


@dataclass
class CsvReading:
    """A file whose header has been understood. It can be iterated over any number of times.

    `bytes_read` says how much of the file on disk has been read.
    """

    path: Path
    source: Source
    fields: Fields
    delimiter: str
    header: Sequence[str]
    positions: Mapping[str, int]
    bytes_read: int = 0

    def __iter__(self) -> Iterator[CsvRow]:
        """The rows after the header, in constant memory. Raises FileUnreadable or OSError."""
        with self.source.text() as (text, file):
            for record in _after_header(text, self.delimiter):
                self.bytes_read = file.tell()
                yield self._row(fitted(record, len(self.header)))

    @property
    def shape(self) -> Shape:
        """The format in which lines are handed back."""
        return Shape(
            self.header,
            self.delimiter,
            self.source.encoding,
            self.source.errors,
            numbered="ligne" in self.fields.titles,
            number_position=self.positions.get("ligne"),
        )

    def _row(self, record: Record) -> CsvRow:
        fields = guessed(record, self.delimiter)
        found = {
            name: values.text(fields[position])
            for name, position in self.positions.items()
            if position < len(fields)
        }
        return CsvRow(record, found)


@contextmanager
def reading(path: Path, fields: Fields, options: Options) -> Iterator[CsvReading]:
    """Open the file and find the columns of `fields` in its header.

    Raises ImportRefused, before anything is done; FileUnreadable; or OSError.
    """
    mapped = columns.mapping(options.columns, fields)
    asked = None if options.delimiter is None else columns.delimiter_named(options.delimiter)
    with opened(path, options.encoding) as source:
        with source.text() as (text, _):
            announced, following = _from_header(text)
            line = next(following, Line(1, ""))
            delimiter = asked or announced or columns.recognised_delimiter(line.text, fields, mapped)
            header = _trimmed(next(records(chain([line], following), delimiter), Record(1, [])).fields)
        yield CsvReading(path, source, fields, delimiter, header, columns.located(header, fields, mapped))


def _from_header(text: IO[str]) -> tuple[str | None, Iterator[Line]]:
    """The delimiter that the first line announces, and the lines from the header on."""
    following = dropwhile(lambda line: not line.text.strip(), lines(text))
    first = next(following, Line(1, ""))
    announced = columns.announced_delimiter(first.text)
    return announced, following if announced else chain([first], following)


def _after_header(text: IO[str], delimiter: str) -> Iterator[Record]:
    _, following = _from_header(text)
    found = records(following, delimiter)
    next(found, None)
    return found


def _trimmed(titles: Sequence[str]) -> list[str]:
    """The header without empty columns at its end."""
    trimmed = list(titles)
    while trimmed and not trimmed[-1].strip():
        trimmed.pop()
    return trimmed
