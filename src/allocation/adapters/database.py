"""Connections to PostgreSQL: a pool for each kind of work, one meaning for each kind of trouble."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType, TracebackType
from typing import Any, Self, TypeAlias, TypeVar, cast

import psycopg
from psycopg.rows import dict_row
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from allocation.adapters.bounded_connection import KEEPALIVES, BoundedConnection, bounded_by
from allocation.adapters.checkpoint_watch import CheckpointWatch
from allocation.adapters.database_errors import (
    Locked,
    OutcomeUnknown,
    StorageUnavailable,
    ValueRefused,
    VersionConflict,
    read_errors_translated,
    translate,
    write_errors_translated,
)
from allocation.adapters.lookups import Lookups, Prepared, first_row
from allocation.adapters.read_servers import ReadServers

__all__ = [
    "Database",
    "Locked",
    "OutcomeUnknown",
    "StorageUnavailable",
    "ValueRefused",
    "VersionConflict",
    "postgresql_url",
    "write_errors_translated",
]

C = TypeVar("C")

Row: TypeAlias = dict[str, Any]

CONNECT_TIMEOUT_S = 3
POOL_TIMEOUT_S = 5

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
    # One allocation reads single rows by key. On a small or never analysed table the planner would read
    # it whole, and the cost of an allocation would depend on what else is in the table.
    "enable_seqscan": "off",
    # These plans are the same for all values: they are made once for a connection, which does not live long.
    "plan_cache_mode": "force_generic_plan",
}
_WRITE_CONNECTION_LIFE_S = 60
# A reader's effect and its checkpoint are one commit: if a crash of the database undoes the last few, they
# are done again. So nobody needs to wait for the disk.
_WITHOUT_THE_DISK = "SET LOCAL synchronous_commit = off"
# A pooler may give each transaction to another session: what belongs to a session is of no use then.
_THROUGH_POOLERS = {"prepare_threshold": None}
_READ_SETTINGS = {"default_transaction_read_only": "on", "statement_timeout": "5s"}


def postgresql_url(url: str) -> URL:
    """`url` with the driver that this program uses; raises ValueError unless it names PostgreSQL."""
    if not url.startswith(("postgresql://", "postgres://", "postgresql+psycopg://")):
        raise ValueError("only PostgreSQL is supported: postgresql://user@host/database")
    return make_url(url).set(drivername="postgresql+psycopg")


class Database:
    """The pools of one process. Nothing connects before the first use; use it as a context, or `close` it.

    Views are asked of `reads`: of this server, or of the standby at `read_url`. Everything else here means
    this one. Every method that hands out a connection, and every use of one, raises VersionConflict or
    StorageUnavailable where the driver would raise an error of its own for them.
    """

    def __init__(self, url: str, *, read_url: str | None = None, pool_size: int = 10) -> None:
        self.url = postgresql_url(url)
        self._writes = self._engine(
            _WRITE_SETTINGS,
            pool_size,
            WRITE_LIMIT_S,
            isolation_level="AUTOCOMMIT",
            pool_recycle=_WRITE_CONNECTION_LIFE_S,
        )
        # Nothing to roll back, whatever happens to a reader.
        self._reads = self._engine(
            _READ_SETTINGS, pool_size, READ_LIMIT_S, isolation_level="AUTOCOMMIT", pool_reset_on_return=None
        )
        lookups = self._engine(_READ_SETTINGS, pool_size, READ_LIMIT_S, isolation_level="AUTOCOMMIT")
        self._lookups = Lookups(lookups, pool_size, POOL_TIMEOUT_S)
        self._followers = self._engine({}, pool_size, FOLLOW_LIMIT_S, connect_args=_THROUGH_POOLERS)
        event.listen(self._followers, "begin", _do_not_wait_for_the_disk)
        self._background = self._engine({}, pool_size, BACKGROUND_LIMIT_S, connect_args=_THROUGH_POOLERS)
        self._replica = None if read_url is None else Database(read_url, pool_size=pool_size)
        self.reads = ReadServers(self, self._replica)
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
        with write_errors_translated(), _borrowed(self._writes) as (connection, _):
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
        with read_errors_translated(), _borrowed(self._reads) as (connection, prepared):
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
        with _from_pool(engine.connect) as connection:
            yield connection

    def _engine(
        self,
        settings: dict[str, str],
        pool_size: int,
        limit_s: float,
        *,
        connect_args: Mapping[str, object] = MappingProxyType({}),
        **engine_options: Any,
    ) -> Engine:
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        engine = create_engine(
            self.url,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_S,
                "application_name": "allocation",
                **KEEPALIVES,
                **({"options": options} if options else {}),
                **connect_args,
            },
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=POOL_TIMEOUT_S,
            **engine_options,
        )
        event.listen(engine, "handle_error", translate)
        event.listen(engine, "do_connect", _connecting_with(bounded_by(limit_s)))
        return engine


def _from_pool(connect: Callable[[], C]) -> C:
    """What `connect` takes from a pool. Raises StorageUnavailable when nothing becomes free in time."""
    try:
        return connect()
    except PoolTimeoutError as error:
        raise StorageUnavailable("no connection became free in time") from error


@contextmanager
def _borrowed(engine: Engine) -> Iterator[tuple[BoundedConnection, Prepared]]:
    """The driver's own connection, from the pool of the engine, and what is prepared on it."""
    pooled = _from_pool(engine.raw_connection)
    connection = cast(BoundedConnection, pooled.driver_connection)
    try:
        yield connection, pooled.info
    finally:
        if connection.closed:
            # What the pool still holds was probably lost together with this one.
            pooled.invalidate()
            engine.dispose()
        else:
            pooled.close()


def _connecting_with(connection_type: type[BoundedConnection]) -> Callable[..., psycopg.Connection]:
    """What SQLAlchemy calls to connect."""
    return lambda _dialect, _record, args, parameters: connection_type.connect(*args, **parameters)


def _do_not_wait_for_the_disk(connection: Connection) -> None:
    connection.exec_driver_sql(_WITHOUT_THE_DISK)
