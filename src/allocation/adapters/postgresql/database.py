"""Connections to PostgreSQL: a pool for each kind of work, and errors translated into their meaning."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.pool import ConnectionPoolEntry

from allocation.adapters.journal.checkpoint_watch import CheckpointWatch
from allocation.adapters.postgresql.bounded_connection import BoundedConnection, bounded_by
from allocation.adapters.postgresql.connection_info import connection_info, of_primary
from allocation.adapters.postgresql.database_errors import (
    Locked,
    OutcomeUnknown,
    StorageUnavailable,
    ValueRefused,
    VersionConflict,
    read_errors_translated,
    write_errors_translated,
)
from allocation.adapters.postgresql.fetching import Row
from allocation.adapters.postgresql.lookups import Prepared, first_row
from allocation.adapters.postgresql.pools import borrowed, connected, new_pool, renew
from allocation.adapters.postgresql.read_servers import BlockingReadServer, ReadServers
from allocation.adapters.postgresql.sessions import Sessions, SessionSettings
from allocation.adapters.postgresql.write_state import LastWrite, WriteState

__all__ = [
    "Database",
    "Locked",
    "OutcomeUnknown",
    "StorageUnavailable",
    "ValueRefused",
    "VersionConflict",
    "write_errors_translated",
]

C = TypeVar("C")


# PostgreSQL itself ends what takes too long. These limits, a little longer, apply when it falls silent.
# Background work may legitimately be silent for long.
WRITE_LIMIT_S = 10.0
READ_LIMIT_S = 7.0
FOLLOW_LIMIT_S = 10.0
BACKGROUND_LIMIT_S = 3600.0

_WRITE_SETTINGS = {
    "lock_timeout": "5s",
    "statement_timeout": "8s",
    "idle_in_transaction_session_timeout": "10s",
    "transaction_timeout": "30s",
    # An allocation reads single rows by key. The planner would scan a small or never analysed table, and the
    # cost of an allocation would then depend on what else is in it.
    "enable_seqscan": "off",
    # Nor would it be wrong to sort the one lot that most articles have, whatever the order of the index.
    "enable_sort": "off",
    "enable_incremental_sort": "off",
    # The plans are the same for all values, so each is made once per connection, which does not live long.
    "plan_cache_mode": "force_generic_plan",
}
_WRITE_CONNECTION_LIFE_S = 60
# A reader commits its effect and its checkpoint together: if a crash of the database loses the last few
# commits, they are simply done again, so they need not wait for the disk. The timeout frees the checkpoint of
# a reader that dies in the middle of a transaction.
_FOLLOW_SETTINGS = {
    "synchronous_commit": "off",
    "idle_in_transaction_session_timeout": "15s",
    # A reader looks at the journal's end, which the planner does not know until the journal is next analysed.
    "enable_seqscan": "off",
}
# Its statements are few and long, so each is planned for its own values.
_BACKGROUND_SETTINGS = {"plan_cache_mode": "force_custom_plan"}
# `reset_val`, as the current value is this session's own, which is always read-only.
_ONLY_READS = text("""
    SELECT pg_is_in_recovery() OR reset_val::boolean
    FROM pg_settings WHERE name = 'default_transaction_read_only'
