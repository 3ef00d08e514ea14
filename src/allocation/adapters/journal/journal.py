"""The journal: the append-only table of every domain event, in the order in which they became visible."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection, func, select

from allocation.adapters.journal.ledger import COLUMNS, columns_of, journal, names
from allocation.adapters.journal.rows import (
    NO_CAUSE,
    Ahead,
    Cause,
    EventKind,
    RecordedEvent,
    StoredEvent,
    readable,
)
from allocation.adapters.journal.serialization import as_json
from allocation.adapters.postgresql.driver_statements import executed
from allocation.adapters.postgresql.installation import advisory_lock, channel
from allocation.adapters.postgresql.messages import Statement
from allocation.domain.errors import AllocationError
from allocation.domain.events import Event

logger = logging.getLogger(__name__)

# The channel on which appends are announced, and the number of the journal's lock (see `installation`).
CHANNEL = "allocation_journal"
APPEND_LOCK = 5_274_190_661

_COLUMNS = ", ".join(COLUMNS)
_LOCK = f"SELECT {advisory_lock(APPEND_LOCK)}"
# All events of a transaction have one instant, later than that of the previous one, whatever the clock says.
# So an instant never falls between events that became visible together, and belongs to one position of the
# journal. A position that the journal has already passed must not be committed, as no reader would find it.
# In that case the last column fails, as a subquery with two rows, which nothing else here can cause.
_APPEND = f"""
    WITH before AS MATERIALIZED (
        SELECT coalesce(max(position), 0) AS position,
               greatest(clock_timestamp(), max(survenu_le) + interval '1 microsecond') AS instant
        FROM (SELECT position, survenu_le FROM journal ORDER BY position DESC LIMIT 1) AS last
    ), appended AS (
        INSERT INTO journal (id, type, version, sku, {_COLUMNS}, data, commande, cause, survenu_le)
        SELECT id, type, version, sku, {_COLUMNS}, data, commande, cause, before.instant
        FROM before, json_populate_recordset(NULL::journal, %s) WITH ORDINALITY AS event
        ORDER BY ordinality
        RETURNING position
    )
    SELECT last, pg_notify({channel(f"'{CHANNEL}'")}, ''),
           (SELECT NULL FROM generate_series(1, CASE WHEN first > before.position THEN 1 ELSE 2 END))
    FROM before, (SELECT min(position) AS first, max(position) AS last FROM appended) AS positions
"""  # noqa: S608 - our own expression
_OF_TYPES = "position > %s AND position <= %s AND type = ANY(%s) ORDER BY position LIMIT %s"
_AFTER = "position > %s ORDER BY position LIMIT %s"
_AT = "position = ANY(%s) ORDER BY position"
_STORED = """
    SELECT position, sku, id, survenu_le, commande, cause, type, version, data::text FROM journal WHERE
"""
_END = """
    SELECT max(position)
    FROM (SELECT position FROM journal WHERE position > %s ORDER BY position LIMIT %s) AS next
"""
_AHEAD = """
    WITH next AS MATERIALIZED (
        SELECT position, type, version FROM journal
        WHERE position > %(after)s ORDER BY position LIMIT %(size)s
    ), kind AS (
        SELECT type, version, count(*) AS events, min(position) AS first, max(position) AS last
        FROM next WHERE type = ANY(%(types)s) GROUP BY type, version
    )
    SELECT (SELECT max(position) FROM next),
           (SELECT max(dernière_position) FROM journal_archives WHERE dernière_position > %(after)s),
           ARRAY(SELECT DISTINCT sku FROM parked WHERE lecteur = %(reader)s), kind.*
    FROM (VALUES (1)) AS always LEFT JOIN kind ON true ORDER BY first
