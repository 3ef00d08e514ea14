"""Moving old events that nobody needs in the journal's table any more to files.

    snapshot at the last position ─▶ file, register  │ commit
    a chunk of events ─▶ file, register, delete      │ commit, and again

A file is complete and on disk before the transaction that registers it commits. A crash between the two
leaves an unregistered file, which the next run overwrites with the same contents.
"""

import gzip
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Connection, RowMapping, text

from allocation.adapters.durable import sync_directory
from allocation.adapters.journal.archive import ArchiveTrouble, sha256_of
from allocation.adapters.journal.instants import position_at
from allocation.adapters.journal.snapshots import state_at
from allocation.adapters.postgresql.database import Database
from allocation.adapters.postgresql.installation import advisory_lock
from allocation.adapters.postgresql.raw_copy import copy_out

CHUNK = 100_000

# An arbitrary number; concurrent runs take turns, chunk by chunk.
_ARCHIVE_LOCK = 5_274_190_663
_BEGIN = text(f"SELECT {advisory_lock(_ARCHIVE_LOCK)}, set_config('timezone', 'UTC', true)")

_HOLDER = """
    SELECT holder, position FROM (
        SELECT 'projection ' || name AS holder, position FROM projections
        UNION ALL
        SELECT 'subscription ' || name, position FROM subscriptions
        UNION ALL
        SELECT 'rebuild of ' || name, position FROM rebuilds WHERE phase NOT IN ('done', 'failed')
        UNION ALL
        SELECT 'event of ' || sku || ', parked by ' || lecteur, position - 1 FROM parked
    ) AS holders WHERE position < %s ORDER BY position, holder LIMIT 1
"""
# The newest event always stays, as its position is that of the journal.
_LAST = """
    SELECT max(position) FROM journal WHERE position <= %s AND position < (SELECT max(position) FROM journal)
"""
_COUNT = "SELECT count(*) FROM journal WHERE position <= %s"
_CHUNK = """
    SELECT min(position) AS first, max(position) AS last, max(survenu_le) AS survenu_le, count(*) AS events
    FROM (
        SELECT position, survenu_le FROM journal WHERE position <= %s ORDER BY position LIMIT %s
    ) AS chunk
"""
_EVENTS = """
    SELECT row_to_json(journal) FROM journal
    WHERE position BETWEEN %(first)s AND %(last)s ORDER BY position
"""
_DELETE = "DELETE FROM journal WHERE position BETWEEN %s AND %s"
_REGISTER = text("""
    INSERT INTO journal_archives
        (première_position, dernière_position, dernier_survenu_le, événements, chemin, sha256)
    VALUES (:first, :last, :survenu_le, :events, :path, :sha256)
""")
_REGISTER_SNAPSHOT = text("""
    INSERT INTO journal_snapshots (position, événements, chemin, sha256)
    VALUES (:position, :events, :path, :sha256)
    ON CONFLICT (position) DO UPDATE SET chemin = excluded.chemin, sha256 = excluded.sha256
""")


