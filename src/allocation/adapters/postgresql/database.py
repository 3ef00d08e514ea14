"""Connections to PostgreSQL: a pool for each kind of work, one meaning for each kind of trouble."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import Connection, Engine, event, text

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
from allocation.adapters.postgresql.lookups import Lookups, Prepared, first_row
from allocation.adapters.postgresql.pools import POOL_TIMEOUT_S, borrowed, from_pool, new_pool
from allocation.adapters.postgresql.read_servers import ReadServers
from allocation.adapters.postgresql.sessions import NOTHING, Sessions, Settings
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

Row: TypeAlias = dict[str, Any]

# PostgreSQL itself ends what takes too long; where nothing comes from there either, these limits are a little
# longer. Background work may take long without a word.
WRITE_LIMIT_S = 10.0
READ_LIMIT_S = 7.0
FOLLOW_LIMIT_S = 10.0
BACKGROUND_LIMIT_S = 3600.0

_WRITE_SETTINGS = {
    "lock_timeout": "5s",
    "statement_timeout": "8s",
    "idle_in_transaction_session_timeout": "10s",
    "transaction_timeout": "30s",
    # One allocation reads single rows by key. On a small or never analysed table the planner would read
    # it whole, and the cost of an allocation would depend on what else is in the table.
    "enable_seqscan": "off",
    # These plans are the same for all values: they are made once for a connection, which does not live long.
    "plan_cache_mode": "force_generic_plan",
}
_WRITE_CONNECTION_LIFE_S = 60
# A reader's effect and its checkpoint are one commit: if a crash of the database undoes the last few, they
# are done again. So nobody needs to wait for the disk. One that is lost in the middle does not keep others
# from its checkpoint for long.
_FOLLOW_SETTINGS = {"synchronous_commit": "off", "idle_in_transaction_session_timeout": "15s"}
# What sessions begin with is not what this one was set to: it only reads, whatever the server does.
_ONLY_READS = text("""
    SELECT pg_is_in_recovery() OR reset_val::boolean
    FROM pg_settings WHERE name = 'default_transaction_read_only'
""")
_READ_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "5s"}


class Database:
    """The pools of one process. Nothing connects before the first use; use it as a context, or `close` it.

    Views are asked of `reads`: of this server, or of the standby at `read_url`. Everything else here means
    this one. Every method that hands out a connection, and every use of one, raises VersionConflict or
    StorageUnavailable where the driver would raise an error of its own for them; connecting also raises
    UnsuitableServer. Of several hosts, the one that takes writes is asked, unless it is not `writable`.
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
        self.sessions = Sessions(of_primary(info) if writable else info, schema)
        self._writes = self._session_pool(
            _WRITE_SETTINGS, pool_size, WRITE_LIMIT_S, pool_recycle=_WRITE_CONNECTION_LIFE_S
        )
        # Nothing to roll back, whatever happens to a reader.
        self._reads = self._session_pool(_READ_SETTINGS, pool_size, READ_LIMIT_S, pool_reset_on_return=None)
        lookups = self._session_pool(_READ_SETTINGS, pool_size, READ_LIMIT_S)
        self._lookups = Lookups(lookups, pool_size, POOL_TIMEOUT_S)
        self._followers = self._transaction_pool(_FOLLOW_SETTINGS, pool_size, FOLLOW_LIMIT_S)
        self._background = self._transaction_pool(NOTHING, pool_size, BACKGROUND_LIMIT_S)
        self._replica = (
            None
            if read_url is None
            else Database(read_url, schema=schema, pool_size=pool_size, writable=False)
        )
        self.reads = ReadServers(self, self._replica)
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

        What is not committed at the end is rolled back. Raises StorageUnavailable or, for what is raised
        within, VersionConflict, ValueRefused and StorageUnavailable.
        """
        with (
            self._last_write.noted(),
            write_errors_translated(),
            borrowed(self._writes) as (connection, _),
        ):
            yield connection

    def fetch(self, query: str, parameters: Mapping[str, object]) -> list[Row]:
        """The rows of a SELECT, which is prepared, as it is seen outside of any transaction.

        Raises StorageUnavailable.
        """

        def rows(connection: psycopg.Connection, _: Prepared) -> list[Row]:
            return connection.cursor(row_factory=dict_row).execute(query, parameters, prepare=True).fetchall()

        return self._read(rows)

    def fetch_values(self, query: str, parameter: str) -> list[bytes | None]:
        """The first row that a SELECT for `$1` gives, as PostgreSQL writes it; nothing without a row.

        At a third of the cost of `fetch`, as nothing is made of it and no pool asked. Raises
        StorageUnavailable.
        """
        try:
            return self._lookups.first_row(query, parameter)
        except (psycopg.Error, TimeoutError):
            # What has failed is mended, or told, by who knows how to.
            return self._read(lambda connection, prepared: first_row(connection, prepared, query, parameter))

    def _read(self, read: Callable[[psycopg.Connection, Prepared], C]) -> C:
        """What `read` gives, on a read-only autocommit connection of the driver's own."""
        try:
            return self._read_once(read)
        except StorageUnavailable:
            # A pooled connection may have outlived a restart of the database; then the pool is fresh by now.
            return self._read_once(read)

    def _read_once(self, read: Callable[[psycopg.Connection, Prepared], C]) -> C:
        with read_errors_translated(), borrowed(self._reads) as (connection, prepared):
            return read(connection, prepared)

    def reading(self) -> AbstractContextManager[Connection]:
        """A read-only autocommit connection. Raises StorageUnavailable."""
        return self._connected(self._reads)

    def following(self) -> AbstractContextManager[Connection]:
        """A connection for readers of the journal: a crash may undo their last commits, to be done again.

        It works through a pooler that has a session for each transaction.
        """
        return self._connected(self._followers)

    def working(self) -> AbstractContextManager[Connection]:
        """A connection for background work, without time limits, through poolers too.

        Raises StorageUnavailable.
        """
        return self._connected(self._background)

    def write_state(self) -> WriteState:
        """Whether writes go through: not on a standby, nor while they fail. Raises StorageUnavailable."""
        with self.reading() as connection:
            if connection.scalar(_ONLY_READS):
                return "read-only"
        return "failing" if self._last_write.has_failed else "ok"

    def server_version(self) -> str:
        """PostgreSQL's version, as it names it itself. Raises StorageUnavailable."""
        with self.reading() as connection:
            return str(connection.scalar(text("SHOW server_version")))

    def close(self) -> None:
        """Close every connection of the pools, the replica's included."""
        for engine in (self._writes, self._reads, self._followers, self._background):
            engine.dispose()
        self._lookups.close()
        if self._replica is not None:
            self._replica.close()

    @staticmethod
    @contextmanager
    def _connected(engine: Engine) -> Iterator[Connection]:
        with from_pool(engine.connect) as connection:
            yield connection

    def _session_pool(self, settings: Settings, size: int, limit_s: float, **options: Any) -> Engine:
        """Sessions of the program's own, for single statements and transactions that are begun by hand."""
        begin = partial(self.sessions.begin, settings, bounded_by(limit_s))
        return new_pool(begin, size, isolation_level="AUTOCOMMIT", **options)

    def _transaction_pool(self, settings: Settings, size: int, limit_s: float) -> Engine:
        """Connections for transactions, through a pooler too."""
        connect = partial(self.sessions.connect, bounded_by(limit_s))
        engine = new_pool(connect, size, isolation_level="READ COMMITTED")
        event.listen(engine, "begin", lambda began: self.sessions.begin_transaction(began, settings))
        return engine
