"""The journal: the append-only table of every domain event, in the order in which they became visible."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    DateTime,
    Identity,
    SmallInteger,
    String,
    Table,
    Text,
    Uuid,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import JSONB

from allocation.adapters.metadata import metadata
from allocation.adapters.serialization import as_json, from_json
from allocation.domain.events import Event
from allocation.domain.values import LONGUEUR_MAX

CHANNEL = "allocation_journal"

# Any number will do, as long as nobody else takes advisory locks with it in the same database.
_APPEND_LOCK = 5_274_190_661

journal = Table(
    "journal",
    metadata,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("type", Text, nullable=False),
    Column("version", SmallInteger, nullable=False),
    Column("sku", String(LONGUEUR_MAX, collation="C"), nullable=False),
    Column("data", JSONB, nullable=False),
    Column("survenu_le", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
)

_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_APPEND = """
    WITH appended AS (
        INSERT INTO journal (id, type, version, sku, data)
        SELECT gen_random_uuid(), type, version, sku, data
        FROM json_populate_recordset(NULL::journal, %s) WITH ORDINALITY
        ORDER BY ordinality
        RETURNING position
    )
    SELECT max(position), pg_notify(%s, '') FROM appended
"""
_OF_TYPES = "position > %s AND position <= %s AND type = ANY(%s) ORDER BY position"
_BEHIND = "position > %s ORDER BY position LIMIT %s"
_AT = "position = ANY(%s) ORDER BY position"
_STORED = "SELECT position, sku, type, version, data::text FROM journal WHERE"
_RECORDED = "SELECT position, sku, id, survenu_le, type, version, data::text FROM journal WHERE"
_END = (
    "SELECT max(position) FROM (SELECT position FROM journal WHERE position > %s ORDER BY position LIMIT %s)"
)

Statement: TypeAlias = tuple[str, tuple[Any, ...]]

E_co = TypeVar("E_co", bound=Event, covariant=True)


@dataclass(frozen=True)
class RecordedEvent(Generic[E_co]):
    """An event with its place in the journal, its identity, and when it was recorded."""

    position: int
    id: UUID
    survenu_le: datetime
    event: E_co


class StoredRow(NamedTuple):
    """What a read model needs to know of an event, which `event` reads."""

    position: int
    sku: str
    type: str
    version: int
    data: str

    def event(self) -> Event:
        """The event. Raises UnknownEvent, or ValueError where its fields are damaged."""
        return from_json(self.type, self.version, self.data)


class RecordedRow(NamedTuple):
    """All that is known of an event, which `recorded` reads."""

    position: int
    sku: str
    id: UUID
    survenu_le: datetime
    type: str
    version: int
    data: str

    def recorded(self) -> RecordedEvent[Event]:
        """The event with its place. Raises UnknownEvent, or ValueError where its fields are damaged."""
        event = from_json(self.type, self.version, self.data)
        return RecordedEvent(self.position, self.id, self.survenu_le, event)


class AbstractJournal(ABC):
    """Port: events in the order in which their transactions became visible, at positions that only grow."""

    @abstractmethod
    def append(self, events: Sequence[Event]) -> int:
        """The position of the last of `events` (at least one), which become visible with the transaction."""

    @abstractmethod
    def read(self, after: int, limit: int) -> list[RecordedEvent[Event]]:
        """The next events behind position `after`, at most `limit`, in order."""

    @abstractmethod
    def last_position(self) -> int:
        """The position of the newest visible event; 0 when there is none."""


def append_statements(events: Sequence[Event]) -> tuple[Statement, Statement]:
    """What appends the events (at least one), as the last thing that a transaction does.

    The result of the second begins with the position of the last event; the others have those before it.

    A sequence hands out numbers in another order than transactions commit. Under the lock, which is held
    until the end, the two orders are one, so a reader that remembers one position misses nothing. No lock is
    taken behind it: it cannot be part of a deadlock.
    """
    rows = [
        {"type": type(event).__name__, "version": event.version, "sku": event.sku, "data": vars(event)}
        for event in events
    ]
    return (_LOCK, (_APPEND_LOCK,)), (_APPEND, (as_json(rows), CHANNEL))


class SqlAlchemyJournal(AbstractJournal):
    """The journal as one connection sees it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def append(self, events: Sequence[Event]) -> int:
        lock, append = append_statements(events)
        self._connection.exec_driver_sql(*lock)
        position: int = self._connection.exec_driver_sql(*append).scalars().one()
        return position

    def read(self, after: int, limit: int) -> list[RecordedEvent[Event]]:
        return [row.recorded() for row in self._recorded_rows(f"{_RECORDED} {_BEHIND}", (after, limit))]

    def end_of_batch(self, after: int, size: int) -> int | None:
        """The last position of the next `size` events behind `after`; None when there are none."""
        position: int | None = self._connection.exec_driver_sql(_END, (after, size)).scalar()
        return position

    def read_rows(self, types: Iterable[type[Event]], *, after: int, until: int) -> list[StoredRow]:
        """All events of these types behind `after`, up to and including `until`."""
        parameters = (after, until, [each.__name__ for each in types])
        return self._stored(f"{_STORED} {_OF_TYPES}", parameters)

    def read_rows_at(self, positions: Sequence[int]) -> list[StoredRow]:
        """The events at these positions, in order."""
        return self._stored(f"{_STORED} {_AT}", (list(positions),))

    def read_recorded_rows(
        self, types: Iterable[type[Event]], *, after: int, until: int, limit: int
    ) -> list[RecordedRow]:
        """The next events of these types behind `after`, up to and including `until`, at most `limit`."""
        parameters = (after, until, [each.__name__ for each in types], limit)
        return self._recorded_rows(f"{_RECORDED} {_OF_TYPES} LIMIT %s", parameters)

    def read_recorded_rows_at(self, positions: Sequence[int]) -> list[RecordedRow]:
        """The events at these positions, in order."""
        return self._recorded_rows(f"{_RECORDED} {_AT}", (list(positions),))

    def last_position(self) -> int:
        newest = select(func.coalesce(func.max(journal.c.position), 0))
        position: int = self._connection.execute(newest).scalar_one()
        return position

    def _stored(self, query: str, parameters: tuple[Any, ...]) -> list[StoredRow]:
        return [StoredRow._make(row) for row in self._connection.exec_driver_sql(query, parameters)]

    def _recorded_rows(self, query: str, parameters: tuple[Any, ...]) -> list[RecordedRow]:
        return [RecordedRow._make(row) for row in self._connection.exec_driver_sql(query, parameters)]