"""
_HORIZON = "SELECT max(dernière_position) FROM journal_archives WHERE dernière_position > %s"


class EventsArchived(AllocationError, LookupError):
    """Requested events have left the table for the archive."""

    def __init__(self, after: int, horizon: int) -> None:
        super().__init__(
            f"the events after position {after} are archived, up to {horizon}: "
            "rebuild whatever needs them, or let it read the archive"
        )
        self.after = after
        self.horizon = horizon


class AbstractJournal(ABC):
    """Port: events in the order in which their transactions became visible, at positions that only grow."""

    @abstractmethod
    def append(self, events: Sequence[Event], causes: Sequence[Cause] = ()) -> int:
        """Append `events` (at least one), to become visible with the transaction; return the last position.

        `causes` has one for each event, or is empty. All events get the same instant, later than any before,
        even if the clock was set back.
        """

    @abstractmethod
    def read(self, after: int, limit: int) -> list[RecordedEvent[Event]]:
        """The next events after position `after`, at most `limit`, in order.

        Events that only a newer program knows are left out.
        """

    @abstractmethod
    def last_position(self) -> int:
        """The position of the newest visible event; 0 when there is none."""


def append_statements(
    events: Sequence[Event], causes: Sequence[Cause], ids: Sequence[UUID]
) -> tuple[Statement, Statement]:
    """The statements that append the events (at least one), with causes and IDs, as a transaction's last.

    The result of the second statement begins with the position of the last event; the others precede it.

    A sequence hands out numbers in another order than transactions commit. Under the lock, which is held
    until the end of the transaction, both orders are the same, so a reader that remembers one position misses
    nothing. No lock is taken after it, so it can't be part of a deadlock. If the sequence lags its table, the
    second statement raises an error that `sequence.shows_lag` recognises.
    """
    rows = [
        {
            "id": event_id,
            "type": type(event).__name__,
            "version": event.version,
            "sku": event.sku,
            **columns_of(event),
            "data": vars(event),
            "commande": cause.commande,
            "cause": cause.id,
        }
        for event, cause, event_id in zip(events, causes or repeat(NO_CAUSE), ids, strict=False)
    ]
    return (_LOCK, ()), (_APPEND, (as_json(rows),))


def new_ids(events: Sequence[Event]) -> Sequence[UUID]:
    """A new ID for each event."""
    return [uuid4() for _ in events]


class PostgreSQLJournal(AbstractJournal):
    """The journal as one connection sees it.

    Reading raises EventsArchived if some of the requested events have left for the archive, so that nobody
    mistakes the rest for the whole.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, events: Sequence[Event], causes: Sequence[Cause] = ()) -> int:
        lock, append = append_statements(events, causes, new_ids(events))
        self._connection.exec_driver_sql(*lock)
        position: int = self._connection.exec_driver_sql(*append).scalars().one()
        return position

    def read(self, after: int, limit: int) -> list[RecordedEvent[Event]]:
        found: list[RecordedEvent[Event]] = []
        # Those that can't be read don't count, so a short answer means that it is the end.
        while missing := limit - len(found):
            rows = [StoredEvent._make(row) for row in self._rows_after(after, f"{_STORED} {_AFTER}", missing)]
            found += readable(rows)
            if len(rows) < missing:
                break
            after = rows[-1].position
        return found

    def end_of_batch(self, after: int, size: int) -> int | None:
        """The last position of the next `size` events after `after`; None if there are none."""
        [position] = executed(self._connection, _END, (after, size)).fetchone() or [None]
        return position

    def ahead(self, after: int, size: int, types: Iterable[type[Event]], reader: str) -> Ahead:
        """What the next `size` events contain for this reader, in one query. Raises EventsArchived."""
        wanted = {"after": after, "size": size, "types": names(types), "reader": reader}
        rows = executed(self._connection, _AHEAD, wanted).fetchall()
        end, horizon, parked = rows[0][:3]
        if horizon is not None:
            raise EventsArchived(after, horizon)
        return Ahead(end, frozenset(parked), [EventKind(*row[3:]) for row in rows if row[3] is not None])

    def read_rows(
        self, types: Iterable[type[Event]], *, after: int, until: int, limit: int | None = None
    ) -> list[StoredEvent]:
        """The next events of these types after `after`, up to and including `until`: at most `limit`."""
        rows = self._rows_after(after, f"{_STORED} {_OF_TYPES}", until, names(types), limit)
        return [StoredEvent._make(row) for row in rows]

    def read_rows_at(self, positions: Sequence[int]) -> list[StoredEvent]:
        """The events at these positions, in order."""
        rows = executed(self._connection, f"{_STORED} {_AT}", (list(positions),))
        return [StoredEvent._make(row) for row in rows]

    def last_position(self) -> int:
        newest = select(func.coalesce(func.max(journal.c.position), 0))
        position: int = self._connection.execute(newest).scalar_one()
        return position

    def raise_if_archived(self, after: int) -> None:
        """Raises EventsArchived if events after this position have left for the archive.

        Call it after reading: events that are archived meanwhile leave the table in the commit that registers
        it.
        """
        [horizon] = executed(self._connection, _HORIZON, (after,)).fetchone() or [None]
        if horizon is not None:
            raise EventsArchived(after, horizon)

    def _rows_after(self, after: int, query: str, *parameters: object) -> Sequence[Sequence[Any]]:
        """The rows of a query for events after position `after`. Raises EventsArchived."""
        rows = executed(self._connection, query, (after, *parameters)).fetchall()
        self.raise_if_archived(after)
        return rows