class ArchiveConflict(ArchiveTrouble):
    """A file of this name holds something else: the archive of another database, or a damaged one."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} exists and holds something else: give each database a folder of its own, "
            "or delete the file if no register names it"
        )
        self.path = path


@dataclass(frozen=True)
class Holder:
    """A reader that still needs the events after `position`."""

    holder: str
    position: int


@dataclass(frozen=True)
class ArchiveReport:
    """What a run has moved, up to which position, and who held it back."""

    events: int
    files: tuple[Path, ...]
    position: int | None
    snapshot: Path | None
    held_back_by: Holder | None


@dataclass(frozen=True)
class _Written:
    last: int
    path: Path
    events: int
    sha256: str


class JournalArchiver:
    """Moves events to files in `directory`, at most `chunk` of them in one transaction."""

    def __init__(self, database: Database, directory: Path, *, chunk: int = CHUNK) -> None:
        self._database = database
        self._directory = directory.absolute()
        self._chunk = chunk

    def archive(self, before: datetime, progress: Callable[[int, int], None]) -> ArchiveReport:
        """Move events older than `before` that nobody needs; `progress` is told how many of how many.

        Raises ArchiveConflict, OSError or StorageUnavailable; what has been moved by then stays moved.
        """
        with self._database.working() as connection:
            with connection.begin():
                wanted = position_at(connection, before - timedelta(microseconds=1))
                holder, last = _extent(connection, wanted)
                total = _scalar(connection, _COUNT, last) if last else 0
            if not last or not total:
                return ArchiveReport(0, (), None, None, holder)
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            snapshot = self._take_snapshot(connection, last)
            files = self._move_chunks(connection, last, lambda done: progress(done, total))
            with connection.begin():
                holder = holder or _extent(connection, last)[0]
        return _report(files, snapshot, holder)

    def _move_chunks(
        self, connection: Connection, last: int, progress: Callable[[int], None]
    ) -> list[_Written]:
        files: list[_Written] = []
        while written := self._move_chunk(connection, last):
            files.append(written)
            progress(sum(each.events for each in files))
        return files

    def _take_snapshot(self, connection: Connection, position: int) -> _Written:
        with connection.begin():
            connection.execute(_BEGIN)
            blocks = state_at(connection, position)
            written = self._write(position, f"snapshot-{position:012}", blocks)
            facts = {"position": position, "events": written.events, "path": str(written.path)}
            connection.execute(_REGISTER_SNAPSHOT, {**facts, "sha256": written.sha256})
        return written

    def _move_chunk(self, connection: Connection, last: int) -> _Written | None:
        """Move the oldest events up to `last`; None if there are none that may be moved."""
        with connection.begin():
            connection.execute(_BEGIN)
            _, allowed = _extent(connection, last)
            chunk = connection.exec_driver_sql(_CHUNK, (allowed, self._chunk)).mappings().one()
            if not chunk["events"]:
                return None
            blocks = copy_out(connection, _EVENTS, {"first": chunk["first"], "last": chunk["last"]})
            name = f"journal-{chunk['first']:012}-{chunk['last']:012}"
            written = self._write(chunk["last"], name, blocks)
            _register(connection, chunk, written)
        return written

    def _write(self, last: int, name: str, blocks: Iterable[bytes]) -> _Written:
        """Write a complete file to disk under its name. Raises ArchiveConflict or OSError."""
        path = self._directory / f"{name}.jsonl.gz"
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            events = _compress(unfinished, blocks)
            sha256 = sha256_of(unfinished)
            if path.exists() and sha256_of(path) != sha256:
                raise ArchiveConflict(path)
            unfinished.replace(path)
        finally:
            with suppress(FileNotFoundError):
                unfinished.unlink()
        sync_directory(self._directory)
        return _Written(last, path, events, sha256)


def _report(files: Sequence[_Written], snapshot: _Written, holder: Holder | None) -> ArchiveReport:
    return ArchiveReport(
        events=sum(each.events for each in files),
        files=tuple(each.path for each in files),
        position=files[-1].last if files else None,
        snapshot=snapshot.path,
        held_back_by=holder,
    )


def _extent(connection: Connection, wanted: int) -> tuple[Holder | None, int | None]:
    """Who holds the run back, if anybody, and the last position that may leave the table."""
    row = connection.exec_driver_sql(_HOLDER, (wanted,)).mappings().first()
    holder = None if row is None else Holder(**row)
    return holder, _scalar(connection, _LAST, wanted if holder is None else holder.position)


def _register(connection: Connection, chunk: RowMapping, written: _Written) -> None:
    """Register the file and delete its events from the table, both or neither."""
    connection.execute(_REGISTER, {**chunk, "path": str(written.path), "sha256": written.sha256})
    deleted = connection.exec_driver_sql(_DELETE, (chunk["first"], chunk["last"])).rowcount
    if not deleted == written.events == chunk["events"]:
        raise ArchiveTrouble(f"{written.path} has {written.events} events where the journal had {deleted}")


def _compress(path: Path, blocks: Iterable[bytes]) -> int:
    """Write the blocks to disk, reproducibly; return the number of lines."""
    lines = 0
    with path.open("wb") as raw:
        # Who bought what is nobody else's business on this machine.
        os.fchmod(raw.fileno(), 0o600)
        with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as file:
            for block in blocks:
                file.write(block)
                lines += block.count(b"\n")
        raw.flush()
        os.fsync(raw.fileno())
    return lines


def _scalar(connection: Connection, query: str, position: int) -> int | None:
    value: int | None = connection.exec_driver_sql(query, (position,)).scalar()
    return value