""")
_READ_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "5s"}

# Notes with a pooled connection whether it is a session of its own, without a pooler of others in between.
_OWN_SESSION = "own session"


class Database:
    """The connection pools of one process. Nothing connects before first use; use as a context, or `close`.

    `reads` is where views read: this server or the standby at `read_url`. Everything else concerns this
    server. Every method that hands out a connection, and every use of one, raises VersionConflict or
    StorageUnavailable in place of the driver's errors; connecting also raises UnsuitableServer. If the
    address names several hosts, the one that accepts writes is chosen, unless `writable` is false.
    """

    def __init__(
        self,
        url: str,
        *,
        schema: str | None = None,
        read_url: str | None = None,
        pool_size: int = 10,
        writable: bool = True,
    ) -> None:
        info = connection_info(url)
        self.pool_size = pool_size
        self.sessions = Sessions(of_primary(info) if writable else info, schema)
        self._writes = self._session_pool(
            _WRITE_SETTINGS, pool_size, WRITE_LIMIT_S, pool_recycle=_WRITE_CONNECTION_LIFE_S
        )
        # Reads run in autocommit mode: there is nothing to roll back.
        self._reads = self._session_pool(_READ_SETTINGS, pool_size, READ_LIMIT_S, pool_reset_on_return=None)
        self._followers = self._transaction_pool(_FOLLOW_SETTINGS, pool_size, FOLLOW_LIMIT_S)
        self._background = self._transaction_pool(_BACKGROUND_SETTINGS, pool_size, BACKGROUND_LIMIT_S)
        self._replica = (
            None
            if read_url is None
            else Database(read_url, schema=schema, pool_size=pool_size, writable=False)
        )
        self.reads = ReadServers(*map(BlockingReadServer, self.servers))
        self._last_write = LastWrite()
        self.checkpoints = CheckpointWatch(self.fetch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Iterator[BoundedConnection]:
        """The driver's own connection, for one write transaction that begins with `BEGIN`.

        It is rolled back at the end unless it was committed. Raises StorageUnavailable; the driver's errors
        within the context become VersionConflict, ValueRefused, Locked or StorageUnavailable.
        """
        with (
            self._last_write.noted(),
            write_errors_translated(),
            borrowed(self._writes) as (connection, _),
        ):
            yield connection

    def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a SELECT, run as a prepared statement outside any transaction.

        Raises StorageUnavailable.
        """

        def rows(connection: psycopg.Connection, _: Prepared) -> list[Row]:
            return connection.cursor(row_factory=dict_row).execute(query, parameters, prepare=True).fetchall()

        return self._read(rows)

    def fetch_values(self, query: str, parameter: str) -> list[bytes | None]:
        """The first row of a SELECT with the parameter `$1`, as raw text; an empty list without a row.

        It costs less than `fetch`, as values are not converted. Raises StorageUnavailable.
        """
        return self._read(lambda connection, prepared: first_row(connection, prepared, query, parameter))

    def _read(self, read: Callable[[psycopg.Connection, Prepared], C]) -> C:
        """The result of `read` on a read-only autocommit connection of the driver."""
        try:
            return self._read_once(read)
        except StorageUnavailable:
            # The connection may have been from before a restart of the database; by now the pool is renewed.
            return self._read_once(read)

    def _read_once(self, read: Callable[[psycopg.Connection, Prepared], C]) -> C:
        with read_errors_translated(), borrowed(self._reads) as (connection, prepared):
            return read(connection, prepared)

    @property
    def servers(self) -> Sequence["Database"]:
        """This server and, if there is one, the replica."""
        return (self,) if self._replica is None else (self, self._replica)

    def begin_reading(self) -> psycopg.Connection:
        """A session for reads of the caller's own, in autocommit mode. Raises the driver's errors."""
        return self.sessions.begin(_READ_SETTINGS, bounded_by(READ_LIMIT_S))

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only autocommit connection. Raises StorageUnavailable."""
        return connected(self._reads)

    def following(self) -> AbstractContextManager[Connection]:
        """A connection for readers of the journal, whose last commits a crash may undo, to be done again.

        It works through a pooler in transaction mode.
        """
        return connected(self._followers)

    def working(self) -> AbstractContextManager[Connection]:
        """A connection for background work, without time limits. Raises StorageUnavailable.

        It works through a pooler in transaction mode.
        """
        return connected(self._background)

    def write_state(self) -> WriteState:
        """Whether writes work: not on a standby, nor while they fail. Raises StorageUnavailable."""
        with self.reading() as connection:
            if connection.scalar(_ONLY_READS):
                return "read-only"
        return "failing" if self._last_write.has_failed else "ok"

    def server_version(self) -> str:
        """PostgreSQL's version in its own words. Raises StorageUnavailable."""
        with self.reading() as connection:
            return str(connection.scalar(text("SHOW server_version")))

    def close(self) -> None:
        """Close every connection of the pools, the replica's included."""
        for engine in (self._writes, self._reads, self._followers, self._background):
            renew(engine, engine.pool)
        if self._replica is not None:
            self._replica.close()

    def _session_pool(self, settings: SessionSettings, size: int, limit_s: float, **options: Any) -> Engine:
        """Sessions of the program's own, for single statements and transactions begun explicitly."""
        begin = partial(self.sessions.begin, settings, bounded_by(limit_s))
        return new_pool(begin, size, isolation_level="AUTOCOMMIT", **options)

    def _transaction_pool(self, settings: SessionSettings, size: int, limit_s: float) -> Engine:
        """Connections for transactions; through a pooler, each of these makes the settings anew."""
        connect = partial(self.sessions.connect, bounded_by(limit_s))
        engine = new_pool(connect, size, isolation_level="READ COMMITTED")

        def set_up(connection: psycopg.Connection, record: ConnectionPoolEntry) -> None:
            record.info[_OWN_SESSION] = self.sessions.set_up(connection, settings)

        def begin(connection: Connection) -> None:
            if not connection.info[_OWN_SESSION]:
                self.sessions.begin_transaction(connection, settings)

        event.listen(engine, "connect", set_up)
        event.listen(engine, "begin", begin)
        return engine
