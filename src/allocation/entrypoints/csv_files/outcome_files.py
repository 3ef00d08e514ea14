"""The files that hand lines back, beside the imported one and in its format, to be imported again."""

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from allocation.entrypoints.csv_files.errors import FileUnreadable
from allocation.entrypoints.csv_files.records import Record
from allocation.entrypoints.csv_files.sources import is_piped

REPORT_COLUMNS = ("ligne_du_fichier", "raison")
NUMBER_COLUMN = "ligne"


@dataclass(frozen=True)
class Shape:
    """The format of an imported file, in which lines are handed back.

    `number_position` is the column of the line's number; `numbered` says whether lines have numbers at all.
    """

    header: Sequence[str]
    delimiter: str
    encoding: str
    errors: str
    numbered: bool
    number_position: int | None

    @property
    def width(self) -> int:
        """The number of columns, without those that an earlier import added to the file."""
        reported = tuple(self.header[-len(REPORT_COLUMNS) :]) == REPORT_COLUMNS
        return len(self.header) - (len(REPORT_COLUMNS) if reported else 0)

    @property
    def titles(self) -> list[str]:
        """The header of a file that hands lines back."""
        added = [NUMBER_COLUMN] if self._number_is_added else []
        return [*self.header[: self.width], *added, *REPORT_COLUMNS]

    def row(self, record: Record, ligne: str, reason: str) -> list[str]:
        """The record as it was, with its number (given or derived), its place in the file, and the reason."""
        fields = record.fields[: self.width] if len(record.fields) <= len(self.header) else record.fields
        fields = [*fields, *[""] * (self.width - len(fields))]
        if self.number_position is not None:
            fields[self.number_position] = ligne or fields[self.number_position]
        added = [ligne] if self._number_is_added else []
        readable = reason.encode(self.encoding, "replace").decode(self.encoding, "replace").lstrip("\ufeff")
        return [*fields, *added, str(record.number), readable]

    @property
    def _number_is_added(self) -> bool:
        return self.numbered and self.number_position is None


class OutcomeFile:
    """A file beside the imported one, created with its first line; existing files are never overwritten."""

    def __init__(self, imported: Path, kind: str, shape: Shape) -> None:
        self.path: Path | None = None
        self._imported = imported
        self._kind = kind
        self._shape = shape
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, record: Record, ligne: str, reason: str) -> None:
        """Hand the line back. Raises FileUnreadable."""
        try:
            if self._file is None:
                self._file = self._created()
                self._writer = csv.writer(self._file, delimiter=self._shape.delimiter)
                self._writer.writerow(self._shape.titles)
            self._writer.writerow(self._shape.row(record, ligne, reason))
        except OSError as error:
            raise FileUnreadable(f"{self.path}: {error.strerror}") from error

    def _created(self) -> IO[str]:
        number = 1
        while True:
            part = f".{number}" if number > 1 else ""
            self.path = beside(self._imported, f"{self._kind}{part}.csv")
            try:
                return self.path.open(
                    "x", encoding=self._shape.encoding, errors=self._shape.errors, newline=""
                )
            except FileExistsError:
                number += 1


def beside(imported: Path, ending: str) -> Path:
    """The path for a file that belongs to the imported one: the same name with this ending.

    For a pipe, it is `stdin` with this ending, in the current folder.
    """
    if is_piped(imported):
        return Path(f"stdin.{ending}")
    return imported.with_name(f"{imported.name}.{ending}")


def check_place(imported: Path) -> None:
    """Raises FileUnreadable unless files can be written beside the imported one."""
    folder = beside(imported, "csv").parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FileUnreadable(
            f"refused lines are written beside the file, but {folder} is not writable. "
            f"Run in another folder: allocation import … - < {imported}"
        )
