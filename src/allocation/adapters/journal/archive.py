"""The archive of the journal: the events that have left the table, and how they are read.

A file `journal-000000000001-000000100000.jsonl.gz` has the events of these positions, compressed, one JSON
object per line. A snapshot, `snapshot-000000100000.jsonl.gz`, has events in the same form that add up to the
same state as all events up to its position: a LotCréé for each lot with its quantity at that time, an Alloué
for each line that had a lot (see `snapshots`). Registers name every file with its checksum; if you move a
file, correct its path there.
"""

import gzip
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import BigInteger, Column, Connection, DateTime, Table, Text, func

from allocation.adapters.journal.checkpoints import ParkedEvents
from allocation.adapters.journal.journal import EventsArchived, PostgreSQLJournal
from allocation.adapters.journal.ledger import names
from allocation.adapters.journal.rows import Ahead, RecordedEvent, StoredEvent, readable
from allocation.adapters.postgresql.metadata import metadata
from allocation.domain.errors import AllocationError
from allocation.domain.events import Event

journal_archives = Table(
    "journal_archives",
    metadata,
    Column("dernière_position", BigInteger, primary_key=True, autoincrement=False),
    Column("première_position", BigInteger, nullable=False),
    Column("dernier_survenu_le", DateTime(timezone=True), nullable=False),
    Column("événements", BigInteger, nullable=False),
    Column("chemin", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("archivé_le", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

journal_snapshots = Table(
    "journal_snapshots",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("événements", BigInteger, nullable=False),
    Column("chemin", Text, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("pris_le", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

Entry: TypeAlias = dict[str, Any]

_ARCHIVED = """
    SELECT dernière_position, chemin, sha256 FROM journal_archives
    WHERE dernière_position > %s ORDER BY dernière_position LIMIT 1
"""
SNAPSHOT = """
    SELECT position, chemin, sha256 FROM journal_snapshots
    WHERE position > %s ORDER BY position DESC LIMIT 1
"""
_BLOCK = 1 << 20
_READ_AHEAD = 5000


class ArchiveTrouble(AllocationError):
    """A file of the archive can't be read or written."""


class ArchiveUnreadable(ArchiveTrouble):
    """A registered file is missing, or is not what was written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}; put it back from a copy, or correct the path in the register")
        self.path = path
        self.reason = reason


@dataclass(frozen=True)
class ArchiveFile:
    """A registered file, and the position up to which it stands for the journal."""

    last: int
    path: Path
    sha256: str

    def lines(self) -> Iterator[bytes]:
        """The line of each event, in order. Raises ArchiveUnreadable unless the file is complete."""
        if sha256_of(self.path) != self.sha256:
            raise ArchiveUnreadable(self.path, "its checksum is not the registered one")
        with gzip.open(self.path, "rb") as file:
            yield from file

    def entries(self, after: int) -> Iterator[Entry]:
        """The events after this position. Raises like `lines`."""
        return (entry for line in self.lines() if (entry := json.loads(line))["position"] > after)


@dataclass(frozen=True)
class Batch:
    """The archive's events after `after`, up to and including `until`."""

    after: int
    until: int
    entries: Sequence[Entry]


class JournalArchive:
    """The files that precede the journal's table, in order; with `from_snapshot`, only the newest snapshot.

    It keeps its place: reading on where the last batch ended opens each file once and keeps one batch in
    memory. An instance serves one thread and any number of transactions.
    """

    def __init__(self, *, from_snapshot: bool = False) -> None:
        self._query = SNAPSHOT if from_snapshot else _ARCHIVED
        self._file: ArchiveFile | None = None
        self._rest: Iterator[Entry] = iter(())
        self._last: Batch | None = None

    def batch(self, connection: Connection, after: int, size: int = _READ_AHEAD) -> Batch | None:
        """The next events after `after`, at most `size`; None if they are in the table.

        A batch may be empty and still reach further, as a snapshot stands for more events than it has. Raises
        ArchiveUnreadable.
        """
        if self._last is not None and self._last.after == after and len(self._last.entries) <= size:
            return self._last
        file = registered(connection, self._query, after)
        if file is None:
            return None
        if file != self._file or self._last is None or self._last.until != after:
            self._rest = file.entries(after)
        entries = list(islice(self._rest, size))
        until = entries[-1]["position"] if len(entries) == size else file.last
        self._file, self._last = file, Batch(after, until, entries)
        return self._last


class JournalWithArchive(PostgreSQLJournal):
    """The journal from its beginning: first `archive`, then the table.

    Create one for each transaction, all on one `archive`. Reading raises ArchiveUnreadable.
    """

    def __init__(self, connection: Connection, archive: JournalArchive) -> None:
        super().__init__(connection)
        self._archive = archive

    def read(self, after: int, limit: int) -> list[RecordedEvent[Event]]:
        """The next events after `after`: at most `limit`, and fewer at the end of a file."""
        while batch := self._archive.batch(self._connection, after, limit):
            if found := readable(map(_stored, batch.entries)):
                return found
            after = batch.until
        try:
            return super().read(after, limit)
        except EventsArchived:  # in this very moment
            return self.read(after, limit)

    def end_of_batch(self, after: int, size: int) -> int | None:
        batch = self._archive.batch(self._connection, after, size)
        return super().end_of_batch(after, size) if batch is None else batch.until

    def ahead(self, after: int, size: int, types: Iterable[type[Event]], reader: str) -> Ahead:
        batch = self._archive.batch(self._connection, after, size)
        if batch is not None:
            return Ahead(batch.until, ParkedEvents(self._connection, reader).skus(), kinds=None)
        try:
            return super().ahead(after, size, types, reader)
        except EventsArchived:  # in this very moment
            return self.ahead(after, size, types, reader)

    def read_rows(
        self, types: Iterable[type[Event]], *, after: int, until: int, limit: int | None = None
    ) -> list[StoredEvent]:
        wanted, found = names(types), list[StoredEvent]()
        while after < until and (batch := self._archive.batch(self._connection, after)):
            found += [
                _stored(each)
                for each in batch.entries
                if each["type"] in wanted and each["position"] <= until
            ]
            after = batch.until
            if limit is not None and len(found) >= limit:
                return found[:limit]
        if after >= until:
            return found
        left = None if limit is None else limit - len(found)
        try:
            return found + super().read_rows(types, after=after, until=until, limit=left)
        except EventsArchived:  # in this very moment
            return found + self.read_rows(types, after=after, until=until, limit=left)


def registered(connection: Connection, query: str, after: int) -> ArchiveFile | None:
    """The file that a query on the register finds."""
    row = connection.exec_driver_sql(query, (after,)).first()
    return None if row is None else ArchiveFile(row[0], Path(row[1]), row[2])


def sha256_of(path: Path) -> str:
    """The file's checksum, in hexadecimal. Raises ArchiveUnreadable."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise ArchiveUnreadable(path, error.strerror or str(error)) from error
    return digest.hexdigest()


def _stored(entry: Entry) -> StoredEvent:
    values = {field: entry[field] for field in StoredEvent._fields}
    values["id"] = UUID(entry["id"])
    values["survenu_le"] = datetime.fromisoformat(entry["survenu_le"])
    values["cause"] = None if entry["cause"] is None else UUID(entry["cause"])
    return StoredEvent(**values)
